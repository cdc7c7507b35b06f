"""Why this rate, or none, applies to a document of a day: the decision, before any words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import Enum

from ratesvc.domain.rates import REDENOMINATION, InForce
from ratesvc.domain.workdays import ONE_DAY, WorkCalendar, moscow_day
from ratesvc.errors import BeforeHistory, HistoryLoading, NoSheet, NotYetSet, RatesvcError, UnknownCurrency

SATURDAY = 6


class Kind(Enum):
    """What the answer rests on."""

    OWN_DAY = "own_day"
    ANNOUNCED = "announced"
    WEEKEND = "weekend"
    DAYS_OFF = "days_off"
    HELD = "held"
    STALE = "stale"
    ABSENT = "absent"
    NOT_YET_SET = "not_yet_set"
    LOADING = "loading"
    BEFORE_HISTORY = "before_history"
    UNKNOWN_CURRENCY = "unknown_currency"
    NOTHING_STORED = "nothing_stored"


@dataclass(frozen=True, slots=True)
class Reason:
    """The kind and what can be said with it.

    `effective` is the sheet's date, or the one that is awaited; `set_on` the working day before it, where the
    calendar knows; `days_off` the unbroken days off since, with the names of their `holidays`; `until` the last day
    that the sheet holds; `fetched_at` when it was received, for a sheet still to come; `expected_at` and `late` tell
    when an awaited one is due.
    """

    kind: Kind
    effective: date | None = None
    set_on: date | None = None
    days_off: tuple[date, date] | None = None
    holidays: tuple[str, ...] = ()
    until: date | None = None
    fetched_at: datetime | None = None
    expected_at: datetime | None = None
    late: bool = False


_WITHOUT_RATE = {
    HistoryLoading: Kind.LOADING,
    BeforeHistory: Kind.BEFORE_HISTORY,
    UnknownCurrency: Kind.UNKNOWN_CURRENCY,
    NoSheet: Kind.NOTHING_STORED,
}


def reason(outcome: InForce | RatesvcError, code: str, now: datetime, calendar: WorkCalendar) -> Reason:
    """Why `outcome`, the answer for a day or the error in its place, is what applies to `code`.

    Raises the error when it is of a kind that no day explains.
    """
    if isinstance(outcome, NotYetSet):
        return _awaited(outcome, now, calendar)
    if isinstance(outcome, RatesvcError):
        if type(outcome) not in _WITHOUT_RATE:
            raise outcome
        return Reason(_WITHOUT_RATE[type(outcome)])
    if code not in outcome.revision.sheet.by_code:
        return Reason(Kind.ABSENT, outcome.revision.effective_date)
    return _applies(outcome, now, calendar)


def _awaited(error: NotYetSet, now: datetime, calendar: WorkCalendar) -> Reason:
    effective = calendar.effective_date_on_or_before(error.day)
    late = error.expected_at <= now
    return Reason(Kind.NOT_YET_SET, effective, effective - ONE_DAY, expected_at=error.expected_at, late=late)


def _applies(answer: InForce, now: datetime, calendar: WorkCalendar) -> Reason:
    day, effective = answer.requested_date, answer.revision.effective_date
    to_come = effective > moscow_day(now)
    fetched_at = answer.revision.fetched_at if to_come else None
    ruled = effective >= REDENOMINATION and calendar.is_effective_date(effective)
    set_on = effective - ONE_DAY if ruled else None
    if day == effective:
        return Reason(Kind.ANNOUNCED if to_come else Kind.OWN_DAY, effective, set_on, fetched_at=fetched_at)
    if answer.stale:
        return Reason(Kind.STALE, effective, calendar.effective_date_on_or_before(day) - ONE_DAY)
    days_off = calendar.days_off_around(effective) if ruled and calendar.holds(effective, day) else None
    if days_off is None:
        return Reason(Kind.HELD, effective, set_on, fetched_at=fetched_at)
    is_weekend = effective.isoweekday() == SATURDAY and days_off == (effective, effective + ONE_DAY)
    return Reason(
        Kind.WEEKEND if is_weekend else Kind.DAYS_OFF,
        *(effective, set_on, days_off, _holidays(days_off, calendar)),
        until=days_off[1] + ONE_DAY,
        fetched_at=fetched_at,
    )


def _holidays(days_off: tuple[date, date], calendar: WorkCalendar) -> tuple[str, ...]:
    first, last = days_off
    days = (first + timedelta(days=number) for number in range((last - first).days + 1))
    return tuple(dict.fromkeys(name for day in days for name in calendar.holidays_of(day)))
