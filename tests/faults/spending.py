"""What one bad document costs a fresh process: memory in MB, seconds, the loop's lag, files opened and hosts contacted.

python spending.py GOOD_MIRROR OTHER_MIRROR
    reads a good document, then the other one, and prints the cost of that as JSON
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

from kit.time import Lag

from ratesvc.bank.client import BankClient, Pace
from ratesvc.errors import FetchFailed

HERE = Path(__file__).parent
TOUCHED: list[str] = []


async def spent_on(mirror: str, good: bytes) -> dict[str, Any]:
    """The cost of this mirror's document for a process that has read a good one."""
    from kit.front import Front, answers  # noqa: PLC0415 -- the measured process must not load the whole harness

    async with Front("http://127.0.0.1:1") as warm:
        warm.misbehave(answers(good))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, __file__, warm.url, mirror),
            env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{HERE.parents[1]}:{HERE.parent}:{HERE}"},
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(30):
            out, _ = await process.communicate()
    assert process.returncode == 0
    spent: dict[str, Any] = json.loads(out)
    return spent


def touches(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook."""
    if event == "open":
        TOUCHED.append(f"open {arguments[0]}")
    elif event == "socket.connect":
        host, port = arguments[1][:2]
        TOUCHED.append(f"connect {host}:{port}")


def peak_mb() -> float:
    """The high-water mark of this program alone; getrusage would begin with that of its parent."""
    found = re.search(r"VmHWM:\s+([0-9]+) kB", Path("/proc/self/status").read_text("ascii", "replace"))
    assert found
    return int(found[1]) / 1024


async def main(good: str, other: str) -> None:
    assert await read(good) == "accepted"
    before_mb, begun = peak_mb(), time.monotonic()
    TOUCHED.clear()
    async with Lag() as lag:
        kind = await read(other)
        seconds = time.monotonic() - begun
        touched = sorted(set(TOUCHED))
    spent = {"mb": peak_mb() - before_mb, "seconds": seconds, "lag_s": lag.longest_s, "touched": touched}
    print(json.dumps({"kind": kind, **spent}))  # noqa: T201 -- its answer


async def read(mirror: str) -> str:
    async with BankClient([mirror], "spending", pace=Pace(None)) as client:
        try:
            await client.newest(date.min)
        except FetchFailed as failure:
            return failure.kind
    return "accepted"


if __name__ == "__main__":
    sys.addaudithook(touches)
    asyncio.run(main(*sys.argv[1:]))
