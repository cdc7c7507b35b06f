"""What an idle replica asks of Redis, by Redis' own counters, and how soon it repairs what Redis loses; printed.

PYTHONPATH=.:tests:tests/faults .venv/bin/python bench/idle.py [MINUTES]

Redis holds all of history from the recorded figures (34 currencies, 6,973 sheets) and a year of daily documents.
"""

from __future__ import annotations

import asyncio
import csv
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import redis
from conftest import RECORDED
from fake_bank import Bank, bank_running, daily_xml
from redis_servers import RealRedis, running

import ratesvc.service.sync
from ratesvc.config import Cbr, Redis, Settings
from ratesvc.domain.columns import Column, Coverage, Currency, composed, sheet_days
from ratesvc.domain.rates import Revision
from ratesvc.service.app import Service
from ratesvc.storage.records import unseal
from ratesvc.storage.redis import RedisConnection
from ratesvc.storage.store import Store

NOW = datetime(2022, 11, 18, 9, tzinfo=UTC)
FIRST = date(1992, 7, 1)
DAYS_OF_DOCUMENTS = 250
DAY_S = 86_400
NAMESPACE = "idle"
LONGEST_REPAIR_S = 60.0


def recorded_columns() -> list[Column]:
    """The recorded unit rates as columns, on the days of USD."""
    found: dict[str, Column] = {}
    with (RECORDED / "history" / "unit_rates.csv").open(encoding="utf-8", newline="") as file:
        for day, code, rate in csv.reader(file):
            if code == "currency":
                continue
            number = f"{len(found) + 1:05d}"
            column = found.setdefault(code, Column(Currency(f"R{number}", f"R{number}", code, number[2:], code), NOW))
            nominal = 1 if Decimal(rate) >= 1 else 10_000
            column.put(date.fromisoformat(day), nominal, (Decimal(rate) * nominal).quantize(Decimal("0.0001")))
    days = frozenset(day.toordinal() for day in sheet_days(found.values()))
    for column in found.values():
        column.keep_only(days)
    return list(found.values())


def documents(columns: list[Column], days: list[date]) -> list[Revision]:
    """Sheets of these days as they are kept when they came as daily documents."""
    sheets = [found for day in days if (found := composed(columns, day))]
    return [Revision(one.sheet, 1, NOW, document=zlib.compress(daily_xml(one.sheet), 9)) for one in sheets]


async def fill(url: str) -> list[Revision]:
    """Put all of it into Redis; returns the sheets that have documents, the oldest first."""
    columns = recorded_columns()
    days = sheet_days(columns)
    revisions = documents(columns, days[-DAYS_OF_DOCUMENTS:])
    store = Store(RedisConnection(url), NAMESPACE)
    await store.put_history(columns, Coverage(FIRST, days[-1]))
    await store.repair_sheets(revisions)
    await store.close()
    print(f"{len(columns)} currencies, {len(days):,} sheets, {len(revisions)} of them with their documents")
    return revisions


@dataclass(frozen=True)
class Counted:
    """Redis' own counters."""

    at: float
    commands: int
    megabytes: float

    @classmethod
    def now(cls, client: redis.Redis) -> Counted:
        """As they stand."""
        found: Any = client.info("stats")
        moved = found["total_net_input_bytes"] + found["total_net_output_bytes"]
        return cls(time.monotonic(), found["total_commands_processed"], moved / 1e6)

    def a_day(self, before: Counted) -> str:
        """What it would be in a day at the same pace."""
        times = DAY_S / (self.at - before.at)
        commands, megabytes = (self.commands - before.commands) * times, (self.megabytes - before.megabytes) * times
        return f"{megabytes:10.1f} MB and {commands:10,.0f} commands a day"


def key(name: str) -> str:
    """As the store names it."""
    return f"{{{NAMESPACE}}}:v1:{name}"


def wanted(client: redis.Redis) -> set[bytes]:
    """The fields of sheets and columns, where all of it is whole and there is a coverage and events; else none."""
    try:
        sheets: dict[Any, Any] = client.hgetall(key("sheets"))
        columns: dict[Any, Any] = client.hgetall(key("columns"))
        coverage, events = unseal("span", client.get(key("span"))), client.xlen(key("events"))
    except redis.RedisError:
        return set()
    is_whole = all(unseal(name.decode(), value) for name, value in (sheets | columns).items())
    return sheets.keys() | columns.keys() if is_whole and coverage and events else set()


async def repaired(what: str, service: Service, client: redis.Redis, fault: Callable[[], object]) -> None:
    """How long after the fault something was written again, and until all of it is there again."""
    whole = wanted(client)
    assert whole
    report = service.telemetry.repaired
    noticed: list[float] = []

    def noticing(found: Any) -> None:
        if found:
            noticed.append(time.monotonic())
        report(found)

    service.telemetry.repaired = noticing  # type: ignore[method-assign,assignment] # to look over its shoulder
    await asyncio.to_thread(fault)
    begun = time.monotonic()
    while not (noticed and whole <= await asyncio.to_thread(wanted, client)):
        if time.monotonic() - begun > LONGEST_REPAIR_S:
            print(f"{what:<36} not within {LONGEST_REPAIR_S:.0f} s")
            break
        await asyncio.sleep(0.05)
    else:
        ended = time.monotonic()
        print(f"{what:<36} repair begun after {noticed[0] - begun:5.2f} s, whole after {ended - begun:5.2f} s")
    service.telemetry.repaired = report  # type: ignore[method-assign]


def restart_from(server: RealRedis, lacking: list[Revision]) -> None:
    """An older snapshot: without the newest sheets and with the coverage and events of before."""
    with server.client() as client:
        client.hdel(key("sheets"), *(f"{one.effective_date}.{one.number}" for one in lacking))
        client.save()
    server.kill()
    server.start()


def damage(server: RealRedis, *, cut: bool = False) -> None:
    """A foreign value in the place of one of ours: no count differs."""
    with server.client() as client:
        client.hset(key("columns"), "R00005", b"foreign")
        if cut:
            client.client_kill_filter(_type="pubsub")


async def repairs(service: Service, server: RealRedis, revisions: list[Revision]) -> None:
    """Each loss in turn."""
    with server.client() as client:
        await repaired("FLUSHALL", service, client, client.flushall)
        await asyncio.sleep(10)
        await repaired("the columns' hash evicted", service, client, partial(client.unlink, key("columns")))
        await asyncio.sleep(10)
        await repaired("restart with an older snapshot", service, client, partial(restart_from, server, revisions[-3:]))
        await asyncio.sleep(10)
        await repaired("a foreign value, then a reconnect", service, client, partial(damage, server, cut=True))
        await asyncio.sleep(10)
        await parts(service, client, server)


async def parts(service: Service, client: redis.Redis, server: RealRedis) -> None:
    """What the hourly comparison moves, and that in the end it finds what no count shows."""
    if not hasattr(ratesvc.service.sync, "PART_S"):
        return
    before = Counted.now(client)
    ratesvc.service.sync.PART_S = service._sync._part_at = 0.0  # noqa: SLF001 -- as if it were always an hour later
    rounds = ratesvc.service.sync.PARTS
    await asyncio.sleep(3.0 * rounds)
    after = Counted.now(client)
    print(f"one of {rounds} hourly parts {' ' * 16}{(after.megabytes - before.megabytes) / rounds:10.2f} MB", end="")
    print(f", {(after.megabytes - before.megabytes) / rounds * 24:.1f} MB a day")
    await repaired("a foreign value, a part at each tick", service, client, partial(damage, server))


async def main(minutes: float) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        server = RealRedis(Path(folder) / "redis")
        with running(server):
            revisions = await fill(server.url)
            async with bank_running() as bank:
                await measure(minutes, server, bank, revisions, folder)


async def measure(minutes: float, server: RealRedis, bank: Bank, revisions: list[Revision], folder: str) -> None:
    """An idle replica, and then one that has something to repair."""
    bank.publish(*(one.sheet for one in revisions[-2:]))
    settings = Settings(
        data_dir=folder,
        redis=Redis(url=server.url, namespace=NAMESPACE),
        cbr=Cbr(mirrors=(bank.url,), backfill_gap_seconds=0),
        poll_seconds=3600,
    )
    async with Service(settings, clock=lambda: NOW) as service:
        await asyncio.sleep(15)
        with server.client() as client:
            before = Counted.now(client)
            await asyncio.sleep(60 * minutes)
            print(f"idle for {minutes:g} minutes {' ' * 14}{Counted.now(client).a_day(before)}", flush=True)
        await repairs(service, server, revisions)


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 10.0))
