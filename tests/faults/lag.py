"""Blocks the event loop, and measures how long it was blocked."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Self

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
