"""The builder at /, and what oEmbed consumers ask for."""

from __future__ import annotations

from dataclasses import replace

from aiohttp import web
from multidict import MultiDict
from yarl import URL

from ratesvc.errors import BadRequest, NoSheet, NotEmbeddable, NotSupported
from ratesvc.render import builder, widget
from ratesvc.render.builder import HEIGHTS, ROOM, WIDTHS, Choice, embed_url, iframe
from ratesvc.render.json import JSON, encode
from ratesvc.render.rows import TITLE
from ratesvc.render.widget import own_page
from ratesvc.service.app import Service
from ratesvc.service.publication import Body
from ratesvc.web.answer import HOURLY, NO_STORE, Answer
from ratesvc.web.embed import FRAME_HEADERS, otherwise_empty
from ratesvc.web.params import LenientParams
from ratesvc.web.reply import Handler
from ratesvc.web.wanted import Wanted

EMBEDDABLE = ("/embed", "/widget/frame", "/")


def routes(service: Service, site: widget.Site) -> dict[str, Handler]:
    """Path → handler."""
    policy = own_page(builder.policy())

    async def home(request: web.Request) -> Answer:
        asked = LenientParams(request)
        try:
            wanted = Wanted(request, service, dated=False)
        except NoSheet:
            page = builder.not_ready(builder.words_of(asked.text("ui", 10), asked.language()))
            return Answer(Body(page.encode(), widget.CONTENT_TYPE, policy), NO_STORE, status=503)
        first = asked.text("first", 3).upper()
        choice = _choice(wanted, first)
        words = builder.words_of(asked.text("ui", 10), choice.language)
        codes = service.history.codes()
        return wanted.send(
            ("home", choice, words.tag),
            lambda: Body(builder.builder(choice, words, codes, site).encode(), widget.CONTENT_TYPE, policy),
        )

    async def embed(request: web.Request) -> Answer:
        wanted = Wanted(request, service)
        choice = _choice(wanted)
        look = wanted.asked.look(widget.FRAME_THEMES)
        address = embed_url(choice, site, sized=True)
        discovery = str(URL(f"{site.public_url}/oembed").with_query(url=address, format="json"))
        return wanted.send(
            ("embed", look, choice),
            lambda: Body(widget.frame(wanted.table, look, discovery).encode(), widget.CONTENT_TYPE, FRAME_HEADERS),
        )

    async def oembed(request: web.Request) -> Answer:
        if request.query.get("format", "json") != "json":
            raise NotSupported("oEmbed is answered as JSON: format=json.")
        given = _ours(request.query.get("url", ""), site)
        wanted = Wanted(request, service, LenientParams(given))
        limits = LenientParams(request)
        choice = _choice(wanted)
        width = min(choice.width, limits.number("maxwidth", choice.width, ROOM))
        higher = choice.height + _wrapped(choice, width)
        height = min(higher, limits.number("maxheight", higher, ROOM))
        choice = replace(choice, width=width, height=height)
        document = {
            "version": "1.0",
            "type": "rich",
            "provider_name": "ratesvc",
            "provider_url": f"{site.public_url}/",
            "title": choice.language.say(TITLE),
            "html": iframe(embed_url(choice, site), choice),
            "width": width,
            "height": height,
            "cache_age": 3600,
        }
        return Answer(Body(encode(document), JSON), HOURLY, demo=service.demo)

    return {"/": home, "/embed": otherwise_empty(embed), "/oembed": oembed}


def _choice(wanted: Wanted, first: str = "") -> Choice:
    asked, view = wanted.asked, wanted.view
    if first in view.codes:
        view = view.beginning_with(first)
    width = asked.number("width", builder.WIDTH, WIDTHS)
    height = asked.number("height", builder.height(view, width), HEIGHTS)
    strict = asked.choice("csp", ("0", "1")) == "1"
    return Choice(view, asked.look(), wanted.language, width, height, strict, wanted.day)


def _wrapped(choice: Choice, width: int) -> int:
    """How much higher it is in a narrower frame, where title and rows need more lines."""
    before, after = (builder.height(choice.view, max(one, WIDTHS.start)) for one in (choice.width, width))
    return after - before


def _ours(address: str, site: widget.Site) -> MultiDict[str]:
    """The parameters of an address of ours; it is compared, never fetched. Raises BadRequest, NotEmbeddable."""
    example = f"{site.public_url}/embed?codes=USD"
    if not address:
        raise BadRequest(f"url says what to embed, such as url={example}.")
    try:
        given, own = URL(address), URL(site.public_url)
        same = given.origin() == own.origin() and given.raw_user is None
    except ValueError:
        same = False
    if not same or given.path not in [own.path.rstrip("/") + path for path in EMBEDDABLE]:
        raise NotEmbeddable(f"url takes an address of this service, such as {example}.")
    return MultiDict(given.query)
