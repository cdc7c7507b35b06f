"""The widget in every form that a page can embed. Unknown parameters are dropped, never refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from functools import cached_property, lru_cache, partial
from urllib.parse import urlsplit

from aiohttp import web
from multidict import MultiMapping
from yarl import URL

from ratesvc.domain.columns import Days
from ratesvc.domain.history import on_day
from ratesvc.domain.rates import MOST_USED, InForce
from ratesvc.errors import NotEmbeddable, RatesvcError
from ratesvc.features.ranges.unit_rates import SeriesParams, series
from ratesvc.features.rendering import Queue, rendered, workers_of
from ratesvc.features.site import png
from ratesvc.features.site.language import Language, language_or_default
from ratesvc.features.site.page import (
    FRAME_THEMES,
    LINK,
    OEMBED_SIZES,
    OLD_FRAME,
    asset,
    framed_page,
    hashes,
    iframe,
    policy,
    script,
    style,
)
from ratesvc.features.site.routes import NOINDEX, PICTURE_POLICY, LenientParams, fixed, html
from ratesvc.features.widget import card, fragment, ground, releases, rows
from ratesvc.features.widget import view as views
from ratesvc.features.widget.choice import HEIGHTS, WIDTH_OF, WIDTHS, Choice, Size, embed_url
from ratesvc.features.widget.element import element
from ratesvc.features.widget.ground import colour
from ratesvc.features.widget.height import height as height_of
from ratesvc.features.widget.view import STYLES, TITLE, Figures, Look, View
from ratesvc.render.json import JSON, encode
from ratesvc.render.language import TRANSLATIONS
from ratesvc.render.openapi import Site
from ratesvc.service.app import Service
from ratesvc.service.publication import Body, Render
from ratesvc.web.caching import CARD, FOR_EVER, HOURLY, MANIFEST, NO_STORE, WIDGET, Caching
from ratesvc.web.features import Embedded, Feature, Features
from ratesvc.web.problems import problem_of
from ratesvc.web.responses import Answer, Handler

TYPES_OF_THE_ELEMENT = asset("widget/rates.d.ts")
PICTURE_HEADERS = (PICTURE_POLICY, NOINDEX)


class WidgetParams(LenientParams):
    """The parameters of a widget."""

    def look(self, themes: Sequence[str] = views.THEMES) -> Look:
        """Colours; the ground may have the host's own."""
        theme = colour(self.text("theme", 7)) or self.choice("theme", themes)
        return Look(theme, self.choice("updown", views.UPDOWNS))

    def _asked_codes(self) -> tuple[str, ...]:
        return tuple(map(str.upper, self.words("codes", views.MOST_CODES) or self.words("code", 1)))

    def codes(self, known: Collection[str]) -> tuple[str, ...]:
        """The currencies that there are among those asked for, or codes without a rate, or the usual ones."""
        codes = tuple(dict.fromkeys(code for code in self._asked_codes() if re.fullmatch("[A-Z]{3}", code)))
        return tuple(code for code in codes if code in known) or codes or MOST_USED

    def view(self, known: Collection[str]) -> View:
        """Which rows and columns to show; `known` are the currencies that there are. A sentence may name another."""
        usual = View.usual(self.choice("layout", views.LAYOUTS))
        is_table, is_inline = usual.layout == views.LAYOUTS[0], usual.layout == "inline"
        asked, codes = self._asked_codes(), self.codes(known)
        allowed, columns = views.COLUMNS_OF_A_SENTENCE if is_inline else views.COLUMNS, self.words("columns", 10)
        decimals = self.choice("decimals", (str(usual.figures.decimals), *views.DECIMALS))
        return replace(
            usual,
            # A sentence is a number without a name: that of another currency would pass for it.
            codes=(asked or codes)[:1] if is_inline else codes,
            columns=tuple(name for name in allowed if name in columns) or usual.columns,
            heading=self.text("heading", views.LONGEST_HEADING),
            spark=int(self.choice("spark", list(map(str, views.SPARKS)))) if is_table else 0,
            figures=Figures(
                int(decimals),
                per_unit=self.switch("unit", is_on=usual.figures.per_unit),
                symbols=self.switch("symbols", is_on=usual.figures.symbols),
            ),
            href=self._address("href"),
            head=not is_table or self.switch("head", is_on=True),
            pending=self.switch("pending"),
            converter=not is_inline and self.switch("converter", is_on=usual.layout == "converter"),
        )

    def _address(self, name: str) -> str:
        """An absolute address of the web, or empty."""
        text = self.text(name, views.LONGEST_ADDRESS)
        try:
            parts = urlsplit(text)
        except ValueError:
            return ""
        return text if parts.scheme in ("http", "https") and parts.hostname else ""


class Embedding:
    """What one embedding shows of the current publication.

    Raises NoSheet, NotYetSet, HistoryLoading, BeforeHistory, and NotEmbeddable for a sentence without a rate.
    """

    def __init__(self, params: WidgetParams, service: Service, *, dated: bool = True) -> None:
        """`dated=False` is for the builder: no `date=`, and always a rate."""
        self._service, self._publication = service, service.require_publication()
        self.params, self.language = params, params.language().of_widget()
        self.day = params.day() if dated else None
        snapshot = self._publication.snapshot
        answers = [on_day(service.history, self.day, service.clock())] if self.day else [snapshot.for_today()]
        following = None if self.day else rows.for_next(snapshot)
        sheets = [answer.revision.sheet for answer in (*answers, following) if answer]
        known = {code for sheet in sheets for code in sheet.by_code}
        self.view, self.ticked = params.view(known), params.codes(known)
        self._shown: Sequence[InForce] = answers if self.day else rows.columns_of(snapshot, self.view)
        if self.view.layout == "inline" and self.view.codes[0] not in self._shown[-1].revision.sheet.by_code:
            if dated:
                raise NotEmbeddable("The sheet has no rate of the currency of this sentence.")
            self.ticked = MOST_USED
            self.view = replace(self.view, codes=MOST_USED[:1])

    @cached_property
    def table(self) -> rows.Table:
        """The rows, formatted; only a body that is not finished yet needs them."""
        return self.table_in(self.language, self.view)

    def table_in(self, language: Language, view: View) -> rows.Table:
        """The rows in another language, or with another heading."""
        service, last, today = self._service, self._shown[-1].revision.effective_date, self._publication.snapshot.today

        def recent(code: str, days: int) -> list[tuple[date, Decimal]]:
            return series(service.history, code, SeriesParams((code,), Days(last - timedelta(days=days), last)))

        return rows.table(self._shown, language, view, recent, today=today, demo=service.demo)

    async def answer(
        self, kind: Hashable, render: Render, caching: Caching = WIDGET, queue: Queue = Queue.WIDGETS
    ) -> Answer:
        """The finished body, rendered in a worker thread at the first request for it. Raises Busy."""
        # The day too, because a sheet that is asked for by its date looks different, and today it may be stale.
        days = tuple(answer.revision.effective_date for answer in self._shown)
        key = kind, self.language.tag, self.view, self.day, days
        body = await rendered(self._service, self._publication, key, render, queue)
        return Answer(body, caching)

    async def measured(self, first: str = "", queue: Queue = Queue.WIDGETS) -> Choice:
        """What `choice` gives, from a worker thread, because it takes the finished rows."""
        return await workers_of(self._service).run(lambda: self.choice(first), queue)

    def choice(self, first: str = "") -> Choice:
        """The choices of the builder, with one currency moved to the front."""
        params, ticked = self.params, self.ticked
        if first in ticked:
            ticked = (first, *(code for code in ticked if code != first))
        view = replace(self.view, codes=ticked[:1] if self.view.layout == "inline" else ticked)
        width = params.number("width", WIDTH_OF[view.layout], WIDTHS)
        usual = self.height(width)
        height = params.number("height", usual, HEIGHTS)
        size = Size(width, height, usual)
        switches = params.switch("csp"), params.switch("float")
        return Choice(view, params.look(), self.language, size, ticked, *switches, self.day)

    def height(self, width: int) -> int:
        """The height in pixels that a frame of this width needs."""
        return height_of(self.table, max(width, WIDTHS.start))


def routes(service: Service, site: Site, _: Features) -> dict[str, Handler]:
    """Path → handler."""
    return {
        "/widget": _or_else(partial(_fragment, service, site), lambda _: html("")),
        "/widget/frame": _or_else(partial(_frame, service), _empty_frame),
        "/widget/rows.json": _or_else(partial(_rows, service), lambda _: html("")),
        "/widget/nodes.json": _or_else(partial(_nodes, service), lambda _: html("")),
        "/widget/card.svg": _or_else(partial(_picture, service), _empty_card, status=200),
        "/widget/card.png": partial(_pixels, service),
        "/embed": _or_else(partial(_embed, service, site), _empty_frame),
        "/widget/rates.d.ts": fixed(Body(TYPES_OF_THE_ELEMENT.read_bytes(), "text/typescript; charset=utf-8"), HOURLY),
        "/widget/manifest.json": fixed(Body(encode(manifest()), JSON), MANIFEST),
        **_releases(),
    }


async def _fragment(service: Service, site: Site, request: web.Request) -> Answer:
    shown = Embedding(WidgetParams(request), service)
    look, style, shadow = shown.params.look(), shown.params.choice("style", STYLES), shown.params.switch("shadow")

    def render() -> Body:
        url = f"{site.public_url}/widget/{releases.RELEASE}"
        return html(fragment.fragment(shown.table, look, style, url, shadow=shadow), NOINDEX)

    return await shown.answer(("widget", look, style, shadow), render)


async def _frame(service: Service, request: web.Request) -> Answer:
    shown = Embedding(WidgetParams(request), service)
    look = shown.params.look(FRAME_THEMES)
    return await shown.answer(("frame", look), lambda: _framed(fragment.frame(shown.table, look), look))


async def _embed(service: Service, site: Site, request: web.Request) -> Answer:
    shown = Embedding(WidgetParams(request), service)
    choice, look = await shown.measured(), shown.params.look(FRAME_THEMES)
    address = embed_url(choice, site, sized=True)
    discovery = (
        str(URL(f"{site.public_url}/oembed").with_query(url=address, format="json")) if site.has("oembed") else ""
    )
    return await shown.answer(
        ("embed", look, choice), lambda: _framed(fragment.frame(shown.table, look, discovery), look)
    )


async def _rows(service: Service, request: web.Request) -> Answer:
    shown = Embedding(WidgetParams(request), service)
    return await shown.answer("rows", lambda: Body(rows.rows_json(shown.table), JSON, (NOINDEX,)))


async def _nodes(service: Service, request: web.Request) -> Answer:
    shown = Embedding(WidgetParams(request), service)
    look = shown.params.look()
    return await shown.answer(("nodes", look), lambda: Body(element(shown.table, look), JSON, (NOINDEX,)))


async def _picture(service: Service, request: web.Request) -> Answer:
    shown = Embedding(WidgetParams(request), service)
    look = shown.params.look(card.THEMES)
    return await shown.answer(("card", look), lambda: _svg(card.card(shown.table, shown.view, look)), CARD)


async def _pixels(service: Service, request: web.Request) -> Answer:
    params = WidgetParams(request)
    look, scale = params.look(card.THEMES), params.choice("scale", png.SCALES)
    try:
        shown = Embedding(params, service)
    except RatesvcError:
        render = partial(_empty_pixels, params.language().tag, look, scale)
        return Answer(await workers_of(service).run(render, Queue.PICTURES), NO_STORE)
    return await shown.answer(
        ("card", look, scale), lambda: _png(_cards(shown, look), look, scale), CARD, Queue.PICTURES
    )


def embedded(
    service: Service, site: Site, _: str, query: MultiMapping[str], given: MultiMapping[str]
) -> Callable[[], Embedded]:
    """A frame within `maxwidth` and `maxheight`; as high as rows and title need in a narrower frame."""
    shown, limits = Embedding(WidgetParams(query), service), LenientParams(given)

    def fitted() -> Embedded:
        choice = shown.choice()
        size = choice.size
        width = min(size.width, limits.number("maxwidth", size.width, OEMBED_SIZES))
        higher = size.height + shown.height(width) - size.usual_height
        height = min(higher, limits.number("maxheight", higher, OEMBED_SIZES))
        address = embed_url(replace(choice, size=replace(size, width=width, height=height)), site)
        code = iframe(address, choice.language.say(LINK), (width, height), OLD_FRAME)
        return choice.language.say(TITLE), code, (width, height)

    return fitted


def manifest() -> dict[str, object]:
    """Which releases there are, and the hashes that pin them."""
    newest = releases.releases()[releases.RELEASE]
    return {
        "version": releases.RELEASE,
        "releases": releases.lock(),
        "style": hashes(style("widget/widget")).strip("'"),
        "sizes": {name: len(content) for name, content in newest.items()},
    }


def _releases() -> dict[str, Handler]:
    """Every release under its own address for ever, and the newest scripts under a second address."""
    bodies = {
        f"/widget/{version}/{name}": Body(content, releases.TYPES[name])
        for version, release in releases.releases().items()
        for name, content in release.items()
    }
    newest = {name: bodies[f"/widget/{releases.RELEASE}/{name}"] for name in releases.TYPES if name.endswith(".js")}
    return {
        **{path: fixed(body, FOR_EVER) for path, body in bodies.items()},
        **{f"/widget/{name}": fixed(body, HOURLY) for name, body in newest.items()},
    }


def _or_else(handler: Handler, otherwise: Callable[[WidgetParams], Body], *, status: int = 0) -> Handler:
    """The handler; where it has no rates to show, a body that does no harm in the page around it."""

    async def answer(request: web.Request) -> Answer | web.StreamResponse:
        try:
            return await handler(request)
        except RatesvcError as error:
            return Answer(otherwise(WidgetParams(request)), NO_STORE, status or problem_of(error).status)

    return answer


def _framed(page: str, look: Look) -> Body:
    """A page that others may frame; its policy allows the rule of an own ground, too."""
    csp = policy(
        *map(style, ("widget/frame", "widget/widget")),
        *filter(None, (ground.rule(look),)),
        script_src=hashes(*map(script, ("site/frame", "widget/converter"))),
        require_trusted_types_for="'script'",
        frame_ancestors="*",
    )
    return html(page, *framed_page(csp), ("Cross-Origin-Embedder-Policy", "require-corp"), NOINDEX)


def _svg(drawn: str) -> Body:
    return Body(drawn.encode(), card.CONTENT_TYPE, PICTURE_HEADERS)


def _empty_frame(params: WidgetParams) -> Body:
    look = params.look(FRAME_THEMES)
    return _framed(fragment.empty_frame(params.language().of_widget(), look), look)


def _empty_card(params: WidgetParams) -> Body:
    return _svg(card.empty_card(params.language().of_widget(), params.look(card.THEMES)))


def picture_size(shown: Embedding) -> tuple[int, int]:
    """Width and height of the picture in the copied code."""
    pictures = _cards(shown, shown.params.look(card.THEMES))
    return png.size_of(png.first_drawable(pictures) if png.installed() else next(pictures))


def _cards(shown: Embedding, look: Look) -> Iterator[str]:
    """The picture, and what is drawn where the fonts of a PNG lack a character: with our heading, or in English."""
    for language in (shown.language, language_or_default(None)):
        for view in (shown.view, replace(shown.view, heading="")):
            yield card.card(shown.table_in(language, view), view, look)


@lru_cache
def _empty_pixels(tag: str, look: Look, scale: str) -> Body:
    return _png((card.empty_card(language_or_default(name).of_widget(), look) for name in (tag, None)), look, scale)


def _png(pictures: Iterable[str], look: Look, scale: str) -> Body:
    drawn = png.png(png.first_drawable(pictures), int(scale), card.colours(look))
    return Body(drawn, png.CONTENT_TYPE, PICTURE_HEADERS)


def _exports(_: Service) -> Iterator[tuple[str, str]]:
    yield "/widget/rates.js", "widget/rates.js"
    yield "/widget/manifest.json", "widget/manifest.json"
    for tag in TRANSLATIONS:
        yield f"/widget?lang={tag}", f"widget/widget.{tag}.html"
        yield f"/widget/frame?lang={tag}", f"widget/frame.{tag}.html"
        yield f"/widget/rows.json?lang={tag}", f"widget/rows.{tag}.json"
        yield f"/widget/card.svg?lang={tag}", f"widget/card.{tag}.svg"


FEATURE = Feature(
    "widget",
    routes,
    needs=("site",),
    embeds={"/embed": embedded, "/widget/frame": embedded},
    robots=("Disallow: /widget", "Allow: /widget/card.png"),
    exports=_exports,
)
