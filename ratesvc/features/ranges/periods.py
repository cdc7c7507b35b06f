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
from ratesvc.domain.history import NEAR, History, certain_date
from ratesvc.domain.rates import EXACT, REDENOMINATION, Change, plain, rounded, trimmed
from ratesvc.domain.workdays import ONE_DAY
from ratesvc.features.ranges.unit_rates import SeriesParams, iso, last_set, quotients, rates_of
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
    *("change", "change_percent", "count", "first_effective_date", "last_effective_date", "complete"),
)
"""The fields of a period."""


def summaries(history: History, code: str, params: SeriesParams, today: date) -> Iterator[Mapping[str, str]]:
    """Each period of the range that has a rate, oldest first: the texts of SUMMARY, rounded once each.

    The effective dates are those of the first and the last sheet that count. The change is that of the last rate since
    the last one before the period, also if the range begins later. It is empty where the sheet before the period is not
    known or has no rate within a month, and from old to new roubles. A period is complete if no sheet can be added.
    """
    bounds, is_split = PERIODS[params.group], "RUB" in (code, params.quote) and not params.new_roubles
    # With the month before the first period, because its change is counted from the last rate of that month.
    wide = replace(params, days=replace(params.days, since=bounds(params.days.since).since - NEAR))
    ordinals, units, divisors = quotients(history, code, wide)
    numbers, until = [*rates_of(history, code, wide).values()], last_set(history, params, today)

    def change(since: date, last: int) -> Change | None:
        first = bisect_left(ordinals, since.toordinal())
        before = first - 1
        known = certain_date(history.days, history.calendar, history.coverage, since - ONE_DAY)
        if before < 0 or known is None or ordinals[first] - ordinals[before] > NEAR.days:
            return None
        if is_split and ordinals[before] < REDENOMINATION.toordinal() <= ordinals[first]:
            return None
        now, then = units[last] * divisors[before], units[before] * divisors[last]
        return Change(trimmed(EXACT.subtract(numbers[last], numbers[before])), Decimal(now - then), Decimal(then))

    start = bisect_left(ordinals, params.days.since.toordinal())
    for period, places in _places(ordinals, bounds, start, is_split=is_split):
        first, last = places.start, places.stop - 1
        moved = change(period.since, last)
        is_whole = Days(params.days.since, until).covers(period) and not history.missing_days(period, today)
        yield {
            "since": str(period.since),
            "until": str(period.until),
            "code": code,
            "mean_rate": plain(mean(units[places], divisors[places])),
            "first_rate": plain(numbers[first]),
            "last_rate": plain(numbers[last]),
            "min_rate": plain(min(numbers[places])),
            "max_rate": plain(max(numbers[places])),
            "change": plain(moved.absolute) if moved else "",
            "change_percent": plain(moved.percent(PERCENT_PLACES)) if moved else "",
            "count": str(places.stop - first),
            "first_effective_date": iso(ordinals[first]),
            "last_effective_date": iso(ordinals[last]),
            "complete": "true" if is_whole else "false",
        }


def _places(ordinals: Sequence[int], bounds: Bounds, start: int = 0, *, is_split: bool) -> Iterator[tuple[Days, slice]]:
    """Each period that has a day, and the places of its days. `is_split` parts the week of old and new roubles."""
    while start < len(ordinals):
        day = date.fromordinal(ordinals[start])
        period = bounds(day)
        if is_split and period.since < REDENOMINATION <= period.until:
            is_old = day < REDENOMINATION
            period = Days(period.since, REDENOMINATION - ONE_DAY) if is_old else Days(REDENOMINATION, period.until)
        end = bisect_right(ordinals, period.until.toordinal(), start)
        yield period, slice(start, end)
        start = end


def mean(numerators: Sequence[int], denominators: Sequence[int]) -> Decimal:
    """The mean of these quotients, over a common denominator and so rounded once. There must be a quotient."""
    sums: Counter[int] = Counter()
    for numerator, denominator in zip(numerators, denominators, strict=True):
        sums[denominator] += numerator
    total, common = 0, 1
    for denominator, part in sums.items():
        total, common = total * denominator + part * common, common * denominator
    return trimmed(rounded(Decimal(total), Decimal(common * len(numerators))))
