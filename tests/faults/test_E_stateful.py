"""Table E, row 9: whatever happens in whatever order, no answer is wrong, and in the end everything is right again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import uuid
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from conftest import Clock, Served, eventually, in_nightly, service_running
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from kit.bank import Bank, bank_running, daily_xml, unavailable
from kit.dates import DAYS
from kit.reader import MOSCOW, Invariant
from kit.redis import RealRedis
from kit.sheets import all_times, changed, plausible, times, without

from ratesvc.bank.client import Limits
from ratesvc.config import Cbr, Redis, Server, Settings
from ratesvc.domain.rates import Sheet
from ratesvc.domain.workdays import ONE_DAY
from ratesvc.storage.records import decode_revision, field_of

# A fault of the Bank ends by a limit of time. On a crowded machine other requests may reach it, too.
HASTY = Limits(512 * 1024, 1.0, connect_s=0.5)
STORIES = int(os.environ.get("RATESVC_STORIES", "8"))
HAPPENINGS = 50 if "RATESVC_STORIES" in os.environ else 20
PAST = date(2026, 4, 12)
PATHS = ("/v1/rates", "/v1/rates/next", f"/v1/rates/{PAST}", "/widget?codes=USD,EUR")

CORRUPTIONS: dict[str, Callable[[Sheet], bytes]] = {
    "a page": lambda _: b"<html><body>ddos-guard</body></html>",
    "cut": lambda sheet: daily_xml(sheet)[:-400],
    "half of the rows": lambda sheet: daily_xml(replace(sheet, quotes=sheet.quotes[::2])),
    "all ten times": lambda sheet: daily_xml(all_times(sheet, "10")),
    "one alone": lambda sheet: daily_xml(changed(sheet, PLN=times("1.22"))),
    "no dollar": lambda sheet: daily_xml(without(sheet, "USD")),
    "next year": lambda sheet: daily_xml(
        replace(sheet, effective_date=sheet.effective_date.replace(year=sheet.effective_date.year + 1))
    ),
}


class Happenings(RuleBasedStateMachine):
    """The Bank, a Redis of its own, a clock and one service. Between two rules nothing moves."""

    folder: Path

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.do = self.runner.run
        self.clock = Clock()
        self.bank = Bank()
        self.redis = RealRedis(self.folder / uuid.uuid4().hex, "valkey")
        self.stopped = False
        self.served: Served
        self.reader: Invariant
        self.around, self.running = AsyncExitStack(), AsyncExitStack()
        self.answered: set[str] = set()
        self.do(self.open())

    async def open(self) -> None:
        """Five weeks of sheets, an empty Redis, and a service that has taken all sheets."""
        try:
            self.redis.start()
            self.bank.publish(*map(plausible, DAYS))
            await self.around.enter_async_context(bank_running(self.bank))
            await self.start()
            await eventually(lambda: self.served.service.history.coverage)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        await self.running.aclose()
        await self.around.aclose()
        self.redis.kill()

    async def start(self) -> None:
        redis, bank = (
            Redis(url=self.redis.url, namespace="world"),
            Cbr(mirrors=(self.bank.url,), backfill_gap_seconds=0),
        )
        server = Server(port=0, drain_seconds=0)
        own = Settings(server=server, data_dir=str(self.folder), redis=redis, cbr=bank, poll_seconds=3600)
        self.served = await self.running.enter_async_context(service_running(own, self.clock))
        self.served.service.client.daily_limits = HASTY
        self.reader = Invariant(self.bank.truth, self.clock)
        await eventually(lambda: not any(task.get_name() == "poll" for task in asyncio.all_tasks()))

    def teardown(self) -> None:
        try:
            self.do(self.settle())
        finally:
            self.do(self.close())
            self.runner.close()

    async def settle(self) -> None:
        """All faults end: soon the Bank's last revision is served, and Redis holds it."""
        self.the_bank_recovers()
        if not self.redis_answers:
            self.redis_is_back()
        with self.redis.client() as client:
            # Leases expire in real time, which does not pass here.
            client.delete("{world}:v2:lease:poll", "{world}:v2:lease:backfill")
        await eventually(self.is_right)
        await self.look()

    async def is_right(self) -> bool:
        # The time of a backfill that failed does not come here either.
        self.served.service.schedule.run_in("backfill", None)
        await self.served.service.poll()
        status, _, body = await self.served.get(f"/v1/rates/{self.newest.effective_date}")
        rows = json.loads(body, parse_float=Decimal, parse_int=int).get("rates", {})
        shown = {code: (row["nominal"], Decimal(row["value"])) for code, row in rows.items()}
        right = {quote.code: (quote.nominal, quote.value) for quote in self.newest.quotes}
        return status == 200 and shown == right and self.is_all_in_redis()

    # The Bank

    @property
    def newest(self) -> Sheet:
        """The last revision of the last sheet."""
        return self.bank.truth[max(self.bank.truth)][-1]

    @property
    def following(self) -> date:
        return self.served.service.history.calendar.effective_date_after(self.newest.effective_date)

    @precondition(lambda self: self.following <= self.clock().astimezone(MOSCOW).date() + ONE_DAY)
    @rule()
    def the_bank_publishes(self) -> None:
        self.the_bank_recovers()
        self.bank.publish(plausible(self.following))

    @rule(kopecks=st.integers(-300, 300))
    def the_bank_revises(self, kopecks: int) -> None:
        """Other figures for the newest day: all currencies move with the dollar."""
        dollar = Decimal("75.5273") + Decimal(kopecks).scaleb(-2)
        self.bank.publish(plausible(self.newest.effective_date, str(dollar)))
        self.the_bank_recovers()

    @rule(corruption=st.sampled_from([*CORRUPTIONS]))
    def the_bank_errs(self, corruption: str) -> None:
        """The newest document is wrong, while the English one is right."""
        self.bank.documents[self.newest.effective_date] = CORRUPTIONS[corruption](self.newest)
        self.bank.english = daily_xml(self.newest)

    @rule()
    def the_bank_refuses(self) -> None:
        self.bank.misbehave = unavailable

    @rule()
    def the_bank_recovers(self) -> None:
        self.bank.documents[self.newest.effective_date] = daily_xml(self.newest)
        self.bank.english = self.bank.misbehave = None

    # The service

    @rule()
    def the_service_polls(self) -> None:
        self.do(self.served.service.poll())

    @rule()
    def a_person_fetches(self) -> None:
        self.do(self.served.service.refresher.ask_without_lease())

    @rule(hours=st.sampled_from([1, 5, 12, 24, 72]))
    def time_passes(self, hours: int) -> None:
        self.clock.advance(hours=hours)
        self.do(self.served.service.tick())

    @rule()
    def the_service_restarts(self) -> None:
        """It remembers nothing. If its Redis holds everything, it must answer as before."""
        before, kept = self.reader, self.is_all_in_redis()
        self.do(self.running.aclose())
        self.do(self.start())
        if kept:
            self.reader = before
        else:
            self.answered.clear()

    # Redis, which forgets everything when it is killed

    @property
    def redis_answers(self) -> bool:
        return self.redis.process is not None and not self.stopped

    def is_all_in_redis(self) -> bool:
        if not self.redis_answers:
            return False
        with self.redis.client() as client:
            stored: Any = client.hgetall("{world}:v2:sheets")
            coverage = client.exists("{world}:v2:coverage")
        # A service that began without Redis may hold another revision under the same number.
        return bool(coverage) and all(
            (there := decode_revision(field, stored.get(field.encode()))) and there.sheet.says_the_same_as(held.sheet)
            for held in self.served.service.history.documents()
            for field in [field_of(held)]
        )

    @precondition(lambda self: self.redis_answers)
    @rule()
    def redis_is_flushed(self) -> None:
        with self.redis.client() as client:
            client.flushall()

    @precondition(lambda self: self.redis_answers)
    @rule()
    def redis_stops(self) -> None:
        self.redis.signal(signal.SIGSTOP)
        self.stopped = True

    @precondition(lambda self: self.redis.process)
    @rule()
    def redis_is_killed(self) -> None:
        self.redis.kill()
        self.stopped = False

    @precondition(lambda self: not self.redis_answers)
    @rule()
    def redis_is_back(self) -> None:
        """Redis goes on, or starts again with nothing in it."""
        if self.stopped:
            self.redis.signal(signal.SIGCONT)
        else:
            self.redis.start()
        self.stopped = False

    @invariant()
    def every_answer_is_right(self) -> None:
        self.do(self.look())

    async def look(self) -> None:
        for path in PATHS:
            status, headers, body = await self.served.get(path)
            self.reader.check(path, status, headers["Content-Type"], body)
            if path != "/v1/rates/next":
                assert status == 200 or path not in self.answered, f"{path} was answered before: {status} {body!r}"
                self.answered |= {path} if status == 200 else set()
        assert self.reader.violations == []


@pytest.mark.slow
@pytest.mark.breaks_redis
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # connections cut by a killed Redis
@pytest.mark.parametrize("stories", [3, *in_nightly(STORIES)])
def test_E9_anything_in_any_order(tmp_path: Path, stories: int) -> None:
    """The Bank publishes, corrects and errs, midnights pass, Redis dies and forgets, the service restarts.

    `RATESVC_STORIES` says how many stories `make nightly` tells, of 50 happenings each.
    """
    run_state_machine_as_test(
        type("Happenings", (Happenings,), {"folder": tmp_path}),
        settings=settings(
            max_examples=stories, stateful_step_count=HAPPENINGS, suppress_health_check=[HealthCheck.too_slow]
        ),
    )
