"""The widget's rows as plain text, formatted once. Element, frame, fragment, card and rows.json all show them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal

import msgspec

from ratesvc.domain.rates import (
    EXACT,
    REDENOMINATION,
    InForce,
    Snapshot,
    in_one_rouble,
    plain,
    rate_change,
    rounded,
    trimmed,
)
from ratesvc.domain.workdays import ONE_DAY
from ratesvc.render.fit import Fit, fit
from ratesvc.render.json import encode, source_url
from ratesvc.render.language import Language

TITLE = "The Bank of Russia official exchange rates of foreign currencies"
OLD_ROUBLES = "In old roubles: 1,000 old roubles are 1 new rouble."
"""Stands beside all rates in force before 1998-01-01."""
DEFAULT_CODES = ("USD", "EUR", "CNY", "GBP", "JPY", "TRY")
MOST_CODES = 20
COLUMNS = ("name", "today", "next", "change", "percent")
DEFAULT_COLUMNS = ("name", "today", "next", "change")
SPARKS = (0, 7, 30)
NO_HEADING = "none"
LONGEST_HEADING = 120
PLACES = 4
PERCENT_PLACES = 2
NOTHING = "\u2014"
HEADS = {"change": "Change", "percent": "Change, %"}
MARKS = {"up": "\u25b2", "down": "\u25bc"}
SPARK_WIDTH, SPARK_HEIGHT, SPARK_MARGIN = 60, 18, 2
FEWEST_POINTS = 3

Recent = Callable[[str, int], Sequence[tuple[date, Decimal]]]
"""The unit rates of a currency over so many days, oldest first; possibly few, or none."""


@dataclass(frozen=True, slots=True)
class View:
    """The contents of an embedding. `heading` is empty for our own and «none» for a hidden one."""

    codes: tuple[str, ...] = DEFAULT_CODES
    columns: tuple[str, ...] = DEFAULT_COLUMNS
    heading: str = ""
    spark: int = 0

    def beginning_with(self, code: str) -> View:
        """The same view with this currency in the first line."""
        return replace(self, codes=(code, *(other for other in self.codes if other != code)))

    @property
    def changes(self) -> list[tuple[str, str]]:
        """The columns of change as (kind, requested column): the first has the kind `change` and the arrow."""
        return list(zip(("change", "percent"), (name for name in HEADS if name in self.columns), strict=False))


class Head(msgspec.Struct, frozen=True, omit_defaults=True):
    """A column's head. `kind` is name, trend, today, value, change or percent: its class and its part.

    `value` is the newest rate and `today` the rate beside it. Dated columns have `iso`. If both are shown, `label` says
    today or tomorrow.
    """

    kind: str
    text: str
    label: str = ""
    iso: str = msgspec.field(name="date", default="")


class Row(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One line: `cells` for all columns but the name.

    `move` is up, down, same, or empty if there is no earlier rate; `mark` is its arrow and `words` say it aloud.
    `points` is the trend line.
    """

    code: str = ""
    unit: str
    name: str = ""
    move: str = ""
    mark: str = ""
    words: str = ""
    points: str = ""
    cells: tuple[str, ...]


class Table(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Everything that is shown, and as JSON rows.json. A text that is empty has no field there.

    `foreign` is the language of our sentences if it is not the page's language. `title_foreign` is that of the title,
    which may be the host's own words. `style` is the style sheet, for the element alone.
    rows.json has no `fit`.
    """

    tag: str = msgspec.field(name="lang")
    direction: str = msgspec.field(name="dir")
    title: str
    titled: bool
    stale: bool
    columns: tuple[Head, ...]
    rows: tuple[Row, ...]
    source: str = msgspec.field(name="source_url")
    foreign: str = msgspec.field(name="words_lang", default="")
    title_foreign: str = msgspec.field(name="title_lang", default="")
    badge: str = ""
    note: str = ""
    style: str = ""
    fit: Fit | None = None

    @property
    def classes(self) -> str:
        """The classes that tell the style sheet at which width this table needs another layout."""
        return " cbr-wide-{} cbr-tiny-{}".format(*self.fit.steps) if self.fit else ""

    def height(self, width: int) -> int:
        """Pixels that a frame of this width needs."""
        title = f"{self.title} ({self.badge})" if self.titled else ""
        return self.fit.height(title, self.note, width) if self.fit else 0

    @property
    def kinds(self) -> tuple[str, ...]:
        """The columns' kinds, in order."""
        return tuple(column.kind for column in self.columns)


def table(shown: Sequence[InForce], language: Language, view: View, recent: Recent, *, demo: bool = False) -> Table:
    """The rows of one sheet, or of today's and tomorrow's. A currency is left out if no sheet has it."""
    rows = [_row(shown, code, language, view, recent) for code in view.codes if _nominal(shown, code)]
    columns = _columns(shown, language, view, trending=any(row.points for row in rows))
    if columns[1].kind != "trend":
        rows = [msgspec.structs.replace(row, cells=row.cells[1:]) for row in rows]
    ours = view.heading in ("", NO_HEADING)
    return Table(
        tag=language.tag,
        direction=language.direction,
        title=language.say(TITLE) if ours else view.heading,
        titled=view.heading != NO_HEADING,
        stale=shown[0].stale,
        columns=columns,
        rows=tuple(rows),
        source=source_url(shown[-1].revision.effective_date, language),
        foreign=language.foreign,
        title_foreign=language.foreign if ours else "",
        badge=language.say("demo") if demo else "",
        note=_note(shown[0], language),
        fit=fit(columns, rows, is_growing=len(shown) == 1 and {"today", "next"} <= set(view.columns)),
    )


def rows_json(table: Table, style: str = "") -> bytes:
    """rows.json. The element needs the `style` sheet and no currency codes; others need codes and no style."""
    table = msgspec.structs.replace(table, fit=None)
    if style:
        rows = tuple(msgspec.structs.replace(row, code="") for row in table.rows)
        table = msgspec.structs.replace(table, rows=rows, style=style)
    return encode(table)


def columns_of(snapshot: Snapshot, view: View) -> tuple[InForce, ...]:
    """Today's sheet, tomorrow's once it is announced, or both, as the view says; never nothing."""
    following = snapshot.for_next() if "next" in view.columns else None
    today = () if following and "today" not in view.columns else (snapshot.for_today(),)
    return (*today, following) if following else today


def _columns(shown: Sequence[InForce], language: Language, view: View, *, trending: bool) -> tuple[Head, ...]:
    trend = [Head("trend", language.say("{days} days", days=str(view.spark)))] if trending else []
    moves = [Head(kind, language.say(HEADS[column])) for kind, column in view.changes]
    return (Head("name", language.say("Currency")), *trend, *_dated(shown, language), *moves)


def _dated(shown: Sequence[InForce], language: Language) -> list[Head]:
    kinds, labels = ("today", "value")[-len(shown) :], ["", ""]
    # Only the catalogues have these words; elsewhere the dates say enough.
    if len(shown) == 2 and not language.foreign:
        tomorrow = shown[1].revision.effective_date == shown[0].requested_date + ONE_DAY
        labels = [language.say("Today"), language.say("Tomorrow")] if tomorrow else labels
    heads = []
    for kind, answer, label in zip(kinds, shown, labels, strict=False):
        effective = answer.revision.effective_date
        is_history = answer.next_expected_at is None
        day = language.day(effective) if is_history else language.day_and_month(effective)
        heads.append(Head(kind, day, label, effective.isoformat()))
    return heads


def _note(answer: InForce, language: Language) -> str:
    effective = answer.revision.effective_date
    if effective < REDENOMINATION:
        return language.say(OLD_ROUBLES)
    return language.say("Not updated since {day}.", day=language.day(effective)) if answer.stale else ""


def _nominal(shown: Sequence[InForce], code: str) -> int:
    """The nominal of the newest sheet that has the currency; 0 if none has it."""
    sheets = [answer.revision.sheet for answer in reversed(shown)]
    return next((sheet.by_code[code].nominal for sheet in sheets if code in sheet.by_code), 0)


def _row(shown: Sequence[InForce], code: str, language: Language, view: View, recent: Recent) -> Row:
    """The row, all numbers for the newest nominal; its first cell is the trend."""
    nominal, newest = _nominal(shown, code), shown[-1]
    units = Decimal(nominal)
    trend_rates = recent(code, view.spark) if view.spark else ()
    points, trend = spark([(day, EXACT.multiply(rate, units)) for day, rate in trend_rates], language)
    quotes = [answer.revision.sheet.by_code.get(code) for answer in shown]
    values = [language.number(EXACT.multiply(q.unit_rate, units), PLACES) if q else NOTHING for q in quotes]
    move, changes = "", {"change": NOTHING, "percent": NOTHING}
    change = rate_change(newest.revision.sheet, newest.previous.sheet if newest.previous else None, code)
    if change:
        move = "up" if change.absolute > 0 else "down" if change.absolute < 0 else "same"
        absolute = language.signed(EXACT.multiply(change.absolute, units), PLACES)
        changes = {"change": absolute, "percent": language.percent(change.percent(PERCENT_PLACES))}
    return Row(
        code=code,
        unit=code if nominal == 1 else f"{language.whole(nominal)}\u00a0{code}",
        name=language.currency(code, nominal) if "name" in view.columns else "",
        move=move,
        mark=MARKS.get(move, ""),
        words=language.say(move) if move in MARKS else "",
        points=points,
        cells=(trend, *values, *(changes[column] for _, column in view.changes)),
    )


def spark(rates: Sequence[tuple[date, Decimal]], language: Language) -> tuple[str, str]:
    """A small line as the points of an SVG polyline, in a box of SPARK_WIDTH by SPARK_HEIGHT, and as words.

    Both are empty if fewer than three sheets are held. Old roubles and new roubles make no line.
    """
    rates = in_one_rouble(rates)
    if len(rates) < FEWEST_POINTS:
        return "", ""
    (first, start), (last, end) = rates[0], rates[-1]
    low, high = min(rate for _, rate in rates), max(rate for _, rate in rates)
    across, down = Decimal((last - first).days), EXACT.subtract(high, low)
    xs = [_place(Decimal((day - first).days), across, SPARK_WIDTH) for day, _ in rates]
    ys = [_place(EXACT.subtract(high, rate), down, SPARK_HEIGHT) for _, rate in rates]
    ends = {"first": language.number(start, PLACES), "last": language.number(end, PLACES)}
    return " ".join(map(",".join, zip(xs, ys, strict=True))), language.say("from {first} to {last}", **ends)


def _place(part: Decimal, whole: Decimal, size: int) -> str:
    """The place between the margins; the middle if nothing moves."""
    space = Decimal(size - 2 * SPARK_MARGIN)
    offset = rounded(EXACT.multiply(part, space), whole, places=1) if whole else rounded(space, Decimal(2), places=1)
    return plain(trimmed(offset + SPARK_MARGIN))
