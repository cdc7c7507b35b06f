"""The invariant I, checked by a reader that shares no code with ratesvc, and readers that ask all the time.

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
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from math import inf
from typing import Any, Self
from xml.etree import ElementTree as ET

import aiohttp

from kit.http import client
from kit.time import STRICT, eventually, patience_s
from ratesvc.domain.rates import Sheet

MOSCOW = timezone(timedelta(hours=3))
TODAY = re.compile(r"/v1/rates(?:/today)?(?:\?.*)?")
NEXT = re.compile(r"/v1/rates/next(?:\?.*)?")
DAY = re.compile(r"/v1/rates/[0-9]{4}-[0-9]{2}-[0-9]{2}(?:\?.*)?")

# Code → nominal and value in roubles.
Rates = Mapping[str, tuple[int, Decimal]]
# All revisions that the Bank has published so far.
Truth = Mapping[date, Sequence[Sheet]]
Get = Callable[[str], Awaitable[tuple[int, Mapping[str, str], bytes]]]

LOADING = "urn:ratesvc:history_loading"
"""The only 503 of a replica that holds a sheet."""


@dataclass(frozen=True)
class Shown:
    """The answers of a replica up to the moment of a request. The answer to that request must not fall behind them.

    Concurrent requests may be answered in any order.
    """

    today: tuple[date, int] = (date.min, 0)
    revisions: Mapping[date, int] = field(default_factory=dict)
    series: int = 0


@dataclass
class Invariant:
    """Checks the answers of one replica. `truth` has every revision of the Bank by effective date."""

    truth: Truth
    now: Callable[[], datetime]
    holds_a_sheet: bool = False
    violations: list[str] = field(default_factory=list)
    _today: tuple[date, int] = (date.min, 0)
    _given: set[str] = field(default_factory=set)
    _series: dict[tuple[date, str], None] = field(default_factory=dict)
    _accepted: dict[tuple[date, int], Rates] = field(default_factory=dict)

    @property
    def shown(self) -> Shown:
        """Take it before a request that runs beside others."""
        return Shown(self._today, dict(sorted(self._accepted)), len(self._series))

    def must_show(self, effective: date, revision: int) -> None:
        """Requests from now on may not get an older sheet as today's."""
        self._today = max(self._today, (effective, revision))

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
        if path in READERS:
            return self._claims(path, status, body, before)
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

    def _claims(self, path: str, status: int, body: bytes, before: Shown) -> list[str]:
        if status != 200:
            is_loading = LOADING.encode() in body and path not in self._given
            is_honest = status >= 500 and (is_loading or not self.holds_a_sheet)
            return [] if is_honest else [f"{body[:80]!r} though this replica holds a sheet"]
        self._given.add(path)
        claims = list(READERS[path](body))
        wrong = [claim for claim in claims if claim[2:] not in [one.get(claim[1]) for one in self._wordings(claim[0])]]
        if path.startswith("/v1/series"):
            lost = set(list(self._series)[: before.series]) - {claim[:2] for claim in claims}
            self._series |= dict.fromkeys(claim[:2] for claim in claims)
            if lost:
                return [f"no longer in the series: {sorted(lost)}"]
        return [f"not what the Bank set: {wrong}"] if wrong or not claims else []

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


Claim = tuple[date, str, int, Decimal]


def of_the_bank(body: bytes) -> Iterator[Claim]:
    root = ET.fromstring(body)  # noqa: S314 -- our own service's answer
    day = datetime.strptime(root.attrib["Date"], "%d.%m.%Y").date()  # noqa: DTZ007 -- a day, not a time
    for row in root:
        code, nominal, value = (row.findtext(name, "") for name in ("CharCode", "Nominal", "Value"))
        yield day, code, int(nominal), Decimal(value.replace(",", "."))


def of_frankfurter(body: bytes) -> Iterator[Claim]:
    document = json.loads(body, parse_float=Decimal)
    yield date.fromisoformat(document["date"]), "EUR", 1, Decimal(document["rates"]["RUB"])


def of_the_widget(body: bytes) -> Iterator[Claim]:
    text = body.decode()
    days = re.findall(r'<time datetime="([0-9-]+)"', text)
    _head, *rows = re.findall(r"<tr\b.*?</tr>", text)
    for row in rows:
        (code,) = re.findall(r'cbr-code"[^>]*>([A-Z]{3})<', row)
        cells = re.findall(r'<td class="cbr-(?:today|value)">([0-9.]+)<', row)
        for day, cell in zip(days, cells, strict=True):
            yield date.fromisoformat(day), code, 1, Decimal(cell)


def of_a_series(body: bytes) -> Iterator[Claim]:
    for row in json.loads(body, parse_float=Decimal)["rows"]:
        yield date.fromisoformat(row["date"]), row["code"], 1, Decimal(row["unit_rate"])


READERS: dict[str, Callable[[bytes], Iterator[Claim]]] = {
    "/scripts/XML_daily.asp": of_the_bank,
    "/frankfurter/v1/latest": of_frankfurter,
    "/widget?codes=USD,EUR": of_the_widget,
    "/v1/series?codes=USD&since=2026-01-01": of_a_series,
}


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
