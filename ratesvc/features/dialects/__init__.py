"""Other APIs' wire formats: one file each, pure functions from our domain to somebody else's bytes.

Each module holds one DIALECT. `features` in config.yaml lists the modules by name, with - for _.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

from msgspec import Raw

from ratesvc.domain.columns import Days
from ratesvc.domain.history import History
from ratesvc.domain.in_force import in_force
from ratesvc.domain.rates import ONE, Revision, Snapshot
from ratesvc.domain.workdays import iso_day
from ratesvc.errors import STATUSES, HistoryLoading, NotYetSet, RatesvcError
from ratesvc.features.ranges.unit_rates import SeriesParams, rates_of, sheets_of, texts_of
from ratesvc.render.json import encode
from ratesvc.render.language import language_or_default
from ratesvc.render.openapi import Site

JSON = "application/json; charset=utf-8"
SCRIPT = "application/javascript; charset=utf-8"
TEXT = "text/plain; charset=utf-8"
_AMOUNT = re.compile(r"\+?(?:[0-9]{1,15}(?:\.[0-9]{0,10})?|\.[0-9]{1,10})(?:[eE][+-]?[0-9]{1,2})?")
MOST_AMOUNT = 10**15
SHEETS_AT_ONCE = 500
"""The texts of so many sheets are in memory together."""


class Refused(RatesvcError):
    """A dialect refuses a request with its own words and status. With a `media` the text is the whole answer."""

    def __init__(self, status: int, text: str, media: str = "") -> None:
        super().__init__(text)
        self.status, self.media = status, media


@dataclass(frozen=True, slots=True)
class Request:
    """One request: the parameters of its path and query, each once, and the sheets that answer it.

    Most dialects ignore parameters that they do not read. `accept` is the header Accept.
    """

    history: History
    snapshot: Snapshot
    site: Site
    given: Mapping[str, str]
    accept: str = ""

    @property
    def newest(self) -> Revision:
        """The sheet with the latest effective date; in the evening tomorrow's."""
        return self.snapshot.announced or self.snapshot.in_force

    def on(self, day: date, *, ahead: timedelta = timedelta()) -> Revision:
        """The sheet in force on a day, or the newest sheet if the day is to come and at most `ahead` after that.

        Raises the errors of `in_force`.
        """
        try:
            return in_force(self.history, day, self.snapshot.today)
        except NotYetSet:
            if timedelta() < day - self.newest.effective_date <= ahead:
                return self.newest
            raise

    def english_names(self) -> dict[str, str]:
        """Names by code: from the Bank's catalogue, or from CLDR if the catalogue was not fetched."""
        english, held = language_or_default(None), [column.currency for column in self.history.columns()]
        named = {currency.code: currency.english_name for currency in held if currency.english_name}
        return {currency.code: named.get(currency.code) or english.currency(currency.code) for currency in held}

    def amount(self, default: str, refused: str, status: int) -> Decimal:
        """The parameter `amount`: a number below 10^15, which may look like 1e-05, .5 or +5. Raises Refused."""
        # A plus sign in a query is a blank.
        text = self.given.get("amount", default).strip()
        if not _AMOUNT.fullmatch(text) or Decimal(text) >= MOST_AMOUNT:
            raise Refused(status, refused)
        return Decimal(text)

    def code(self, name: str, default: str = "") -> str:
        """One currency code in capitals; it may be unknown."""
        return (self.given.get(name) or default).strip().upper()

    def base(self, default: str, known: Collection[str], refused: str, status: int) -> str:
        """The parameter `base`, a known code. Raises Refused."""
        if (base := self.code("base", default)) in known:
            return base
        raise Refused(status, refused)

    def known(self) -> set[str]:
        """Every code of every held sheet, and RUB."""
        return self.history.codes() | {"RUB"}

    @staticmethod
    def iso_day(text: str, refused: str, status: int) -> date:
        """YYYY-MM-DD as a date. Raises Refused."""
        if day := iso_day(text):
            return day
        raise Refused(status, refused)

    def names(self, codes: set[str]) -> Content:
        """JSON: code → English name."""
        english = language_or_default(None)
        return Content("currencies", JSON, lambda: encode({code: english.currency(code) for code in sorted(codes)}))

    def complete(self, since: date, until: date, *, ahead: timedelta = timedelta()) -> Days:
        """The range from the effective date of the sheet that `on` finds, or from `since` if that is unconfirmed.

        Raises what `on` and `check_no_gap` raise.
        """
        try:
            first = self.on(since, ahead=ahead).effective_date
        except HistoryLoading:
            first = since
        days = Days(first, until)
        self.check_no_gap(days)
        return days

    def check_no_gap(self, days: Days) -> None:
        """Raise HistoryLoading until all of history is fetched, and if no sheet of the range is admitted.

        A range that lacks some sheets is served, and names their days.
        """
        if gap := self.history.first_loading(days):
            raise HistoryLoading(gap)
        lacking = self.history.missing_days(days, self.snapshot.today)
        if lacking and not sheets_of(self.history, days):
            raise HistoryLoading(lacking[0], lacking[0])

    def per_base(
        self, base: str, codes: Sequence[str], days: Days, *, amount: Decimal = ONE, newest_first: bool = False
    ) -> Iterator[tuple[int, Sequence[str]]]:
        """Each sheet of the range that has the base: its day's ordinal and one text for each code.

        The text is the price of one unit of the base in that currency, or the result of converting `amount`, and empty
        if the sheet lacks the code.
        """
        held = sheets_of(self.history, days)[:: -1 if newest_first else 1]
        for start in range(0, len(held), SHEETS_AT_ONCE):
            part, texts = held[start : start + SHEETS_AT_ONCE], dict[str, dict[int, str]]()
            for code in {base, *codes}:
                params = SeriesParams((), Days(min(part), max(part)), code)
                texts[code] = texts_of(rates_of(self.history, base, params, amount))
            for day in map(date.toordinal, part):
                if day in texts[base]:
                    yield day, [texts[code].get(day, "") for code in codes]

    def objects(self, base: str, codes: Sequence[str], days: Days, *, amount: Decimal = ONE) -> dict[int, Raw]:
        """For each sheet of the range that has a rate, by its day's ordinal: `{"EUR":0.92,"RUB":91.5}`."""
        return {
            day: Raw(f"{{{','.join(fields)}}}".encode())
            for day, texts in self.per_base(base, codes, days, amount=amount)
            if (fields := [f'"{code}":{text}' for code, text in zip(codes, texts, strict=True) if text])
        }


@dataclass(frozen=True, slots=True)
class Content:
    """An answer: `write` makes its bytes, `key` tells it from all others of the same dialect and publication.

    `until` is its last day, or the last day of all if it changes with today: settled days are cached longer. `since` is
    the first day of a range: the answer names the unconfirmed days between the two.
    `points` is the greatest possible count of its numbers, 0 if there are few. `by_accept` says that the header Accept
    chose its type.
    """

    key: Hashable
    media: str
    write: Callable[[], bytes]
    until: date = date.max
    points: int = 0
    since: date = date.max
    by_accept: bool = False

    def as_script(self, function: str) -> Content:
        """A script that calls this function of the page with the content."""
        return replace(
            self,
            key=("script", function, self.key),
            media=SCRIPT,
            write=lambda: b"%b(%b);" % (function.encode(), self.write()),
        )


@dataclass(frozen=True, slots=True)
class Dialect:
    """One format: paths with {variables}, below /{name} or below another `prefix`, and how it refuses a request.

    `refuse` writes an error of this status as the dialect's clients know it. `statuses` are those of errors that have
    another status elsewhere. `root` repeats the paths where the original's server has them, for clients that accept
    only a host or a proxy.
    """

    routes: Mapping[str, Callable[[Request], Content]]
    refuse: Callable[[int, RatesvcError], bytes]
    media: str = JSON
    statuses: Mapping[type[RatesvcError], int] = field(default_factory=dict)
    root: str | None = None
    prefix: str = ""

    def refusal(self, error: RatesvcError) -> tuple[int, str, bytes]:
        """Its status, media type and bytes."""
        if isinstance(error, Refused) and error.media:
            return error.status, error.media, str(error).encode()
        status = error.status if isinstance(error, Refused) else {**STATUSES, **self.statuses}[type(error)]
        return status, self.media, self.refuse(status, error)


def in_one_line(_: int, error: RatesvcError) -> bytes:
    """One line of text without a tab, so that no client takes it for a rate."""
    return f"{error}\n".encode()


def unix(day: date, clock: time = time.min) -> int:
    """The Unix time of a day, at midnight UTC or at another time of it."""
    return int(datetime.combine(day, clock, UTC).timestamp())


def split(text: str) -> frozenset[str]:
    """The parts of `usd, EUR`, in capitals."""
    return frozenset(filter(None, map(str.strip, text.upper().split(","))))


def with_point(text: str) -> str:
    """1.0 for 1: a number that clients take for a float."""
    return text if "." in text else f"{text}.0"
