"""How slow this machine is, how crowded it is at the moment, and so how long something may take on it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

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


def patience_s() -> float:
    """Seconds to wait for what comes much sooner unless it hangs: the longer, the more programs want each core."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return PATIENCE_S * min(max(1.0, os.getloadavg()[0] / cores), MOST_CROWD)


def limit_s(alone_s: float) -> float:
    """Seconds that something may take: `alone_s` where nothing else runs, elsewhere as long as it does not hang."""
    return alone_s * slower() if STRICT else max(alone_s, patience_s())
