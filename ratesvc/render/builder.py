"""Our page at /: choose, see it on light and dark ground, copy the code. A GET form whose state is the address."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace
from functools import cache
from importlib.resources import files

from ratesvc.render import policy as csp
from ratesvc.render import rows, widget
from ratesvc.render.language import Language, language, language_or_default
from ratesvc.render.rows import View
from ratesvc.render.snippets import HEIGHTS, WIDTHS, Choice, query, snippets

UI = ("en", "ru", "zh-Hans")
WIDTH = 320
NARROW = 354


def builder(choice: Choice, words: Language, codes: Collection[str], site: widget.Site) -> str:
    """The page in `words`, about a widget in the language of `choice`."""
    others = sorted(set(codes) - set(choice.view.codes))
    return widget.page(
        "builder.html",
        t=words.say,
        words=words,
        choice=choice,
        site=site,
        snippets=snippets(choice, site),
        title=rows.TITLE,
        languages=_languages(choice.language),
        uis=[(ui, _in_words(choice, words, ui)) for ui in map(language_or_default, UI)],
        columns=_columns(),
        longest_heading=rows.LONGEST_HEADING,
        widths=WIDTHS,
        heights=HEIGHTS,
        previews=[("light", _preview(choice, "light")), ("dark", _preview(choice, "dark"))],
        currencies=[(code, words.currency(code)) for code in (*choice.view.codes, *others)],
    )


def not_ready(words: Language) -> str:
    """The page while nothing is stored yet."""
    return widget.page("not_ready.html", t=words.say, language=words)


def words_of(asked: str, of_widget: Language) -> Language:
    """The page's own language: the one asked for, else the widget's where the page is translated, else English."""
    found = language(asked) or of_widget
    nearest = next((tag for tag in UI if language_or_default(tag).locale.language == found.locale.language), UI[0])
    return language_or_default(nearest)


def policy() -> str:
    """Only our own style sheet and script, frames and requests of this site."""
    own = dict.fromkeys(("img_src", "frame_src", "connect_src", "form_action"), "'self'")
    return csp.policy(widget.style("home"), script_src=csp.source(widget.script("builder")), **own)


def height(view: View, width: int) -> int:
    """About how high the widget will be, in pixels; a little too much is better than an inner scrollbar."""
    title = 0 if view.heading == rows.NO_HEADING else 20 * (1 + len(view.heading or rows.TITLE) * 9 // (width - 24))
    is_narrow = width < NARROW
    lines = 2 if "name" in view.columns or (is_narrow and bool(view.changes or view.spark)) else 1
    lines += is_narrow and len(view.changes) > 1 and (bool(view.spark) or {"today", "next"} <= set(view.columns))
    return 24 + title + 10 + 48 + (11 + 23 * lines) * len(view.codes) + 26


def _preview(choice: Choice, ground: str) -> str:
    theme = choice.look.theme if choice.look.theme in ("light", "dark") else ground
    return f"widget/frame?{query(choice, theme=theme)}"


def _in_words(choice: Choice, words: Language, ui: Language) -> str:
    """The address of the same choice with the page in another language; the widget's follows where it is the page's."""
    more = {"width": str(choice.width)} if choice.width != WIDTH else {}
    more |= {"height": str(choice.height)} if choice.height != height(choice.view, choice.width) else {}
    more |= {"csp": "1"} if choice.strict else {}
    if choice.language.locale.language == words.locale.language:
        return query(replace(choice, language=ui), **more)
    return query(choice, **more, ui=ui.tag)


def _languages(chosen: Language) -> list[tuple[str, str]]:
    """The list, with the chosen one in front where it has a region."""
    listed = languages()
    if chosen.tag in dict(listed):
        return listed
    name = chosen.locale.display_name or chosen.tag
    return [(chosen.tag, name[:1].upper() + name[1:]), *listed]


def _columns() -> list[tuple[str, str]]:
    names = ("Name", "Today", "Tomorrow", "Change", "Change, %")
    return list(zip(rows.COLUMNS, names, strict=True))


@cache
def languages() -> list[tuple[str, str]]:
    """Every language of CLDR that has a name for itself, without regions; the three translated ones first.

    The names are kept in a file, since asking Babel for them would read 312 locales: half a second and 120 MB.
    """
    source = files("ratesvc.render").joinpath("assets", "languages.json").read_bytes()
    return [(tag, name) for tag, name in json.loads(source)]
