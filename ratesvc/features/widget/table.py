"""What a widget shows, as plain text, formatted once: element, frame, fragment, card and rows.json all take it."""

from __future__ import annotations

import msgspec

from ratesvc.features.site.text import text_width
from ratesvc.render.json import encode

SPARK_WIDTH, SPARK_HEIGHT = 60, 18
LONG_WIDTHS, SHORT_WIDTHS, WIDEST_LINE, EVEN_BAR = (12, 18, 24, 30, 36), (12, 16, 24, 28, 32), 72, 8
"""What widget.css has rules for: thresholds in em by the number of columns, with names or long units and without them,
and of lines; cells of a bar in even rows."""
SHORT_UNIT = len("100 JPY")
_SHORT_NAME, _NEVER = 3, 96
_FINE_FROM = 48000
"""Thousandths of an em, from which on thresholds of lines are 2 em apart."""


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
    """One line: `cells` for all columns but the name, and `exact` their figures if one of them is rounded.

    `move` is up, down, same, or empty if there is no earlier rate; `mark` is its arrow and `words` say it aloud.
    `points` is the trend line. If `ours`, unit and name are words of ours, in the language `foreign` of the table.
    """

    code: str = ""
    href: str = ""
    unit: str
    name: str = ""
    ours: bool = False
    move: str = ""
    mark: str = ""
    words: str = ""
    points: str = ""
    cells: tuple[str, ...]
    exact: tuple[str, ...] = ()

    @property
    def end(self) -> str:
        """The dot at the end of the trend line: a line of no length."""
        last = self.points.rpartition(" ")[2]
        return f"{last} {last}"


class Table(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Everything that is shown, and as JSON rows.json. A text that is empty has no field there.

    `foreign` is the language of our sentences if it is not the page's language. `title_foreign` is that of the title,
    which may be the host's own words. `converter` is the data of its element. `around_day` has the words before and
    after the day of a line's title, which are left out where there is no room for them; `credit` is the Bank and a day
    before the source. `later` has the title of an evening, and the note once these rates are old: a frame has room for
    both. `hosted` is true if the words of the title or its link are the host's, so that no note takes their place.
    rows.json has none of these four.
    """

    tag: str = msgspec.field(name="lang")
    direction: str = msgspec.field(name="dir")
    title: str
    titled: bool
    headless: bool = False
    layout: str = ""
    href: str = ""
    stale: bool
    columns: tuple[Head, ...]
    rows: tuple[Row, ...]
    source: str = msgspec.field(name="source_url")
    foreign: str = msgspec.field(name="words_lang", default="")
    title_foreign: str = msgspec.field(name="title_lang", default="")
    badge: str = ""
    note: str = ""
    converter: str = ""
    around_day: tuple[str, str] | None = None
    credit: str = ""
    later: tuple[str, str] = ("", "")
    hosted: bool = False

    @property
    def classes(self) -> str:
        """The classes of its layout, and of the width in em below which that changes."""
        names = [self.layout] if self.layout else []
        names += [f"at-{self.threshold}"] if self.layout in ("", "line") else []
        names += [] if self.layout or self.has_names else ["nameless"]
        is_noted = self.stale and self.headless and (self.layout == "bar" or not self.hosted)
        names += ["old"] if is_noted and self.layout != "line" else []
        if self.layout in ("", "bar"):
            names += ["long"] if self.has_long_units else []
        if self.layout == "bar":
            names += [f"of-{len(self.rows)}"] if len(self.rows) <= EVEN_BAR else []
        return "".join(f" cbr-{name}" for name in names)

    @property
    def has_long_units(self) -> bool:
        """Whether the unit of a row is longer than most. In a bar all of them have smaller letters then."""
        return any(len(row.unit) > SHORT_UNIT for row in self.rows)

    @property
    def title_kinds(self) -> str:
        """The classes of the title: `bare` has no heads below it, `stale` is the warning of a line.

        `brief` stands in a line before a currency with a sign, which leaves it more room.
        """
        if not self.titled:
            return "title words bare"
        is_bare = self.headless and self.layout in ("", "bar")
        names = ["title", "bare" if is_bare else "", "stale" if self.around_day and self.stale else ""]
        return " ".join(filter(None, (*names, "brief" if self.around_day and self._begins_briefly else "")))

    @property
    def _begins_briefly(self) -> bool:
        """Whether the first currency is a sign, such as $."""
        return len(self.rows[0].unit) < _SHORT_NAME

    @property
    def title_parts(self) -> list[tuple[str, str]]:
        """The title in parts, each with its class: a narrow line leaves out `more`, and the narrowest `tomorrow`, too.

        It keeps a short name of the Bank, «ЦБ 19.11», too, if the first currency is a symbol, which leaves room for it.
        """
        if self.around_day is None:
            return [(self.title, "")]
        before, after = self.around_day
        day, blank, tomorrow = self.title.removeprefix(before).removesuffix(after).partition(" ")
        bank, _, words = before.partition(" ")
        is_short = words and not self.stale and len(bank) < _SHORT_NAME and self._begins_briefly and not tomorrow
        parts = [(f"{bank} ", ""), (words, "more")] if is_short else [(before, "more")]
        parts += [(day, ""), (blank + tomorrow, "tomorrow"), (after, "more")]
        return [part for part in parts if part[0]]

    def cells(self, row: Row) -> list[tuple[str, str, str]]:
        """The kind, the text and the exact figure of each cell of a row."""
        return list(zip(self.kinds[1:], row.cells, row.exact or [""] * len(row.cells), strict=True))

    @property
    def has_names(self) -> bool:
        """Whether names of currencies stand beside their codes."""
        return any(row.name for row in self.rows)

    @property
    def threshold(self) -> int:
        """The width in em that all columns of a table need side by side, or the heading of a line beside all rates.

        A warning is more than a heading: it needs room for itself and one rate.
        """
        if self.layout == "line":
            rates, all_columns = self._rates(1), self._rates(3)
            # One rate beside a warning leaves room for letters that are wider than usual.
            heading = text_width(self.title, 112 if self.stale else 117)
            # What needs less room comes first: changes, or the rest of the heading.
            is_last = all_columns - rates < heading and _ems(all_columns + heading) <= WIDEST_LINE
            room = 8700 if self.stale else all_columns if is_last else rates
            return min(WIDEST_LINE, _ems(room + heading))
        is_long = self.has_long_units or any(row.name for row in self.rows)
        return (LONG_WIDTHS if is_long else SHORT_WIDTHS)[len(self.columns) - 2]

    @property
    def threshold_of_changes(self) -> int:
        """The width in em that all rates of a line need with their changes."""
        width = max(LONG_WIDTHS[0], _ems(self._rates(3)))
        return width if width <= WIDEST_LINE else _NEVER

    def _rates(self, columns: int) -> int:
        """The width of a line's rates, or of these with what stands after them, in thousandths of an em, with gaps."""
        at = self.kinds.index("value") - 1
        # An arrow and its gaps stand before a change, whose letters are smaller by a tenth.
        return sum(
            1400
            + text_width(row.unit, 100)
            + text_width(row.cells[at], 96)
            + sum(1400 + text_width(change, 87) for change in row.cells[at + 1 : at + columns])
            for row in self.rows
        )

    @property
    def is_named(self) -> bool:
        """Whether the heading is all that names the source: that of a converter alone, which leads to the Bank."""
        return self.layout == "converter" and self.titled and not self.note

    @property
    def spark_box(self) -> str:
        """The viewBox of a trend line."""
        return f"0 0 {SPARK_WIDTH} {SPARK_HEIGHT}"

    @property
    def kinds(self) -> tuple[str, ...]:
        """The columns' kinds, in order."""
        return tuple(column.kind for column in self.columns)


def _ems(thousandths: int) -> int:
    """The next width in em for which widget.css has a rule."""
    step = 4 if thousandths <= _FINE_FROM else 2
    return step * -(-thousandths // (step * 1000))


def rows_json(table: Table) -> bytes:
    """rows.json."""
    return encode(msgspec.structs.replace(table, around_day=None, credit="", later=("", ""), hosted=False))
