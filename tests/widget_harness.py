"""A live service with the recorded Bank behind it, pages on other origins, and a real Chromium."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ratesvc.config import Cbr, Server, Settings
from ratesvc.demo import recorded_bank, recorded_sheets, stopped_clock
from ratesvc.rates import Revision
from ratesvc.service import Service
from ratesvc.web.app import listening

FLAGS = [
    "--no-sandbox",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]


@dataclass
class Live:
    """A running service and its address."""

    service: Service
    url: str


@asynccontextmanager
async def live_service(folder: Path, *, port: int = 0, demo: bool = True) -> AsyncIterator[Live]:
    """A service on a stopped clock that holds all recorded sheets."""
    stopped = stopped_clock()

    def clock() -> datetime:
        return stopped

    async with AsyncExitStack() as stack:
        bank = await stack.enter_async_context(recorded_bank())
        settings = Settings(server=Server(port=port), data_dir=str(folder), cbr=Cbr(mirrors=(bank,)))
        service = await stack.enter_async_context(Service(settings, clock=clock, demo=demo, ticking=False))
        for sheet in recorded_sheets():
            service.history.add(Revision(sheet, 1, stopped))
        service.publish()
        yield Live(service, await stack.enter_async_context(listening(service)))
