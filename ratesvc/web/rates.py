"""/v1/rates, our own JSON, and the same rates in the dialects that are switched on."""

from __future__ import annotations

from collections.abc import Hashable
from datetime import date
from functools import partial

from aiohttp import web

from ratesvc.domain.history import History, on_day
from ratesvc.domain.rates import InForce
from ratesvc.domain.workdays import moscow_day
from ratesvc.errors import NotYetSet, UnknownCurrency
from ratesvc.render import json, series
from ratesvc.render.language import language_or_default
from ratesvc.service.app import Service
from ratesvc.service.publication import Body
from ratesvc.web.caching import RATES, caching_of
from ratesvc.web.params import StrictParams, day_of, one_code
from ratesvc.web.responses import Answer, Handler

Headers = tuple[tuple[str, str], ...]
MOST_NAMED = 30


def routes(service: Service) -> dict[str, Handler]:
    """Path → handler."""
    return {
        "/v1/rates": partial(_today, service, "/v1/rates"),
        "/v1/rates.csv": partial(_today, service, "/v1/rates.csv"),
        "/v1/rates/today": partial(_today, service, "/v1/rates/today"),
        "/v1/rates/next": partial(_upcoming, service),
        "/v1/rates/{day}.csv": partial(_on_a_day, service, "/v1/rates/{day}.csv"),
        "/v1/rates/{day}": partial(_on_a_day, service, "/v1/rates/{day}"),
        "/v1/rates/{day}/{code}.txt": partial(_one_number, service),
    }


async def _today(service: Service, path: str, request: web.Request) -> Answer:
    params = _SheetParams(request, service, path)
    return Answer(params.body("today", params.publication.snapshot.for_today()), RATES)


async def _upcoming(service: Service, request: web.Request) -> Answer:
    params = _SheetParams(request, service, "/v1/rates/next")
    return Answer(params.body("next", _announced(service)), RATES)


def _announced(service: Service) -> InForce:
    """What is announced and not yet in force. Raises NotYetSet."""
    snapshot = service.publisher.require().snapshot
    if answer := snapshot.for_next():
        return answer
    following = service.history.calendar.effective_date_after(snapshot.in_force.effective_date)
    raise NotYetSet(following, snapshot.next_expected_at, overdue=snapshot.next_overdue)


async def _on_a_day(service: Service, path: str, request: web.Request) -> Answer:
    params = _SheetParams(request, service, path)
    day = _day(request, service)
    answer = on_day(service.history, day, service.clock())
    if params.revision is None:
        return Answer(params.body(day, answer), caching_of(service, answer))
    revised = service.history.in_revision(answer, params.revision)
    return Answer(params.body((day, params.revision), revised), caching_of(service, answer))


async def _one_number(service: Service, request: web.Request) -> Answer:
    quote = known(StrictParams(request, "/v1/rates/{day}/{code}.txt").code("quote"), service)
    day = _day(request, service)
    code = known(one_code(request.match_info["code"]), service)
    answer = on_day(service.history, day, service.clock())
    return Answer(Body(json.unit_rate(answer, code, quote), "text/plain; charset=utf-8"), caching_of(service, answer))


def _day(request: web.Request, service: Service) -> date:
    """The day in the path, which may be `today` or `next`. Raises BadRequest and NotYetSet."""
    given = request.match_info["day"]
    if given == "next":
        return _announced(service).requested_date
    return moscow_day(service.clock()) if given == "today" else day_of(given)


class _SheetParams:
    """Which rows of a sheet to show, and how."""

    def __init__(self, request: web.Request, service: Service, path: str) -> None:
        """`path` is an address of the contract; its ending decides between CSV and JSON."""
        params = StrictParams(request, path)
        self._service = service
        self._is_csv = path.endswith(".csv")
        self._language = params.locale() if self._is_csv else params.language()
        self._quote = params.code("quote")
        self._codes = params.codes()
        self.revision = params.number("revision") if params.has("revision") else None
        self.publication = service.publisher.require()
        for code in (self._quote, *(self._codes or ())):
            known(code, service)

    def body(self, which: Hashable, answer: InForce) -> Body:
        """The finished body, rendered at the first request for it."""
        codes = None if self._codes is None else tuple(sorted(self._codes))
        key = ("rates", which, self._is_csv, self._language and self._language.tag, self._quote, codes)
        return self.publication.body(key, lambda: self._render(answer))

    def _render(self, answer: InForce) -> Body:
        if self._quote != "RUB" and self._quote not in answer.revision.sheet.by_code:
            raise UnknownCurrency(self._quote, effective=answer.revision.effective_date)
        if self._is_csv:
            columns = series.columns_of_sheet(answer, self._quote, self._codes)
            disposition = ("Content-Disposition", f'attachment; filename="rates-{answer.requested_date}.csv"')
            return Body(series.to_csv("code", columns, self._language), series.CSV, (disposition,))
        language = self._language or language_or_default(None)
        content = json.rates(answer, language, quote=self._quote, codes=self._codes, demo=self._service.demo)
        return Body(content, json.JSON)


def known(code: str, service: Service) -> str:
    """The code itself. Raises UnknownCurrency if no held sheet has ever had it, NoSheet while none is held."""
    if code != "RUB" and code not in service.history.codes():
        service.publisher.require()
        raise UnknownCurrency(code)
    return code


def unconfirmed_days(history: History, since: date, until: date) -> Headers:
    """The header that names the days which a range lacks, because their sheets are not admitted."""
    days = list(map(str, history.unconfirmed_in(since, until)))
    more = [f"{len(days) - MOST_NAMED} more"] if len(days) > MOST_NAMED else []
    return (("Unconfirmed-Days", ", ".join([*days[:MOST_NAMED], *more])),) if days else ()
