"""Series: the rates of several currencies over a range of days, as they were set and day by day.

Numbers become text thousands at a time, at the speed of C.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from functools import lru_cache
from itertools import repeat
from operator import mul

from ratesvc.domain.columns import SCALE, Days
from ratesvc.domain.history import History
from ratesvc.domain.rates import EXACT, FIRST_DAY, OLD_IN_NEW, ONE, REDENOMINATION, plain, ratios
from ratesvc.domain.workdays import ONE_DAY
from ratesvc.errors import TooManyPoints
from ratesvc.features.ranges.conversion import AMOUNT_SIGNIFICANT

MOST_POINTS = 75_000
"""The longest series: five currencies on every day since 1992, with a few years to come. Dialects have it, too."""
_FACTORS = [10**power for power in range(8, -1, -1)]
"""By the power of ten of a nominal, of which the parser takes none above 8."""


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
    days = replace(params.days, until=last_set(history, params, today)) if params.daily else params.days
    return count_points(history, len(params.codes), days, daily=params.daily, elsewhere=elsewhere)


def last_set(history: History, params: SeriesParams, today: date) -> date:
    """The last day of the range whose sheet in force is set; today always has one, and days to come may."""
    gap = history.first_uncertain(Days(today + ONE_DAY, params.days.until))
    return gap - ONE_DAY if gap else params.days.until


def revisions(history: History) -> dict[date, int]:
    """The number of each sheet's latest revision where that is not 1."""
    return {revision.effective_date: revision.number for revision in history.documents() if revision.number > 1}


def series(history: History, code: str, params: SeriesParams) -> list[tuple[date, Decimal]]:
    """Effective dates and unit rates of a currency, oldest first."""
    return [(date.fromordinal(day), rate) for day, rate in rates_of(history, code, params).items()]


def carried_rates(
    history: History, code: str, params: SeriesParams, today: date
) -> tuple[dict[int, int], dict[int, str]]:
    """Each day that is set, or each of the `dates`, with the effective date of its sheet; and the rates by those dates.

    Days on which that sheet lacks the currency are left out.
    """
    since, until = params.days.since.toordinal(), last_set(history, params, today).toordinal()
    days = [day.toordinal() for day in params.dates] or range(since, until + 1)
    in_force = carried(history, days, today)
    sheets, texts = sorted(map(date.fromordinal, {*in_force.values()})), dict[int, str]()
    # Between chosen days nothing is computed.
    parts = [Days(day, day) for day in sheets] if params.dates else [Days(day, sheets[-1]) for day in sheets[:1]]
    for part in parts:
        texts |= texts_of(rates_of(history, code, replace(params, days=part)))
    return {day: of for day, of in in_force.items() if of in texts}, texts


def texts_of(rates: Mapping[int, Decimal]) -> dict[int, str]:
    """Every number as a decimal literal."""
    texts = list(map(str, rates.values()))
    # str is three times as fast as plain and gives the same text if it writes no exponent.
    return dict(zip(rates, map(plain, rates.values()) if "E" in "".join(texts) else texts, strict=True))


def rates_of(history: History, code: str, params: SeriesParams, amount: Decimal = ONE) -> dict[int, Decimal]:
    """Unit rates of the sheets in the range that have the currency and the quote: exact in roubles, else rounded once.

    By the ordinals of their effective dates, oldest first; 100 may be 1E+2. Another `amount` is converted instead of
    one unit, to AMOUNT_SIGNIFICANT digits in roubles, too.
    """
    ordinals, units, divisors = quotients(history, code, params)
    if amount != ONE:
        found = ratios(map(EXACT.multiply, repeat(amount), units), divisors, AMOUNT_SIGNIFICANT)
    else:
        found = map(EXACT.divide, units, divisors) if params.quote == "RUB" else ratios(units, divisors)
    return dict(zip(ordinals, found, strict=True))


def quotients(history: History, code: str, params: SeriesParams) -> tuple[Sequence[int], list[int], list[int]]:
    """The days of the sheets that have both, and for each what one unit of both costs, in one unit of account."""
    units, divisors = _units(history, code, params), _units(history, params.quote, params)
    # They are almost in order, which a set would lose.
    ordinals = [day for day in sorted(units) if day in divisors]
    return ordinals, [units[day] for day in ordinals], [divisors[day] for day in ordinals]


def _units(history: History, code: str, params: SeriesParams) -> dict[int, int]:
    """What one unit costs on each day, in parts of a rouble that make every price whole.

    A rouble costs as much in every sheet, and a new one as much as the old ones before 1998. If a currency has several
    ids, the earliest id counts.
    """
    if code == "RUB":
        new = 10**SCALE * _FACTORS[0]
        old = new * OLD_IN_NEW if params.new_roubles else new
        return {day.toordinal(): old if day < REDENOMINATION else new for day in sheets_of(history, params.days)}
    found: dict[int, int] = {}
    for column in reversed(history.columns(code)):
        places = slice(*column.places(params.days))
        factors = map(_FACTORS.__getitem__, column.nominals[places])
        found |= zip(column.days[places], map(mul, column.values[places], factors), strict=True)
    return found


def carried(history: History, days: Iterable[int], today: date) -> dict[int, int]:
    """The effective date of the sheet in force on each of these days, as ordinals; none before the first sheet.

    A sheet that is lacking counts, although it has no rates: no earlier rate applies then.
    """
    lacking = history.missing_days(Days(FIRST_DAY, date.fromordinal(max(days, default=1))), today)
    held = sorted(day.toordinal() for day in {*history.days, *lacking})
    return {day: held[place - 1] for day in days if (place := bisect_right(held, day))}


@lru_cache(maxsize=16384)
def iso(ordinal: int) -> str:
    """2025-04-01."""
    return date.fromordinal(ordinal).isoformat()
