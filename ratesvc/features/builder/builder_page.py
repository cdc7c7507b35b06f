"""Our page at /: choose, see the widget on light and dark ground, copy the code for any way to embed it.

The page is a GET form, so its address keeps its state. Every value is escaped for the language that it goes into.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import NamedTuple
from urllib.parse import urlencode

import msgspec

from ratesvc.features.site import png
from ratesvc.features.site.language import Language, language, language_or_default, translated
from ratesvc.features.site.page import FRAME_STYLE, LINK, OLD_FRAME, asset, hashes, iframe, page
from ratesvc.features.widget import view as views
from ratesvc.features.widget.height import PADDING, height, height_later
from ratesvc.features.widget.markup import fragment
from ratesvc.features.widget.releases import RELEASE, lock
from ratesvc.features.widget.rows import Price
from ratesvc.features.widget.table import Table
from ratesvc.features.widget.view import THEMES, Choice, Look, embed_url, parameters, query
from ratesvc.render.json import bank_page
from ratesvc.render.openapi import Site

SIDEBAR, NARROW = 300, 240
"""The width in pixels of a column beside a text, and up to which a widget is made for columns from 180 on."""
LINK_IN_A_SENTENCE = "at the Bank of Russia rate"
BOX = "display:block;padding:.5em 0;color:inherit"
"""The style of the link that stands where the rows will be, or where they could not be loaded."""
FLOATING = ";contain:inline-size;contain-intrinsic-width:17em;max-width:100%"
BAR_BOX = (
    "display:inline-grid;vertical-align:top;grid-template-columns:minmax(0,{0}px);"
    "width:100%;min-width:0;max-width:{0}px"
)
"""The style of what is around a frame with a bar: in a place that is as wide as what stands in it, such as a cell of a
table, it is as wide as chosen if there is room, and narrower beside others."""
BAR_CONTAINER = "container-type:inline-size"
"""The style of what is inside that, so that the height of the frame follows its column. A container has no width of its
own, so another box gives it one."""
BAR_FRAME = "display:block;border:0;width:100%;height:{}px"
UNAVAILABLE = "These rates are not available right now."
"""The title of that link. The loader shows it where it gets no rates."""

SENTENCE = "{unit} is {rate}."
"""What the preview of a rate in a sentence says."""
PRESETS = {
    "table": {},
    "Column": {"codes": "USD,EUR,CNY", "columns": "next,change", "heading": "short", "head": "0", "width": "240"},
    "Card": {"columns": "today,next,change", "heading": "short", "spark": "30", "converter": "1", "theme": "light"},
}
"""Name → parameters: the usual table, a narrow column, a card of its own."""


class Offered(NamedTuple):
    """The currencies, what else has a price by code, and the name of the key rate if it is held."""

    codes: Collection[str]
    prices: Mapping[str, Price]
    key_rate: str


def builder(
    choice: Choice, words: Language, table: Table, offered: Offered, site: Site, notices: Sequence[str] = ()
) -> str:
    """The page in `words`, about a widget in the language of `choice`, with this `table`."""
    prices = {code: f"{words.say(price.name)}, {words.say(price.unit)}" for code, price in offered.prices.items()}
    others = [code for code in (*sorted(offered.codes), *prices) if code not in choice.view.codes]
    names = ("Name", "Today", "Tomorrow", "Change", "Change, %")
    is_same = choice.language.primary == words.primary
    of_page = {"lang": choice.language.tag} | _ui(choice, words)
    ready, given = PRESETS.items(), (parameters(choice) | choice.size).items()
    theme = choice.look.theme if choice.look.theme in ("light", "dark") or choice.look.is_own else ""
    return page(
        "builder/builder.html",
        t=words.say,
        words=words,
        choice=choice,
        site=site,
        **_code(choice, table, site),
        is_png=png.installed(),
        letter_image=_image(choice.letter) if choice.letter else "",
        table=table,
        views=views,
        sentence=_sentence(choice, table),
        address=address(choice, words),
        presets={
            name: (urlencode({**asked, **of_page}, safe=","), asked and asked.items() <= given) for name, asked in ready
        },
        # What differs from the usual is unfolded.
        open=[part for part, is_open in (("look", choice.look != Look()), ("place", _host(choice))) if is_open],
        languages=_languages(choice.language),
        # The widget's language follows that of the page if it was the same.
        uis=[(ui, f"?{address(replace(choice, language=ui) if is_same else choice, ui)}") for ui in translated()],
        notices=notices,
        columns=list(zip(views.COLUMNS, names, strict=True)),
        previews=[(ground, query(choice, theme=theme or ground)) for ground in ("light", "dark")],
        currencies=[(code, prices.get(code) or words.currency(code)) for code in (*choice.view.codes, *others)],
        key_rate=offered.key_rate,
    )


def words_of(tag: str, of_widget: Language) -> Language:
    """The page's own language: the requested one, else the widget's if the page is translated, else English."""
    wanted = (language(tag) or of_widget).primary
    return next((words for words in translated() if words.primary == wanted), language_or_default(None))


def address(choice: Choice, words: Language) -> str:
    """The query of the page itself: what differs from the defaults."""
    # Of a sentence the currencies that its code leaves out, too.
    more = {"codes": ",".join(choice.view.codes)} if choice.view.shown != choice.view.codes else {}
    return query(choice, **more, **_host(choice), **_ui(choice, words))


def _ui(choice: Choice, words: Language) -> dict[str, str]:
    """The page's language, where that of the widget does not tell it."""
    return {"ui": words.tag} if words.tag != words_of("", choice.language).tag else {}


def _host(choice: Choice) -> dict[str, str]:
    """What the host's page needs, where that is not the usual."""
    switches = {"csp": choice.strict, "float": choice.floats}
    return choice.size | {name: "1" for name, is_on in switches.items() if is_on}


def _sentence(choice: Choice, table: Table) -> list[str]:
    """The words before and after a rate in a sentence."""
    unit, quote = table.rows[0].unit, choice.view.codes[0]
    count = unit.partition("\u00a0")[0] if "\u00a0" in unit else "1"
    unit = unit if table.rows[0].ours else f"{count}\u00a0{quote}"
    return choice.language.say(SENTENCE, unit=unit, rate="\0").split("\0")


def _languages(chosen: Language) -> list[tuple[str, str]]:
    """The list, with the chosen language in front if it has a region."""
    listed = languages()
    if chosen.tag in dict(listed):
        return listed
    name = chosen.name or chosen.tag
    return [(chosen.tag, name[:1].upper() + name[1:]), *listed]


@cache
def languages() -> list[tuple[str, str]]:
    """Every language of CLDR that has a name for itself, without regions; the three translated ones first.

    A file holds the names, because the 331 languages would take half a second.
    """
    return msgspec.json.decode(asset("builder/languages.json").read_bytes(), type=list[tuple[str, str]])


def _code(choice: Choice, table: Table, site: Site) -> dict[str, object]:
    """The values of snippets.txt."""
    style = "none" if choice.view.layout == "inline" else "link"
    size = choice.width, choice.height or height(table, choice.view, choice.width)
    return {
        "bank": bank_page(choice.language),
        "link_text": choice.language.say(LINK),
        "fallback": _fallback(choice),
        "link_style": "color:inherit" if choice.view.layout == "line" else BOX,
        "unavailable": choice.language.say(UNAVAILABLE),
        "box": _box(choice, table),
        "release": RELEASE,
        "pins": lock()[RELEASE],
        "parameters": parameters(choice),
        "query": query,
        "jsx": _jsx,
        "jsx_style": _jsx_style,
        **_frame(choice, table, site),
        "size": size,
        "later": _later(choice, table),
        # That of today's rates alone; a line has one height.
        "threshold": msgspec.structs.replace(
            table, columns=tuple(column for column in table.columns if column.kind != "today")
        ).threshold,
        "newest_image": _image(choice),
        "embed_url": embed_url(choice, site, width=str(size[0]), height=str(size[1])),
        "ground_hash": hashes(choice.look.rule),
        "plain_query": urlencode(parameters(choice, look=False), safe=","),
        "included_html": fragment(table, choice.look, style, site, shadow=True),
        "old_frame": iframe(embed_url(choice, site), choice.language.say(LINK), size, OLD_FRAME),
    }


def _image(choice: Choice) -> str:
    """The address of the picture."""
    return f"card.png?{query(choice, scale='2')}" if png.installed() else f"card.svg?{query(choice)}"


def _fallback(choice: Choice) -> str:
    """The words of the link that stands where the rows will be."""
    usual = {"line": views.HEADINGS["short"], "inline": LINK_IN_A_SENTENCE}.get(choice.view.layout, LINK)
    return choice.view.own_heading or choice.language.say(usual)


def _box(choice: Choice, table: Table) -> str:
    """The style that gives the element its place before the rows come."""
    if choice.view.layout == "line":
        return "display:block;flex:1;height:2em;line-height:2em;overflow:hidden"
    # A ground of ours has pixels. Without one there is no padding, and the letters are the host's.
    pixels = _height(choice, table)
    high = _ems(pixels - PADDING) if choice.look.theme == THEMES[0] else f"{pixels}px"
    # Not every page has space above its paragraphs. A bar also stands in headers, where it must stay in the middle.
    margin = "margin:.5em 0" if choice.view.layout == "bar" else "margin-bottom:1em"
    return f"display:block;{margin};min-height:{high}{FLOATING if choice.floats else ''}"


def _frame(choice: Choice, table: Table, site: Site) -> dict[str, str]:
    """The code of a frame, and its rules where a site allows no style in its HTML."""
    address, title = f"{site.public_url}/widget/frame?{query(choice)}", choice.language.say(LINK)
    size = choice.width, _height(choice, table)
    is_bar = choice.view.layout == "bar"
    box, style = BAR_BOX.format(choice.width), (BAR_FRAME if is_bar else FRAME_STYLE).format(size[1])
    looks = [f' style="{one}"' for one in (style, box, BAR_CONTAINER)]
    if choice.strict:
        looks = ["", ' class="cbr-rates"', ""] if is_bar else [' class="cbr-rates"']
    code = iframe(address, title, size, looks[0].lstrip())
    if not is_bar:
        return {"framed_rates": code, "frame_rules": f"iframe.cbr-rates{{{style}}}"}
    rules = f"div.cbr-rates{{{box}}}.cbr-rates>div{{{BAR_CONTAINER}}}.cbr-rates iframe{{{style}}}"
    return {"framed_rates": f"<div{looks[1]}><div{looks[2]}>\n  {code}</div></div>", "frame_rules": rules}


def _height(choice: Choice, table: Table) -> int:
    """The pixels that the code reserves, for a sidebar, too. The script measures them, and writes both for a bar."""
    return choice.height or max(height(table, choice.view, width) for width in _widths(choice))


def _later(choice: Choice, table: Table) -> int:
    """The pixels that rows without padding need once tomorrow's rates are announced, or less than 1."""
    return max(height_later(table, choice.view, width) for width in _widths(choice)) - PADDING


def _widths(choice: Choice) -> tuple[int, int]:
    return choice.width, SIDEBAR if choice.width > NARROW else 180


def _ems(pixels: int) -> str:
    """Pixels as tenths of an em of a page whose font has 16."""
    whole, tenths = divmod(-(-pixels * 10 // 16), 10)
    return f"{whole}.{tenths}em"


def _jsx(text: str, around: str = '"') -> str:
    """A text in JSX: an attribute, where quotes know no backslash, or with nothing `around` it between tags."""
    is_plain = re.fullmatch(r"[^\"&\\{}<>]*", text)
    return f"{around}{text}{around}" if is_plain else f"{{{json.dumps(text, ensure_ascii=False)}}}"


def _jsx_style(declarations: str) -> str:
    """A style as an object of JavaScript, which React asks for."""
    pairs = (declaration.split(":", 1) for declaration in declarations.split(";"))
    named = ((re.sub("-(.)", lambda found: found[1].upper(), name), json.dumps(value)) for name, value in pairs)
    return f"{{{{ {', '.join(map(': '.join, named))} }}}}"
