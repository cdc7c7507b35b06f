"""The builder of widgets at /."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from aiohttp import web
from multidict import MultiDict, MultiMapping

from ratesvc.domain.workdays import moscow_day
from ratesvc.errors import NoSheet
from ratesvc.features.builder import builder_page
from ratesvc.features.rendering import Queue
from ratesvc.features.site.language import Language
from ratesvc.features.site.page import NOINDEX, PERMISSIONS, hashes, own_page, page, policy, script
from ratesvc.features.site.routes import fixed, html, in_the_readers_language
from ratesvc.features.widget import beside
from ratesvc.features.widget.routes import Embedding, WidgetParams, embedded, picture_size
from ratesvc.features.widget.view import HEIGHTS, LONGEST_ADDRESS, MOST_CODES, THEMES, WIDTHS, Choice, View
from ratesvc.render.openapi import Site
from ratesvc.service.app import Service
from ratesvc.service.publication import Body
from ratesvc.web.caching import HOURLY, NO_STORE
from ratesvc.web.features import Feature, Features
from ratesvc.web.problems import COMMON
from ratesvc.web.responses import Answer, Handler

_OURS = dict.fromkeys(("img_src", "frame_src", "connect_src", "form_action"), "'self'")
BUILDER_HEADERS = own_page("site/home", script_name="builder/builder", **_OURS)
SWITCHES = ("unit", "symbols", "head", "pending")
OWN = {"heading": "own", "theme": "ground"}
"""Choice → the field for the host's own."""
NO_SENTENCE_HAS = (*OWN, "updown")
OF_ONE_LAYOUT = (*("columns", "decimals", "unit", "symbols", "head"), *("spark", "converter", "width", "height"))


def routes(service: Service, site: Site, _: Features) -> dict[str, Handler]:
    """Path → handler."""
    return {
        "/": in_the_readers_language(partial(_home, service, site)),
        "/widget/preview": fixed(html(page("builder/preview.html"), *_of_preview(site)), HOURLY),
    }


def _of_preview(site: Site) -> tuple[tuple[str, str], ...]:
    """The headers of the page that runs the copied code: it may ask for the widget alone, and only we may frame it.

    A sandbox would give it an origin of its own, and its frames would refuse it.
    """
    ours = f"{site.public_url}/widget/"
    csp = policy(
        script_src=f"{ours} {hashes(script('builder/preview'))}",
        style_src=f"{ours} 'unsafe-inline'",
        connect_src=ours,
        img_src=ours,
        frame_src=f"{ours} {site.public_url}/embed",
        frame_ancestors="'self'",
    )
    return ("Content-Security-Policy", csp), PERMISSIONS, NOINDEX


async def _home(service: Service, site: Site, request: web.Request) -> Answer | web.Response:
    asked = _of_form(request.query)
    params = WidgetParams(asked)
    ui = params.text("ui", 10)
    try:
        shown = Embedding(params, service, dated=False)
    except NoSheet:
        words = builder_page.words_of(ui, params.language())
        not_ready = page("builder/not_ready.html", t=words.say, language=words, site=site)
        return Answer(html(not_ready, *BUILDER_HEADERS), NO_STORE, 503)
    choice, today = shown.choice, moscow_day(service.clock())
    lines = beside.lines(service, View(key_rate=True), [today])
    key_rate = next((line.name for of_days in lines for line in of_days if line), "")
    offered = builder_page.Offered(service.history.codes(), beside.priced(service, today), key_rate)
    words = builder_page.words_of(ui, choice.language)
    notices = _notices(params, choice, words)
    # A letter is opened on another day, and shall show the same rates.
    dated = MultiDict(asked)
    dated["date"] = str(shown.newest)
    letter = Embedding(WidgetParams(dated), service) if choice.view.layout == "table" else shown
    # The page's script fetches this page, and takes the address from it. A form needs the address in the browser.
    if "was" in request.query and "live" not in request.query and not notices:
        headers = {"Cache-Control": "no-store", "Location": f"?{builder_page.address(choice, words)}"}
        return web.Response(status=303, headers=COMMON | headers)

    def render() -> Body:
        posted = replace(letter.choice, picture=picture_size(letter))
        drawn = replace(choice, picture=picture_size(shown), letter=posted)
        return html(builder_page.builder(drawn, words, shown.table, offered, site, notices), *BUILDER_HEADERS)

    # It costs as much as twenty widgets, so none of them waits behind it.
    return await shown.answer(("home", words.tag, notices), render, queue=Queue.BUILDER)


def _of_form(query: MultiMapping[str]) -> MultiMapping[str]:
    """What a form means: a switch that it does not send is off, and choices for another layout do not count.

    It says in `was` which layout it was made for, in `first` which currency moves to the front, and has fields of its
    own for the host's words and colour.
    """
    if "was" not in query:
        return query
    layout = query.get("layout", "table")
    meant = [(name, query.get(own if query.get(name) == "own" else name, "")) for name, own in OWN.items()]
    off = [(name, "0") for name in SWITCHES if name not in query]
    items = sorted(query.items(), key=lambda item: item != ("codes", query.get("first")))
    left_out = {*(OF_ONE_LAYOUT if query["was"] != layout else ()), *(NO_SENTENCE_HAS if layout == "inline" else ())}
    kept = [*(item for item in items if item[0] not in OWN), *off, *meant]
    return MultiDict([(name, value) for name, value in kept if name not in left_out])


def _notices(params: WidgetParams, choice: Choice, words: Language) -> tuple[str, ...]:
    """What the form asked for and the widget does not show."""
    view, was = choice.view, params.text("was", 10)
    lacks_columns = was == view.layout and view.layout not in ("inline", "converter") and not params.words("columns", 1)
    has_too_many = len(params.words("codes", 2 * MOST_CODES)) > MOST_CODES
    has_wrong_link = params.text("href", 2 * LONGEST_ADDRESS) and not view.href
    has_wrong_colour = params.text("theme", 20) not in ("", *THEMES) and not choice.look.is_own
    width, height = str(choice.width), str(choice.height or "")
    widths, heights = (f"{allowed[0]}\u2013{allowed[-1]}" for allowed in (WIDTHS, HEIGHTS))
    notices = (
        (was and not params.words("codes", 1), "No currency is chosen, so you see the default ones.", ""),
        (has_too_many, "The first {limits} currencies are shown.", str(MOST_CODES)),
        (lacks_columns, "No column is chosen, so you see the default ones.", ""),
        (has_wrong_link, "The link must begin with https:// or http://.", ""),
        (has_wrong_colour, "A colour looks like #0b5cad.", ""),
        (params.text("width", 20) not in ("", width), "Width: {limits} pixels.", widths),
        (params.text("height", 20) not in ("", height), "Height: {limits} pixels.", heights),
    )
    return tuple(words.say(text, limits=limits) for is_due, text, limits in notices if is_due)


FEATURE = Feature("builder", routes, needs=("widget",), embeds={"/": embedded})
