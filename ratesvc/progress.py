"""A long job in a terminal: a bar with the time left and what is asked, or plain lines where there is no terminal."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from typing import TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from ratesvc.backfill import Progress

T = TypeVar("T")


async def follow(steps: AsyncIterator[Progress | T]) -> list[T]:
    """Show every step on standard error; returns whatever else comes."""
    found: list[T] = []
    with Bar(
        TextColumn("{task.description:<28}"),
        *(BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    ) as bar:
        job = bar.add_task("")
        async for step in steps:
            if not isinstance(step, Progress):
                found.append(step)
                continue
            bar.update(job, completed=step.done, total=step.total, description=step.asking)
            if bar.disable:
                click.echo(f"{step.done}/{step.total} {step.asking}", err=True)
    return found
