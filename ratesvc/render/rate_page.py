"""The page «Which rate applies to a document dated X?»: a form, the rate, and the reason in words."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum

from ratesvc.domain.rates import FIRST_DAY, REDENOMINATION, InForce, Quote
from ratesvc.domain.workdays import MOSCOW, ONE_DAY, WorkCalendar, moscow_day
from ratesvc.errors import BeforeHistory, HistoryLoading, NoSheet, NotYetSet, RatesvcError, UnknownCurrency
from ratesvc.render import widget
from ratesvc.render.builder import UI
from ratesvc.render.chart_layout import decimals
from ratesvc.render.json import source_url
from ratesvc.render.language import Language, language_or_default
from ratesvc.render.rows import DEFAULT_CODES, OLD_ROUBLES
from ratesvc.render.widget import Site

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


CONTENT_TYPE = "text/html; charset=utf-8"
LEAST_PLACES = 4

SECURITY_POLICY = widget.policy(widget.style("rate"), img_src="'self'", form_action="'self'")


@dataclass(frozen=True, slots=True)
class Question:
    """What the form holds: the document's day, the currency, and the codes to choose from."""

    day: date
    code: str
    codes: Collection[str]


def answered(question: Question, why: Reason, quote: Quote | None, language: Language, site: Site) -> str:
    """The page with an answer; `quote` is None where there is no rate."""
    words = _Words(language, question)
    shown = {
        "headline": language.weekday(question.day),
        "equations": words.equations(quote) if quote else [],
        "sentences": words.sentences(why),
        "facts": words.facts(why),
        "bank": words.bank(why),
        "json": _json_address(question, site) if quote else "",
    }
    return _page(question, language, site, answer=shown, problem="", detail="")


def refused(question: Question, problem: str, detail: str, language: Language, site: Site) -> str:
    """The page with the form and what was wrong: `problem` one of our sentences, `detail` the query's own words.

    Those are for people who write addresses, and left out where the page has no translation of them.
    """
    return _page(question, language, site, answer=None, problem=problem, detail=language.translated(detail))


def _page(question: Question, language: Language, site: Site, **values: object) -> str:
    return widget.page(
        "rate.html",
        t=language.say,
        page=_of_sentences(language),
        language=language,
        uis=[language_or_default(tag) for tag in UI],
        site=site,
        question=question,
        earliest=FIRST_DAY,
        choices=_choices(question, language),
        **values,
    )


def _of_sentences(language: Language) -> Language:
    """The page's language and direction, and that of days within sentences: English where those are."""
    return language_or_default(language.foreign) if language.foreign else language


def _choices(question: Question, language: Language) -> list[tuple[str, str]]:
    """Code and label; what is often asked stands first."""
    known = {*question.codes, question.code}
    often = [code for code in DEFAULT_CODES if code in known]
    return [(code, f"{code} · {language.currency(code)}") for code in (*often, *sorted(known.difference(often)))]


def _json_address(question: Question, site: Site) -> str:
    return f"{site.public_url}/v1/rates/{question.day.isoformat()}?codes={question.code}"


class _Words:
    """The answer's words and numbers."""

    def __init__(self, language: Language, question: Question) -> None:
        self._language = language
        self._question = question
        self._say = language.say

    def equations(self, quote: Quote) -> list[str]:
        """As printed, then for one unit where that is something else."""
        printed = self._equation(quote.nominal, quote.code, quote.value)
        return [printed] if quote.nominal == 1 else [printed, self._equation(1, quote.code, quote.unit_rate)]

    def _equation(self, count: int, code: str, roubles: Decimal) -> str:
        number = self._language.number(roubles, max(LEAST_PLACES, decimals(roubles)))
        return f"{self._language.whole(count)}\u00a0{code} = {number}\u00a0RUB"

    def sentences(self, why: Reason) -> list[str]:
        """The reason, then what else should be known."""
        return [sentence for sentence in (self._main(why), *self._more(why)) if sentence]

    def _main(self, why: Reason) -> str:
        named = {"effective": self._day(why.effective), "code": self._question.code, "first": self._day(FIRST_DAY)}
        if why.kind is Kind.NOT_YET_SET and why.late:
            return self._say("The Bank of Russia's rate for this day is late.")
        if why.kind is Kind.DAYS_OFF and why.days_off:
            return self._off(why.days_off, why.holidays, named["effective"])
        return self._say(_MAIN[why.kind], **named)

    def _off(self, days_off: tuple[date, date], holidays: tuple[str, ...], effective: str) -> str:
        sentence = _OFF[days_off[0] == days_off[1], bool(holidays)]
        names = ", ".join(self._say(name) for name in holidays)
        return self._say(
            sentence, effective=effective, first=self._day(days_off[0]), last=self._day(days_off[1]), names=names
        )

    def _more(self, why: Reason) -> list[str]:
        more = []
        if why.effective and why.effective < REDENOMINATION and why.kind is not Kind.ABSENT:
            more.append(self._say(OLD_ROUBLES))
        if why.until:
            more.append(self._say("It holds until {until} inclusive.", until=self._day(why.until)))
        if why.kind is Kind.OWN_DAY and why.set_on and why.set_on.isoweekday() > 5:
            more.append(self._say("It was set on {day}, a working day at the weekend.", day=self._day(why.set_on)))
        if why.fetched_at:
            more.append(self._at("It was received on {day} at {time} Moscow time.", why.fetched_at))
        if why.kind is Kind.NOT_YET_SET:
            more += self._awaited(why)
        if why.kind is Kind.STALE:
            more.append(self._say("Please check it on the Bank's own page."))
        return more

    def _awaited(self, why: Reason) -> list[str]:
        more = []
        if why.expected_at:
            more.append(self._at(_WAS_EXPECTED if why.late else _IS_EXPECTED, why.expected_at))
        if why.effective != self._question.day:
            more.append(self._say("The rate of {effective} will apply.", effective=self._day(why.effective)))
        return more

    def _at(self, sentence: str, moment: datetime) -> str:
        local = moment.astimezone(MOSCOW)
        return self._say(sentence, day=self._day(local.date()), time=local.strftime("%H:%M"))

    def _day(self, day: date | None) -> str:
        return _of_sentences(self._language).day(day) if day else ""

    def facts(self, why: Reason) -> list[tuple[str, str]]:
        """The days that a clerk writes down."""
        if why.effective is None or why.kind is Kind.NOT_YET_SET:
            return []
        facts = [(self._say("Effective date"), self._language.weekday(why.effective))]
        if why.set_on and why.kind is not Kind.STALE:
            facts.append((self._say("Set on"), self._language.weekday(why.set_on)))
        return facts

    def bank(self, why: Reason) -> str:
        """The Bank's own page for the effective date, in Russian for Russians."""
        if why.effective is None or why.kind is Kind.NOT_YET_SET:
            return ""
        return source_url(why.effective, self._language)


_IS_EXPECTED = "It is expected by {time} Moscow time on {day}."
_WAS_EXPECTED = "It was expected by {time} Moscow time on {day}."

_MAIN = {
    Kind.OWN_DAY: "The Bank of Russia set this rate for that very day.",
    Kind.ANNOUNCED: "The Bank of Russia has already set this rate; it comes into force on {effective}.",
    Kind.WEEKEND: "Saturday's rate ({effective}) holds on Sunday and Monday too: the Bank sets none at the weekend.",
    Kind.HELD: "This rate has been in force since {effective}: the Bank set no other in between.",
    Kind.STALE: "The rate of this day has not been received. This is the last one known, in force since {effective}.",
    Kind.ABSENT: "The Bank's list in force since {effective} has no rate for {code}.",
    Kind.NOT_YET_SET: "The Bank of Russia has not set the rate for this day yet.",
    Kind.LOADING: "The rates of this day are still being loaded. Please try again in a minute.",
    Kind.BEFORE_HISTORY: "The Bank of Russia's official rates begin on {first}.",
    Kind.UNKNOWN_CURRENCY: "No rate of the Bank of Russia for {code} is known here.",
    Kind.NOTHING_STORED: "No rates have been received yet. Please try again in a minute.",
}

# One day off or several, with or without a holiday among them.
_OFF = {
    (True, True): "This rate has been in force since {effective}: {first} is a day off ({names}) without new rates.",
    (True, False): "This rate has been in force since {effective}: {first} is a day off without new rates.",
    (
        False,
        True,
    ): "This rate has been in force since {effective}: {first} to {last} are days off ({names}) without new rates.",
    (False, False): "This rate has been in force since {effective}: {first} to {last} are days off without new rates.",
}
