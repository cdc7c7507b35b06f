"""What the commands of the service and of features share on the command line. Light, so that --help stays quick."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ratesvc.config import Settings


def run(path: str, file: Path | None, /, *arguments: Any, is_logged: bool = False, **switches: Any) -> None:
    """Run the function at `package.module.function`, which is imported once the settings are known to be right."""
    settings = settings_of(file)
    from ratesvc.commands.running import run as run_to_the_end

    module, _, function = path.rpartition(".")
    work = getattr(import_module(module), function)
    run_to_the_end(work(settings, *arguments, **switches), settings.log.format if is_logged else "")


def settings_of(file: Path | None) -> Settings:
    """The settings of a file and of the environment. Raises ConfigError."""
    from ratesvc.config import load

    return load(file, os.environ)


def to_day(text: str) -> date:
    """A day as click wants it."""
    from ratesvc.domain.workdays import iso_day

    if day := iso_day(text):
        return day
    raise click.BadParameter("Give an existing day in the form YYYY-MM-DD.")


Command = Callable[..., None]


def day_option(name: str, text: str) -> Callable[[Command], Command]:
    """An option that takes a day."""
    return click.option(f"--{name}", metavar="YYYY-MM-DD", type=to_day, help=text)


def json_option(text: str) -> Callable[[Command], Command]:
    """The option --json."""
    return click.option("--json", "as_json", is_flag=True, help=text)


yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
demo_option = click.option("--demo", is_flag=True, help="Recorded figures on a stopped clock; needs no network.")
lang_option = click.option("--lang", default="en", show_default=True, help="The language.")
