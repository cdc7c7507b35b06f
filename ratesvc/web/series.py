"""/v1/series, /v1/convert, /v1/currencies: history over HTTP, all of it from memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from datetime import date, timedelta

from aiohttp import web

from ratesvc.errors import BadRequest, BeforeHistory, UnknownCurrency
from ratesvc.history import on_day
from ratesvc.publication import Body
from ratesvc.rates import FIRST_DAY
from ratesvc.render import api, series
from ratesvc.render.openapi.parameters import FILLS, FORMATS, GROUPS
from ratesvc.service import Service
from ratesvc.web import query, reply
from ratesvc.web.api import known, published, send
from ratesvc.web.reply import Handler
from ratesvc.workdays import moscow_day

SERIES = ("codes", "since", "until", "quote", "fill", "group", "format", "locale")
USUAL_RANGE = timedelta(days=365)


def routes(service: Service) -> dict[str, Handler]:
    """Path → handler."""

    async def many_days(request: web.Request) -> web.Response:
        asked = query.Query(request, SERIES)
        wanted = _wanted(asked, service)
        form = asked.choice("format", FORMATS, "json")
        locale = asked.language("locale") if asked.has("locale") else None

        def render() -> Body:
            today = moscow_day(service.clock())
            rows = {code: series.points(service.history, code, wanted, today) for code in wanted.codes}
            if form == "json":
                return Body(series.to_json(wanted, rows, demo=service.demo), api.CONTENT_TYPE)
            name = f"rates-{wanted.quote}-{wanted.since}-{wanted.until}.csv"
            disposition = ("Content-Disposition", f'attachment; filename="{name}"')
            return Body(series.to_csv(wanted, rows, locale), series.CSV, (disposition,))

        return await _sent(request, service, ("series", wanted, form, locale and locale.tag), wanted.until, render)

    async def conversion(request: web.Request) -> web.Response:
        asked = query.Query(request, ("amount", "from", "to", "date"))
        today = moscow_day(service.clock())
        day, amount = asked.day("date", today), asked.amount()
        base, quote = (known(asked.code(name, default), service) for name, default in (("from", "USD"), ("to", "RUB")))
        publication = published(service)
        answer = publication.snapshot.for_today() if day == today else on_day(service.history, day, service.clock())
        for code in (base, quote):
            if code != "RUB" and code not in answer.revision.sheet.by_code:
                raise UnknownCurrency(code)
        body = Body(api.conversion(answer, amount, base, quote, demo=service.demo), api.CONTENT_TYPE)
        return _send(request, service, body, day)

    async def currencies(request: web.Request) -> web.Response:
        language = query.Query(request, ("lang",)).language()

        def render() -> Body:
            return Body(api.currencies(service.history, language, demo=service.demo), api.CONTENT_TYPE)

        body = published(service).body(("currencies", language.tag), render)
        return _send(request, service, body, moscow_day(service.clock()))

    return {"/v1/series": many_days, "/v1/convert": conversion, "/v1/currencies": currencies}


def _wanted(asked: query.Query, service: Service) -> series.Request:
    until = asked.day("until", moscow_day(service.clock()))
    if until < FIRST_DAY:
        raise BeforeHistory(until)
    since = asked.day("since", max(FIRST_DAY, until - USUAL_RANGE))
    if since > until:
        raise BadRequest("since must not be later than until.")
    codes, quote = asked.codes(), known(asked.code("quote", "RUB"), service)
    if codes is None:
        raise BadRequest("codes says which currencies are wanted, such as codes=USD,EUR.")
    group = asked.choice("group", GROUPS, "")
    fill = asked.choice("fill", FILLS, "none")
    if group and fill != "none":
        raise BadRequest("fill and group exclude each other: a mean is of the published rates only.")
    others = tuple(known(code, service) for code in codes if code != quote)
    return series.Request(others, max(since, FIRST_DAY), until, quote, fill, group)


async def _sent(
    request: web.Request, service: Service, key: Hashable, until: date, render: Callable[[], Body]
) -> web.Response:
    """A long body is rendered and compressed once, beside the loop."""
    publication = published(service)
    body = publication.find(key)
    if body is None:
        body = publication.keep(key, await asyncio.to_thread(_finished, render))
    return _send(request, service, body, until)


def _finished(render: Callable[[], Body]) -> Body:
    body = render()
    assert body.encodings  # noqa: S101 -- computed here, since a cached property would be on the loop
    return body


def _send(request: web.Request, service: Service, body: Body, until: date) -> web.Response:
    settled = until < moscow_day(service.clock())
    return send(request, service, body, reply.SETTLED if settled else reply.RATES)
