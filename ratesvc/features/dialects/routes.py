"""The dialects that are switched on: their addresses, and answers in their words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import import_module

from aiohttp import web

from ratesvc.domain.columns import Days
from ratesvc.errors import RatesvcError
from ratesvc.features.dialects import Content, Dialect, Refused, Request
from ratesvc.features.ranges.requests import long_answer
from ratesvc.features.rendering import Queue
from ratesvc.render.openapi import Site
from ratesvc.service.app import Service
from ratesvc.service.publication import Body, Headers
from ratesvc.web.caching import NO_STORE
from ratesvc.web.features import Feature, Features
from ratesvc.web.responses import Answer, Handler


def feature(name: str) -> Feature:
    """A dialect as a feature."""
    dialect: Dialect = import_module(f"ratesvc.features.dialects.{name.replace('-', '_')}").DIALECT
    proxied = () if dialect.root is None else tuple(dialect.root + path for path in dialect.routes)
    return Feature(name, partial(_routes, name, dialect), proxied=proxied)


def _routes(name: str, dialect: Dialect, service: Service, site: Site, _: Features) -> dict[str, Handler]:
    """Path → handler: under the dialect's prefix, and at the root where its clients need that."""
    prefix, asks = dialect.prefix or f"/{name}", {**dialect.routes, "/{anything:(?s:.*)}": _nothing}
    handlers: dict[str, Handler] = {
        prefix + path: partial(_answer, service, site, name, dialect, ask) for path, ask in asks.items()
    }
    if dialect.root is not None:
        handlers |= {dialect.root + path: handlers[prefix + path] for path in dialect.routes}
    return handlers


def _nothing(_: Request) -> Content:
    raise Refused(404, "There is nothing at this address.")


async def _answer(
    service: Service,
    site: Site,
    name: str,
    dialect: Dialect,
    ask: Callable[[Request], Content],
    request: web.Request,
) -> Answer:
    """Answers a request in a dialect, and refuses one in the dialect's own words."""
    # The first value of a repeated parameter counts, if it is not empty, and the query cannot overrule the path.
    query = {name: next(filter(None, request.query.getall(name)), "") for name in request.query}
    given, accept = {**query, **request.match_info}, request.headers.get("Accept", "")
    try:
        snapshot = service.require_publication().snapshot
        content = ask(Request(service.history, snapshot, site, given, accept))

        def render() -> Body:
            return Body(content.write(), content.media, _policy(content.media))

        days, queue = Days(content.since, content.until), Queue.of(content.points)
        answer = await long_answer(service, (name, content.key), days, render, queue)
        return replace(answer, by_header="Accept" if content.by_accept else "")
    except RatesvcError as error:
        status, media, text = dialect.refusal(error)
        return Answer(Body(text, media, _policy(media)), NO_STORE, status)


def _policy(media: str) -> Headers:
    """No browser may run what an XML document holds, should a part of it be foreign."""
    return (("Content-Security-Policy", "default-src 'none'; sandbox"),) if "xml" in media else ()
