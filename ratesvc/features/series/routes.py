"""/v1/series: the rates of a range of days; /v1/periods: those of weeks, months and years in a few figures."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from functools import partial

from aiohttp import web

from ratesvc.domain.workdays import moscow_day
from ratesvc.features.ranges import unit_rates
from ratesvc.features.ranges.requests import long_answer, series_params
from ratesvc.features.rendering import Queue
from ratesvc.features.series import tables
from ratesvc.render import csv, json
from ratesvc.render.openapi import Site
from ratesvc.service.app import Service
from ratesvc.service.publication import Body
from ratesvc.web.features import Feature, Features
from ratesvc.web.params import StrictParams, naming
from ratesvc.web.responses import Answer, Handler


def routes(service: Service, site: Site, _: Features) -> dict[str, Handler]:
    """Path → handler."""
    paths = [f"/v1/{name}{form}" for name in ("series", "periods") for form in ("", ".csv")]
    return {path: partial(_many_days, service, site, path) for path in paths}


async def _many_days(service: Service, site: Site, path: str, request: web.Request) -> Answer:
    query, is_csv = StrictParams(request, path), path.endswith(".csv")
    params = series_params(query, service)
    names, locale = query.language(), query.given_language("locale")
    history, today = service.history, moscow_day(service.clock())
    elsewhere = " /v1/history.csv has all of history in one answer." if site.has("archive") else ""
    with naming("codes", query.text("codes") or None):
        points = unit_rates.points_of(history, params, today, elsewhere)

    def render() -> Body:
        shown = unit_rates.shown_days(history, params, today)
        missing = unit_rates.lacking(history, params, list(map(date.fromordinal, sorted({*shown.values()}))))
        blank = is_csv and params.named
        if params.group:
            rows = (tables.periods_of(history, code, params, today, blank=blank) for code in params.codes)
        else:
            rows = (tables.rows_of(history, code, params, shown, blank=blank) for code in params.codes)
        if is_csv:
            parts = (csv.for_readers(part, names, params.quote, all_new=params.new_roubles) for part in rows)
            name = f"rates-{params.quote}-{params.days.since}-{params.days.until}.csv"
            disposition = ("Content-Disposition", f'attachment; filename="{name}"')
            return Body(b"".join(csv.lines(parts, locale)), csv.MEDIA, (disposition,))
        head = tables.about(params, history, today, missing, demo=service.demo)
        return Body(tables.to_json(head, rows), json.JSON)

    key = ("series", path, params, names.tag, locale and locale.tag)
    return await long_answer(service, key, params.days, render, Queue.of(points))


def _exports(service: Service) -> Iterator[tuple[str, str]]:
    for code in sorted(service.history.codes()):
        since = service.history.columns(code)[0].first_day
        yield f"/v1/series.csv?codes={code}&since={since}", f"series/{code}.csv"


FEATURE = Feature("series", routes, exports=_exports)
