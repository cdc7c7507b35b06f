"""The widget in every form that a page can embed, and our own page at /."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files

from aiohttp import web

from ratesvc.publication import Body
from ratesvc.render import widget
from ratesvc.render.language import Language, language_or_default
from ratesvc.service import Service
from ratesvc.web import reply
from ratesvc.web.api import published
from ratesvc.web.reply import Handler

MOST_CODES = 20
THEMES = ("light", "dark", "auto")
STYLES = ("inline", "none")
ICON_CACHING = "public, max-age=604800"


def routes(service: Service, site: widget.Site) -> dict[str, Handler]:
    """Path → handler."""

    async def fragment(request: web.Request) -> web.Response:
        shown = _Shown(request, service)
        styled = shown.choice("style", STYLES) == "inline"
        return shown.send(
            ("widget", *shown.key, styled),
            lambda: widget.widget(shown.snapshot, shown.language, shown.codes, site, styled=styled),
        )

    async def frame(request: web.Request) -> web.Response:
        shown = _Shown(request, service)
        theme = shown.choice("theme", THEMES)
        policy = widget.security_policy("frame", "widget", framed=True)
        return shown.send(
            ("frame", *shown.key, theme),
            lambda: widget.frame(shown.snapshot, shown.language, shown.codes, site, theme),
            ("Content-Security-Policy", policy),
            ("Cross-Origin-Embedder-Policy", "require-corp"),
        )

    async def home(request: web.Request) -> web.Response:
        if service.board.current is None:
            return _not_ready(request, site)
        shown = _Shown(request, service)
        policy = widget.security_policy("home", images=True)
        return shown.send(
            ("home", shown.language.tag),
            lambda: widget.home(shown.snapshot, shown.language, site),
            ("Content-Security-Policy", policy),
        )

    icon = Body(files("ratesvc.render").joinpath("assets", "icon.svg").read_bytes(), "image/svg+xml")

    async def favicon(request: web.Request) -> web.Response:
        return reply.send(request, icon, ICON_CACHING)

    return {"/widget": fragment, "/widget/frame": frame, "/": home, "/favicon.ico": favicon}


class _Shown:
    """What one embedding wants. Unknown currencies and languages are dropped: never an error inside somebody's page."""

    def __init__(self, request: web.Request, service: Service) -> None:
        self._request = request
        self._service = service
        self._publication = published(service)
        self.snapshot = self._publication.snapshot
        self.language: Language = _language(request)
        asked = request.query.get("codes", "").upper().split(",", MOST_CODES)[:MOST_CODES]
        known = [code.strip() for code in asked if code.strip() in self.snapshot.in_force.sheet.by_code]
        self.codes = tuple(dict.fromkeys(known)) or widget.DEFAULT_CODES
        self.key = (self.language.tag, self.codes)

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """The word asked for, or the first."""
        asked = self._request.query.get(name, "")
        return asked if asked in choices else choices[0]

    def send(self, key: tuple[object, ...], render: Callable[[], str], *headers: tuple[str, str]) -> web.Response:
        """The finished page, rendered if this is the first time that it is asked for."""
        body = self._publication.body(key, lambda: Body(render().encode(), widget.CONTENT_TYPE, headers))
        now = self._service.clock()
        caching = reply.WIDGET.header(now, reply.changes_at(self.snapshot, now))
        return reply.send(self._request, body, caching, demo=self._service.demo)


def _language(request: web.Request) -> Language:
    asked = request.query.get("lang", "")
    return language_or_default(asked if len(asked) <= 35 else None)


def _not_ready(request: web.Request, site: widget.Site) -> web.Response:
    page = widget.not_ready(_language(request), site).encode()
    headers = (("Content-Security-Policy", widget.security_policy("home")), ("Retry-After", str(reply.RETRY_S)))
    return reply.send(request, Body(page, widget.CONTENT_TYPE, headers), "no-store", status=503)
