"""The widget's HTML: a real table as a fragment for server-side includes, and as a page for a frame."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from ratesvc.render.json import bank_page
from ratesvc.render.language import Language
from ratesvc.render.rows import SPARK_HEIGHT, SPARK_WIDTH, TITLE, Table

CONTENT_TYPE = "text/html; charset=utf-8"
THEMES = ("inherit", "light", "dark", "auto")
FRAME_THEMES = ("light", "dark", "auto")
UPDOWNS = ("green-red", "red-green", "blue-orange", "none")
STYLES = ("inline", "link", "none")

_ENVIRONMENT = Environment(
    loader=PackageLoader("ratesvc.render", "templates"),
    autoescape=select_autoescape(("html", "svg"), default_for_string=True, default=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True, slots=True)
class Site:
    """How this service is reached and shown: its public address without a slash at the end."""

    public_url: str
    demo: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """Colours only: `theme` of the ground, `updown` of a change."""

    theme: str = THEMES[0]
    updown: str = UPDOWNS[0]

    @property
    def classes(self) -> str:
        """What the style sheet is told; the defaults are left unsaid."""
        words = ["cbr-rates"]
        words += [f"cbr-{self.theme}"] if self.theme != THEMES[0] else []
        words += [f"cbr-{self.updown}"] if self.updown != UPDOWNS[0] else []
        return " ".join(words)


@dataclass(frozen=True, slots=True)
class Packing:
    """How a fragment brings its style: inline, by link or not at all; and whether in a shadow root of its own."""

    style: str = STYLES[0]
    shadow: bool = False


def fragment(table: Table, look: Look, packing: Packing, style_url: str) -> str:
    """The HTML fragment for server-side includes."""
    return page("widget.html", table=table, look=look, packing=packing, style_url=style_url, parts=packing.shadow)


def frame(table: Table, look: Look, discovery: str = "") -> str:
    """A complete page for an iframe; `discovery` is the address that oEmbed consumers ask about it."""
    return page("frame.html", table=table, look=look, discovery=discovery, parts=False)


def empty_frame(language: Language, look: Look) -> str:
    """The page of a frame that has nothing to show: a sentence and the Bank's own page."""
    return page("frame_empty.html", language=language, t=language.say, look=look, title=TITLE, bank=bank_page(language))


def page(template: str, **values: object) -> str:
    """One of our templates, every value escaped."""
    found = _ENVIRONMENT.get_template(template)
    return found.render(style=style, script=script, named=named, spark_size=(SPARK_WIDTH, SPARK_HEIGHT), **values)


@cache
def named(kinds: str, parts: bool) -> Markup:
    """The attributes of an element of these kinds: its classes, and its parts where others may style them."""
    classes = " ".join(f"cbr-{kind}" for kind in kinds.split())
    return Markup(' class="{}" part="{}"' if parts else ' class="{}"').format(classes, kinds)  # noqa: S704 -- two constants


@cache
def asset(name: str) -> str:
    """A text file of ours, without white space at its ends."""
    return files("ratesvc.render").joinpath("assets", name).read_text("utf-8").strip()


def style(name: str) -> str:
    """A style sheet, one line: its bytes are constant for a release, and so is their hash."""
    return "".join(line.strip() for line in asset(f"{name}.css").splitlines())


def style_of(table: Table, look: Look) -> str:
    """The widget's style without the rules for what this table does not show: the element asks for it each time."""
    said = {"rates", "head", "label", "code", *table.kinds, *(row.move for row in table.rows), look.theme, look.updown}
    said |= {"mark", "words"} | ({"when"} if any(column.label for column in table.columns) else set())
    said |= {"badge"} if table.badge else set()
    lines = (line.strip() for line in asset("widget.css").splitlines())
    return "".join(line for line in lines if _applies(line.partition("{")[0], said))


def _applies(selectors: str, said: Collection[str]) -> bool:
    """Whether any of these selectors names only classes that there are."""
    named = (re.findall(r"\.cbr-([\w-]+)", selector) for selector in selectors.split(","))
    return any(all(name in said for name in names) for names in named)


def script(name: str) -> str:
    """A script for a page of ours, without its comments."""
    return minified(asset(f"{name}.js"))


def minified(source: str) -> str:
    """Lines without indentation and without comment lines; what stands on a line stays as it is."""
    lines = (line.strip() for line in source.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


@cache
def security_policy(*, styles: tuple[str, ...], scripts: tuple[str, ...] = (), framed: bool = False) -> str:
    """A Content-Security-Policy that allows exactly these style sheets and scripts of ours, by hash."""
    return policy(
        "",
        style_src=hashes(*map(style, styles)),
        script_src=hashes(*map(script, scripts)),
        require_trusted_types_for="'script'",
        frame_ancestors="*" if framed else "'none'",
    )


def hashes(*texts: str) -> str:
    """The hash sources that allow these inline texts, byte for byte (CSP Level 3, 2.3.1)."""
    return " ".join(f"'sha256-{_digest(text)}'" for text in texts) or "'none'"


def policy(style: str, **directives: str) -> str:
    """Nothing but the inline `style` and what `directives` add or replace; their underscores stand for hyphens."""
    everything = {
        "default-src": "'none'",
        "style-src": hashes(style),
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        **{name.replace("_", "-"): value for name, value in directives.items()},
    }
    return "; ".join(f"{name} {value}" for name, value in everything.items())


PERMISSIONS = ("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")


def framed_page(csp: str) -> tuple[tuple[str, str], ...]:
    """The headers of a page that others may frame: it needs no permission of its host."""
    return ("Content-Security-Policy", csp), PERMISSIONS


def own_page(csp: str) -> tuple[tuple[str, str], ...]:
    """The headers of a page for a window of its own, which shares nothing with the page that opened it."""
    return *framed_page(csp), ("Cross-Origin-Opener-Policy", "same-origin")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


RELEASE = "1.0.0"
SCRIPT_TYPE = "text/javascript; charset=utf-8"
STYLE_TYPE = "text/css; charset=utf-8"
TYPES = {"rates.js": SCRIPT_TYPE, "widget.css": STYLE_TYPE}


@dataclass(frozen=True)
class Release:
    """One version: its files as they are served."""

    version: str
    files: dict[str, bytes]

    def integrity(self, name: str) -> str:
        """What a page writes into integrity=""."""
        return integrity(self.files[name])


@cache
def releases() -> dict[str, Release]:
    """Every version that was ever released: it is served for ever."""
    return {version: _read(version, names) for version, names in lock().items()}


@cache
def lock() -> dict[str, dict[str, str]]:
    """Version → file → integrity, from the lock in this repository."""
    content = files("ratesvc.render").joinpath("assets", "releases", "lock.json").read_bytes()
    return msgspec.json.decode(content, type=dict[str, dict[str, str]])


def _read(version: str, names: dict[str, str]) -> Release:
    folder = files("ratesvc.render").joinpath("assets", "releases", version)
    return Release(version, {name: folder.joinpath(name).read_bytes() for name in names})


def integrity(content: bytes) -> str:
    """A subresource integrity hash."""
    return f"sha384-{base64.b64encode(hashlib.sha384(content).digest()).decode()}"
