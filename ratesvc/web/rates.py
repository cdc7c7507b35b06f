"""/v1/rates: the sheet in force on a day, as JSON, as CSV and as one number; and /v1/currencies."""

from __future__ import annotations

from datetime import date
from functools import partial

from aiohttp import web

from ratesvc.domain.columns import Days
from ratesvc.domain.history import History, on_day
from ratesvc.domain.rates import InForce
from ratesvc.domain.workdays import moscow_day
from ratesvc.errors import NotYetSet, UnknownCurrency
from ratesvc.render import csv, json
from ratesvc.service.app import Service
from ratesvc.service.publication import Body
from ratesvc.web.caching import RATES, caching_of
from ratesvc.web.params import StrictParams, day_of, one_code
from ratesvc.web.responses import Answer, Handler

Headers = tuple[tuple[str, str], ...]
MOST_NAMED = 30


def routes(service: Service) -> dict[str, Handler]:
    """Path → handler."""
    names = ("", ".csv", "/{date}.csv", "/{date}")
    sheets: dict[str, Handler] = {f"/v1/rates{name}": partial(_sheet, service, f"/v1/rates{name}") for name in names}
    return {
        **sheets,
        "/v1/rates/{date}/{code}.txt": partial(_one_number, service),
        "/v1/currencies": partial(_currencies, service),
    }


async def _sheet(service: Service, path: str, request: web.Request) -> Answer:
    """`path` is an address of the contract; its ending decides between CSV and JSON."""
    params, is_csv = StrictParams(request, path), path.endswith(".csv")
    language, locale = params.language(), params.given_language("locale")
    quote, codes = params.code("quote_currency"), params.codes()
    publication = service.require_publication()
    for code in (quote, *(codes or ())):
        known(code, service)
    answer = shown = _in_force(service, request.match_info.get("date", "today"))
    if params.has("revision"):
        shown = service.history.in_revision(answer, params.number("revision"))

    def render() -> Body:
        check_listed(shown, quote)
        if not is_csv:
            return Body(json.rates(shown, language, quote=quote, codes=codes, demo=service.demo), json.JSON)
        table = csv.for_readers(csv.rows_of_sheet(shown, quote, codes), language, quote)
        disposition = ("Content-Disposition", f'attachment; filename="rates-{shown.requested_date}.csv"')
        return Body(csv.write([table], locale), csv.MEDIA, (disposition,))

    days = shown.requested_date, shown.revision.effective_date, params.text("revision")
    key = (
        "rates",
        *days,
        is_csv,
        language.tag,
        locale and locale.tag,
        quote,
        None if codes is None else tuple(sorted(codes)),
    )
    return Answer(publication.body(key, render), caching_of(service, answer))


async def _one_number(service: Service, request: web.Request) -> Answer:
    quote = known(StrictParams(request, "/v1/rates/{date}/{code}.txt").code("quote_currency"), service)
    answer = _in_force(service, request.match_info["date"])
    code = known(one_code(request.match_info["code"]), service)
    check_listed(answer, code, quote)
    return Answer(Body(json.unit_rate(answer, code, quote), "text/plain; charset=utf-8"), caching_of(service, answer))


async def _currencies(service: Service, request: web.Request) -> Answer:
    language = StrictParams(request, "/v1/currencies").language()

    def render() -> Body:
        return Body(json.currencies(service.history, language, demo=service.demo), json.JSON)

    body = service.require_publication().body(("currencies", language.tag), render)
    return Answer(body, RATES)


def _in_force(service: Service, day: str) -> InForce:
    # Today is that of the publication: a clock that is set back years takes nobody's rates away.
    if day == "today":
        return service.require_publication().snapshot.for_today()
    return on_day(service.history, day_named(day, service), service.clock())


def day_named(text: str, service: Service, name: str = "date") -> date:
    """YYYY-MM-DD, today, or next. Raises BadRequest, and NotYetSet for a next that is not announced."""
    if text == "today":
        return moscow_day(service.clock())
    if text != "next":
        return day_of(text, name)
    snapshot = service.require_publication().snapshot
    if snapshot.announced is None:
        following = service.history.calendar.effective_date_after(service.history.known_until)
        raise NotYetSet(following, snapshot.next_due_at, overdue=snapshot.next_overdue)
    return snapshot.announced.effective_date


def known(code: str, service: Service) -> str:
    """The code itself. Raises UnknownCurrency if no held sheet has ever had it, NoSheet while none is held."""
    if code != "RUB" and code not in service.history.codes():
        service.require_publication()
        raise UnknownCurrency(code)
    return code


def check_listed(answer: InForce, *codes: str) -> None:
    """Raise UnknownCurrency if the sheet lacks one of the currencies."""
    for code in codes:
        if code not in answer.revision.sheet.costs:
            raise UnknownCurrency(code, effective=answer.revision.effective_date)


def unconfirmed_days(history: History, days: Days, today: date) -> Headers:
    """The header that names the days which a range lacks, because their sheets are not admitted."""
    named = list(map(str, history.lacking(days, today)))
    more = [f"{len(named) - MOST_NAMED} more"] if len(named) > MOST_NAMED else []
    return (("Unconfirmed-Days", ", ".join([*named[:MOST_NAMED], *more])),) if named else ()
