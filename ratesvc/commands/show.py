"""`ratesvc show`: the rates in force on a day, and how each moved until then."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import click

from ratesvc.commands.progress import follow
from ratesvc.commands.running import check_known, in_force, opened, spoken
from ratesvc.commands.screen import put
from ratesvc.config import Settings
from ratesvc.errors import BadRequest
from ratesvc.rates import FIRST_DAY, InForce
from ratesvc.render import api, series, terminal
from ratesvc.service import Service
from ratesvc.workdays import moscow_day


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
        wanted = await _moved(service, answer, codes, asked.days) if asked.days else None
        if not asked.as_json:
            moved = {code: service.history.series(code, wanted.since, wanted.until) for code in codes} if wanted else {}
            put(terminal.rates(answer, language, codes, moved, demo=asked.demo))
        elif wanted:
            click.echo(_series(service, wanted))
        else:
            click.echo(api.rates(answer, language, codes=asked.codes or None, demo=asked.demo))


async def _moved(service: Service, answer: InForce, codes: tuple[str, ...], days: int) -> series.Request:
    """The days before, each with a sheet that is held; what is not, the Bank is asked for, and it is not kept."""
    until = answer.requested_date
    since = max(until - timedelta(days=days), FIRST_DAY)
    gap = service.history.first_gap(since, until)
    if gap is not None and gap < moscow_day(service.clock()):
        await follow(service.look_up(codes, since, until), quiet=True)
    return series.Request(codes, since, until)


def _series(service: Service, wanted: series.Request) -> bytes:
    history, today = service.history, moscow_day(service.clock())
    return series.to_json(
        wanted, {code: series.rows_of(history, code, wanted, today) for code in wanted.codes}, demo=service.demo
    )
