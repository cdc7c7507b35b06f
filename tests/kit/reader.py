"""The invariant I, checked by a reader that shares no code with ratesvc, of one service and of a fleet.

An answer has that day's numbers as the Bank published them, or is a problem document, or is flagged stale. Today's
sheet never goes backwards. A replica that holds a sheet answers no 5xx. A day of history never disappears and never
changes without a new revision.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from math import inf
from pathlib import Path
from typing import Any, Self

import aiohttp
from conftest import Clock, Served, but, service_running

from kit.bank import Bank, around_today
from kit.dates import FRIDAY, SATURDAY
from kit.http import client, says
from kit.proxies import UNLIMITED
from kit.service import Program, free_port, serving
from kit.time import STRICT, eventually, patience_s
from ratesvc.config import Settings
from ratesvc.domain.rates import Sheet

MOSCOW = timezone(timedelta(hours=3))
TODAY = re.compile(r"/v1/rates(?:/today)?(?:\?.*)?")
NEXT = re.compile(r"/v1/rates/next(?:\?.*)?")
DAY = re.compile(r"/v1/rates/[0-9]{4}-[0-9]{2}-[0-9]{2}(?:\?.*)?")

# Code → nominal and value in roubles.
Rates = Mapping[str, tuple[int, Decimal]]
# All revisions that the Bank has published so far.
Truth = Mapping[date, Sequence[Sheet]]

LOADING = "urn:ratesvc:history_loading"
"""The only 503 of a replica that holds a sheet."""


@dataclass(frozen=True)
class Shown:
    """The answers of a replica up to the moment of a request. The answer to that request must not fall behind them.

    Concurrent requests may be answered in any order.
    """

    today: tuple[date, int] = (date.min, 0)
    revisions: Mapping[date, int] = field(default_factory=dict)


@dataclass
class Invariant:
    """Checks the answers of one replica. `truth` has every revision of the Bank by effective date."""

    truth: Truth
    now: Callable[[], datetime]
    holds_a_sheet: bool = False
    violations: list[str] = field(default_factory=list)
    _today: tuple[date, int] = (date.min, 0)
    _given: set[str] = field(default_factory=set)
    _accepted: dict[tuple[date, int], Rates] = field(default_factory=dict)

    @property
    def shown(self) -> Shown:
        """Take it before a request that runs beside others."""
        return Shown(self._today, dict(sorted(self._accepted)))

    def check(self, path: str, status: int, content_type: str, body: bytes, before: Shown | None = None) -> None:
        """Check one answer to a GET without `quote` or `codes`, and add what is wrong to `violations`."""
        try:
            problems = self._problems(path, status, content_type, body, before or self.shown)
        except Exception as error:  # noqa: BLE001 -- other readers would fail on it too
            problems = [f"unreadable: {error!r}"]
        for problem in problems:
            self.violations.append(f"{self.now():%Y-%m-%d %H:%M} {path} {status}: {problem}")

    def _problems(self, path: str, status: int, content_type: str, body: bytes, before: Shown) -> list[str]:
        if status == 304:
            return []
        document = json.loads(body, parse_float=Decimal, parse_int=int) if "json" in content_type else None
        if status != 200:
            gone = ["was answered before"] if path in self._given else []
            return [*gone, *self._refusal(status, content_type, document)]
        if not isinstance(document, dict) or "rates" not in document:
            return ["200 without rates"]
        self.holds_a_sheet = True
        if DAY.fullmatch(path):
            self._given.add(path)
        return [*self._numbers(document, before), *self._day(path, document, before)]

    def _refusal(self, status: int, content_type: str, document: Any) -> list[str]:
        kind = document.get("type") if isinstance(document, dict) else None
        if not content_type.startswith("application/problem+json") or not str(kind).startswith("urn:ratesvc:"):
            return [f"neither rates nor a problem document: {content_type}"]
        if status >= 500 and self.holds_a_sheet and kind != LOADING:
            return [f"{kind} though this replica holds a sheet"]
        return []

    def _numbers(self, document: Mapping[str, Any], before: Shown) -> list[str]:
        effective = date.fromisoformat(document["effective_date"])
        shown = {code: (row["nominal"], Decimal(row["value"])) for code, row in document["rates"].items()}
        wrong = [] if shown in self._wordings(effective) else [f"not the figures that the Bank set for {effective}"]
        revision = document["revision"]
        if before.revisions.get(effective, 0) > revision:
            wrong.append(f"a later revision of {effective} was there before revision {revision}")
        if self._accepted.setdefault((effective, revision), shown) != shown:
            wrong.append(f"revision {revision} of {effective} was another before")
        for code, row in document["rates"].items():
            if Decimal(row["unit_rate"]) * row["nominal"] != row["value"]:
                wrong.append(f"{code}: unit rate × nominal is not the value")
        return wrong

    def _wordings(self, day: date) -> list[Rates]:
        return [{quote.code: (quote.nominal, quote.value) for quote in one.quotes} for one in self.truth.get(day, ())]

    def _day(self, path: str, document: Mapping[str, Any], before: Shown) -> list[str]:
        effective, requested = (date.fromisoformat(document[name]) for name in ("effective_date", "date"))
        set_by_then = [day for day in self.truth if day <= requested]
        right = max(set_by_then, default=None)
        wrong = (
            [] if effective == right or document["stale"] else [f"{effective} shown for {requested}, set was {right}"]
        )
        if TODAY.fullmatch(path):
            if requested != self.now().astimezone(MOSCOW).date():
                wrong.append(f"today is not {requested}")
            shown = (effective, document["revision"])
            if shown < before.today:
                wrong.append(f"went back from {before.today} to {shown}")
            self._today = max(self._today, shown)
        if NEXT.fullmatch(path) and effective <= self.now().astimezone(MOSCOW).date():
            wrong.append(f"{effective} is not to come")
        return wrong


def heads_of(fragment: str) -> list[tuple[str, date]]:
    """What an English widget writes over its rates, such as Today, and the day, in the year of its source."""
    year, *_ = re.findall(r"UniDbQuery\.To=\d\d\.\d\d\.(\d{4})", fragment) or ("",)
    head = r">(?:(\w+)</span> )?(?:since |from )?([A-Z][a-z]{2})[a-z]* (\d+)(?:, (\d{4}))?</th>"
    found = re.findall(head, fragment)
    return [
        (label, datetime.strptime(f"{own or year} {month} {day}", "%Y %b %d").date())  # noqa: DTZ007 -- a day, not a time
        for label, month, day, own in found
    ]


# Enough for a 99th percentile, which is judged where nothing else runs.
LEAST_ANSWERS = 600 if STRICT else 200


@dataclass
class Readers:
    """Send `per_second` requests, and keep what the answers show and how many seconds each took.

    They do not wait for answers before `at_once` are missing. `alone` names the only replica, which has no proxy.
    """

    url: str
    truth: Truth
    per_second: float
    paths: tuple[str, ...]
    at_once: float = inf
    alone: str = ""
    unchecked: tuple[str, ...] = ()
    now: Callable[[], datetime] = lambda: datetime.now(MOSCOW)
    taken: list[float] = field(default_factory=list)
    during: list[float] = field(default_factory=list)
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

    async def ends(self) -> None:
        """Wait for enough answers under the fault. Later answers belong to the recovery, which has no limit."""
        if not self.during:
            await eventually(lambda: len(self.taken) >= LEAST_ANSWERS)
            self.during, self.taken = self.taken, []

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
        asked, begun = self._today(), time.monotonic()
        before = {replica: invariant.shown for replica, invariant in self.invariants.items()}
        try:
            async with self._http.get(self.url + path) as answer:
                body = await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            self.answers[type(error).__name__] += 1
            return
        self.taken.append(time.monotonic() - begun)
        is_odd = answer.status == 404 and not NEXT.fullmatch(path)
        self.answers[f"404 {path}" if is_odd else str(answer.status)] += 1
        # The proxy's own answers have no replica.
        if replica := answer.headers.get("X-Replica", self.alone):
            self.by_replica[replica] += 1
            # Asked before midnight and answered after it, it may be of either day.
            if asked == self._today() and path not in self.unchecked:
                invariant = self.invariants.setdefault(replica, Invariant(self.truth, self.now))
                shown = before.get(replica, Shown())
                invariant.check(path, answer.status, answer.headers["Content-Type"], body, shown)

    def _today(self) -> date:
        return self.now().astimezone(MOSCOW).date()


def p99(seconds: Sequence[float]) -> float:
    return sorted(seconds)[int(len(seconds) * 0.99)]


PATHS = ("/v1/rates", "/v1/rates/today", "/v1/rates/next", "/v1/rates?lang=ru")


class Watched(Served):
    """A service whose answers are checked all the time."""

    async def next_is(self, day: date) -> bool:
        """Whether tomorrow's sheet is served."""
        return await says(self, "/v1/rates/next", f'"effective_date":"{day}"'.encode())

    async def polls(self, count: int = 2) -> None:
        """Wait for the end of `count` more polls."""
        for _ in range(count):
            last = self.service.telemetry.last_cycle
            await eventually(lambda last=last: self.service.telemetry.last_cycle is not last)  # type: ignore[misc]


@asynccontextmanager
async def watched(settings: Settings, bank: Bank, clock: Clock, every_s: float = 0.1) -> AsyncIterator[Watched]:
    """It holds all sheets of the Bank, and a reader checks the invariant I on every answer while the context lasts.

    It polls every `every_s` seconds.
    """
    bank.now = clock
    async with service_running(but(settings, poll_seconds=every_s), clock) as running:
        served = Watched(running.service, running.url, running.http)
        await served.ready()
        history = served.service.history
        await eventually(lambda: history.settled and len(history.days) >= len(bank.truth))
        paths = (*PATHS, f"/v1/rates/{FRIDAY}", f"/v1/rates/{SATURDAY}")
        async with Readers(served.url, bank.truth, 200.0, paths, 1, "alone", now=served.service.clock) as readers:
            yield served
            asked = len(readers.taken)
            await eventually(lambda: len(readers.taken) > asked + len(paths))
        assert readers.violations == []


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
async def fleet(
    shared: dict[str, str],
    bank: Bank,
    folder: Path,
    *,
    per_second: float = 200.0,
    front: str = "haproxy",
) -> AsyncIterator[Fleet]:
    """Both replicas serve when the context begins; a reader checks the invariant I on every answer."""
    around_today(bank, back=9)  # so that history is settled, which ends a week ago
    ports = [str(free_port()) for _ in range(2)]
    async with AsyncExitStack() as stack:

        async def start(number: int) -> Program:
            variables = {**shared, "RATESVC_PORT": ports[number]}
            program = await stack.enter_async_context(serving(folder, **variables))
            await program.ready()
            return program

        programs = [await start(number) for number in range(2)]
        url = await stack.enter_async_context(UNLIMITED[front](folder, *(one.url for one in programs)))
        async with Readers(url, bank.truth, per_second, PATHS) as readers:
            await readers.also("replica0")
            await readers.also("replica1")
            readers.answers.clear()  # the proxy begins before it has asked its replicas
            yield Fleet(start, readers, programs)
    print(f"\n  {dict(readers.answers)}")  # noqa: T201 -- the figure is the point
    assert readers.violations == []
