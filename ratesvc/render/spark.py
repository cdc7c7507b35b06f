"""A small line of a currency's recent rates, as coordinates and as words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from ratesvc.domain.rates import EXACT, in_one_rouble, plain, rounded, trimmed
from ratesvc.render.language import Language

WIDTH = 60
HEIGHT = 18
MARGIN = 2
FEWEST = 3


@dataclass(frozen=True, slots=True)
class Spark:
    """`points` as SVG takes them, in a box of WIDTH by HEIGHT; `words` for who cannot see it."""

    points: str
    words: str


def spark(rates: Sequence[tuple[date, Decimal]], language: Language) -> Spark | None:
    """The line, or None where fewer than three sheets are held. Old roubles and new ones make no line."""
    rates = in_one_rouble(rates)
    if len(rates) < FEWEST:
        return None
    (first, start), (last, end) = rates[0], rates[-1]
    low, high = min(rate for _, rate in rates), max(rate for _, rate in rates)
    across = Decimal((last - first).days)
    down = EXACT.subtract(high, low)
    places = (
        (_place(Decimal((day - first).days), across, WIDTH), _place(EXACT.subtract(high, rate), down, HEIGHT))
        for day, rate in rates
    )
    words = language.say("from {first} to {last}", first=_number(start, language), last=_number(end, language))
    return Spark(" ".join(f"{x},{y}" for x, y in places), words)


def _place(part: Decimal, whole: Decimal, size: int) -> str:
    """Where between the margins; in the middle where nothing moves."""
    room = Decimal(size - 2 * MARGIN)
    offset = rounded(EXACT.multiply(part, room), whole, places=1) if whole else rounded(room, Decimal(2), places=1)
    return plain(trimmed(offset + MARGIN))


def _number(rate: Decimal, language: Language) -> str:
    exponent = trimmed(rate).as_tuple().exponent
    return language.number(rate, max(4, -exponent) if isinstance(exponent, int) else 4)
