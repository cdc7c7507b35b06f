"""What an idle replica with all of history moves to and from Redis in a day; printed.

PYTHONPATH=.:tests .venv/bin/python bench/idle.py [MINUTES]

Redis holds thirty-four years of made-up figures, and the daily documents of the last year.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
import servers
import stored
from fake_bank import Bank, bank_running, daily_xml

from ratesvc.config import Cbr, Redis, Settings
from ratesvc.domain.rates import Revision
from ratesvc.domain.workdays import utc_now
from ratesvc.service.app import Service
from ratesvc.storage.redis import RedisConnection
from ratesvc.storage.store import Store

DAYS_OF_DOCUMENTS = 250
DAY_S = 86_400
NAMESPACE = "idle"
SETTLED_S = 15


@dataclass(frozen=True)
class Counted:
    """Redis' own counters."""

    at: float
    commands: int
    megabytes: float

    @classmethod
    def now(cls, socket: str) -> Counted:
        """As they stand."""
        with redis.Redis(unix_socket_path=socket) as client:
            found: Any = client.info("stats")
        moved = found["total_net_input_bytes"] + found["total_net_output_bytes"]
        return cls(time.monotonic(), found["total_commands_processed"], moved / 1e6)


async def fill(socket: str, bank: Bank) -> None:
    """History, and the sheets of the last year as they are kept when they came as daily documents."""
    await stored.fill(socket, NAMESPACE, bank)
    sheets = map(stored.sheet, stored.sheet_days()[-DAYS_OF_DOCUMENTS:])
    store = Store(RedisConnection(f"unix://{socket}"), NAMESPACE)
    await store.add(Revision(one, 1, utc_now(), document=zlib.compress(daily_xml(one), 9)) for one in sheets)
    await store.close()


async def measure(minutes: float, socket: str) -> None:
    """Ticks alone, and one reconnection, after which every value is read."""
    await asyncio.sleep(SETTLED_S)
    before = Counted.now(socket)
    await asyncio.sleep(60 * minutes)
    idle = Counted.now(socket)
    times = DAY_S / (idle.at - before.at)
    commands, megabytes = (idle.commands - before.commands) * times, (idle.megabytes - before.megabytes) * times
    print(f"ticks: {commands:,.0f} commands and {megabytes:.1f} MB a day")
    with redis.Redis(unix_socket_path=socket) as client:
        client.client_kill_filter(_type="pubsub")
    await asyncio.sleep(SETTLED_S)
    print(f"a reconnection: {Counted.now(socket).megabytes - idle.megabytes:.1f} MB")


async def main(minutes: float) -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        async with servers.redis_running(Path(folder)) as socket, bank_running() as bank:
            await fill(socket, bank)
            settings = Settings(
                data_dir=folder,
                redis=Redis(url=f"unix://{socket}", namespace=NAMESPACE),
                cbr=Cbr(mirrors=(bank.url,)),
                poll_seconds=DAY_S,
            )
            async with Service(settings):
                await measure(minutes, socket)


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 10.0))
