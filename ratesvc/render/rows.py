"""The widget's rows as plain text, formatted once: what element, frame, fragment, card and rows.json all show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any

from ratesvc.domain.rates import (
    EXACT,
    REDENOMINATION,
    Change,
    InForce,
    Sheet,
    Snapshot,
    in_one_rouble,
    plain,
    rate_change,
    rounded,
    trimmed,
)
from ratesvc.domain.workdays import ONE_DAY
from ratesvc.render.json import encode, source_url
from ratesvc.render.language import Language

TITLE = "The Bank of Russia official exchange rates of foreign currencies"
OLD_ROUBLES = "In old roubles: 1,000 of them are 1 new rouble."
"""Wherever rates in force before 1998-01-01 are shown."""
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
MARKS = {"up": "\u25b2", "down": "\u25bc", "same": "", "": ""}

Recent = Callable[[str, int], Sequence[tuple[date, Decimal]]]
"""The unit rates of a currency over so many days, oldest first; possibly few of them, or none."""


@dataclass(frozen=True, slots=True)
class View:
    """What an embedding wants to see. `heading` is empty for ours and «none» for a hidden one."""

    codes: tuple[str, ...] = DEFAULT_CODES
    columns: tuple[str, ...] = DEFAULT_COLUMNS
    heading: str = ""
    spark: int = 0

    @property
    def named(self) -> bool:
        """Whether currencies are shown with their names."""
        return "name" in self.columns

    def beginning_with(self, code: str) -> View:
        """The same with this currency in the first line."""
        return replace(self, codes=(code, *(other for other in self.codes if other != code)))

    @property
    def changes(self) -> list[tuple[str, str]]:
        """Columns of change as (kind, what was asked for): the first is of kind change and has the arrow."""
        return list(zip(("change", "percent"), (name for name in HEADS if name in self.columns), strict=False))


@dataclass(frozen=True, slots=True)
class Head:
    """A column's head. `kind` is name, trend, today, value, change or percent: its class and its part.

    `value` is the newest rate and `today` the one beside it; dated columns carry `iso`, and where both are
    shown a `label` that says today or tomorrow.
    """

    kind: str
    text: str
    label: str = ""
    iso: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One line: `cells` for all columns but the name.

    `move` is up, down, same, or empty where nothing came before; `words` says it aloud.
    """

    code: str
    unit: str
    name: str
    cells: tuple[str, ...]
    move: str
    words: str
    points: str

    @property
    def mark(self) -> str:
        """The arrow."""
        return MARKS[self.move]


@dataclass(frozen=True, slots=True)
class Table:
    """Everything that is shown. `foreign` is the language of our sentences where it is not that of the page.

    `title_foreign` is the same for the title, which may be the host's own words.
    """

    tag: str
    direction: str
    foreign: str
    title: str
    title_foreign: str
    titled: bool
    badge: str
    columns: tuple[Head, ...]
    rows: tuple[Row, ...]
    note: str
    source: str
    stale: bool

    @property
    def kinds(self) -> tuple[str, ...]:
        """The columns' kinds, in order."""
        return tuple(column.kind for column in self.columns)


def table(shown: Sequence[InForce], language: Language, view: View, recent: Recent, *, demo: bool = False) -> Table:
    """The rows of one sheet, or of today's and tomorrow's; currencies that none of them has are left out."""
    trends = {code: _trend(shown, code, language, recent(code, view.spark)) for code in view.codes if view.spark}
    columns = _columns(shown, language, view, trending=any(trends.values()))
    kinds = [column.kind for column in columns]
    ours = view.heading in ("", NO_HEADING)
    return Table(
        tag=language.tag,
        direction=language.direction,
        foreign=language.foreign,
        title=language.say(TITLE) if ours else view.heading,
        title_foreign=language.foreign if ours else "",
        titled=view.heading != NO_HEADING,
        badge=language.say("demo") if demo else "",
        columns=columns,
        rows=tuple(
            _row(shown, code, language, view, kinds, trends.get(code)) for code in view.codes if _nominal(shown, code)
        ),
        note=_note(shown[0], language),
        source=source_url(shown[-1].revision.effective_date, language),
        stale=shown[0].stale,
    )


def columns_of(snapshot: Snapshot, view: View) -> tuple[InForce, ...]:
    """Today's sheet, tomorrow's once it is announced, or both, as the view wants; never nothing."""
    following = snapshot.for_next() if "next" in view.columns else None
    today = () if following and "today" not in view.columns else (snapshot.for_today(),)
    return (*today, following) if following else today


def _columns(shown: Sequence[InForce], language: Language, view: View, *, trending: bool) -> tuple[Head, ...]:
    trend = [Head("trend", language.say("{days} days", days=str(view.spark)))] if trending else []
    moves = [Head(kind, language.say(HEADS[asked])) for kind, asked in view.changes]
    return (Head("name", language.say("Currency")), *trend, *_dated(shown, language), *moves)


def _dated(shown: Sequence[InForce], language: Language) -> list[Head]:
    if len(shown) == 1:
        return [_day_column("value", shown[0], "", language)]
    # Only the catalogues have these words; elsewhere the dates say enough.
    tomorrow = shown[1].revision.effective_date == shown[0].requested_date + ONE_DAY
    labels = (language.say("Today"), language.say("Tomorrow")) if tomorrow and not language.foreign else ("", "")
    return [
        _day_column("today", shown[0], labels[0], language),
        _day_column("value", shown[1], labels[1], language),
    ]


def _day_column(kind: str, answer: InForce, label: str, language: Language) -> Head:
    effective = answer.revision.effective_date
    asked_long_ago = answer.next_expected_at is None
    day = language.day(effective) if asked_long_ago else language.day_and_month(effective)
    return Head(kind, day, label, effective.isoformat())


def _note(answer: InForce, language: Language) -> str:
    if answer.revision.effective_date < REDENOMINATION:
        return language.say(OLD_ROUBLES)
    if not answer.stale:
        return ""
    return language.say("Not updated since {day}.", day=language.day(answer.revision.effective_date))


def _nominal(shown: Sequence[InForce], code: str) -> int:
    """The newest sheet's, of those that have the currency; 0 where none has it."""
    sheets = [answer.revision.sheet for answer in reversed(shown)]
    return next((sheet.by_code[code].nominal for sheet in sheets if code in sheet.by_code), 0)


def _row(
    shown: Sequence[InForce], code: str, language: Language, view: View, kinds: Sequence[str], trend: Spark | None
) -> Row:
    nominal = _nominal(shown, code)
    change = _change(shown[-1], code)
    move = _move(change)
    texts = {
        "trend": trend.words if trend else "",
        "today": _value(shown[0].revision.sheet, code, nominal, language),
        "value": _value(shown[-1].revision.sheet, code, nominal, language),
    }
    changes = {
        "change": _moved(change, nominal, language),
        "percent": language.percent(change.percent(PERCENT_PLACES)) if change else NOTHING,
    }
    texts |= {kind: changes[asked] for kind, asked in view.changes}
    return Row(
        code=code,
        unit=code if nominal == 1 else f"{language.whole(nominal)}\u00a0{code}",
        name=language.currency(code, nominal) if view.named else "",
        cells=tuple(texts[kind] for kind in kinds[1:]),
        move=move,
        words=language.say(move) if move in ("up", "down") else "",
        points=trend.points if trend else "",
    )


def _trend(
    shown: Sequence[InForce], code: str, language: Language, rates: Sequence[tuple[date, Decimal]]
) -> Spark | None:
    """The line of what the nominal of the row cost."""
    nominal = Decimal(_nominal(shown, code))
    return spark([(day, EXACT.multiply(rate, nominal)) for day, rate in rates], language) if nominal else None


def _change(answer: InForce, code: str) -> Change | None:
    return rate_change(answer.revision.sheet, answer.previous.sheet if answer.previous else None, code)


def _move(change: Change | None) -> str:
    if change is None:
        return ""
    return "up" if change.absolute > 0 else "down" if change.absolute < 0 else "same"


def _moved(change: Change | None, nominal: int, language: Language) -> str:
    """The change of `nominal` units, the number beside it."""
    return language.signed(EXACT.multiply(change.absolute, Decimal(nominal)), PLACES) if change else NOTHING


def _value(sheet: Sheet, code: str, nominal: int, language: Language) -> str:
    """The value for `nominal` units, even where this sheet prints it for another nominal."""
    quote = sheet.by_code.get(code)
    return language.number(EXACT.multiply(quote.unit_rate, Decimal(nominal)), PLACES) if quote else NOTHING


SPARK_WIDTH = 60
SPARK_HEIGHT = 18
SPARK_MARGIN = 2
FEWEST_POINTS = 3


@dataclass(frozen=True, slots=True)
class Spark:
    """`points` as SVG takes them, in a box of SPARK_WIDTH by SPARK_HEIGHT; `words` for who cannot see it."""

    points: str
    words: str


def spark(rates: Sequence[tuple[date, Decimal]], language: Language) -> Spark | None:
    """The line, or None where fewer than three sheets are held. Old roubles and new ones make no line."""
    rates = in_one_rouble(rates)
    if len(rates) < FEWEST_POINTS:
        return None
    (first, start), (last, end) = rates[0], rates[-1]
    low, high = min(rate for _, rate in rates), max(rate for _, rate in rates)
    across = Decimal((last - first).days)
    down = EXACT.subtract(high, low)
    places = (
        (
            _place(Decimal((day - first).days), across, SPARK_WIDTH),
            _place(EXACT.subtract(high, rate), down, SPARK_HEIGHT),
        )
        for day, rate in rates
    )
    words = language.say("from {first} to {last}", first=_number(start, language), last=_number(end, language))
    return Spark(" ".join(f"{x},{y}" for x, y in places), words)


def _place(part: Decimal, whole: Decimal, size: int) -> str:
    """Where between the margins; in the middle where nothing moves."""
    room = Decimal(size - 2 * SPARK_MARGIN)
    offset = rounded(EXACT.multiply(part, room), whole, places=1) if whole else rounded(room, Decimal(2), places=1)
    return plain(trimmed(offset + SPARK_MARGIN))


def _number(rate: Decimal, language: Language) -> str:
    exponent = trimmed(rate).as_tuple().exponent
    return language.number(rate, max(4, -exponent) if isinstance(exponent, int) else 4)


def rows_json(table: Table, style: str = "") -> bytes:
    """The table with every text that the other forms show.

    `style` is the widget's style sheet where the element asks: it has no use for codes then. Otherwise it is empty.
    """
    document: dict[str, Any] = {
        "lang": table.tag,
        "dir": table.direction,
        "title": table.title,
        "titled": table.titled,
        "stale": table.stale,
        "columns": [_column_json(column) for column in table.columns],
        "rows": [_row_json(row, coded=not style) for row in table.rows],
        "source_url": table.source,
    }
    languages = {"words_lang": table.foreign, "title_lang": table.title_foreign}
    optional = {"badge": table.badge, "note": table.note, "style": style}
    return encode({**document, **_said(languages), **_said(optional)})


def _column_json(column: Head) -> dict[str, str]:
    return {"kind": column.kind, "text": column.text, **_said({"label": column.label, "date": column.iso})}


def _row_json(row: Row, *, coded: bool) -> dict[str, Any]:
    optional = {
        "code": row.code if coded else "",
        "unit": row.unit,
        "name": row.name,
        "move": row.move,
        "mark": row.mark,
        "words": row.words,
        "points": row.points,
    }
    return {**_said(optional), "cells": row.cells}


def _said(texts: dict[str, str]) -> dict[str, str]:
    """Without what is empty."""
    return {name: text for name, text in texts.items() if text}
