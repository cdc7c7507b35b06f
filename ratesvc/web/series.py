"""/v1/series, /v1/convert, /v1/currencies: history over HTTP, all of it from memory."""

from __future__ import annotations

from datetime import timedelta

from aiohttp import hdrs, web

from ratesvc.domain.history import on_day
from ratesvc.domain.rates import FIRST_DAY
from ratesvc.domain.workdays import moscow_day
from ratesvc.errors import BadRequest, BeforeHistory, UnknownCurrency
from ratesvc.render import json, series
from ratesvc.service.app import Service
from ratesvc.service.publication import Body
from ratesvc.web import params
from ratesvc.web.answer import Answer
from ratesvc.web.api import caching_of, known, published, send, send_long, send_until
from ratesvc.web.reply import Handler

SERIES = ("codes", "since", "until", "quote", "fill", "group", "format", "locale")
USUAL_RANGE = timedelta(days=365)


def routes(service: Service) -> dict[str, Handler]:
    """Path → handler."""

    async def many_days(request: web.Request) -> Answer:
        asked = params.StrictParams(request, SERIES)
        wanted = wanted_series(asked, service)
        form = asked.choice("format", ("json", "csv"), "json")
        locale = asked.language("locale") if asked.has("locale") else None
        history, today = service.history, moscow_day(service.clock())
        points = series.count_points(history, wanted, today)

        def render() -> Body:
            series.check_complete(history, wanted, today)
            if form == "json":
                return Body(series.to_json(wanted, history, today, demo=service.demo), json.JSON)
            name = f"rates-{wanted.quote}-{wanted.since}-{wanted.until}.csv"
            disposition = ("Content-Disposition", f'attachment; filename="{name}"')
            columns = series.columns_of(history, wanted, today)
            return Body(series.to_csv(wanted, columns, locale), series.CSV, (disposition,))

        key = ("series", wanted, form, locale and locale.tag)
        packed = hdrs.ACCEPT_ENCODING in request.headers
        return await send_long(service, key, wanted.until, render, points=points, packed=packed)

    async def conversion(request: web.Request) -> Answer:
        asked = params.StrictParams(request, ("amount", "from", "to", "date"))
        today = moscow_day(service.clock())
        day, amount = asked.day("date", today), asked.amount()
        base, quote = (known(asked.code(name, default), service) for name, default in (("from", "USD"), ("to", "RUB")))
        publication = published(service)
        answer = publication.snapshot.for_today() if day == today else on_day(service.history, day, service.clock())
        for code in (base, quote):
            if code != "RUB" and code not in answer.revision.sheet.by_code:
                raise UnknownCurrency(code, effective=answer.revision.effective_date)
        body = Body(json.conversion(answer, amount, base, quote, demo=service.demo), json.JSON)
        return send(service, body, caching_of(answer, today))

    async def currencies(request: web.Request) -> Answer:
        language = params.StrictParams(request, ("lang",)).language()

        def render() -> Body:
            return Body(json.currencies(service.history, language, demo=service.demo), json.JSON)

        body = published(service).body(("currencies", language.tag), render)
        return send_until(service, body, moscow_day(service.clock()))

    return {"/v1/series": many_days, "/v1/convert": conversion, "/v1/currencies": currencies}


def wanted_series(asked: params.StrictParams, service: Service) -> series.SeriesParams:
    """The series that a query asks for. Raises BadRequest and UnknownCurrency."""
    until = asked.day("until", moscow_day(service.clock()))
    if until < FIRST_DAY:
        raise BeforeHistory(until)
    since = asked.day("since", max(FIRST_DAY, until - USUAL_RANGE))
    if since > until:
        raise BadRequest("since must not be later than until.")
    codes, quote = asked.codes(), known(asked.code("quote", "RUB"), service)
    if codes is None:
        raise BadRequest("codes says which currencies are wanted, such as codes=USD,EUR.")
    group = asked.choice("group", ("month", "year"), "")
    fill = asked.choice("fill", ("none", "daily"), "none")
    if group and fill != "none":
        raise BadRequest("fill and group exclude each other: a mean is of the published rates only.")
    others = tuple(known(code, service) for code in codes if code != quote)
    return series.SeriesParams(others, max(since, FIRST_DAY), until, quote, fill, group)
