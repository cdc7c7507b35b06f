"""/oembed (https://oembed.com): the code of a frame for an address of the widget or of a chart."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from aiohttp import web
from multidict import MultiDict
from yarl import URL

from ratesvc.errors import BadRequest, NotEmbeddable, NotSupported
from ratesvc.render.json import JSON, encode
from ratesvc.render.page import LINK, OLD_FRAME, Site, iframe
from ratesvc.render.pages import chart_page
from ratesvc.render.pages.chart_page import Shown
from ratesvc.render.widget import view as views
from ratesvc.render.widget.choice import OEMBED_SIZES, Choice, embed_url
from ratesvc.service.app import Service
from ratesvc.service.publication import Body, Queue
from ratesvc.web import charts
from ratesvc.web.caching import HOURLY
from ratesvc.web.params import LenientParams, StrictParams
from ratesvc.web.responses import Answer, Handler
from ratesvc.web.widget import Embedding, WidgetParams

EMBEDDABLE = ("/embed", "/widget/frame", "/", charts.PAGE, charts.FRAME)


def routes(service: Service, site: Site) -> dict[str, Handler]:
    """Path → handler."""
    return {"/oembed": partial(_oembed, service, site)}


async def _oembed(service: Service, site: Site, request: web.Request) -> Answer:
    if request.query.get("format", "json") != "json":
        raise NotSupported("oEmbed answers are JSON only. Use format=json.")
    path, query = _our_address(request.query.get("url", ""), site)
    limits = LenientParams(request)
    if path in (charts.PAGE, charts.FRAME):
        params = StrictParams(query, path)
        chart = Shown(charts.charted(params, service), params.language(), site, params.text("theme"))
        render = partial(_of_a_chart, chart, limits)
    else:
        render = partial(_of_a_widget, Embedding(WidgetParams(query), service), limits, site)
    body = await service.workers.run(lambda: Body(encode(render()), JSON).finish(), Queue.WIDGETS)
    return Answer(body, HOURLY)


def _of_a_widget(shown: Embedding, limits: LenientParams, site: Site) -> dict[str, object]:
    choice = _fitting(shown, limits)
    size = choice.size.width, choice.size.height
    code = iframe(embed_url(choice, site), choice.language.say(LINK), size, OLD_FRAME)
    return _rich(choice.language.say(views.TITLE), code, size, site)


def _fitting(shown: Embedding, limits: LenientParams) -> Choice:
    """Within `maxwidth` and `maxheight`; as high as rows and title need in a narrower frame."""
    choice = shown.choice()
    size = choice.size
    width = min(size.width, limits.number("maxwidth", size.width, OEMBED_SIZES))
    higher = size.height + shown.height(width) - size.usual_height
    height = min(higher, limits.number("maxheight", higher, OEMBED_SIZES))
    return replace(choice, size=replace(size, width=width, height=height))


def _of_a_chart(shown: Shown, limits: LenientParams) -> dict[str, object]:
    width = min(chart_page.EMBED_WIDTH, limits.number("maxwidth", chart_page.EMBED_WIDTH, OEMBED_SIZES))
    needed = chart_page.frame_height(width, len(shown.asked.codes))
    size = width, min(needed, limits.number("maxheight", needed, OEMBED_SIZES))
    title = chart_page.heading(shown)
    return _rich(title, iframe(chart_page.frame_address(shown), title, size, OLD_FRAME), size, shown.site)


def _our_address(address: str, site: Site) -> tuple[str, MultiDict[str]]:
    """Path and parameters of an address of this service. It is compared, never fetched.

    Raises BadRequest and NotEmbeddable.
    """
    example = f"{site.public_url}/embed?codes=USD"
    if not address:
        raise BadRequest(f"url is missing. Give the address to embed, such as url={example}.", "url")
    try:
        given, own = URL(address), URL(site.public_url)
        same = given.origin() == own.origin() and given.raw_user is None
    except ValueError:
        same = False
    # A slash at the end makes no other address, as everywhere.
    path = (given.path.removeprefix(own.path.rstrip("/")).rstrip("/") or "/") if same else ""
    if path not in EMBEDDABLE:
        raise NotEmbeddable(f"url takes an address of this service, such as {example}.")
    return path, MultiDict(given.query)


def _rich(title: str, code: str, size: tuple[int, int], site: Site) -> dict[str, object]:
    """An answer of type `rich`."""
    return {
        "version": "1.0",
        "type": "rich",
        "provider_name": "ratesvc",
        "provider_url": f"{site.public_url}/",
        "title": title,
        "html": code,
        "width": size[0],
        "height": size[1],
        "cache_age": 3600,
    }
