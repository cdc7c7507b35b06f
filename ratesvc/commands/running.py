"""What commands share: the event loop, the running service, how far a long job is, and languages."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from tempfile import TemporaryDirectory
from typing import Any

import click
import msgspec
from uvloop import new_event_loop

from ratesvc.config import Cbr, Settings
from ratesvc.demo import RECORDED_FROM, recorded_bank, stopped_clock
from ratesvc.domain.workdays import utc_now
from ratesvc.errors import EngineError
from ratesvc.render.language import Language
from ratesvc.render.language import language as language_of
from ratesvc.service.app import Service, engine_folder
from ratesvc.service.cycle import OnStep, Progress
from ratesvc.service.telemetry import set_up_log


def run(work: Coroutine[Any, Any, None], logs: str = "") -> None:
    """Run to the end. `logs` is console or json, and ends the process; without it only errors are logged, as text."""
    set_up_log(logs or "console", quiet=not logs)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(work)
        if logs:
            # Everything is closed. Closing the loop would wait for a resolver that is silent, often ten seconds.
            os._exit(0)


@asynccontextmanager
async def opened(
    settings: Settings, *, demo: bool, scheduled: bool = False, creates: bool = False, requires: bool = False
) -> AsyncIterator[Service]:
    """The running service; in demo mode it asks the recorded Bank through the ordinary client.

    Only a command that `creates` data leaves a data folder where there was none. One that `requires` data raises
    EngineError there, because an empty store would say that all is well.
    """
    async with AsyncExitStack() as stack:
        clock, folder = utc_now, engine_folder(settings, demo=demo)
        if folder and not (creates or folder.exists()):
            if requires:
                where = folder.resolve()
                raise EngineError(f"there is no data in {where}: run this where the service runs, with its settings")
            temporary = stack.enter_context(TemporaryDirectory(prefix="ratesvc-", ignore_cleanup_errors=True))
            settings = msgspec.structs.replace(settings, data_dir=temporary)
        if demo:
            address = await stack.enter_async_context(recorded_bank())
            bank = Cbr(mirrors=(address,), host_names=settings.cbr.host_names, backfill_gap_seconds=0)
            settings, clock = msgspec.structs.replace(settings, cbr=bank, poll_seconds=None), stopped_clock
        service = Service(settings, clock=clock, demo=demo, scheduled=scheduled)
        if demo:
            service.history.recorded_from = RECORDED_FROM
        yield await stack.enter_async_context(service)


@contextmanager
def progress_shown(*, as_json: bool) -> Iterator[OnStep]:
    """Shows each reported step of a long job.

    It is a bar in a terminal, a line for each step elsewhere, or with `as_json` lines of JSON on standard output.
    """
    is_drawn = sys.stderr.isatty() and not as_json
    looks: dict[str, Any] = {"width": 20, "bar_template": "%(bar)s %(info)s", "item_show_func": lambda asking: asking}
    with click.progressbar(length=1, file=sys.stderr, hidden=not is_drawn, **looks) as bar:

        async def on_step(step: Progress) -> None:
            end_if_cancelled()
            if is_drawn:
                # Series are counted first, then documents.
                bar.length, bar.finished, bar.current_item = step.total, step.done == step.total, step.asking
                bar.pos = step.done
                bar.render_progress()
            elif as_json:
                click.echo(msgspec.json.encode(step))
            else:
                click.echo(f"{step.done}/{step.total} {step.asking}", err=True)

        yield on_step


def end_if_cancelled() -> None:
    """End the job if a cancellation was lost, as Python 3.11's wait_for can do, with which redis-py sends commands."""
    task = asyncio.current_task()
    if task and task.cancelling():
        raise asyncio.CancelledError


def language_for(tag: str) -> Language:
    """The language of a tag. Raises click.BadParameter for a language that CLDR does not know."""
    if language := language_of(tag):
        return language
    raise click.BadParameter(f"There is no language {tag!r}; en, ru and pt-BR are some.", param_hint="--lang")
