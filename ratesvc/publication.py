"""Finished answers: rendered, compressed and tagged once; a request only chooses."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import UTC, time
from functools import cached_property
from typing import Any
from weakref import WeakValueDictionary

import brotli

from ratesvc.rates import Snapshot
from ratesvc.workdays import ONE_DAY, at

MOST_VARIANTS = 4000
MOST_TARGETS = 4000
LONGEST_TARGET = 512
MOST_BYTES = 16 * 1024 * 1024
LONG = 64 * 1024
SMALLEST_COMPRESSED = 256
PACKED = ("image/png", "application/zip")
BROTLI_QUALITY, GZIP_LEVEL = 5, 4
"""Quality 9 takes ten times as long and saves two bytes in a hundred; whoever asks first would wait for that."""


@dataclass(frozen=True)
class Body:
    """One representation: its bytes, their type, and what every encoding of it shares."""

    content: bytes
    content_type: str
    headers: tuple[tuple[str, str], ...] = ()

    @cached_property
    def tag(self) -> str:
        """A hash of the identity bytes: the same on every replica."""
        return hashlib.sha256(self.content_type.encode() + b"\0" + self.content).hexdigest()[:24]

    @cached_property
    def encodings(self) -> dict[str, bytes]:
        """Every encoding by its HTTP name, the preferred one first; what is packed already is not packed again."""
        if len(self.content) < SMALLEST_COMPRESSED or self.content_type in PACKED:
            return {"identity": self.content}
        return {
            "br": brotli.compress(self.content, quality=BROTLI_QUALITY),
            "gzip": gzip.compress(self.content, GZIP_LEVEL, mtime=0),
            "identity": self.content,
        }

    @property
    def is_finished(self) -> bool:
        """Whether any encoding can be sent without long compressing."""
        return len(self.content) <= LONG or "encodings" in self.__dict__

    def encoded(self, encoding: str) -> bytes:
        """The bytes of one encoding; the identity costs nothing."""
        return self.content if encoding == "identity" else self.encodings[encoding]

    @cached_property
    def offered(self) -> tuple[str, ...]:
        """The names of its encodings, the preferred one first."""
        return tuple(self.encodings)

    def etag(self, encoding: str) -> str:
        """A strong validator of these bytes in this encoding (RFC 9110, 8.8.3)."""
        return f'"{self.tag}"' if encoding == "identity" else f'"{self.tag}-{encoding}"'

    @cached_property
    def tags(self) -> frozenset[str]:
        """What a client that has these bytes in any encoding may send back."""
        strong = [self.etag(encoding) for encoding in ("identity", "br", "gzip")]
        return frozenset(("*", *strong, *(f"W/{tag}" for tag in strong)))


class Publication:
    """Everything that can be answered from one snapshot. Variants are rendered at the first demand and then kept."""

    def __init__(self, snapshot: Snapshot, key: Hashable) -> None:
        """Starts without bodies; two publications with the same `key` answer the same."""
        self.snapshot = snapshot
        self.key = key
        self.until = at(snapshot.today + ONE_DAY, time.min).astimezone(UTC)
        """Midnight in Moscow: from then on today is another day."""
        self._bodies: dict[Hashable, Body] = {}
        self._bytes = 0
        self.answers: dict[str, Any] = {}
        self.turns: WeakValueDictionary[Hashable, Any] = WeakValueDictionary()
        """Who renders a long body at the moment, by its key: others who want it wait for that."""

    def body(self, key: Hashable, render: Callable[[], Body]) -> Body:
        """The finished body of this variant."""
        return self.find(key) or self.keep(key, render())

    def find(self, key: Hashable) -> Body | None:
        """The body of this variant if it was rendered before."""
        return self._bodies.get(key)

    def keep(self, key: Hashable, body: Body) -> Body:
        """Keep a body, unless one came first; the oldest are forgotten when there are too many, or too much."""
        if found := self.find(key):
            return found
        self._bodies[key] = body
        self._bytes += len(body.content)
        while len(self._bodies) > 1 and (len(self._bodies) > MOST_VARIANTS or self._bytes > MOST_BYTES):
            self._bytes -= len(self._bodies.pop(next(iter(self._bodies))).content)
            self.answers.clear()  # they would keep alive what is forgotten
        return body

    def remember(self, target: str, answer: object) -> None:
        """What a request target, as it came, was answered with; the oldest are forgotten when there are too many."""
        if len(target) > LONGEST_TARGET:
            return
        self.answers[target] = answer
        if len(self.answers) > MOST_TARGETS:
            del self.answers[next(iter(self.answers))]


class Board:
    """What is being served; a new publication takes the old one's place by one assignment."""

    def __init__(self) -> None:
        """Empty until the first sheet is held. `changed` is told of each publication that is no longer served."""
        self.current: Publication | None = None
        self.changed: Callable[[Publication | None], None] | None = None

    def put(self, publication: Publication) -> None:
        """Serve this one from now on."""
        old, self.current = self.current, publication
        if self.changed:
            self.changed(old)
