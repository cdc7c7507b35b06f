"""How long to wait, how slow and crowded this machine is, what blocks an event loop, and clocks of other processes."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import pytest

from kit.not_run import missing
from ratesvc.service.app import Service

# With STRICT_TIMES=1 nothing else runs here, and limits of seconds hold as written. Elsewhere other programs, and other
# tests, take the processor, so limits only end what hangs.
STRICT = bool(os.environ.get("STRICT_TIMES"))
# A configured limit of seconds, such as a proxy's, is so much longer elsewhere.
LOOSE = 1.0 if STRICT else 8.0
# The time of `_work` on the machine on which limits of seconds were set, one of two cores of an AMD EPYC.
USUAL_S = 0.002
MOST_SLOWER = 5.0
PATIENCE_S, MOST_CROWD = 30.0, 6.0


def quickest(act: Callable[[], object], enough_s: float = 0.0) -> float:
    """Seconds of this thread's CPU, the best of five, or the first that is not more than `enough_s`."""
    taken: list[float] = []
    while len(taken) < 5 and not (taken and taken[-1] <= enough_s):
        begun = time.thread_time()
        act()
        taken.append(time.thread_time() - begun)
    return min(taken)


def slower() -> float:
    """How many times longer work takes here, at least 1."""
    return min(max(1.0, quickest(_work) / USUAL_S), MOST_SLOWER)


def _work() -> int:
    return sum(len(str(number * number)) for number in range(25_000))


MOST_HUNG = 3
"""After so many waits in vain a run is red, and crowded programs get no more time."""
_hung = list[str]()


def patience_s() -> float:
    """Seconds to wait for what comes much sooner unless it hangs: the longer, the more programs want each core."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    crowd = min(max(1.0, os.getloadavg()[0] / cores), MOST_CROWD)
    return PATIENCE_S * (crowd if len(_hung) < MOST_HUNG else 1.0)


def pytest_exception_interact(call: pytest.CallInfo[None]) -> None:
    """Count a test that asyncio's, Playwright's or redis-py's TimeoutError made red: it has waited in vain, too."""
    if call.excinfo and call.excinfo.typename == "TimeoutError":
        _hung.append(call.excinfo.exconly())


def limit_s(alone_s: float) -> float:
    """Seconds that something may take: `alone_s` where nothing else runs, elsewhere as long as it does not hang."""
    return alone_s * slower() if STRICT else max(alone_s, patience_s())


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
        if within_s is None:
            _hung.append(text)
        raise AssertionError("\n".join([text, *_meanwhile(condition)])) from None


def until(condition: Callable[[], object]) -> None:
    """The same where nothing may be awaited."""
    deadline = time.monotonic() + patience_s()
    while not condition():
        assert time.monotonic() < deadline, _written(condition)
        time.sleep(0.01)


async def _holds(condition: Condition, expected: object) -> object:
    found = condition()
    found = await found if isinstance(found, Awaitable) else found
    return found if expected is ... else found == expected


def _written(condition: Condition) -> str:
    """The source of the condition, and its place."""
    try:
        lines, first = inspect.getsourcelines(condition)
    except (TypeError, OSError):
        return repr(condition)
    return f"{lines[0].strip()} ({Path(inspect.getsourcefile(condition) or '?').name}:{first})"


def _meanwhile(condition: Condition) -> Iterator[str]:
    """The last actions of each service, and the last output of each program, that the condition looks at."""
    seen = {"it": getattr(condition, "__self__", None)}
    if inspect.isfunction(condition):
        seen = dict(inspect.getclosurevars(condition).nonlocals)
    for name, one in seen.items():
        service = getattr(one, "service", one)
        if isinstance(service, Service):
            yield f"{name}: {_told(service)}"
        if output := getattr(one, "output", None):
            yield f"{name}: {''.join(output[-LAST_LINES:])}"


def _told(service: Service) -> str:
    cycle, history = service.telemetry.last_cycle, service.history
    outcome = cycle and (f"{cycle.outcome}: {cycle.failure}" if cycle.failure else cycle.outcome)
    newest = max(map(str, history.latest_own), default="none")
    return (
        f"last refresh {outcome}; {len(history.days)} sheets, the newest {newest}; coverage {history.settled}; "
        f"backfilling {service.backfilling}; Redis {service.telemetry.trouble or 'up'}"
    )


FAKETIME = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
]


@dataclass
class WallClock:
    """The wall clock of all processes that get `variables`. Their monotonic clocks stay right."""

    file: Path

    def set(self, moment: datetime) -> None:
        other = self.file.with_suffix(".new")
        other.write_text(f"{(moment - datetime.now(UTC)).total_seconds():+.3f}\n")
        other.replace(self.file)

    @property
    def variables(self) -> dict[str, str]:
        library = next((path for path in FAKETIME if Path(path).exists()), None)
        if library is None:
            missing("faketime")
        return {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            # It is for an old glibc. With a new one Python's threads would wait many times as long for each other.
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
            "TZ": "UTC",
        }


STEP_S = 0.005


def block(seconds: float) -> None:
    """As a slow callback does."""
    time.sleep(seconds)


class Lag:
    """The longest time in seconds while the context lasts."""

    def __init__(self) -> None:
        self.longest_s = 0.0

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._measure())
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.sleep(2 * STEP_S)  # notice what blocks the loop until now
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _measure(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            begun = clock()
            await asyncio.sleep(STEP_S)
            self.longest_s = max(self.longest_s, clock() - begun - STEP_S)
