"""What other features show in a widget: prices among the rates, and lines below them, each with its day."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from functools import cache

from ratesvc.domain.rates import InForce, Line, Quote, Revision, Sheet
from ratesvc.features.widget.rows import Price
from ratesvc.features.widget.view import View
from ratesvc.service.app import Service
from ratesvc.web.features import Feature, load


@cache
def _features(names: tuple[str, ...]) -> tuple[Feature, ...]:
    return load(names).on


def priced(service: Service, until: date, codes: Collection[str] | None = None) -> dict[str, Price]:
    """The words of those of the codes, or of all, that have a price on a day or before."""
    on = _features(service.settings.features)
    words = {code: Price(*words) for feature in on for code, words in feature.prices.items()}
    asked = words if codes is None else words.keys() & codes
    return {code: words[code] for code in asked if next(back_from(service, code, until), None)}


def back_from(service: Service, code: str, day: date) -> Iterator[tuple[date, Decimal]]:
    """The prices up to a day with theirs, newest first."""
    name = next(feature.name for feature in _features(service.settings.features) if code in feature.prices)
    return service.figures[name].back_from(code, day)


def with_prices(
    shown: Sequence[InForce], service: Service, prices: dict[str, Price], layout: str
) -> tuple[InForce, ...]:
    """The shown answers with these prices in their sheets: each has that of its own day.

    If none has that is seen, one gets an older price, whose words then name its day; a sentence has no such words.
    """
    # A line shows the last day alone.
    answers, seen = list(shown), -1 if layout == "line" else 0
    for code, price in prices.items():
        own = [_of_day(service, code, answer.revision) for answer in shown]
        before = [_of_day(service, code, answer.previous) for answer in shown]
        answers = [_adding(*each, code) for each in zip(answers, own, before, strict=True)]
        if not any(own[seen:]) and layout != "inline":
            day, value = next(back_from(service, code, shown[0].requested_date))
            answers[seen], prices[code] = _adding(shown[seen], value, None, code), price._replace(day=day)
    return tuple(answers)


def _of_day(service: Service, code: str, revision: Revision | None) -> Decimal | None:
    """The price that applies from the very day of a sheet."""
    day, value = next(back_from(service, code, revision.effective_date), (None, None)) if revision else (None, None)
    return value if revision and day == revision.effective_date else None


def _adding(answer: InForce, value: Decimal | None, before: Decimal | None, code: str) -> InForce:
    previous = answer.previous and _with(answer.previous, before, code)
    return replace(answer, revision=_with(answer.revision, value, code), previous=previous)


def _with(revision: Revision, value: Decimal | None, code: str) -> Revision:
    if value is None:
        return revision
    quotes = (*revision.sheet.quotes, Quote(code, code, code, 1, value, code))
    return replace(revision, sheet=Sheet(revision.effective_date, quotes))


def lines(service: Service, view: View, days: Sequence[date]) -> list[list[Line | None]]:
    """The lines that a view switches on, each on these days. One that has nothing for any of them is left out."""
    lines = [item for feature in _features(service.settings.features) for item in feature.lines.items()]
    found = [[line(service, day) for day in days] for switch, line in lines if getattr(view, switch, False)]
    return [of_days for of_days in found if any(of_days)]
