"""The widget's rows: of one sheet, or of today's and tomorrow's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import NamedTuple

import msgspec

from ratesvc.domain.rates import EXACT, ONE, InForce, Line, plain, rate_change, rounded, trimmed
from ratesvc.domain.workdays import ONE_DAY
from ratesvc.features.site.language import Language
from ratesvc.features.widget.converter import converter_data
from ratesvc.features.widget.table import SPARK_HEIGHT, SPARK_WIDTH, Head, Row, Table
from ratesvc.features.widget.view import HEADS, View
from ratesvc.features.widget.words import Words
from ratesvc.render.json import source_url
from ratesvc.render.language import HARD_BLANK, NOTHING, PLACES

PERCENT_PLACES = 2
MARKS = {"up": "\u25b2", "down": "\u25bc"}
SPARK_MARGIN = 2
FEWEST_POINTS = 3


Recent = Mapping[str, Sequence[tuple[date, Decimal]]]
"""The unit rates of trend lines, oldest first and in one rouble; possibly few, or none."""


class Price(NamedTuple):
    """What is priced and how much of it, in English; `day` is that of a price that no sheet shown has."""

    name: str
    unit: str
    day: date | None = None


class Beside(NamedTuple):
    """What is shown beside the rates: `prices` by code, and `lines`, each on today and on the days of the sheets."""

    recent: Recent
    prices: Mapping[str, Price]
    lines: Sequence[Sequence[Line | None]]


NOTHING_BESIDE = Beside({}, {}, ())


def table(
    shown: Sequence[InForce],
    language: Language,
    view: View,
    beside: Beside,
    *,
    today: date,
    demo: bool = False,
) -> Table:
    """The rows of one sheet, or of today's and tomorrow's. A currency is left out if no sheet has it.

    If no sheet has any of them, their rows have no figures, and the note says so.
    """
    quoted = [code for code in view.shown if _nominal(shown, code)]
    currencies = [code for code in quoted if code not in beside.prices]
    words = Words(shown, language, view, today, missing="" if quoted else ", ".join(view.shown))
    writer = _Writer(shown, language, view, beside.prices, today)
    rows = [writer.row(code, beside.recent) for code in quoted or view.shown]
    rows += [writer.line(of_days) for of_days in beside.lines]
    columns = _columns(shown, language, view, today, trending=any(row.points for row in rows))
    if columns[1].kind != "trend":
        rows = [msgspec.structs.replace(row, cells=row.cells[1:], exact=row.exact[1:]) for row in rows]
    title = words.title(next((text for row in rows for text in row.exact if text), ""))
    is_inline, is_table = view.layout == "inline", view.layout == "table"
    is_warned = view.layout == "line" and title.is_ours and (shown[0].stale or not quoted)
    if is_inline:
        rows, columns = [_in_a_sentence(rows[0], words)], columns[:2]
    source = source_url(shown[-1].revision.effective_date, language)
    return Table(
        tag=language.tag,
        direction=language.direction,
        title=str(title),
        titled=view.heading != "none" or (not view.has_heads and view.layout in ("table", "line", "bar")),
        headless=not view.has_heads,
        layout="" if is_table else view.layout,
        href=view.link(view.codes[0] if is_inline else "") or ("" if is_table else source),
        stale=shown[0].stale,
        columns=columns,
        rows=tuple(rows),
        source=source,
        foreign=language.foreign,
        title_foreign=language.foreign if title.is_ours else "",
        badge=language.say("demo") if demo else "",
        note="" if is_warned else words.note,
        converter=converter_data(shown, currencies, language) if view.converter and currencies else "",
        around_day=(title.before, title.after) if view.layout == "line" else None,
        credit=words.credit,
        later=words.later,
        hosted=bool(view.own_heading or view.link("")),
    )


def _in_a_sentence(row: Row, words: Words) -> Row:
    """Its rate alone, with the sign of roubles, and its day if that is not today."""
    rate = words.language.roubles(row.cells[0])
    return msgspec.structs.replace(row, cells=(rate + words.of_sentence,), exact=())


def columns_of(today: InForce, following: InForce | None, view: View) -> tuple[InForce, ...]:
    """Today's sheet, tomorrow's once it is announced, or both, as the view says; never nothing."""
    if following is None or "next" not in view.columns:
        return (today,)
    # A line shows today's where it has no room for tomorrow's day.
    is_alone = view.layout != "line" and ("today" not in view.columns or not view.has_heads)
    return (following,) if is_alone else (today, following)


def _columns(
    shown: Sequence[InForce], language: Language, view: View, today: date, *, trending: bool
) -> tuple[Head, ...]:
    trend = [Head("trend", language.say("{days} days", days=str(view.spark)))] if trending else []
    kinds = ("today", "value")[-len(shown) :]
    dated = [_dated(kind, answer, language, today) for kind, answer in zip(kinds, shown, strict=True)]
    moves = [Head(kind, language.say(HEADS[column])) for kind, column in view.changes]
    return (Head("name", language.say("Currency")), *trend, *dated, *moves)


def _dated(kind: str, answer: InForce, language: Language, today: date) -> Head:
    """The head of a day: today or tomorrow, and since when its sheet applies if that is another day."""
    effective = answer.revision.effective_date
    if answer.next_due_at is None:
        return Head(kind, language.day(effective), iso=effective.isoformat())
    day, label = language.day_and_month(effective), ""
    # Only the catalogues have these words; elsewhere the dates say enough.
    if not language.foreign and not answer.stale:
        days = {today: "Today", today + ONE_DAY: "Tomorrow"}
        label = language.say(days[answer.requested_date]) if answer.requested_date in days else ""
        is_exact = bool(label) and effective == answer.requested_date
        day = day if is_exact else language.say("since {day}" if effective < today else "from {day}", day=day)
    return Head(kind, day, label, effective.isoformat())


def _nominal(shown: Sequence[InForce], code: str) -> int:
    """The nominal of the newest sheet that has the currency; 0 if none has it."""
    sheets = [answer.revision.sheet for answer in reversed(shown)]
    return next((sheet.by_code[code].nominal for sheet in sheets if code in sheet.by_code), 0)


class _Writer:
    """Writes rows, all numbers of a row for the same number of units."""

    def __init__(
        self, shown: Sequence[InForce], language: Language, view: View, prices: Mapping[str, Price], today: date
    ) -> None:
        self._shown, self._language, self._view, self._prices, self._today = shown, language, view, prices, today
        self._symbols = language.symbols(view.shown) if view.symbols else {}

    def row(self, code: str, recent: Recent) -> Row:
        """The row; its first cell is the trend."""
        view, language = self._view, self._language
        nominal = _nominal(self._shown, code) or 1
        units = ONE if view.unit else Decimal(nominal)
        points, trend = spark([(day, EXACT.multiply(rate, units)) for day, rate in recent.get(code, ())], language)
        values, exact = zip(*(self._value(answer, code, units) for answer in self._shown), strict=True)
        move, changes = self._changes(code, units)
        unit, name = self._head(code, units)
        return Row(
            code=code,
            href=view.link(code),
            unit=unit,
            name=name,
            ours=code in self._prices,
            move=move,
            mark=MARKS.get(move, ""),
            words=language.say(move) if move in MARKS else "",
            points=points,
            cells=(trend, *values, *(changes[column] for _, column in view.changes)),
            exact=("", *exact, *("" for _ in view.changes)) if any(exact) else (),
        )

    def _head(self, code: str, units: Decimal) -> tuple[str, str]:
        """The unit and the name of a row."""
        language, price = self._language, self._prices.get(code)
        if price:
            dated = [self._dated("as of {day}", price.day)] if price.day else []
            return self._in_one(language.say(price.name), language.say(price.unit), *dated)
        name = self._symbols.get(code, code)
        unit = name if units == 1 else f"{language.whole(int(units))}\u00a0{name}"
        return unit, language.currency(code, int(units)) if "name" in self._view.columns else ""

    def _in_one(self, name: str, *more: str) -> tuple[str, str]:
        """Two lines of a head, or one where the second is not seen, because a figure needs both."""
        if self._view.layout == "table":
            return name, ", ".join(more)
        return ", ".join((name, *more)) + (":\u00a0" if self._view.layout == "line" else ""), ""

    def _dated(self, sentence: str, day: date) -> str:
        """A day in a sentence of ours, with its year if that is another one."""
        language, has_year = self._language, day.year != self._today.year
        if self._view.layout == "table":
            shown = language.date_as("yMMMd" if has_year else "MMMd", day)
        else:
            shown = language.shortest_day(day, has_year=has_year)
        return language.say(sentence, day=shown).replace(" ", HARD_BLANK)

    def line(self, of_days: Sequence[Line | None]) -> Row:
        """A line. It holds until it changes: what is not yet known of tomorrow is the figure of today."""
        view, language = self._view, self._language
        newest = next(line for line in reversed(of_days) if line)
        sentence = "as of {day}" if newest.is_stale else "from {day}" if newest.day > self._today else "since {day}"
        unit, name = self._in_one(language.say(newest.name), self._dated(sentence, newest.day))
        texts = [language.share((line or newest).value) for line in of_days[1:]]
        return Row(unit=unit, name=name, ours=True, cells=("", *texts, *("" for _ in view.changes)))

    def _value(self, answer: InForce, code: str, units: Decimal) -> tuple[str, str]:
        """The rate of a day, and its figures before they were rounded."""
        quote, number = answer.revision.sheet.by_code.get(code), self._language.number
        if quote is None:
            return NOTHING, ""
        amount = EXACT.multiply(quote.unit_rate, units)
        places = self._places(code, amount)
        shown = self._view.rounded(amount, places)
        return number(shown, places), number(amount, places) if shown != amount else ""

    def _places(self, code: str, amount: Decimal) -> int:
        """Decimals for an amount: of a price two, as the Bank prints it, unless the view says another number."""
        return PERCENT_PLACES if code in self._prices and not self._view.decimals else self._view.places(amount)

    def _changes(self, code: str, units: Decimal) -> tuple[str, dict[str, str]]:
        """The move, and the cells of change."""
        newest, view, language = self._shown[-1], self._view, self._language
        change = rate_change(newest.revision.sheet, newest.previous.sheet if newest.previous else None, code)
        quote = newest.revision.sheet.by_code.get(code)
        # The rouble has a change, and no rate.
        if not (change and quote):
            return "", {"change": NOTHING, "percent": NOTHING}
        exact, percent = EXACT.multiply(change.absolute, units), change.percent(PERCENT_PLACES)
        places = self._places(code, EXACT.multiply(quote.unit_rate, units))
        # An arrow beside 0.00 would say both, so a change keeps digits that are not 0, and per cent have no arrow.
        places = places if view.rounded(exact, places) else self._places(code, exact)
        absolute = view.rounded(exact, places)
        is_line = view.layout == "line"  # there the arrow is the sign
        written = language.number(abs(absolute), places) if is_line else language.signed(absolute, places)
        beside = exact if "change" in view.columns else percent
        move = "up" if beside > 0 else "down" if beside < 0 else "same"
        return move, {"change": written, "percent": language.percent(percent)}


def spark(rates: Sequence[tuple[date, Decimal]], language: Language) -> tuple[str, str]:
    """A small line as the points of an SVG polyline, in a box of SPARK_WIDTH by SPARK_HEIGHT, and as words.

    Both are empty if fewer than three sheets are held.
    """
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
