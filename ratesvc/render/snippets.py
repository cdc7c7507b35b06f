"""Ready code for every way to embed the widget. Every value is escaped for the language it goes into."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from urllib.parse import urlencode

from markupsafe import escape

from ratesvc.render import loader, png
from ratesvc.render.api import bank_page
from ratesvc.render.card import width_of
from ratesvc.render.language import Language
from ratesvc.render.rows import DEFAULT_CODES, DEFAULT_COLUMNS, View
from ratesvc.render.widget import THEMES, UPDOWNS, Look, Site

LINK = "Bank of Russia official exchange rates"
WIDTHS = range(120, 2001)
HEIGHTS = range(60, 4001)
ROOM = range(1, 10_000)
PICTURE = "A picture for mail, feeds and a README: Gmail and some other mail programs show no SVG."


@dataclass(frozen=True, slots=True)
class Choice:
    """What was asked for: the widget, its language and size, whether the host sends a CSP, and a day but today."""

    view: View
    look: Look
    language: Language
    width: int
    height: int
    strict: bool = False
    day: date | None = None


@dataclass(frozen=True, slots=True)
class Snippet:
    """One tab: a word for its address, its name and explanation (to be translated), and the code to copy."""

    key: str
    name: str
    text: str
    code: str


def parameters(choice: Choice, *, look: bool = True) -> dict[str, str]:
    """What differs from the defaults, as attributes and parameters alike."""
    view = choice.view
    given = {
        "codes": ",".join(view.codes) if view.codes != DEFAULT_CODES else "",
        "date": choice.day.isoformat() if choice.day else "",
        "columns": ",".join(view.columns) if view.columns != DEFAULT_COLUMNS else "",
        "heading": view.heading,
        "lang": choice.language.tag,
        "spark": str(view.spark) if view.spark else "",
    }
    if look:
        given["theme"] = choice.look.theme if choice.look.theme != THEMES[0] else ""
        given["updown"] = choice.look.updown if choice.look.updown != UPDOWNS[0] else ""
    return {name: text for name, text in given.items() if text}


def query(choice: Choice, **more: str) -> str:
    """A query string with a stable order."""
    return urlencode({**parameters(choice), **more}, safe=",")


def snippets(choice: Choice, site: Site) -> list[Snippet]:
    """Every way, the best first."""
    framed = f"{site.public_url}/widget/frame?{query(choice)}"
    included = query(choice, style="link") if choice.strict else query(choice)
    sheet = _needed(f"style-src {escape(site.public_url)}/widget/") + "\n" if choice.strict else ""
    ssi, php = sheet + _ssi(included, choice), sheet + _php(f"{site.public_url}/widget?{included}", choice)
    return [
        Snippet("element", "Element", _ELEMENT_STRICT if choice.strict else _ELEMENT, element(choice, site)),
        Snippet("frame", "Frame", _STRICT if choice.strict else _FRAME, _frame(framed, choice, site)),
        Snippet("ssi", "nginx", _STRICT if choice.strict else _SSI, ssi),
        Snippet("php", "PHP", "Waits one second at most and keeps the last good copy.", php),
        Snippet(
            "wordpress", "WordPress", "Put this address on a line of its own.", embed_url(choice, site, sized=True)
        ),
        Snippet("picture", "Picture", PICTURE, _picture(choice, site)),
        Snippet("json", "JSON", "The rows, already formatted in the reader's language.", _json(choice, site)),
    ]


_ELEMENT = "An element and its script. The box is reserved, so that your page does not shift."
_ELEMENT_STRICT = "For sites with a Content-Security-Policy: pinned, and with the lines that your site needs."
_FRAME = "The exact size keeps your page from shifting."
_SSI = "The server puts the table into the page; readers ask nobody else."
_STRICT = "For sites with a Content-Security-Policy: with the lines that your site needs."


def element(choice: Choice, site: Site) -> str:
    """The element and its loader; strict means pinned, and no inline style."""
    attributes = {**parameters(choice), "height": str(choice.height)}
    box = f"display:block;height:{choice.height}px"
    written = " ".join(f'{name}="{escape(text)}"' for name, text in attributes.items())
    if not choice.strict:
        script = f'<script async src="{escape(site.public_url)}/widget/rates.js" crossorigin="anonymous"></script>'
        return f'<cbr-rates {written} style="{box}">\n  {_link(choice)}</cbr-rates>\n{script}'
    source = f"{escape(site.public_url)}/widget/{loader.VERSION}/rates.js"
    pin = loader.releases()[loader.VERSION].integrity("rates.js")
    script = f'<script async src="{source}" integrity="{pin}" crossorigin="anonymous"></script>'
    lines = _needed(f"script-src {source}; connect-src {escape(site.public_url)}", f"cbr-rates{{{box}}}")
    return f"{lines}\n<cbr-rates {written}>\n  {_link(choice)}</cbr-rates>\n{script}"


def _needed(directives: str, rule: str = "") -> str:
    """What a strict site adds to its own files."""
    lines = [f"Your style sheet:  {rule}"] if rule else []
    text = "\n     ".join([*lines, f"Your policy:  {directives}"])
    return f"<!-- {text} -->"


def _link(choice: Choice) -> str:
    """What stays where there are no rates."""
    return f'<a href="{bank_page(choice.language)}">{choice.language.say(LINK)}</a>'


def iframe(address: str, choice: Choice, borderless: str = 'style="border:0"') -> str:
    """A frame of exactly this size; `borderless` is the attribute by which it has no border."""
    title = choice.language.say(LINK)
    size = f'width="{choice.width}" height="{choice.height}"'
    return f'<iframe src="{escape(address)}" {size} {borderless} loading="lazy" title="{title}"></iframe>'


def _frame(address: str, choice: Choice, site: Site) -> str:
    """The frame for the builder; strict means no inline style."""
    if not choice.strict:
        return iframe(address, choice)
    lines = _needed(f"frame-src {escape(site.public_url)}/widget/frame", "iframe.cbr-rates{border:0}")
    return f"{lines}\n" + iframe(address, choice, 'class="cbr-rates"')


def embed_url(choice: Choice, site: Site, *, sized: bool = False) -> str:
    """The page that oEmbed consumers discover; `sized` tells them how large its frame is to be."""
    size = {"width": str(choice.width), "height": str(choice.height)} if sized else {}
    return f"{site.public_url}/embed?{query(choice, **size)}"


def _ssi(included: str, choice: Choice) -> str:
    return (
        f'<!--# block name="rates" -->{_link(choice)}<!--# endblock -->\n'
        f'<!--# include virtual="/rates/widget?{included}" stub="rates" -->'
    )


def _php(address: str, choice: Choice) -> str:
    quoted = re.sub(r"(['\\])", r"\\\1", address)
    return f"""<?php
$copy = sys_get_temp_dir() . '/cbr-rates-' . md5('{quoted}') . '.html';
if (!is_file($copy) || filemtime($copy) < time() - 300) {{
    $wait = stream_context_create(['http' => ['timeout' => 1]]);
    $rates = @file_get_contents('{quoted}', false, $wait);
    if (is_string($rates) && str_contains($rates, '</table>')) {{
        file_put_contents($copy, $rates, LOCK_EX);
    }} else {{
        @touch($copy);
    }}
}}
echo is_file($copy) && filesize($copy) ? file_get_contents($copy) : '{_link(choice)}';
?>"""


def _picture(choice: Choice, site: Site) -> str:
    path, more = ("card.png", {"scale": "2"}) if png.installed() else ("card.svg", {})
    address = f"{site.public_url}/widget/{path}?{query(choice, **more)}"
    bank, alternative = bank_page(choice.language), choice.language.say(LINK)
    return f'<a href="{bank}"><img src="{escape(address)}" width="{width_of(choice.view)}" alt="{alternative}"></a>'


def _json(choice: Choice, site: Site) -> str:
    text = urlencode(parameters(choice, look=False), safe=",")
    return f"curl '{site.public_url}/widget/rows.json?{text}'"
