"""For readers that keep a copy: all of history at once, and /v1/sheets, which says what is new since then."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import chain

from aiohttp import web

from ratesvc.domain.columns import Days
from ratesvc.domain.workdays import moscow_day
from ratesvc.features.archive import formats
from ratesvc.features.archive.changes import Cursor, Holdings
from ratesvc.features.ranges import unit_rates
from ratesvc.features.ranges.requests import days_of
from ratesvc.render.contract import Site
from ratesvc.render.csv import MEDIA as CSV
from ratesvc.render.json import JSON, NDJSON
from ratesvc.service.app import Service
from ratesvc.service.publication import Archive, Body, Queue
from ratesvc.web.caching import RATES
from ratesvc.web.features import Feature, Features
from ratesvc.web.params import StrictParams
from ratesvc.web.rates import day_named, known, unconfirmed_days
from ratesvc.web.responses import Answer, Handler


def routes(service: Service, _site: Site, _: Features) -> dict[str, Handler]:
    """Path → handler."""
    return {
        "/v1/history.csv": partial(_history, service, CSV, "/v1/history.csv"),
        "/v1/history.jsonl": partial(_history, service, NDJSON, "/v1/history.jsonl"),
        "/v1/sheets": partial(_sheets, service),
    }


async def _history(service: Service, media: str, path: str, request: web.Request) -> Answer:
    params, publication, history = StrictParams(request, path), service.require_publication(), service.history
    codes = frozenset(known(code, service) for code in params.codes() or ())
    since, today = history.begins, moscow_day(service.clock())
    if params.has("since"):
        since = max(since, day_named(params.text("since"), service, "since"))

    def render() -> Body:
        unit_rates.check_complete(history, Days(since, today))
        days = Days(since, max(since, history.days[-1]))
        asked = Days(since, max(days.until, today))
        unconfirmed = history.lacking(asked, today)
        columns = [column for column in history.columns() if not codes or column.currency.code in codes]
        revisions = {revision.effective_date: revision.number for revision in history if revision.number > 1}
        heading = formats.heading(media, days, unconfirmed, demo=service.demo)
        years = (formats.lines(columns, year, media, revisions) for year in formats.years(days))
        disposition = ("Content-Disposition", f'attachment; filename="{path.rpartition("/")[2]}"')
        headers = (disposition, *unconfirmed_days(history, asked, today))
        return Archive.of(chain((heading,), years), media, headers)

    key, queue = ("history", path, codes, since), Queue.of((today - since).days * len(codes or history.codes()))
    # Nothing is left to compress, so nobody waits for that.
    return Answer(await publication.body_in_thread(key, render, service.workers, queue, packed=False), RATES)


async def _sheets(service: Service, request: web.Request) -> Answer:
    params, publication = StrictParams(request, "/v1/sheets"), service.require_publication()
    history, today = service.history, moscow_day(service.clock())
    after = Cursor.from_text(params.text("after")) if params.has("after") else None
    if params.has("after") and after is None:
        raise params.malformed("after")
    newest, begins = max(today, history.days[-1]), after.days.since if after else None
    days, held = days_of(params, service, newest, begins), Holdings.of(history)
    # In a cursor with days to come this month's sheets would have one checksum for all.
    days = replace(days, until=max(days.since, min(days.until, newest)))

    def render() -> Body:
        unit_rates.check_complete(history, days)
        unconfirmed = history.lacking(days, today)
        sheets = formats.sheets(history, held, days, after, unconfirmed, demo=service.demo)
        return Body(sheets, JSON, unconfirmed_days(history, days, today))

    key, queue = ("sheets", days, after), Queue.of((days.until - days.since).days)
    return Answer(await publication.body_in_thread(key, render, service.workers, queue, packed=params.packed), RATES)


FEATURE = Feature("archive", routes)
