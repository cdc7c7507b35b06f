"""The page /chart, its frame for other pages, and the pictures /chart.svg and /chart.png, all of them from memory."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from functools import cache, partial

from aiohttp import web
from multidict import MultiMapping

from ratesvc.domain.columns import Days
from ratesvc.domain.history import History
from ratesvc.domain.workdays import iso_day, moscow_day
from ratesvc.errors import BadRequest, RatesvcError
from ratesvc.features.chart import chart_page, drawing
from ratesvc.features.chart.chart_page import View
from ratesvc.features.ranges import unit_rates
from ratesvc.features.ranges.requests import check_combined, days_of, long_answer, series_params
from ratesvc.features.ranges.unit_rates import SeriesParams
from ratesvc.features.rendering import Queue
from ratesvc.features.site import png, reasons
from ratesvc.features.site.language import Language, language_or_default
from ratesvc.features.site.page import CHART, FRAME_THEMES, NOINDEX, framed_page, own_page, policy, style
from ratesvc.features.site.routes import LenientParams, html, in_the_readers_language
from ratesvc.render.openapi import Site
from ratesvc.service.app import Service
from ratesvc.service.publication import Body
from ratesvc.web.caching import NO_STORE
from ratesvc.web.features import Embedded, Feature, Features
from ratesvc.web.params import StrictParams, require_known
from ratesvc.web.problems import problem_of
from ratesvc.web.responses import Answer, Handler

CHART_POLICY = ("Content-Security-Policy", policy(drawing.STYLE, frame_ancestors="*"))
PAGE, FRAME, SVG, PNG = "/chart", "/chart/frame", "/chart.svg", "/chart.png"


def routes(service: Service, site: Site, _: Features) -> dict[str, Handler]:
    """Path → handler."""
    return {
        PAGE: in_the_readers_language(partial(page, service, site, PAGE)),
        FRAME: partial(page, service, site, FRAME),
        SVG: partial(_picture, service, SVG),
        PNG: partial(_picture, service, PNG),
    }


async def page(service: Service, site: Site, path: str, request: web.Request) -> Answer:
    """The page, or its frame."""
    history, headers = service.history, _headers(site, path)
    try:
        view = viewed(StrictParams(request, path), service, site)
        wanted = SeriesParams(view.codes, view.days, new_roubles=True)

        def render() -> Body:
            rates = {code: unit_rates.series(history, code, wanted) for code in view.codes}
            unconfirmed = history.missing_days(view.days, moscow_day(service.clock()))
            return html(chart_page.answered(view, history.codes(), rates, unconfirmed), *headers)

        # It lays out all pictures, so no widget waits behind it.
        return await long_answer(service, ("page", path, view), view.days, render, Queue.PICTURES)
    except RatesvcError as error:
        refusal = _refusal(service, site, path, request, error)
        return Answer(html(refusal, *headers), NO_STORE, problem_of(error).status)


def viewed(params: StrictParams, service: Service, site: Site) -> View:
    """What a request asks for. Raises what `series_params` raises."""
    check_combined(params)
    history, today = service.history, moscow_day(service.clock())
    codes = tuple(require_known(code, service) for code in params.codes() or ())
    is_own = params.has("since") or params.has("until")
    period = "" if is_own else params.text("period")
    days = days_of(params, service) if is_own else chart_page.days_of(period, today, history.begins)
    language = Language(params.language().tag)
    return View(codes, period, _with_a_sheet(days, history, today), language, site, params.text("theme"))


def _with_a_sheet(days: Days, history: History, today: date) -> Days:
    """These days. If they have no sheet, as on a holiday, they begin with the sheet in force on the last of them."""
    in_force = history.certain_on(min(days.until, today)) if days.since <= today else None
    return Days(min(days.since, in_force.effective_date), days.until) if in_force else days


def _refusal(service: Service, site: Site, path: str, request: web.Request, error: RatesvcError) -> str:
    """The page with what is well-formed in the request, and the error; raises it if no day explains it."""
    params, now, history = LenientParams(request), service.clock(), service.history
    given = [code.upper() for code in params.words("codes", drawing.MOST_CURRENCIES)]
    codes = tuple(code for code in dict.fromkeys(given) if code in history.codes()) or chart_page.USUAL_CODES
    since, until = (iso_day(params.text(name, 10)) for name in ("since", "until"))
    period = "" if since or until else params.choice("period", (chart_page.USUAL_PERIOD, *chart_page.PERIODS))
    usual = chart_page.days_of(period or chart_page.USUAL_PERIOD, moscow_day(now), history.begins)
    days = Days(since or usual.since, until or usual.until)
    theme = params.choice("theme", FRAME_THEMES) if path == FRAME else ""
    view = View(codes, period, days, params.language(), site, theme)
    if isinstance(error, BadRequest):
        return chart_page.refused(view, history.codes(), detail=view.language.translated(str(error)))
    why = reasons.reason(error, "", now, history.calendar, view.language)
    return chart_page.refused(view, history.codes(), why.sentences[0])


@cache
def _headers(site: Site, path: str) -> tuple[tuple[str, str], ...]:
    """The page's headers. Its icon has the public address."""
    names, allowed = ("site/rate", "chart/chart-page", "chart/chart"), {"img_src": f"'self' {site.public_url}/"}
    if path == PAGE:
        return own_page(*names, script_name="chart/chart-page", **allowed, form_action="'self'")
    return framed_page(*map(style, names), scripts=("chart/chart-page",), **allowed)


def _embedded(service: Service, site: Site, path: str, query: MultiMapping[str]) -> Embedded:
    view = viewed(StrictParams(query, path), service, site)
    height = chart_page.frame_height(view.codes)
    address, width = chart_page.frame_address(view), chart_page.EMBED_WIDTHS[-1]
    return Embedded(view.language.say(CHART), address, width, lambda _: height)


async def _picture(service: Service, path: str, request: web.Request) -> Answer:
    params, history, today = StrictParams(request, path), service.history, moscow_day(service.clock())
    series, scale = replace(series_params(params, service), new_roubles=True), params.text("scale")
    size, title = (params.number("width"), params.number("height")), params.text("title").strip()
    chosen = drawing.ChartLook(Language(params.language().tag), params.text("theme"), *size, service.demo, title)
    points = unit_rates.points_of(history, series, today)
    density = params.number("density") if path == PNG else 0
    if size[0] * size[1] * density**2 > png.MOST_PIXELS:
        text = f"width × height × density² is at most {png.MOST_PIXELS:,}. Ask for a smaller picture."
        raise BadRequest(text, "width", params.text("width"))

    def svg(look: drawing.ChartLook) -> str:
        rates = {code: unit_rates.series(history, code, series) for code in series.codes}
        indexed = scale == "indexed" or (scale == "auto" and drawing.is_better_indexed(rates))
        return drawing.Drawing(rates, look, quote=series.quote, indexed=indexed).svg()

    def render() -> Body:
        if not density:
            return Body(svg(chosen).encode(), drawing.CONTENT_TYPE, (CHART_POLICY, NOINDEX))
        # In English where the fonts lack the reader's script.
        looks = (chosen, replace(chosen, language=language_or_default(None)))
        return Body(png.png(png.first_drawable(map(svg, looks)), density), png.CONTENT_TYPE, (NOINDEX,))

    queue = Queue.PICTURES if density else Queue.of(points)
    return await long_answer(service, (path, series, chosen, scale, density), series.days, render, queue)


FEATURE = Feature(
    "chart",
    routes,
    needs=("site",),
    embeds={PAGE: _embedded, FRAME: _embedded},
    robots=("Disallow: /chart?", "Disallow: /chart.svg", "Disallow: /chart/"),
)
