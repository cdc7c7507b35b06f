"""/v1/metals: the prices of a day; and the Bank's own address of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from itertools import islice, takewhile

from aiohttp import web

from ratesvc.bank import xml
from ratesvc.bank.client import BankClient, Question, printed
from ratesvc.domain.columns import Days
from ratesvc.domain.workdays import ONE_DAY, WorkCalendar, moscow_day
from ratesvc.errors import BadDocument, NoSheet
from ratesvc.features.metals import prices
from ratesvc.features.rendering import Queue, rendered
from ratesvc.render import csv
from ratesvc.render.json import JSON
from ratesvc.render.openapi import Site
from ratesvc.service.app import Service
from ratesvc.service.figures import Figures, Series
from ratesvc.service.publication import Body
from ratesvc.web.caching import RATES, REFERENCE
from ratesvc.web.features import Feature, Features
from ratesvc.web.params import StrictParams
from ratesvc.web.rates import day_with_figures
from ratesvc.web.responses import Answer, Handler

PATH, CSV = "/scripts/xml_metall.asp", "/v1/metals.csv"
XML = f"application/xml; charset={xml.ENCODING}"
IN_WINDOW_S, USUAL_S = 600.0, 6 * 3600.0


def routes(service: Service, _site: Site, _: Features) -> dict[str, Handler]:
    """Path → handler."""
    figures = service.add(
        Figures("metals", partial(_ask, service), WorkCalendar.effective_date_on_or_before, _pause_s, most=2)
    )
    of_day = {path: partial(_prices, service, figures, path) for path in ("/v1/metals", "/v1/metals/{date}")}
    return {PATH: partial(_as_the_bank, service, figures), CSV: partial(_csv, service, figures), **of_day}


async def _ask(service: Service, client: BankClient, since: date | None) -> Series:
    """The prices from a day on, a year at a time. Raises FetchFailed."""
    until, found = moscow_day(service.clock()) + ONE_DAY, dict[str, dict[date, Decimal]]()
    since = since or prices.FIRST_DAY
    while since <= until:
        last = min(until, date(since.year, 12, 31))
        question = Question(PATH, {"date_req1": printed(since), "date_req2": printed(last)})
        given = await client.ask(question, partial(prices.parse, since=since, until=last))
        for code, values in given.items():
            found.setdefault(code, {}).update(values)
        since = last + ONE_DAY
        await asyncio.sleep(service.settings.cbr.backfill_gap_seconds if since <= until else 0)
    return found


def _pause_s(calendar: WorkCalendar, newest: date, now: datetime) -> float:
    if calendar.awaits_publication(newest, now):
        return IN_WINDOW_S
    return min(USUAL_S, (calendar.next_window(now) - now).total_seconds())


async def _prices(service: Service, figures: Figures, path: str, request: web.Request) -> Answer:
    language = StrictParams(request, path).language()
    day = day_with_figures(request, service, figures)

    def render() -> Body:
        held = {code: list(islice(figures.back_from(code, day), 2)) for code in prices.CODES}
        names = {code: language.say(name) for code, name in prices.NAMES.items()}
        is_stale = figures.is_stale(service.history.calendar, day)
        shown = {code: latest for code, latest in held.items() if latest}
        return Body(prices.to_json(day, shown, names, stale=is_stale, demo=service.demo), JSON)

    return Answer(service.require_publication().body(("metals", day, language.tag), render), RATES)


async def _as_the_bank(service: Service, figures: Figures, request: web.Request) -> Answer:
    """xml_metall.asp. Like the Bank, it answers wrong parameters with 200 and «Error in parameters»."""
    if not figures.columns:
        raise NoSheet("No prices of metals have been fetched yet.")
    given = {name.lower(): text for name, text in request.query.items()}
    try:
        since, until = (xml.parse_date(given.get(name)) for name in ("date_req1", "date_req2"))
    except BadDocument:
        return Answer(Body(xml.write_refusal(), XML), REFERENCE)

    def render() -> Body:
        return Body(prices.write(since, until, _rows(figures, since, until)), XML)

    points = sum(last - first for first, last in (one.places(Days(since, until)) for one in figures.columns.values()))
    key = ("xml_metall", since, until)
    return Answer(await rendered(service, service.require_publication(), key, render, Queue.of(points)), RATES)


def _rows(figures: Figures, since: date, until: date) -> dict[date, dict[str, Decimal]]:
    rows: dict[date, dict[str, Decimal]] = {}
    for code in prices.CODES:
        for day, price in takewhile(lambda one: one[0] >= since, figures.back_from(code, until)):
            rows.setdefault(day, {})[code] = price
    return rows


async def _csv(service: Service, figures: Figures, request: web.Request) -> Answer:
    locale = StrictParams(request, CSV).given_language("locale")
    day_with_figures(request, service, figures)

    def render() -> Body:
        return Body(prices.to_csv(_rows(figures, date.min, date.max), locale), csv.MEDIA)

    key = ("metals.csv", locale and locale.tag)
    return Answer(await rendered(service, service.require_publication(), key, render, Queue.LONG), RATES)


def _exports(service: Service) -> Iterator[tuple[str, str]]:
    if service.figures["metals"].columns:
        yield "/v1/metals", "metals.json"
        yield CSV, "metals.csv"


FEATURE = Feature(
    "metals",
    routes,
    exports=_exports,
    proxied=(PATH,),
    prices={code: (name, "1 g") for code, name in prices.NAMES.items()},
)
