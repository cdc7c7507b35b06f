"""The widget in every form that a page can embed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache, partial
from importlib.resources import files

from aiohttp import web

from ratesvc.errors import RatesvcError
from ratesvc.render import card, png, widget
from ratesvc.render.json import JSON, encode
from ratesvc.render.language import language_or_default
from ratesvc.render.rows import rows_json
from ratesvc.render.widget import framed_page, hashes
from ratesvc.service.app import Service
from ratesvc.service.publication import LONG_POINTS, Body
from ratesvc.web import reply
from ratesvc.web.answer import CARD, FOR_EVER, HOURLY, NO_STORE, WIDGET, Answer, Caching
from ratesvc.web.params import LenientParams
from ratesvc.web.reply import Handler
from ratesvc.web.wanted import Wanted

HTML = widget.CONTENT_TYPE
ICON_CACHING = Caching(604800, 0, 604800)
FRAME_POLICY = widget.policy(
    *map(widget.style, ("frame", "widget")),
    script_src=hashes(widget.script("frame")),
    require_trusted_types_for="'script'",
    frame_ancestors="*",
)
FRAME_HEADERS = (
    *framed_page(FRAME_POLICY),
    ("Cross-Origin-Embedder-Policy", "require-corp"),
)

CARD_HEADERS = (("Content-Security-Policy", "default-src 'none'; sandbox"),)


def routes(service: Service, site: widget.Site) -> dict[str, Handler]:
    """Path → handler."""
    style_url = f"{site.public_url}/widget/{widget.RELEASE}/widget.css"

    async def fragment(request: web.Request) -> Answer:
        wanted = Wanted(request, service)
        look, packing = wanted.asked.look(), wanted.asked.packing()
        return wanted.send(
            ("widget", look, packing),
            lambda: _html(widget.fragment(wanted.table, look, packing, style_url)),
        )

    async def frame(request: web.Request) -> Answer:
        wanted = Wanted(request, service)
        look = wanted.asked.look(widget.FRAME_THEMES)
        return wanted.send(("frame", look), lambda: _html(widget.frame(wanted.table, look), *FRAME_HEADERS))

    async def rows(request: web.Request) -> Answer:
        wanted = Wanted(request, service)
        styled = wanted.asked.choice("style", ("none", "inline")) == "inline"
        look = wanted.asked.look() if styled else None

        def render() -> Body:
            return Body(rows_json(wanted.table, widget.style_of(wanted.table, look) if look else ""), JSON)

        return wanted.send(("rows", look), render)

    async def picture(request: web.Request) -> Answer:
        wanted = Wanted(request, service, trending=False)
        look = wanted.asked.look(card.THEMES)
        return wanted.send(("card", look), partial(_picture, wanted, look), CARD)

    async def pixels(request: web.Request) -> Answer:
        asked = LenientParams(request)
        look, scale = asked.look(card.THEMES), asked.choice("scale", png.SCALES)
        try:
            wanted = Wanted(request, service, trending=False)
        except RatesvcError:
            drawn = partial(_empty_pixels, asked.language().tag, look, scale)
            return Answer(await service.workers.run(drawn, points=LONG_POINTS), NO_STORE)
        return await wanted.send_long(("card", look, scale), partial(_pixels, wanted, look, scale), CARD)

    return {
        "/widget": _or_else(fragment, _nothing),
        "/widget/frame": _or_else(frame, _empty_frame),
        "/widget/rows.json": _or_else(rows, _nothing),
        "/widget/card.svg": _or_else(picture, _empty_card, status=200),
        "/widget/card.png": pixels,
        **_releases(),
        **_fixed("/widget/manifest.json", Body(encode(manifest()), JSON), WIDGET),
        **_fixed("/favicon.ico", Body(_asset("icon.svg"), "image/svg+xml", CARD_HEADERS), ICON_CACHING),
    }


def manifest() -> dict[str, object]:
    """Which releases there are, and the hashes that pin them."""
    newest = widget.releases()[widget.RELEASE]
    return {
        "version": widget.RELEASE,
        "releases": widget.lock(),
        "style": hashes(widget.style("widget")).strip("'"),
        "sizes": {name: len(content) for name, content in newest.items()},
    }


def _releases() -> dict[str, Handler]:
    """Every release under its own address for ever, and the newest loader under one that moves."""
    found: dict[str, Handler] = {}
    for version, release in widget.releases().items():
        for name, content in release.items():
            found |= _fixed(f"/widget/{version}/{name}", Body(content, widget.TYPES[name]), FOR_EVER)
    newest = widget.releases()[widget.RELEASE]["rates.js"]
    return {**found, **_fixed("/widget/rates.js", Body(newest, widget.TYPES["rates.js"]), HOURLY)}


def _fixed(path: str, body: Body, caching: Caching) -> dict[str, Handler]:
    async def answer(_: web.Request) -> Answer:
        # One for each target, since it counts how often that is asked.
        return Answer(body, caching)

    return {path: answer}


def _asset(name: str) -> bytes:
    return files("ratesvc.render").joinpath("assets", name).read_bytes()


def _html(page: str, *headers: tuple[str, str]) -> Body:
    return Body(page.encode(), HTML, headers)


def otherwise_empty(handler: Handler) -> Handler:
    """A page for a frame, also where there are no rates."""
    return _or_else(handler, _empty_frame)


def _or_else(handler: Handler, otherwise: Callable[[web.Request], Body], *, status: int = 0) -> Handler:
    """Where there are no rates to show: a body that does no harm in the page around it."""

    async def answer(request: web.Request) -> Answer | web.StreamResponse:
        try:
            return await handler(request)
        except RatesvcError as error:
            return Answer(otherwise(request), NO_STORE, status=status or reply.kind_of(error).status)

    return answer


def _picture(wanted: Wanted, look: widget.Look) -> Body:
    drawn = card.card(wanted.table, look, card.width_of(wanted.view))
    return Body(drawn.encode(), card.CONTENT_TYPE, CARD_HEADERS)


def _pixels(wanted: Wanted, look: widget.Look, scale: str) -> Body:
    """In the fonts' scripts: without a heading, or in English, where they lack a character."""
    width = card.width_of(wanted.view)
    drawn = (
        card.card(wanted.table_in(language, view), look, width)
        for language in (wanted.language, language_or_default(None))
        for view in (wanted.view, replace(wanted.view, heading=""))
    )
    return _drawn(drawn, look, scale)


@lru_cache
def _empty_pixels(tag: str, look: widget.Look, scale: str) -> Body:
    return _drawn((card.empty_card(language_or_default(one), look) for one in (tag, None)), look, scale)


def _drawn(pictures: Iterable[str], look: widget.Look, scale: str) -> Body:
    return Body(png.png(png.first_drawable(pictures), int(scale), card.colours(look)), png.CONTENT_TYPE, CARD_HEADERS)


def _empty_card(request: web.Request) -> Body:
    asked = LenientParams(request)
    picture = card.empty_card(asked.language(), asked.look(card.THEMES))
    return Body(picture.encode(), card.CONTENT_TYPE, CARD_HEADERS)


def _nothing(_: web.Request) -> Body:
    return Body(b"", HTML)


def _empty_frame(request: web.Request) -> Body:
    asked = LenientParams(request)
    return _html(widget.empty_frame(asked.language(), asked.look(widget.FRAME_THEMES)), *FRAME_HEADERS)
