"""A fresh process reads a good document, then another, and says what that one cost: memory in MB, time, the loop's lag.

python appetite.py GOOD_MIRROR OTHER_MIRROR
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time

from lag import Lag

from ratesvc.cbr.client import BankClient, Pace
from ratesvc.errors import FetchFailed


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def main(good: str, other: str) -> None:
    assert await read(good) == "accepted"
    before_mb, begun = peak_mb(), time.monotonic()
    async with Lag() as lag:
        kind = await read(other)
    spent = {"mb": peak_mb() - before_mb, "seconds": time.monotonic() - begun, "lag_s": lag.longest_s}
    print(json.dumps({"kind": kind, **spent}))  # noqa: T201 -- its answer


async def read(mirror: str) -> str:
    async with BankClient([mirror], "appetite", pace=Pace(None)) as client:
        try:
            await client.daily(None, lambda _: None)
        except FetchFailed as failure:
            return failure.kind
    return "accepted"


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
