"""`ratesvc export` on the command line."""

from __future__ import annotations

from pathlib import Path

import click

from ratesvc.commands.options import demo_option, json_option, run


@click.command("export")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@json_option("The counts as JSON.")
@demo_option
@click.pass_obj
def command(file: Path | None, /, folder: Path, **output: bool) -> None:
    """Write the service's answers as static files into FOLDER.

    Only what changed is written.
    """
    run("ratesvc.features.export.command.export", file, folder, **output)
