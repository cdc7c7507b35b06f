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
from ratesvc.errors import TooManyPoints, UnknownCurrency
from ratesvc.features.ranges.conversion import AMOUNT_SIGNIFICANT

MOST_POINTS = 75_000
"""The longest series: five currencies on every day since 1992, with a few years to come. Dialects have it, too."""
_FACTORS = [10**power for power in range(8, -1, -1)]
"""By the power of ten of a nominal, of which the parser takes none above 8."""


@dataclass(frozen=True, slots=True)
class SeriesParams:
    """The parameters of a series: `daily` has every day, `group` is a period or empty.

    `new_roubles` divides what is before 1998. With `dates` only these days of the range count. The codes are `named`
    by the request, or all.
    """

    codes: tuple[str, ...]
    days: Days
    quote: str = "RUB"
    daily: bool = False
    group: str = ""
    new_roubles: bool = False
    dates: tuple[date, ...] = ()
    named: bool = False


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
    days = replace(params.days, until=last_set(history, params.days, today)) if params.daily else params.days
    return count_points(history, len(params.codes), days, daily=params.daily, elsewhere=elsewhere)


def last_set(history: History, days: Days, today: date) -> date:
    """The last day of the range whose sheet in force is set; today always has one, and days to come may."""
    newest_ends = history.calendar.may_end(history.days[-1]) - ONE_DAY if history.days else today
    return min(days.until, max(today, newest_ends))


def shown_days(history: History, params: SeriesParams, today: date) -> dict[int, int]:
    """Each day of a series with the effective date of its sheet, as ordinals; none whose sheet is not held.

    The days are those of sheets, or each that is set, or the `dates`.
    """
    held = {day.toordinal() for day in history.days}
    if params.dates or params.daily:
        since, until = params.days.since.toordinal(), last_set(history, params.days, today).toordinal()
        days = [day.toordinal() for day in params.dates] or range(since, until + 1)
        return {day: of for day, of in carried(history, days, today).items() if of in held}
    return {day.toordinal(): day.toordinal() for day in sheets_of(history, params.days)}


def lacking(history: History, params: SeriesParams, sheets: Sequence[date]) -> list[str]:
    """The named currencies, and the quote, that one of the sheets lacks, sorted; the sheets are in order.

    Raises UnknownCurrency if all of them lack the quote, or every named currency.
    """
    asked, found = {"quote_currency": (params.quote,), "codes": params.codes if params.named else ()}, set[str]()
    for parameter, codes in asked.items() if sheets else ():
        counts = {code: sum(len(_units(history, code, part)) for part in _parts(params, sheets)) for code in codes}
        if codes and not any(counts.values()):
            raise UnknownCurrency(min(codes), effective=sheets[0], until=sheets[-1], parameter=parameter)
        found |= {code for code in codes if counts[code] < len(sheets)}
    return sorted(found)


def revisions(history: History) -> dict[date, int]:
    """The number of each sheet's latest revision where that is not 1."""
    return {day: latest.number for day, latest in history.latest_own.items() if latest.number > 1}


def series(history: History, code: str, params: SeriesParams) -> list[tuple[date, Decimal]]:
    """Effective dates and unit rates of a currency, oldest first."""
    return [(date.fromordinal(day), rate) for day, rate in rates_of(history, code, params).items()]


def sheet_texts(history: History, code: str, params: SeriesParams, sheets: Sequence[date]) -> dict[int, str]:
    """The rates of a currency in these sheets, which are in order, as decimal literals by their effective dates."""
    texts = dict[int, str]()
    for part in _parts(params, sheets):
        texts |= texts_of(rates_of(history, code, part))
    return texts


def _parts(params: SeriesParams, sheets: Sequence[date]) -> list[SeriesParams]:
    """The series of the days of these sheets. Between chosen days nothing is computed."""
    days = [Days(day, day) for day in sheets] if params.dates else [Days(day, sheets[-1]) for day in sheets[:1]]
    return [replace(params, days=part) for part in days]


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
