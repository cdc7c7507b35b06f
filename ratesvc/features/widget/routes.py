"""The widget in every form that a page can embed. Unknown parameters are dropped, never refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta
from functools import cached_property, partial
from itertools import takewhile

from aiohttp import web
from multidict import MultiMapping
from yarl import URL

from ratesvc.domain.columns import Days
from ratesvc.domain.in_force import on_day
from ratesvc.domain.rates import REDENOMINATION
from ratesvc.errors import NotEmbeddable, RatesvcError
from ratesvc.features.ranges.unit_rates import SeriesParams, series
from ratesvc.features.rendering import Queue, rendered, workers_of
from ratesvc.features.site import png
from ratesvc.features.site.language import Language, language_or_default
from ratesvc.features.site.page import FRAME_THEMES, NOINDEX, asset, framed_page, hashes, page, style
from ratesvc.features.site.routes import PICTURE_POLICY, LenientParams, fixed, html
from ratesvc.features.widget import beside, card, markup, releases, rows
from ratesvc.features.widget import view as views
from ratesvc.features.widget.ground import colour
from ratesvc.features.widget.height import height
from ratesvc.features.widget.table import Table, rows_json
from ratesvc.features.widget.view import HEIGHTS, STYLES, TITLE, WIDTH_OF, WIDTHS, Choice, Look, View, embed_url
from ratesvc.render.json import JSON, bank_page, encode
from ratesvc.render.language import TRANSLATIONS
from ratesvc.render.openapi import Site
from ratesvc.service.app import Service
from ratesvc.service.publication import Body, Render
from ratesvc.web.caching import CARD, FOR_EVER, HOURLY, MANIFEST, NO_STORE, WIDGET, Caching
from ratesvc.web.features import Embedded, Feature, Features
from ratesvc.web.problems import problem_of
from ratesvc.web.responses import Answer, Handler

TYPES_OF_THE_ELEMENT = asset("widget/rates.d.ts")
WEB = re.compile(r"https?://\w", re.IGNORECASE)
"""The beginning of an absolute address."""
STYLE = re.compile("<style>(.*?)</style>")
PICTURE_HEADERS = (PICTURE_POLICY, NOINDEX)


class WidgetParams(LenientParams):
    """The parameters of a widget."""

    def look(self, themes: Sequence[str] = views.THEMES) -> Look:
        """Colours; the ground may have the host's own."""
        theme = colour(self.text("theme", 7)) or self.choice("theme", themes)
        return Look(theme, self.choice("updown", views.UPDOWNS))

    def view(self, known: Collection[str], prices: Collection[str] = ()) -> View:
        """Which rows and columns to show; `known` are the currencies that there are. A sentence may name another.

        `prices` are what else has a price; nothing converts it.
        """
        href = self.text("href", views.LONGEST_ADDRESS)
        usual = views.USUAL[self.choice("layout", list(views.USUAL))]
        is_table, is_inline = usual.layout == "table", usual.layout == "inline"
        known = {*known, *(() if usual.layout == "converter" else prices)}
        allowed, columns = views.COLUMNS_OF_A_SENTENCE if is_inline else views.COLUMNS, self.words("columns", 10)
        return replace(
            usual,
            codes=self._codes(known, is_inline=is_inline) or usual.codes,
            columns=tuple(name for name in allowed if name in columns) or usual.columns,
            decimals=int(self.choice("decimals", (str(usual.decimals), *views.DECIMALS))),
            unit=self.switch("unit", is_on=usual.unit),
            symbols=self.switch("symbols", is_on=usual.symbols),
            head=not is_table or self.switch("head", is_on=True),
            href=href if WEB.match(href) else "",
            pending=self.switch("pending"),
            heading=self.text("heading", views.LONGEST_HEADING),
            spark=int(self.choice("spark", views.SPARKS)) if is_table else 0,
            converter=not is_inline and self.switch("converter", is_on=usual.converter),
            key_rate=usual.layout not in ("inline", "converter") and self.switch("key_rate"),
        )

    @property
    def asked(self) -> tuple[str, ...]:
        """The codes of the request, as they are."""
        return tuple(map(str.upper, self.words("codes", views.MOST_CODES) or self.words("code", 1)))

    def _codes(self, known: Collection[str], *, is_inline: bool) -> tuple[str, ...]:
        """The currencies that there are among those asked for, or codes without a rate."""
        asked = self.asked
        codes = tuple(dict.fromkeys(code for code in asked if re.fullmatch("[A-Z]{3}", code)))
        codes = tuple(code for code in codes if code in known) or codes
        # A sentence is a number without a name: that of another currency would pass for it.
        return asked[:1] if is_inline and asked[:1] != codes[:1] else codes


class Embedding:
    """What one embedding shows of the current publication.

    Raises NoSheet, NotYetSet, HistoryLoading, BeforeHistory, and NotEmbeddable for a sentence without a rate.
    """

    def __init__(
        self, params: WidgetParams, service: Service, themes: Sequence[str] = views.THEMES, *, dated: bool = True
    ) -> None:
        """`dated=False` is for the builder: no `date=`, and always a rate."""
        self._service, self._publication, self.params = service, service.require_publication(), params
        self.packing = params.choice("style", STYLES), params.switch("shadow")
        snapshot, day, now = self._publication.snapshot, params.day() if dated else None, service.clock()
        today = on_day(service.history, day, now) if day else snapshot.for_today()
        announced = None if day else snapshot.announced
        following = on_day(service.history, announced.effective_date, now) if announced else None
        self._prices = beside.priced(service, today.requested_date, params.asked)
        known = {code for answer in (today, following) if answer for code in answer.revision.sheet.by_code}
        view = params.view(known, self._prices)
        shown = rows.columns_of(today, following, view)
        self._shown = beside.with_prices(shown, service, self._prices, view.layout)
        if view.layout == "inline" and view.codes[0] not in self._shown[-1].revision.sheet.by_code:
            if dated:
                raise NotEmbeddable("The sheet has no rate of the currency of this sentence.")
            view = replace(view, codes=View().codes)
        size = params.number("width", WIDTH_OF[view.layout], WIDTHS), params.number("height", 0, HEIGHTS)
        switches = params.switch("csp"), params.switch("float")
        self.choice = Choice(view, params.look(themes), params.language().of_widget(), *size, *switches, day)

    @property
    def newest(self) -> date:
        """The effective date of the newest rates that it shows."""
        return self._shown[-1].revision.effective_date

    @cached_property
    def table(self) -> Table:
        """The rows, formatted; only a body that is not finished yet needs them."""
        return self.table_in(self.choice.language, self.choice.view)

    def table_in(self, language: Language, view: View) -> Table:
        """The rows in another language, or of another view."""
        service, last, today = self._service, self._shown[-1].revision.effective_date, self._publication.snapshot.today
        days = Days(last - timedelta(view.spark), last)
        wanted = SeriesParams(view.shown, days, new_roubles=last >= REDENOMINATION)
        recent = {code: series(service.history, code, wanted) for code in view.shown if view.spark}
        for code in self._prices if view.spark else ():
            back = takewhile(lambda price: price[0] >= days.since, beside.back_from(service, code, days.until))
            recent[code] = list(back)[::-1]
        asked = [self.choice.day or today, *(answer.requested_date for answer in self._shown)]
        others = rows.Beside(recent, self._prices, beside.lines(service, view, asked))
        return rows.table(self._shown, language, view, others, today=today, demo=service.demo)

    async def answer(
        self, kind: Hashable, render: Render, caching: Caching = WIDGET, queue: Queue = Queue.WIDGETS
    ) -> Answer:
        """The finished body, rendered in a worker thread at the first request for it. Raises Busy."""
        # The day too, because a sheet that is asked for by its date looks different, and today it may be stale.
        days = tuple(answer.revision.effective_date for answer in self._shown)
        key = kind, self.choice, days, self.packing
        body = await rendered(self._service, self._publication, key, render, queue)
        return Answer(body, caching)


def routes(service: Service, site: Site, _: Features) -> dict[str, Handler]:
    """Path → handler."""
    form, data = partial(_form, service), (NOINDEX,)
    return {
        "/widget": form(partial(_fragment, site), _nothing),
        "/widget/frame": form(_frame, _empty_frame, FRAME_THEMES),
        "/widget/rows.json": form(lambda shown: Body(rows_json(shown.table), JSON, data), _nothing),
        "/widget/nodes.json": form(
            lambda shown: Body(markup.nodes(shown.table, shown.choice.look), JSON, data), _nothing
        ),
        "/widget/card.svg": form(_picture, _empty_card, card.THEMES, CARD, status=200),
        "/widget/card.png": partial(_pixels, service),
        "/embed": form(partial(_embed, site), _empty_frame, FRAME_THEMES),
        "/widget/rates.d.ts": fixed(Body(TYPES_OF_THE_ELEMENT.read_bytes(), "text/typescript; charset=utf-8"), HOURLY),
        "/widget/manifest.json": fixed(Body(encode(manifest()), JSON), MANIFEST),
        **_releases(),
    }


def _form(
    service: Service,
    drawn: Callable[[Embedding], Body],
    otherwise: Callable[[Language, Look, str], Body],
    themes: Sequence[str] = views.THEMES,
    caching: Caching = WIDGET,
    status: int = 0,
) -> Handler:
    """A form of the widget; where it has no rates to show, a body that does no harm in the page around it."""

    async def answer(request: web.Request) -> Answer:
        params = WidgetParams(request)
        try:
            shown = Embedding(params, service, themes)
            return await shown.answer(drawn, partial(drawn, shown), caching)
        except RatesvcError as error:
            layout = params.choice("layout", list(views.USUAL))
            empty = otherwise(params.language().of_widget(), params.look(themes), layout)
            return Answer(empty, NO_STORE, status or problem_of(error).status)

    return answer


def _fragment(site: Site, shown: Embedding) -> Body:
    style, shadow = shown.packing
    return html(markup.fragment(shown.table, shown.choice.look, style, site, shadow=shadow), NOINDEX)


def _frame(shown: Embedding, discovery: str = "") -> Body:
    """`discovery` is the address that oEmbed consumers ask about the page."""
    return _framed("widget/frame.html", shown.choice.look, table=shown.table, discovery=discovery, parts=False)


def _embed(site: Site, shown: Embedding) -> Body:
    choice = shown.choice
    address = URL(f"{site.public_url}/oembed").with_query(url=embed_url(choice, site, **choice.size), format="json")
    return _frame(shown, str(address) if site.has("oembed") else "")


def _picture(shown: Embedding) -> Body:
    return _svg(card.card(shown.table, shown.choice.view, shown.choice.look))


async def _pixels(service: Service, request: web.Request) -> Answer:
    params = WidgetParams(request)
    look = params.look(card.THEMES)
    size = int(params.choice("scale", png.SCALES)), params.switch("wide")
    try:
        shown = Embedding(params, service, card.THEMES)
    except RatesvcError:
        languages = (params.language(), language_or_default(None))
        empty = (card.empty_card(language.of_widget(), look) for language in languages)
        return Answer(await workers_of(service).run(partial(_png, empty, look, *size), Queue.PICTURES), NO_STORE)
    return await shown.answer(("png", size), partial(_png, _cards(shown, look), look, *size), CARD, Queue.PICTURES)


def embedded(service: Service, site: Site, _: str, query: MultiMapping[str]) -> Embedded:
    """A frame as high as title and rows need in its width."""
    shown = Embedding(WidgetParams(query), service)
    choice = shown.choice

    def height_at(width: int) -> int:
        more = choice.height - height(shown.table, choice.view, choice.width) if choice.height else 0
        return more + height(shown.table, choice.view, max(width, WIDTHS.start))

    return Embedded(choice.language.say(TITLE), embed_url(choice, site), choice.width, height_at)


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
    served: dict[str, Handler] = {}
    for version, files in releases.releases().items():
        for name, content in files.items():
            body = Body(content, releases.TYPES[name])
            served[f"/widget/{version}/{name}"] = fixed(body, FOR_EVER)
            if version == releases.RELEASE and name.endswith(".js"):
                served[f"/widget/{name}"] = fixed(body, HOURLY)
    return served


def _framed(template: str, look: Look, **values: object) -> Body:
    """A page that others may frame; its policy allows its styles."""
    text = page(template, look=look, styles_of_frame=markup.styles_of_frame, **values)
    return html(text, *framed_page(*STYLE.findall(text), scripts=("site/frame", "widget/converter")))


def _svg(drawn: str) -> Body:
    return Body(drawn.encode(), card.CONTENT_TYPE, PICTURE_HEADERS)


def _nothing(*_: object) -> Body:
    return html("")


def _empty_frame(language: Language, look: Look, layout: str) -> Body:
    link = views.HEADINGS["short"] if layout == "line" else TITLE
    return _framed("widget/frame_empty.html", look, language=language, title=TITLE, link=link, bank=bank_page(language))


def _empty_card(language: Language, look: Look, _: str) -> Body:
    return _svg(card.empty_card(language, look))


def picture_size(shown: Embedding) -> tuple[int, int]:
    """Width and height of the picture in the copied code."""
    pictures = _cards(shown, shown.params.look(card.THEMES))
    return png.size_of(png.first_drawable(pictures) if png.installed() else next(pictures))


def _cards(shown: Embedding, look: Look) -> Iterator[str]:
    """The picture, and what is drawn where the fonts of a PNG lack a character: with our heading, or in English."""
    choice = shown.choice
    for language in (choice.language, language_or_default(None)):
        for view in (choice.view, replace(choice.view, heading="")):
            yield card.card(shown.table_in(language, view), view, look)


def _png(pictures: Iterable[str], look: Look, scale: int, is_wide: bool) -> Body:
    drawn = png.png(png.first_drawable(pictures), scale, card.colours(look), is_wide=is_wide)
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
