"""The page /chart: figures, pictures, the rows behind them, and what leads on. Without the latter it is a frame."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from urllib.parse import urlencode

from ratesvc.domain.columns import Days
from ratesvc.domain.rates import EXACT, FIRST_DAY, MOST_USED, REDENOMINATION, Change, trimmed
from ratesvc.features.chart.axes import Point, px
from ratesvc.features.chart.drawing import MOST_CURRENCIES, STYLE, ChartLook, Drawing, is_better_indexed, plot
from ratesvc.features.ranges.periods import month
from ratesvc.features.site.language import Language, translated
from ratesvc.features.site.page import CHART, iframe, page, picture_of
from ratesvc.features.site.reasons import choices, of_sentences
from ratesvc.features.site.text import PIXEL
from ratesvc.render.language import NOTHING, PLACES
from ratesvc.render.openapi import Site

USUAL_CODES, USUAL_PERIOD, USUAL_THEME = MOST_USED[:1], "year", "light"
PERIODS = {"week": "{days} days", "month": "Month", "year": "Year", "5years": "5 years", "all": "All years"}
_MONTHS = {"month": 1, "year": 12, "5years": 60}

EMBED_WIDTHS = (360, 520, 720)
"""Pixels of a frame."""

_PLOT, _FRAMED = (0, 0, 400 * PIXEL, 208 * PIXEL), (0, 0, 400 * PIXEL, 150 * PIXEL)
"""The lowest plot of the page, and of a usual frame. Labels keep their distance in it. The browser stretches it."""

MOST_ROWS = 420
"""Of the table: all sheets of a year, the weeks of eight years, or the months since 1992."""
_STEPS: tuple[tuple[str, Callable[[date], Hashable]], ...] = (
    ("Every rate", date.toordinal),
    ("The last rate of each week", lambda day: day.isocalendar()[:2]),
    ("The last rate of each month", lambda day: (day.year, day.month)),
)
_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class View:
    """Currencies, a period up to today, or where `period` is empty days of the reader's own, and how they are shown.

    With a `theme` the page is a frame.
    """

    codes: tuple[str, ...]
    period: str
    days: Days
    language: Language
    site: Site
    theme: str = ""

    def query(self, **more: str) -> str:
        """The parameters of the page."""
        own = {"since": str(self.days.since), "until": str(self.days.until)}
        days = {"period": self.period} if self.period else own
        return urlencode({"codes": ",".join(self.codes), **days, "lang": self.language.tag, **more}, safe=",")

    def dated(self, **more: str) -> str:
        """The parameters of the same days for ever."""
        return replace(self, period="").query(**more)


def days_of(period: str, today: date, begins: date) -> Days:
    """The days of a period up to today."""
    if period == "week":
        return Days(max(begins, today - timedelta(days=7)), today)
    if period not in _MONTHS:
        return Days(begins, today)
    months = today.year * 12 + today.month - 1 - _MONTHS[period]
    first = date(months // 12, months % 12 + 1, 1)
    return Days(max(begins, min(first + timedelta(days=today.day - 1), month(first).until)), today)


def answered(
    view: View, codes: Collection[str], series: Mapping[str, Sequence[Point]], unconfirmed: Sequence[date]
) -> str:
    """The page about these rates, in which the `unconfirmed` days are missing; `codes` may be chosen."""
    language, indexed = view.language, is_better_indexed(series)
    drawing = Drawing(series, ChartLook(language, demo=view.site.demo and bool(view.theme)), indexed=indexed)
    figures = [_figure(code, drawing.rates.get(code, ()), language) for code in view.codes]
    step, days = _days(drawing.rates)
    roubles = {"roubles": "new"} if view.days.since < REDENOMINATION else {}
    return _page(
        view,
        codes,
        title=drawing.title,
        description=_described(figures, drawing.subtitle),
        alternative=drawing.in_words or drawing.title,
        figures=figures,
        subtitle=drawing.subtitle,
        notes=drawing.notes[1:],
        plot=plot(drawing.curves, language, _FRAMED if view.theme else _PLOT) if drawing.curves else {},
        px=px,
        indexed=indexed,
        step=language.say(step),
        rows=_rows(days, drawing.rates, view),
        missing=_missing(unconfirmed, language),
        csv=f"{view.site.public_url}/v1/series.csv?{view.dated(locale=language.tag, **roubles)}",
    )


def refused(view: View, codes: Collection[str], why: str = "", detail: str = "") -> str:
    """The page with its form and the reason why there is no chart, or the `detail` of a parameter's refusal."""
    problem = why or view.language.say("The request was not understood. Please choose currencies and days.")
    return _page(view, codes, problem=problem, detail=detail)


def frame_address(view: View) -> str:
    """The address for an iframe."""
    theme = {"theme": view.theme} if view.theme not in ("", USUAL_THEME) else {}
    return f"{view.site.public_url}/chart/frame?{view.query(**theme)}"


def frame_height(codes: Sequence[str]) -> int:
    """The pixels of a frame: each figure has its line if it is narrow, and the chart fills what they leave."""
    return 360 + 24 * len(codes)


def _page(view: View, codes: Collection[str], **values: object) -> str:
    language, site = view.language, view.site
    others = [choice for choice in choices(codes, language) if choice[0] not in view.codes]
    nothing = {"title": "", "description": "", "figures": (), "problem": "", "detail": "", "missing": ""}
    return page(
        "chart/chart.html",
        **nothing | values,
        t=language.say,
        heading=language.say(CHART),
        embed=iframe(frame_address(view), language.say(CHART), (EMBED_WIDTHS[-1], frame_height(view.codes))),
        widths=EMBED_WIDTHS,
        picture=picture_of(site, f"chart.png?{view.dated()}&width=720&height=400&density=2"),
        page=of_sentences(language),
        language=language,
        uis=[(ui, f"{site.public_url}/chart?{replace(view, language=ui).query()}") for ui in translated()],
        site=site,
        theme=view.theme,
        rules=STYLE,
        view=view,
        earliest=FIRST_DAY,
        others=others if len(view.codes) < MOST_CURRENCIES else [],
        periods=[(language.say(name, days="7"), replace(view, period=key)) for key, name in PERIODS.items()],
        alone=lambda code: replace(view, codes=(code,)),
        without=lambda code: replace(view, codes=tuple(one for one in view.codes if one != code)),
    )


def _figure(code: str, points: Sequence[Point], language: Language) -> dict[str, str]:
    """The last rate of one currency, how it moved since the first one, and their days."""
    figure = {"code": code, "name": language.currency(code), "rate": NOTHING, "move": "same"}
    figure |= dict.fromkeys(("change", "percent", "days"), "")
    if not points:
        return figure
    (first, before), (last, now) = points[0], points[-1]
    figure |= {"rate": language.roubles(language.number(now, PLACES)), "days": language.day(last)}
    if first == last:
        return figure
    moved = EXACT.subtract(now, before)
    change = Change(trimmed(moved), moved, before)
    figure |= {"change": language.signed(change.absolute, PLACES), "percent": language.percent(change.percent(2))}
    move = "up" if moved > 0 else "down" if moved < 0 else "same"
    return figure | {"move": move, "days": language.period(first, last)}


def _described(figures: Sequence[Mapping[str, str]], subtitle: str) -> str:
    """The first figures, for previews."""
    first = ("{code} {rate} {percent}".format_map(figure).rstrip() for figure in figures[:3])
    return " · ".join([*first, subtitle])


def _days(rates: Mapping[str, Sequence[Point]]) -> tuple[str, list[date]]:
    """The days of the table, oldest first: all, or the last of each week or month and the ends of the lines."""
    every = sorted({day for points in rates.values() for day, _ in points})
    ends = {points[end][0] for points in rates.values() for end in (0, -1)}
    ways = [(name, sorted({*{key(day): day for day in every}.values(), *ends})) for name, key in _STEPS]
    return next((way for way in ways if len(way[1]) <= MOST_ROWS), ways[-1])


def _rows(
    days: Sequence[date], rates: Mapping[str, Sequence[Point]], view: View
) -> list[tuple[str, str, Sequence[str]]]:
    """Each day, the newest first: for programs, for people, and with its rates."""
    language, columns = view.language, [dict(rates.get(code, ())) for code in view.codes]

    def cells(day: date) -> list[str]:
        return [language.number(column[day], PLACES) if day in column else NOTHING for column in columns]

    return [(str(day), language.day(day), cells(day)) for day in reversed(days)]


def _missing(unconfirmed: Sequence[date], language: Language) -> str:
    named = [of_sentences(language).day(day) for day in unconfirmed[:_MOST_NAMED]]
    more = ["…"] if len(unconfirmed) > _MOST_NAMED else []
    days = ", ".join([*named, *more])
    return language.say("Without {days}: the rates are not confirmed yet.", days=days) if named else ""
