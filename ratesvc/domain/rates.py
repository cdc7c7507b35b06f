"""The domain: what the Bank prints in one row, and the arithmetic on it. Decimal only, one rounding."""

from __future__ import annotations

import hashlib
import zlib
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import ROUND_05UP, ROUND_HALF_EVEN, Context, Decimal, Inexact, InvalidOperation
from functools import cached_property
from types import MappingProxyType

FIRST_DAY = date(1992, 7, 1)
"""The first effective date of the Bank's official rates."""

REDENOMINATION = date(1998, 1, 1)
"""From this day on values are in new roubles (Decree of 4 August 1997, No. 822)."""
OLD_IN_NEW = 1000
"""So many old roubles are one of them."""

MOST_USED = ("USD", "EUR", "CNY", "GBP", "JPY", "CHF", "KZT", "BYN", "TRY", "UAH", "AED", "INR")

ONE = Decimal(1)
_TEN = Decimal(10)
_HUNDRED = Decimal(100)

_SIMILAR_ENOUGH = 3

# Sums and products of printed numbers are exact: the trap makes a lost digit an error, never a habit.
EXACT = Context(prec=200, traps=[Inexact, InvalidOperation])

# ROUND_05UP leaves a last digit that tells a later rounding on which side of a tie the true quotient lies,
# so that rounding this intermediate result equals rounding the exact quotient once.
_STICKY = Context(prec=80, rounding=ROUND_05UP)
SIGNIFICANT = 10
"""Digits of cross and inverse rates."""
_TEN_DIGITS = Context(prec=SIGNIFICANT, rounding=ROUND_HALF_EVEN)


def rounded(
    numerator: Decimal, denominator: Decimal = ONE, *, significant: int | None = None, places: int | None = None
) -> Decimal:
    """numerator ÷ denominator, rounded once, half-even: the only rounding in this program.

    Either to `significant` digits or to `places` after the decimal point.
    """
    quotient = _STICKY.divide(numerator, denominator)
    if places is not None:
        found = quotient.quantize(ONE.scaleb(-places), ROUND_HALF_EVEN, context=_STICKY)
        return found or found.copy_abs()  # nothing has no sign
    context = Context(prec=significant, rounding=ROUND_HALF_EVEN) if significant else _TEN_DIGITS
    return context.plus(quotient)


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


def unrounded(numerator: Decimal, denominator: Decimal) -> Decimal:
    """numerator ÷ denominator to 80 digits, from which `rounded` makes what it would make of the exact quotient."""
    return _STICKY.divide(numerator, denominator)


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


@dataclass(frozen=True)
class Sheet:
    """The Bank's table with its effective date, the day from which it is in force; rows in the Bank's order."""

    effective_date: date
    quotes: tuple[Quote, ...]

    @cached_property
    def by_code(self) -> Mapping[str, Quote]:
        """The rows by ISO 4217 code."""
        return MappingProxyType({quote.code: quote for quote in self.quotes})

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
    """One accepted wording of a sheet, with its provenance.

    `number` counts from 1; a correction by the Bank is the next number and the older one stays.
    `fetched_at` is UTC; `flags` are the guards' remarks; `document` is what the Bank sent, compressed by zlib, and
    empty where the figures were backfilled. `admitted` is False for one that a version without admission stored.
    """

    sheet: Sheet
    number: int
    fetched_at: datetime
    flags: tuple[str, ...] = ()
    document: bytes = field(default=b"", repr=False)
    admitted: bool = field(default=True, repr=False, compare=False)

    @property
    def effective_date(self) -> date:
        """The day from which this sheet is in force."""
        return self.sheet.effective_date

    @property
    def key(self) -> tuple[date, int]:
        """What identifies it everywhere: effective date and number."""
        return self.effective_date, self.number

    @property
    def raw(self) -> bytes:
        """The Bank's own bytes; none where the figures were backfilled."""
        return zlib.decompress(self.document) if self.document else b""


@dataclass(frozen=True, slots=True)
class Change:
    """The move of one unit's rate against the previous sheet: `absolute` as shown, and as the exact ratio to it."""

    absolute: Decimal
    moved: Decimal
    before: Decimal

    def percent(self, places: int) -> Decimal:
        """moved ÷ before in per cent. Always from the exact ratio: a rounded percentage must not be rounded again."""
        return trimmed(rounded(EXACT.multiply(self.moved, _HUNDRED), self.before, places=places))


@dataclass(frozen=True, slots=True)
class UnitRate:
    """One unit of a base currency in units of a quote currency, and how it moved; `change` is None where unknown."""

    rate: Decimal
    change: Change | None


@dataclass(frozen=True, slots=True)
class _Ratio:
    """An unrounded rate: numerator ÷ denominator roubles."""

    numerator: Decimal
    denominator: Decimal = ONE

    @property
    def shown(self) -> Decimal:
        """Official numbers as they are, cross and inverse rates to 10 significant digits."""
        return self.numerator if self.denominator == ONE else trimmed(rounded(self.numerator, self.denominator))

    def change_from(self, before: _Ratio) -> Change:
        """The difference of the two shown rates, and the exact relative move."""
        now_part = EXACT.multiply(self.numerator, before.denominator)
        before_part = EXACT.multiply(before.numerator, self.denominator)
        absolute = trimmed(EXACT.subtract(self.shown, before.shown))
        return Change(absolute, EXACT.subtract(now_part, before_part), before_part)


def unit_rates(sheet: Sheet, previous: Sheet | None, quote: str = "RUB") -> dict[str, UnitRate]:
    """Every base currency of the sheet in `quote`, in the Bank's order and RUB last; the quote itself is left out.

    Change is against the previous effective sheet: None where a currency, or the quote, has no row there, and across
    1998-01-01. Raises KeyError when the sheet has no such quote.
    """
    now = _ratios(sheet, quote)
    before = _ratios(previous, quote) if previous and _comparable(sheet, previous, quote) else {}
    return {
        code: UnitRate(ratio.shown, ratio.change_from(before[code]) if code in before else None)
        for code, ratio in now.items()
    }


def change_in_roubles(sheet: Sheet, previous: Sheet | None, code: str) -> Change | None:
    """How one currency moved in roubles: what `unit_rates` says of it, without the others."""
    if previous is None or not _comparable(sheet, previous, "RUB"):
        return None
    now, before = sheet.by_code.get(code), previous.by_code.get(code)
    return _Ratio(now.unit_rate).change_from(_Ratio(before.unit_rate)) if now and before else None


def _comparable(sheet: Sheet, previous: Sheet, quote: str) -> bool:
    same_rouble = (previous.effective_date < REDENOMINATION) == (sheet.effective_date < REDENOMINATION)
    return same_rouble and (quote == "RUB" or quote in previous.by_code)


def in_one_rouble(points: Sequence[tuple[date, Decimal]]) -> Sequence[tuple[date, Decimal]]:
    """Effective dates and rates in roubles, oldest first, without those in old ones where the last is in new ones."""
    if not points or points[-1][0] < REDENOMINATION:
        return points
    return points[bisect_left(points, (REDENOMINATION,)) :]


def _ratios(sheet: Sheet, quote: str) -> dict[str, _Ratio]:
    divisor = _roubles_for(sheet, quote)
    ratios = {q.code: _Ratio(q.unit_rate, divisor) for q in sheet.quotes if q.code != quote}
    return ratios if quote == "RUB" else {**ratios, "RUB": _Ratio(ONE, divisor)}


def _roubles_for(sheet: Sheet, code: str) -> Decimal:
    return ONE if code == "RUB" else sheet.by_code[code].unit_rate


def cross_rate(base_unit: Decimal, quote_unit: Decimal) -> Decimal:
    """One unit of the base in units of the quote, from what one of each costs in roubles."""
    return _Ratio(base_unit, quote_unit).shown


def in_roubles(sheet: Sheet) -> dict[str, Decimal]:
    """What one unit of every currency of the sheet costs in roubles, RUB too."""
    return {"RUB": ONE, **{quote.code: quote.unit_rate for quote in sheet.quotes}}


def per_unit(sheet: Sheet, base: str) -> dict[str, Decimal]:
    """What one unit of `base` costs in every other currency of the sheet, and in RUB. Raises KeyError."""
    units = in_roubles(sheet)
    return {code: cross_rate(units[base], unit) for code, unit in units.items() if code != base}


@dataclass(frozen=True, slots=True)
class Conversion:
    """An amount in another currency: `result` to 28 significant digits, `rounded` to the currency's minor unit."""

    unit_rate: Decimal
    result: Decimal
    rounded: Decimal


def convert(sheet: Sheet, amount: Decimal, base: str, quote: str, minor_places: int) -> Conversion:
    """From unrounded rates, rounded once. Raises KeyError for a currency that is not in the sheet."""
    base_unit, quote_unit = _roubles_for(sheet, base), _roubles_for(sheet, quote)
    roubles = EXACT.multiply(amount, base_unit)
    return Conversion(
        unit_rate=_Ratio(base_unit, quote_unit).shown,
        result=trimmed(rounded(roubles, quote_unit, significant=28)),
        rounded=rounded(roubles, quote_unit, places=minor_places),
    )


@dataclass(frozen=True)
class InForce:
    """The answer to «which rates apply on `requested_date`?»: a sheet with its neighbours and what to expect."""

    requested_date: date
    revision: Revision
    previous: Revision | None
    following: Revision | None
    next_expected_at: datetime | None = None
    next_overdue: bool = False
    stale: bool = False


@dataclass(frozen=True)
class Snapshot:
    """What is known on one Moscow day at one moment: the sheets to show and what to expect next.

    `announced` is not yet in force; `previous` is None when it is not certain which sheet came before.
    `publications_missed` counts sheets that are overdue; `stale` says that today's own sheet is missing.
    """

    today: date
    in_force: Revision
    previous: Revision | None
    announced: Revision | None
    next_expected_at: datetime
    next_late: bool
    publications_missed: int
    stale: bool

    @property
    def next_overdue(self) -> bool:
        """Whether at least one publication is overdue: a ticket, not yet an alarm."""
        return self.publications_missed > 0

    def for_today(self) -> InForce:
        """What applies today."""
        return InForce(
            requested_date=self.today,
            revision=self.in_force,
            previous=self.previous,
            following=self.announced,
            next_expected_at=self.next_expected_at,
            next_overdue=self.next_overdue,
            stale=self.stale,
        )

    def for_next(self) -> InForce | None:
        """What is announced and not yet in force."""
        if self.announced is None:
            return None
        # Where today's own sheet is missing, the one before tomorrow's is not known.
        previous = None if self.stale else self.in_force
        day = self.announced.effective_date
        return InForce(day, self.announced, previous, None, self.next_expected_at, self.next_overdue)


def nearest_code(code: str, known: Iterable[str]) -> str | None:
    """The known code that was probably meant: USE → USD, UDS → USD. None if no known code is similar enough."""

    def similarity(other: str) -> int:
        """How many letters stand in the same places, and how many are in both."""
        return sum(map(str.__eq__, code, other)) + (Counter(code) & Counter(other)).total()

    def preference(other: str) -> tuple[int, bool, int, str]:
        """Lower is better. People rarely mistype the first letter, and mostly mean a currency that is used often."""
        place = MOST_USED.index(other) if other in MOST_USED else len(MOST_USED)
        return -similarity(other), other[:1] != code[:1], place, other

    found = min((other for other in known if abs(len(other) - len(code)) <= 1), key=preference, default=None)
    return found if found and similarity(found) >= _SIMILAR_ENOUGH else None
