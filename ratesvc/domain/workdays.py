"""The Moscow calendar: when the Bank sets a sheet, from when it is due, and what lies between two sheets.

The Bank sets rates on a working day and they are in force from the next calendar day
(Ordinance 6290-U, https://www.cbr.ru/currency_base/daily/). A sheet dated D therefore exists exactly
when D − 1 is a Russian working day; from 1998 on, that is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone

import holidays

MOSCOW = timezone(timedelta(hours=3), "MSK")
ONE_DAY = timedelta(days=1)

FIRST_YEAR = 1991
YEARS_GUESSED = 10
"""Beyond those whose transfers are known: so long holidays are still told by their usual dates, then weekends only."""

SATURDAY = 5

RULE_SINCE = date(1998, 1, 1)
"""Of earlier sheets the calendar is no proof: that of 1997-06-14 was set on a day off."""

POLLING_STARTS = time(11)
DUE = time(18)
OVERDUE = time(21)


def moscow_day(moment: datetime) -> date:
    """The calendar day in Moscow at that moment."""
    return moment.astimezone(MOSCOW).date()


def at(day: date, clock: time) -> datetime:
    """That time of day in Moscow."""
    return datetime.combine(day, clock, MOSCOW)


@dataclass(frozen=True)
class Due:
    """When the sheet of one effective date is set: `by`, and from `overdue_from` on it is being missed."""

    effective_date: date

    @property
    def by(self) -> datetime:
        """18:00 on the working day before: later than this is late."""
        return at(self.effective_date - ONE_DAY, DUE)

    @property
    def overdue_from(self) -> datetime:
        """21:00 on the working day before: a publication is being missed."""
        return at(self.effective_date - ONE_DAY, OVERDUE)


class WorkCalendar:
    """Russian working days: the production calendar with its transfers, corrected by decrees from the configuration."""

    def __init__(self, extra_off: Iterable[date] = (), extra_work: Iterable[date] = ()) -> None:
        """`extra_off` are days off by decree, `extra_work` working days that the calendar does not know."""
        self._extra_off = frozenset(extra_off)
        self._extra_work = frozenset(extra_work)
        self._russia = holidays.country_holidays("RU", language="en_US")
        self._memo: dict[date, bool] = {}
        self._years = range(FIRST_YEAR, self.known_until.year + YEARS_GUESSED + 1)

    def is_working_day(self, day: date) -> bool:
        """Whether the Bank sets rates on that day."""
        known = self._memo.get(day)
        if known is None:
            known = self._ask(day)
            if day.year in self._years:
                self._memo[day] = known
        return known

    def _ask(self, day: date) -> bool:
        if day in self._extra_off or day in self._extra_work:
            return day in self._extra_work
        if day.year not in self._years:
            # The library would keep every year that anybody asks for, up to 9999.
            return day.weekday() < SATURDAY
        return bool(self._russia.is_working_day(day))

    def days_off_around(self, day: date) -> tuple[date, date] | None:
        """The first and the last of the unbroken days off that `day` is one of, or None on a working day."""
        if self.is_working_day(day):
            return None
        first = last = day
        while not self.is_working_day(first - ONE_DAY):
            first -= ONE_DAY
        while not self.is_working_day(last + ONE_DAY):
            last += ONE_DAY
        return first, last

    def holidays_of(self, day: date) -> list[str]:
        """The English names of that day's holidays; none for a weekend, a day off in exchange and a decree."""
        names = str(self._russia.get(day, "") if day.year in self._years else "").split("; ")
        return [name.removesuffix(" (observed)") for name in names if name and not name.startswith("Day off (")]

    @property
    def known_until(self) -> date:
        """The last day of the last year whose transfers of days off are known."""
        return date(max(self._russia.special_public_holidays), 12, 31)

    def is_effective_date(self, day: date) -> bool:
        """Whether a sheet with that effective date is to be expected."""
        return self.is_working_day(day - ONE_DAY)

    def effective_date_after(self, day: date) -> date:
        """The first effective date later than `day`."""
        return self._step(day, ONE_DAY)

    def effective_date_on_or_before(self, day: date) -> date:
        """The effective date of the sheet that is to be in force on `day`."""
        return day if self.is_effective_date(day) else self._step(day, -ONE_DAY)

    def _step(self, day: date, step: timedelta) -> date:
        day += step
        while not self.is_effective_date(day):
            day += step
        return day

    def holds(self, effective: date, day: date) -> bool:
        """Whether a sheet is certainly still in force on `day`: no working day in [effective, day − 1]."""
        return effective <= day < self.may_end(effective)

    def may_end(self, effective: date) -> date:
        """The first day on which another sheet than this one may be in force."""
        return self.effective_date_after(effective) if effective >= RULE_SINCE else effective + ONE_DAY

    def due_after(self, effective: date) -> Due:
        """When the sheet that follows this one is due."""
        return Due(self.effective_date_after(effective))

    def missed_since(self, effective: date, now: datetime) -> int:
        """How many sheets after this one are overdue at `now`."""
        count = 0
        due = self.due_after(effective)
        while due.overdue_from <= now:
            count += 1
            due = self.due_after(due.effective_date)
        return count

    def awaits_publication(self, newest: date | None, now: datetime) -> bool:
        """Whether a sheet can appear any minute: it is past 11:00 on a working day whose sheet is not there yet."""
        local = now.astimezone(MOSCOW)
        today = local.date()
        if not self.is_working_day(today) or not POLLING_STARTS <= local.time() < OVERDUE:
            return False
        return newest is None or newest <= today

    def next_window(self, now: datetime) -> datetime:
        """When polling starts next: 11:00 on a working day, later than `now`."""
        day = moscow_day(now)
        while not self.is_working_day(day) or at(day, POLLING_STARTS) <= now:
            day += ONE_DAY
        return at(day, POLLING_STARTS)


def utc_now() -> datetime:
    """The one clock; everything else is handed it."""
    return datetime.now(UTC)
