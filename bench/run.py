"""make bench [ARGS=--quick]: ours beside nginx, plain aiohttp and the naive service, as real processes.

Prints tables, saves docs/bench.json and draws docs/bench.svg; with --quick bench/quick.json and .svg. Rounds are
interleaved; only ratios travel to another machine.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import shutil
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import curves
import measure
import plot
import servers
import stored
from fake_bank import bank_running
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

Figures = dict[str, Any]


async def compare(running: list[Server], name: str, rounds: int, seconds: int) -> Figures:
    """One target at every server in rounds, each once a round in an order that changes; the first one is to warm."""
    path, encoding = TARGETS[name]
    chance = Random(name)  # noqa: S311 -- the order of rounds, the same in each run
    asked = [one for one in running if name == "identity" or not one.name.startswith("naive")]
    taken: dict[str, list[measure.Round]] = {server.name: [] for server in asked}
    for number in range(rounds + 1):
        for server in chance.sample(asked, len(asked)):
            target = path if server.name.startswith("ours") else f"/{name}"
            tag = await tag_of(server, target, encoding) if name == "304" else "none"
            found = await measure.load(server, target, seconds if number else 1, encoding, tag)
            if found.errors:
                sys.exit(f"{server.name} answered {found.errors} requests for {target} with an error: no figures")
            if number:
                taken[server.name].append(found)
    figures = {server: vars(measure.median(those)) for server, those in taken.items()}
    Console(width=120).print(as_table(f"{path}  {'304' if name == '304' else encoding}", figures))
    return figures


async def tag_of(server: Server, path: str, encoding: str) -> str:
    """Its validator, to be sent back."""
    sent = {"Accept-Encoding": encoding}
    async with aiohttp.ClientSession() as http, http.get(server.url + path, headers=sent) as answer:
        return answer.headers["ETag"]


def as_table(title: str, figures: dict[str, Figures]) -> Table:
    """Medians, and ratios to plain aiohttp on asyncio and to nginx: of throughput, then of processor time.

    A server that was less than busy waited for the clients: there the ratio of processor time is the one to read.
    `±` is half the distance between the fastest and the slowest round, as a share of the median.
    """
    table = Table(title=title, title_justify="left")
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading == "server" else "right")
    bases = [figures.get(other, {}) for other in ("plain asyncio", "nginx")]
    for server, one in sorted(figures.items(), key=lambda pair: -pair[1]["rps"]):
        ratios = [f"{one['rps'] / base['rps']:.2f}" if base else "–" for base in bases]
        saved = [f"{base['cpu'] / one['cpu']:.2f}" if base and one["cpu"] else "–" for base in bases]
        cpu = f"{one['cpu']:.1f}" if one["cpu"] else "–"
        delays = (f"{one['p50']:.2f}", f"{one['p99']:.2f}")
        busy = f"{one['cpu'] * one['rps'] / 1e4:.0f} %" if one["cpu"] else "–"
        table.add_row(server, f"{one['rps']:,.0f}", f"{one['spread']:.0%}", busy, *ratios, *delays, cpu, *saved)
    return table


def notes() -> list[str]:
    """What could not be pinned or measured here."""
    load = os.getloadavg()[0]
    found = {
        "Nothing is pinned: the system has one core, or cannot.": servers.SERVER_CORE is None,
        "No processor time and memory: there is no /proc.": not Path("/proc/self/stat").exists(),
        f"The machine was not quiet: a load of {load:.1f} before the first round.": load > BUSY,
        "nginx is missing: no ratios to it.": not shutil.which("nginx"),
    }
    return [text for text, holds in found.items() if holds]


async def comparison(redis: str, variables: dict[str, str], *, quick: bool) -> tuple[Figures, list[str]]:
    """All servers at all targets, and which targets are not served."""
    folder, absent = Path(os.environ["BENCH_FOLDER"]), []
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(servers.ours("ours", variables))
        running = [ours, await stack.enter_async_context(servers.ours("ours ordinary", variables, express=False))]
        for target, (path, encoding) in TARGETS.items():
            if not await servers.saved(folder, target, ours.url + path, {"Accept-Encoding": encoding}):
                absent.append(target)
        others = [servers.other("plain", folder, "asyncio"), servers.other("plain", folder, "uvloop")]
        if shutil.which("nginx"):
            others.append(servers.nginx(folder))
        others.append(servers.other("naive", folder, "asyncio", redis))
        running += [await stack.enter_async_context(one) for one in others]
        names = [one for one in (QUICK if quick else TARGETS) if one not in absent]
        rounds, seconds = (3, 1) if quick else (5, 2)
        figures = {name: await compare(running, name, rounds, seconds) for name in names}
    return figures, [f"{TARGETS[one][0]} is not served here." for one in absent]


async def main(*, quick: bool) -> None:
    """All of it."""
    if not shutil.which("wrk"):
        sys.exit("wrk is needed: it asks")
    said = notes()
    measure.raise_limit()
    servers.pin(0, servers.CLIENT_CORE)
    with tempfile.TemporaryDirectory(prefix="ratesvc-bench-") as name:
        os.environ["BENCH_FOLDER"] = name
        async with servers.redis_running(Path(name)) as redis, bank_running() as bank:
            await stored.fill(redis, "full", bank)
            targets, absent = await comparison(redis, stored.environment(redis, "full", bank), quick=quick)
            grown = await curves.all_of_them(redis, bank, quick=quick)
    machine = {"cores": len(servers.CORES), "python": platform.python_version(), "system": platform.system()}
    figures = {"targets": targets, **grown, "notes": said + absent, "machine": machine}
    where = servers.HERE / "quick" if quick else servers.HERE.parent / "docs" / "bench"
    where.with_suffix(".json").write_text(json.dumps(figures, indent=1) + "\n")
    where.with_suffix(".svg").write_text(plot.picture(figures))
    print(*figures["notes"], f"{where}.json and .svg are written.", sep="\n")


if __name__ == "__main__":
    asyncio.run(main(quick="--quick" in sys.argv[1:]))
