"""Sheets of the Bank and exact arithmetic on them: Decimal only. Only `rounded` and its bulk twin `ratios` round."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import ROUND_05UP, ROUND_HALF_EVEN, Context, Decimal, Inexact, InvalidOperation
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple

FIRST_DAY = date(1992, 7, 1)
"""The first effective date of the Bank's official rates."""

REDENOMINATION = date(1998, 1, 1)
"""From this day on values are in new roubles (Decree of 4 August 1997, No. 822)."""
OLD_IN_NEW = 1000
"""A new rouble is this many old roubles."""

USD = "R01235"
"""The Bank's id of the dollar. It has been in every sheet, so the days of its series are the days of sheets."""
MOST_USED = ("USD", "EUR", "CNY", "GBP", "JPY", "TRY")
"""Shown where no currency is named, first in lists, and meant by a mistyped code."""

WITHDRAWAL = "withdrawal"
"""The flag of a revision that withdraws the one before it: a person's, unless it has the next flag, too."""
WITHDRAWN_BY_SERVICE = "held_back"
"""The flag of a withdrawal by the service itself. It ends when the Bank's series settle the day."""

ONE = Decimal(1)
_TEN = Decimal(10)
_HUNDRED = Decimal(100)

SIGNIFICANT = 10
"""Digits of cross and inverse rates."""

USUAL_MINOR_UNITS = 2
_UNUSUAL = {
    0: "BEF BIF BYB BYR CLP DJF ESP GNF GRD ISK ITL JPY KMF KRW LUF PTE PYG RWF TRL UGX VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
}
MINOR_UNITS = {code: places for places, codes in _UNUSUAL.items() for code in codes.split()}
"""Decimals of amounts by ISO 4217 where they are not two; CLDR's change with its releases. For XDR ISO has none."""

EXACT = Context(prec=200, traps=[Inexact, InvalidOperation])
"""For sums and products of printed numbers, which are exact. The trap turns a lost digit into an error."""

# ROUND_05UP leaves a last digit that tells a later rounding on which side of a tie the true quotient lies,
# so that rounding this intermediate result equals rounding the exact quotient once.
_STICKY = Context(prec=80, rounding=ROUND_05UP)


def rounded(
    numerator: Decimal, denominator: Decimal = ONE, *, significant: int = SIGNIFICANT, places: int | None = None
) -> Decimal:
    """numerator ÷ denominator, rounded once, half-even: to `places` after the point, or to `significant` digits.

    `ratios` gives the same for many pairs.
    """
    quotient = unrounded(numerator, denominator)
    if places is None:
        return Context(prec=significant, rounding=ROUND_HALF_EVEN).plus(quotient)
    result = quotient.quantize(ONE.scaleb(-places), ROUND_HALF_EVEN, context=_STICKY)
    return result or result.copy_abs()  # zero has no sign


def unrounded(numerator: Decimal, denominator: Decimal) -> Decimal:
    """numerator ÷ denominator to 80 digits; `rounded` makes of it what it would make of the exact quotient."""
    return _STICKY.divide(numerator, denominator)


def ratios(
    numerators: Iterable[Decimal | int], denominators: Iterable[Decimal | int], significant: int = SIGNIFICANT
) -> Iterator[Decimal]:
    """What `rounded` gives for each pair, thousands at the speed of C, in shortest form: 100 may come as 1E+2."""
    context = Context(prec=significant, rounding=ROUND_HALF_EVEN)
    return map(context.normalize, map(_STICKY.divide, numerators, denominators))


def trimmed(number: Decimal) -> Decimal:
    """The same number without trailing zeros, an exponent above zero or a minus before zero (26.7960 → 26.796)."""
    short = EXACT.normalize(EXACT.plus(number))
    return short if EXACT.remainder(short, _TEN) else EXACT.quantize(short, ONE)


def plain(number: Decimal) -> str:
    """The decimal literal: never an exponent nor a sign at zero, so that JSON, CSV and XML get every digit."""
    return format(number or number.copy_abs(), "f")


@dataclass(frozen=True, slots=True)
class Quote:
    """One row of a sheet: `value` roubles for `nominal` units of the base currency, as printed.

    `name` is the Bank's own (Russian, its number following the nominal), `cbr_id` the Bank's opaque id.
    """

    code: str
    numeric_code: str
    cbr_id: str
    nominal: int
    value: Decimal
    name: str

    @property
    def unit_rate(self) -> Decimal:
        """Roubles for one unit, exact: nominals are powers of ten."""
        return trimmed(EXACT.divide(self.value, Decimal(self.nominal)))


ROUBLE = Quote("RUB", "643", "", 1, ONE, "Российский рубль")
"""The rouble as a row, which no sheet has, so it has no id at the Bank."""


@dataclass(frozen=True)
class Sheet:
    """The Bank's table with its effective date, the day from which it is in force; rows in the Bank's order."""

    effective_date: date
    quotes: tuple[Quote, ...]

    @cached_property
    def by_code(self) -> Mapping[str, Quote]:
        """The rows by ISO 4217 code."""
        return MappingProxyType({quote.code: quote for quote in self.quotes})

    @cached_property
    def costs(self) -> Mapping[str, Decimal]:
        """What one unit of each currency costs in roubles, RUB first."""
        return MappingProxyType({"RUB": ONE, **{quote.code: quote.unit_rate for quote in self.quotes}})

    def lacks(self, codes: Iterable[str]) -> list[str]:
        """Those of the codes that are neither here nor the rouble, sorted."""
        return sorted({*codes} - self.costs.keys())

    def says_the_same_as(self, other: Sheet) -> bool:
        """Whether both give the same currencies the same nominals and values; names and order are not official."""
        return self._figures() == other._figures()

    @cached_property
    def checksum(self) -> str:
        """A hash of effective date and figures: equal for sheets that say the same, on every replica."""
        rows = [f"{q.code} {q.numeric_code} {q.cbr_id} {q.nominal} {plain(trimmed(q.value))}" for q in self.quotes]
        return hashlib.sha256("\n".join([self.effective_date.isoformat(), *sorted(rows)]).encode()).hexdigest()

    def _figures(self) -> set[tuple[str, str, str, int, Decimal]]:
        return {(q.code, q.numeric_code, q.cbr_id, q.nominal, q.value) for q in self.quotes}


@dataclass(frozen=True)
class Revision:
    """A sheet as we accepted it. `number` counts from 1; a correction by the Bank gets the next number.

    A withdrawal gets the next number, too. It repeats the sheet that holds again, or has no quotes if the
    day has no sheet any more. So revisions are only added, on every replica and in Redis.

    `fetched_at` is UTC. `flags` are the findings of the admission. `document` is what the Bank sent, compressed by
    zlib, and empty for backfilled figures.
    """

    sheet: Sheet
    number: int
    fetched_at: datetime
    flags: tuple[str, ...] = ()
    document: bytes = field(default=b"", repr=False)

    @property
    def effective_date(self) -> date:
        """The day from which this sheet is in force."""
        return self.sheet.effective_date

    @property
    def key(self) -> tuple[date, int]:
        """What identifies it everywhere: effective date and number."""
        return self.effective_date, self.number

    @property
    def is_withdrawal(self) -> bool:
        """Whether the revision before this one was withdrawn."""
        return WITHDRAWAL in self.flags

    @property
    def raw(self) -> bytes:
        """The Bank's own bytes; empty for backfilled figures."""
        return zlib.decompress(self.document) if self.document else b""


# Derived rates


@dataclass(frozen=True, slots=True)
class Change:
    """How a rate moved since the previous sheet: the difference, rounded once; the exact ratio `moved` ÷ `before`."""

    absolute: Decimal
    moved: Decimal
    before: Decimal

    def percent(self, places: int) -> Decimal:
        """The move in per cent. It comes from the exact ratio: a rounded percentage must not be rounded again."""
        return trimmed(rounded(EXACT.multiply(self.moved, _HUNDRED), self.before, places=places))


@dataclass(frozen=True, slots=True)
class UnitRate:
    """One unit of a base currency in units of a quote currency, and how it moved; `change` is None where unknown."""

    rate: Decimal
    change: Change | None


class Line(NamedTuple):
    """A figure in per cent with its English name, and since when it holds; if it is stale, the day of its last row."""

    name: str
    value: Decimal
    day: date
    is_stale: bool


def cross_rate(base: Decimal, quote: Decimal) -> Decimal:
    """One unit of the base in units of the quote, from what one of each costs in roubles.

    In roubles it is the official number; other rates are rounded to 10 significant digits.
    """
    return base if quote == ONE else trimmed(rounded(base, quote))


def unit_rates(sheet: Sheet, previous: Sheet | None, quote: str = "RUB") -> dict[str, UnitRate]:
    """Every currency of the sheet in `quote`, in the Bank's order, RUB last. The quote itself is 1, without a change.

    Raises KeyError when the sheet has no such quote.
    """
    return {
        base: UnitRate(cross_rate(sheet.costs[base], sheet.costs[quote]), rate_change(sheet, previous, base, quote))
        for base in (*sheet.by_code, "RUB")
    }


def rate_change(sheet: Sheet, previous: Sheet | None, base: str, quote: str = "RUB") -> Change | None:
    """How one rate moved since the previous sheet.

    None if there is no previous sheet, if a sheet lacks one of the currencies, from old to new roubles, and for a
    currency in itself.
    """
    if previous is None or base == quote or not {base, quote} <= sheet.costs.keys() & previous.costs.keys():
        return None
    is_old, was_old = (day.effective_date < REDENOMINATION for day in (sheet, previous))
    if is_old != was_old and "RUB" in (base, quote):
        return None
    now, before = ((day.costs[base], day.costs[quote]) for day in (sheet, previous))
    # Both ratios over one denominator, so that nothing is divided.
    scaled_now, scaled_before = EXACT.multiply(now[0], before[1]), EXACT.multiply(before[0], now[1])
    moved = EXACT.subtract(scaled_now, scaled_before)
    absolute = moved if quote == "RUB" else rounded(moved, EXACT.multiply(now[1], before[1]))
    return Change(trimmed(absolute), moved, scaled_before)


def minor_places(code: str) -> int:
    """The decimals of amounts by ISO 4217: two in roubles and dollars, none in yen."""
    return MINOR_UNITS.get(code, USUAL_MINOR_UNITS)


# Answers


@dataclass(frozen=True)
class InForce:
    """Which rates apply on `requested_date`: a sheet with its neighbours and what to expect."""

    requested_date: date
    revision: Revision
    previous: Revision | None
    following: Revision | None
    next_due_at: datetime | None = None
    next_overdue: bool = False
    stale: bool = False


@dataclass(frozen=True)
class Snapshot:
    """What is known on one Moscow day at one moment: the sheets to show and what to expect next.

    `announced` is not yet in force; `previous` is None when a sheet may be missing before the one in force.
    `publications_missed` counts overdue sheets; `stale` says that today's own sheet is missing. `changed_at` is when
    answers changed last, the same on every replica. From `since` to `until` the clock alone changes none.
    """

    today: date
    in_force: Revision
    previous: Revision | None
    announced: Revision | None
    next_due_at: datetime
    next_late: bool
    publications_missed: int
    stale: bool
    changed_at: datetime
    since: datetime
    until: datetime

    @property
    def next_overdue(self) -> bool:
        """Whether at least one publication is overdue: a ticket, not yet an alarm."""
        return self.publications_missed > 0

    def for_today(self) -> InForce:
        """What applies today."""
        expected = self.next_due_at, self.next_overdue, self.stale
        return InForce(self.today, self.in_force, self.previous, self.announced, *expected)
