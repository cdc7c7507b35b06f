"""The widget's HTML: a real table as a fragment for server-side includes, and as a page for a frame."""

from __future__ import annotations

from ratesvc.features.site.language import Language
from ratesvc.features.site.page import page
from ratesvc.features.widget import ground
from ratesvc.features.widget.releases import RELEASE, lock
from ratesvc.features.widget.rows import Table
from ratesvc.features.widget.view import TITLE, Look
from ratesvc.render.json import bank_page


def fragment(table: Table, look: Look, style: str, release_url: str, *, shadow: bool) -> str:
    """The HTML fragment for server-side includes; `release_url` is the address of the newest release.

    It brings its style inline, by a link or not at all, and with `shadow` has a shadow root of its own.
    """
    pin = lock()[RELEASE]["converter.js"]
    values = {"packing": style, "release_url": release_url, "pin": pin, "parts": shadow, "rule": ground.rule(look)}
    return page("widget/widget.html", table=table, look=look, **values)


def frame(table: Table, look: Look, discovery: str = "") -> str:
    """A complete page for an iframe; `discovery` is the address that oEmbed consumers ask about it."""
    return page("widget/frame.html", table=table, look=look, discovery=discovery, parts=False, rule=ground.rule(look))


def empty_frame(language: Language, look: Look) -> str:
    """The page of a frame without rates: a sentence and a link to the Bank's own page."""
    words = {"language": language, "t": language.say, "title": TITLE, "bank": bank_page(language)}
    return page("widget/frame_empty.html", **words, look=look, rule=ground.rule(look))
