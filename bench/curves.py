"""How cost grows: connections, currencies, years, variants; idle connections, the start, the daily change."""

from __future__ import annotations

import asyncio
import json
import socket
import statistics
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import measure
import servers
import stored
from bank import Bank
from servers import Server

from ratesvc import config

CONNECTIONS = (1, 8, 64, 512, 5000)
CURRENCIES = (10, 20, 40, 80, 160)
YEARS = (1, 5, 10, 20, 34)
VARIANTS = (1, 100, 1000, 10000)
IDLE = 5000
STARTS = 5

Figures = dict[str, Any]


async def all_of_them(redis: str, bank: Bank, *, quick: bool) -> Figures:
    """One service for most, one for each number of currencies."""
    seconds = 1 if quick else 3
    variables = stored.environment(redis, "full", bank)
    started = await starts(variables, 1 if quick else STARTS)
    async with servers.ours("ours", variables) as ours:
        rss = measure.rss_mb(ours.pid)
        print(f"start to the first answer {started:.2f} s, memory with full history {rss or 0:.0f} MB")
        idle = measure.idle(ours, 500 if quick else IDLE)
        print(f"{idle['held']} of {idle['asked']} idle connections answered again; {idle['kb_each']} kB each")
        years = history(ours, YEARS[:: 4 if quick else 1])
        found: Figures = {
            "connections": await over(CONNECTIONS[: 3 if quick else None], lambda n: connected(ours, n, seconds)),
            "variants": await over(VARIANTS[: 2 if quick else None], lambda n: varied(ours, n, seconds)),
            "years": years,
        }
    found["currencies"] = await over(CURRENCIES[:: 4 if quick else 1], lambda n: wide(redis, bank, n, seconds))
    change = await daily_change(redis, bank, seconds)
    found["replicas"] = await two_replicas(variables, seconds)
    return {**found, "idle": idle, "start_s": started, "rss_mb": rss, "change": change}


async def over(points: tuple[int, ...], ask: Callable[[int], Any]) -> Figures:
    """What `ask` finds at each point."""
    return {str(point): vars(await ask(point)) for point in points}


async def connected(server: Server, connections: int, seconds: int) -> measure.Round:
    """Throughput against open connections."""
    found = await measure.load(server, "/v1/rates", seconds, connections=connections)
    print(f"{connections:6} connections {found.rps:9,.0f}/s  p99 {found.p99:.1f} ms  {found.errors} errors")
    return found


async def varied(server: Server, variants: int, seconds: int) -> measure.Round:
    """Throughput against different widgets asked for in turn; each was asked for before."""
    await measure.load(server, "/widget", seconds, "br", "none", str(variants))
    found = await measure.load(server, "/widget", seconds, "br", "none", str(variants))
    print(f"{variants:6} variants    {found.rps:9,.0f}/s  p99 {found.p99:.1f} ms")
    return found


async def wide(redis: str, bank: Bank, currencies: int, seconds: int) -> measure.Round:
    """Throughput against the number of currencies in a sheet."""
    namespace = f"wide{currencies}"
    await stored.fill(redis, namespace, bank, currencies, stored.TODAY - timedelta(days=30))
    async with servers.ours("ours", stored.environment(redis, namespace, bank)) as server:
        found = await measure.load(server, "/v1/rates", seconds)
    print(f"{currencies:6} currencies  {found.rps:9,.0f}/s")
    return found


def history(server: Server, years: tuple[int, ...]) -> Figures:
    """Milliseconds until a series that nobody asked for before is there: roubles, another quote; and a single day."""
    found: Figures = {}
    for count in years:
        sinces = [stored.TODAY - timedelta(days=365 * count - step) for step in range(15)]
        roubles, crossed = (
            measure.cold(server, [f"/v1/series?codes=USD&quote={quote}&since={since}" for since in sinces])
            for quote in ("RUB", "EUR")
        )
        found[str(count)] = {"roubles_ms": roubles, "quote_ms": crossed}
        print(
            f"{count:6} years       {roubles:9.2f} ms in roubles, {crossed:.2f} ms in euros, asked for the first time"
        )
    days = stored.sheet_days()[100:160]
    found["day_ms"] = measure.cold(server, [f"/v1/rates/{day}/USD.txt" for day in days])
    print(f"       a single day  {found['day_ms']:8.2f} ms")
    return found


async def two_replicas(variables: dict[str, str], seconds: int) -> float | None:
    """How much two on one port answer, as a multiple of one; None where that needs more than there is."""
    if len(servers.CORES) < 3 or not hasattr(config.Server, "reuse_port"):
        return None
    shared = {**variables, "RATESVC_REUSE_PORT": "true"}
    async with servers.ours("ours", shared) as one:
        alone = await measure.load(one, "/v1/rates", seconds, connections=256)
        async with servers.ours("ours", shared, core=servers.CORES[2], port=one.port):
            both = await measure.load(one, "/v1/rates", seconds, connections=256)
    print(f"two replicas answer {both.rps / alone.rps:.2f} times what one does")
    return both.rps / alone.rps


async def starts(variables: dict[str, str], times: int) -> float:
    """Seconds from the birth of the process to its first answer, store warm with all of history; the median."""
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        async with servers.ours("ours", variables):
            taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


async def daily_change(redis: str, bank: Bank, seconds: int) -> Figures:
    """p99 under load and the slowest probe without it: quiet, and while the Bank corrects its sheet again and again."""
    await stored.fill(redis, "change", bank)
    variables = stored.environment(redis, "change", bank, RATESVC_POLL_SECONDS="1")
    found: Figures = {}
    async with servers.ours("ours", variables) as server:
        await measure.load(server, "/widget", 1, "br", "none", "200")
        for name in ("quiet", "changing"):
            correcting = asyncio.create_task(corrections(bank)) if name == "changing" else None
            under_load = await measure.load(server, "/v1/rates", 4 * seconds, connections=8)
            async with measure.watched(server) as taken:
                await asyncio.sleep(4 * seconds)
            if correcting:
                correcting.cancel()
            found[name] = {"p99": under_load.p99, "slowest_ms": max(taken), "rps": under_load.rps}
            print(f"{name:>10}: p99 {under_load.p99:.2f} ms, without load the slowest answer took {max(taken):.1f} ms")
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            found["publications"] = json.loads(measure.ask(connection, "/v1/rates"))["revision"] - 1
        print(f"{found['publications']} publications in that time")
    return found


async def corrections(bank: Bank) -> None:
    """Another figure every two seconds: it is asked for twice before it is believed."""
    for shift in range(1, 1000):
        bank.publish(stored.sheet(stored.TODAY, shift=shift))
        await asyncio.sleep(2)
