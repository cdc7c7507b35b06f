"""The widget's HTML: a real table as a fragment for server-side includes, and as a page for a frame.

Also the parts that all pages share: templates, styles, their Content-Security-Policy, and the loader's releases.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from ratesvc.render.json import bank_page
from ratesvc.render.language import Language
from ratesvc.render.rows import SPARK_HEIGHT, SPARK_WIDTH, TITLE, Table
from ratesvc.render.text import TINY, WIDE

CONTENT_TYPE = "text/html; charset=utf-8"
THEMES = ("inherit", "light", "dark", "auto")
FRAME_THEMES = ("light", "dark", "auto")
UPDOWNS = ("green-red", "red-green", "blue-orange", "none")
STYLES = ("inline", "link", "none")
RELEASE = "1.0.0"
"""The newest release of the loader. The bytes of a release never change."""
SCRIPT = "text/javascript; charset=utf-8"
TYPES = {"rates.js": SCRIPT, "converter.js": SCRIPT, "widget.css": "text/css; charset=utf-8"}
PERMISSIONS = ("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")

_ASSETS = files("ratesvc.render").joinpath("assets")
_ENVIRONMENT = Environment(
    loader=PackageLoader("ratesvc.render", "templates"),
    autoescape=select_autoescape(("html", "svg"), default_for_string=True, default=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True, slots=True)
class Site:
    """This service as its readers see it: its public address without a slash at the end."""

    public_url: str
    demo: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """Colours only: `theme` of the ground, `updown` of a change."""

    theme: str = THEMES[0]
    updown: str = UPDOWNS[0]

    @property
    def classes(self) -> str:
        """The classes that the style sheet knows; the defaults have none."""
        chosen = [word for word in (self.theme, self.updown) if word not in (THEMES[0], UPDOWNS[0])]
        return " ".join(["cbr-rates", *(f"cbr-{word}" for word in chosen)])


@dataclass(frozen=True, slots=True)
class Packing:
    """How a fragment brings its style (inline, by link or not at all), and whether it has its own shadow root."""

    style: str = STYLES[0]
    shadow: bool = False


def fragment(table: Table, look: Look, packing: Packing, release_url: str) -> str:
    """The HTML fragment for server-side includes; `release_url` is the address of the newest release."""
    pin = lock()[RELEASE]["converter.js"]
    values = {"packing": packing, "release_url": release_url, "pin": pin, "parts": packing.shadow}
    return page("widget.html", table=table, look=look, **values)


def frame(table: Table, look: Look, discovery: str = "") -> str:
    """A complete page for an iframe; `discovery` is the address that oEmbed consumers ask about it."""
    return page("frame.html", table=table, look=look, discovery=discovery, parts=False)


def empty_frame(language: Language, look: Look) -> str:
    """The page of a frame without rates: a sentence and a link to the Bank's own page."""
    return page("frame_empty.html", language=language, t=language.say, look=look, title=TITLE, bank=bank_page(language))


def page(template: str, **values: object) -> str:
    """One of our templates, every value escaped."""
    found = _ENVIRONMENT.get_template(template)
    return found.render(style=style, script=script, named=_named, spark_size=(SPARK_WIDTH, SPARK_HEIGHT), **values)


@cache
def _named(kinds: str, parts: bool) -> Markup:
    """The attributes of an element of these kinds: its classes, and its parts if others may style them."""
    classes = " ".join(f"cbr-{kind}" for kind in kinds.split())
    return Markup(' class="{}" part="{}"' if parts else ' class="{}"').format(classes, kinds)  # noqa: S704 -- two constants


@cache
def _lines(name: str) -> list[str]:
    """A text file of ours as lines without indentation."""
    return [line.strip() for line in _ASSETS.joinpath(name).read_text("utf-8").splitlines()]


@cache
def rules(name: str) -> list[str]:
    """A style sheet as rules, or as the lines that begin and end a group of rules."""
    return [line.replace("$", step) for line in _lines(f"{name}.css") for step in _steps(line)]


@cache
def style(name: str) -> str:
    """A style sheet, one line: its bytes are constant for a release, and so is their hash."""
    return "".join(rules(name))


def _steps(line: str) -> Iterable[str]:
    """The numbers for which a rule is written: `$` stands for the width in em from which a layout fits."""
    return map(str, WIDE if ".cbr-wide-" in line else TINY) if "$" in line else [""]


def script(name: str) -> str:
    """A script for a page of ours, without blank lines and comment lines."""
    return "\n".join(line for line in _lines(f"{name}.js") if line and not line.startswith("//"))


def hashes(*texts: str) -> str:
    """The hash sources that allow these inline texts, byte for byte (CSP Level 3, 2.3.1)."""
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts]
    return " ".join(f"'sha256-{digest}'" for digest in digests)


def policy(*styles: str, **directives: str) -> str:
    """A Content-Security-Policy that allows only these inline styles, and the `directives` that add or replace rules.

    Underscores in the names of directives stand for hyphens.
    """
    everything = {
        "default-src": "'none'",
        "style-src": hashes(*styles),
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        **{name.replace("_", "-"): value for name, value in directives.items()},
    }
    return "; ".join(f"{name} {value}" for name, value in everything.items())


def framed_page(csp: str) -> tuple[tuple[str, str], ...]:
    """The headers of a page that others may frame. It gives up permissions such as the camera."""
    return ("Content-Security-Policy", csp), PERMISSIONS


def own_page(style_name: str, script_name: str = "", **directives: str) -> tuple[tuple[str, str], ...]:
    """The headers of a page in its own window, which shares nothing with the page that opened it.

    It has one style sheet and at most one script; the `directives` allow it more, as in `policy`.
    """
    scripts = {"script_src": hashes(script(script_name))} if script_name else {}
    csp = policy(style(style_name), **scripts, **directives)
    return *framed_page(csp), ("Cross-Origin-Opener-Policy", "same-origin")


@cache
def lock() -> dict[str, dict[str, str]]:
    """Version → file name → integrity hash, as releases/lock.json records them."""
    content = _ASSETS.joinpath("releases", "lock.json").read_bytes()
    return msgspec.json.decode(content, type=dict[str, dict[str, str]])


@cache
def releases() -> dict[str, dict[str, bytes]]:
    """Version → file name → bytes. Every release is served for ever."""
    folder = _ASSETS.joinpath("releases")
    return {
        version: {name: folder.joinpath(version, name).read_bytes() for name in names}
        for version, names in lock().items()
    }
