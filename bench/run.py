"""make bench [ARGS=--quick]: ours beside nginx and plain aiohttp, as real processes.

Prints the figures of docs/speed.md: a table for each answer, the time of a start, and memory. Rounds are interleaved.
Compare ratios only: absolute figures belong to one machine.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

import aiohttp
import measure
import servers
import stored
from kit.bank import bank_running
from kit.redis import RealRedis, running
from measure import Round
from rich.console import Console
from rich.table import Table
from servers import Server

TARGETS = {
    "identity": ("/v1/rates", "identity"),
    "gzip": ("/v1/rates", "gzip"),
    "br": ("/v1/rates", "gzip, deflate, br"),
    "304": ("/v1/rates", "gzip, deflate, br"),
    "widget": ("/widget", "gzip, deflate, br"),
    "rows": ("/widget/rows.json", "gzip, deflate, br"),
    "daily_json": ("/cbr-xml-daily/daily_json.js", "gzip, deflate, br"),
}
QUICK = ("identity", "304")
BUSY = 0.5
RATIOS = ("× plain", "× nginx")
HEADINGS = ("server", "requests/s", "±", "busy", *RATIOS, "p50 ms", "p99 ms", "CPU µs", *RATIOS)
STARTS = 7


async def compare(asked: list[Server], name: str, rounds: int, seconds: int) -> None:
    """Ask all servers for one target in rounds, in another order each round. The first round only warms up."""
    path, encoding = TARGETS[name]
    chance = Random(name)  # noqa: S311 -- the order of rounds, the same in each run
    taken: dict[str, list[Round]] = {server.name: [] for server in asked}
    for number in range(rounds + 1):
        for server in chance.sample(asked, len(asked)):
            target = path if server.name.startswith("ours") else f"/{name}"
            tag = await tag_of(server, target, encoding) if name == "304" else "none"
            found = await measure.load(server, target, seconds if number else 1, encoding, tag)
            if found.errors:
                sys.exit(f"{server.name} answered {found.errors} requests for {target} with an error: no figures")
            if number:
                taken[server.name].append(found)
    figures = {server: measure.median(those) for server, those in taken.items()}
    Console(width=120).print(as_table(f"{path}  {'304' if name == '304' else encoding}", figures))


async def tag_of(server: Server, path: str, encoding: str) -> str:
    """Its validator, to be sent back."""
    sent = {"Accept-Encoding": encoding}
    async with aiohttp.ClientSession() as http, http.get(server.url + path, headers=sent) as answer:
        return answer.headers["ETag"]


def as_table(title: str, figures: dict[str, Round]) -> Table:
    """Medians, and ratios to plain aiohttp and to nginx: of throughput, then of processor time.

    A server that was less than busy waited for the clients: there the ratio of processor time is the one to read.
    `±` is half the distance between the fastest and the slowest round, as a share of the median.
    """
    table = Table(title=title, title_justify="left")
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading == "server" else "right")
    bases = [figures.get(other) for other in ("plain", "nginx")]
    for server, one in sorted(figures.items(), key=lambda pair: -pair[1].rps):
        ratios = [f"{one.rps / base.rps:.2f}" if base else "–" for base in bases]
        saved = [f"{base.cpu / one.cpu:.2f}" if base else "–" for base in bases]
        delays = (f"{one.p50:.2f}", f"{one.p99:.2f}")
        busy = f"{one.cpu * one.rps / 1e4:.0f} %"
        table.add_row(server, f"{one.rps:,.0f}", f"{one.spread:.0%}", busy, *ratios, *delays, f"{one.cpu:.1f}", *saved)
    return table


def notes() -> list[str]:
    """Say what this machine cannot measure."""
    load = os.getloadavg()[0]
    found = {
        "Nothing is pinned: the system has one core.": servers.SERVER_CORE is None,
        f"The machine was not quiet: a load of {load:.1f} before the first round.": load > BUSY,
        "nginx is missing, so there are no ratios to it.": not shutil.which("nginx"),
    }
    return [text for text, holds in found.items() if holds]


async def comparison(variables: dict[str, str], *, quick: bool) -> None:
    """Compare all servers at all targets."""
    folder = Path(os.environ["BENCH_FOLDER"])
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(servers.ours("ours", variables))
        asked = [ours, await stack.enter_async_context(servers.ours("ours ordinary", variables, express=False))]
        names = [name for name in TARGETS if not quick or name in QUICK]
        for name in names:
            path, encoding = TARGETS[name]
            await servers.save(folder, name, ours.url + path, {"Accept-Encoding": encoding})
        others = [servers.plain(folder), *([servers.nginx(folder)] if shutil.which("nginx") else [])]
        asked += [await stack.enter_async_context(one) for one in others]
        rounds, seconds = (3, 1) if quick else (5, 2)
        for name in names:
            await compare(asked, name, rounds, seconds)


async def starts(variables: dict[str, str], times: int) -> None:
    """Print how long a start takes until the first answer, and the memory then, with all of history in the store."""
    taken: list[tuple[float, float]] = []
    for _ in range(times):
        begun = time.perf_counter()
        async with servers.ours("ours", variables) as server:
            taken.append((time.perf_counter() - begun, measure.rss_mb(server.pid)))
    seconds, megabytes = (statistics.median(column) for column in zip(*taken, strict=True))
    print(f"{seconds:.2f} s from the start to the first answer, {megabytes:.0f} MB")


async def main(*, quick: bool) -> None:
    """Print all figures."""
    if not shutil.which("wrk"):
        sys.exit("wrk is missing: it sends the requests. Debian has it in the package wrk")
    said = notes()
    servers.pin(0, servers.CLIENT_CORE)
    with tempfile.TemporaryDirectory(prefix="ratesvc-bench-") as name:
        os.environ["BENCH_FOLDER"] = name
        store = RealRedis(Path(name))
        with running(store):
            async with bank_running() as bank:
                await stored.fill(store.url, bank)
                variables = stored.environment(store.url, bank)
                await starts(variables, 1 if quick else STARTS)
                await comparison(variables, quick=quick)
    print(*said, sep="\n")


if __name__ == "__main__":
    asyncio.run(main(quick="--quick" in sys.argv[1:]))
