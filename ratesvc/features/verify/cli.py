"""`ratesvc verify` on the command line."""

from __future__ import annotations

from pathlib import Path

import click

from ratesvc.commands.options import demo_option, json_option, run


@click.command("verify")
@click.option("--repair", is_flag=True, help="Take the Bank's figures where they differ.")
@json_option("Every step, every difference, and their number last, as a line of JSON.")
@demo_option
@click.pass_obj
def command(file: Path | None, /, *, repair: bool, **output: bool) -> None:
    """Compare what is held with the Bank.

    Nothing changes without --repair.
    """
    run("ratesvc.features.verify.command.verify", file, repair=repair, **output)
