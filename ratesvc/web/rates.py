"""/v1/rates: the sheet in force on a day, as JSON, as CSV and as one number; and /v1/currencies, all or one."""

from __future__ import annotations

from datetime import date
from functools import partial

from aiohttp import web

from ratesvc.domain.in_force import in_revision, on_day
from ratesvc.domain.rates import InForce
from ratesvc.domain.workdays import due_at, moscow_day
from ratesvc.errors import BeforeHistory, NoSheet, NotYetSet, UnknownCurrency
from ratesvc.render import csv, json
from ratesvc.service.app import Service
from ratesvc.service.figures import Figures
from ratesvc.service.publication import Body
from ratesvc.web.caching import RATES, caching_of
from ratesvc.web.params import StrictParams, check_listed, day_of, naming, one_code, require_known
from ratesvc.web.responses import Answer, Handler


def routes(service: Service) -> dict[str, Handler]:
    """Path → handler."""
    names = ("", ".csv", "/{date}.csv", "/{date}")
    sheets: dict[str, Handler] = {f"/v1/rates{name}": partial(_sheet, service, f"/v1/rates{name}") for name in names}
    return {
        **sheets,
        "/v1/rates/{date}/{code}.txt": partial(_one_number, service),
        "/v1/currencies": partial(_currencies, service),
        "/v1/currencies/{code}": partial(_currency, service),
    }


async def _sheet(service: Service, path: str, request: web.Request) -> Answer:
    """`path` is an address of the contract; its ending decides between CSV and JSON."""
    params, is_csv = StrictParams(request, path), path.endswith(".csv")
    language, locale = params.language(), params.given_language("locale")
    quote, codes = params.code("quote_currency"), params.codes()
    publication = service.require_publication()
    for code in codes or ():
        require_known(code, service)
    require_known(quote, service, "quote_currency")
    shown = requested(service, request.match_info.get("date", "today"), params)

    def render() -> Body:
        check_listed(shown, quote_currency=[quote], codes=codes or ())
        if not is_csv:
            return Body(json.rates(shown, language, quote=quote, codes=codes, demo=service.demo), json.JSON)
        table = csv.for_readers(csv.rows_of_sheet(shown, quote, codes), language, quote)
        disposition = ("Content-Disposition", f'attachment; filename="rates-{shown.requested_date}.csv"')
        return Body(b"".join(csv.lines([table], locale)), csv.MEDIA, (disposition,))

    days = shown.requested_date, shown.revision.effective_date, params.text("revision")
    key = ("rates", *days, is_csv, language.tag, locale and locale.tag, quote, codes and tuple(sorted(codes)))
    return Answer(publication.body(key, render), caching_of(service, shown))


async def _one_number(service: Service, request: web.Request) -> Answer:
    params = StrictParams(request, "/v1/rates/{date}/{code}.txt")
    quote = require_known(params.code("quote_currency"), service, "quote_currency")
    shown = requested(service, request.match_info["date"], params)
    code = require_known(one_code(request.match_info["code"]), service, "code")
    check_listed(shown, code=[code], quote_currency=[quote])
    day, number = map(str, shown.revision.key)
    headers = (("Effective-Date", day), ("Revision", number))
    body = Body(json.unit_rate(shown, code, quote), "text/plain; charset=utf-8", headers)
    return Answer(body, caching_of(service, shown))


async def _currencies(service: Service, request: web.Request) -> Answer:
    language = StrictParams(request, "/v1/currencies").language()

    def render() -> Body:
        return Body(json.currencies(service.history, language, demo=service.demo), json.JSON)

    body = service.require_publication().body(("currencies", language.tag), render)
    return Answer(body, RATES)


async def _currency(service: Service, request: web.Request) -> Answer:
    language = StrictParams(request, "/v1/currencies/{code}").language()
    publication = service.require_publication()
    code = require_known(one_code(request.match_info["code"]), service, "code")
    if code == "RUB":
        raise UnknownCurrency(code, effective=publication.snapshot.in_force.effective_date, parameter="code")

    def render() -> Body:
        return Body(json.currency(service.history, code, language), json.JSON)

    return Answer(publication.body(("currency", code, language.tag), render), RATES)


def requested(service: Service, day: str, params: StrictParams) -> InForce:
    """What applies on a day that a request names, in the revision that it asks for."""
    # Today is that of the publication: a clock that is set back years takes nobody's rates away.
    if day == "today":
        answer = service.require_publication().snapshot.for_today()
    else:
        with naming("date", day):
            answer = on_day(service.history, day_named(day, service), service.clock())
    if not params.has("revision"):
        return answer
    with naming("revision", params.text("revision")):
        return in_revision(service.history, answer, params.number("revision"))


def day_named(text: str, service: Service, name: str = "date") -> date:
    """YYYY-MM-DD, today, or next. Raises BadRequest, and NotYetSet for a next that is not announced."""
    if text == "today":
        return moscow_day(service.clock())
    if text != "next":
        return day_of(text, name)
    snapshot = service.require_publication().snapshot
    if snapshot.announced is None:
        following = service.history.calendar.effective_date_after(service.history.known.awaited_after)
        raise NotYetSet(following, snapshot.next_due_at, overdue=snapshot.next_overdue)
    return snapshot.announced.effective_date


def day_with_figures(request: web.Request, service: Service, figures: Figures) -> date:
    """The day that a path names, or today. Raises BadRequest, BeforeHistory, NoSheet and NotYetSet.

    A day to come is answered once its own figures are set, because others may still come.
    """
    text = request.match_info.get("date", "today")
    with naming("date", text):
        day = day_named(text, service)
        if not figures.columns:
            why = "are in the demo" if service.demo else "have been fetched yet; the service keeps trying"
            raise NoSheet(f"No figures of {figures.name} {why}.")
        if day < (begins := min(column.first_day for column in figures.columns.values())):
            raise BeforeHistory(day, begins)
        if day > max(moscow_day(service.clock()), figures.newest):
            raise NotYetSet(day, due_at(service.history.calendar.effective_date_on_or_before(day)))
    return day
