"""What rich draws, on standard output: as wide as the terminal, and plain where there is none."""

from __future__ import annotations

import sys

from rich.console import Console, RenderableType

PLAIN_WIDTH = 200


def put(drawn: RenderableType) -> None:
    """Print it; without colour for a pipe and where NO_COLOR is set."""
    width = None if sys.stdout.isatty() else PLAIN_WIDTH
    Console(width=width, highlight=False).print(drawn)
