"""docs/*.md as pages of /docs, in English and, from docs/ru, in Russian. The wheel has them in this folder.

Markdown is parsed when somebody first opens such a page, so this module is not imported at the start.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

from ratesvc.features.docs.openapi_json import EXAMPLE_HOST
from ratesvc.render.language import DEFAULT
from ratesvc.render.openapi import Site

_SHIPPED = files("ratesvc.features.docs").joinpath("pages")
_PAGES = _SHIPPED if _SHIPPED.is_dir() else files("ratesvc").joinpath("..", "docs")
_TO_A_FILE = re.compile(r"\[([^\]]*)\]\(\.[^)]*\)")
"""A link to a file of the project, which the service does not have: only its words stay."""


class _Renderer(RendererHTML):
    """HTML with anchors, and tables and examples that scroll."""

    def heading_open(self, tokens: Sequence[Token], place: int, *_: Any) -> str:
        return f'<{tokens[place].tag} id="{slug(tokens[place + 1].content)}">'

    def table_open(self, *_: Any) -> str:
        return '<div class="wide" tabindex="0"><table>'

    def table_close(self, *_: Any) -> str:
        return "</table></div>"

    def fence(self, tokens: Sequence[Token], place: int, *_: Any) -> str:
        return f'<pre tabindex="0">{escapeHtml(tokens[place].content)}</pre>'


_MARKDOWN = MarkdownIt("commonmark", renderer_cls=_Renderer).enable("table")


def content(name: str, site: Site, tag: str) -> str:
    """The HTML of a page; its examples have the address of this service."""
    file = _PAGES.joinpath(*(() if tag == DEFAULT else (tag,)), f"{name}.md")
    text = _TO_A_FILE.sub(r"\1", file.read_text("utf-8"))
    return str(_MARKDOWN.render(text.replace(EXAMPLE_HOST, site.public_url)))


def slug(heading: str) -> str:
    """The anchor that a forge gives a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
