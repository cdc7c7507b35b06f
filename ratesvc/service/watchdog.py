"""Does the event loop turn? A thread asks it twice a second, and says where it stands when it does not answer."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Self

ASK_S = 0.5
BLOCKED_S = 10.0


class Watchdog:
    """Measures how long the loop takes to turn. A blocked loop answers nobody; what asked it runs into its timeout.

    `lag_s` therefore stays at what the last turn took until the next one is measured: whoever asks first after a
    block hears of it.
    """

    def __init__(self, blocked: Callable[[float, str], None]) -> None:
        """`blocked` is called in the thread, once for each block of `BLOCKED_S`, with where the loop stands."""
        self._blocked = blocked
        self._stop = threading.Event()
        self._asked_at = time.monotonic()
        self._lag_s = 0.0
        self._answered = threading.Event()

    def open(self) -> Self:
        """Begin to watch the running loop."""
        thread = threading.Thread(
            target=self._watch,
            args=(asyncio.get_running_loop(), threading.get_ident()),
            name="ratesvc-watchdog",
            daemon=True,
        )
        thread.start()
        return self

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()
        self._answered.set()

    @property
    def lag_s(self) -> float:
        """Seconds that the loop took for its last turn, or has been taking for this one."""
        waiting = 0.0 if self._answered.is_set() else time.monotonic() - self._asked_at
        return max(self._lag_s, waiting)

    def _watch(self, loop: asyncio.AbstractEventLoop, thread: int) -> None:
        while not self._stop.wait(ASK_S):
            self._answered.clear()
            self._asked_at = time.monotonic()
            try:
                loop.call_soon_threadsafe(self._turned)
            except RuntimeError:  # the loop was closed
                return
            if not self._answered.wait(BLOCKED_S):
                frame = sys._current_frames().get(thread)  # noqa: SLF001 -- the documented way to see another thread
                place = traceback.extract_stack(frame)[-1] if frame else None
                self._blocked(BLOCKED_S, f"{place.filename}:{place.lineno}" if place else "unknown")
                self._answered.wait()

    def _turned(self) -> None:
        self._lag_s = time.monotonic() - self._asked_at
        self._answered.set()
