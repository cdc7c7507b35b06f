"""The widget's HTML: a fragment for server-side includes, and nodes for `<cbr-rates>`.

A released loader is pinned for ever, so it knows no table, no layout and no class, but the format of the nodes: a text,
or an array of a tag, an array of attributes and their values, and the nodes inside.
"""

from __future__ import annotations

import re
from typing import Any
from xml.etree.ElementTree import Element, fromstring

from ratesvc.features.site.page import lines, page
from ratesvc.features.widget.releases import RELEASE, lock
from ratesvc.features.widget.rows import Table
from ratesvc.features.widget.view import Look
from ratesvc.render.json import encode
from ratesvc.render.openapi import Site

_NAMES = re.compile(r"(?:\.cbr-|layout=)([\w-]+)")


def fragment(table: Table, look: Look, style: str, site: Site, *, shadow: bool) -> str:
    """The HTML fragment for server-side includes.

    It brings its style inline, by a link or not at all, and with `shadow` has a shadow root of its own.
    """
    release = {"release_url": f"{site.public_url}/widget/{RELEASE}", "pin": lock()[RELEASE]["converter.js"]}
    return page("widget/widget.html", table=table, look=look, packing=style, parts=shadow, **release)


def nodes(table: Table, look: Look) -> bytes:
    """nodes.json: the fragment's HTML, and the rules of the style that it needs."""
    # Our template has no void elements and no entities but those of XML.
    root = fromstring(page("widget/view.html", table=table, look=look, parts=False))  # noqa: S314 -- escaped there
    classes = {name for element in root.iter() for name in element.get("class", "").replace("cbr-", "").split()}

    def is_needed(rule: str) -> bool:
        """Whether one of the rule's selectors has only classes that there are, because every byte counts."""
        selectors = rule.partition("{")[0].split(",")
        return any(classes.issuperset(_NAMES.findall(selector)) for selector in selectors)

    style = "".join((*filter(is_needed, lines("widget/widget.css")), look.rule))
    return encode({"style": style, "content": _node(root)})


def _node(element: Element) -> list[Any]:
    """An element as a node. Blank lines of the template are left out."""
    inside: list[Any] = [element.text]
    for child in element:
        inside += _node(child), child.tail
    kept = (one for one in inside if isinstance(one, list) or (one and ("\n" not in one or one.strip())))
    return [element.tag, [text for pair in element.items() for text in pair], *kept]
