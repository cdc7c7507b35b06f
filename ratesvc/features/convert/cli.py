"""`ratesvc convert` on the command line."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import click

from ratesvc.commands import options


@click.command("convert")
@click.argument("amount")
@click.argument("base", metavar="FROM", type=str.upper)
@click.argument("quote", metavar="[TO]", type=str.upper, default="RUB")
@options.day_option("date", "A day instead of today.")
@options.json_option("The API's JSON: that of /v1/convert.")
@options.lang_option
@options.demo_option
@click.pass_obj
def command(file: Path | None, /, amount: str, base: str, quote: str, date: date | None, **output: Any) -> None:
    """Convert an AMOUNT of a currency, by default into roubles."""
    options.run("ratesvc.features.convert.command.convert", file, amount, (base, quote), date, **output)
