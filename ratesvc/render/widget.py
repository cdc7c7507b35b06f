"""The widget's HTML: a real table, formatted once by the server: as a fragment, a page for a frame, and on our page."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from ratesvc.rates import EXACT, InForce, Sheet, Snapshot, unit_rates
from ratesvc.render.language import Language

CONTENT_TYPE = "text/html; charset=utf-8"
DEFAULT_CODES = ("USD", "EUR", "CNY", "GBP", "JPY", "TRY")
PLACES = 4
NOTHING = "\u2014"

_ENVIRONMENT = Environment(
    loader=PackageLoader("ratesvc.render", "templates"),
    autoescape=select_autoescape(default_for_string=True, default=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table, as text; `move` is up, down, same, or empty where nothing came before."""

    code: str
    name: str
    nominal: str
    values: tuple[str, ...]
    move: str
    change: str


@dataclass(frozen=True, slots=True)
class Site:
    """How this service is reached and shown: its public address without a slash at the end."""

    public_url: str
    demo: bool = False


def widget(snapshot: Snapshot, language: Language, codes: Sequence[str], site: Site, *, styled: bool = True) -> str:
    """The HTML fragment for server-side includes."""
    return _render("widget.html", language, table=_table(snapshot, language, codes), site=site, styled=styled)


def frame(snapshot: Snapshot, language: Language, codes: Sequence[str], site: Site, theme: str) -> str:
    """A complete page for an iframe; `theme` is light, dark or auto."""
    table = _table(snapshot, language, codes)
    return _render("frame.html", language, table=table, site=site, theme=theme, styled=False)


def home(snapshot: Snapshot, language: Language, site: Site) -> str:
    """Our page: the widget and how to embed it."""
    return _render("home.html", language, table=_table(snapshot, language, DEFAULT_CODES), site=site, styled=False)


def not_ready(language: Language, site: Site) -> str:
    """Our page while nothing is stored yet."""
    return _render("not_ready.html", language, site=site)


@cache
def style(name: str) -> str:
    """A style sheet of ours, without its comments' newline at the end."""
    return files("ratesvc.render").joinpath("assets", f"{name}.css").read_text("utf-8").strip()


@cache
def security_policy(*sheets: str, framed: bool = False, images: bool = False) -> str:
    """A Content-Security-Policy that allows exactly these style sheets, by hash."""
    hashes = " ".join(f"'sha256-{_digest(style(name))}'" for name in sheets)
    parts = ["default-src 'none'", f"style-src {hashes}", "base-uri 'none'", "form-action 'none'"]
    parts.append("frame-ancestors *" if framed else "frame-ancestors 'none'")
    if images:
        parts += ["img-src 'self'", "frame-src 'self'"]
    return "; ".join(parts)


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _render(name: str, language: Language, **values: object) -> str:
    return _ENVIRONMENT.get_template(name).render(t=language.say, language=language, style=style, **values)


def _table(snapshot: Snapshot, language: Language, codes: Sequence[str]) -> dict[str, object]:
    shown = [snapshot.for_today()]
    if announced := snapshot.for_next():
        shown.append(announced)
    return {
        "heads": [_head(answer, language) for answer in shown],
        "rows": [_row(shown, code, language) for code in codes if code in shown[-1].revision.sheet.by_code],
        "stale": snapshot.stale,
        "since": language.day(snapshot.in_force.effective_date),
    }


def _head(answer: InForce, language: Language) -> dict[str, str]:
    effective = answer.revision.effective_date
    return {"iso": effective.isoformat(), "day": language.day_and_month(effective)}


def _row(shown: Sequence[InForce], code: str, language: Language) -> Row:
    last = shown[-1]
    nominal = last.revision.sheet.by_code[code].nominal
    moved = unit_rates(last.revision.sheet, last.previous.sheet if last.previous else None)[code].change
    difference = EXACT.multiply(moved.absolute, Decimal(nominal)) if moved else Decimal(0)
    return Row(
        code=code,
        name=language.currency(code, nominal),
        nominal="" if nominal == 1 else language.whole(nominal),
        values=tuple(_value(answer.revision.sheet, code, nominal, language) for answer in shown),
        move="" if moved is None else "up" if difference > 0 else "down" if difference < 0 else "same",
        change=language.signed(difference, PLACES) if moved else NOTHING,
    )


def _value(sheet: Sheet, code: str, nominal: int, language: Language) -> str:
    """The value for `nominal` units, even where this sheet prints it for another nominal."""
    quote = sheet.by_code.get(code)
    return language.number(EXACT.multiply(quote.unit_rate, Decimal(nominal)), PLACES) if quote else NOTHING
