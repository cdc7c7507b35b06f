"""`ratesvc serve` and `ratesvc export`: the service's answers over HTTP until it is told to stop, or as static files.

The files are for a site that runs no Python and copies a folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import aiohttp
import click
import msgspec
import structlog

from ratesvc import __version__
from ratesvc.commands.running import end_if_cancelled, opened, replace_file
from ratesvc.config import Settings
from ratesvc.domain.workdays import moscow_day
from ratesvc.errors import RatesvcError
from ratesvc.render.json import PROBLEM_JSON
from ratesvc.service.app import Service
from ratesvc.service.publication import give_back_memory
from ratesvc.web import features
from ratesvc.web.server import listening


async def serve(settings: Settings, *, demo: bool) -> None:
    """Serve until SIGTERM, SIGHUP or SIGINT, then drain. Raises ConfigError, EngineError and OSError.

    During the start SIGTERM and SIGHUP end it without an error, and SIGINT cancels it like any command.
    """
    give_back_memory()
    features.load(settings.features)
    # What the imports made stays. Looking through it at each collection would take a tenth of a second.
    gc.freeze()
    loop, starting = asyncio.get_running_loop(), asyncio.current_task()
    stop, interrupted = asyncio.Event(), asyncio.Event()

    def give_up() -> None:
        if starting and not stop.is_set():
            starting.cancel()
        stop.set()

    def interrupt() -> None:
        interrupted.set()
        stop.set()

    # A terminal that closes sends SIGHUP. nohup has it ignored, and so it stays.
    ends = [one for one in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) is not signal.SIG_IGN]
    for end in ends:
        loop.add_signal_handler(end, give_up)
    try:
        async with opened(settings, demo=demo, scheduled=True, creates=True) as service, listening(service) as address:
            end_if_cancelled()
            for end in ends:
                loop.add_signal_handler(end, stop.set)
            loop.add_signal_handler(signal.SIGINT, interrupt)
            _announce(service, address)
            notify_systemd("READY=1")
            watchdog = asyncio.create_task(notify_watchdog())
            await stop.wait()
            notify_systemd("STOPPING=1")
            # /readyz says «draining», so that load balancers turn away before the port closes. Ctrl-C does not wait.
            await service.retire()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(interrupted.wait(), settings.server.drain_seconds)
            watchdog.cancel()
    except asyncio.CancelledError:
        if not stop.is_set():
            raise


def notify_systemd(state: str) -> None:
    """Send a state to the supervisor as sd_notify(3) describes. Does nothing if no supervisor has asked for it."""
    if address := os.environ.get("NOTIFY_SOCKET"):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.settimeout(0)  # a full queue must not block the event loop
            notify.connect(address.replace("@", "\0", 1) if address.startswith("@") else address)
            notify.send(state.encode())


async def notify_watchdog() -> None:
    """Tell systemd twice in each WatchdogSec that the event loop runs, so that it restarts a process that hangs."""
    while usec := os.environ.get("WATCHDOG_USEC"):
        notify_systemd("WATCHDOG=1")
        await asyncio.sleep(int(usec) / 2_000_000)


def _announce(service: Service, address: str) -> None:
    """Say once where everything is: as text, or as an event of the log for a collector."""
    places = {
        "page": f"{address}/",
        "rates": f"{address}/v1/rates",
        "health": f"{service.admin_url or address}/health",
        "engine": service.engine_name,
        "data": str(service.engine.folder.path.resolve()) if service.engine else "in that Redis",
    }
    if service.settings.log.format == "json":
        structlog.get_logger("ratesvc").info("started", version=__version__, demo=service.demo, **places)
        return
    click.echo(f"ratesvc {__version__}{'  DEMO: recorded rates, stopped clock' if service.demo else ''}")
    for name, place in places.items():
        click.echo(f"  {name:<8}{place}")


async def export(settings: Settings, folder: Path, *, as_json: bool, demo: bool) -> None:
    """Fetch today's sheet if it is not held, write the files, print how many. Raises RatesvcError, OSError."""
    server = msgspec.structs.replace(settings.server, host="127.0.0.1", port=0, admin_port=None)
    async with opened(msgspec.structs.replace(settings, server=server), demo=demo) as service:
        is_held = service.history.certain_on(moscow_day(service.clock())) is not None
        if not is_held and (failure := (await service.fetch(None)).failure):
            raise failure
        counts, refusals = await _write_files(service, folder)
    if as_json:
        click.echo(msgspec.json.encode({"folder": str(folder), **counts, "kept": len(refusals)}))
    else:
        click.echo(f"{folder}: {', '.join(f'{count} {outcome}' for outcome, count in counts.items())}")
    if refusals:
        raise RatesvcError(f"{len(refusals)} files were left as they are, the first because {refusals[0]}")


async def _write_files(service: Service, folder: Path) -> tuple[dict[str, int], list[str]]:
    """Write every file of `_pages` into the folder; an answer of 404 removes its file. Raises OSError.

    Returns how many files were written, unchanged and removed, and why the other files were left as they are.
    """
    counts = {"written": 0, "unchanged": 0, "removed": 0}
    refusals = []
    # The answers come over the service's own listener, so that their bytes are the same.
    async with listening(service) as url, aiohttp.ClientSession(headers={"Accept-Encoding": "identity"}) as http:
        for path, name in _pages(service):
            async with http.get(url + path) as answer:
                body = await answer.read()
            if answer.status in (HTTPStatus.OK, HTTPStatus.NOT_FOUND):
                counts[replace_file(folder / name, body if answer.ok else None)] += 1
            else:
                is_problem = answer.content_type == PROBLEM_JSON
                why = msgspec.json.decode(body)["detail"] if is_problem else answer.reason
                refusals.append(f"{path} is answered by {answer.status}: {why}")
    return counts, refusals


def _pages(service: Service) -> Iterator[tuple[str, str]]:
    """Each address and its file."""
    yield "/v1/rates", "rates.json"
    yield "/v1/rates/next", "rates-next.json"
    yield "/v1/currencies", "currencies.json"
    for feature in features.load(service.settings.features).on:
        yield from feature.exports(service)
