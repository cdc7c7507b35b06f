"""The page «Which rate applies to a document dated X?»: the decision, the form, and a receipt to print and keep."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import NamedTuple
from urllib.parse import urlencode

from ratesvc.domain.rates import FIRST_DAY, REDENOMINATION, InForce, Line, Quote, Revision, minor_places, plain
from ratesvc.domain.workdays import ONE_DAY
from ratesvc.errors import BadRequest
from ratesvc.features.ranges.conversion import convert
from ratesvc.features.site.language import Language, translated
from ratesvc.features.site.page import page
from ratesvc.features.site.reasons import Reason, choices, in_moscow, of_sentences
from ratesvc.render.json import source_url
from ratesvc.render.language import OLD_ROUBLES, PLACES
from ratesvc.render.openapi import Site

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

    def address(self, language: Language, site: Site, day: date | None = None) -> str:
        """Where a page in this language has the same question, or that about another day."""
        amount = {"amount": self.typed(language)} if self.written else {}
        asked = {"lang": language.tag, "date": day or self.day, "code": self.code, **amount}
        return f"{site.public_url}/rate?{urlencode(asked, safe=',')}"

    @property
    def days_beside(self) -> tuple[date | None, date | None]:
        """The calendar days before and after, where there are official rates."""
        before = self.day - ONE_DAY if self.day > FIRST_DAY else None
        return before, self.day + ONE_DAY if FIRST_DAY <= self.day < date.max else None


class More(NamedTuple):
    """Whether the rates of the month before are held, which the page pictures, and figures of other features."""

    has_line: bool = False
    lines: Sequence[Line] = ()


def answered(
    question: Question, why: Reason, answer: InForce | None, language: Language, site: Site, more: More | None = None
) -> str:
    """The page with an answer; `answer` is None if there is no sheet for that day."""
    has_line, lines = more or More()
    quote = answer.revision.sheet.by_code.get(question.code) if answer else None
    is_old = quote and answer and answer.revision.effective_date < REDENOMINATION
    exact = f"/v1/rates/{question.day}?codes={question.code}"
    if question.written and site.has("convert"):
        exact = f"/v1/convert?amount={question.written}&from={question.code}&to=RUB&date={question.day}"
    shown = {
        "headline": language.weekday(question.day),
        "equations": _equations(quote, question.amount, answer, language) if quote and answer else [],
        "sentences": [*why.sentences, *([language.say(OLD_ROUBLES)] if is_old else [])],
        "facts": _facts(why.set_on, answer.revision, lines, language) if answer else [],
        "bank": source_url(answer.revision.effective_date, language) if answer else "",
        "json": site.public_url + exact if quote else "",
    }
    line = ""
    if has_line:
        since = question.day - timedelta(days=MONTH)
        line = f"codes={question.code}&since={since}&until={question.day}&lang={language.tag}"
    return _page(question, language, site, answer=shown, line=line)


def refused(question: Question, error: BadRequest, language: Language, site: Site) -> str:
    """The page with the form and its error. An amount is named; what else is wrong only authors of addresses write.

    Their detail is left out if the page has no translation of it.
    """
    if error.parameter == "amount" and question.unread:
        sentence, example = "“{given}” is no amount. Enter a number such as {example}.", language.number(AN_AMOUNT, 2)
        problem = language.say(sentence, given=question.unread, example=example)
        return _page(question, language, site, problem=problem, wrong="amount")
    problem = language.say("The request was not understood. Please choose a day and a currency.")
    return _page(question, language, site, problem=problem, detail=language.translated(str(error)))


def _page(question: Question, language: Language, site: Site, **values: object) -> str:
    nothing = {"answer": None, "line": "", "problem": "", "detail": "", "wrong": ""}
    return page(
        "rate/rate.html",
        **nothing | values,
        t=language.say,
        page=of_sentences(language),
        language=language,
        uis=[(ui, question.address(ui, site)) for ui in translated()],
        site=site,
        question=question,
        earliest=FIRST_DAY,
        choices=choices({*question.codes, question.code}, language),
    )


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


def _facts(
    set_on: date | None, revision: Revision, lines: Sequence[Line], language: Language
) -> list[tuple[str, str, bool]]:
    """What an accountant writes down, as name, fact, and whether the fact is in the language of days."""
    say, days = language.say, {"Effective date": revision.effective_date}
    if set_on:
        days["Set on"] = set_on
    rules = [rule for since, rule in LEGAL_BASES if revision.effective_date >= since]
    return [
        *((say(name), language.weekday(day), True) for name, day in days.items()),
        (say("Revision"), language.whole(revision.number), True),
        (say("Received"), in_moscow("{day} at {time} Moscow time", revision.fetched_at, language), False),
        *((say("Legal basis"), say(rule), False) for rule in rules[:1]),
        *((say(line.name), _dated(line, language), False) for line in lines),
    ]


def _dated(line: Line, language: Language) -> str:
    sentence = "as of {day}" if line.is_stale else "since {day}"
    return f"{language.share(line.value)}, {language.say(sentence, day=language.day(line.day))}"
