"""What is measured of a running server: throughput, delays, processor time, memory."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import servers
from servers import Server

TICKS = os.sysconf("SC_CLK_TCK")
LUA = servers.HERE / "browsers.lua"


@dataclass(frozen=True)
class Round:
    """One run of wrk: requests a second, delays in ms, processor time of the server a request in µs, errors.

    `spread` is known of several only: half the distance between the fastest and the slowest, as a share of the median.
    """

    rps: float
    p50: float
    p99: float
    cpu: float | None
    errors: int
    spread: float = 0.0


async def load(server: Server, path: str, seconds: int, *told: str, connections: int = 64) -> Round:
    """wrk on the clients' core; `told` are the arguments of browsers.lua."""
    before = cpu_s(server.pid)
    process = await asyncio.create_subprocess_exec(
        *("wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--timeout", "10", "-s", str(LUA)),
        *(server.url + path, "--", *told),
        stdout=asyncio.subprocess.PIPE,
    )
    output = (await process.communicate())[0].decode()
    used = cpu_s(server.pid)
    line = next(line for line in output.splitlines() if line.startswith("FIGURES")).split()
    duration, requests, errors, p50, p99 = float(line[1]), *map(int, line[2:6])
    cpu = (used - before) / requests * 1e6 if used is not None and before is not None and requests else None
    return Round(requests / duration, p50 / 1000, p99 / 1000, cpu, errors)


def median(rounds: list[Round]) -> Round:
    """Of each figure; all errors."""
    cpu = [one.cpu for one in rounds if one.cpu is not None]
    speeds = [one.rps for one in rounds]
    return Round(
        rps=statistics.median(speeds),
        spread=(max(speeds) - min(speeds)) / 2 / statistics.median(speeds),
        p50=statistics.median(one.p50 for one in rounds),
        p99=statistics.median(one.p99 for one in rounds),
        cpu=statistics.median(cpu) if cpu else None,
        errors=sum(one.errors for one in rounds),
    )


def cpu_s(pid: int) -> float | None:
    """Processor time of a process so far; None where the system has no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss_mb(pid: int) -> float | None:
    """Memory of a process now."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def raise_limit() -> int:
    """As many open files as allowed; the processes that are started inherit it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def ask(connection: socket.socket, path: str) -> bytes:
    """One request on a connection that stays open; the answer whole."""
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += _more(connection)
    head, _, body = answer.partition(b"\r\n\r\n")
    length = int(
        next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")).split(b":")[1]
    )
    while len(body) < length:
        body += _more(connection)
    return body


def _more(connection: socket.socket) -> bytes:
    found = connection.recv(1 << 20)
    if not found:
        raise ConnectionResetError("the server closed the connection")
    return found


def idle(server: Server, count: int) -> dict[str, float | int | None]:
    """Memory of connections that asked once and wait, in kB each, and how many of them still answer."""
    before = rss_mb(server.pid)
    held = []
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            for _ in range(count):
                held.append(stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=5)))
                ask(held[-1], "/v1/rates")
        after = rss_mb(server.pid)
        alive = 0
        for connection in held:
            with contextlib.suppress(OSError):
                alive += bool(ask(connection, "/v1/rates"))
    each = (after - before) * 1024 / len(held) if after and before and held else None
    return {"asked": count, "held": alive, "kb_each": each}


def cold(server: Server, paths: list[str]) -> float:
    """The median time of requests each asked for the first time, in ms, the round trip included."""
    taken = []
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        ask(connection, "/livez")
        for path in paths:
            begun = time.perf_counter()
            ask(connection, path)
            taken.append((time.perf_counter() - begun) * 1000)
    return statistics.median(taken)


def paced(server: Server, path: str, rate: int, seconds: float) -> list[float]:
    """Delays in ms of requests that come at a steady rate, each counted from when it was due; in order of size."""
    taken = []
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        ask(connection, path)
        begun = time.perf_counter()
        for number in range(int(rate * seconds)):
            due = begun + number / rate
            while (left := due - time.perf_counter()) > 0:
                time.sleep(left)
            ask(connection, path)
            taken.append((time.perf_counter() - due) * 1000)
    return sorted(taken)
