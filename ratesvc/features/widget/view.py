"""What an embedding asks for: its contents, its figures, its colours. And the choices that there are."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from ratesvc.domain.rates import MOST_USED, ONE, rounded
from ratesvc.features.site.page import LINK
from ratesvc.render.language import PLACES

FULL_TITLE = "The Bank of Russia official exchange rates of foreign currencies"
TITLE = LINK
SHORT_TITLE = "Bank of Russia rates"
DATED_TITLE = "Bank of Russia rates for {day}"
MOST_CODES = 20
COLUMNS = ("name", "today", "next", "change", "percent")
DEFAULT_COLUMNS = ("name", "today", "next", "change")
COLUMNS_OF = {"table": DEFAULT_COLUMNS, "inline": ("today",), "converter": ("today",)}
"""The default columns of a layout; others have ONE_DAY_COLUMNS."""
ONE_DAY_COLUMNS = ("name", "next", "change")
COLUMNS_OF_A_SENTENCE = ("today", "next")
LAYOUTS = ("table", "line", "bar", "inline", "converter")
ROUNDED = ("line", "inline")
"""Layouts that round to two decimals and have symbols, unless the parameters say otherwise."""
DECIMALS = ("2", "4")
SPARKS = (0, 7, 30)
NO_HEADING, SHORT_HEADING, FULL_HEADING = "none", "short", "full"
LONGEST_ADDRESS = 500
CODE_IN_ADDRESS = "{code}"
LONGEST_HEADING = 120
HEADS = {"change": "Change", "percent": "Change, %"}
THEMES = ("inherit", "light", "dark", "auto")
UPDOWNS = ("green-red", "red-green", "blue-orange", "none")
STYLES = ("inline", "link", "none")


@dataclass(frozen=True, slots=True)
class Figures:
    """How numbers are written: `decimals` 0 keeps every printed digit, `per_unit` shows the price of one unit."""

    decimals: int = 0
    per_unit: bool = False
    symbols: bool = False

    def units(self, nominal: int) -> Decimal:
        """The number of units whose price is shown."""
        return ONE if self.per_unit else Decimal(nominal)

    def places(self, amount: Decimal) -> int:
        """Decimals for an amount. Below 1 it keeps that many significant digits instead, because 0.00 says nothing."""
        return self.decimals + max(0, -1 - amount.adjusted()) if self.decimals else PLACES

    def rounded(self, amount: Decimal, places: int) -> Decimal:
        """The amount as it is shown."""
        return rounded(amount, places=places) if self.decimals else amount


@dataclass(frozen=True, slots=True)
class View:
    """The contents of an embedding.

    `heading` is empty for our own, «none» for a hidden, «short» for a short and «full» for a long one. `href` is the
    host's own page about rates, or about each of them if it contains {code}. `head` shows the row of heads, `pending`
    says when to expect tomorrow's rates. `converter` adds fields for an amount.
    """

    codes: tuple[str, ...] = MOST_USED
    columns: tuple[str, ...] = DEFAULT_COLUMNS
    heading: str = ""
    spark: int = 0
    layout: str = LAYOUTS[0]
    figures: Figures = Figures()
    href: str = ""
    head: bool = True
    pending: bool = False
    converter: bool = False

    @classmethod
    def usual(cls, layout: str) -> View:
        """What a layout shows unless the parameters say otherwise."""
        is_short = layout in ROUNDED
        figures = Figures(2, per_unit=layout == "inline", symbols=True) if is_short else Figures()
        return cls(columns=COLUMNS_OF.get(layout, ONE_DAY_COLUMNS), layout=layout, figures=figures)

    @property
    def has_heads(self) -> bool:
        """Whether a row of heads is seen. Without it there is one day, and the heading names it."""
        return self.head and self.layout == LAYOUTS[0]

    @property
    def own_heading(self) -> str:
        """The host's own words, if any."""
        return "" if self.heading in (NO_HEADING, SHORT_HEADING, FULL_HEADING) else self.heading

    def link(self, code: str = "") -> str:
        """The address for a row, or for the heading."""
        if not code and CODE_IN_ADDRESS in self.href:
            return ""
        return self.href.replace(CODE_IN_ADDRESS, code)

    @property
    def changes(self) -> list[tuple[str, str]]:
        """The columns of change as (kind, requested column): the first has the kind `change` and the arrow."""
        return list(zip(("change", "percent"), (name for name in HEADS if name in self.columns), strict=False))


@dataclass(frozen=True, slots=True)
class Look:
    """Colours only: `theme` of the ground, one of THEMES or #rrggbb, and `updown` of a change."""

    theme: str = THEMES[0]
    updown: str = UPDOWNS[0]

    @property
    def is_own(self) -> bool:
        """Whether the ground has a colour of the host's own."""
        return self.theme.startswith("#")

    @property
    def ground(self) -> str:
        """The classes of the ground."""
        return f"cbr-own cbr-own-{self.theme[1:]}" if self.is_own else f"cbr-{self.theme}"

    @property
    def classes(self) -> str:
        """The classes that the style sheet knows; the defaults have none."""
        ground = self.ground if self.theme != THEMES[0] else ""
        moves = f"cbr-{self.updown}" if self.updown != UPDOWNS[0] else ""
        return " ".join(filter(None, ("cbr-rates", ground, moves)))
