"""Two real replicas behind a shipped proxy, and readers that check every answer."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from kit.bank import Bank, around_today
from kit.proxies import UNLIMITED
from kit.reader import Readers
from kit.service import Program, free_port, serving_by

PATHS = ("/v1/rates", "/v1/rates/today", "/v1/rates/next", "/v1/rates?lang=ru")


def shared_by(bank: Bank, redis_url: str, **variables: str) -> dict[str, str]:
    """The environment of a fleet: one Redis, one namespace, one Bank."""
    return {
        "RATESVC_REDIS_URL": redis_url,
        "RATESVC_REDIS_NAMESPACE": uuid.uuid4().hex,
        "RATESVC_CBR_MIRRORS": bank.url,
        "RATESVC_CBR_BACKFILL_GAP_SECONDS": "0",
        **variables,
    }


@dataclass
class Fleet:
    """Two replicas on fixed ports behind a proxy, with readers."""

    start: Callable[[int], Awaitable[Program]]
    readers: Readers
    programs: list[Program]

    async def again(self, number: int) -> None:
        """Start that replica anew where it was."""
        self.programs[number] = await self.start(number)
        await self.readers.also(f"replica{number}")


@asynccontextmanager
async def fleet(  # noqa: PLR0913 -- what a story varies
    shared: dict[str, str],
    bank: Bank,
    folder: Path,
    *,
    started_by: tuple[str, ...] = (),
    per_second: float = 200.0,
    paths: tuple[str, ...] = PATHS,
    front: str = "haproxy",
) -> AsyncIterator[Fleet]:
    """Both replicas serve when the context begins; a reader checks the invariant I on every answer."""
    around_today(bank)
    ports = [str(free_port()) for _ in range(2)]
    async with AsyncExitStack() as stack:

        async def start(number: int) -> Program:
            variables = {**shared, "RATESVC_PORT": ports[number]}
            program = await stack.enter_async_context(serving_by(started_by, folder, **variables))
            await program.ready()
            return program

        programs = [await start(number) for number in range(2)]
        url = await stack.enter_async_context(UNLIMITED[front](folder, *(one.url for one in programs)))
        async with Readers(url, bank.truth, per_second, paths) as readers:
            await readers.also("replica0")
            await readers.also("replica1")
            readers.answers.clear()  # the proxy begins before it has asked its replicas
            yield Fleet(start, readers, programs)
    print(f"\n  {dict(readers.answers)}")  # noqa: T201 -- the figure is the point
    assert readers.violations == []
