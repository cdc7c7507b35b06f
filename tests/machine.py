"""How slow this machine is just now, beside the one on which limits of seconds were set."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

# What `_work` takes on that machine, one of two cores of an AMD EPYC.
USUAL_S = 0.002
MOST_SLOWER = 5.0
MOST_CROWD = 4.0
MOST_PATIENCE = 8.0


def quickest(act: Callable[[], object]) -> float:
    """Seconds of this thread's CPU, the best of five: what it costs, not what else the machine does."""
    taken = []
    for _ in range(5):
        begun = time.thread_time()
        act()
        taken.append(time.thread_time() - begun)
    return min(taken)


def slower() -> float:
    """How many times longer work takes here; 1 on a quicker machine, for which the limits are the same."""
    return min(max(1.0, quickest(_work) / USUAL_S), MOST_SLOWER)


def _work() -> int:
    return sum(len(str(number * number)) for number in range(25_000))


def crowd() -> float:
    """How many times longer whoever runs waits, where more want to run than there are cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(max(1.0, os.getloadavg()[0] / cores), MOST_CROWD)


def patience() -> float:
    """How many times longer something may take here that has a limit in seconds on that machine, with a core free."""
    return min(slower() * crowd(), MOST_PATIENCE)
