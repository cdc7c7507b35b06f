"""Table F: a soak. It stays beside the simulated fleet, because only real processes leak.

The soak has two real replicas behind the proxy, a real Redis, the Bank and readers, and one fault after another. The
same seed gives the same faults in the same order. The first replica is never ended, so that its use of memory can be
compared over the whole run.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import aiohttp
import pytest
from aiohttp import web
from conftest import LONG, eventually
from kit.bank import Bank, Misbehaviour, daily_xml, sheet
from kit.front import ChaosProxy
from kit.ledger import Fault
from kit.reader import PATHS, READERS, Fleet, fleet, shared_by
from kit.redis import RealRedis, running
from kit.sheets import all_times, without
from kit.time import limit_s

from ratesvc.domain.rates import Sheet
from ratesvc.storage.redis import MOST_CONNECTIONS

pytestmark = pytest.mark.nightly

# `make nightly ARGS=soak` says how long, and in which order.
MINUTES = float(os.environ.get("SOAK_MINUTES") or (10 if LONG else 0.3))
SEED = int(os.environ.get("SOAK_SEED") or 7)
A_SECOND = 100 if MINUTES > 1 else 50


# A request that the Bank does not answer ends after 15 seconds. Until then no other replica polls.
RECOVERY_S = 20.0
COUNTED = (sys.executable, str(Path(__file__).with_name("counted.py")))

# Ten minutes are too short for a slope, so the growth counts, after five minutes of warming up or half a shorter run.
WARM_S = 300
SHORT_S = 90
# Pools open threads when more work comes at once, which may be late in a run. A leak opens them without end.
MOST_GAINED = {"megabytes": 5.0, "descriptors": 5, "tasks": 3, "threads": 4}


@dataclass
class Soak:
    """Everything that a fault can break, and the results."""

    bank: Bank
    redis: RealRedis
    link: ChaosProxy
    fleet: Fleet
    chance: Random
    violations: list[str] = field(default_factory=list)
    wordings: int = 0
    may_lose: int = 0
    lost: int = 0
    used: list[dict[str, float]] = field(default_factory=list)
    figures: list[str] = field(default_factory=list)
    connections: list[int] = field(default_factory=list)

    def publish(self) -> None:
        """The Bank corrects its newest sheet: a replica that serves the correction has recovered."""
        self.wordings += 1
        self.bank.publish(sheet(max(self.bank.truth), shift=self.wordings))

    async def lasts(self, shortest_s: float = 2.0, longest_s: float = 6.0) -> None:
        """The time that a fault lasts."""
        await asyncio.sleep(self.chance.uniform(shortest_s, longest_s))

    async def agree(self) -> bool:
        """Whether both replicas serve the last revision in the same bytes."""
        newest = self.bank.truth[max(self.bank.truth)][-1]
        shown = f'"value":{newest.by_code["USD"].value.normalize():f}'.encode()
        bodies = []
        for replica in self.fleet.programs:
            try:
                bodies.append((await replica.get("/v1/rates"))[2])
            except aiohttp.ClientError:
                return False
        return bodies[0] == bodies[1] and shown in bodies[0]

    async def bank_answers(self, misbehave: Misbehaviour) -> None:
        self.bank.misbehave = misbehave
        await self.lasts()
        self.bank.misbehave = None

    async def bank_says(self, wrong: Callable[[Sheet], bytes]) -> None:
        newest = max(self.bank.truth)
        self.bank.documents[newest] = wrong(self.bank.truth[newest][-1])
        await self.lasts()

    async def link_is(self, setting: str, value: float) -> None:
        setattr(self.link, setting, value)
        await self.lasts()
        self.link.well()
        self.link.cut()

    async def C1_restarted_empty(self) -> None:
        self.redis.kill()
        await self.lasts()
        await asyncio.to_thread(self.redis.start)

    async def C2_stopped(self) -> None:
        self.redis.signal(signal.SIGSTOP)
        await self.lasts()
        self.redis.signal(signal.SIGCONT)

    async def C8_flushed(self) -> None:
        with self.redis.client() as client:
            client.flushall()

    async def D1_killed(self) -> None:
        self.may_lose = len(self.fleet.readers.unanswered)
        self.fleet.programs[1].kill()
        await self.lasts()
        await self.fleet.again(1)

    async def D2_rolled(self) -> None:
        self.fleet.programs[1].kill(signal.SIGTERM)
        if code := await self.fleet.programs[1].ended():
            self.violations.append(f"a replica that was told to stop ended with {code}")
        await self.fleet.again(1)

    async def D3_stopped(self) -> None:
        replica = self.chance.choice(self.fleet.programs)
        replica.kill(signal.SIGSTOP)
        await self.lasts()
        replica.kill(signal.SIGCONT)

    async def one(self, name: str) -> None:
        """Run one fault, and check the recovery. It accounts for the requests lost since the last fault."""
        begun = time.monotonic()
        self.may_lose = 0
        await FAULTS[name](self)
        ended = time.monotonic()
        self.publish()
        try:
            await eventually(self.agree, within_s=limit_s(RECOVERY_S))
        except AssertionError:
            self.violations.append(f"{name}: the replicas do not agree {time.monotonic() - ended:.0f} s later")
        well_s = time.monotonic() - ended
        lost = self._lost_since()
        may = f" of {self.may_lose} in flight" if self.may_lose else ""
        print(f"  {name:<20} {ended - begun:4.1f} s, well after {well_s:4.1f} s, {lost} lost{may}", flush=True)
        if lost > self.may_lose:
            self.violations.append(f"{name}: {lost} requests were lost, {self.may_lose} might have been")
        with self.redis.client() as client:
            self.connections.append(client.info("clients")["connected_clients"] - 1)

    def pause_is_over(self) -> None:
        """No request may be lost between faults."""
        if lost := self._lost_since():
            self.violations.append(f"{lost} requests were lost between two faults")

    def _lost_since(self) -> int:
        before, self.lost = self.lost, self.fleet.readers.lost
        return self.lost - before

    async def look(self, folder: Path) -> None:
        """Note every second what the first replica uses."""
        process = self.fleet.programs[0].process
        counts = folder / f"{process.pid}.counts"
        process.send_signal(signal.SIGUSR1)
        await eventually(counts.exists)
        while True:
            process.send_signal(signal.SIGUSR1)
            await asyncio.sleep(1)
            self.used.append(json.loads(counts.read_text()))


def _answering(status: int, body: bytes) -> Misbehaviour:
    async def misbehave(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body, content_type="text/html")

    return misbehave


async def _silent(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(30)
    return web.Response()


FAULTS: dict[str, Callable[[Soak], Awaitable[None]]] = {
    "A13_a_page": lambda soak: soak.bank_answers(_answering(200, b"<!doctype html><title>Please wait</title>")),
    "A15_errors": lambda soak: soak.bank_answers(_answering(500, b"")),
    "A20_silence": lambda soak: soak.bank_answers(_silent),
    "B5_no_dollar": lambda soak: soak.bank_says(lambda sheet: daily_xml(without(sheet, "USD"))),
    "B6_cut": lambda soak: soak.bank_says(lambda sheet: daily_xml(sheet)[:-40]),
    "B12_ten_times": lambda soak: soak.bank_says(lambda sheet: daily_xml(all_times(sheet, "10"))),
    "C1_restarted_empty": Soak.C1_restarted_empty,
    "C2_stopped": Soak.C2_stopped,
    "C8_flushed": Soak.C8_flushed,
    "C14_blackhole": lambda soak: soak.link_is("blackhole", value=True),
    "C14_slow": lambda soak: soak.link_is("delay_s", 0.3),
    "C14_damaged": lambda soak: soak.link_is("damage_every", soak.chance.randrange(500, 5000)),
    "C14_reset": lambda soak: soak.link_is("reset_after", soak.chance.randrange(100, 5000)),
    "D1_killed": Soak.D1_killed,
    "D2_rolled": Soak.D2_rolled,
    "D3_stopped": Soak.D3_stopped,
}
"""By the names of their rows."""


async def soak(bank: Bank, minutes: float, seed: int, per_second: float, folder: Path) -> Soak:
    """Run it, and return the violations and figures."""
    redis = RealRedis(folder / "redis")
    with running(redis):
        async with ChaosProxy(redis.port) as link:
            shared = shared_by(bank, link.url, RATESVC_POLL_SECONDS="0.5", RATESVC_DRAIN_SECONDS="4")
            paths = (*PATHS, *READERS)
            async with fleet(shared, bank, folder, started_by=COUNTED, per_second=per_second, paths=paths) as two:
                over = Soak(bank, redis, link, two, Random(seed))  # noqa: S311 -- a seed, so that it can be seen again
                await eventually(over.agree)
                looking = asyncio.create_task(over.look(folder))
                try:
                    await go_on(over, minutes)
                finally:
                    looking.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await looking
                judge(over)
    return over


async def go_on(soak: Soak, minutes: float) -> None:
    """One fault after another. Short runs pause less, to run as many."""
    until = time.monotonic() + minutes * 60
    pause_s = (8.0, 20.0) if minutes > 5 else (1.0, 4.0)
    bag: list[str] = []
    while time.monotonic() < until:
        if not bag:
            bag = soak.chance.sample([*FAULTS], k=len(FAULTS))
        await soak.one(bag.pop())
        await soak.lasts(*pause_s)
        soak.pause_is_over()


def judge(soak: Soak) -> None:
    """Write the figures, and note what exceeds its limit."""
    answers, limit = soak.fleet.readers.answers, MOST_CONNECTIONS * len(soak.fleet.programs)
    said = ", ".join(f"{count} × {status}" for status, count in sorted(answers.items()))
    soak.figures.append(f"{answers.total()} answers ({said}), {soak.lost} lost")
    soak.figures.append(f"at most {max(soak.connections)} connections to Redis, {limit} in the pools")
    if max(soak.connections) > limit:
        soak.violations.append(f"{max(soak.connections)} connections to Redis")
    warm = soak.used[min(WARM_S, len(soak.used) // 2) :]
    cold_s, third = len(soak.used) - len(warm), max(1, len(warm) // 3)
    soak.figures.append(f"the replica never ended, in {len(warm)} s after {cold_s} s of warming up")
    is_judged = len(soak.used) > SHORT_S
    for what, most in MOST_GAINED.items():
        # The least of a third: a fault, or the moment, needs more for a while, but a leak lifts the least.
        first, last = (min(use[what] for use in part) for part in (warm[:third], warm[-third:]))
        limit_text = f"at most {most:+g}" if is_judged else "too short to judge"
        soak.figures.append(f"{what} {first:.4g} → {last:.4g}, {limit_text}")
        if is_judged and last - first > most:
            soak.violations.append(f"{what} {first:g} → {last:g}")


async def test_F7_one_fault_after_another(bank: Bank, tmp_path: Path, fault: Fault) -> None:
    """Two replicas under one fault after another: every answer is right, only a kill loses requests, nothing grows.

    As `make nightly ARGS=soak`; without LONG_FAULTS it is over after a few faults.
    """
    over = await soak(bank, MINUTES, SEED, A_SECOND, tmp_path)
    fault.measured("; ".join([f"{MINUTES:g} minutes, seed {SEED}", *over.figures]))
    assert over.violations == []
