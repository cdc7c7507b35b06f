"""The page «Which rate applies to a document dated X?»: the decision, the form, and a receipt to print and keep."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum

from ratesvc.domain.rates import (
    FIRST_DAY,
    MOST_USED,
    REDENOMINATION,
    InForce,
    Quote,
    Revision,
    convert,
    minor_places,
    plain,
)
from ratesvc.domain.workdays import MOSCOW, ONE_DAY, WorkCalendar, moscow_day, usual_at
from ratesvc.errors import (
    BadRequest,
    BeforeHistory,
    Busy,
    HistoryLoading,
    NoSheet,
    NotYetSet,
    RatesvcError,
    UnknownCurrency,
)
from ratesvc.render.json import source_url
from ratesvc.render.language import OLD_ROUBLES, PLACES, TRANSLATIONS, Language, language_or_default
from ratesvc.render.page import Site, page

SATURDAY = 6
MONTH = 30
"""Days of the line below an answer."""
AN_AMOUNT = Decimal("1234.50")
LEGAL_BASES = (
    (date(2024, 12, 28), "Bank of Russia Ordinance No. 6956-U of 2 December 2024"),
    (date(2022, 11, 1), "Bank of Russia Ordinance No. 6290-U of 3 October 2022"),
    (date(2020, 1, 1), "Bank of Russia Ordinance No. 5094-U of 14 March 2019"),
    (date(2003, 1, 1), "Federal Law No. 86-FZ of 10 July 2002, Article 53"),
)
"""The rule by which a rate was set, and an effective date from which it certainly held; the newest rule first.

https://cbr.ru/eng/press/PR/?file=638708265616904942ENG_STAT.htm (27 December 2024) names 6956-U.
"""


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
EXPLAINED: tuple[type[RatesvcError], ...] = (NotYetSet, BeforeHistory, *_WITHOUT_RATE)
"""The errors that have a reason."""


@dataclass(frozen=True, slots=True)
class Reason:
    """The kind and its facts.

    `effective` is the date of the sheet, or of the awaited sheet; `set_on` is the working day before it, if the
    calendar knows it. `days_off` are the unbroken days off since, with the names of their `holidays`; "weekend" stands
    among them for days of a weekend that are no holidays. `until` is the last day of the sheet. `due_at`
    belongs to an awaited sheet.
    """

    kind: Kind
    effective: date | None = None
    set_on: date | None = None
    days_off: tuple[date, date] | None = None
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
    days_off = calendar.days_off_around(effective) if is_regular and calendar.holds(effective, day) else None
    if days_off is None:
        return Reason(Kind.HELD, effective, set_on)
    first, last = days_off
    is_weekend = effective.isoweekday() == SATURDAY and days_off == (effective, effective + ONE_DAY)
    kind = Kind.WEEKEND if is_weekend else Kind.ONE_DAY_OFF if first == last else Kind.DAYS_OFF
    return Reason(kind, effective, set_on, days_off, _names(first, last, calendar), last + ONE_DAY)


def _names(first: date, last: date, calendar: WorkCalendar) -> tuple[str, ...]:
    """The holidays of these days off, and "weekend" if a weekend without a holiday is among them; or nothing."""
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    names = tuple(dict.fromkeys(name for day in days for name in calendar.holidays_of(day)))
    is_mixed = any(day.isoweekday() >= SATURDAY and not calendar.holidays_of(day) for day in days)
    return (*names, "weekend") if names and is_mixed else names


@dataclass(frozen=True, slots=True)
class Question:
    """The contents of the form: the document's day, the currency, an amount of it, and the codes to choose from.

    `unread` is what was typed in place of an amount that could be read.
    """

    day: date
    code: str
    codes: Collection[str]
    amount: Decimal | None = None
    unread: str = ""

    @property
    def written(self) -> str:
        """The amount as a decimal literal, or nothing."""
        return "" if self.amount is None else plain(self.amount)

    def typed(self, language: Language) -> str:
        """The amount as a reader of the language would type it: a point may group thousands there."""
        return self.unread or self.written.replace(".", language.decimal_mark)

    @property
    def days_beside(self) -> tuple[date | None, date | None]:
        """The calendar days before and after, where there are official rates."""
        before = self.day - ONE_DAY if self.day > FIRST_DAY else None
        return before, self.day + ONE_DAY if FIRST_DAY <= self.day < date.max else None


def answered(
    question: Question, why: Reason, answer: InForce | None, language: Language, site: Site, *, has_line: bool = False
) -> str:
    """The page with an answer; `answer` is None if there is no sheet for that day.

    `has_line` says whether the rates of the month before are held, which it pictures.
    """
    quote = answer.revision.sheet.by_code.get(question.code) if answer else None
    is_old = quote and answer and answer.revision.effective_date < REDENOMINATION
    exact = f"/v1/rates/{question.day}?codes={question.code}"
    if question.written:
        exact = f"/v1/convert?amount={question.written}&from={question.code}&to=RUB&date={question.day}"
    shown = {
        "headline": language.weekday(question.day),
        "equations": _equations(quote, question.amount, answer, language) if quote and answer else [],
        "sentences": [*_sentences(why, question, language), *([language.say(OLD_ROUBLES)] if is_old else [])],
        "facts": _facts(why, answer.revision, language) if answer else [],
        "bank": source_url(answer.revision.effective_date, language) if answer else "",
        "json": site.public_url + exact if quote else "",
    }
    line = _line(question, language) if has_line else ""
    return _page(question, language, site, line, answer=shown, problem="", detail="", wrong="")


def refused(question: Question, error: BadRequest, language: Language, site: Site) -> str:
    """The page with the form and its error. An amount is named; what else is wrong only authors of addresses write.

    Their detail is left out if the page has no translation of it.
    """
    if error.parameter == "amount" and question.unread:
        problem = language.say(
            "“{given}” is no amount. Enter a number such as {example}.",
            given=question.unread,
            example=language.number(AN_AMOUNT, 2),
        )
        return _page(question, language, site, answer=None, problem=problem, detail="", wrong=error.parameter)
    problem = language.say("The request was not understood. Please choose a day and a currency.")
    return _page(
        question, language, site, answer=None, problem=problem, detail=language.translated(str(error)), wrong=""
    )


def _line(question: Question, language: Language) -> str:
    """The parameters of the chart of the month before."""
    since = question.day - timedelta(days=MONTH)
    return f"codes={question.code}&since={since}&until={question.day}&lang={language.tag}"


def _page(question: Question, language: Language, site: Site, line: str = "", **values: object) -> str:
    return page(
        "rate.html",
        t=language.say,
        page=of_sentences(language),
        language=language,
        uis=[language_or_default(tag) for tag in TRANSLATIONS],
        site=site,
        question=question,
        line=line,
        earliest=FIRST_DAY,
        choices=choices({*question.codes, question.code}, language),
        **values,
    )


def choices(codes: Collection[str], language: Language) -> list[tuple[str, str]]:
    """The currencies of a list to choose from, and what it says of them, the most used ones first."""
    often = [code for code in MOST_USED if code in codes]
    return [(code, f"{code} · {language.currency(code)}") for code in (*often, *sorted(set(codes).difference(often)))]


def of_sentences(language: Language) -> Language:
    """The language of the page and of days within sentences: English if the sentences are."""
    return language_or_default(language.foreign) if language.foreign else language


def _equations(quote: Quote, amount: Decimal | None, answer: InForce, language: Language) -> list[str]:
    """The amount in roubles, if there is one; the rate as printed; and for one unit if the nominal is not 1."""
    rates: list[tuple[str, Decimal, int]] = [(language.whole(quote.nominal), quote.value, PLACES)]
    rates += [("1", quote.unit_rate, PLACES)] if quote.nominal != 1 else []
    if amount is not None:
        roubles, kopecks = convert(answer.revision.sheet, amount, quote.code, "RUB").rounded, minor_places("RUB")
        rates.insert(0, (language.number(amount, kopecks), roubles, kopecks))
    currency = language.say("RUB")
    return [
        f"{count}\u00a0{quote.code} = {language.number(rate, places)}\u00a0{currency}" for count, rate, places in rates
    ]


def _sentences(why: Reason, question: Question, language: Language) -> Iterator[str]:
    """The reason, then what else a reader should know."""
    say, day = language.say, of_sentences(language).day
    first, last = why.days_off or (None, None)
    dates = {"effective": why.effective, "first": first, "last": last}
    words = {name: day(dated) for name, dated in dates.items() if dated}
    names = ", ".join(map(say, why.holidays))
    yield say(why.kind.value, code=question.code, names=say(" ({names})", names=names) if names else "", **words)
    if why.until:
        yield say("It applies until {until} inclusive.", until=day(why.until))
    if why.kind is Kind.OWN_DAY and why.set_on and why.set_on.isoweekday() >= SATURDAY:
        yield say("It was set on {day}, a working day at the weekend.", day=day(why.set_on))
    if why.due_at:
        expected = "It usually comes at about {usual}, by {time} Moscow time on {day}."
        sentence = "It was expected by {time} Moscow time on {day}." if why.kind is Kind.LATE else expected
        yield _at(sentence, why.due_at, language)
        if why.effective and why.effective != question.day:
            yield say("The rate of {effective} will apply.", effective=day(why.effective))
    if why.kind is Kind.STALE:
        yield say("Please check it on the Bank's page.")


def _at(sentence: str, moment: datetime, language: Language) -> str:
    local = moment.astimezone(MOSCOW)
    usual, clock = (time.strftime("%H:%M") for time in (usual_at(moment), local))
    return language.say(sentence, day=of_sentences(language).day(local.date()), time=clock, usual=usual)


def _facts(why: Reason, revision: Revision, language: Language) -> list[tuple[str, str, bool]]:
    """What an accountant writes down, as name, fact, and whether the fact is in the language of days."""
    say, days = language.say, {"Effective date": revision.effective_date}
    if why.set_on:
        days["Set on"] = why.set_on
    rules = [rule for since, rule in LEGAL_BASES if revision.effective_date >= since]
    return [
        *((say(name), language.weekday(day), True) for name, day in days.items()),
        (say("Revision"), language.whole(revision.number), True),
        (say("Received"), _at("{day} at {time} Moscow time", revision.fetched_at, language), False),
        *((say("Legal basis"), say(rule), False) for rule in rules[:1]),
    ]
