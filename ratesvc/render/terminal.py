"""Rates in a terminal: a table for rich, whose changes and lines can be read without colour, in any width."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ratesvc.domain.rates import EXACT, REDENOMINATION, InForce, convert, in_one_rouble, plain, rounded, unit_rates
from ratesvc.render.language import NOTHING, OLD_ROUBLES, PLACES, Language

Points = Sequence[tuple[date, Decimal]]
"""Effective dates and unit rates in roubles, oldest first."""

GAP = 2
NAME_WIDTH = 14
MOST_BLOCKS = 30
BLOCKS = "▁▂▃▄▅▆▇█"
_SIGNS = {1: ("▲", "green"), -1: ("▼", "red"), 0: (" ", "")}
_GIVEN_UP = (("low", "high"), ("name",), ("change",), ("moved",))
"""The columns that a narrow terminal loses, in this order."""


def rates(
    answer: InForce, language: Language, codes: Sequence[str], moved: Mapping[str, Points], *, demo: bool
) -> RenderableType:
    """The sheet in force on the requested day, `codes` in that order; `moved` is their recent rates, or empty."""
    say, sheet = language.say, answer.revision.sheet
    heads = {"code": say("Code"), "name": say("Currency"), "nominal": say("Nominal"), "value": say("Value, RUB")}
    heads["change"] = say("Change")
    # Old roubles and new roubles are not compared.
    moved = {code: in_one_rouble(points) for code, points in moved.items()}
    if moved:
        first = min((points[0][0] for points in moved.values() if points), default=None)
        heads["moved"] = say("since {day}", day=language.day(first)) if first else ""
        heads |= {"low": say("Low"), "high": say("High")}
    lines = {code: blocks([rate for _, rate in points]) for code, points in moved.items()}
    width = max(map(len, lines.values()), default=0)
    units = unit_rates(sheet, answer.previous.sheet if answer.previous else None)
    rows = []
    for code in codes:
        quote = sheet.by_code.get(code)
        row = {"code": Text(code), "name": Text(language.currency(code, quote.nominal if quote else None))}
        if quote:
            change = units[code].change
            row["nominal"] = Text(language.whole(quote.nominal))
            row["value"] = Text(language.number(quote.value, PLACES))
            row["change"] = _percent(change.percent(PLACES), language) if change else Text(NOTHING)
            if points := moved.get(code):
                row |= _movement(points, quote.nominal, lines[code].rjust(width), language)
        rows.append(row)
    return Group(Text(_title(answer, language, "RUB", demo=demo), style="bold"), _Fitting(heads, rows))


def _movement(points: Points, nominal: int, line: str, language: Language) -> dict[str, Text]:
    """The line with the change from its first rate to its last, and its lowest and highest value."""
    first, last = points[0][1], points[-1][1]
    percent = rounded(EXACT.multiply(EXACT.subtract(last, first), Decimal(100)), first, places=PLACES)
    extremes = min(rate for _, rate in points), max(rate for _, rate in points)
    low, high = (Text(language.number(EXACT.multiply(rate, Decimal(nominal)), PLACES)) for rate in extremes)
    return {"moved": Text(line + "  ").append_text(_percent(percent, language)), "low": low, "high": high}


def _percent(percent: Decimal, language: Language) -> Text:
    sign, colour = _SIGNS[int(percent.compare(percent * 0))]
    return Text(f"{sign} {language.signed(percent, PLACES)} %", style=colour)


def conversion(answer: InForce, amount: Decimal, base: str, quote: str, language: Language, *, demo: bool) -> str:
    """The result in the minor unit, with «=» if it is exact; the rate of one unit; the sheet. Raises KeyError."""
    converted = convert(answer.revision.sheet, amount, base, quote)
    given = language.number(amount, max(_places(amount), 0))
    sign = "=" if converted.result == converted.rounded else "≈"
    result = language.number(converted.rounded, _places(converted.rounded))
    rate = language.number(converted.unit_rate, PLACES)
    title = _title(answer, language, base, quote, demo=demo)
    return f"{given} {base} {sign} {result} {quote}\n1 {base} = {rate} {quote}\n{title}"


def _places(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 0


def _title(answer: InForce, language: Language, *codes: str, demo: bool) -> str:
    """The name of the sheet; a second line if a newer sheet is missing, or if a rouble among `codes` is an old one."""
    effective, requested = language.day(answer.revision.effective_date), language.day(answer.requested_date)
    title = language.say("Bank of Russia, {day}", day=effective)
    if effective != requested:
        title = language.say("Bank of Russia, {day}, in force on {asked}", day=effective, asked=requested)
    badge = f" ({language.say('demo')})" if demo else ""
    stale = "\n" + language.say("Not updated since {day}.", day=effective) if answer.stale else ""
    is_old = "RUB" in codes and answer.revision.effective_date < REDENOMINATION
    return title + badge + stale + ("\n" + language.say(OLD_ROUBLES) if is_old else "")


def blocks(rates: Sequence[Decimal]) -> str:
    """A line of blocks between the lowest and the highest rate; of many rates a few, evenly, and always the last."""
    step = -(-len(rates) // MOST_BLOCKS) or 1
    chosen = rates[::-1][::step][::-1]
    low, high = min(rates, default=Decimal(0)), max(rates, default=Decimal(0))
    if low == high:
        return BLOCKS[3] * len(chosen)
    top, space = Decimal(len(BLOCKS) - 1), EXACT.subtract(high, low)
    places = (rounded(EXACT.multiply(EXACT.subtract(rate, low), top), space, places=0) for rate in chosen)
    return "".join(BLOCKS[int(plain(place))] for place in places)


@dataclass(frozen=True, slots=True)
class _Fitting:
    """A table with as many of its columns as fit: no figure is ever cut, and only names are folded."""

    heads: Mapping[str, str]
    rows: Sequence[Mapping[str, Text]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """The first of the tables that is narrow enough, or the narrowest."""
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
