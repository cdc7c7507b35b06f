"""The addresses of what is made to be embedded (docs/widget.md). They drop what they do not know, and refuse little."""

from __future__ import annotations

from ratesvc.errors import BadRequest, Busy, NoSheet, NotEmbeddable, NotSupported
from ratesvc.render import widget
from ratesvc.render.openapi.route import EMPTY, PAGE, SHOWN, Answer, Route

_STILL = ("shown:codes", "columns", "heading", "shown:lang")
_VIEW = (*_STILL, "spark")
_COLOURS = ("frame:theme", "updown")
_DATED = (*_VIEW, "shown:date")
_SIZE = ("shown:width", "shown:height")
_HTML = "<!doctype html>…"
_SVG = '<svg xmlns="http://www.w3.org/2000/svg">…</svg>'


def _released(version: str) -> tuple[Route, ...]:
    name = version.replace(".", "_")
    return (
        Route(
            *("Widget", f"/widget/{version}/rates.js", f"loader_{name}", f"The element's loader, version {version}"),
            "Its bytes never change: pin them with the integrity from the manifest.",
            (Answer("text/javascript", example="(()=>{…})();"),),
            f"/widget/{version}/rates.js",
        ),
        Route(
            *("Widget", f"/widget/{version}/widget.css", f"style_{name}", f"The widget's style, version {version}"),
            "For `style=link`. Its bytes never change.",
            (Answer("text/css", example=".cbr-rates{…}"),),
            f"/widget/{version}/widget.css",
        ),
    )


WIDGET = (
    Route(
        *("Widget", "/", "builder", "The widget builder"),
        "A page for people: choose, look, copy the code. Its address keeps every choice.",
        (Answer(PAGE, example=_HTML),),
        "/?lang=en&codes=USD,EUR",
        (*_VIEW, "shown:theme", "updown", *_SIZE, "csp", "ui", "first"),
        (NoSheet,),
        refusal=PAGE,
    ),
    Route(
        *("Widget", "/widget", "fragment", "A table to include"),
        "An HTML fragment for server-side includes; the reader's browser asks for nothing.",
        (Answer(PAGE, example='<div class="cbr-rates" lang="en" dir="ltr">…</div>'),),
        "/widget?codes=USD,EUR&lang=en",
        (*_DATED, "shown:theme", "updown", "style", "shadow"),
        SHOWN,
        refusal=EMPTY,
    ),
    Route(
        *("Widget", "/widget/frame", "frame", "A page for a frame"),
        "Complete, with its style inside; any site may frame it.",
        (Answer(PAGE, example=_HTML),),
        "/widget/frame?codes=USD,EUR&theme=dark",
        (*_DATED, *_COLOURS),
        SHOWN,
        refusal=PAGE,
    ),
    Route(
        *("Widget", "/widget/rows.json", "rows", "Finished rows"),
        "Every text of the widget, already formatted in the reader's language; the element draws these. `theme` and "
        "`updown` matter to `style=inline` only.",
        (Answer("application/json", "Rows"),),
        "/widget/rows.json?codes=USD,JPY&lang=ru",
        (*_DATED, "rows:style", "shown:theme", "updown"),
        SHOWN,
        refusal=EMPTY,
    ),
    Route(
        *("Widget", "/widget/card.svg", "card", "A picture"),
        "For feeds and a README. Where there are no rates it says so, and nobody keeps it.",
        (Answer("image/svg+xml", example=_SVG),),
        "/widget/card.svg?codes=USD,EUR&lang=zh-Hans",
        (*_STILL, "shown:date", "card:theme", "updown"),
        neutral=True,
    ),
    Route(
        *("Widget", "/widget/card.png", "cardPixels", "A picture for mail"),
        "With the extra `png`; 501 without it. In English where our fonts lack the language's script, and without a "
        "heading that they cannot write: they have Latin, Greek and Cyrillic, and Chinese.",
        (Answer("image/png"),),
        "/widget/card.png?codes=USD,EUR&scale=2",
        (*_STILL, "shown:date", "card:theme", "updown", "card:scale"),
        (NotSupported, Busy),
        neutral=True,
    ),
    Route(
        *("Widget", "/widget/rates.js", "loader", "The element's loader, the newest version"),
        "The released versions below never change; this address moves on to the next one.",
        (Answer("text/javascript", example="(()=>{…})();"),),
        "/widget/rates.js",
    ),
    *(route for version in widget.lock() for route in _released(version)),
    Route(
        *("Widget", "/widget/manifest.json", "manifest", "What pins the releases"),
        "The integrity of every released file, and the hash of the inline style for a policy.",
        (Answer("application/json", "Manifest"),),
        "/widget/manifest.json",
    ),
    Route(
        *("Widget", "/embed", "embed", "A page that is embedded by its address"),
        "The frame with the link that oEmbed consumers follow.",
        (Answer(PAGE, example=_HTML),),
        "/embed?codes=USD,EUR",
        (*_DATED, *_COLOURS, *_SIZE),
        SHOWN,
        refusal=PAGE,
    ),
    Route(
        *("Widget", "/oembed", "oembed", "oEmbed"),
        "A frame's HTML and size for an address of ours, which is compared and never fetched.",
        (Answer("application/json", "OEmbed"),),
        "/oembed?url={base}/embed?codes=USD",
        ("url", "maxwidth", "maxheight", "oembed:format"),
        (BadRequest, NotEmbeddable, NotSupported, *SHOWN),
    ),
)
