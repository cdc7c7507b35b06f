"""`ratesvc healthcheck` on the command line."""

from __future__ import annotations

from pathlib import Path

import click

from ratesvc.commands.options import json_option, settings_of


@click.command("healthcheck")
@json_option("The result as JSON: the address, its answer, and whether the service is alive.")
@click.pass_obj
def command(file: Path | None, *, as_json: bool) -> None:
    """Ask /livez of the service on this machine; for containers."""
    from ratesvc.features.healthcheck.command import healthcheck  # --help must not wait for it

    healthcheck(settings_of(file).server, as_json=as_json)
