"""`ratesvc healthcheck` on the command line."""

from __future__ import annotations

from pathlib import Path

import click

from ratesvc.commands.options import settings_of


@click.command("healthcheck")
@click.pass_obj
def command(file: Path | None) -> None:
    """Ask /livez of the service on this machine; for containers."""
    from ratesvc.features.healthcheck.command import healthcheck  # --help must not wait for it

    healthcheck(settings_of(file).server)
