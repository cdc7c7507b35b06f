"""When the Bank is asked again: soon while a sheet is awaited or a request has failed, each hour otherwise."""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random

from ratesvc.history import History
from ratesvc.refresh import Cycle

WINDOW_PACE_S = 180.0
USUAL_PACE_S = 3600.0
FIRST_RETRY_S = 10.0
LONGEST_RETRY_S = 600.0
LONGEST_FIRST_SHEET_RETRY_S = 60.0


def next_poll_s(history: History, now: datetime, fixed_s: float | None, cycle: Cycle, tries: int) -> float:
    """Seconds until the Bank is to be asked again, without jitter.

    `fixed_s`, when configured, decides unless a mirror asks for a longer pause; `tries` counts failures in a row, the
    last of which is `cycle`.
    """
    failure = cycle.failure
    newest = history.newest.effective_date if history.newest else None
    if newest is None and cycle.outcome == "skipped":
        # Whoever has the turn has found nothing yet, and may not be able to.
        return min(FIRST_RETRY_S, fixed_s or FIRST_RETRY_S)
    if fixed_s is not None:
        return max(fixed_s, failure.retry_after_s if failure else 0)
    calendar = history.calendar
    if calendar.awaits_publication(newest, now):
        pace = WINDOW_PACE_S
    elif newest is not None and calendar.missed_since(newest, now):
        pace = LONGEST_RETRY_S
    else:
        pace = min(USUAL_PACE_S, (calendar.next_window(now) - now) / timedelta(seconds=1))
    if cycle.held_back:
        pace = min(pace, WINDOW_PACE_S if newest else LONGEST_FIRST_SHEET_RETRY_S)
    if failure is None:
        return pace
    longest = LONGEST_RETRY_S if newest else LONGEST_FIRST_SHEET_RETRY_S
    return max(failure.retry_after_s, min(FIRST_RETRY_S * 2.0 ** min(tries - 1, 10), longest, max(pace, FIRST_RETRY_S)))


def with_jitter(seconds: float, chance: Random) -> float:
    """Up to a tenth later, so that a fleet does not ask in step."""
    return seconds * (1 + chance.random() / 10)
