"""Our own page at /."""

from __future__ import annotations

from aiohttp import web

from ratesvc.errors import NoSheet
from ratesvc.publication import Body
from ratesvc.render import widget
from ratesvc.service import Service
from ratesvc.web import reply
from ratesvc.web.reply import Handler
from ratesvc.web.wanted import Asked, Wanted


def routes(service: Service, site: widget.Site) -> dict[str, Handler]:
    """Path → handler."""

    async def home(request: web.Request) -> web.Response:
        language = Asked(request).language()
        try:
            wanted = Wanted(request, service)
        except NoSheet:
            page = widget.page("not_ready.html", t=language.say, language=language)
            body = Body(page.encode(), widget.CONTENT_TYPE, (("Retry-After", str(reply.RETRY_S)),))
            return reply.send(request, body, "no-store", status=503)
        return wanted.send(
            ("home",),
            lambda: Body(
                widget.page("home.html", t=language.say, language=language, site=site).encode(), widget.CONTENT_TYPE
            ),
        )

    return {"/": home}
