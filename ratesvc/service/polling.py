"""When the Bank is asked again: soon while a sheet is awaited or a request has failed, each hour otherwise."""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random

from ratesvc.domain.history import History
from ratesvc.service.refresh import Cycle

WINDOW_PACE_S = 180.0
USUAL_PACE_S = 3600.0
FIRST_RETRY_S = 10.0
LONGEST_RETRY_S = 600.0
LONGEST_FIRST_SHEET_RETRY_S = 60.0


def next_poll_s(history: History, now: datetime, fixed_s: float | None, cycle: Cycle, tries: int) -> float:
    """Seconds until the Bank is to be asked again, without jitter.

    `fixed_s`, when configured, decides once a sheet is held, unless a mirror asks for a longer pause; `tries` counts
    failures in a row, the last of which is `cycle`.
    """
    newest = history.newest
    if newest is None and cycle.outcome == "skipped":
        # Whoever has the turn has found nothing yet, and may not be able to.
        return min(FIRST_RETRY_S, fixed_s or FIRST_RETRY_S)
    pace = _pace_s(history, now, cycle) if fixed_s is None else fixed_s
    if newest is None:
        pace = min(pace, LONGEST_FIRST_SHEET_RETRY_S)
    if (cycle.failure or cycle.asked_in_vain) and (fixed_s is None or newest is None):
        pace = min(pace, FIRST_RETRY_S * 2.0 ** min(max(tries, 1) - 1, 10), LONGEST_RETRY_S)
    return max(pace, cycle.failure.retry_after_s if cycle.failure else 0.0)


def _pace_s(history: History, now: datetime, cycle: Cycle) -> float:
    """What the Moscow working day wants; sooner where a sheet is held back."""
    calendar, newest = history.calendar, history.newest.effective_date if history.newest else None
    if calendar.awaits_publication(newest, now):
        pace = WINDOW_PACE_S
    elif newest is not None and calendar.missed_since(newest, now):
        pace = LONGEST_RETRY_S
    else:
        pace = min(USUAL_PACE_S, max(FIRST_RETRY_S, (calendar.next_window(now) - now) / timedelta(seconds=1)))
    return min(pace, WINDOW_PACE_S) if cycle.held_back else pace


def with_jitter(seconds: float, chance: Random) -> float:
    """Up to a tenth later, so that a fleet does not ask in step."""
    return seconds * (1 + chance.random() / 10)
