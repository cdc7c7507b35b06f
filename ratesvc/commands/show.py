"""`ratesvc show`: the rates in force on a day."""

from __future__ import annotations

import os
import sys
from datetime import date
from shutil import get_terminal_size

import click

from ratesvc.commands.running import language_for, opened
from ratesvc.config import Settings
from ratesvc.domain.in_force import on_day
from ratesvc.domain.rates import InForce
from ratesvc.domain.workdays import ONE_DAY, moscow_day
from ratesvc.errors import BeforeHistory, HistoryLoading, NoSheet, NotYetSet, RatesvcError
from ratesvc.render import json, terminal
from ratesvc.service.app import Service
from ratesvc.service.cycle import Cycle
from ratesvc.web.params import check_listed, require_known

PIPE_WIDTH = 200


async def show(
    settings: Settings, codes: tuple[str, ...], day: date | None, *, as_json: bool, lang: str, demo: bool
) -> None:
    """Print a table of all currencies or of `codes`, or the API's JSON."""
    language = language_for(lang)
    async with opened(settings, demo=demo) as service:
        answer = await stored_or_fetched(service, day)
        for code in codes:
            require_known(code, service)
        check_listed(answer, codes=codes)
        if as_json:
            click.echo(json.rates(answer, language, codes=codes or None, demo=demo))
        else:
            shown = dict.fromkeys(codes) or sorted(answer.revision.sheet.by_code)
            width = get_terminal_size().columns if sys.stdout.isatty() else PIPE_WIDTH
            table = terminal.rates(answer, language, list(shown), width, demo=demo)
            # click leaves out colours in a pipe.
            click.echo(table, color=False if os.environ.get("NO_COLOR") else None)


async def stored_or_fetched(service: Service, day: date | None) -> InForce:
    """What applies on a day, or today: from what is stored, else from the Bank."""
    day = day or moscow_day(service.clock())
    if day < service.history.begins:
        raise BeforeHistory(day, service.history.recorded_from)
    if service.history.certain_on(day):
        return on_day(service.history, day, service.clock())
    cycle = await service.refresher.ask_without_lease(day)
    if trouble := service.telemetry.trouble:
        click.echo(f"ratesvc: without what is stored, these are the Bank's figures of now: {trouble}", err=True)
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
    for held_back in cycle.held_back.values():
        if held_back.effective_date <= day:
            raise RatesvcError(f"The Bank's sheet of {held_back.effective_date} is held back ({held_back}).")
