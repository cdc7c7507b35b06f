"""The widget's rows as plain text, formatted once. Element, frame, fragment, card and rows.json all show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal

import msgspec

from ratesvc.domain.rates import EXACT, ONE, REDENOMINATION, InForce, plain, rate_change, rounded, trimmed
from ratesvc.domain.workdays import MOSCOW, ONE_DAY, moscow_day, usual_at
from ratesvc.features.site.language import Language
from ratesvc.features.site.text import text_width
from ratesvc.features.widget.converter import converter_data
from ratesvc.features.widget.view import DATED_TITLE, HEADINGS, HEADS, View
from ratesvc.render.json import encode, source_url
from ratesvc.render.language import HARD_BLANK, NOTHING, OLD_ROUBLES, PLACES

PERCENT_PLACES = 2
MARKS = {"up": "\u25b2", "down": "\u25bc"}
SPARK_WIDTH, SPARK_HEIGHT, SPARK_MARGIN = 60, 18, 2
FEWEST_POINTS = 3
LONG_WIDTHS, SHORT_WIDTHS, WIDEST_LINE, EVEN_BAR = (12, 18, 24, 30, 36), (12, 16, 24, 28, 32), 60, 8
"""What widget.css has rules for: thresholds in em by the number of columns, with names or long units and without them,
and of lines; cells of a bar in even rows."""
SHORT_UNIT = len("100 JPY")
_SHORT_NAME = 3
STOPS = ".\u3002\u0589"

Recent = Mapping[str, Sequence[tuple[date, Decimal]]]
"""The unit rates of trend lines, oldest first and in one rouble; possibly few, or none."""


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
    `points` is the trend line.
    """

    code: str = ""
    href: str = ""
    unit: str
    name: str = ""
    move: str = ""
    mark: str = ""
    words: str = ""
    points: str = ""
    cells: tuple[str, ...]
    exact: tuple[str, ...] = ()

    @property
    def trend(self) -> str:
        """The direction of the trend line: up, down or empty."""
        first, last = (Decimal(self.points.split(" ")[at].partition(",")[2]) for at in (0, -1))
        return "up" if last < first else "down" if last > first else ""

    @property
    def end(self) -> str:
        """The dot at the end of the trend line: a line of no length."""
        last = self.points.rpartition(" ")[2]
        return f"{last} {last}"


class Table(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Everything that is shown, and as JSON rows.json. A text that is empty has no field there.

    `foreign` is the language of our sentences if it is not the page's language. `title_foreign` is that of the title,
    which may be the host's own words. `converter` is the data of its element. `day` is the part of a line's title that
    stays where there is no room for all of it, `credit` the Bank and a day before the source. rows.json has neither.
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
    day: str = ""
    credit: str = ""

    @property
    def classes(self) -> str:
        """The classes of its layout, and of the width in em below which that changes."""
        names = [self.layout] if self.layout else []
        names += [f"at-{self.threshold}"] if self.layout in ("", "line") else []
        names += [] if self.layout or self.has_names else ["nameless"]
        names += [f"of-{len(self.rows)}"] if self.layout == "bar" and len(self.rows) <= EVEN_BAR else []
        return "".join(f" cbr-{name}" for name in names)

    @property
    def title_kinds(self) -> str:
        """The classes of the title: `bare` has no heads below it, `stale` is the warning of a line."""
        if not self.titled:
            return "title words bare"
        is_bare = self.headless and self.layout in ("", "bar")
        return "title bare" if is_bare else "title stale" if self.day and self.stale else "title"

    @property
    def title_parts(self) -> list[tuple[str, bool]]:
        """The title in parts, and whether a narrow line leaves a part out: all but the day.

        It keeps a short name of the Bank, «ЦБ 19.11», too, if the first currency is a symbol, which leaves room for it.
        """
        if not self.day:
            return [(self.title, False)]
        before, day, after = self.title.rpartition(self.day)
        bank, _, words = before.partition(" ")
        is_short = words and not self.stale and len(bank) < _SHORT_NAME and len(self.rows[0].unit) < _SHORT_NAME
        parts = [(f"{bank} ", False), (words, True)] if is_short else [(before, True)]
        return [(text, is_more) for text, is_more in (*parts, (day, False), (after, True)) if text]

    def cells(self, row: Row) -> list[tuple[str, str, str]]:
        """The kind, the text and the exact figure of each cell; a trend line has its direction as a second kind."""
        kinds = [f"{kind} {row.trend}".strip() if kind == "trend" and row.points else kind for kind in self.kinds[1:]]
        return list(zip(kinds, row.cells, row.exact or [""] * len(kinds), strict=True))

    @property
    def has_names(self) -> bool:
        """Whether names of currencies stand beside their codes."""
        return any(row.name for row in self.rows)

    @property
    def threshold(self) -> int:
        """The width in em that all columns of a table need side by side, or the heading of a line before a currency."""
        if self.layout == "line":
            # Bold letters are 8 % wider, and the heading leaves 8.7 em to the first rate.
            return min(WIDEST_LINE, 4 * -(-(8700 + text_width(self.title, 108)) // 4000))
        is_long = any(row.name or len(row.unit) > SHORT_UNIT for row in self.rows)
        return (LONG_WIDTHS if is_long else SHORT_WIDTHS)[len(self.columns) - 2]

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


def table(
    shown: Sequence[InForce], language: Language, view: View, recent: Recent, *, today: date, demo: bool = False
) -> Table:
    """The rows of one sheet, or of today's and tomorrow's. A currency is left out if no sheet has it.

    If no sheet has any of them, their rows have no figures, and the note says so.
    """
    writer = _Writer(shown, language, view)
    quoted = [code for code in view.shown if _nominal(shown, code)]
    rows = [writer.row(code, recent) for code in quoted or view.shown]
    columns = _columns(shown, language, view, today, trending=any(row.points for row in rows))
    if columns[1].kind != "trend":
        rows = [msgspec.structs.replace(row, cells=row.cells[1:], exact=row.exact[1:]) for row in rows]
    exact = next((text for row in rows for text in row.exact if text), "")
    is_inline, is_line, is_table = (view.layout == layout for layout in ("inline", "line", "table"))
    day = _short_day(shown, language)
    if is_inline:
        rate = language.roubles(rows[0].cells[0])
        # A hint is not seen on a phone, so an old rate, and tomorrow's, has its day in the text.
        is_todays = not shown[0].stale and shown[0].revision.effective_date <= today
        said = day if language.foreign else language.say("as of {day}", day=day)
        cell = rate if is_todays else f"{rate} ({said.replace(' ', HARD_BLANK)})"
        rows, columns = [msgspec.structs.replace(rows[0], cells=(cell,), exact=())], columns[:2]
    source = source_url(shown[-1].revision.effective_date, language)
    title, note = _title(shown, language, view, exact, today), _note(shown[0], language, view, today)
    if not quoted:
        codes = ", ".join(view.shown)
        note = language.say("The Bank of Russia has no rate for {codes}.", codes=codes)
    has_credit = view.has_heads or (view.layout == "converter" and view.heading == "none")
    # A line is cut at its end, so there a warning stands in the heading's place.
    is_warning = is_line and (not quoted or shown[0].stale)
    if is_warning:
        title, note, day = (title, "", day) if quoted else (note.rstrip(STOPS), "", codes)
    return Table(
        tag=language.tag,
        direction=language.direction,
        title=f"{title} · {note}" if is_inline and note else title,
        titled=view.heading != "none" or (not view.has_heads and view.layout in ("table", "line", "bar")),
        headless=not view.has_heads,
        layout="" if is_table else view.layout,
        href=view.link(view.codes[0] if is_inline else "") or ("" if is_table else source),
        stale=shown[0].stale,
        columns=columns,
        rows=tuple(rows),
        source=source,
        foreign=language.foreign,
        title_foreign=language.foreign if is_warning or not (is_inline or view.own_heading or title == day) else "",
        badge=language.say("demo") if demo else "",
        note=note,
        converter=converter_data(shown, quoted, language) if view.converter and quoted else "",
        day=day if is_line else "",
        credit=_credit(shown[-1], language) if has_credit and not shown[0].stale else "",
    )


def rows_json(table: Table) -> bytes:
    """rows.json."""
    return encode(msgspec.structs.replace(table, day="", credit=""))


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


def _short_day(shown: Sequence[InForce], language: Language) -> str:
    """The day of the newest figures, with its year if they are not those of these days."""
    newest = shown[-1]
    is_past = newest.stale or newest.next_due_at is None
    return language.shortest_day(newest.revision.effective_date, has_year=is_past)


def _title(shown: Sequence[InForce], language: Language, view: View, exact: str, today: date) -> str:
    """The heading. Where no head names the day, it ends with the day. In a text it is a hint, with the exact rate.

    That of a line that is out of date is the warning.
    """
    day = _short_day(shown, language)
    if view.layout == "inline":
        hint = language.say("Bank of Russia, {day}", day=language.day(shown[-1].revision.effective_date))
        return f"{hint}, {language.roubles(exact)}" if exact else hint
    if view.layout == "line" and shown[0].stale:
        return language.say("Not updated since {day}.", day=day).rstrip(STOPS)
    title = view.own_heading or language.say(HEADINGS[view.heading])
    if view.has_heads or (view.layout == "converter" and view.heading == "none"):
        return title
    dated = f"{title}, {day}" if view.own_heading else language.say(DATED_TITLE, day=day)
    title = day if view.heading == "none" else dated
    is_tomorrows = (
        view.layout == "bar" and not language.foreign and shown[-1].revision.effective_date == today + ONE_DAY
    )
    return f"{title} ({language.say('Tomorrow').lower()})" if is_tomorrows else title


def _credit(answer: InForce, language: Language) -> str:
    """The Bank and the day of the newest figures, because a narrow table shows no others."""
    day = language.day(answer.revision.effective_date).replace(" ", HARD_BLANK)
    return language.say("Bank of Russia, {day}", day=language.isolated(day))


def _note(answer: InForce, language: Language, view: View, today: date) -> str:
    effective, expected = answer.revision.effective_date, answer.next_due_at
    if effective < REDENOMINATION:
        return language.say(OLD_ROUBLES)
    if answer.stale:
        return language.say("Not updated since {day}.", day=language.day(effective))
    is_awaited = view.pending and expected and not answer.following and not answer.next_overdue
    if is_awaited and expected and moscow_day(expected) == today:
        usual, due = (language.date_as("time", moment.astimezone(MOSCOW)) for moment in (usual_at(expected), expected))
        return language.say("Tomorrow: about {usual}, by {time}", usual=usual, time=due)
    return ""


def _nominal(shown: Sequence[InForce], code: str) -> int:
    """The nominal of the newest sheet that has the currency; 0 if none has it."""
    sheets = [answer.revision.sheet for answer in reversed(shown)]
    return next((sheet.by_code[code].nominal for sheet in sheets if code in sheet.by_code), 0)


class _Writer:
    """Writes rows, all numbers of a row for the same number of units."""

    def __init__(self, shown: Sequence[InForce], language: Language, view: View) -> None:
        self._shown, self._language, self._view = shown, language, view
        self._symbols = language.symbols(view.shown) if view.symbols else {}

    def row(self, code: str, recent: Recent) -> Row:
        """The row; its first cell is the trend."""
        view, language = self._view, self._language
        nominal = _nominal(self._shown, code) or 1
        units = ONE if view.unit else Decimal(nominal)
        points, trend = spark([(day, EXACT.multiply(rate, units)) for day, rate in recent.get(code, ())], language)
        values, exact = zip(*(self._value(answer, code, units) for answer in self._shown), strict=True)
        move, changes = self._changes(code, units)
        name = self._symbols.get(code, code)
        return Row(
            code=code,
            href=view.link(code),
            unit=name if units == 1 else f"{language.whole(nominal)}\u00a0{name}",
            name=language.currency(code, int(units)) if "name" in view.columns else "",
            move=move,
            mark=MARKS.get(move, ""),
            words=language.say(move) if move in MARKS else "",
            points=points,
            cells=(trend, *values, *(changes[column] for _, column in view.changes)),
            exact=("", *exact, *("" for _ in view.changes)) if any(exact) else (),
        )

    def _value(self, answer: InForce, code: str, units: Decimal) -> tuple[str, str]:
        """The rate of a day, and its figures before they were rounded."""
        quote, number = answer.revision.sheet.by_code.get(code), self._language.number
        if quote is None:
            return NOTHING, ""
        amount = EXACT.multiply(quote.unit_rate, units)
        places = self._view.places(amount)
        shown = self._view.rounded(amount, places)
        return number(shown, places), number(amount, places) if shown != amount else ""

    def _changes(self, code: str, units: Decimal) -> tuple[str, dict[str, str]]:
        """The move, and the cells of change."""
        newest, view, language = self._shown[-1], self._view, self._language
        change = rate_change(newest.revision.sheet, newest.previous.sheet if newest.previous else None, code)
        quote = newest.revision.sheet.by_code.get(code)
        # The rouble has a change, and no rate.
        if not (change and quote):
            return "", {"change": NOTHING, "percent": NOTHING}
        exact, percent = EXACT.multiply(change.absolute, units), change.percent(PERCENT_PLACES)
        places = view.places(EXACT.multiply(quote.unit_rate, units))
        # An arrow beside 0.00 would say both, so a change keeps digits that are not 0, and per cent have no arrow.
        places = places if view.rounded(exact, places) else view.places(exact)
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
