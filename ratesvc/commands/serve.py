"""`ratesvc serve`: the service's answers over HTTP until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
import resource
import signal
import socket

import click
import structlog

from ratesvc import __version__
from ratesvc.commands.running import end_if_cancelled, opened
from ratesvc.config import Settings
from ratesvc.service.app import Service
from ratesvc.web import features
from ratesvc.web.server import listening


async def serve(settings: Settings, *, demo: bool) -> None:
    """Serve until SIGTERM, SIGHUP or SIGINT, then drain. Raises ConfigError, EngineError and OSError.

    A drain answers for `drain_seconds` more. Then the port closes, and answers that are being sent have FINISH_S of
    web/connections.py. During the start SIGTERM and SIGHUP end it without an error, and SIGINT cancels it like any
    command.
    """
    _give_back_memory()
    with contextlib.suppress(OSError, ValueError):  # macOS refuses its own hard limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
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


def _give_back_memory() -> None:
    """Make glibc return every large buffer to the system once it is freed, and let threads share one heap.

    Otherwise it keeps ever larger buffers, and a heap for each thread. Other C libraries have no such switch. It lowers
    the peak of a process that renders long answers by 16 MB.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        # The size from which a buffer lies apart; how many heaps threads have.
        for option, value in {-3: 128 * 1024, -8: 1}.items():
            ctypes.CDLL(None).mallopt(option, value)


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
        "data": str(service.engine.folder.path.resolve()) if service.engine else "in Redis",
    }
    if service.settings.log.format == "json":
        structlog.get_logger("ratesvc").info("started", version=__version__, demo=service.demo, **places)
        return
    click.echo(f"ratesvc {__version__}{'  DEMO: recorded rates, stopped clock' if service.demo else ''}")
    for name, place in places.items():
        click.echo(f"  {name:<8}{place}")
