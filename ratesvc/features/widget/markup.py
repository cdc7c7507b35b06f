"""The widget's HTML: a fragment for server-side includes, and nodes for `<cbr-rates>`.

A released loader is pinned for ever, so it knows no table, no layout and no class, but the format of the nodes: a text,
or an array of a tag, an array of attributes and their values, and the nodes inside.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any
from xml.etree.ElementTree import Element, fromstring

from ratesvc.features.site.page import page, style
from ratesvc.features.widget.releases import RELEASE, lock
from ratesvc.features.widget.table import Table
from ratesvc.features.widget.view import Look
from ratesvc.render.json import encode
from ratesvc.render.openapi import Site

_NAMES = re.compile(r"(?:\.cbr-|layout=\"?)([\w-]+)")
_NOT = re.compile(r":not\((?!:where)[^)]*\)")
"""A rule needs no class that its selector excludes. Only that of a fragment without a shadow root is not needed."""
_CLASSES = re.compile(r'class="([^"]*)"')
_PART = re.compile(r"([^{};]*)([{};])")


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
    return encode({"style": _needed(_rules("widget/widget"), classes) + look.rule, "content": _node(root)})


def styles_of_frame(classes: str, content: str) -> str:
    """What a frame needs of its two style sheets; `classes` are those of its page, `content` has its other classes.

    The builder measures what these rows will look like once they are old.
    """
    found = {name for text in (classes, *_CLASSES.findall(content)) for name in text.replace("cbr-", "").split()}
    found |= {"old"} if '<thead class="cbr-words">' in content else set()
    return _needed([*_rules("widget/frame"), *_rules("widget/widget")], found)


@cache
def _rules(name: str) -> list[Any]:
    """A style sheet: each rule a pair of what is before its braces and what is inside, or a declaration."""
    around: list[list[Any]] = [[]]
    for text, mark in _PART.findall(style(name)):
        if mark == "{":
            inside: list[Any] = []
            around[-1].append((text, inside))
            around.append(inside)
            continue
        around[-1].extend(filter(None, [text]))
        if mark == "}":
            around.pop()
    return around[0]


def _needed(rules: list[Any], classes: set[str]) -> str:
    """The rules with a selector that has only classes that there are, because every byte counts."""
    kept = ""
    for rule in rules:
        if isinstance(rule, str):
            kept += f";{rule}" if kept[-1:] not in ("", "}") else rule
            continue
        selectors, inside = rule
        is_needed = any(classes.issuperset(_NAMES.findall(selector)) for selector in _NOT.sub("", selectors).split(","))
        if is_needed and (content := _needed(inside, classes)):
            kept += (";" if kept and kept[-1] != "}" else "") + f"{selectors}{{{content}}}"
    return kept


def _node(element: Element) -> list[Any]:
    """An element as a node. Blank lines of the template are left out."""
    inside: list[Any] = [element.text]
    for child in element:
        inside += _node(child), child.tail
    kept = (one for one in inside if isinstance(one, list) or (one and ("\n" not in one or one.strip())))
    return [element.tag, [text for pair in element.items() for text in pair], *kept]
