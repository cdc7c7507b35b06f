"""Measures a running server: throughput, delays, processor time, memory."""

from __future__ import annotations

import asyncio
import os
import statistics
from dataclasses import dataclass
from pathlib import Path

import servers
from servers import Server

TICKS = os.sysconf("SC_CLK_TCK")
LUA = servers.HERE / "browsers.lua"


@dataclass(frozen=True)
class Round:
    """One run of wrk: requests a second, delays in ms, processor time of the server a request in µs, errors.

    `spread` belongs to a median: half the distance between the fastest and the slowest round, as a share of it.
    """

    rps: float
    p50: float
    p99: float
    cpu: float
    errors: int
    spread: float = 0.0


async def load(server: Server, path: str, seconds: int, encoding: str, tag: str) -> Round:
    """Run wrk on the clients' core; browsers.lua sends the encoding and the validator."""
    before = cpu_s(server.pid)
    process = await asyncio.create_subprocess_exec(
        *("wrk", "-t1", "-c64", f"-d{seconds}", "--timeout", "10", "-s", str(LUA)),
        *(server.url + path, "--", encoding, tag),
        stdout=asyncio.subprocess.PIPE,
    )
    output = (await process.communicate())[0].decode()
    used = cpu_s(server.pid)
    line = next(line for line in output.splitlines() if line.startswith("FIGURES")).split()
    duration, requests, errors, p50, p99 = float(line[1]), *map(int, line[2:6])
    return Round(requests / duration, p50 / 1000, p99 / 1000, (used - before) / max(requests, 1) * 1e6, errors)


def median(rounds: list[Round]) -> Round:
    """The median of each figure, and the sum of the errors."""
    speeds = [one.rps for one in rounds]
    return Round(
        rps=statistics.median(speeds),
        spread=(max(speeds) - min(speeds)) / 2 / statistics.median(speeds),
        p50=statistics.median(one.p50 for one in rounds),
        p99=statistics.median(one.p99 for one in rounds),
        cpu=statistics.median(one.cpu for one in rounds),
        errors=sum(one.errors for one in rounds),
    )


def cpu_s(pid: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss_mb(pid: int) -> float:
    """Memory of a process now."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024
