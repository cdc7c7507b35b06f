"""Table F: a soak. The simulated fleet has its faults and facts, but only a real process leaks.

A real replica, which is never ended, is looked at under one fault of its Bank, its Redis and its neighbour after
another. The same seed gives the same faults in the same order.
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

import pytest
from aiohttp import web
from conftest import LONG, eventually
from kit.bank import Bank, Misbehaviour, around_today, daily_xml, sheet
from kit.front import ChaosProxy
from kit.http import says
from kit.ledger import Fault
from kit.reader import PATHS, Readers, shared_by
from kit.redis import RealRedis, running
from kit.service import Program, serving, serving_by
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
    """Everything that a fault can break, and what is counted."""

    bank: Bank
    redis: RealRedis
    link: ChaosProxy
    replica: Program
    neighbour: Program
    chance: Random
    revisions: int = 0
    used: list[dict[str, float]] = field(default_factory=list)
    connections: list[int] = field(default_factory=list)

    async def lasts(self, shortest_s: float = 2.0, longest_s: float = 6.0) -> None:
        """The time that a fault lasts."""
        await asyncio.sleep(self.chance.uniform(shortest_s, longest_s))

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

    async def D3_neighbour_stopped(self) -> None:
        self.neighbour.kill(signal.SIGSTOP)
        await self.lasts()
        self.neighbour.kill(signal.SIGCONT)

    async def one(self, name: str) -> None:
        """Run one fault. The Bank corrects its newest sheet after it, and the replica serves the correction."""
        print(f"  {name}", end="", flush=True)
        await FAULTS[name](self)
        ended = time.monotonic()
        self.revisions += 1
        corrected = sheet(max(self.bank.truth), shift=self.revisions)
        self.bank.publish(corrected)
        shown = f'"value":{corrected.by_code["USD"].value.normalize():f}'.encode()
        await eventually(lambda: says(self.replica, "/v1/rates", shown), within_s=limit_s(RECOVERY_S))
        print(f", well after {time.monotonic() - ended:.1f} s")
        with self.redis.client() as client:
            self.connections.append(client.info("clients")["connected_clients"] - 1)

    async def look(self, folder: Path) -> None:
        """Note every second what the replica uses."""
        counts = folder / f"{self.replica.process.pid}.counts"
        self.replica.kill(signal.SIGUSR1)
        await eventually(counts.exists)
        while True:
            self.replica.kill(signal.SIGUSR1)
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
    "D3_neighbour_stopped": Soak.D3_neighbour_stopped,
}
"""By the names of their rows."""


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


def judged(soak: Soak) -> dict[str, bool]:
    """What was counted, and whether it keeps its limit."""
    most = 2 * MOST_CONNECTIONS
    found = {
        f"at most {max(soak.connections)} connections to Redis, {most} in the pools": max(soak.connections) <= most
    }
    warm = soak.used[min(WARM_S, len(soak.used) // 2) :]
    third, is_judged = max(1, len(warm) // 3), len(soak.used) > SHORT_S
    found[f"in {len(warm)} s after {len(soak.used) - len(warm)} s of warming up"] = True
    for what, most_gained in MOST_GAINED.items():
        # The least of a third: a fault, or the moment, needs more for a while, but a leak lifts the least.
        first, last = (min(use[what] for use in part) for part in (warm[:third], warm[-third:]))
        limit = f"at most {most_gained:+g}" if is_judged else "too short to judge"
        found[f"{what} {first:.4g} → {last:.4g}, {limit}"] = not is_judged or last - first <= most_gained
    return found


async def test_F7_one_fault_after_another(bank: Bank, tmp_path: Path, fault: Fault) -> None:
    """A replica under one fault after another: every answer is right, no request is lost, and nothing grows.

    As `make nightly ARGS=soak`; without LONG_FAULTS it is over after a few faults.
    """
    around_today(bank, back=9)  # so that history is settled, which ends a week ago
    redis = RealRedis(tmp_path / "redis")
    with running(redis):
        async with ChaosProxy(redis.port) as link:
            shared = shared_by(bank, link.url, RATESVC_POLL_SECONDS="0.5")
            async with serving_by(COUNTED, tmp_path, **shared) as replica, serving(tmp_path, **shared) as neighbour:
                await replica.ready()
                over = Soak(bank, redis, link, replica, neighbour, Random(SEED))  # noqa: S311 -- to be repeated
                async with Readers(replica.url, bank.truth, A_SECOND, PATHS, alone="replica") as readers:
                    looking = asyncio.create_task(over.look(tmp_path))
                    try:
                        await go_on(over, MINUTES)
                    finally:
                        looking.cancel()
                        with contextlib.suppress(asyncio.CancelledError):
                            await looking
    counted = judged(over)
    fault.measured("; ".join([f"{MINUTES:g} minutes, seed {SEED}", f"{readers.answers.total()} answers", *counted]))
    assert (readers.violations, readers.lost) == ([], 0), readers.answers
    assert [text for text, keeps_it in counted.items() if not keeps_it] == []
