"""Finished answers: rendered, compressed and tagged once; a request only picks one. And the threads that render."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gzip
import hashlib
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from functools import cached_property
from typing import Any, Protocol, TypeVar
from weakref import WeakValueDictionary

import brotli

from ratesvc.domain.rates import Snapshot
from ratesvc.domain.workdays import ONE_DAY, at
from ratesvc.errors import Busy

MOST_VARIANTS = 4000
MOST_TARGETS = 4000
LONGEST_TARGET = 512
MOST_BYTES, MOST_LONG_BYTES = 16 * 1024 * 1024, 4 * 1024 * 1024
"""The small bodies of one publication, and those longer than LONG."""
BODY_BYTES, TARGET_BYTES = 2048, 1536
"""The memory of a body without its encodings, and of a remembered answer without its target."""
LONG = 64 * 1024
SMALLEST_COMPRESSED = 256
PACKED = ("image/png", "application/zip")
BROTLI_QUALITY, GZIP_LEVEL = 5, 4
"""Quality 9 takes ten times as long and saves two bytes in a hundred, and the first reader waits for it."""
BROTLI_WINDOW = 18
"""256 kB: a long table becomes one hundredth longer than with 4 MB, and takes 4 MB of memory instead of 20."""

LONG_POINTS = 2000
"""An answer of so many points is long: it takes a hundredth of a second or more."""
MOST_WAITING = 20
"""So many long answers are rendered or wait at a time; each takes a third of a second at most."""
SMALL_AT_ONCE = 2

# Of glibc's mallopt: the size from which a buffer lies apart; how many heaps threads have.
MALLOC_OPTIONS = {-3: 128 * 1024, -8: 1}

Made = TypeVar("Made")


@dataclass(frozen=True)
class Body:
    """One representation: its bytes, their type, and the headers that every encoding shares."""

    content: bytes
    content_type: str
    headers: tuple[tuple[str, str], ...] = ()

    @cached_property
    def tag(self) -> str:
        """A hash of the identity bytes, the same on every replica."""
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
        """Its memory with every encoding that exists, or that a small one may still get."""
        if "encodings" in self.__dict__:
            return BODY_BYTES + sum(map(len, self.encodings.values()))
        return BODY_BYTES + len(self.content) * (1 if self.is_long else 3)

    def finish(self) -> None:
        """Compress and tag it, which takes long for a long one."""
        _ = self.encodings, self.tag

    def encoded(self, encoding: str) -> bytes:
        """The bytes of one encoding; the identity costs nothing."""
        return self.content if encoding == "identity" else self.encodings[encoding]

    def etag(self, encoding: str) -> str:
        """A strong validator of these bytes in this encoding (RFC 9110, 8.8.3)."""
        return f'"{self.tag}"' if encoding == "identity" else f'"{self.tag}-{encoding}"'

    @cached_property
    def tags(self) -> frozenset[str]:
        """The tags that a client may send back if it has these bytes in any encoding."""
        strong = [self.etag(encoding) for encoding in ("identity", "br", "gzip")]
        return frozenset(("*", *strong, *(f"W/{tag}" for tag in strong)))


class Answered(Protocol):
    """The answer to a request target; `times_sent` counts how often it was sent."""

    body: Body
    times_sent: int


@dataclass(slots=True, eq=False)
class _Kept:
    """A body, and the targets that it answers, with the count that each had when it was last looked at."""

    key: Hashable
    body: Body
    targets: dict[str, int] = field(default_factory=dict)
    target_bytes: int = 0
    counted: int = 0
    """Its bytes in the sum of its publication."""

    def was_sent(self, answers: Mapping[str, Answered]) -> bool:
        """Whether a target of it was requested again since the last call."""
        counts = {target: answers[target].times_sent for target in self.targets}
        again, self.targets = counts != self.targets, counts
        return again


class Publication:
    """Everything that can be answered from one snapshot. Variants are rendered at the first request and then kept.

    The memory is bounded: every encoding counts, and every remembered answer. Long bodies have a bound of their own, so
    they never drive out small ones.
    """

    def __init__(self, snapshot: Snapshot, key: Hashable, before: Publication | None = None) -> None:
        """Starts without bodies; two publications with the same `key` answer the same. `before` is replaced by it."""
        self.snapshot = snapshot
        self.key = key
        self.last_modified: datetime | None = snapshot.changed_at.replace(microsecond=0)
        """None if the publication before has this second, too, because then it tells nobody which of the two it is."""
        if before and self.last_modified <= before.snapshot.changed_at:
            self.last_modified = None
        self.until = at(snapshot.today + ONE_DAY, time.min).astimezone(UTC)
        """Midnight in Moscow: from then on today is another day."""
        self.answers: dict[str, Any] = {}
        """The answer to each remembered request target."""
        self.render_locks: WeakValueDictionary[Hashable, Any] = WeakValueDictionary()
        """A lock for each long body that is being rendered, by its key: other requests for it wait."""
        self._bodies: dict[Hashable, _Kept] = {}
        self._small: dict[int, _Kept] = {}
        self._long: dict[int, _Kept] = {}
        self._bytes = {False: 0, True: 0}

    @property
    def bytes(self) -> int:
        """The memory of all bodies and answers, at most."""
        return sum(self._bytes.values())

    def body(self, key: Hashable, render: Callable[[], Body]) -> Body:
        """The finished body of this variant."""
        return self.find(key) or self.keep(key, render())

    def find(self, key: Hashable) -> Body | None:
        """The body of this variant if it was rendered before."""
        kept = self._bodies.get(key)
        if kept is None:
            return None
        self._use(kept)
        return kept.body

    def keep(self, key: Hashable, body: Body) -> Body:
        """Keep a body, and return it, or the one that came first."""
        if found := self.find(key):
            return found
        kept = self._bodies[key] = _Kept(key, body)
        self._use(kept)
        return body

    def remember(self, target: str, answer: Answered) -> None:
        """Remember the answer to a request target, as it came, until its body is forgotten."""
        if len(target) > LONGEST_TARGET:
            return
        self._forget(target)
        # One target may have several bodies: without a key of its own each answer is rendered anew.
        key = ("answer", target, id(answer.body))
        kept = self._bodies_of_kind(answer.body).get(id(answer.body)) or _Kept(key, answer.body)
        self._bodies.setdefault(kept.key, kept)
        kept.targets[target] = answer.times_sent
        kept.target_bytes += TARGET_BYTES + len(target)
        self.answers[target] = answer
        self._use(kept)
        while len(self.answers) > MOST_TARGETS:
            oldest = next(iter(self.answers))
            again: Answered = self.answers[oldest]
            targets = self._bodies_of_kind(again.body)[id(again.body)].targets
            if again.times_sent == targets[oldest]:
                self._forget(oldest)
            else:
                targets[oldest] = again.times_sent
                self.answers[oldest] = self.answers.pop(oldest)

    def _forget(self, target: str) -> None:
        answer = self.answers.pop(target, None)
        if answer:
            kept = self._bodies_of_kind(answer.body)[id(answer.body)]
            del kept.targets[target]
            kept.target_bytes -= TARGET_BYTES + len(target)
            self._use(kept)

    def _bodies_of_kind(self, body: Body) -> dict[int, _Kept]:
        """The bodies of the same bound by their id, the least recently used first."""
        return self._long if body.is_long else self._small

    def _use(self, kept: _Kept) -> None:
        """Count its memory now, and forget others until the rest is within the bounds: those that nobody asks again."""
        bodies, is_long = self._bodies_of_kind(kept.body), kept.body.is_long
        bodies.pop(id(kept.body), None)
        bodies[id(kept.body)] = kept
        takes = kept.body.most_bytes + kept.target_bytes
        self._bytes[is_long] += takes - kept.counted
        kept.counted = takes
        most = MOST_LONG_BYTES if is_long else MOST_BYTES
        while len(bodies) > 1 and (self._bytes[is_long] > most or len(bodies) > MOST_VARIANTS):
            old = bodies.pop(next(iter(bodies)))
            if old.was_sent(self.answers):
                bodies[id(old.body)] = old
                continue
            self._bytes[is_long] -= old.counted
            del self._bodies[old.key]
            for target in old.targets:
                del self.answers[target]


class Publisher:
    """Holds the current publication; a new one takes its place by one assignment."""

    current: Publication | None = None


def give_back_memory() -> None:
    """Make glibc return every large buffer to the system once it is freed, and let threads share one heap.

    Otherwise it keeps ever larger buffers, and a heap for each thread. Other C libraries have no such switch. It lowers
    the peak of a process that renders long answers by 16 MB.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        options = ctypes.CDLL(None).mallopt
        for option, value in MALLOC_OPTIONS.items():
            options(option, value)


class Workers:
    """Two threads for small answers and one for long ones, which bounds the memory that rendering takes."""

    def __init__(self) -> None:
        self._small = ThreadPoolExecutor(SMALL_AT_ONCE, "render")
        self._long = ThreadPoolExecutor(1, "render-long")
        self.waiting = 0
        """How many long answers are rendered or wait."""

    async def run(self, work: Callable[[], Made], *, points: int = 0) -> Made:
        """Run `work` and return its result. Raises Busy if too many long answers wait."""
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
        """Drop the answers that wait."""
        for threads in (self._small, self._long):
            threads.shutdown(wait=False, cancel_futures=True)
