"""The Moscow calendar: when the Bank sets a sheet, from when it is due, and which days lie between two sheets.

The Bank sets rates on a working day and they are in force from the next calendar day
(Ordinance 6956-U, https://www.cbr.ru/currency_base/daily/). A sheet dated D therefore exists exactly
when D − 1 is a Russian working day; from 1998 on, that is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta, timezone
from functools import lru_cache

import holidays

MOSCOW = timezone(timedelta(hours=3), "MSK")
ONE_DAY = timedelta(days=1)
LONG_AGO = datetime.min.replace(tzinfo=UTC)

POLLING_STARTS = time(15)
"""The Bank fixes its rates at 15:30 since 2022 (Ordinance 6290-U). It publishes usually at about 16:00, by 18:00."""
USUAL = time(16)
DUE = time(18)
OVERDUE = time(21)

RULE_SINCE = date(1998, 1, 1)
"""The calendar proves nothing about earlier sheets: that of 1997-06-14 was set on a day off."""

# Those of spring 2020 are by decree. On later days off by decree the Bank sets rates (Ordinance 5428-U).
UNKNOWN_DAYS_OFF = frozenset((date(2014, 3, 10), *(date(2020, 3, 30) + timedelta(days=i) for i in range(5))))
"""Days off that the library lacks."""

_ISO_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_FIRST_YEAR = 1991
_YEARS_GUESSED = 10
"""For so many years after the last published calendar the usual holidays count. After that only weekends do."""
_MOST_DAYS = 20_000


def utc_now() -> datetime:
    """The one clock. Everything else gets the time as an argument."""
    return datetime.now(UTC)


def moscow_day(moment: datetime) -> date:
    """The calendar day in Moscow at that moment."""
    return moment.astimezone(MOSCOW).date()


def iso_day(text: str) -> date | None:
    """YYYY-MM-DD as a date; None if it has another form or does not exist."""
    try:
        # fromisoformat alone also takes 20240302 and 2024-W09-6.
        return date.fromisoformat(text) if _ISO_DAY.fullmatch(text) else None
    except ValueError:
        return None


def at(day: date, clock: time) -> datetime:
    """That time of day in Moscow."""
    return datetime.combine(day, clock, MOSCOW)


def due_at(effective: date) -> datetime:
    """When the sheet of that effective date is due: 18:00 on the working day before. From then on it is late."""
    return at(effective - ONE_DAY, DUE)


def usual_at(due: datetime) -> datetime:
    """When a sheet usually comes that is due at this moment."""
    return at(moscow_day(due), USUAL)


def overdue_at(effective: date) -> datetime:
    """From when on the sheet of that effective date is missed: 21:00 on the working day before."""
    return at(effective - ONE_DAY, OVERDUE)


class WorkCalendar:
    """Russian working days: the production calendar with its transfers, corrected by decrees from the configuration."""

    def __init__(self, extra_off: Iterable[date] = (), extra_work: Iterable[date] = ()) -> None:
        """`extra_off` are days off by decree, `extra_work` working days that the calendar does not know."""
        self._extra_off = UNKNOWN_DAYS_OFF.union(extra_off)
        self._extra_work = frozenset(extra_work)
        last = max(holidays.country_holidays("RU").special_public_holidays)
        self.known_until = date(last, 12, 31)
        """The last day of the last year whose transfers of days off are known."""
        # All years at once. By itself the library adds a year when it is asked about one, and other threads see the
        # year while half of its holidays are missing.
        years = range(_FIRST_YEAR, last + _YEARS_GUESSED + 1)
        self._russia = holidays.country_holidays("RU", years=years, expand=False, language="en_US")
        self._is_usually_worked = lru_cache(_MOST_DAYS)(self._russia.is_working_day)

    # Days off

    def is_working_day(self, day: date) -> bool:
        """Whether the Bank sets rates on that day."""
        if day in self._extra_off or day in self._extra_work:
            return day in self._extra_work
        return bool(self._is_usually_worked(day))

    def holidays_of(self, day: date) -> list[str]:
        """The English names of that day's holidays; none for a weekend, a day off in exchange and a decree."""
        names = str(self._russia.get(day, "")).split("; ")
        return [name.removesuffix(" (observed)") for name in names if name and not name.startswith("Day off (")]

    # Effective dates

    def is_effective_date(self, day: date) -> bool:
        """Whether a sheet with that effective date is expected."""
        return self.is_working_day(day - ONE_DAY)

    def effective_date_after(self, day: date) -> date:
        """The first effective date later than `day`."""
        return self._step(day, ONE_DAY)

    def effective_date_on_or_before(self, day: date) -> date:
        """The effective date of the sheet that should be in force on `day`."""
        return day if self.is_effective_date(day) else self._step(day, -ONE_DAY)

    def _step(self, day: date, step: timedelta) -> date:
        day += step
        while not self.is_effective_date(day):
            day += step
        return day

    def may_end(self, effective: date) -> date:
        """The first day on which another sheet than this one may be in force."""
        return self.effective_date_after(effective) if effective >= RULE_SINCE else effective + ONE_DAY

    # Publications

    def due_by(self, now: datetime) -> date:
        """The effective date of the latest sheet that is due at `now`."""
        effective = self.effective_date_on_or_before(moscow_day(now) + ONE_DAY)
        return effective if due_at(effective) <= now else self.effective_date_on_or_before(effective - ONE_DAY)

    def missed_since(self, effective: date, now: datetime) -> int:
        """How many sheets after this one are overdue at `now`."""
        count = 0
        while overdue_at(effective := self.effective_date_after(effective)) <= now:
            count += 1
        return count

    def awaited(self, newest: date, now: datetime) -> tuple[datetime, int, datetime, datetime]:
        """When the sheet after the newest is due, how many sheets are overdue, and since when and until when both hold.

        They change at midnight, and when a sheet becomes late or overdue.
        """
        today = moscow_day(now)
        latest = self.effective_date_on_or_before(today + ONE_DAY)
        lateness = (due_at(latest), overdue_at(latest)) if latest > newest else ()
        changes = at(today, time.min), *lateness, at(today + ONE_DAY, time.min)
        since, until = max(one for one in changes if one <= now), min(one for one in changes if one > now)
        return due_at(self.effective_date_after(newest)), self.missed_since(newest, now), since, until

    def awaits_publication(self, newest: date | None, now: datetime) -> bool:
        """Whether a sheet may come any minute: from 15:00 to 21:00 on a working day, while tomorrow's is not held."""
        local = now.astimezone(MOSCOW)
        today = local.date()
        is_window = self.is_working_day(today) and POLLING_STARTS <= local.time() < OVERDUE
        return is_window and (newest is None or newest <= today)

    def next_window(self, now: datetime) -> datetime:
        """When fast polling starts next: 15:00 on a working day, later than `now`."""
        day = moscow_day(now)
        while not self.is_working_day(day) or at(day, POLLING_STARTS) <= now:
            day += ONE_DAY
        return at(day, POLLING_STARTS)
