"""/v1/series, /v1/convert and /v1/currencies: history over HTTP, all of it from memory."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from functools import partial

from aiohttp import web

from ratesvc.domain.columns import Days
from ratesvc.domain.history import History, on_day
from ratesvc.domain.workdays import moscow_day
from ratesvc.errors import BadRequest, BeforeHistory
from ratesvc.render import json, series, tables
from ratesvc.render.series import SeriesParams
from ratesvc.service.app import Service
from ratesvc.service.publication import Body, Queue, Render
from ratesvc.web.caching import RATES, caching_of, caching_until
from ratesvc.web.params import StrictParams
from ratesvc.web.rates import check_listed, day_named, known, unconfirmed_days
from ratesvc.web.responses import Answer, Handler

USUAL_RANGE = timedelta(days=365)
EXCLUSIVE = {
    "dates": ("since", "until", "last", "fill", "group"),
    "last": ("since",),
    "group": ("fill",),
    "period": ("since", "until"),
}
"""What a parameter makes meaningless. A mean counts published rates only, so it knows no days in between."""


def routes(service: Service) -> dict[str, Handler]:
    """Path → handler."""
    return {
        **{f"/v1/series{form}": partial(_many_days, service, f"/v1/series{form}") for form in ("", ".jsonl", ".csv")},
        "/v1/convert": partial(_conversion, service),
        "/v1/currencies": partial(_currencies, service),
    }


async def _many_days(service: Service, path: str, request: web.Request) -> Answer:
    query = StrictParams(request, path)
    params = series_params(query, service)
    names, locale = query.given_language("lang"), query.given_language("locale")
    history, today = service.history, moscow_day(service.clock())
    points = series.points_of(history, params, today)

    def render() -> Body:
        series.check_complete(history, params.days, today)
        head = tables.about(params, history, demo=service.demo)
        rows = (tables.rows_of(history, code, params, today) for code in params.codes)
        if path.endswith(".csv"):
            shown = (tables.for_readers(part, names, has_old_roubles="denomination" in head) for part in rows)
            name = f"rates-{params.quote}-{params.days.since}-{params.days.until}.csv"
            disposition = ("Content-Disposition", f'attachment; filename="{name}"')
            return Body(tables.to_csv(shown, locale), tables.CSV, (disposition,))
        if path.endswith(".jsonl"):
            return Body(tables.to_lines(head, rows), tables.NDJSON)
        return Body(tables.to_json(head, rows), json.JSON)

    key = ("series", path, params, tuple(language and language.tag for language in (names, locale)))
    return await long_answer(service, key, params.days, render, Queue.of(points), packed=query.packed)


async def _conversion(service: Service, request: web.Request) -> Answer:
    params = StrictParams(request, "/v1/convert")
    day, amount = day_named(params.text("date"), service), params.text("amount")
    base, quote = (known(params.code(name), service) for name in ("from", "to"))
    answer = on_day(service.history, day, service.clock())
    check_listed(answer, base, quote)
    body = Body(json.conversion(answer, amount, base, quote, demo=service.demo), json.JSON)
    return Answer(body, caching_of(service, answer))


async def _currencies(service: Service, request: web.Request) -> Answer:
    language = StrictParams(request, "/v1/currencies").language()

    def render() -> Body:
        return Body(json.currencies(service.history, language, demo=service.demo), json.JSON)

    body = service.require_publication().body(("currencies", language.tag), render)
    return Answer(body, RATES)


async def long_answer(
    service: Service, key: Hashable, days: Days, render: Render, queue: Queue, *, packed: bool = True
) -> Answer:
    """An answer about a range of days, rendered and compressed in a worker thread."""

    def rendered() -> Body:
        body = render()
        return replace(body, headers=(*body.headers, *unconfirmed_days(service.history, days)))

    publication, workers = service.require_publication(), service.workers
    body = await publication.body_in_thread(key, rendered, workers, queue, packed=packed)
    return Answer(body, caching_until(service, days.until))


def series_params(params: StrictParams, service: Service) -> SeriesParams:
    """The series that a request asks for. Raises BadRequest, BeforeHistory, NotYetSet and UnknownCurrency."""
    check_combined(params)
    named = filter(None, params.text("dates").split(","))
    dates = tuple(sorted({day_named(text, service, "dates") for text in named}))
    days = _spanned(dates, service) if dates else days_of(params, service, moscow_day(service.clock()))
    codes, quote = params.codes() or (), known(params.code("quote_currency"), service)
    group, fill = params.text("group"), params.text("fill") or "none"
    others = tuple(known(code, service) for code in codes if code != quote)
    is_new = params.text("roubles") == "new"
    return SeriesParams(others, days, quote, fill, group, is_new, dates)


def check_combined(params: StrictParams) -> None:
    """Raise BadRequest where one parameter makes another meaningless."""
    for name, others in EXCLUSIVE.items():
        if params.sets(name) and (given := next(filter(params.sets, others), "")):
            raise BadRequest(f"{name} and {given} cannot be combined.", given, params.text(given))


def days_of(params: StrictParams, service: Service, usual_until: date, usual_since: date | None = None) -> Days:
    """The range that a request asks for: by default a year. Raises BadRequest, BeforeHistory and NotYetSet."""

    def named(name: str, usual: date) -> date:
        return day_named(params.text(name), service, name) if params.has(name) else usual

    until, begins = named("until", usual_until), service.history.begins
    if until < begins:
        raise BeforeHistory(until, service.history.recorded_from)
    since = named("since", usual_since or _usual_since(params, service.history, until))
    if since > until:
        usual = f"since must not be later than until, which is {until} by default: give until, too."
        text = "since must not be later than until." if params.has("until") else usual
        raise BadRequest(text, "since", params.text("since"))
    return Days(max(since, begins), until)


def _usual_since(params: StrictParams, history: History, until: date) -> date:
    """The day of the sheet that is so many before `until`, or a year before it."""
    if not params.has("last"):
        return max(history.begins, until - USUAL_RANGE)
    held = history.days[: bisect_right(history.days, until)][-params.number("last") :]
    return held[0] if len(held) == params.number("last") else history.begins


def _spanned(dates: Sequence[date], service: Service) -> Days:
    """The range of some days. Raises for each day what /v1/rates raises."""
    for day in dates:
        if service.history.certain_on(day) is None:
            on_day(service.history, day, service.clock())
    return Days(dates[0], dates[-1])
