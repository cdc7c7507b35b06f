"""/v1/key-rate: the key rate of a day, and all changes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from functools import partial
from itertools import takewhile

from aiohttp import web

from ratesvc.bank.client import BankClient, Question
from ratesvc.domain.rates import Line
from ratesvc.domain.workdays import ONE_DAY, WorkCalendar, moscow_day
from ratesvc.features.keyrate import rates
from ratesvc.render.json import JSON
from ratesvc.render.openapi import Site
from ratesvc.service.app import Service
from ratesvc.service.figures import Figures, Series
from ratesvc.service.publication import Body
from ratesvc.web.caching import RATES
from ratesvc.web.features import Feature, Features
from ratesvc.web.params import StrictParams
from ratesvc.web.rates import day_with_figures
from ratesvc.web.responses import Answer, Handler

PATH = "/DailyInfoWebServ/DailyInfo.asmx"
HEADERS = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": f'"{rates.ACTION}"'}
AWAITED_S, USUAL_S = 3600.0, 6 * 3600.0


def routes(service: Service, _site: Site, _: Features) -> dict[str, Handler]:
    """Path → handler."""
    figures = service.add(Figures("keyrate", partial(_ask, service), _expected, _pause_s, 5, {"rate": rates.RECORDED}))
    of_day = {path: partial(_rate, service, figures, path) for path in ("/v1/key-rate", "/v1/key-rate/{date}")}
    return {"/v1/key-rate/changes": partial(_changes, service, figures), **of_day}


async def _ask(service: Service, client: BankClient, since: date | None) -> Series:
    """The rates from a day on. Raises FetchFailed."""
    since, until = since or rates.FIRST_DAY, moscow_day(service.clock()) + ONE_DAY
    question = Question(PATH, method="POST", body=rates.question(since, until), headers=HEADERS)
    found = await client.ask(question, partial(rates.parse, since=since, until=until))
    return {"rate": found}


def _expected(calendar: WorkCalendar, day: date) -> date:
    """The last working day before this one: nobody promises that a day's row is there in the morning."""
    return calendar.effective_date_on_or_before(day) - ONE_DAY


def _pause_s(calendar: WorkCalendar, newest: date, now: datetime) -> float:
    today = moscow_day(now)
    return AWAITED_S if calendar.is_working_day(today) and newest < today else USUAL_S


async def _rate(service: Service, figures: Figures, path: str, request: web.Request) -> Answer:
    StrictParams(request, path)
    day = day_with_figures(request, service, figures)

    def render() -> Body:
        rows = list(figures.back_from("rate", day))
        is_stale = figures.is_stale(service.history.calendar, day)
        return Body(rates.to_json(day, rows[0][0], rates.changes(rows), stale=is_stale, demo=service.demo), JSON)

    return Answer(service.require_publication().body(("key-rate", day), render), RATES)


async def _changes(service: Service, figures: Figures, request: web.Request) -> Answer:
    StrictParams(request, "/v1/key-rate/changes")
    day_with_figures(request, service, figures)

    def render() -> Body:
        rows = list(figures.back_from("rate", date.max))
        return Body(rates.to_history(rates.changes(rows), rows[0][0], demo=service.demo), JSON)

    return Answer(service.require_publication().body("key-rate changes", render), RATES)


def _line(service: Service, day: date) -> Line | None:
    """The rate on a day; None before the first, and where nobody knows it yet."""
    figures, today = service.figures["keyrate"], moscow_day(service.clock())
    rows = figures.back_from("rate", day)
    if day > max(today, figures.newest) or (last := next(rows, None)) is None:
        return None
    *_, (since, rate) = last, *takewhile(lambda row: row[1] == last[1], rows)
    is_stale = figures.is_stale(service.history.calendar, min(day, today))
    return Line("Key rate", rate, last[0] if is_stale else since, is_stale)


def _exports(service: Service) -> Iterator[tuple[str, str]]:
    if service.figures["keyrate"].columns:
        yield "/v1/key-rate", "key-rate.json"
        yield "/v1/key-rate/changes", "key-rate-changes.json"


FEATURE = Feature("keyrate", routes, exports=_exports, lines={"key_rate": _line})
