"""Other people's wire formats: one file each, pure functions from our domain to somebody else's bytes.

A file here is a dialect: its name, with - for _, is what `dialects` in config.yaml lists, and it holds a DIALECT.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from ratesvc.domain.columns import Coverage
from ratesvc.domain.history import History
from ratesvc.domain.rates import ONE, Revision, Snapshot, plain
from ratesvc.errors import HistoryLoading, RatesvcError
from ratesvc.render import series
from ratesvc.render.language import language_or_default
from ratesvc.render.problems import PROBLEMS
from ratesvc.render.series_text import rates

JSON = "application/json; charset=utf-8"
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

SHEETS_AT_ONCE = 500
"""The texts of so many are in memory together."""

ALWAYS = date.max
"""The last day of an answer that changes with today."""


class Refused(RatesvcError):
    """What a dialect refuses in its own words, with its own status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Question:
    """One request: the variables of its path and of its query, each once. What is not asked for is ignored."""

    history: History
    snapshot: Snapshot
    public_url: str
    given: Mapping[str, str]

    @property
    def newest(self) -> Revision:
        """The sheet with the latest effective date; in the evening tomorrow's."""
        return self.snapshot.announced or self.snapshot.in_force

    def on(self, day: date) -> Revision:
        """The sheet in force on a day. Raises what History.in_force raises."""
        return self.history.in_force(day, self.snapshot.today)

    def english_names(self) -> dict[str, str]:
        """By currency id, as the Bank's catalogue has them; as CLDR has them where the catalogue was not asked for."""
        english = language_or_default(None)
        held = (column.currency for column in self.history.columns())
        return {currency.cbr_id: currency.english_name or english.currency(currency.code) for currency in held}

    def text(self, *names: str) -> str | None:
        """The first of these that is given and not empty."""
        return next((self.given[name] for name in names if self.given.get(name)), None)

    def code(self, default: str, *names: str) -> str:
        """One currency code in capitals, not yet known to exist."""
        return (self.text(*names) or default).strip().upper()

    def codes(self, *names: str) -> tuple[str, ...] | None:
        """Those of the codes given that any sheet ever had, sorted; None when none were asked for."""
        text = self.text(*names)
        if text is None:
            return None
        return tuple(sorted({part.strip().upper() for part in text.split(",")} & self.known()))

    def known(self) -> set[str]:
        """Every code of every held sheet, and RUB."""
        return self.history.codes() | {"RUB"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What to answer: `write` gives the bytes, `key` tells them from all others of the same dialect and publication.

    `until` is the last day that they are about: what is settled may be kept longer. `points` says how many numbers
    it has at most where they may be many.
    """

    key: Hashable
    media: str
    write: Callable[[], bytes]
    until: date = ALWAYS
    points: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error as the dialect's clients know it."""

    status: int
    media: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Dialect:
    """Paths below /{name}, with {variables}; `at_root` for clients that can be given a host but no prefix."""

    routes: Mapping[str, Callable[[Question], Answer]]
    refuse: Callable[[RatesvcError], Refusal]
    at_root: bool = False


def status(error: RatesvcError) -> int:
    """The dialect's own status, or the one that the error has everywhere."""
    return error.status if isinstance(error, Refused) else PROBLEMS[type(error)].status


def iso_day(text: str | None, refused: Refused) -> date:
    """YYYY-MM-DD. Raises what it is handed."""
    try:
        if text and _DAY.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise refused


def certain(asked: Question, since: date, until: date) -> Coverage:
    """From the effective date of the sheet in force on `since`; raises where a sheet may be missing up to `until`."""
    first = asked.on(since).effective_date
    gap = asked.history.first_gap(first, min(until, asked.snapshot.in_force.effective_date))
    if gap:
        raise HistoryLoading(gap)
    return Coverage(first, until)


def check_size(asked: Question, currencies: int, span: Coverage, *, daily: bool = False) -> int:
    """How many points the answer has at most, up to today's sheet. Raises TooManyPoints."""
    until = min(span.until, max(asked.snapshot.today, asked.newest.effective_date))
    return series.check_size(asked.history, currencies, span.since, until, daily=daily)


def per_base(
    history: History, base: str, codes: Sequence[str], span: Coverage, *, amount: Decimal = ONE, missing: str = ""
) -> Iterator[tuple[int, Sequence[str]]]:
    """Each sheet of the span that has the base, oldest first: its day's ordinal and a text for each of the codes.

    The text says what one unit of the base costs in that currency, or what another amount comes to; `missing` stands
    for a code that the sheet lacks.
    """
    held = history.days
    for start in range(bisect_left(held, span.since), bisect_right(held, span.until), SHEETS_AT_ONCE):
        part = held[start : min(start + SHEETS_AT_ONCE, bisect_right(held, span.until))]
        range_of_days = part[0], part[-1]
        sheets = [day.toordinal() for day in part]
        days = sheets if base == "RUB" else list(rates(history, base, "RUB", *range_of_days).days)
        columns = []
        for code in codes:
            if code == base:
                columns.append([plain(amount)] * len(days))
                continue
            found = rates(history, base, code, *range_of_days, amount=amount)
            texts = dict(zip(found.days, found.texts, strict=True))
            columns.append([texts.get(day, missing) for day in days])
        yield from zip(days, zip(*columns, strict=True) if columns else [()] * len(days), strict=True)


def json_object(codes: Sequence[str], texts: Sequence[str]) -> str:
    """`{"EUR":0.92,"RUB":91.5}`, without those that have no text."""
    return "{" + ",".join([f'"{code}":{text}' for code, text in zip(codes, texts, strict=True) if text]) + "}"
