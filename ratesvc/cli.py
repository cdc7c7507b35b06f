"""The front door: `ratesvc serve`, `show`, `backfill`, `export`, `quarantine`, `healthcheck`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import click
import msgspec
import structlog

from ratesvc import __version__, desk
from ratesvc.config import Cbr, Settings, load
from ratesvc.errors import ConfigError, EngineError, RatesvcError
from ratesvc.history import on_day
from ratesvc.rates import FIRST_DAY, InForce
from ratesvc.refresh import Cycle
from ratesvc.render import api
from ratesvc.render.language import language_or_default
from ratesvc.service import Service
from ratesvc.web.app import listening
from ratesvc.workdays import moscow_day, utc_now

EXIT_CONFIG = 78  # EX_CONFIG of sysexits.h
EXIT_FAILED = 1


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ratesvc")
@click.option("--config", "file", type=click.Path(path_type=Path), help="Settings; by default ./config.yaml.")
@click.pass_context
def main(context: click.Context, file: Path | None) -> None:
    """The Bank of Russia's official exchange rates as a JSON API and an HTML widget."""
    context.obj = lambda: _settings(file)


@main.command()
@click.option("--demo", is_flag=True, help="Recorded figures on a stopped clock; needs no network.")
@click.option("--check-config", is_flag=True, help="Read the settings, say whether they are right, and stop.")
@click.pass_obj
def serve(settings_of: Callable[[], Settings], demo: bool, check_config: bool) -> None:
    """Serve the API and the widget until told to stop."""
    settings = settings_of()
    if check_config:
        click.echo("The settings are right.")
        return
    _set_up_logs(settings.log.format)
    _run(_serve(settings, demo))


@main.command()
@click.argument("codes", nargs=-1)
@click.option("--date", "day", type=click.DateTime(["%Y-%m-%d"]), help="A day instead of today.")
@click.option("--json", "as_json", is_flag=True, help="The API's JSON instead of a table.")
@click.option("--lang", default="en", show_default=True, help="The language of the names.")
@click.option("--demo", is_flag=True, help="Recorded figures on a stopped clock.")
@click.pass_obj
def show(
    settings_of: Callable[[], Settings],
    codes: tuple[str, ...],
    day: datetime | None,
    as_json: bool,
    lang: str,
    demo: bool,
) -> None:
    """Print the rates in force, for all currencies or for CODES."""
    settings = settings_of()
    _set_up_logs("console", quiet=True)
    asked = tuple(code.upper() for code in codes)
    _run(_show(settings, asked, day.date() if day else None, as_json, lang, demo))


@main.command()
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), help="The first day; by default 1992-07-01.")
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="The last day; by default tomorrow.")
@click.option("--verify", is_flag=True, help="Compare what is held with the Bank and change nothing.")
@click.option("--demo", is_flag=True, help="Recorded figures on a stopped clock.")
@click.pass_obj
def backfill(
    settings_of: Callable[[], Settings], since: datetime | None, until: datetime | None, verify: bool, demo: bool
) -> None:
    """Fetch all of history, one request a currency; go on where an earlier run was cut off."""
    settings = settings_of()
    _set_up_logs("console", quiet=True)
    days = since.date() if since else FIRST_DAY, until.date() if until else None
    _run(_verify(settings, demo) if verify else _backfill(settings, demo, *days))


@main.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--demo", is_flag=True, help="Recorded figures on a stopped clock.")
@click.pass_obj
def export(settings_of: Callable[[], Settings], folder: Path, demo: bool) -> None:
    """Write what the service would serve as static files into FOLDER; only what changed is written."""
    settings = settings_of()
    _set_up_logs("console", quiet=True)
    _run(_export(settings, folder, demo))


@main.group()
def quarantine() -> None:
    """Documents of the Bank that were not published: look at them, and decide."""


@quarantine.command("list")
@click.pass_obj
def quarantine_list(settings_of: Callable[[], Settings]) -> None:
    """Print their names, when they came, and why they wait; the newest first."""
    _decide(settings_of(), desk.listed)


@quarantine.command("show")
@click.argument("name")
@click.option("--raw", is_flag=True, help="The Bank's own bytes and nothing else.")
@click.pass_obj
def quarantine_show(settings_of: Callable[[], Settings], name: str, raw: bool) -> None:
    """Print the reasons and the figures of one; NAME may be its beginning."""
    _decide(settings_of(), partial(desk.raw if raw else desk.shown, name=name))


@quarantine.command("release")
@click.argument("name")
@click.pass_obj
def quarantine_release(settings_of: Callable[[], Settings], name: str) -> None:
    """Publish one as your decision; it is flagged as released. A running service serves it at once."""
    _decide(settings_of(), partial(desk.released, name=name))


@quarantine.command("drop")
@click.argument("name")
@click.pass_obj
def quarantine_drop(settings_of: Callable[[], Settings], name: str) -> None:
    """Forget one. While the Bank still says the same, the next poll brings it back."""
    _decide(settings_of(), partial(desk.dropped, name=name))


@main.command()
@click.pass_obj
def healthcheck(settings_of: Callable[[], Settings]) -> None:
    """Ask /livez of the service on this machine; for containers."""
    import urllib.request

    server = settings_of().server
    port = server.port if server.admin_port is None else server.admin_port
    host = "127.0.0.1" if server.host in ("0.0.0.0", "::") else server.host  # noqa: S104 -- compared with
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/livez", timeout=3) as answer:
            click.echo(answer.read().decode().strip())
    except OSError as error:
        _fail(f"no answer from http://{host}:{port}/livez: {error}", EXIT_FAILED)


def _settings(file: Path | None) -> Settings:
    try:
        return load(file, os.environ)
    except ConfigError as error:
        _fail(str(error), EXIT_CONFIG)


@asynccontextmanager
async def _opened(settings: Settings, demo: bool, *, ticking: bool) -> AsyncIterator[Service]:
    """The running program; in demo mode with the recorded Bank behind the ordinary client."""
    async with AsyncExitStack() as stack:
        clock = utc_now
        if demo:
            from ratesvc.demo import recorded_bank, stopped_clock

            bank = await stack.enter_async_context(recorded_bank())
            stopped = stopped_clock()
            settings = msgspec.structs.replace(
                settings, cbr=Cbr(mirrors=(bank,), backfill_gap_seconds=0), poll_seconds=None
            )
            clock = partial(_same, stopped)
        yield await stack.enter_async_context(Service(settings, clock=clock, demo=demo, ticking=ticking))


def _same(moment: datetime) -> datetime:
    return moment


async def _serve(settings: Settings, demo: bool) -> None:
    stop = asyncio.Event()
    interrupted = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, _set_both, interrupted, stop)
    async with _opened(settings, demo, ticking=True) as service, listening(service) as address:
        _announce(service, address)
        await stop.wait()
        # Load balancers see /readyz say «draining» while everything is still answered; Ctrl-C does not wait.
        await service.retire()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(interrupted.wait(), settings.server.drain_seconds)


def _set_both(one: asyncio.Event, other: asyncio.Event) -> None:
    one.set()
    other.set()


def _announce(service: Service, address: str) -> None:
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


async def _show(
    settings: Settings, codes: tuple[str, ...], day: date | None, as_json: bool, lang: str, demo: bool
) -> None:
    from rich.console import Console

    from ratesvc.render import terminal

    async with _opened(settings, demo, ticking=False) as service:
        wanted = day or moscow_day(service.clock())
        words = language_or_default(lang)
        answer = await _answer(service, wanted)
        known = answer.revision.sheet.by_code
        for code in codes:
            if code not in known:
                raise RatesvcError(f"the sheet has no {code}; did you mean {_nearest(code, known)}?")
        if as_json:
            click.echo(api.rates(answer, words, codes=codes or None, demo=demo).decode())
        else:
            Console().print(terminal.rates(answer, words, codes, demo=demo))


async def _backfill(settings: Settings, demo: bool, since: date, until: date | None) -> None:
    from ratesvc.progress import follow

    async with _opened(settings, demo, ticking=False) as service:
        if service.history.newest is None:
            _raise_failure(await service.fetch(None))
        await follow(service.backfill(since, until))
        span = service.history.span
        if span is None:
            raise RatesvcError("the Bank has no sheets in that range")
        click.echo(f"Held: {len(service.history.days)} sheets, every one from {span.since} to {span.until}.")


async def _verify(settings: Settings, demo: bool) -> None:
    from ratesvc.progress import follow

    async with _opened(settings, demo, ticking=False) as service:
        differences = await follow(service.verify())
        for found in differences:
            click.echo(
                f"{found.code} {found.day}: held {found.held or 'nothing'}, the Bank has {found.bank or 'nothing'}"
            )
        if differences:
            raise RatesvcError(f"{len(differences)} differences")
        click.echo("No difference.")


async def _export(settings: Settings, folder: Path, demo: bool) -> None:
    from ratesvc import export as files

    server = msgspec.structs.replace(settings.server, host="127.0.0.1", port=0)
    async with _opened(msgspec.structs.replace(settings, server=server), demo, ticking=False) as service:
        if service.history.certain_on(moscow_day(service.clock())) is None:
            _raise_failure(await service.fetch(None))
        done = await files.export(service, folder)
        click.echo(f"{folder}: {done.written} written, {done.unchanged} unchanged, {done.removed} removed")


def _decide(settings: Settings, decision: Callable[[Service], Coroutine[Any, Any, str | bytes]]) -> None:
    async def work() -> None:
        async with _opened(settings, demo=False, ticking=False) as service:
            click.echo(await decision(service), nl=False)

    _set_up_logs("console", quiet=True)
    _run(work())


def _raise_failure(cycle: Cycle) -> None:
    if cycle.failure:
        raise cycle.failure


async def _answer(service: Service, day: date) -> InForce:
    """From what is stored, else from the Bank."""
    if service.history.certain_on(day) is None:
        cycle = await service.fetch(day)
        if cycle.failure and service.history.newest is None:
            raise cycle.failure
    return on_day(service.history, day, service.clock())


def _nearest(code: str, known: Iterable[str]) -> str:
    """The code with the most letters in the same places."""
    return max(sorted(known), key=lambda candidate: sum(map(str.__eq__, candidate, code)))


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Run to the end; an error that we can explain is one line, not a traceback."""
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(work)
    except KeyboardInterrupt:
        sys.exit(130)
    except (EngineError, ConfigError) as error:
        _fail(str(error), EXIT_CONFIG)
    except RatesvcError as error:
        _fail(str(error), EXIT_FAILED)
    except OSError as error:
        _fail(str(error), EXIT_CONFIG)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def _set_up_logs(form: str, *, quiet: bool = False) -> None:
    """One line an event on standard error, our own and the libraries' alike."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer = (
        [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer()]
        if form == "json"
        else [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer]
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("ratesvc").setLevel(logging.ERROR if quiet else logging.INFO)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _fail(text: str, code: int) -> NoReturn:
    click.echo(f"ratesvc: {text}", err=True)
    sys.exit(code)
