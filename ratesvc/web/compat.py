"""Other people's clients: the dialects that are switched on, each under /{name}, at the root too where needed."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from aiohttp import web

from ratesvc import dialects
from ratesvc.dialects import Dialect, Refused, Request
from ratesvc.domain.rates import Snapshot
from ratesvc.errors import RatesvcError
from ratesvc.render.widget import Site
from ratesvc.service.app import Service
from ratesvc.service.publication import Body, Publication
from ratesvc.web.answer import NO_STORE, Answer
from ratesvc.web.api import beside, published, send_until
from ratesvc.web.reply import Handler

BANK = "/scripts/"


def routes(service: Service, site: Site) -> dict[str, Handler]:
    """Path → handler."""
    found: dict[str, Handler] = {}
    for name in service.settings.dialects:
        dialect: Dialect = import_module(f"ratesvc.dialects.{name.replace('-', '_')}").DIALECT
        room = _Room(name, dialect, service, site)
        handlers = {path: room.handler(ask) for path, ask in dialect.routes.items()}
        found |= handlers if dialect.at_root else {}
        found |= {f"/{name}{path}": handler for path, handler in handlers.items()}
        found[f"/{name}/{{anything:(?s:.*)}}"] = room.handler(_nothing)
    return found


def _nothing(_: Request) -> dialects.Content:
    raise Refused(404, "There is nothing at this address.")


class _Room:
    """One dialect over one service."""

    def __init__(self, name: str, dialect: Dialect, service: Service, site: Site) -> None:
        self._name = name
        self._dialect = dialect
        self._service = service
        self._site = site

    def handler(self, ask: Callable[[Request], dialects.Content]) -> Handler:
        """The answer to a request, or the dialect's own words for what is wrong with it."""

        async def answer(request: web.Request) -> Answer:
            try:
                # Asked of one publication and kept with it: what is rendered meanwhile belongs to no later one.
                publication = published(self._service)
                found = ask(self._question(request, publication.snapshot))
                return send_until(self._service, await self._body(publication, found), found.until)
            except RatesvcError as error:
                return self._refuse(error)

        return answer

    def _question(self, request: web.Request, snapshot: Snapshot) -> Request:
        # The first of a repeated parameter counts, and what stands in the path cannot be overruled by the query.
        given = {**{name: request.query[name] for name in request.query}, **request.match_info}
        return Request(self._service.history, snapshot, self._site.public_url, given)

    async def _body(self, publication: Publication, found: dialects.Content) -> Body:
        def render() -> Body:
            return Body(found.write(), found.media)

        return await beside(self._service, publication, (self._name, found.key), render, points=found.points)

    def _refuse(self, error: RatesvcError) -> Answer:
        refusal = self._dialect.refuse(error)
        return Answer(Body(refusal.content, refusal.media), NO_STORE, status=refusal.status)
