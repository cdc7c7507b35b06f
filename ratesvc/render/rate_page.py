"""The page «Which rate applies to a document dated X?»: the decision, and the form, rate and reason in words."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum

from ratesvc.domain.rates import FIRST_DAY, REDENOMINATION, InForce, Quote
from ratesvc.domain.workdays import MOSCOW, ONE_DAY, WorkCalendar, moscow_day
from ratesvc.errors import BeforeHistory, HistoryLoading, NoSheet, NotYetSet, RatesvcError, UnknownCurrency
from ratesvc.render import widget
from ratesvc.render.builder import UI
from ratesvc.render.json import source_url
from ratesvc.render.language import Language, language_or_default
from ratesvc.render.rows import DEFAULT_CODES, OLD_ROUBLES, PLACES
from ratesvc.render.widget import Site

CONTENT_TYPE = "text/html; charset=utf-8"
SECURITY_POLICY = widget.policy(widget.style("rate"), img_src="'self'", form_action="'self'")
SATURDAY = 6


class Kind(Enum):
    """The reason why a rate applies, or none, and the sentence for it."""

    OWN_DAY = "The Bank of Russia set this rate for that very day."
    ANNOUNCED = "The Bank of Russia has already set this rate; it comes into force on {effective}."
    WEEKEND = "Saturday's rate ({effective}) also applies on Sunday and Monday: the Bank sets no rates at the weekend."
    DAYS_OFF = "This rate has been in force since {effective}: {first} to {last} are days off{names} without new rates."
    HELD = "This rate has been in force since {effective}: the Bank has set no other rate since then."
    STALE = "The rate for this day has not been received. This is the last known rate, in force since {effective}."
    ABSENT = "The Bank's list in force since {effective} has no rate for {code}."
    NOT_YET_SET = "The Bank of Russia has not set the rate for this day yet."
    LOADING = "The rates for this day are still loading. Please try again in a minute."
    BEFORE_HISTORY = "The Bank of Russia's official rates begin on {first}."
    UNKNOWN_CURRENCY = "This service knows no rate of the Bank of Russia for {code}."
    NOTHING_STORED = "No rates have been received yet. Please try again in a minute."


_ONE_DAY_OFF = "This rate has been in force since {effective}: {first} is a day off{names} without new rates."
_LATE = "The Bank of Russia's rate for this day is late."
_WITHOUT_RATE = {
    HistoryLoading: Kind.LOADING,
    BeforeHistory: Kind.BEFORE_HISTORY,
    UnknownCurrency: Kind.UNKNOWN_CURRENCY,
    NoSheet: Kind.NOTHING_STORED,
}


@dataclass(frozen=True, slots=True)
class Reason:
    """The kind and its facts.

    `effective` is the date of the sheet, or of the awaited sheet; `set_on` is the working day before it, if the
    calendar knows it. `days_off` are the unbroken days off since, with the names of their `holidays`; `until` is the
    last day of the sheet. `fetched_at` belongs to a future sheet, `expected_at` and `late` to an awaited one.
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


def reason(outcome: InForce | RatesvcError, code: str, now: datetime, calendar: WorkCalendar) -> Reason:
    """Why `outcome` applies to `code`: the answer for a day, or the error in its place.

    Raises the error if no day explains it.
    """
    if isinstance(outcome, NotYetSet):
        effective = calendar.effective_date_on_or_before(outcome.day)
        late = outcome.expected_at <= now
        return Reason(Kind.NOT_YET_SET, effective, effective - ONE_DAY, expected_at=outcome.expected_at, late=late)
    if isinstance(outcome, RatesvcError):
        if type(outcome) not in _WITHOUT_RATE:
            raise outcome
        return Reason(_WITHOUT_RATE[type(outcome)])
    if code not in outcome.revision.sheet.by_code:
        return Reason(Kind.ABSENT, outcome.revision.effective_date)
    return _applies(outcome, now, calendar)


def _applies(answer: InForce, now: datetime, calendar: WorkCalendar) -> Reason:
    day, effective = answer.requested_date, answer.revision.effective_date
    to_come = effective > moscow_day(now)
    fetched_at = answer.revision.fetched_at if to_come else None
    is_regular = effective >= REDENOMINATION and calendar.is_effective_date(effective)
    set_on = effective - ONE_DAY if is_regular else None
    if day == effective:
        return Reason(Kind.ANNOUNCED if to_come else Kind.OWN_DAY, effective, set_on, fetched_at=fetched_at)
    if answer.stale:
        return Reason(Kind.STALE, effective, calendar.effective_date_on_or_before(day) - ONE_DAY)
    days_off = calendar.days_off_around(effective) if is_regular and calendar.holds(effective, day) else None
    if days_off is None:
        return Reason(Kind.HELD, effective, set_on, fetched_at=fetched_at)
    first, last = days_off
    is_weekend = effective.isoweekday() == SATURDAY and days_off == (effective, effective + ONE_DAY)
    days = (first + timedelta(days=number) for number in range((last - first).days + 1))
    holidays = tuple(dict.fromkeys(name for day_off in days for name in calendar.holidays_of(day_off)))
    kind, until = Kind.WEEKEND if is_weekend else Kind.DAYS_OFF, last + ONE_DAY
    return Reason(kind, effective, set_on, days_off, holidays, until, fetched_at)


@dataclass(frozen=True, slots=True)
class Question:
    """The contents of the form: the document's day, the currency, and the codes to choose from."""

    day: date
    code: str
    codes: Collection[str]


def answered(question: Question, why: Reason, quote: Quote | None, language: Language, site: Site) -> str:
    """The page with an answer; `quote` is None if there is no rate."""
    is_awaited = why.effective is None or why.kind is Kind.NOT_YET_SET
    shown = {
        "headline": language.weekday(question.day),
        "equations": _equations(quote, language) if quote else [],
        "sentences": list(_sentences(why, question, language)),
        "facts": [] if is_awaited else _facts(why, language),
        "bank": "" if is_awaited or why.effective is None else source_url(why.effective, language),
        "json": f"{site.public_url}/v1/rates/{question.day.isoformat()}?codes={question.code}" if quote else "",
    }
    return _page(question, language, site, answer=shown, problem="", detail="")


def refused(question: Question, problem: str, detail: str, language: Language, site: Site) -> str:
    """The page with the form and its error: `problem` is one of our sentences, `detail` the text of the error.

    The detail is for authors of addresses, so it is left out if the page has no translation of it.
    """
    return _page(question, language, site, answer=None, problem=problem, detail=language.translated(detail))


def _page(question: Question, language: Language, site: Site, **values: object) -> str:
    known = {*question.codes, question.code}
    often = [code for code in DEFAULT_CODES if code in known]
    return widget.page(
        "rate.html",
        t=language.say,
        page=_of_sentences(language),
        language=language,
        uis=[language_or_default(tag) for tag in UI],
        site=site,
        question=question,
        earliest=FIRST_DAY,
        choices=[(code, f"{code} · {language.currency(code)}") for code in (*often, *sorted(known.difference(often)))],
        **values,
    )


def _of_sentences(language: Language) -> Language:
    """The language of the page and of days within sentences: English if the sentences are."""
    return language_or_default(language.foreign) if language.foreign else language


def _equations(quote: Quote, language: Language) -> list[str]:
    """The rate as printed, and for one unit if the nominal is not 1."""
    rates: list[tuple[int, Decimal]] = [(quote.nominal, quote.value)]
    rates += [(1, quote.unit_rate)] if quote.nominal != 1 else []
    roubles = language.say("RUB")
    return [
        f"{language.whole(count)}\u00a0{quote.code} = {language.number(rate, PLACES)}\u00a0{roubles}"
        for count, rate in rates
    ]


def _sentences(why: Reason, question: Question, language: Language) -> Iterator[str]:
    """The reason, then what else a reader should know."""
    say, day = language.say, _of_sentences(language).day

    def at(sentence: str, moment: datetime) -> str:
        local = moment.astimezone(MOSCOW)
        return say(sentence, day=day(local.date()), time=local.strftime("%H:%M"))

    yield _main(why, question.code, language)
    if why.effective and why.effective < REDENOMINATION and why.kind is not Kind.ABSENT:
        yield say(OLD_ROUBLES)
    if why.until:
        yield say("It applies until {until} inclusive.", until=day(why.until))
    if why.kind is Kind.OWN_DAY and why.set_on and why.set_on.isoweekday() >= SATURDAY:
        yield say("It was set on {day}, a working day at the weekend.", day=day(why.set_on))
    if why.fetched_at:
        yield at("It was received on {day} at {time} Moscow time.", why.fetched_at)
    if why.kind is Kind.NOT_YET_SET:
        if why.expected_at:
            expected = "It is expected by {time} Moscow time on {day}."
            yield at("It was expected by {time} Moscow time on {day}." if why.late else expected, why.expected_at)
        if why.effective and why.effective != question.day:
            yield say("The rate of {effective} will apply.", effective=day(why.effective))
    if why.kind is Kind.STALE:
        yield say("Please check it on the Bank's page.")


def _main(why: Reason, code: str, language: Language) -> str:
    day, sentence = _of_sentences(language).day, why.kind.value
    first, last = why.days_off if why.kind is Kind.DAYS_OFF and why.days_off else (FIRST_DAY, FIRST_DAY)
    if why.kind is Kind.DAYS_OFF and first == last:
        sentence = _ONE_DAY_OFF
    if why.kind is Kind.NOT_YET_SET and why.late:
        sentence = _LATE
    names = ", ".join(map(language.say, why.holidays))
    return language.say(
        sentence,
        code=code,
        effective=day(why.effective) if why.effective else "",
        first=day(first),
        last=day(last),
        names=language.say(" ({names})", names=names) if names else "",
    )


def _facts(why: Reason, language: Language) -> list[tuple[str, str]]:
    """The days that an accountant writes down."""
    days = {"Effective date": why.effective, "Set on": None if why.kind is Kind.STALE else why.set_on}
    return [(language.say(name), language.weekday(day)) for name, day in days.items() if day]
