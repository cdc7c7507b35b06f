"""/v1/rates: the sheet in force on a day, as JSON, as CSV and as one number."""

from __future__ import annotations

from datetime import date
from functools import partial

from aiohttp import web

from ratesvc.domain.history import History, on_day
from ratesvc.domain.rates import REDENOMINATION, InForce
from ratesvc.domain.workdays import moscow_day
from ratesvc.errors import NotYetSet, UnknownCurrency
from ratesvc.render import json, tables
from ratesvc.render.language import language_or_default
from ratesvc.service.app import Service
from ratesvc.service.publication import Body
from ratesvc.web.caching import caching_of
from ratesvc.web.params import StrictParams, day_of, one_code
from ratesvc.web.responses import Answer, Handler

Headers = tuple[tuple[str, str], ...]
MOST_NAMED = 30


def routes(service: Service) -> dict[str, Handler]:
    """Path → handler."""
    names = ("", ".csv", "/{date}.csv", "/{date}")
    sheets: dict[str, Handler] = {f"/v1/rates{name}": partial(_sheet, service, f"/v1/rates{name}") for name in names}
    return {**sheets, "/v1/rates/{date}/{code}.txt": partial(_one_number, service)}


async def _sheet(service: Service, path: str, request: web.Request) -> Answer:
    params = _SheetParams(request, service, path)
    answer = _in_force(service, request.match_info.get("date", "today"))
    shown = answer if params.revision is None else service.history.in_revision(answer, params.revision)
    return Answer(params.body(shown), caching_of(service, answer))


async def _one_number(service: Service, request: web.Request) -> Answer:
    quote = known(StrictParams(request, "/v1/rates/{date}/{code}.txt").code("quote_currency"), service)
    answer = _in_force(service, request.match_info["date"])
    code = known(one_code(request.match_info["code"]), service)
    check_listed(answer, code, quote)
    return Answer(Body(json.unit_rate(answer, code, quote), "text/plain; charset=utf-8"), caching_of(service, answer))


def _in_force(service: Service, day: str) -> InForce:
    # Today is that of the publication: a clock that is set back years takes nobody's rates away.
    if day == "today":
        return service.publisher.require().snapshot.for_today()
    return on_day(service.history, day_named(day, service), service.clock())


def day_named(text: str, service: Service, name: str = "date") -> date:
    """YYYY-MM-DD, today, or next. Raises BadRequest, and NotYetSet for a next that is not announced."""
    if text == "today":
        return moscow_day(service.clock())
    if text != "next":
        return day_of(text, name)
    snapshot = service.publisher.require().snapshot
    if snapshot.announced is None:
        following = service.history.calendar.effective_date_after(snapshot.in_force.effective_date)
        raise NotYetSet(following, snapshot.next_due_at, overdue=snapshot.next_overdue)
    return snapshot.announced.effective_date


class _SheetParams:
    """Which rows of a sheet to show, and how."""

    def __init__(self, request: web.Request, service: Service, path: str) -> None:
        """`path` is an address of the contract; its ending decides between CSV and JSON."""
        params = StrictParams(request, path)
        self._service = service
        self._is_csv = path.endswith(".csv")
        self._language = params.given_language("lang") if self._is_csv else params.language()
        self._locale = params.given_language("locale")
        self._quote = params.code("quote_currency")
        self._codes = params.codes()
        self.revision = params.number("revision") if params.has("revision") else None
        self._publication = service.publisher.require()
        for code in (self._quote, *(self._codes or ())):
            known(code, service)

    def body(self, answer: InForce) -> Body:
        """The finished body, rendered at the first request for it."""
        codes = None if self._codes is None else tuple(sorted(self._codes))
        tags = tuple(language and language.tag for language in (self._language, self._locale))
        shown = self.revision, self._is_csv, tags, self._quote, codes
        key = ("rates", answer.requested_date, answer.revision.effective_date, *shown)
        return self._publication.body(key, lambda: self._render(answer))

    def _render(self, answer: InForce) -> Body:
        check_listed(answer, self._quote)
        if self._is_csv:
            rows = tables.rows_of_sheet(answer, self._quote, self._codes)
            is_old = answer.revision.effective_date < REDENOMINATION and "RUB" in (self._quote, *rows["code"])
            table = tables.for_readers(rows, self._language, has_old_roubles=is_old)
            disposition = ("Content-Disposition", f'attachment; filename="rates-{answer.requested_date}.csv"')
            return Body(tables.to_csv([table], self._locale), tables.CSV, (disposition,))
        language = self._language or language_or_default(None)
        content = json.rates(answer, language, quote=self._quote, codes=self._codes, demo=self._service.demo)
        return Body(content, json.JSON)


def known(code: str, service: Service) -> str:
    """The code itself. Raises UnknownCurrency if no held sheet has ever had it, NoSheet while none is held."""
    if code != "RUB" and code not in service.history.codes():
        service.publisher.require()
        raise UnknownCurrency(code)
    return code


def check_listed(answer: InForce, *codes: str) -> None:
    """Raise UnknownCurrency if the sheet lacks one of the currencies."""
    for code in codes:
        if code not in answer.revision.sheet.costs:
            raise UnknownCurrency(code, effective=answer.revision.effective_date)


def unconfirmed_days(history: History, since: date, until: date) -> Headers:
    """The header that names the days which a range lacks, because their sheets are not admitted."""
    days = list(map(str, history.unconfirmed_in(since, until)))
    more = [f"{len(days) - MOST_NAMED} more"] if len(days) > MOST_NAMED else []
    return (("Unconfirmed-Days", ", ".join([*days[:MOST_NAMED], *more])),) if days else ()
