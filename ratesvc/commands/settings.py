"""The settings of a command, and whether they are right."""

from __future__ import annotations

import os
from pathlib import Path

import click
import msgspec

from ratesvc.config import Settings, load
from ratesvc.errors import ConfigError


def settings(file: Path | None) -> Settings:
    """Those of the file, or of ./config.yaml, and of the environment. Raises ConfigError."""
    return load(file, os.environ)


def check(file: Path | None, *, as_json: bool) -> None:
    """Say whether they are right. Raises ConfigError after it has said as JSON that they are not."""
    try:
        settings(file)
    except ConfigError as error:
        if as_json:
            click.echo(msgspec.json.encode({"right": False, "error": str(error)}))
        raise
    click.echo(msgspec.json.encode({"right": True}) if as_json else "The settings are right.")
