"""Why a rate applies to a day, or why there is none; and the words of pages around it."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime, timedelta
from typing import NamedTuple

from ratesvc.domain.rates import FIRST_DAY, MOST_USED, REDENOMINATION, InForce
from ratesvc.domain.workdays import MOSCOW, ONE_DAY, WorkCalendar, moscow_day, usual_at
from ratesvc.errors import BeforeHistory, Busy, HistoryLoading, NoSheet, NotYetSet, RatesvcError, UnknownCurrency
from ratesvc.features.site.language import Language, language_or_default

SATURDAY = 6


class Reason(NamedTuple):
    """Why a rate applies, or why there is none, and the working day on which it was set, if the calendar knows it."""

    sentences: list[str]
    set_on: date | None = None


def reason(
    outcome: InForce | RatesvcError, code: str, now: datetime, calendar: WorkCalendar, language: Language
) -> Reason:
    """Why `outcome` applies to `code`: the answer for a day, or the error in its place.

    Raises the error if no day explains it.
    """
    say, day = language.say, of_sentences(language).day
    match outcome:
        case InForce():
            return _applies(outcome, code, now, calendar, language)
        case NotYetSet():
            return Reason(_awaited(outcome, now, calendar, language))
        case BeforeHistory(recorded_from=date() as begins):
            said = say("The recorded rates begin on {effective}.", effective=day(begins))
        case BeforeHistory():
            said = say("The Bank of Russia's official rates begin on {effective}.", effective=day(FIRST_DAY))
        case HistoryLoading(lacking=date() as lacking):
            said = say("The rates of {effective} have not been received or confirmed yet.", effective=day(lacking))
        case HistoryLoading():
            said = say("The rates are still loading. Please try again in a minute.")
        case UnknownCurrency():
            said = say("This service knows no rate of the Bank of Russia for {code}.", code=outcome.code)
        case Busy():
            said = say("Too many readers want long answers right now. Please try again in a minute.")
        case NoSheet():
            said = say("No rates have been received yet. Please try again in a minute.")
        case _:
            raise outcome
    return Reason([said])


def _awaited(error: NotYetSet, now: datetime, calendar: WorkCalendar, language: Language) -> list[str]:
    late = "The Bank of Russia's rate for this day is late.", "It was expected by {time} Moscow time on {day}."
    expected = "It usually comes at about {usual}, by {time} Moscow time on {day}."
    awaited = "The Bank of Russia has not set the rate for this day yet.", expected
    said = [in_moscow(sentence, error.due_at, language) for sentence in (late if error.due_at <= now else awaited)]
    effective = calendar.effective_date_on_or_before(error.day)
    applies = language.say("The rate of {effective} will apply.", effective=of_sentences(language).day(effective))
    return said if effective == error.day else [*said, applies]


def _applies(answer: InForce, code: str, now: datetime, calendar: WorkCalendar, language: Language) -> Reason:
    say, in_words = language.say, of_sentences(language).day
    day, effective = answer.requested_date, answer.revision.effective_date
    is_regular = effective >= REDENOMINATION and calendar.is_effective_date(effective)
    set_on = effective - ONE_DAY if is_regular else None
    since = {"effective": in_words(effective)}
    if code not in answer.revision.sheet.by_code:
        return Reason([say("The Bank's list in force since {effective} has no rate for {code}.", code=code, **since)])
    if day == effective > moscow_day(now):
        announced = "The Bank of Russia has already set this rate; it comes into force on {effective}."
        return Reason([say(announced, **since)], set_on)
    if day == effective:
        said = [say("The Bank of Russia set this rate for that very day.")]
        if set_on and set_on.isoweekday() >= SATURDAY:
            said += [say("It was set on {day}, a working day at the weekend.", day=in_words(set_on))]
        return Reason(said, set_on)
    if answer.stale:
        stale = "The rate for this day has not been received. This is the last known rate, in force since {effective}."
        return Reason([say(stale, **since), say("Please check it on the Bank's page.")])
    if not (is_regular and day < calendar.may_end(effective)):
        held = "This rate has been in force since {effective}: the Bank has set no other rate since then."
        return Reason([say(held, **since)], set_on)
    until = calendar.may_end(effective) - ONE_DAY  # the next working day
    last = until - ONE_DAY
    names = ", ".join(map(say, _names(effective, last, calendar)))
    words = since | {"first": in_words(effective), "last": in_words(last)}
    words["names"] = say(" ({names})", names=names) if names else ""
    if effective.isoweekday() == SATURDAY and last == effective + ONE_DAY:
        why = "Saturday's rate ({effective}) also applies on Sunday and Monday: the Bank sets no rates at the weekend."
    elif effective == last:
        why = "This rate has been in force since {effective}: {first} is a day off{names} without new rates."
    else:
        why = "This rate has been in force since {effective}: {first} to {last} are days off{names} without new rates."
    return Reason([say(why, **words), say("It applies until {until} inclusive.", until=in_words(until))], set_on)


def _names(first: date, last: date, calendar: WorkCalendar) -> tuple[str, ...]:
    """The holidays of these days off, and "weekend" if a weekend without a holiday is among them; or nothing."""
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    names = tuple(dict.fromkeys(name for day in days for name in calendar.holidays_of(day)))
    is_mixed = any(day.isoweekday() >= SATURDAY and not calendar.holidays_of(day) for day in days)
    return (*names, "weekend") if names and is_mixed else names


def in_moscow(sentence: str, moment: datetime, language: Language) -> str:
    """A sentence with the {day} and {time} of a moment in Moscow, and the time at which sheets {usual}ly come."""
    local = moment.astimezone(MOSCOW)
    usual, clock = (time.strftime("%H:%M") for time in (usual_at(moment), local))
    return language.say(sentence, day=of_sentences(language).day(local.date()), time=clock, usual=usual)


def choices(codes: Collection[str], language: Language) -> list[tuple[str, str]]:
    """The currencies of a list to choose from, and what it says of them, the most used ones first."""
    often = [code for code in MOST_USED if code in codes]
    return [(code, f"{code} · {language.currency(code)}") for code in (*often, *sorted(set(codes).difference(often)))]


def of_sentences(language: Language) -> Language:
    """The language of the page and of days within sentences: English if the sentences are."""
    return language_or_default(language.foreign) if language.foreign else language
