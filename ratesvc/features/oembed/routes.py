"""/oembed (https://oembed.com): the code of a frame for an address of the widget or of a chart."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

from aiohttp import web
from multidict import MultiDict
from yarl import URL

from ratesvc.errors import BadRequest, NotEmbeddable, NotSupported
from ratesvc.features.rendering import Queue, workers_of
from ratesvc.features.site.page import OLD_FRAME, iframe
from ratesvc.features.site.routes import LenientParams
from ratesvc.render.json import JSON, encode
from ratesvc.render.openapi import Site
from ratesvc.service.app import Service
from ratesvc.service.publication import Body
from ratesvc.web.caching import HOURLY
from ratesvc.web.features import Embedded, Feature, Features
from ratesvc.web.params import naming
from ratesvc.web.responses import Answer, Handler

OEMBED_SIZES = range(1, 10_000)


def routes(service: Service, site: Site, features: Features) -> dict[str, Handler]:
    """Path → handler."""
    return {"/oembed": partial(_oembed, service, site, features)}


async def _oembed(service: Service, site: Site, features: Features, request: web.Request) -> Answer:
    if request.query.get("format", "json") != "json":
        raise NotSupported("oEmbed answers are JSON only. Use format=json.")
    embeds = {path: embed for feature in features.on for path, embed in feature.embeds.items()}
    with naming("url", address := request.query.get("url", "")):
        path, query = _our_address(address, site, embeds)
        embedded = embeds[path](service, site, path, query)

    def render() -> Body:
        return Body(encode(_rich(embedded, site, LenientParams(request))), JSON).finish()

    return Answer(await workers_of(service).run(render, Queue.WIDGETS), HOURLY)


def _our_address(address: str, site: Site, embeds: Collection[str]) -> tuple[str, MultiDict[str]]:
    """Path and parameters of an address of this service. It is compared, never fetched.

    Raises BadRequest and NotEmbeddable.
    """
    example = f"{site.public_url}{'/embed' if '/embed' in embeds else next(iter(embeds), '/')}?codes=USD"
    if not address:
        raise BadRequest(f"url is missing. Give the address to embed, such as url={example}.", "url")
    try:
        given, own = URL(address), URL(site.public_url)
        same = given.origin() == own.origin() and given.raw_user is None
    except ValueError:
        same = False
    # A slash at the end makes no other address, as everywhere.
    path = (given.path.removeprefix(own.path.rstrip("/")).rstrip("/") or "/") if same else ""
    if path not in embeds:
        raise NotEmbeddable(f"url takes an address of this service, such as {example}.")
    return path, MultiDict(given.query)


def _rich(embedded: Embedded, site: Site, limits: LenientParams) -> dict[str, object]:
    """An answer of type `rich`, within `maxwidth` and `maxheight`."""
    width = min(embedded.width, limits.number("maxwidth", embedded.width, OEMBED_SIZES))
    needed = embedded.height(width)
    height = min(needed, limits.number("maxheight", needed, OEMBED_SIZES))
    return {
        "version": "1.0",
        "type": "rich",
        "provider_name": "ratesvc",
        "provider_url": f"{site.public_url}/",
        "title": embedded.title,
        "html": iframe(embedded.address, embedded.title, (width, height), OLD_FRAME),
        "width": width,
        "height": height,
        "cache_age": 3600,
    }


FEATURE = Feature("oembed", routes, needs=("site",))
