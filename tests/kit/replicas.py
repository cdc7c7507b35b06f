"""Several real replicas behind the shipped proxy, and readers that check every answer and measure its time."""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from math import inf
from pathlib import Path
from typing import Protocol, Self

import aiohttp
from conftest import LONG

from kit.bank import Bank, around_today
from kit.http import client, fetched
from kit.proxies import UNLIMITED
from kit.reader import Invariant, Shown
from kit.service import Program, free_port, serving_by
from kit.sheets import truth_of
from kit.time import STRICT, eventually, limit_s, patience_s
from ratesvc.domain.workdays import moscow_day, utc_now

NEXT = "/v1/rates/next"
PATHS = ("/v1/rates", "/v1/rates/today", NEXT, "/v1/rates?lang=ru")


def shared_by(bank: Bank, redis_url: str, **variables: str) -> dict[str, str]:
    """The environment of a fleet: one Redis, one namespace, one Bank."""
    return {
        "RATESVC_REDIS_URL": redis_url,
        "RATESVC_REDIS_NAMESPACE": uuid.uuid4().hex,
        "RATESVC_CBR_MIRRORS": bank.url,
        "RATESVC_CBR_BACKFILL_GAP_SECONDS": "0",
        **variables,
    }


@dataclass
class Readers:
    """Send `per_second` requests, and keep what the answers show and how many seconds each took.

    They do not wait for answers before `at_once` are missing. `alone` names the only replica, which has no proxy.
    """

    url: str
    bank: Bank
    per_second: float
    paths: tuple[str, ...]
    at_once: float = inf
    alone: str = ""
    unchecked: tuple[str, ...] = ()
    now: Callable[[], datetime] = utc_now
    taken: list[float] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    by_replica: Counter[str] = field(default_factory=Counter)
    invariants: dict[str, Invariant] = field(default_factory=dict)
    unanswered: set[asyncio.Task[None]] = field(default_factory=set)
    unread: list[str] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self._http = client(timeout=aiohttp.ClientTimeout(total=patience_s()))
        self._sending = asyncio.create_task(self._send())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._sending.cancel()
        await asyncio.gather(self._sending, *self.unanswered, return_exceptions=True)
        await self._http.close()

    async def rest(self) -> None:
        """Ask nothing more, and wait for all answers."""
        self._sending.cancel()
        await asyncio.gather(*self.unanswered)

    @property
    def ok(self) -> int:
        """The number of answers with rates, or with 404 because tomorrow's are not set yet."""
        return self.answers["200"] + self.answers["404"]

    @property
    def lost(self) -> int:
        """The number of other answers and of requests without one."""
        return self.answers.total() - self.ok

    @property
    def violations(self) -> list[str]:
        seen = [f"{name} {text}" for name, seen in self.invariants.items() for text in seen.violations]
        return [*seen, *self.unread]

    async def more(self, count: int = 50) -> None:
        """Wait for `count` more good answers."""
        before = self.ok
        await eventually(lambda: self.ok >= before + count)

    async def only(self, replica: str) -> bool:
        """Wait until a hundred answers in a row come from that replica."""

        async def all_of_them() -> bool:
            before = self.by_replica.copy()
            await self.more(100)
            return (self.by_replica - before).keys() == {replica}

        await eventually(all_of_them)
        return True

    async def also(self, replica: str) -> None:
        """Wait until that replica answers some of them."""
        before = self.by_replica[replica]
        await eventually(lambda: self.by_replica[replica] > before)

    async def _send(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        for path in itertools.cycle(self.paths):
            while len(self.unanswered) >= self.at_once:
                await asyncio.wait(self.unanswered, return_when=asyncio.FIRST_COMPLETED)
            task = asyncio.create_task(self._ask(path))
            self.unanswered.add(task)
            task.add_done_callback(self._landed)
            due = max(due + 1 / self.per_second, loop.time())
            await asyncio.sleep(due - loop.time())

    def _landed(self, task: asyncio.Task[None]) -> None:
        self.unanswered.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self.unread.append(f"an answer could not be looked at: {error!r}")

    async def _ask(self, path: str) -> None:
        asked, begun = moscow_day(self.now()), time.monotonic()
        before = {replica: invariant.shown for replica, invariant in self.invariants.items()}
        try:
            async with self._http.get(self.url + path) as answer:
                body = await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            self.answers[type(error).__name__] += 1
            return
        self.taken.append(time.monotonic() - begun)
        if answer.status not in (200, 404):
            print(f"\n  {answer.status} {path} {answer.headers.get('X-Replica')}: {body[:300]!r}")  # noqa: T201
        is_odd = answer.status == 404 and path != NEXT
        self.answers[f"404 {path}" if is_odd else str(answer.status)] += 1
        # The proxy's own answers have no replica.
        if replica := answer.headers.get("X-Replica", self.alone):
            self.by_replica[replica] += 1
            # Asked before midnight and answered after it, it may be of either day.
            if asked != moscow_day(self.now()) or path in self.unchecked:
                return
            shown = before.get(replica, Shown())
            self._invariant(replica).check(path, answer.status, answer.headers["Content-Type"], body, shown)

    def _invariant(self, replica: str) -> Invariant:
        if replica not in self.invariants:
            self.invariants[replica] = Invariant(truth_of(self.bank), self.now)
        return self.invariants[replica]


@dataclass
class Fleet:
    """Two replicas on fixed ports behind a proxy, with readers."""

    start: Callable[[int], Awaitable[Program]]
    readers: Readers
    programs: list[Program]

    async def again(self, number: int) -> None:
        """Start that replica anew where it was."""
        self.programs[number] = await self.start(number)
        await self.readers.also(f"replica{number}")


@asynccontextmanager
async def fleet(  # noqa: PLR0913 -- what a story varies
    shared: dict[str, str],
    bank: Bank,
    folder: Path,
    *,
    started_by: tuple[str, ...] = (),
    per_second: float = 200.0,
    paths: tuple[str, ...] = PATHS,
    front: str = "haproxy",
) -> AsyncIterator[Fleet]:
    """Both replicas serve when the context begins; a reader checks the invariant I on every answer."""
    around_today(bank)
    ports = [str(free_port()) for _ in range(2)]
    async with AsyncExitStack() as stack:

        async def start(number: int) -> Program:
            variables = {**shared, "RATESVC_PORT": ports[number]}
            program = await stack.enter_async_context(serving_by(started_by, folder, **variables))
            await program.ready()
            return program

        programs = [await start(number) for number in range(2)]
        url = await stack.enter_async_context(UNLIMITED[front](folder, *(one.url for one in programs)))
        async with Readers(url, bank, per_second, paths) as readers:
            await readers.also("replica0")
            await readers.also("replica1")
            readers.answers.clear()  # the proxy begins before it has asked its replicas
            yield Fleet(start, readers, programs)
    print(f"\n  {dict(readers.answers)}")  # noqa: T201 -- the figure is the point
    assert readers.violations == []


CHECKED = (
    *("/v1/rates", "/v1/rates/next", "/v1/rates?lang=ru", "/widget?codes=USD,EUR", "/scripts/XML_daily.asp"),
    *("/v1/series?codes=USD&since=2026-01-01", "/frankfurter/v1/latest"),
)
# The service computes their figures, or they have none.
OTHERS = ("/v1/rates?quote_currency=EUR&lang=ru", "/v1/currencies", "/readyz")
# The 99th percentile is judged where nothing else runs; elsewhere fewer answers show the same.
QUIET_ANSWERS, LEAST_ANSWERS = (400, 600) if STRICT or LONG else (100, 200)
READERS, PER_SECOND = 2, 250.0

# The limit of the table, and the time of the same requests just before the fault. That no request waits for Redis is
# shown by tests/guarded.py.
MOST_P99_S = 0.05
TIMES_QUIET = 3

Get = Callable[[str], Awaitable[tuple[int, Mapping[str, str], bytes]]]


class Replica(Protocol):
    """A running service, its Bank and its clock."""

    @property
    def url(self) -> str: ...
    @property
    def bank(self) -> Bank: ...
    @property
    def now(self) -> Callable[[], datetime]: ...


def p99(seconds: Sequence[float]) -> float:
    return sorted(seconds)[int(len(seconds) * 0.99)]


@dataclass
class Load:
    """Seconds of every answer before and during the fault. The readers have all wrong answers."""

    readers: Readers
    quiet: list[float] = field(default_factory=list)
    during: list[float] = field(default_factory=list)

    async def lasts(self, answers: int = LEAST_ANSWERS) -> None:
        """Wait for so many more answers."""
        wanted = len(self.readers.taken) + answers
        await eventually(lambda: len(self.readers.taken) >= wanted)

    async def ends(self) -> None:
        """Wait for enough answers under the fault. Later answers belong to the recovery, which has no limit."""
        await self.lasts(max(0, LEAST_ANSWERS - len(self.during)))
        self.readers.taken = []

    def judge(self) -> None:
        """Check all answers at the end."""
        quiet_s, during_s = p99(self.quiet), p99(self.during)
        most_s = limit_s(MOST_P99_S) + TIMES_QUIET * quiet_s
        print(  # noqa: T201 -- the figures are the point
            f"\n  {len(self.during)} answers during the fault: p99 {during_s * 1000:.1f} ms of {most_s * 1000:.0f},"
            f" longest {max(self.during) * 1000:.0f} ms; quiet p99 {quiet_s * 1000:.1f} ms"
        )
        assert self.readers.violations == []
        assert self.readers.lost == 0, self.readers.answers
        assert len(self.during) >= LEAST_ANSWERS
        assert during_s < most_s


@asynccontextmanager
async def under_load(served: Replica) -> AsyncIterator[Load]:
    """No reader waits longer than without the fault or gets an error, and every answer keeps the invariant I.

    It begins with a measurement without the fault, which then lasts until `Load.ends` or the end of the context.
    """
    paths = (*CHECKED, f"/v1/rates/{sorted(served.bank.truth)[1]}", *OTHERS)
    for path in paths:  # the first request of each kind takes longer
        await fetched(served.url + path)
    load = Load(Readers(served.url, served.bank, PER_SECOND, paths, READERS, "alone", OTHERS, served.now))
    load.readers.taken = load.quiet
    async with load.readers as readers:
        await load.lasts(QUIET_ANSWERS)
        readers.taken = load.during
        yield load
        await load.ends()
        await readers.rest()
    load.judge()


async def look(get: Get, reader: Invariant) -> set[int]:
    """Request every checked path once. Returns the statuses."""
    statuses = set()
    for path in CHECKED:
        status, headers, body = await get(path)
        reader.check(path, status, headers.get("Content-Type", ""), body)
        statuses.add(status)
    assert not reader.violations, reader.violations
    return statuses
