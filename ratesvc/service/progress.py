"""How far a long job has come."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` steps; `asking` names the next request."""

    done: int
    total: int
    asking: str


OnStep = Callable[[Progress], Awaitable[None]]
"""Takes the next step of a long job before it is done."""
