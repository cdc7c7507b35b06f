"""The guides beside /docs: pages that tools/release_guides.py writes from docs/*.md, in English and Russian.

locales/guides/ru.po translates each of their blocks; programs and answers stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from html import unescape

from markupsafe import Markup, escape

from ratesvc.features.docs.openapi import EXAMPLE_HOST
from ratesvc.features.site import page as pages
from ratesvc.features.site.language import language_or_default
from ratesvc.render.contract import Site
from ratesvc.render.language import DEFAULT, catalogue

GUIDES = ("calling", "accounting", "events")
LANGUAGES = (DEFAULT, "ru")

_SECTION = re.compile(r'<h[12] id="([^"]+)">(.*?)</h[12]>(.*?)(?=<h[12] id=|\Z)', re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
_LINK = re.compile(r"\[([^][]+)\]\(([^)(#]*)(#[^)(]*)?\)")


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a guide under one heading, and its words without tags, for the search."""

    anchor: str
    heading: str
    text: str


def page(name: str, site: Site, tag: str) -> str:
    """One of the GUIDES."""
    say, first, *others = catalogue(f"reference/{tag}"), *sections(name, site, tag)
    return pages.page(
        "docs/guide.html",
        site=site,
        tag=tag,
        name=name,
        first=first,
        sections=others,
        languages=list(map(language_or_default, LANGUAGES)),
        content=Markup(_content(name, site, tag)),  # noqa: S704 -- our own template, whose values are escaped
        t=lambda text: say.get(text, text),
    )


def sections(name: str, site: Site, tag: str) -> Iterator[Section]:
    """The parts of a guide; the first is its beginning."""
    for found in _SECTION.finditer(_content(name, site, tag)):
        heading, text = (" ".join(unescape(_TAG.sub("", part)).split()) for part in found.groups()[1:])
        yield Section(found[1], heading, text)


def _content(name: str, site: Site, tag: str) -> str:
    translated = catalogue(f"guides/{tag}")

    def say(text: str) -> Markup:
        return inline(translated.get(text, text), site, tag)

    return pages.page(f"docs/guides/{name}.html", say=say, code=partial(_code, site=site))


def _code(text: str, site: Site) -> str:
    return text.replace(EXAMPLE_HOST, site.public_url)


def inline(text: str, site: Site, tag: str) -> Markup:
    """Code, emphasis and links of one block of Markdown. What is no page of the service stays a word."""

    def link(found: re.Match[str]) -> str:
        words, name, anchor = found[1], found[2].removesuffix(".md"), found[3] or ""
        if name and name not in GUIDES:
            return words
        start = f"{site.public_url}/docs/{name}?lang={tag}" if name else ""
        return f'<a href="{start}{anchor}">{words}</a>'

    codes = str(escape(_code(text, site))).split("`")
    for place in range(0, len(codes), 2):
        part = _LINK.sub(link, codes[place])
        codes[place] = re.sub(r"\*([^*]+)\*", r"<em>\1</em>", re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", part))
    marks = (part if place % 2 == 0 else f"<code>{part}</code>" for place, part in enumerate(codes))
    return Markup("".join(marks))  # noqa: S704 -- escaped just here
