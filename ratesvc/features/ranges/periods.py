"""Weeks, months, quarters and years: their bounds, and the rates of each in a few figures."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from functools import partial

from ratesvc.domain.columns import Days
from ratesvc.domain.history import NEAR, History
from ratesvc.domain.rates import EXACT, REDENOMINATION, Change, plain, rounded, trimmed
from ratesvc.domain.workdays import ONE_DAY
from ratesvc.features.ranges.unit_rates import SeriesParams, iso, quotients, rates_of, sheets_of
from ratesvc.render.json import PERCENT_PLACES

Bounds = Callable[[date], Days]
"""The first and the last day of a day's period."""


def _week(day: date) -> Days:
    """Monday to Sunday."""
    monday = day - timedelta(days=day.weekday())
    return Days(monday, monday + timedelta(days=6))


def _months(length: int, day: date) -> Days:
    """So many calendar months, counted from January."""
    first = day.replace(month=day.month - (day.month - 1) % length, day=1)
    return Days(first, (first + timedelta(days=31 * length)).replace(day=1) - ONE_DAY)


month: Bounds = partial(_months, 1)
PERIODS: Mapping[str, Bounds] = {
    "week": _week,
    "month": month,
    "quarter": partial(_months, 3),
    "year": partial(_months, 12),
}


SUMMARY = (
    *("since", "until", "code", "mean_rate", "first_rate", "last_rate", "min_rate", "max_rate"),
    *("change", "change_percent", "previous_effective_date"),
    *("count", "first_effective_date", "last_effective_date", "complete"),
)
"""The fields of a period."""


def summaries(
    history: History, code: str, params: SeriesParams, today: date, *, blank: bool = False
) -> Iterator[Mapping[str, str]]:
    """Each period of the range that has a rate, oldest first: the texts of SUMMARY, rounded once each.

    The effective dates are those of the first and the last sheet that count, and of the last before the period that has
    a rate, also if the range begins later: the change is counted from there. It is empty if that sheet is not known, or
    more than 31 days before the first that counts, and from old to new roubles. A period is complete if no sheet can be
    added. If `blank`, a period with sheets that have no rate comes, too, without figures.
    """
    bounds, is_split = PERIODS[params.group], "RUB" in (code, params.quote) and not params.new_roubles
    # With the month before the first period, because its change is counted from the last rate of that month.
    wide = replace(params, days=replace(params.days, since=bounds(params.days.since).since - NEAR))
    ordinals, units, divisors = quotients(history, code, wide)
    numbers = [*rates_of(history, code, wide).values()]

    def moved(since: date, last: int) -> dict[str, str]:
        first = bisect_left(ordinals, since.toordinal())
        before = first - 1
        known = history.known.in_force_on(since - ONE_DAY)
        if before < 0 or known is None or code == params.quote or ordinals[first] - ordinals[before] > NEAR.days:
            return {}
        if is_split and ordinals[before] < REDENOMINATION.toordinal() <= ordinals[first]:
            return {}
        now, then = units[last] * divisors[before], units[before] * divisors[last]
        difference, common = Decimal(now - then), Decimal(divisors[last] * divisors[before])
        absolute = EXACT.divide(difference, common) if params.quote == "RUB" else rounded(difference, common)
        change = Change(trimmed(absolute), difference, Decimal(then))
        return {
            "change": plain(change.absolute),
            "change_percent": plain(change.percent(PERCENT_PLACES)),
            "previous_effective_date": iso(ordinals[before]),
        }

    start = bisect_left(ordinals, params.days.since.toordinal())
    days = [day.toordinal() for day in sheets_of(history, params.days)] if blank else ordinals[start:]
    for period in _periods(days, bounds, is_split=is_split):
        first = bisect_left(ordinals, period.since.toordinal(), start)
        stop = bisect_right(ordinals, period.until.toordinal(), first)
        places = slice(first, stop)
        is_whole = params.days.covers(period) and not history.missing_days(period, today)
        figures = first < stop and {
            "mean_rate": plain(mean(units[places], divisors[places])),
            "first_rate": plain(numbers[first]),
            "last_rate": plain(numbers[stop - 1]),
            "min_rate": plain(min(numbers[places])),
            "max_rate": plain(max(numbers[places])),
            **moved(period.since, stop - 1),
            "first_effective_date": iso(ordinals[first]),
            "last_effective_date": iso(ordinals[stop - 1]),
        }
        yield {
            **dict.fromkeys(SUMMARY, ""),
            **(figures or {}),
            "since": str(period.since),
            "until": str(period.until),
            "code": code,
            "count": str(stop - first),
            "complete": "true" if is_whole else "false",
        }


def _periods(ordinals: Sequence[int], bounds: Bounds, *, is_split: bool) -> Iterator[Days]:
    """Each period that has one of the days. `is_split` parts the week of old and new roubles."""
    place = 0
    while place < len(ordinals):
        day = date.fromordinal(ordinals[place])
        period = bounds(day)
        if is_split and period.since < REDENOMINATION <= period.until:
            is_old = day < REDENOMINATION
            period = Days(period.since, REDENOMINATION - ONE_DAY) if is_old else Days(REDENOMINATION, period.until)
        place = bisect_right(ordinals, period.until.toordinal(), place)
        yield period


def mean(numerators: Sequence[int], denominators: Sequence[int]) -> Decimal:
    """The mean of these quotients, over a common denominator and so rounded once. There must be a quotient."""
    sums: Counter[int] = Counter()
    for numerator, denominator in zip(numerators, denominators, strict=True):
        sums[denominator] += numerator
    total, common = 0, 1
    for denominator, part in sums.items():
        total, common = total * denominator + part * common, common * denominator
    return trimmed(rounded(Decimal(total), Decimal(common * len(numerators))))
