"""A chosen widget: its contents, colours, language and size, with the parameters and addresses that say so."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import date
from decimal import Decimal
from urllib.parse import urlencode

from ratesvc.domain.rates import MOST_USED, rounded
from ratesvc.features.site.language import Language
from ratesvc.features.site.page import LINK
from ratesvc.features.widget import ground
from ratesvc.render.language import PLACES
from ratesvc.render.openapi import Site

TITLE = LINK
HEADINGS = {
    **dict.fromkeys(("", "none"), TITLE),
    "short": "Bank of Russia rates",
    "full": "The Bank of Russia official exchange rates of foreign currencies",
}
"""What `heading` says if it is not the host's own words, and the title then; `none` hides it."""
DATED_TITLE = "Bank of Russia: {day}"
MOST_CODES = 20
COLUMNS = ("name", "today", "next", "change", "percent")
COLUMNS_OF_A_SENTENCE = ("today", "next")
DECIMALS = ("2", "4")
SPARKS = ("0", "7", "30")
LONGEST_ADDRESS = 500
LONGEST_HEADING = 120
HEADS = {"change": "Change", "percent": "Change, %"}
THEMES = ("inherit", "light", "dark", "auto")
UPDOWNS = ("green-red", "red-green", "blue-orange", "none")
STYLES = ("inline", "link", "none")
WIDTH_OF = {"table": 320, "line": 1200, "bar": 728, "inline": 320, "converter": 320}
"""The usual width of a layout in pixels."""
WIDTHS = range(120, 2001)
HEIGHTS = range(24, 4001)


@dataclass(frozen=True, slots=True)
class View:
    """The contents of an embedding, each under the name of its parameter, whose order is that of the copied code.

    A sentence shows the first of `codes`, and the builder keeps the others. `decimals` 0 keeps every printed digit.
    `unit` shows the price of one unit, `head` the row of heads. `href` is the host's own page about rates, or about
    each of them if it contains {code}. `pending` says when to expect tomorrow's rates. `heading` is one of HEADINGS or
    the host's own words. `converter` adds fields for an amount. Another feature has `key_rate`.
    """

    layout: str = "table"
    codes: tuple[str, ...] = MOST_USED
    columns: tuple[str, ...] = ("name", "today", "next", "change")
    decimals: int = 0
    unit: bool = False
    symbols: bool = False
    head: bool = True
    href: str = ""
    pending: bool = False
    heading: str = ""
    spark: int = 0
    converter: bool = False
    key_rate: bool = False

    @property
    def shown(self) -> tuple[str, ...]:
        """The currencies that are shown."""
        return self.codes[:1] if self.layout == "inline" else self.codes

    @property
    def has_heads(self) -> bool:
        """Whether a row of heads is seen. Without it there is one day, and the heading names it."""
        return self.head and self.layout == "table"

    @property
    def has_two_days(self) -> bool:
        """Whether a table shows tomorrow's rates beside today's once they are announced."""
        return self.has_heads and {"today", "next"} <= {*self.columns}

    @property
    def own_heading(self) -> str:
        """The host's own words, if any."""
        return "" if self.heading in HEADINGS else self.heading

    @property
    def changes(self) -> list[tuple[str, str]]:
        """The columns of change as (kind, requested column): the first has the kind `change` and the arrow."""
        return list(zip(("change", "percent"), (name for name in HEADS if name in self.columns), strict=False))

    def link(self, code: str = "") -> str:
        """The address for a row, or for the heading."""
        return "" if not code and "{code}" in self.href else self.href.replace("{code}", code)

    def places(self, amount: Decimal) -> int:
        """Decimals for an amount. Below 1 it keeps that many significant digits instead, because 0.00 says nothing."""
        return self.decimals + max(0, -1 - amount.adjusted()) if self.decimals else PLACES

    def rounded(self, amount: Decimal, places: int) -> Decimal:
        """The amount as it is shown."""
        return rounded(amount, places=places) if self.decimals else amount


USUAL = {
    "table": View(),
    "line": View("line", columns=("name", "next", "change"), decimals=2, symbols=True),
    "bar": View("bar", columns=("name", "next", "change")),
    "inline": View("inline", columns=("today",), decimals=2, unit=True, symbols=True),
    "converter": View("converter", columns=("today",), converter=True),
}
"""The layouts, and what each shows unless the parameters say otherwise."""


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
    def rule(self) -> str:
        """The rule of style for an own ground; empty for every other theme."""
        return ground.rule(self.theme, self.updown) if self.is_own else ""

    @property
    def classes(self) -> str:
        """The classes that the style sheet knows; the defaults have none."""
        on_ground = self.ground if self.theme != THEMES[0] else ""
        moves = f"cbr-{self.updown}" if self.updown != UPDOWNS[0] else ""
        return " ".join(filter(None, ("cbr-rates", on_ground, moves)))


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen widget, its language and size in pixels, whether the host sends a CSP, and a day other than today.

    `height` 0 is what its rows need. `floats` is true where text flows around the widget, so that the link inside must
    not set its width. `picture` is the size of the picture in the code, `letter` the same widget of a day.
    """

    view: View
    look: Look
    language: Language
    width: int
    height: int = 0
    strict: bool = False
    floats: bool = False
    day: date | None = None
    picture: tuple[int, int] = (0, 0)
    letter: Choice | None = None

    @property
    def size(self) -> dict[str, str]:
        """Width and height, where they are not the usual ones."""
        width = {"width": str(self.width)} if self.width != WIDTH_OF[self.view.layout] else {}
        return width | ({"height": str(self.height)} if self.height else {})


def parameters(choice: Choice, *, look: bool = True) -> dict[str, str]:
    """The attributes or parameters that differ from the defaults."""
    view = choice.view
    given = _differing(replace(view, codes=view.shown), replace(USUAL[view.layout], layout=View().layout))
    given |= {"date": choice.day.isoformat()} if choice.day else {}
    return given | {"lang": choice.language.tag} | (_differing(choice.look, Look()) if look else {})


def _differing(chosen: View | Look, usual: View | Look) -> dict[str, str]:
    """The fields with another value, as parameters."""
    values = {field.name: getattr(chosen, field.name) for field in fields(chosen)}
    return {name: _text(value) for name, value in values.items() if value != getattr(usual, name)}


def _text(value: str | int | tuple[str, ...]) -> str:
    """A value of a parameter; switches are 0 or 1."""
    return ",".join(value) if isinstance(value, tuple) else str(int(value) if isinstance(value, bool) else value)


def query(choice: Choice, **more: str) -> str:
    """A query string with a stable order."""
    return urlencode({**parameters(choice), **more}, safe=",")


def embed_url(choice: Choice, site: Site, **size: str) -> str:
    """The page that oEmbed consumers discover; `size` tells them the width and height of its frame."""
    return f"{site.public_url}/embed?{query(choice, **size)}"
