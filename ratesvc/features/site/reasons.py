"""Why a rate applies to a day, or why there is none; and the words of pages around it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import Enum

from ratesvc.domain.rates import FIRST_DAY, MOST_USED, REDENOMINATION, InForce
from ratesvc.domain.workdays import ONE_DAY, WorkCalendar, moscow_day
from ratesvc.errors import BeforeHistory, Busy, HistoryLoading, NoSheet, NotYetSet, RatesvcError, UnknownCurrency
from ratesvc.features.site.language import Language, language_or_default

SATURDAY = 6


class Kind(Enum):
    """The reason why a rate applies, or none, and the sentence for it."""

    OWN_DAY = "The Bank of Russia set this rate for that very day."
    ANNOUNCED = "The Bank of Russia has already set this rate; it comes into force on {effective}."
    WEEKEND = "Saturday's rate ({effective}) also applies on Sunday and Monday: the Bank sets no rates at the weekend."
    DAYS_OFF = "This rate has been in force since {effective}: {first} to {last} are days off{names} without new rates."
    ONE_DAY_OFF = "This rate has been in force since {effective}: {first} is a day off{names} without new rates."
    HELD = "This rate has been in force since {effective}: the Bank has set no other rate since then."
    STALE = "The rate for this day has not been received. This is the last known rate, in force since {effective}."
    ABSENT = "The Bank's list in force since {effective} has no rate for {code}."
    NOT_YET_SET = "The Bank of Russia has not set the rate for this day yet."
    LATE = "The Bank of Russia's rate for this day is late."
    LOADING = "The rates are still loading. Please try again in a minute."
    LACKING = "The rates of {effective} have not been received or confirmed yet."
    BEFORE_HISTORY = "The Bank of Russia's official rates begin on {effective}."
    BEFORE_RECORDING = "The recorded rates begin on {effective}."
    UNKNOWN_CURRENCY = "This service knows no rate of the Bank of Russia for {code}."
    BUSY = "Too many readers want long answers right now. Please try again in a minute."
    NOTHING_STORED = "No rates have been received yet. Please try again in a minute."


_WITHOUT_RATE: Mapping[type[RatesvcError], Kind] = {
    HistoryLoading: Kind.LOADING,
    UnknownCurrency: Kind.UNKNOWN_CURRENCY,
    Busy: Kind.BUSY,
    NoSheet: Kind.NOTHING_STORED,
}


@dataclass(frozen=True, slots=True)
class Reason:
    """The kind and its facts.

    `effective` is the date of the sheet, or of the awaited sheet; `set_on` is the working day before it, if the
    calendar knows it. `until` is the last day of the sheet, if all days from `effective` to the one before are days
    off. `holidays` are their names; "weekend" stands among them for days of a weekend that are no holidays. `due_at`
    belongs to an awaited sheet.
    """

    kind: Kind
    effective: date | None = None
    set_on: date | None = None
    holidays: tuple[str, ...] = ()
    until: date | None = None
    due_at: datetime | None = None


def reason(outcome: InForce | RatesvcError, code: str, now: datetime, calendar: WorkCalendar) -> Reason:
    """Why `outcome` applies to `code`: the answer for a day, or the error in its place.

    Raises the error if no day explains it.
    """
    if isinstance(outcome, NotYetSet):
        effective = calendar.effective_date_on_or_before(outcome.day)
        kind = Kind.LATE if outcome.due_at <= now else Kind.NOT_YET_SET
        return Reason(kind, effective, effective - ONE_DAY, due_at=outcome.due_at)
    if isinstance(outcome, BeforeHistory):
        kind = Kind.BEFORE_RECORDING if outcome.recorded_from else Kind.BEFORE_HISTORY
        return Reason(kind, outcome.recorded_from or FIRST_DAY)
    if isinstance(outcome, HistoryLoading) and outcome.lacking:
        return Reason(Kind.LACKING, outcome.lacking)
    if isinstance(outcome, RatesvcError):
        if type(outcome) not in _WITHOUT_RATE:
            raise outcome
        return Reason(_WITHOUT_RATE[type(outcome)])
    if code not in outcome.revision.sheet.by_code:
        return Reason(Kind.ABSENT, outcome.revision.effective_date)
    return _applies(outcome, now, calendar)


def _applies(answer: InForce, now: datetime, calendar: WorkCalendar) -> Reason:
    day, effective = answer.requested_date, answer.revision.effective_date
    is_regular = effective >= REDENOMINATION and calendar.is_effective_date(effective)
    set_on = effective - ONE_DAY if is_regular else None
    if day == effective:
        return Reason(Kind.ANNOUNCED if effective > moscow_day(now) else Kind.OWN_DAY, effective, set_on)
    if answer.stale:
        return Reason(Kind.STALE, effective)
    if not (is_regular and day < calendar.may_end(effective)):
        return Reason(Kind.HELD, effective, set_on)
    until = calendar.may_end(effective) - ONE_DAY  # the next working day
    last = until - ONE_DAY
    is_weekend = effective.isoweekday() == SATURDAY and last == effective + ONE_DAY
    kind = Kind.WEEKEND if is_weekend else Kind.ONE_DAY_OFF if effective == last else Kind.DAYS_OFF
    return Reason(kind, effective, set_on, _names(effective, last, calendar), until)


def _names(first: date, last: date, calendar: WorkCalendar) -> tuple[str, ...]:
    """The holidays of these days off, and "weekend" if a weekend without a holiday is among them; or nothing."""
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    names = tuple(dict.fromkeys(name for day in days for name in calendar.holidays_of(day)))
    is_mixed = any(day.isoweekday() >= SATURDAY and not calendar.holidays_of(day) for day in days)
    return (*names, "weekend") if names and is_mixed else names


def choices(codes: Collection[str], language: Language) -> list[tuple[str, str]]:
    """The currencies of a list to choose from, and what it says of them, the most used ones first."""
    often = [code for code in MOST_USED if code in codes]
    return [(code, f"{code} · {language.currency(code)}") for code in (*often, *sorted(set(codes).difference(often)))]


def of_sentences(language: Language) -> Language:
    """The language of the page and of days within sentences: English if the sentences are."""
    return language_or_default(language.foreign) if language.foreign else language
