"""`ratesvc serve`: the service until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import signal

import click
import structlog

from ratesvc import __version__
from ratesvc.commands.running import opened
from ratesvc.config import Settings
from ratesvc.service.app import Service
from ratesvc.service.publication import give_back_memory
from ratesvc.web.app import listening


async def serve(settings: Settings, *, demo: bool) -> None:
    """Serve until SIGTERM or SIGINT, then drain. Raises EngineError, and OSError when the port is taken.

    SIGTERM during the start ends it; SIGINT does so, too, by the KeyboardInterrupt of whoever runs this.
    """
    give_back_memory()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    starting = asyncio.current_task()

    def give_up() -> None:
        if starting and not stop.is_set():
            starting.cancel()
        stop.set()

    loop.add_signal_handler(signal.SIGTERM, give_up)
    try:
        async with opened(settings, demo=demo, scheduled=True) as service, listening(service) as address:
            interrupted = asyncio.Event()
            loop.add_signal_handler(signal.SIGTERM, stop.set)
            loop.add_signal_handler(signal.SIGINT, _set_both, interrupted, stop)
            _announce(service, address)
            await stop.wait()
            # Load balancers see /readyz say «draining» while everything is still answered; Ctrl-C does not wait.
            await service.retire()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(interrupted.wait(), settings.server.drain_seconds)
    except asyncio.CancelledError:
        if not stop.is_set():
            raise


def _set_both(one: asyncio.Event, other: asyncio.Event) -> None:
    one.set()
    other.set()


def _announce(service: Service, address: str) -> None:
    """Say once where everything is: to a person, or to a collector as an event like the others."""
    lines = {
        "page": f"{address}/",
        "rates": f"{address}/v1/rates",
        "health": f"{service.admin_url or address}/health",
        "engine": service.engine_name,
        "data": str(service.data_dir.resolve()) if service.engine else "in that Redis",
    }
    if service.settings.log.format == "json":
        structlog.get_logger("ratesvc").info("started", version=__version__, demo=service.demo, **lines)
        return
    click.echo(f"ratesvc {__version__}{'  DEMO: recorded rates, stopped clock' if service.demo else ''}")
    for name, text in lines.items():
        click.echo(f"  {name:<8}{text}")
