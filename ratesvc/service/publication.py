"""Finished answers: rendered, compressed and tagged once; a request only chooses."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gzip
import hashlib
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, time
from functools import cached_property
from typing import Any, Protocol, TypeVar
from weakref import WeakValueDictionary

import brotli

from ratesvc.domain.rates import Snapshot
from ratesvc.domain.workdays import ONE_DAY, at
from ratesvc.errors import Busy

LONG_POINTS = 2000
"""From so many points on an answer is long: it takes a hundredth of a second or more."""
MOST_WAITING = 20
"""Of long answers, the one that is being rendered among them: each takes a third of a second at most."""
SMALL_AT_ONCE = 2

# Of glibc's mallopt: what is as large as this lies apart; how many heaps threads have.
MALLOC_OPTIONS = {-3: 128 * 1024, -8: 1}

Made = TypeVar("Made")


def give_back_memory() -> None:
    """Let glibc return every large buffer to the system once it is freed, and threads share one heap.

    By itself it keeps ever larger buffers, and a heap for each thread. Other libraries have no such switch. The peak of
    a process that renders long answers is 16 MB lower with it.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        options = ctypes.CDLL(None).mallopt
        for option, value in MALLOC_OPTIONS.items():
            options(option, value)


class Workers:
    """Two threads for small answers and one for long ones, which bounds how much memory rendering takes."""

    def __init__(self) -> None:
        self._small = ThreadPoolExecutor(SMALL_AT_ONCE, "render")
        self._long = ThreadPoolExecutor(1, "render-long")
        self.waiting = 0
        """How many long answers are being rendered or wait for that."""

    async def run(self, work: Callable[[], Made], *, points: int = 0) -> Made:
        """What `work` returns. Raises Busy instead of letting too many long answers wait."""
        loop = asyncio.get_running_loop()
        if points < LONG_POINTS:
            return await loop.run_in_executor(self._small, work)
        if self.waiting >= MOST_WAITING:
            raise Busy("Too many long answers are being rendered. Ask again in half a minute, or for less.")
        self.waiting += 1
        try:
            return await loop.run_in_executor(self._long, work)
        finally:
            self.waiting -= 1

    def close(self) -> None:
        """Drop what waits."""
        for threads in (self._small, self._long):
            threads.shutdown(wait=False, cancel_futures=True)


MOST_VARIANTS = 4000
MOST_TARGETS = 4000
LONGEST_TARGET = 512
MOST_BYTES = 16 * 1024 * 1024
MOST_LONG_BYTES = 4 * 1024 * 1024
"""Of one publication: of small bodies, and of those longer than LONG."""
BODY_BYTES, TARGET_BYTES = 2048, 1536
"""What a body takes besides its encodings, and an answer that is remembered besides its target."""
LONG = 64 * 1024
SMALLEST_COMPRESSED = 256
PACKED = ("image/png", "application/zip")
BROTLI_QUALITY, GZIP_LEVEL = 5, 4
"""Quality 9 takes ten times as long and saves two bytes in a hundred; whoever asks first would wait for that."""
BROTLI_WINDOW = 18
"""256 kB: a long table becomes one hundredth longer than with 4 MB, and takes 4 MB of memory instead of 20."""


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
            "br": brotli.compress(self.content, quality=BROTLI_QUALITY, lgwin=BROTLI_WINDOW),
            "gzip": gzip.compress(self.content, GZIP_LEVEL, mtime=0),
            "identity": self.content,
        }

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
        """What it takes with every encoding that there is, or that may be made without being counted again."""
        if "encodings" in self.__dict__:
            return BODY_BYTES + sum(map(len, self.encodings.values()))
        return BODY_BYTES + len(self.content) * (1 if self.is_long else 3)

    def finish(self) -> None:
        """Make what it is sent with: long work for a long one."""
        _ = self.encodings, self.tag

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


class Answered(Protocol):
    """What a request target was answered with."""

    body: Body
    asked: int
    """How often it was sent: the only thing that a remembered answer counts."""


@dataclass(slots=True, eq=False)
class _Kept:
    """A body, and the targets that were answered with it: how often each had been asked when last looked at."""

    key: Hashable
    body: Body
    targets: dict[str, int] = field(default_factory=dict)
    target_bytes: int = 0
    counted: int = 0
    """Its bytes as its shelf has them in its sum."""

    def was_asked(self, answers: Mapping[str, Answered]) -> bool:
        """Whether a target of it was asked again since this was last looked at."""
        asked = {target: answers[target].asked for target in self.targets}
        again, self.targets = asked != self.targets, asked
        return again


@dataclass(slots=True, eq=False)
class _Shelf:
    """Bodies by their id, the least recently used first, and how many bytes they take together."""

    most_bytes: int
    kept: dict[int, _Kept] = field(default_factory=dict)
    bytes: int = 0

    def use(self, kept: _Kept) -> None:
        """Count what it takes now; it is the last to go."""
        self.kept.pop(id(kept.body), None)
        self.kept[id(kept.body)] = kept
        takes = kept.body.most_bytes + kept.target_bytes
        self.bytes += takes - kept.counted
        kept.counted = takes

    def take_excess(self, answers: Mapping[str, Answered]) -> Iterator[_Kept]:
        """Take away what was not used for longest until the rest is within its bounds; the newest always stays."""
        while len(self.kept) > 1 and (self.bytes > self.most_bytes or len(self.kept) > MOST_VARIANTS):
            kept = self.kept.pop(next(iter(self.kept)))
            if kept.was_asked(answers):
                self.kept[id(kept.body)] = kept
            else:
                self.bytes -= kept.counted
                yield kept


class Publication:
    """Everything that can be answered from one snapshot. Variants are rendered at the first demand and then kept.

    What is kept is bounded in bytes, every encoding and what is remembered with it counted. Long bodies have a bound of
    their own, so that they never drive out small ones.
    """

    def __init__(self, snapshot: Snapshot, key: Hashable) -> None:
        """Starts without bodies; two publications with the same `key` answer the same."""
        self.snapshot = snapshot
        self.key = key
        self.until = at(snapshot.today + ONE_DAY, time.min).astimezone(UTC)
        """Midnight in Moscow: from then on today is another day."""
        self._bodies: dict[Hashable, _Kept] = {}
        self._small, self._long = _Shelf(MOST_BYTES), _Shelf(MOST_LONG_BYTES)
        self.answers: dict[str, Any] = {}
        self.turns: WeakValueDictionary[Hashable, Any] = WeakValueDictionary()
        """Who renders a long body at the moment, by its key: others who want it wait for that."""

    @property
    def bytes(self) -> int:
        """What everything kept takes at most."""
        return self._small.bytes + self._long.bytes

    def body(self, key: Hashable, render: Callable[[], Body]) -> Body:
        """The finished body of this variant."""
        return self.find(key) or self.keep(key, render())

    def find(self, key: Hashable) -> Body | None:
        """The body of this variant if it was rendered before."""
        kept = self._bodies.get(key)
        if kept is None:
            return None
        self._shelf(kept.body).use(kept)
        return kept.body

    def keep(self, key: Hashable, body: Body) -> Body:
        """Keep a body, unless one came first; the least recently used are forgotten when there are too many."""
        if found := self.find(key):
            return found
        kept = self._bodies[key] = _Kept(key, body)
        self._use(kept)
        return body

    def remember(self, target: str, answer: Answered) -> None:
        """What a request target, as it came, was answered with; the least recently asked are forgotten.

        It is kept with its body, and forgotten with it.
        """
        if len(target) > LONGEST_TARGET:
            return
        self._forget(target)
        kept = self._shelf(answer.body).kept.get(id(answer.body)) or _Kept(("answer", target), answer.body)
        self._bodies.setdefault(kept.key, kept)
        kept.targets[target] = answer.asked
        kept.target_bytes += TARGET_BYTES + len(target)
        self.answers[target] = answer
        self._use(kept)
        while len(self.answers) > MOST_TARGETS:
            oldest = next(iter(self.answers))
            again: Answered = self.answers[oldest]
            if again.asked == self._holder(again).targets[oldest]:
                self._forget(oldest)
            else:
                self._holder(again).targets[oldest] = again.asked
                self.answers[oldest] = self.answers.pop(oldest)

    def _forget(self, target: str) -> None:
        answer = self.answers.get(target)
        if answer:
            kept = self._holder(answer)
            del self.answers[target], kept.targets[target]
            kept.target_bytes -= TARGET_BYTES + len(target)
            self._shelf(kept.body).use(kept)

    def _holder(self, answer: Answered) -> _Kept:
        return self._shelf(answer.body).kept[id(answer.body)]

    def _shelf(self, body: Body) -> _Shelf:
        return self._long if body.is_long else self._small

    def _use(self, kept: _Kept) -> None:
        shelf = self._shelf(kept.body)
        shelf.use(kept)
        for old in shelf.take_excess(self.answers):
            del self._bodies[old.key]
            for target in old.targets:
                del self.answers[target]


class Publisher:
    """What is being served; a new publication takes the old one's place by one assignment."""

    def __init__(self) -> None:
        """Empty until the first sheet is held."""
        self.current: Publication | None = None

    def put(self, publication: Publication) -> None:
        """Serve this one from now on."""
        self.current = publication
