"""`ratesvc watch` on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ratesvc.commands import options

EVENTS = ("sheet", "revision", "in_force", "reset")


@click.command("watch")
@click.argument("codes", nargs=-1, type=str.upper)
@click.option("--url", help="The address of the service; by default the one with these settings on this machine.")
@click.option("--only", multiple=True, type=click.Choice(EVENTS), help="These events; by default all.")
@click.option("--exec", "command", metavar="COMMAND", help="A command of the shell that reads each event.")
@click.option(
    "--timeout",
    "limit_s",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    default=60,
    show_default=True,
    help="How long COMMAND may take.",
)
@click.option(
    "--give-up",
    "give_up_s",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="Ends with 75 after failures for so long; by default never.",
)
@click.option("--state", type=click.Path(path_type=Path, dir_okay=False), help="Keeps the place over a restart.")
@options.json_option("One line of JSON for each event: its name, its id, and the answer of /v1/rates.")
@options.lang_option
@click.pass_obj
def command(file: Path | None, /, codes: tuple[str, ...], **given: Any) -> None:
    """Print each event with the rates of CODES, until told to stop.

    Without CODES the text has USD, EUR and CNY, and --json has all currencies. An event comes again until COMMAND has
    ended with 0. After a reset you get the newest sheet, if its figures are new; --json names the reset, too.
    """
    options.run("ratesvc.features.events.watch.watch", file, codes, **given)
