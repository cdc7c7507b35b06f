"""/chart.svg: a line chart for pages and mail."""

from __future__ import annotations

from aiohttp import web

from ratesvc.errors import BadRequest
from ratesvc.publication import Body
from ratesvc.render import chart, series
from ratesvc.render.chart_drawing import STYLE
from ratesvc.render.openapi.parameters import SCALES
from ratesvc.render.policy import policy
from ratesvc.service import Service
from ratesvc.web import query
from ratesvc.web.answer import Answer
from ratesvc.web.api import send_long
from ratesvc.web.reply import Handler
from ratesvc.web.series import wanted_series
from ratesvc.workdays import moscow_day

CHART = ("codes", "since", "until", "quote", "lang", "theme", "scale", "width", "height")
SVG = "image/svg+xml"
POLICY = ("Content-Security-Policy", policy(STYLE, frame_ancestors="*"))


def routes(service: Service) -> dict[str, Handler]:
    """Path → handler."""

    async def lines(request: web.Request) -> Answer:
        asked = query.Query(request, CHART)
        wanted = wanted_series(asked, service)
        if not 1 <= len(wanted.codes) <= chart.MOST_CURRENCIES:
            raise BadRequest(f"a chart shows 1 to {chart.MOST_CURRENCIES} currencies other than its quote.")
        look = chart.Look(
            asked.language(),
            asked.choice("theme", chart.THEMES, "auto"),
            asked.within("width", chart.WIDTHS, 720),
            asked.within("height", chart.HEIGHTS, 400),
            service.demo,
        )
        indexed = asked.choice("scale", SCALES, "absolute") == "indexed"

        def render() -> Body:
            today = moscow_day(service.clock())
            found = {code: series.rates(service.history, code, wanted, today) for code in wanted.codes}
            drawn = chart.chart(found, look, quote=wanted.quote, indexed=indexed)
            return Body(drawn.encode(), SVG, (POLICY,))

        key = ("chart", wanted, look.language.tag, look.theme, look.width, look.height, indexed)
        return await send_long(service, key, wanted.until, render)

    return {"/chart.svg": lines}
