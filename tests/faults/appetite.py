"""A fresh process reads a good document, then another, and says what that one cost: memory in MB, time, the loop's lag.

It also says which files it opened for that, and whom it connected to.

python appetite.py GOOD_MIRROR OTHER_MIRROR
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

from lag import Lag

from ratesvc.bank.client import BankClient, Pace
from ratesvc.errors import FetchFailed

TOUCHED: list[str] = []


def touches(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook."""
    if event == "open":
        TOUCHED.append(f"open {arguments[0]}")
    elif event == "socket.connect":
        host, port = arguments[1][:2]
        TOUCHED.append(f"connect {host}:{port}")


def peak_mb() -> float:
    """The high-water mark of this program alone: getrusage would begin with that of the process that started it."""
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
    async with BankClient([mirror], "appetite", pace=Pace(None)) as client:
        try:
            await client.daily(None, lambda _: None)
        except FetchFailed as failure:
            return failure.kind
    return "accepted"


if __name__ == "__main__":
    sys.addaudithook(touches)
    asyncio.run(main(*sys.argv[1:]))
