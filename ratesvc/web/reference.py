"""/openapi.json and /docs: what there is to ask, for programs and for people."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from aiohttp import web

from ratesvc.domain.workdays import moscow_day
from ratesvc.render import json, openapi
from ratesvc.render.widget import CONTENT_TYPE, Site, own_page, policy, style
from ratesvc.service.app import Service
from ratesvc.service.publication import Body
from ratesvc.web.answer import Answer, Caching
from ratesvc.web.reply import Handler

CACHING = Caching(300, 0, 86400)


def routes(service: Service, site: Site) -> dict[str, Handler]:
    """Path → handler."""
    headers = own_page(policy(style("docs"), img_src="'self'"))

    def finished(name: str, render: Callable[[date], Body]) -> Body:
        """With examples of a day that can be asked for; kept as long as the rates of that day are."""
        current = service.publisher.current
        if current is None:
            return render(moscow_day(service.clock()))
        return current.body(("reference", name), lambda: render(current.snapshot.in_force.effective_date))

    async def document(_: web.Request) -> Answer:
        body = finished("document", lambda day: Body(openapi.document(site, day), json.JSON))
        return Answer(body, CACHING, demo=service.demo)

    async def docs(_: web.Request) -> Answer:
        body = finished("page", lambda day: Body(openapi.page(site, day).encode(), CONTENT_TYPE, headers))
        return Answer(body, CACHING, demo=service.demo)

    return {"/openapi.json": document, "/docs": docs}
