"""What the widget and all pages share: the service's address, templates, styles, and Content-Security-Policies."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from jinja2 import Environment, FunctionLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from ratesvc.features.site import png
from ratesvc.render.openapi import Site

HTML = "text/html; charset=utf-8"
LINK = "Bank of Russia exchange rates"
"""The words of a link to rates, and the title of a frame with some."""
CHART = "Chart of Bank of Russia rates"
"""The heading of /chart, the words of links to it, and the title of its frame."""
FRAME_STYLE = "vertical-align:top;border:0;min-width:0;max-width:100%;height:{}px"
"""Many hosts have iframe{height:auto}, so the style has the height, too. In a row a frame may be narrower. On a line of
text it would leave room below for the tails of letters."""
OLD_FRAME = f'frameborder="0" style="{FRAME_STYLE}"'
"""The looks of a frame for programs that leave out styles, as WordPress does, but not this old attribute."""
PREVIEW = "widget/card.png?wide=1&scale=2&columns=today,next,change&spark=30&heading=short"
"""The picture that previews of a link show, without currencies and language."""
PERMISSIONS = ("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
"""Pages of ours give up permissions such as the camera."""
NOINDEX = ("X-Robots-Tag", "noindex")
"""What is embedded belongs to another page, so search engines should not list it by itself."""

FRAME_THEMES = ("light", "dark", "auto")

_FEATURES = files("ratesvc.features")
_INDENTATION = re.compile("^ +", re.MULTILINE)


def asset(name: str) -> Traversable:
    """A file of a feature: `site/icon.svg` is icon.svg in the assets of site."""
    owner, _, file = name.partition("/")
    return _FEATURES.joinpath(owner, "assets", file)


def _template(name: str) -> str:
    """A template. The indentation of HTML and SVG is for people, and costs readers nothing."""
    owner, _, file = name.partition("/")
    text = _FEATURES.joinpath(owner, "templates", file).read_text("utf-8")
    return text if file.endswith(".txt") else _INDENTATION.sub("", text)


_ENVIRONMENT = Environment(
    loader=FunctionLoader(_template),
    autoescape=select_autoescape(("html", "svg"), default_for_string=True, default=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def page(template: str, **values: object) -> str:
    """One of our templates, every value escaped."""
    ours = {"style": style, "script": script, "named": _named, "picture_of": picture_of, "preview": PREVIEW}
    return _ENVIRONMENT.get_template(template).render(**ours, **values)


def picture_of(site: Site, path: str) -> str:
    """The address of a PNG of this service, which begins with its feature; empty where there is none."""
    is_drawn = site.has(path.partition("/")[0].partition(".")[0]) and png.installed()
    return f"{site.public_url}/{path}" if is_drawn else ""


def iframe(address: str, title: str, size: tuple[int, int], looks: str = f'style="{FRAME_STYLE}"') -> str:
    """The code of a frame of this size, or narrower with its host; `looks` is the attribute that gives it its style."""
    code = '<iframe src="{}" width="{}" height="{}"{} loading="lazy" title="{}"></iframe>'
    return code.format(escape(address), *size, f" {looks.format(size[1])}" if looks else "", escape(title))


@cache
def _named(kinds: str, parts: bool) -> Markup:
    """The attributes of an element of these kinds: its classes, and its parts if others may style them."""
    classes = " ".join(f"cbr-{kind}" for kind in kinds.split())
    return Markup(' class="{}" part="{}"' if parts else ' class="{}"').format(classes, kinds)  # noqa: S704 -- two constants


@cache
def built(name: str) -> str:
    """A script or style sheet as it is served. tools/build_assets.mjs makes it from the file of this name in assets."""
    owner, _, file = name.partition("/")
    return asset(f"{owner}/built/{file}").read_text("utf-8").rstrip("\n")


def style(name: str) -> str:
    """A style sheet: its bytes are constant for a release, and so is their hash."""
    return built(f"{name}.css")


def script(name: str) -> str:
    """A script for a page of ours."""
    return built(f"{name}.js")


def hashes(*texts: str) -> str:
    """The hash sources that allow these inline texts, byte for byte (CSP Level 3, 2.3.1)."""
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts if text]
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


def framed_page(*styles: str, scripts: Iterable[str], **directives: str) -> tuple[tuple[str, str], ...]:
    """The headers of a page that others may frame, with these inline styles and scripts of ours, as in `policy`."""
    sources = {"script_src": hashes(*map(script, scripts)), "require_trusted_types_for": "'script'"}
    csp = policy(*styles, **sources, frame_ancestors="*", **directives)
    return ("Content-Security-Policy", csp), PERMISSIONS, ("Cross-Origin-Embedder-Policy", "require-corp"), NOINDEX


def own_page(*styles: str, script_name: str = "", **directives: str) -> tuple[tuple[str, str], ...]:
    """The headers of a page in its own window, which shares nothing with the page that opened it.

    It has the style sheets of these names and at most one script; the `directives` allow it more, as in `policy`.
    """
    scripts = {"script_src": hashes(script(script_name))} if script_name else {}
    csp = policy(*map(style, ("site/top", *styles)), **scripts, **directives)
    return ("Content-Security-Policy", csp), PERMISSIONS, ("Cross-Origin-Opener-Policy", "same-origin")
