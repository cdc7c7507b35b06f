"""Tasks that are to end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

CANCEL_AGAIN_S = 0.5


async def end(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel them and wait until they are over; what they raise is nobody's concern any more."""
    # On Python 3.11 wait_for, which redis-py sends commands with, can lose a cancellation; so it is said again.
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=CANCEL_AGAIN_S)
    await asyncio.gather(*tasks, return_exceptions=True)
