"""Which days the Bank is asked for by their date, and how often."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from datetime import date, datetime, timedelta
from itertools import pairwise

from ratesvc.domain.columns import Days
from ratesvc.domain.history import NEAR, History
from ratesvc.domain.settled import WEEK
from ratesvc.domain.workdays import LONG_AGO, ONE_DAY, moscow_day

WAITS = timedelta(hours=1)
"""A poll asks again so long after, but for today, where a person has to decide: that may take days."""


class Questions:
    """The days to ask for, and what came of the last questions. They are in memory only: a restart asks once more."""

    def __init__(self, history: History, clock: Callable[[], datetime]) -> None:
        """`clock` gives UTC."""
        self._history = history
        self._clock = clock
        self._answered: dict[date, date] = {}
        """By the last day of a sheet: on which day it was last asked for, and answered with a sheet that is held."""
        self._put_off: dict[date, tuple[datetime, int]] = {}
        """When such a day's document last went into quarantine, or was taken back, and the version of the history."""

    def answered(self, day: date) -> None:
        """What the Bank says of that day is held."""
        self._answered[day] = self._today()

    def put_off(self, day: date) -> None:
        """A person has to decide about that day."""
        self._put_off[day] = self._clock(), self._history.version

    def repeat(self) -> None:
        """What the Bank said last is not held."""
        self._answered.clear()

    def days_to_ask(self, newest: date | None) -> list[date]:
        """The missing days of a month, today while tomorrow's sheet is held, once a day the others of the last week.

        `newest` is the day of the Bank's newest sheet, if that was just received.
        """
        today, last_days = self._today(), self._last_days(newest).values()
        week = [day for day in last_days if day >= today - WEEK and (day == today or self._answered.get(day) != today)]
        return [day for day in sorted({*week, *self.missing(newest)}) if not self._waits(day)]

    def missing(self, newest: date | None) -> list[date]:
        """Only the missing days, each as the last day on which its sheet is in force."""
        last_days = self._last_days(newest)
        return [last_days[day] for day in self._missing(newest)]

    def _missing(self, newest: date | None) -> list[date]:
        today, settled = self._today(), self._history.settled
        # Of the last week a person may have withdrawn one.
        since = max(today - NEAR, min(settled.until + ONE_DAY, today - WEEK) if settled else date.min)
        # The Bank's newest sheet is received already.
        until = max(newest, today) - ONE_DAY if newest else today
        return self._history.missing_days(Days(since, until), today)

    def _last_days(self, newest: date | None) -> dict[date, date]:
        """The sheets of a month, held and missing, with the last day on which each is in force.

        Asked for that day, the Bank also gives a sheet that came in between and was not noticed.
        """
        days, missing = self._history.days, self._missing(newest)
        starts = sorted({*days[bisect_right(days, self._today() - NEAR) :], *missing})
        last_days = {day: following - ONE_DAY for day, following in pairwise(starts)}
        # The newest sheet has no last day yet: it is asked for without a date, unless the Bank gave an earlier one.
        if starts and (starts[-1] in missing or (newest and newest < starts[-1])):
            last_days[starts[-1]] = starts[-1]
        return last_days

    def _waits(self, day: date) -> bool:
        """Whether a person has not decided yet. A decision is news, and a reason to ask at once."""
        at, version = self._put_off.get(day, (LONG_AGO, 0))
        is_recent = version == self._history.version and abs(self._clock() - at) < WAITS
        return is_recent and day != self._today()

    def _today(self) -> date:
        return moscow_day(self._clock())
