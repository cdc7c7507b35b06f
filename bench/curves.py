"""How cost grows: connections, currencies, years, variants; idle connections, the start, the daily change."""

from __future__ import annotations

import asyncio
import json
import socket
import statistics
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack, nullcontext
from datetime import timedelta
from multiprocessing import get_context
from typing import Any

import measure
import servers
import stored
from fake_bank import Bank
from measure import Round
from servers import Server

CONNECTIONS = (1, 8, 64, 512, 5000)
CURRENCIES = (10, 20, 40, 80, 160)
YEARS = (1, 5, 10, 20, 34)
VARIANTS = (1, 100, 1000, 10000)
IDLE = 5000
STARTS = 7
SHARE = 0.3
RATE, CHANGE_S = 1000, 10
PARTS = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "slowest": 0.999999}

Figures = dict[str, Any]


async def all_of_them(redis: str, bank: Bank, *, quick: bool) -> Figures:
    """One service for most, one for each number of currencies."""
    times, seconds = (1, 1) if quick else (3, 2)
    variables = stored.environment(redis, "full", bank)
    started = await starts(variables, 1 if quick else STARTS)
    async with servers.ours("ours", variables) as ours:
        rss = measure.rss_mb(ours.pid)
        print(f"start to the first answer {started:.2f} s, memory with full history {rss or 0:.0f} MB")
        years = history(ours, YEARS[:: 4 if quick else 1])
        idle = measure.idle(ours, 500 if quick else IDLE)
        print(f"{idle['held']} of {idle['asked']} idle connections answered again; {idle['kb_each']} kB each")
        connections, variants = CONNECTIONS[: 3 if quick else None], VARIANTS[: 2 if quick else None]
        found: Figures = {
            "connections": await over("connections", connections, times, lambda n: connected(ours, n, seconds)),
            "variants": await over("variants", variants, times, lambda n: varied(ours, n, seconds)),
            "years": years,
        }
    found["currencies"] = await wide(redis, bank, CURRENCIES[:: 4 if quick else 1], times, seconds)
    change = await daily_change(redis, bank, 1 if quick else 5)
    found["replicas"] = await two_replicas(variables, times, seconds)
    return {**found, "idle": idle, "start_s": started, "rss_mb": rss, "change": change}


async def over(what: str, points: tuple[int, ...], times: int, ask: Callable[[int], Awaitable[Round]]) -> Figures:
    """The median of what `ask` finds at each point, each once a turn."""
    taken: dict[int, list[Round]] = {point: [] for point in points}
    for _ in range(times):
        for point in points:
            taken[point].append(await ask(point))
    found = {point: measure.median(rounds) for point, rounds in taken.items()}
    for point, one in found.items():
        cpu = f"{one.cpu:.1f} µs of processor time" if one.cpu else ""
        print(f"{point:6} {what:12} {one.rps:9,.0f}/s  {cpu}  p99 {one.p99:.1f} ms  {one.errors} errors")
    return {str(point): vars(one) for point, one in found.items()}


async def connected(server: Server, connections: int, seconds: int) -> Round:
    """Throughput against open connections."""
    return await measure.load(server, "/v1/rates", seconds, connections=connections)


async def varied(server: Server, variants: int, seconds: int) -> Round:
    """Throughput against different widgets asked for in turn; each was asked for before."""
    await measure.load(server, "/widget", seconds, "br", "none", str(variants))
    return await measure.load(server, "/widget", seconds, "br", "none", str(variants))


async def wide(redis: str, bank: Bank, currencies: tuple[int, ...], times: int, seconds: int) -> Figures:
    """Throughput against the number of currencies in a sheet, a service for each."""
    found = {}
    async with AsyncExitStack() as stack:
        for count in currencies:
            namespace = f"wide{count}"
            await stored.fill(redis, namespace, bank, count, stored.TODAY - timedelta(days=30))
            variables = stored.environment(redis, namespace, bank)
            found[count] = await stack.enter_async_context(servers.ours("ours", variables))
        return await over("currencies", currencies, times, lambda n: measure.load(found[n], "/v1/rates", seconds))


def history(server: Server, years: tuple[int, ...]) -> Figures:
    """Milliseconds until a series that nobody asked for before is there: roubles, another quote; and a single day.

    Each of the series is of another currency, so that none was asked for before.
    """
    found: Figures = {}
    codes = [row[0] for row in stored.table(stored.CURRENCIES) if row[0] not in ("EUR", "USD")]
    for place, count in enumerate(years):
        since = stored.TODAY - timedelta(days=365 * count)
        ours = codes[place * 10 : place * 10 + 10]
        roubles, crossed = (
            measure.cold(server, [f"/v1/series?codes={code}&quote_currency={quote}&since={since}" for code in ours])
            for quote in ("RUB", "EUR")
        )
        found[str(count)] = {"roubles_ms": roubles, "quote_ms": crossed}
        print(f"{count:6} years        {roubles:9.2f} ms in roubles, {crossed:.2f} ms in euros, the first time")
    days = stored.sheet_days()[100:160]
    found["day_ms"] = measure.cold(server, [f"/v1/rates/{day}/USD.txt" for day in days])
    print(f"       a single day {found['day_ms']:9.2f} ms")
    return found


async def two_replicas(variables: dict[str, str], times: int, seconds: int) -> float | None:
    """How much two on one port answer, as a multiple of one; None where that needs more than there is.

    With fewer than three cores both stay on one, each allowed a part of it: the port is shared all the same.
    """
    few = len(servers.CORES) < 3
    shared = {**variables, "RATESVC_REUSE_PORT": "true"}
    ratios = []
    async with servers.ours("ours", shared) as one:
        for _ in range(times):
            with servers.quota(SHARE, one.pid) if few else nullcontext(True) as held:  # noqa: FBT003 -- what quota yields
                if not held:
                    return None
                alone = await settled(one, seconds)
                core = servers.SERVER_CORE if few else servers.CORES[2]
                async with servers.ours("ours", shared, core=core, port=one.port) as two:
                    with servers.quota(SHARE, two.pid) if few else nullcontext():
                        both = await settled(one, seconds)
            ratios.append(both.rps / alone.rps)
    share = f", each allowed {SHARE:.0%} of one core" if few else ""
    print(f"two replicas answer {statistics.median(ratios):.2f} times what one does{share}")
    return statistics.median(ratios)


async def settled(server: Server, seconds: int) -> Round:
    """Throughput once a replica that began a moment ago has done what it does then, which its quota makes long."""
    await measure.load(server, "/v1/rates", 2 * seconds)
    return await measure.load(server, "/v1/rates", 2 * seconds)


async def starts(variables: dict[str, str], times: int) -> float:
    """Seconds from the birth of the process to its first answer, store warm with all of history; the median."""
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        async with servers.ours("ours", variables):
            taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


async def daily_change(redis: str, bank: Bank, times: int) -> Figures:
    """Delays at a steady rate, in quiet and while the Bank corrects its sheet again and again, in turns."""
    await stored.fill(redis, "change", bank)
    variables = stored.environment(redis, "change", bank, RATESVC_POLL_SECONDS="1")
    taken: dict[str, list[Figures]] = {"quiet": [], "changing": []}
    loop = asyncio.get_running_loop()
    # The reader is a process of its own: in a thread of this one it would wait whenever the Bank writes a document.
    with ProcessPoolExecutor(1, get_context("spawn")) as reader:
        async with servers.ours("ours", variables) as server:
            # What is asked most is what is answered again after a change.
            await measure.load(server, "/widget", 1, "br", "none", "200")
            for number in range(times):
                for name, delays in taken.items():
                    correcting = asyncio.create_task(corrections(bank, number)) if name == "changing" else None
                    found = await loop.run_in_executor(reader, measure.paced, server, "/v1/rates", RATE, CHANGE_S)
                    delays.append({key: found[int(len(found) * part)] for key, part in PARTS.items()})
                    if correcting:
                        correcting.cancel()
            with socket.create_connection(("127.0.0.1", server.port)) as connection:
                publications = json.loads(measure.ask(connection, "/v1/rates"))["revision"] - 1
    medians = {
        name: {key: statistics.median(one[key] for one in delays) for key in PARTS} for name, delays in taken.items()
    }
    for name, one in medians.items():
        print(f"{name:>10}: {', '.join(f'{key} {delay:.2f} ms' for key, delay in one.items())}")
    print(f"{publications} publications in {times} turns of {CHANGE_S} s at {RATE} requests a second")
    return {**medians, "publications": publications}


async def corrections(bank: Bank, number: int) -> None:
    """Another figure every two seconds: it is asked for twice before it is believed."""
    for shift in range(1, 1000):
        bank.publish(stored.sheet(stored.TODAY, shift=1000 * number + shift))
        await asyncio.sleep(2)
