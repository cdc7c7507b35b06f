"""Writes the guides of /docs from docs/*.md: `PYTHONPATH=. python tools/release_guides.py`.

Each text block becomes a call of `say`, which translates it, and each program one of `code`. A test compares the files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
from markdown_it import MarkdownIt
from markdown_it.token import Token

from ratesvc.features.docs.guides import GUIDES

ROOT = Path(__file__).parents[1]
PLACE = ROOT / "ratesvc/features/docs/templates/guides"
OPENED = {"table": '<div class="wide" tabindex="0"><table>'}
CLOSED = {"table": "</table></div>"}


def written(name: str) -> str:
    """The template of one guide."""
    tokens = MarkdownIt("commonmark").enable("table").parse((ROOT / "docs" / f"{name}.md").read_text("utf-8"))
    return "".join(f"{line}\n" for line in _lines(tokens))


def _lines(tokens: list[Token]) -> Iterator[str]:
    for place, token in enumerate(tokens):
        if token.type == "inline":
            yield f"{{{{ say({_quoted(' '.join(token.content.split()))}) }}}}"
        elif token.type == "fence":
            yield f'<pre tabindex="0">{{{{ code({_quoted(token.content)}) }}}}</pre>'
        elif token.type == "heading_open":
            yield f'<{token.tag} id="{_slug(tokens[place + 1].content)}">'
        elif token.nesting > 0 and not token.hidden:
            yield OPENED.get(token.tag, f"<{token.tag}>")
        elif token.nesting < 0 and not token.hidden:
            yield CLOSED.get(token.tag, f"</{token.tag}>")


def _slug(heading: str) -> str:
    """The anchor that the forge and the site give a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def _quoted(text: str) -> str:
    """A literal of a template."""
    return msgspec.json.encode(text).decode()


if __name__ == "__main__":
    PLACE.mkdir(exist_ok=True)
    for guide in GUIDES:
        PLACE.joinpath(f"{guide}.html").write_text(written(guide), "utf-8")
