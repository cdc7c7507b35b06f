"""`ratesvc convert` on the command line."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import click

from ratesvc.commands.options import (
    CODES,
    completed_from,
    day_option,
    demo_option,
    json_option,
    lang_option,
    run,
    to_codes,
)


@click.command("convert")
@click.argument("amount")
@click.argument("base", metavar="FROM", callback=to_codes, shell_complete=completed_from(CODES))
@click.argument("quote", metavar="[TO]", callback=to_codes, shell_complete=completed_from(CODES), default="RUB")
@day_option("date", "A day instead of today.")
@json_option("The API's JSON: that of /v1/convert.")
@lang_option
@demo_option
@click.pass_obj
def command(file: Path | None, /, amount: str, base: str, quote: str, date: date | None, **output: Any) -> None:
    """Convert an AMOUNT of a currency, by default into roubles."""
    run("ratesvc.features.convert.command.convert", file, amount, (base, quote), date, **output)
