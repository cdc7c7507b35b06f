"""What `ratesvc convert` does."""

from __future__ import annotations

import re
from datetime import date

import click

from ratesvc.commands.running import language_for, opened
from ratesvc.commands.show import stored_or_fetched
from ratesvc.config import Settings
from ratesvc.features.convert.conversion import to_json, to_text
from ratesvc.render.openapi import query_parameters
from ratesvc.web.params import check_listed, require_known


async def convert(  # noqa: PLR0913 -- the options of the command
    settings: Settings, amount: str, pair: tuple[str, str], day: date | None, *, as_json: bool, lang: str, demo: bool
) -> None:
    """Print what an amount of the first currency is in the second, with the rate that was used, or the API's JSON."""
    described = query_parameters("/v1/convert")["amount"]
    if not re.fullmatch(described["schema"]["pattern"], amount):
        raise click.BadParameter(f"It takes {described['x-takes']}.", param_hint="AMOUNT")
    language = language_for(lang)
    async with opened(settings, demo=demo) as service:
        answer = await stored_or_fetched(service, day)
        for code in pair:
            require_known(code, service)
        check_listed(answer, source=pair[:1], target=pair[1:])
        if as_json:
            click.echo(to_json(answer, amount, pair[0], pair[1:], demo=demo))
        else:
            click.echo(to_text(answer, amount, *pair, language, demo=demo))
