"""A long job: a bar with the time left and what is asked, plain lines where there is no terminal, or lines of JSON."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from typing import TypeVar

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from ratesvc.service.backfill import Progress

T = TypeVar("T")
ROOMY = 60
"""In narrower terminals only a currency and its id have their place, so that the figures are not cut."""


async def follow(steps: AsyncIterator[Progress | T], *, as_json: bool = False, quiet: bool = False) -> list[T]:
    """Show every step; returns whatever else comes. A `quiet` job is seen in a terminal only.

    JSON goes to standard output, everything for people to standard error.
    """
    found: list[T] = []
    console = Console(stderr=True)
    asking_width = 28 if console.width >= ROOMY else 13
    with Bar(
        TextColumn(f"{{task.description:<{asking_width}}}"),
        *(BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()),
        console=console,
        disable=as_json or not sys.stderr.isatty(),
        transient=quiet,
    ) as bar:
        job = bar.add_task("")
        async for step in steps:
            if not isinstance(step, Progress):
                found.append(step)
                continue
            bar.update(job, completed=step.done, total=step.total, description=step.asking)
            if as_json:
                click.echo(msgspec.json.encode(step))
            elif bar.disable and not quiet:
                click.echo(f"{step.done}/{step.total} {step.asking}", err=True)
    return found
