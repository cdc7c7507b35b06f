"""The widget's HTML: a fragment for server-side includes, a page for a frame, and nodes for `<cbr-rates>`.

A released loader is pinned for ever, so it knows no table, no layout and no class, but the format of the nodes: a text,
or an array of a tag, an array of attributes and their values, and the nodes inside.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

from ratesvc.features.site.language import Language
from ratesvc.features.site.page import lines, page
from ratesvc.features.widget import ground
from ratesvc.features.widget.releases import RELEASE, lock
from ratesvc.features.widget.rows import Table
from ratesvc.features.widget.view import TITLE, Look
from ratesvc.render.json import bank_page, encode

Node = Any
"""A text, or a list. mypy has no recursive alias that fits both."""
NAMES = re.compile(r"(?:\.cbr-|layout=)([\w-]+)")
CAPITALS = {"viewbox": "viewBox"}
"""HTML has no capitals in names, and SVG has."""


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


def nodes(table: Table, look: Look) -> bytes:
    """nodes.json: the fragment's HTML, and the rules of the style that it needs."""
    parser = _Nodes()
    parser.feed(page("widget/view.html", table=table, look=look, parts=False))
    parser.close()
    (content,) = parser.inside
    style = "".join((*filter(parser.needs, lines("widget/widget.css")), ground.rule(look)))
    return encode({"style": style, "content": content})


class _Nodes(HTMLParser):
    """HTML without void elements as nodes. Blank lines of the template are left out."""

    def __init__(self) -> None:
        super().__init__()
        self.inside: list[Node] = []
        self._open = [self.inside]
        self._classes: set[str] = set()

    def needs(self, rule: str) -> bool:
        """Whether one of the rule's selectors has only classes that there are, because every byte counts."""
        selectors = rule.partition("{")[0].split(",")
        return any(self._classes.issuperset(NAMES.findall(selector)) for selector in selectors)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node: list[Node] = [tag, [text for name, value in attrs for text in (CAPITALS.get(name, name), value)]]
        self._classes.update((dict(attrs).get("class") or "").replace("cbr-", "").split())
        self._open[-1].append(node)
        self._open.append(node)

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002 -- the parser's name
        self._open.pop()

    def handle_data(self, data: str) -> None:
        if "\n" not in data or data.strip():
            self._open[-1].append(data)
