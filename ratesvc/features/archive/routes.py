"""For readers that keep a copy: all of history at once, and /v1/sheets, which says what is new since then."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import chain

from aiohttp import web

from ratesvc.domain.workdays import moscow_day
from ratesvc.features.archive import formats
from ratesvc.features.archive.changes import Cursor, Holdings
from ratesvc.features.ranges import unit_rates
from ratesvc.features.ranges.requests import days_of, newest_day
from ratesvc.render import csv
from ratesvc.render.contract import Site
from ratesvc.render.json import JSON
from ratesvc.service.app import Service
from ratesvc.service.publication import Archive, Body, Queue
from ratesvc.web.caching import RATES
from ratesvc.web.features import Feature, Features
from ratesvc.web.params import StrictParams
from ratesvc.web.rates import known, unconfirmed_days
from ratesvc.web.responses import Answer, Handler


def routes(service: Service, _site: Site, _: Features) -> dict[str, Handler]:
    """Path → handler."""
    return {
        "/v1/history.csv": partial(_history, service),
        "/v1/sheets": partial(_sheets, service),
    }


async def _history(service: Service, request: web.Request) -> Answer:
    params, history, today = StrictParams(request, "/v1/history.csv"), service.history, moscow_day(service.clock())
    publication, codes = service.require_publication(), frozenset(known(code, service) for code in params.codes() or ())
    days, locale = days_of(params, service, history.begins), params.given_language("locale")
    form = formats.Form(params.language(), locale, all_new=params.text("roubles") == "new")

    def render() -> Body:
        unit_rates.check_complete(history, days)
        columns = [column for column in history.columns() if not codes or column.currency.code in codes]
        revisions = unit_rates.revisions(history)
        years = (formats.lines(columns, year, form, revisions) for year in formats.years(days))
        disposition = ("Content-Disposition", 'attachment; filename="history.csv"')
        headers = (disposition, *unconfirmed_days(history, days, today))
        return Archive.of(chain((csv.heading(formats.FIELDS, locale),), years), csv.MEDIA, headers)

    key = ("history", codes, days, form.names.tag, locale and locale.tag, form.all_new)
    queue = Queue.of((days.until - days.since).days * len(codes or history.codes()))
    # Nothing is left to compress, so nobody waits for that.
    return Answer(await publication.body_in_thread(key, render, service.workers, queue, packed=False), RATES)


async def _sheets(service: Service, request: web.Request) -> Answer:
    params, publication = StrictParams(request, "/v1/sheets"), service.require_publication()
    history, today = service.history, moscow_day(service.clock())
    after = Cursor.from_text(params.text("after")) if params.has("after") else None
    if params.has("after") and after is None:
        raise params.malformed("after")
    days, held = days_of(params, service, after.days.since if after else None), Holdings.of(history)
    # In a cursor with days to come this month's sheets would have one checksum for all.
    days = replace(days, until=max(days.since, min(days.until, newest_day(service))))

    def render() -> Body:
        unit_rates.check_complete(history, days)
        unconfirmed = history.lacking(days, today)
        sheets = formats.sheets(history, held, days, after, unconfirmed, demo=service.demo)
        return Body(sheets, JSON, unconfirmed_days(history, days, today))

    key, queue = ("sheets", days, after), Queue.of((days.until - days.since).days)
    return Answer(await publication.body_in_thread(key, render, service.workers, queue, packed=params.packed), RATES)


FEATURE = Feature("archive", routes)
