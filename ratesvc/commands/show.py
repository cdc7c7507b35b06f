"""`ratesvc show` and `ratesvc convert`: the rates in force on a day, how they moved until then, an amount at them."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from datetime import date, timedelta
from decimal import Decimal
from difflib import get_close_matches

import click
from rich.console import Console

from ratesvc.bank.admission import Decision, Recent, assess
from ratesvc.commands.running import follow, language_for, opened
from ratesvc.config import Settings
from ratesvc.domain.columns import Coverage, Days, composed
from ratesvc.domain.history import NEAR, History, on_day
from ratesvc.domain.rates import FIRST_DAY, MOST_USED, InForce
from ratesvc.domain.series import SeriesParams
from ratesvc.domain.workdays import ONE_DAY, moscow_day
from ratesvc.errors import BadRequest, BeforeHistory, HistoryLoading, NoSheet, NotYetSet, RatesvcError, UnknownCurrency
from ratesvc.render import json, tables, terminal
from ratesvc.render.contract import query_parameters
from ratesvc.service.app import Service
from ratesvc.service.backfill import Progress
from ratesvc.service.refresh import Cycle

PIPE_WIDTH = 200


async def show(  # noqa: PLR0913 -- the options of the command
    settings: Settings,
    codes: tuple[str, ...],
    day: date | None,
    days: int | None,
    *,
    as_json: bool,
    lang: str,
    demo: bool,
) -> None:
    """Print a table of all currencies or of `codes`, or the API's JSON; with how they moved in the `days` before."""
    language = language_for(lang)
    async with opened(settings, demo=demo) as service:
        answer = await in_force(service, day)
        check_known(codes, service.history)
        if "RUB" in codes:
            raise BadRequest("These rates are in RUB. One rouble in another currency: ratesvc convert 1 RUB USD")
        shown = tuple(dict.fromkeys(codes)) or tuple(sorted(answer.revision.sheet.by_code))
        until = answer.requested_date
        params = SeriesParams(shown, Days(max(until - timedelta(days=days), FIRST_DAY), until)) if days else None
        history = await held_or_fetched(service, params) if params else service.history
        if not as_json:
            moved = {code: history.series(code, params.days) for code in shown} if params else {}
            # As wide as the terminal. Rich leaves out colours in a pipe and where NO_COLOR is set.
            console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)
            console.print(terminal.rates(answer, language, shown, moved, demo=demo))
        elif params:
            rows = (tables.rows_of(history, code, params, moscow_day(service.clock())) for code in params.codes)
            click.echo(tables.to_json(tables.about(params, history, moscow_day(service.clock()), demo=demo), rows))
        else:
            click.echo(json.rates(answer, language, codes=codes or None, demo=demo))


async def in_force(service: Service, day: date | None) -> InForce:
    """What applies on a day, or today: from what is stored, else from the Bank."""
    day = day or moscow_day(service.clock())
    if day < service.history.begins:
        raise BeforeHistory(day, service.history.recorded_from)
    if service.history.certain_on(day):
        return on_day(service.history, day, service.clock())
    cycle = await service.fetch(day)
    try:
        return on_day(service.history, day, service.clock())
    except (HistoryLoading, NoSheet, NotYetSet) as error:
        _raise_cause(cycle, day)
        # Asked for a past day, the Bank has given the sheet that was in force then.
        revision = service.history.nearest_before(day + ONE_DAY)
        if revision is None or not isinstance(error, HistoryLoading):
            raise
    effective = revision.effective_date
    return InForce(day, revision, service.history.before(effective), service.history.after(effective))


def _raise_cause(cycle: Cycle, day: date) -> None:
    """Raise what the Bank did wrong, if that is why the sheet in force on the day is not certain."""
    # The first request is for that day. If it has succeeded, a failure of the later ones is not the cause.
    if cycle.failure and not any(revision.effective_date <= day for revision in cycle.accepted):
        raise cycle.failure
    for held_back in cycle.held_back:
        if held_back.effective_date <= day:
            raise RatesvcError(f"The Bank's sheet of {held_back.effective_date} is held back ({held_back}).")


def check_known(codes: tuple[str, ...], history: History) -> None:
    """Raises UnknownCurrency, with the code that was probably meant."""
    known = history.codes() | {"RUB"}
    for code in codes:
        if code not in known:
            # Several are often equally similar. Then the most used is meant.
            near = get_close_matches(code, known & {*MOST_USED, "RUB"}, 1) or get_close_matches(code, known, 1)
            raise UnknownCurrency(code, near[0] if near else None)


async def held_or_fetched(service: Service, params: SeriesParams) -> History:
    """The history of these days. If days are missing, it is fetched from the Bank and not stored."""
    gap = service.history.first_gap(params.days)
    if gap is None or gap >= moscow_day(service.clock()):
        return service.history
    return (await follow(_fetched(service, params), quiet=True))[-1]


async def _fetched(service: Service, params: SeriesParams) -> AsyncIterator[Progress | History]:
    """Ask for these currencies and days. The last thing that it yields is a history of them alone.

    A day that is held keeps its figures. A day that is unconfirmed, or whose figures have findings, is left out.
    """
    history, days = service.history, params.days
    held, unconfirmed = frozenset(history.days), history.unconfirmed
    newest = max(held, default=days.until)
    columns = [column.copy() for code in params.codes for column in history.columns(code)]
    for number, column in enumerate(columns):
        yield Progress(number, len(columns), f"{column.currency.code} ({column.currency.cbr_id})")
        await asyncio.sleep(service.settings.cbr.backfill_gap_seconds if number else 0)
        for record in await service.client.dynamic(column.currency.cbr_id, days.since, days.until):
            if record.effective_date not in held and record.effective_date <= newest:
                column.put(record.effective_date, record.nominal, record.value)
    fetched, left_out = History(history.calendar), []
    for day in sorted({day for column in columns for day, _ in column.unit_rates(Days(days.since - NEAR, days.until))}):
        revision = composed(columns, day)
        if (
            revision
            and day not in unconfirmed
            and (
                day in held
                or day not in days
                or assess(revision.sheet, Recent.before(fetched, day)).decision is Decision.ACCEPT
            )
        ):
            fetched.add(revision)
        else:
            left_out.append(day)
    fetched.coverage = Coverage(days.since, days.until, tuple(left_out))
    yield fetched


async def convert(  # noqa: PLR0913 -- the options of the command
    settings: Settings, amount: str, pair: tuple[str, str], day: date | None, *, as_json: bool, lang: str, demo: bool
) -> None:
    """Print what an amount of the first currency is in the second, with the rate that was used, or the API's JSON."""
    described = query_parameters("/v1/convert")["amount"]
    if not re.fullmatch(described["schema"]["pattern"], amount):
        raise click.BadParameter(f"It takes {described['x-takes']}.", param_hint="AMOUNT")
    language = language_for(lang)
    async with opened(settings, demo=demo) as service:
        answer = await in_force(service, day)
        check_known(pair, service.history)
        sheet = answer.revision.sheet
        if missing := {*pair} - sheet.costs.keys():
            raise BadRequest(f"The sheet of {sheet.effective_date} has no {', '.join(sorted(missing))}.")
        if as_json:
            click.echo(json.conversion(answer, amount, *pair, demo=demo))
        else:
            click.echo(terminal.conversion(answer, Decimal(amount), *pair, language, demo=demo))
