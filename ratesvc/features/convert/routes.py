"""/v1/convert: an amount in another currency, at the rate of a day."""

from __future__ import annotations

from functools import partial

from aiohttp import web

from ratesvc.features.convert.conversion import to_json
from ratesvc.render.json import JSON
from ratesvc.render.openapi import Site
from ratesvc.service.app import Service
from ratesvc.service.publication import Body
from ratesvc.web.caching import caching_of
from ratesvc.web.features import Feature, Features
from ratesvc.web.params import StrictParams, check_listed, require_known
from ratesvc.web.rates import requested
from ratesvc.web.responses import Answer, Handler


def routes(service: Service, _site: Site, _: Features) -> dict[str, Handler]:
    """Path → handler."""
    return {"/v1/convert": partial(_conversion, service)}


async def _conversion(service: Service, request: web.Request) -> Answer:
    params = StrictParams(request, "/v1/convert")
    base, quotes = require_known(params.code("from"), service, "from"), params.code_list("to")
    for quote in quotes:
        require_known(quote, service, "to")
    shown = requested(service, params.text("date"), params)
    check_listed(shown, **{"to": quotes, "from": [base]})
    body = Body(to_json(shown, params.text("amount"), base, quotes, demo=service.demo), JSON)
    return Answer(body, caching_of(service, shown))


FEATURE = Feature("convert", routes)
