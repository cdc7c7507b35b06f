"""Threads in which answers are rendered: long answers wait for each other, and never in front of small ones."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ratesvc.errors import Busy

LONG_POINTS = 2000
"""From so many points on an answer is long: it takes a hundredth of a second or more."""
MOST_WAITING = 20
"""Of long answers, the one that is being rendered among them: each takes a third of a second at most."""
SMALL_AT_ONCE = 2

# Of glibc's mallopt: what is as large as this lies apart; how many heaps threads have.
MALLOC_OPTIONS = {-3: 128 * 1024, -8: 1}

Made = TypeVar("Made")


def give_back_memory() -> None:
    """Let glibc return every large buffer to the system once it is freed, and threads share one heap.

    By itself it keeps ever larger buffers, and a heap for each thread. Other libraries have no such switch. The peak of
    a process that renders long answers is 16 MB lower with it.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        options = ctypes.CDLL(None).mallopt
        for option, value in MALLOC_OPTIONS.items():
            options(option, value)


class Workers:
    """Two threads for small answers and one for long ones, which bounds how much memory rendering takes."""

    def __init__(self) -> None:
        self._small = ThreadPoolExecutor(SMALL_AT_ONCE, "render")
        self._long = ThreadPoolExecutor(1, "render-long")
        self.waiting = 0
        """How many long answers are being rendered or wait for that."""

    async def run(self, work: Callable[[], Made], *, points: int = 0) -> Made:
        """What `work` returns. Raises Busy instead of letting too many long answers wait."""
        loop = asyncio.get_running_loop()
        if points < LONG_POINTS:
            return await loop.run_in_executor(self._small, work)
        if self.waiting >= MOST_WAITING:
            raise Busy("Too many long answers are being rendered. Ask again in half a minute, or for less.")
        self.waiting += 1
        try:
            return await loop.run_in_executor(self._long, work)
        finally:
            self.waiting -= 1

    def close(self) -> None:
        """Drop what waits."""
        for threads in (self._small, self._long):
            threads.shutdown(wait=False, cancel_futures=True)
