"""/v1/convert: an amount in another currency, at the rate of a day."""

from __future__ import annotations

from functools import partial

from aiohttp import web

from ratesvc.domain.history import on_day
from ratesvc.features.convert.conversion import to_json
from ratesvc.render.contract import Site
from ratesvc.render.json import JSON
from ratesvc.service.app import Service
from ratesvc.service.publication import Body
from ratesvc.web.caching import caching_of
from ratesvc.web.features import Feature, Features
from ratesvc.web.params import StrictParams
from ratesvc.web.rates import check_listed, day_named, known
from ratesvc.web.responses import Answer, Handler


def routes(service: Service, _site: Site, _: Features) -> dict[str, Handler]:
    """Path → handler."""
    return {"/v1/convert": partial(_conversion, service)}


async def _conversion(service: Service, request: web.Request) -> Answer:
    params = StrictParams(request, "/v1/convert")
    day, amount = day_named(params.text("date"), service), params.text("amount")
    base, quote = (known(params.code(name), service) for name in ("from", "to"))
    answer = on_day(service.history, day, service.clock())
    check_listed(answer, base, quote)
    body = Body(to_json(answer, amount, base, quote, demo=service.demo), JSON)
    return Answer(body, caching_of(service, answer))


FEATURE = Feature("convert", routes)
