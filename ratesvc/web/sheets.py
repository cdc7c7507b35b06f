"""/v1/sheets: which sheets there are, and which of them are new since the last request."""

from __future__ import annotations

from functools import partial

from aiohttp import web

from ratesvc.domain.changes import Cursor, Holdings
from ratesvc.domain.workdays import moscow_day
from ratesvc.render import json, series, sheets
from ratesvc.render.series import SeriesParams
from ratesvc.service.app import Service
from ratesvc.service.publication import Body, Queue
from ratesvc.web.caching import RATES
from ratesvc.web.params import StrictParams
from ratesvc.web.responses import Answer, Handler
from ratesvc.web.series import days_of


def routes(service: Service) -> dict[str, Handler]:
    """Path → handler."""
    return {"/v1/sheets": partial(_sheets, service)}


async def _sheets(service: Service, request: web.Request) -> Answer:
    params, publication = StrictParams(request, "/v1/sheets"), service.publisher.require()
    history, today = service.history, moscow_day(service.clock())
    after = _cursor(params)
    newest, begins = max(today, history.days[-1]), after.days.since if after else None
    days, held = days_of(params, service, newest, begins), Holdings.of(history)

    def render() -> Body:
        series.check_complete(history, SeriesParams((), days.since, days.until), today)
        return Body(sheets.to_json(history, held, days, after, demo=service.demo), json.JSON)

    key, queue = ("sheets", days, after), Queue.of((days.until - days.since).days)
    return Answer(await publication.body_in_thread(key, render, service.workers, queue, packed=params.packed), RATES)


def _cursor(params: StrictParams) -> Cursor | None:
    if not params.has("after"):
        return None
    if cursor := Cursor.from_text(params.text("after")):
        return cursor
    raise params.malformed("after")
