"""A whole world to do things to: the Bank, a Redis of its own, a clock, one service, and the reader of all answers."""

from __future__ import annotations

import asyncio
import json
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from conftest import Clock, eventually
from fake_bank import Bank, bank_running, daily_xml, workdays
from invariant import MOSCOW, Invariant
from redis_servers import RealRedis
from sheets import all_times, changed, figures, plausible, times, without
from watched import LIMITS, Watched, polling

from ratesvc.bank.client import Pace
from ratesvc.config import Redis, Server, Settings
from ratesvc.domain.rates import Sheet
from ratesvc.service.app import Service
from ratesvc.storage.records import decode_revision, field_of
from ratesvc.web.app import listening

DAYS = list(workdays(date(2026, 3, 10), 34))
PAST = date(2026, 4, 12)
ROWS = "/widget/rows.json?codes=USD,EUR&lang=en"
Corruption = Callable[[Sheet], bytes]
PATHS = ("/v1/rates", "/v1/rates/next", f"/v1/rates/{PAST}", ROWS)


def _page(_: Sheet) -> bytes:
    return b"<html><body>ddos-guard</body></html>"


def _cut(sheet: Sheet) -> bytes:
    return daily_xml(sheet)[:-400]


def _half(sheet: Sheet) -> bytes:
    return daily_xml(replace(sheet, quotes=sheet.quotes[::2]))


def _ten_times(sheet: Sheet) -> bytes:
    return daily_xml(all_times(sheet, "10"))


def _alone(sheet: Sheet) -> bytes:
    return daily_xml(changed(sheet, PLN=times("1.22")))


def _no_dollar(sheet: Sheet) -> bytes:
    return daily_xml(without(sheet, "USD"))


def _next_year(sheet: Sheet) -> bytes:
    return daily_xml(replace(sheet, effective_date=sheet.effective_date.replace(year=sheet.effective_date.year + 1)))


CORRUPTIONS = (_page, _cut, _half, _ten_times, _alone, _no_dollar, _next_year)


class World:
    """What the rules act on. `settle` makes all faults end, and waits until everything is right again."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.redis = RealRedis(folder / uuid.uuid4().hex, "valkey")
        self.stopped = False
        self.bank = Bank()
        self.served: Watched
        self._settings = Settings(
            server=Server(port=0, drain_seconds=0),
            data_dir=str(folder),
            redis=Redis(url=self.redis.url, namespace="world"),
        )
        self._around = AsyncExitStack()
        self._running = AsyncExitStack()
        self._answered: set[str] = set()

    async def open(self) -> None:
        """Five weeks of sheets, an empty Redis, a service that has taken them all."""
        try:
            self.redis.start()
            self.bank.publish(*map(plausible, DAYS))
            await self._around.enter_async_context(bank_running(self.bank))
            self._settings = polling(self._settings, self.bank.url, 3600)
            await self._start()
            await eventually(lambda: self.served.service.history.coverage)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        await self._running.aclose()
        await self._around.aclose()
        self.redis.kill()

    async def _start(self) -> None:
        service = await self._running.enter_async_context(
            Service(self._settings, clock=self.clock, limits=LIMITS, pace=Pace(None))
        )
        url = await self._running.enter_async_context(listening(service))
        http = await self._running.enter_async_context(
            aiohttp.ClientSession(auto_decompress=False, headers={"Accept-Encoding": "identity"})
        )
        self.served = Watched(service, url.replace("localhost", "127.0.0.1"), http, Invariant(self._truth, self.clock))
        await eventually(lambda: not any(task.get_name() == "poll" for task in asyncio.all_tasks()))
        await self._heard()

    async def _heard(self) -> None:
        """Wait until what the last poll stored has come back as an announcement."""
        cycle, history = self.served.service.telemetry.last_cycle, self.served.service.history
        keys = {one.key for one in cycle.accepted} if cycle else set()
        await eventually(lambda: keys <= {one.key for one in history})

    def _truth(self) -> dict[date, list[dict[str, tuple[int, str]]]]:
        return {day: [dict(figures(one)) for one in wordings] for day, wordings in self.bank.truth.items()}

    # The Bank

    @property
    def today(self) -> date:
        return self.clock().astimezone(MOSCOW).date()

    @property
    def newest(self) -> Sheet:
        """The last wording of the last sheet that was set."""
        return self.bank.truth[max(self.bank.truth)][-1]

    @property
    def following(self) -> date:
        return self.served.service.history.calendar.effective_date_after(self.newest.effective_date)

    def publishes(self) -> None:
        self.recovers()
        self.bank.publish(plausible(self.following))

    def revises(self, kopecks: int) -> None:
        """Other figures for the newest day: all move as the dollar does by so much."""
        dollar = Decimal("75.5273") + Decimal(kopecks).scaleb(-2)
        self.bank.publish(plausible(self.newest.effective_date, str(dollar)))
        self._tells_the_truth()

    def errs(self, corruption: Corruption) -> None:
        """The newest document is wrong, while the one in English is right."""
        self.bank.documents[self.newest.effective_date] = corruption(self.newest)
        self.bank.english = daily_xml(self.newest)

    def refuses(self) -> None:
        async def refuse(_: web.Request) -> web.StreamResponse:
            return web.Response(status=503)

        self.bank.misbehave = refuse

    def recovers(self) -> None:
        self.bank.documents[self.newest.effective_date] = daily_xml(self.newest)
        self._tells_the_truth()

    def _tells_the_truth(self) -> None:
        self.bank.english = self.bank.misbehave = None

    # Redis, which forgets everything when it is killed

    @property
    def redis_answers(self) -> bool:
        return self.redis.process is not None and not self.stopped

    def kills_redis(self) -> None:
        self.redis.kill()
        self.stopped = False

    def flushes_redis(self) -> None:
        with self.redis.client() as client:
            client.flushall()

    def stops_redis(self) -> None:
        self.redis.signal(signal.SIGSTOP)
        self.stopped = True

    def has_redis_again(self) -> None:
        """It goes on, or starts again with nothing in it."""
        if self.stopped:
            self.redis.signal(signal.SIGCONT)
        elif self.redis.process is None:
            self.redis.start()
        self.stopped = False

    def _is_all_in_redis(self) -> bool:
        if not self.redis_answers:
            return False
        with self.redis.client() as client:
            stored: Any = client.hgetall("{world}:v1:sheets")
            coverage = client.exists("{world}:v1:span")
        # Under the same number an earlier wording may stand: of one that began without Redis only memory knows.
        return bool(coverage) and all(
            (there := decode_revision(field, stored.get(field.encode()))) and there.sheet.says_the_same_as(held.sheet)
            for held in self.served.service.history
            for field in [field_of(*held.key)]
        )

    # The service

    async def polls(self) -> None:
        await self.served.service.poll()
        await self._heard()

    async def fetches(self) -> None:
        """What `ratesvc` does when a person asks."""
        await self.served.service.fetch(None)

    async def passes(self, hours: float) -> None:
        """The clock goes on, and what is due at midnight is done."""
        self.clock.advance(hours=hours)
        await self.served.service.republish()

    async def restarts(self) -> None:
        """A service that remembers nothing, over the same Redis; if that has all, it must answer as the old one."""
        before, kept = self.served.invariant, self._is_all_in_redis()
        await self._running.aclose()
        await self._start()
        if kept:
            self.served.invariant = before
        else:
            self._answered.clear()

    async def looks(self) -> None:
        """What every answer must keep, at a few addresses."""
        for path in PATHS:
            status, headers, body = await self.served.get(path)
            if path == ROWS:
                self._rows(status, body)
            else:
                self.served.invariant.check(path, status, headers["Content-Type"], body)
            if path != "/v1/rates/next":
                assert status == 200 or path not in self._answered, f"{path} was answered before: {status} {body!r}"
                self._answered |= {path} if status == 200 else set()
        assert not self.served.invariant.violations, self.served.invariant.violations

    def _rows(self, status: int, body: bytes) -> None:
        if status != 200:
            assert not self.served.invariant.holds_a_sheet, f"widget: {status} {body!r}"
            return
        document = json.loads(body)
        for row in document["rows"]:
            shown = zip(document["columns"][1:], row["cells"], strict=True)
            for day, cell in ((column["date"], cell) for column, cell in shown if "date" in column):
                right = set(self._worded(date.fromisoformat(day), row["code"]))
                assert cell in right, f"widget: {row['code']} on {day} is {cell}, set was {right}"

    def _worded(self, day: date, code: str) -> Iterator[str]:
        for sheet in self.bank.truth[day]:
            yield f"{sheet.by_code[code].value:,}"

    async def settles(self) -> None:
        """All faults end: the Bank's last word is served and in Redis, soon."""
        self.recovers()
        self.has_redis_again()
        with self.redis.client() as client:
            # They run out in real time, which does not pass here.
            client.delete("{world}:v1:lease:poll", "{world}:v1:lease:backfill")
        await eventually(self._is_right)
        await self.looks()

    async def _is_right(self) -> bool:
        # As of a lease, the time of a backfill that failed does not come here.
        scheduler = self.served.service._schedule._scheduler  # noqa: SLF001 -- nobody else knows the appointment
        if scheduler.get_job("backfill"):
            scheduler.remove_job("backfill")
        await self.served.service.poll()
        status, _, body = await self.served.get(f"/v1/rates/{self.newest.effective_date}")
        rows = json.loads(body, parse_float=Decimal, parse_int=int).get("rates", {})
        shown = {code: (row["nominal"], Decimal(row["value"])) for code, row in rows.items()}
        wanted = {quote.code: (quote.nominal, quote.value) for quote in self.newest.quotes}
        return status == 200 and shown == wanted and self._is_all_in_redis()
