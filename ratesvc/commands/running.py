"""What every command that works with rates begins with: logs, a loop, the running program, the sheet of a day."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import date, datetime
from functools import partial
from typing import Any

import click
import msgspec

from ratesvc.commands.logs import set_up_logs
from ratesvc.config import Cbr, Settings
from ratesvc.domain.history import History, on_day
from ratesvc.domain.rates import FIRST_DAY, InForce, nearest_code
from ratesvc.domain.workdays import ONE_DAY, moscow_day, utc_now
from ratesvc.errors import BeforeHistory, HistoryLoading, NoSheet, NotYetSet, RatesvcError, UnknownCurrency
from ratesvc.render.language import Language, language
from ratesvc.service.app import Service
from ratesvc.service.refresh import Cycle


def run(work: Coroutine[Any, Any, None], logs: str = "") -> None:
    """Run to the end. `logs` is console or json; without it only errors are logged, in words."""
    set_up_logs(logs or "console", quiet=not logs)
    with _tidying_up(), asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(work)


@contextmanager
def _tidying_up() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt, which the runner knows how to end its work with."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 -- it does not exist everywhere
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


@asynccontextmanager
async def opened(settings: Settings, *, demo: bool, scheduled: bool = False) -> AsyncIterator[Service]:
    """The running program; in demo mode with the recorded Bank behind the ordinary client."""
    async with AsyncExitStack() as stack:
        clock = utc_now
        if demo:
            from ratesvc.demo import recorded_bank, stopped_clock  # noqa: PLC0415 -- of no use otherwise

            bank = await stack.enter_async_context(recorded_bank())
            settings = msgspec.structs.replace(
                settings, cbr=Cbr(mirrors=(bank,), backfill_gap_seconds=0), poll_seconds=None
            )
            clock = partial(_same, stopped_clock())
        yield await stack.enter_async_context(Service(settings, clock=clock, demo=demo, scheduled=scheduled))


def _same(moment: datetime) -> datetime:
    return moment


async def in_force(service: Service, day: date | None) -> InForce:
    """What applies on a day, or today: from what is stored, else from the Bank."""
    wanted = day or moscow_day(service.clock())
    if wanted < FIRST_DAY:
        raise BeforeHistory(wanted)
    if service.demo:
        _check_recorded(wanted)
    cycle = await service.fetch(wanted) if service.history.certain_on(wanted) is None else Cycle("unchanged")
    try:
        return on_day(service.history, wanted, service.clock())
    except HistoryLoading:
        _raise_cause(cycle, wanted)
        return _as_answered(service.history, wanted)
    except (NoSheet, NotYetSet):
        _raise_cause(cycle, wanted)
        raise


def _check_recorded(wanted: date) -> None:
    from ratesvc.demo import recorded_sheets  # noqa: PLC0415 -- of no use otherwise

    first = recorded_sheets()[0].effective_date
    if wanted < first:
        raise RatesvcError(f"The demo's recording begins on {first}; {wanted} is earlier.")


def _raise_cause(cycle: Cycle, wanted: date) -> None:
    """Raises what the Bank did wrong where its answer would have told which sheet is in force on the day."""
    # It is asked for that day first, then for others: where it gave that day's, their failure is not the cause.
    if not any(revision.effective_date <= wanted for revision in cycle.accepted):
        raise_failure(cycle)
    for held_back in cycle.held_back:
        if held_back.effective_date <= wanted:
            raise RatesvcError(f"The Bank's sheet of {held_back.effective_date} is held back ({held_back}).")


def _as_answered(history: History, wanted: date) -> InForce:
    """By the Bank's own word: asked for a past day it has just given the sheet that was in force then."""
    revision = history.nearest_before(wanted + ONE_DAY)
    if revision is None:
        raise HistoryLoading(wanted)
    effective = revision.effective_date
    return InForce(wanted, revision, history.before(effective), history.after(effective))


def raise_failure(cycle: Cycle) -> None:
    """Raises FetchFailed where nothing could be fetched."""
    if cycle.failure:
        raise cycle.failure


def check_known(codes: tuple[str, ...], history: History) -> None:
    """Raises UnknownCurrency, which names the one that was probably meant."""
    known = history.codes() | {"RUB"}
    for code in codes:
        if code not in known:
            raise UnknownCurrency(code, nearest_code(code, known))


def spoken(tag: str) -> Language:
    """The language of a tag. Raises click.BadParameter for one that CLDR does not know."""
    found = language(tag)
    if found is None:
        raise click.BadParameter(f"There is no language {tag!r}; en, ru and pt-BR are some.", param_hint="--lang")
    return found
