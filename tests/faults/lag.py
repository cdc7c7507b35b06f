"""How long the event loop was kept from turning."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self


class Lag:
    """At most, in seconds, while the context lasts."""

    def __init__(self) -> None:
        self.longest_s = 0.0

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._measure())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _measure(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            begun = clock()
            await asyncio.sleep(0.005)
            self.longest_s = max(self.longest_s, clock() - begun - 0.005)
