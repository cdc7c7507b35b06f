"""/chart.svg and /chart.png: a line chart for pages and mail."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal

from aiohttp import web

from ratesvc.domain.rates import OLD_IN_NEW, ONE, REDENOMINATION
from ratesvc.domain.workdays import moscow_day
from ratesvc.errors import BadRequest
from ratesvc.render import chart, png, series
from ratesvc.render.chart import STYLE
from ratesvc.render.language import language_or_default
from ratesvc.render.widget import policy
from ratesvc.service.app import Service
from ratesvc.service.publication import LONG_POINTS, Body
from ratesvc.web import params
from ratesvc.web.answer import Answer
from ratesvc.web.api import send_long
from ratesvc.web.reply import Handler
from ratesvc.web.series import wanted_series

CHART = ("codes", "since", "until", "quote", "lang", "theme", "scale", "width", "height")
POLICY = ("Content-Security-Policy", policy(STYLE, frame_ancestors="*"))


def routes(service: Service) -> dict[str, Handler]:
    """Path → handler."""

    async def lines(request: web.Request) -> Answer:
        asked = _Asked(params.StrictParams(request, CHART), service, ("auto", "light", "dark"))

        def render() -> Body:
            return Body(asked.drawn(asked.look).encode(), chart.CONTENT_TYPE, (POLICY,))

        return await send_long(service, ("chart", asked.key), asked.wanted.until, render, points=asked.points)

    async def pixels(request: web.Request) -> Answer:
        given = params.StrictParams(request, (*CHART, "density"))
        density = given.choice("density", png.SCALES, "1")
        asked = _Asked(given, service, ("light", "dark"))
        if asked.look.width * asked.look.height * int(density) ** 2 > png.MOST_PIXELS:
            raise BadRequest(f"width × height × density² is at most {png.MOST_PIXELS:,}: ask for a smaller picture.")

        def render() -> Body:
            # In English where the fonts lack the reader's script.
            looks = (asked.look, replace(asked.look, language=language_or_default(None)))
            return Body(png.png(png.first_drawable(map(asked.drawn, looks)), int(density)), png.CONTENT_TYPE)

        # Drawing takes as long as many points do.
        points = max(LONG_POINTS, asked.points)
        return await send_long(service, ("pixels", asked.key, density), asked.wanted.until, render, points=points)

    return {"/chart.svg": lines, "/chart.png": pixels}


class _Asked:
    """One chart, checked; the first of the themes is the default."""

    def __init__(self, asked: params.StrictParams, service: Service, themes: Sequence[str]) -> None:
        self._service = service
        self.wanted = wanted_series(asked, service)
        if not 1 <= len(self.wanted.codes) <= chart.MOST_CURRENCIES:
            raise BadRequest(f"a chart shows 1 to {chart.MOST_CURRENCIES} currencies other than its quote.")
        self.look = chart.ChartLook(
            asked.language(),
            asked.choice("theme", themes, themes[0]),
            asked.within("width", chart.WIDTHS, chart.WIDTH),
            asked.within("height", chart.HEIGHTS, chart.HEIGHT),
            service.demo,
        )
        self._indexed = asked.choice("scale", ("absolute", "indexed"), "absolute") == "indexed"
        self.points = series.count_points(service.history, self.wanted, moscow_day(service.clock()))

    @property
    def key(self) -> Hashable:
        """Equal for equal pictures."""
        look = self.look
        return self.wanted, look.language.tag, look.theme, look.width, look.height, self._indexed

    def drawn(self, look: chart.ChartLook) -> str:
        """The picture as SVG."""
        wanted, today = self.wanted, moscow_day(self._service.clock())
        found = {code: series.dated_rates(self._service.history, code, wanted, today) for code in wanted.codes}
        return chart.chart(found, look, quote=wanted.quote, indexed=self._indexed, exact=self._exact)

    def _exact(self, code: str, day: date) -> chart.Ratio | None:
        """What one unit costs in roubles, and one of the quote currency; in roubles a rate is exact as it is."""
        series, quote = self._service.history.series, self.wanted.quote
        if quote == "RUB":
            return None
        roubles = Decimal(OLD_IN_NEW) if day < REDENOMINATION else ONE
        units = [(day, roubles)] if code == "RUB" else series(code, day, day)
        divisors = series(quote, day, day)
        return (units[0][1], divisors[0][1]) if units and divisors else None
