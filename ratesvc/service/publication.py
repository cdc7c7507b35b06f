"""Finished answers: rendered, compressed and tagged once; a request only picks one."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Any, Self
from weakref import WeakValueDictionary

import brotli

from ratesvc.domain.rates import Snapshot

MOST_TARGETS = 4000
LONGEST_TARGET = 512
MOST_BYTES, MOST_LONG_BYTES = 12 * 1024 * 1024, 20 * 1024 * 1024
"""The small bodies of a publication, and those longer than LONG. Its remembered targets take 8 MB more at most.

All of history counts as 13 MB as the ECB's XML and as 4 MB as its CSV: both are kept, and some series.
"""
BODY_BYTES = 2048
"""The memory of a body without its encodings."""
LONG = 64 * 1024
SMALLEST_COMPRESSED = 256
PACKED = ("image/png", "application/zip")
BROTLI_QUALITY, GZIP_LEVEL = 5, 4
"""Quality 9 takes ten times as long and saves two bytes in a hundred, and the first reader waits for it."""
BROTLI_WINDOW = 18
"""256 kB. A long table becomes a hundredth longer than with 4 MB, and takes 4 MB of memory instead of 20."""

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, eq=False)
class Body:
    """One representation: its bytes, their type, and the headers that every encoding shares.

    A body equals only itself, so it can be the key of what belongs to it.
    """

    content: bytes
    content_type: str
    headers: Headers = ()

    @cached_property
    def tag(self) -> str:
        """A hash of the type and the uncompressed bytes, the same on every replica."""
        return hashlib.sha256(self.content_type.encode() + b"\0" + self.content).hexdigest()[:24]

    @cached_property
    def encodings(self) -> dict[str, bytes]:
        """The bytes by the HTTP name of their encoding, the preferred first. PNG and zip are not compressed again."""
        if len(self.content) < SMALLEST_COMPRESSED or self.content_type in PACKED:
            return {"identity": self.content}
        return {
            "br": brotli.compress(self.content, quality=BROTLI_QUALITY, lgwin=BROTLI_WINDOW),
            "gzip": gzip.compress(self.content, GZIP_LEVEL, mtime=0),
            "identity": self.content,
        }

    @cached_property
    def offered(self) -> tuple[str, ...]:
        """The names of its encodings, the preferred one first."""
        return tuple(self.encodings)

    @property
    def is_long(self) -> bool:
        """Whether compressing it takes long."""
        return len(self.content) > LONG

    @property
    def is_finished(self) -> bool:
        """Whether any encoding can be sent without long compressing."""
        return not self.is_long or "encodings" in self.__dict__

    @property
    def most_bytes(self) -> int:
        """Its memory with every encoding. Brotli and gzip together take no more than the content."""
        return BODY_BYTES + len(self.content) * (1 if self.content_type in PACKED else 2)

    def finish(self) -> Self:
        """Compress and tag the body, which takes long if it is long; returns it."""
        _ = self.encodings, self.tag
        return self

    def encoded(self, encoding: str) -> bytes:
        """The bytes of one encoding; the identity costs nothing."""
        return self.content if encoding == "identity" else self.encodings[encoding]

    def pieces(self) -> Iterable[bytes]:
        """The plain bytes, if they are too many to be held at once."""
        return ()

    def length(self, encoding: str) -> int:
        """The number of bytes in one encoding."""
        return len(self.encoded(encoding))

    def etag(self, encoding: str) -> str:
        """A strong validator of these bytes in this encoding (RFC 9110, 8.8.3)."""
        return f'"{self.tag}"' if encoding == "identity" else f'"{self.tag}-{encoding}"'

    @cached_property
    def tags(self) -> frozenset[str]:
        """The tags that a client may send back if it has these bytes in any encoding."""
        strong = [self.etag(encoding) for encoding in ("identity", "br", "gzip")]
        return frozenset(("*", *strong, *(f"W/{tag}" for tag in strong)))


Render = Callable[[], Body]


@dataclass(eq=False, slots=True)
class _Kept:
    """A body that a publication keeps, its keys there, and the remembered targets that it answers."""

    body: Body
    keys: set[Hashable]
    targets: set[str] = field(default_factory=set)


class Publication:
    """Everything that can be answered from one snapshot. Variants are rendered at the first request and then kept.

    Their memory is bounded. The oldest go first, and are rendered anew if they are requested again. Long
    bodies have a bound of their own, so they never drive out small ones.
    """

    def __init__(self, snapshot: Snapshot, key: Hashable, before: Publication | None = None) -> None:
        """Starts without bodies, and replaces `before`. Publications with the same `key` give the same answers."""
        self.snapshot = snapshot
        self.key = key
        self.last_modified = snapshot.changed_at.replace(microsecond=0)
        """At least a second later than that of the publication before, because HTTP dates must tell the two apart."""
        if before:
            self.last_modified = max(self.last_modified, before.last_modified + timedelta(seconds=1))
        self.answers: dict[str, Any] = {}
        """The answer to each remembered request target."""
        self.render_locks: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()
        """A lock for each long body that is being rendered, by its key: other requests for it wait."""
        self._kept: dict[Hashable, _Kept] = {}
        """By key, and by the body itself, because an answer knows no key; the oldest first."""
        self._bytes = {False: 0, True: 0}
        """The memory of the small ones, and of the long ones."""

    def body(self, key: Hashable, render: Render) -> Body:
        """The finished body of this variant."""
        return self.find(key) or self.keep(key, render())

    def find(self, key: Hashable) -> Body | None:
        """The body of this variant if it was rendered before."""
        return kept.body if (kept := self._kept.get(key)) else None

    def keep(self, key: Hashable, body: Body) -> Body:
        """Keep a body, and return it, or the one that came first."""
        if key not in self._kept:
            if body not in self._kept:
                self._kept[body] = _Kept(body, {body})
                self._bytes[body.is_long] += body.most_bytes
            self._kept[key] = self._kept[body]
            self._kept[key].keys.add(key)
            self._make_room(body)
        return self._kept[key].body

    def _make_room(self, newest: Body) -> None:
        """While small or long bodies take too much memory, forget the oldest with its answers, but never the newest."""
        is_long = newest.is_long
        while self._bytes[is_long] > (MOST_LONG_BYTES if is_long else MOST_BYTES):
            oldest = next(kept for kept in self._kept.values() if kept.body.is_long is is_long)
            if oldest.body is newest:
                break
            self._bytes[is_long] -= oldest.body.most_bytes
            for key in oldest.keys:
                del self._kept[key]
            for target in oldest.targets:
                self.answers.pop(target, None)

    def remember(self, target: str, answer: Any) -> None:
        """Remember the answer to a request target, as it came, until its `body` is forgotten."""
        if len(target) > LONGEST_TARGET:
            return
        # A body that was rendered for this target alone is its own key.
        self.keep(answer.body, answer.body)
        self._kept[answer.body].targets.add(target)
        self.answers.pop(target, None)
        self.answers[target] = answer
        if len(self.answers) > MOST_TARGETS:
            oldest = next(iter(self.answers))
            self._kept[self.answers.pop(oldest).body].targets.discard(oldest)
