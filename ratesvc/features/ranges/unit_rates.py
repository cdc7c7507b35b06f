"""Series: the rates of several currencies over a range of days, as they were set and day by day.

Numbers become text thousands at a time, at the speed of C.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from functools import lru_cache, partial
from itertools import repeat
from operator import mul
from typing import TypeVar

from ratesvc.domain.columns import SCALE, Column, Days
from ratesvc.domain.history import History
from ratesvc.domain.rates import EXACT, FIRST_DAY, OLD_IN_NEW, ONE, REDENOMINATION, plain, ratios, trimmed
from ratesvc.domain.workdays import ONE_DAY
from ratesvc.errors import TooManyPoints
from ratesvc.features.ranges.conversion import AMOUNT_SIGNIFICANT

Number = TypeVar("Number", int, Decimal)
MOST_POINTS = 75_000
"""The longest series: five currencies on every day since 1992, with a few years to come. Dialects have it, too."""


@dataclass(frozen=True, slots=True)
class SeriesParams:
    """The parameters of a series: `daily` has every day, `group` is a period or empty.

    `new_roubles` divides what is before 1998. With `dates` only these days of the range count.
    """

    codes: tuple[str, ...]
    days: Days
    quote: str = "RUB"
    daily: bool = False
    group: str = ""
    new_roubles: bool = False
    dates: tuple[date, ...] = ()


def count_points(history: History, currencies: int, days: Days, *, daily: bool = False, elsewhere: str = "") -> int:
    """The greatest count of points: currencies × days, which are all days if `daily`, else days with a sheet.

    Raises TooManyPoints if it is more than MOST_POINTS, before anything is rendered; `elsewhere` is its last sentence.
    """
    count = max((days.until - days.since).days + 1, 0) if daily else len(sheets_of(history, days))
    if currencies * count > MOST_POINTS:
        raise TooManyPoints(currencies, count, MOST_POINTS, elsewhere)
    return currencies * count


def sheets_of(history: History, days: Days) -> list[date]:
    """The effective dates in the range, oldest first."""
    return history.days[bisect_left(history.days, days.since) : bisect_right(history.days, days.until)]


def points_of(history: History, params: SeriesParams, today: date, elsewhere: str = "") -> int:
    """The greatest count of points of a series. Raises TooManyPoints, as `count_points` does."""
    if params.dates:
        return len(params.codes) * len(params.dates)
    until = last_set(history, params, today) if params.daily else params.days.until
    days = replace(params.days, until=until)
    return count_points(history, len(params.codes), days, daily=params.daily, elsewhere=elsewhere)


def last_set(history: History, params: SeriesParams, today: date) -> date:
    """The last day of the range whose sheet in force is set; today always has one, and days to come may."""
    gap = history.first_uncertain(Days(today + ONE_DAY, params.days.until))
    return gap - ONE_DAY if gap else params.days.until


def revisions(history: History) -> dict[date, int]:
    """The number of each sheet's latest revision where that is not 1."""
    return {revision.effective_date: revision.number for revision in history.documents() if revision.number > 1}


def dated_rates(history: History, code: str, params: SeriesParams) -> list[tuple[date, Decimal]]:
    """Effective dates and unit rates of a currency, oldest first."""
    rates = rates_of(history, code, params)
    return list(zip(map(date.fromordinal, rates.days), rates.numbers, strict=True))


def carried_rates(history: History, code: str, params: SeriesParams, today: date) -> list[tuple[int, int, str]]:
    """Each day that is set, or each of the `dates`; the effective date of the sheet in force on it, and its rate.

    Days on which that sheet lacks the currency are left out.
    """
    since, until = params.days.since.toordinal(), last_set(history, params, today).toordinal()
    days = [day.toordinal() for day in params.dates] or range(since, until + 1)
    in_force = carried(history, days, today)
    sheets, texts = sorted(map(date.fromordinal, {*in_force} - {0})), dict[int, str]()
    # The sheets between chosen days would cost as much as all others.
    parts = [Days(day, day if params.dates else sheets[-1]) for day in sheets]
    for part in parts if params.dates else parts[:1]:
        rates = rates_of(history, code, replace(params, days=part))
        texts |= zip(rates.days, rates.texts, strict=True)
    return [(day, of, texts[of]) for day, of in zip(days, in_force, strict=True) if of in texts]


@dataclass(frozen=True, slots=True)
class Rates:
    """Unit rates by effective date, oldest first: ordinals of days, and as many numbers, of which 100 may be 1E+2."""

    days: Sequence[int]
    numbers: Sequence[Decimal]

    @property
    def texts(self) -> list[str]:
        """Every number as a decimal literal."""
        texts = list(map(str, self.numbers))
        # str is three times as fast as plain and gives the same text if it writes no exponent.
        return list(map(plain, self.numbers)) if "E" in "".join(texts) else texts


def rates_of(history: History, code: str, params: SeriesParams) -> Rates:
    """The unit rates of one currency in the range, in new roubles if the parameters say so."""
    rates = rates_between(history, code, params.quote, params.days)
    old = _old_places(rates.days, code, params)
    if not old:
        return rates
    # A power of ten moves the point of a rounded number and changes none of its digits.
    return Rates(rates.days, [*(in_new_roubles(number, code) for number in rates.numbers[:old]), *rates.numbers[old:]])


def quotients_of(history: History, code: str, params: SeriesParams) -> tuple[Sequence[int], list[int], list[int]]:
    """What `quotients` gives for the range, in new roubles if the parameters say so."""
    days, units, divisors = quotients(history, code, params.quote, params.days)
    roubles = units if code == "RUB" else divisors
    for place in range(_old_places(days, code, params)):
        roubles[place] *= OLD_IN_NEW
    return days, units, divisors


def in_new_roubles(rate: Decimal, base: str) -> Decimal:
    """A rate in old roubles, or of one old rouble if `base` is RUB, in new ones."""
    change = EXACT.multiply if base == "RUB" else EXACT.divide
    return trimmed(change(rate, Decimal(OLD_IN_NEW)))


def _old_places(days: Sequence[int], code: str, params: SeriesParams) -> int:
    """How many of the days have old roubles that are to become new ones."""
    is_asked = params.new_roubles and "RUB" in (code, params.quote)
    return bisect_left(days, REDENOMINATION.toordinal()) if is_asked else 0


def rates_between(history: History, code: str, quote: str, days: Days, *, amount: Decimal = ONE) -> Rates:
    """Unit rates of the sheets in the range that have both: exact in roubles, else rounded once.

    Another `amount` is converted instead of one unit, to AMOUNT_SIGNIFICANT digits in roubles, too.
    """
    if quote == "RUB" != code and amount == ONE:
        return Rates(*_records(history.columns(code), days, exact))
    ordinals, units, divisors = quotients(history, code, quote, days)
    if amount == ONE:
        return Rates(ordinals, list(ratios(units, divisors)))
    return Rates(ordinals, list(ratios(map(EXACT.multiply, repeat(amount), units), divisors, AMOUNT_SIGNIFICANT)))


def quotients(history: History, code: str, quote: str, days: Days) -> tuple[Sequence[int], list[int], list[int]]:
    """The days of the sheets that have both, and for each what one unit of both costs, in one unit of account."""
    columns = (*history.columns(code), *history.columns(quote))
    nominals = (column.nominals[slice(*column.places(days))] for column in columns)
    power = max((max(powers, default=0) for powers in nominals), default=0)
    ordinals, units = _units(history, code, days, power)
    others, divisors = _units(history, quote, days, power)
    if ordinals != others:
        ours, theirs = dict(zip(ordinals, units, strict=True)), dict(zip(others, divisors, strict=True))
        ordinals = [day for day in ordinals if day in theirs]
        units, divisors = [ours[day] for day in ordinals], [theirs[day] for day in ordinals]
    return ordinals, units, divisors


def _units(history: History, code: str, days: Days, power: int) -> tuple[list[int], list[int]]:
    """Days, and what one unit costs on each, as `scaled` counts; a rouble costs as much in every sheet."""
    if code == "RUB":
        sheets = [day.toordinal() for day in sheets_of(history, days)]
        return sheets, [10 ** (SCALE + power)] * len(sheets)
    return _records(history.columns(code), days, partial(scaled, power=power))


def _records(
    columns: list[Column], within: Days, read: Callable[[Column, int, int], list[Number]]
) -> tuple[list[int], list[Number]]:
    """Days, and the value of each; if a currency has several ids, the earliest id counts."""
    merged: dict[int, Number] = {}
    for column in reversed(columns):
        first, last = column.places(within)
        merged |= zip(column.days[first:last], read(column, first, last), strict=True)
    ordered = sorted(merged)
    return ordered, [merged[day] for day in ordered]


def carried(history: History, days: Sequence[int], today: date) -> list[int]:
    """The effective date of the sheet in force on each of these days, oldest first, as ordinals.

    0 before the first sheet. A sheet that is lacking counts, although it has no rates: no earlier rate applies then.
    """
    lacking = history.missing_days(Days(FIRST_DAY, date.fromordinal(max(days, default=1))), today)
    held = sorted(day.toordinal() for day in {*history.days, *lacking})
    return [held[place - 1] if (place := bisect_right(held, day)) else 0 for day in days]


@lru_cache(maxsize=16384)
def iso(ordinal: int) -> str:
    """2025-04-01."""
    return date.fromordinal(ordinal).isoformat()


def series(history: History, code: str, days: Days) -> list[tuple[date, Decimal]]:
    """Effective date and exact unit rate in roubles of every sheet of these days that has the currency."""
    rates = rates_between(history, code, "RUB", days)
    return [(date.fromordinal(day), trimmed(rate)) for day, rate in zip(rates.days, rates.numbers, strict=True)]


# One column


def exact(column: Column, first: int, last: int) -> list[Decimal]:
    """The unit rates in these places; 100 may be 1E+2."""
    powers = [-SCALE - nominal for nominal in column.nominals[first:last]]
    return list(map(EXACT.normalize, map(Decimal.scaleb, map(Decimal, column.values[first:last]), powers)))


def scaled(column: Column, first: int, last: int, power: int) -> list[int]:
    """The unit rates in these places as whole numbers of 10^-(4 + power) roubles; no nominal is above 10^power."""
    factors = [10 ** (power - nominal) for nominal in range(power + 1)]
    return list(map(mul, column.values[first:last], map(factors.__getitem__, column.nominals[first:last])))
