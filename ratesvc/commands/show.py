"""`ratesvc show`: the rates in force on a day, and how each moved until then."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import click

from ratesvc.commands.progress import follow
from ratesvc.commands.running import check_known, in_force, opened, spoken
from ratesvc.commands.screen import put
from ratesvc.config import Settings
from ratesvc.domain.history import History
from ratesvc.domain.rates import FIRST_DAY, InForce
from ratesvc.domain.workdays import moscow_day
from ratesvc.errors import BadRequest
from ratesvc.render import json, series, terminal
from ratesvc.service.app import Service


@dataclass(frozen=True, slots=True)
class ShowOptions:
    """What the command line says; `days` before the day are shown as a line."""

    codes: tuple[str, ...]
    day: date | None
    days: int | None
    as_json: bool
    lang: str
    demo: bool


async def show(settings: Settings, asked: ShowOptions) -> None:
    """Print a table, or the API's JSON. Raises RatesvcError."""
    language = spoken(asked.lang)
    async with opened(settings, demo=asked.demo) as service:
        answer = await in_force(service, asked.day)
        check_known(asked.codes, service.history)
        if "RUB" in asked.codes:
            raise BadRequest("These rates are in RUB. One rouble in another currency: ratesvc convert 1 RUB USD")
        codes = tuple(dict.fromkeys(asked.codes)) or tuple(sorted(answer.revision.sheet.by_code))
        wanted = _days_before(answer, codes, asked.days) if asked.days else None
        history = await _moved(service, wanted) if wanted else service.history
        if not asked.as_json:
            moved = {code: history.series(code, wanted.since, wanted.until) for code in codes} if wanted else {}
            put(terminal.rates(answer, language, codes, moved, demo=asked.demo))
        elif wanted:
            today = moscow_day(service.clock())
            click.echo(series.to_json(wanted, history, today, demo=service.demo))
        else:
            click.echo(json.rates(answer, language, codes=asked.codes or None, demo=asked.demo))


def _days_before(answer: InForce, codes: tuple[str, ...], days: int) -> series.SeriesParams:
    until = answer.requested_date
    return series.SeriesParams(codes, max(until - timedelta(days=days), FIRST_DAY), until)


async def _moved(service: Service, wanted: series.SeriesParams) -> History:
    """The history of these days; what is not held, the Bank is asked for, and it is not kept."""
    gap = service.history.first_gap(wanted.since, wanted.until)
    if gap is None or gap >= moscow_day(service.clock()):
        return service.history
    found = await follow(service.look_up(wanted.codes, wanted.since, wanted.until), quiet=True)
    return found[-1]
