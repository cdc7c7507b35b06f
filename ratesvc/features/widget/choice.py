"""A chosen widget: its contents, colours, language and size, and the parameters and addresses that say so."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from urllib.parse import urlencode

from ratesvc.features.site.language import Language
from ratesvc.features.widget.view import LAYOUTS, THEMES, UPDOWNS, Look, View
from ratesvc.render.openapi import Site

WIDTH_OF = {"table": 320, "line": 970, "bar": 728, "inline": 320, "converter": 320}
"""The usual width of a layout in pixels."""
WIDTHS = range(120, 2001)
HEIGHTS = range(24, 4001)


@dataclass(frozen=True, slots=True)
class Size:
    """Pixels; `usual_height` is that of these rows in this width, and `picture` the size of the picture in the code."""

    width: int
    height: int
    usual_height: int
    picture: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen widget, its language and size, whether the host sends a CSP, and a day other than today.

    `floats` is true where text flows around the widget, so that the link inside must not set its width.

    `ticked` are all chosen currencies. A sentence shows the first of them, and its address keeps the others.
    """

    view: View
    look: Look
    language: Language
    size: Size
    ticked: tuple[str, ...] = ()
    strict: bool = False
    floats: bool = False
    day: date | None = None


def parameters(choice: Choice, *, look: bool = True) -> dict[str, str]:
    """The attributes or parameters that differ from the defaults."""
    view, usual, colours = choice.view, View.usual(choice.view.layout), choice.look if look else Look()
    figures = view.figures
    given = {
        "layout": view.layout if view.layout != LAYOUTS[0] else "",
        "codes": ",".join(view.codes) if view.codes != usual.codes else "",
        "date": choice.day.isoformat() if choice.day else "",
        "columns": ",".join(view.columns) if view.columns != usual.columns else "",
        "decimals": str(figures.decimals) if figures.decimals != usual.figures.decimals else "",
        "unit": str(int(figures.per_unit)) if figures.per_unit != usual.figures.per_unit else "",
        "symbols": str(int(figures.symbols)) if figures.symbols != usual.figures.symbols else "",
        "head": "" if view.head else "0",
        "href": view.href,
        "pending": "1" if view.pending else "",
        "heading": view.heading,
        "lang": choice.language.tag,
        "spark": str(view.spark) if view.spark else "",
        "converter": "1" if view.converter and view.layout != "converter" else "",
        "theme": colours.theme if colours.theme != THEMES[0] else "",
        "updown": colours.updown if colours.updown != UPDOWNS[0] else "",
    }
    return {name: text for name, text in given.items() if text}


def query(choice: Choice, **more: str) -> str:
    """A query string with a stable order."""
    return urlencode({**parameters(choice), **more}, safe=",")


def embed_url(choice: Choice, site: Site, *, sized: bool = False) -> str:
    """The page that oEmbed consumers discover; `sized` tells them the size of its frame."""
    size = {"width": str(choice.size.width), "height": str(choice.size.height)} if sized else {}
    return f"{site.public_url}/embed?{query(choice, **size)}"
