"""Rates in a terminal: a table that rich draws, whose changes and lines read without colour, in any width."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ratesvc.domain.rates import (
    EXACT,
    REDENOMINATION,
    Change,
    InForce,
    Quote,
    in_one_rouble,
    plain,
    rounded,
    unit_rates,
)
from ratesvc.render.json import conversion_of
from ratesvc.render.language import Language
from ratesvc.render.rows import OLD_ROUBLES

Points = Sequence[tuple[date, Decimal]]
"""Effective dates and unit rates in roubles, oldest first."""

PLACES = 4
GAP = 2
NAME_WIDTH = 14
MOST_BLOCKS = 30
BLOCKS = "▁▂▃▄▅▆▇█"
NOTHING = "—"
_SIGNS = {1: ("▲", "green"), -1: ("▼", "red"), 0: (" ", "")}

_COLUMNS = ("code", "name", "nominal", "value", "change", "moved", "low", "high")
_GIVEN_UP = (("low", "high"), ("name",), ("change",), ("moved",))
"""What goes where the terminal is too narrow, in this order."""


def rates(
    answer: InForce, language: Language, codes: Sequence[str], moved: Mapping[str, Points], *, demo: bool
) -> RenderableType:
    """The sheet in force on the requested day, `codes` in that order; `moved` is how they came there, or empty."""
    lines = _Lines(answer, language, moved)
    rows = [lines.of(code) for code in codes]
    title = Text(_title(answer, language, "RUB", demo=demo), style="bold")
    return Group(title, _Fitting(lines.heads, rows))


def conversion(answer: InForce, amount: Decimal, base: str, quote: str, language: Language, *, demo: bool) -> str:
    """The result in coins, where that is exact with «=»; the rate of one unit; the sheet. Raises KeyError."""
    converted = conversion_of(answer, amount, base, quote)
    coins = -_exponent(converted.rounded)
    given = language.number(amount, max(-_exponent(amount), 0))
    sign = "=" if converted.result == converted.rounded else "≈"
    result = language.number(converted.rounded, coins)
    rate = language.number(converted.unit_rate, PLACES)
    title = _title(answer, language, base, quote, demo=demo)
    return f"{given} {base} {sign} {result} {quote}\n1 {base} = {rate} {quote}\n{title}"


def _title(answer: InForce, language: Language, *codes: str, demo: bool) -> str:
    """Which sheet it is; a second line where a newer one is missing, or the roubles among the `codes` are old ones."""
    effective, asked = language.day(answer.revision.effective_date), language.day(answer.requested_date)
    title = language.say("Bank of Russia, {day}", day=effective)
    if effective != asked:
        title = language.say("Bank of Russia, {day}, in force on {asked}", day=effective, asked=asked)
    badge = f" ({language.say('demo')})" if demo else ""
    stale = "\n" + language.say("Not updated since {day}.", day=effective) if answer.stale else ""
    is_old = "RUB" in codes and answer.revision.effective_date < REDENOMINATION
    return title + badge + stale + ("\n" + language.say(OLD_ROUBLES) if is_old else "")


class _Lines:
    """One line for each currency: a cell for each column."""

    def __init__(self, answer: InForce, language: Language, moved: Mapping[str, Points]) -> None:
        self._sheet = answer.revision.sheet
        self._units = unit_rates(self._sheet, answer.previous.sheet if answer.previous else None)
        self._language = language
        # Old roubles and new ones are not compared.
        self._moved = {code: in_one_rouble(points) for code, points in moved.items()}
        self._blocks = {code: blocks([rate for _, rate in points]) for code, points in self._moved.items()}
        self._width = max(map(len, self._blocks.values()), default=0)
        self.heads = dict(zip(_COLUMNS, self._headings(), strict=False))

    def _headings(self) -> Iterator[str]:
        say = self._language.say
        yield from (say("Code"), say("Currency"), say("Nominal"), say("Value, RUB"), say("Change"))
        if self._moved:
            first = min((points[0][0] for points in self._moved.values() if points), default=None)
            yield say("since {day}", day=self._language.day(first)) if first else ""
            yield from (say("Low"), say("High"))

    def of(self, code: str) -> dict[str, Text]:
        """The cells of a currency; one that the sheet lacks has none but its name."""
        quote = self._sheet.by_code.get(code)
        name = self._language.currency(code, quote.nominal if quote else None)
        cells = {"code": Text(code), "name": Text(name)}
        if quote is None:
            return cells
        cells["nominal"] = Text(self._language.whole(quote.nominal))
        cells["value"] = Text(self._language.number(quote.value, PLACES))
        cells["change"] = self._change(self._units[code].change)
        return {**cells, **self._movement(quote)}

    def _movement(self, quote: Quote) -> dict[str, Text]:
        points = self._moved.get(quote.code)
        if not points:
            return {}
        line = Text(self._blocks[quote.code].rjust(self._width) + "  ")
        line.append_text(self._percent(_percent(points[0][1], points[-1][1])))
        found = [EXACT.multiply(rate, Decimal(quote.nominal)) for _, rate in points]
        low, high = (self._language.number(extreme, PLACES) for extreme in (min(found), max(found)))
        return {"moved": line, "low": Text(low), "high": Text(high)}

    def _change(self, change: Change | None) -> Text:
        return self._percent(change.percent(PLACES)) if change else Text(NOTHING)

    def _percent(self, percent: Decimal) -> Text:
        sign, colour = _SIGNS[int(percent.compare(percent * 0))]
        return Text(f"{sign} {self._language.signed(percent, PLACES)} %", style=colour)


def _percent(first: Decimal, last: Decimal) -> Decimal:
    return rounded(EXACT.multiply(EXACT.subtract(last, first), Decimal(100)), first, places=PLACES)


def blocks(rates: Sequence[Decimal]) -> str:
    """A line of blocks between the lowest and the highest; of many rates a few, evenly, and always the last."""
    step = -(-len(rates) // MOST_BLOCKS) or 1
    chosen = rates[::-1][::step][::-1]
    low, high = min(rates, default=Decimal(0)), max(rates, default=Decimal(0))
    if low == high:
        return BLOCKS[3] * len(chosen)
    top, room = Decimal(len(BLOCKS) - 1), EXACT.subtract(high, low)
    places = (rounded(EXACT.multiply(EXACT.subtract(rate, low), top), room, places=0) for rate in chosen)
    return "".join(BLOCKS[int(plain(place))] for place in places)


@dataclass(frozen=True, slots=True)
class _Fitting:
    """A table with as many of its columns as there is room for: no figure is ever cut."""

    heads: Mapping[str, str]
    rows: Sequence[Mapping[str, Text]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """The first of the tables that is narrow enough, or the narrowest; only names are folded."""
        wide = options.update(width=10_000)
        kept = list(self.heads)
        for names in _GIVEN_UP:
            figures = self._table([name for name in kept if name != "name"])
            needed = Measurement.get(console, wide, figures).maximum + (NAME_WIDTH + GAP if "name" in kept else 0)
            if needed <= options.max_width:
                break
            kept = [name for name in kept if name not in names]
        yield self._table(kept)

    def _table(self, columns: Sequence[str]) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0))
        for name in columns:
            if name == "name":
                table.add_column(self.heads[name], overflow="fold", min_width=NAME_WIDTH)
            else:
                table.add_column(self.heads[name], no_wrap=True, justify="left" if name == "code" else "right")
        for row in self.rows:
            table.add_row(*(row.get(name, Text(NOTHING)) for name in columns))
        return table


def _exponent(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    return exponent if isinstance(exponent, int) else 0
