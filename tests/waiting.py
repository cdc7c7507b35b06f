"""Waits for a condition. If it is not met, says which condition it was and what the service last did."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from machine import patience_s

from ratesvc.service.app import Service

Condition = Callable[[], Awaitable[object] | object]

LAST_LINES = 15


async def eventually(condition: Condition, within_s: float | None = None, *, becomes: object = ...) -> None:
    """Wait until the condition holds, or becomes that. Without `within_s` only a hang takes too long."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    try:
        async with asyncio.timeout(patience_s() if within_s is None else within_s):
            while not await _holds(condition, becomes):  # noqa: ASYNC110 -- conditions send no event
                await asyncio.sleep(0.01)
    except TimeoutError:
        text = f"not within {loop.time() - begun:.0f} s: {_written(condition)}"
        raise AssertionError("\n".join([text, *_meanwhile(condition)])) from None


async def _holds(condition: Condition, expected: object) -> object:
    found = condition()
    found = await found if isinstance(found, Awaitable) else found
    return found if expected is ... else found == expected


def _written(condition: Condition) -> str:
    """The source of the condition, and its place."""
    whole: Any = getattr(condition, "func", condition)
    whole = getattr(whole, "__func__", whole)
    try:
        lines, first = inspect.getsourcelines(whole)
    except (TypeError, OSError):
        return repr(condition)
    place = Path(inspect.getsourcefile(whole) or "?").name
    return f"{lines[0].strip()} ({place}:{first})"


def _meanwhile(condition: Condition) -> Iterator[str]:
    """The last actions of each service that the condition looks at."""
    for name, one in _seen_by(condition):
        service = one if isinstance(one, Service) else getattr(one, "service", None)
        if isinstance(service, Service):
            yield f"{name}: {_told(service)}"
        if output := getattr(one, "output", None):
            yield f"{name}: {''.join(output[-LAST_LINES:])}"


def _seen_by(condition: Condition) -> Iterator[tuple[str, Any]]:
    if (owner := getattr(condition, "__self__", None)) is not None:
        yield type(owner).__name__, owner
    code = getattr(condition, "__code__", None)
    for name, cell in zip(code.co_freevars if code else (), getattr(condition, "__closure__", None) or (), strict=True):
        yield name, cell.cell_contents


def _told(service: Service) -> str:
    cycle, history = service.telemetry.last_cycle, service.history
    outcome = cycle and (f"{cycle.outcome}: {cycle.failure}" if cycle.failure else cycle.outcome)
    newest = max((str(held.effective_date) for held in history), default="none")
    return (
        f"last refresh {outcome}; {len(history)} sheets, the newest {newest}; coverage {history.coverage}; "
        f"backfilling {service.backfilling}; Redis {'up' if service.store.connection.up else 'down'}"
    )
