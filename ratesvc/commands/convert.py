"""`ratesvc convert`: an amount at the rates in force on a day."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import click

from ratesvc.commands.running import check_known, in_force, opened, spoken
from ratesvc.config import Settings
from ratesvc.errors import BadRequest
from ratesvc.render import json, terminal
from ratesvc.web.params import AMOUNT, AMOUNT_IN_WORDS


@dataclass(frozen=True, slots=True)
class ConvertOptions:
    """What the command line says."""

    amount: str
    base: str
    quote: str
    day: date | None
    as_json: bool
    lang: str
    demo: bool


async def convert(settings: Settings, asked: ConvertOptions) -> None:
    """Print the result and the rate that was used, or the API's JSON. Raises RatesvcError, click.BadParameter."""
    if not re.fullmatch(AMOUNT, asked.amount):
        raise click.BadParameter(f"It takes {AMOUNT_IN_WORDS}.", param_hint="AMOUNT")
    language, amount, pair = spoken(asked.lang), Decimal(asked.amount), (asked.base, asked.quote)
    async with opened(settings, demo=asked.demo) as service:
        answer = await in_force(service, asked.day)
        check_known(pair, service.history)
        sheet = answer.revision.sheet
        if lacking := {*pair} - {"RUB", *sheet.by_code}:
            raise BadRequest(f"The sheet of {sheet.effective_date} has no {', '.join(sorted(lacking))}.")
        if asked.as_json:
            click.echo(json.conversion(answer, amount, *pair, demo=asked.demo))
        else:
            click.echo(terminal.conversion(answer, amount, *pair, language, demo=asked.demo))
