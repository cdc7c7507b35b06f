"""What the loader draws in `<cbr-rates>`: the fragment's own HTML as nodes, and the rules of the style that it needs.

A released loader is pinned for ever, so it knows no table, no layout and no class, but this format: a node is a text,
or an array of a tag, an array of attributes and their values, and the nodes inside.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

from ratesvc.features.site.page import lines, page
from ratesvc.features.widget import ground
from ratesvc.features.widget.rows import Table
from ratesvc.features.widget.view import Look
from ratesvc.render.json import encode

Node = Any
"""A text, or a list. mypy has no recursive alias that fits both."""
NAMES = re.compile(r"(?:\.cbr-|layout=)([\w-]+)")
CAPITALS = {"viewbox": "viewBox"}
"""HTML has no capitals in names, and SVG has."""


def element(table: Table, look: Look) -> bytes:
    """nodes.json."""
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
