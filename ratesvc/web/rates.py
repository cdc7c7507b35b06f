"""/v1/rates, our own JSON, and the same rates in the dialects that are switched on."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Hashable, Iterator
from datetime import date
from functools import partial
from importlib import import_module

from aiohttp import web

from ratesvc import dialects
from ratesvc.dialects import Dialect, Refused
from ratesvc.domain.history import History, on_day
from ratesvc.domain.rates import FIRST_DAY, InForce
from ratesvc.domain.workdays import moscow_day
from ratesvc.errors import NoSheet, NotYetSet, RatesvcError, UnknownCurrency
from ratesvc.render import json, series
from ratesvc.render.language import language_or_default
from ratesvc.render.page import Site
from ratesvc.service.app import Service
from ratesvc.service.publication import Body, Publication, Queue
from ratesvc.web.params import StrictParams, day_of, one_code, wants_packed
from ratesvc.web.responses import NO_STORE, RATES, SETTLED, Answer, Caching, Handler

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
    snapshot = published(service).snapshot
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
        self.publication = published(service)
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


def caching_of(service: Service, answer: InForce) -> Caching:
    """SETTLED where nothing can be added any more, else RATES. The sheet before must be known, too."""
    begins = answer.revision.effective_date == FIRST_DAY
    has_neighbours = answer.following is not None and (begins or answer.previous is not None)
    return caching_until(service, answer.requested_date) if has_neighbours else RATES


def caching_until(service: Service, until: date) -> Caching:
    """SETTLED for days up to `until` if their sheets are settled and admitted, else RATES."""
    ends = min(service.history.settled_before(moscow_day(service.clock())), *service.history.unconfirmed, date.max)
    return SETTLED if until < ends else RATES


def known(code: str, service: Service) -> str:
    """The code itself. Raises UnknownCurrency if no held sheet has ever had it, NoSheet while none is held."""
    if code != "RUB" and code not in service.history.codes():
        published(service)
        raise UnknownCurrency(code)
    return code


def published(service: Service) -> Publication:
    """The current publication. Raises NoSheet."""
    if service.publisher.current is None:
        raise NoSheet("No sheet of the Bank of Russia has been fetched yet; the service keeps trying.")
    return service.publisher.current


async def rendered_in_thread(
    service: Service,
    publication: Publication,
    key: Hashable,
    render: Callable[[], Body],
    queue: Queue = Queue.SMALL,
    *,
    packed: bool = True,
) -> Body:
    """The body, rendered in a worker thread at the first request for it; later requests wait for that.

    It is compressed there, too, if the client wants it `packed`. Raises Busy if too many wait in its queue.
    """
    lock = publication.render_locks.setdefault(key, asyncio.Lock())
    async with lock:
        found = publication.find(key)
        if found and (found.is_finished or not packed):
            return found

        def finished() -> Body:
            body = found or render()
            return body.finish() if packed else body

        return publication.keep(key, await service.workers.run(finished, queue))


def dialect_routes(service: Service, site: Site) -> dict[str, Handler]:
    """Path → handler of each dialect in the settings: under its prefix, and at the root where its clients need that."""
    found: dict[str, Handler] = {}
    for name, dialect in _dialects(service):
        handlers = {path: _speaking(name, dialect, ask, service, site) for path, ask in dialect.routes.items()}
        if dialect.root is not None:
            found |= {dialect.root + path: handler for path, handler in handlers.items()}
        prefix = dialect.prefix or f"/{name}"
        found |= {prefix + path: handler for path, handler in handlers.items()}
        found[f"{prefix}/{{anything:(?s:.*)}}"] = _speaking(name, dialect, _nothing, service, site)
    return found


def dialect_paths(service: Service) -> set[str]:
    """The paths that answer for the original's host, too, if a client uses this service as its proxy."""
    spoken = [dialect for _, dialect in _dialects(service)]
    return {dialect.root + path for dialect in spoken if dialect.root is not None for path in dialect.routes}


def _dialects(service: Service) -> Iterator[tuple[str, Dialect]]:
    for name in service.settings.dialects:
        yield name, import_module(f"ratesvc.dialects.{name.replace('-', '_')}").DIALECT


def pattern(path: str) -> str:
    """The path for aiohttp: the folder and name of a script .asp in any case, as Windows servers match it."""
    prefix, *script = path.rsplit("/", 2)
    return f"{prefix}/{{script:(?i:{re.escape('/'.join(script))})}}" if path.endswith(".asp") else path


def _nothing(_: dialects.Request) -> dialects.Content:
    raise Refused(404, "There is nothing at this address.")


def _speaking(
    name: str, dialect: Dialect, ask: Callable[[dialects.Request], dialects.Content], service: Service, site: Site
) -> Handler:
    """Answers a request in a dialect, and refuses one in the dialect's own words."""

    async def answer(request: web.Request) -> Answer:
        # The first value of a repeated parameter counts, if it is not empty, and the query cannot overrule the path.
        query = {name: next(filter(None, request.query.getall(name)), "") for name in request.query}
        given = {**query, **request.match_info}
        try:
            # The publication that was asked keeps the body, because a later one may have other figures.
            publication = published(service)
            accept = request.headers.get("Accept", "")
            spoken = service.settings.dialects
            found = ask(dialects.Request(service.history, publication.snapshot, site.public_url, given, accept, spoken))

            def render() -> Body:
                headers = (*unconfirmed_days(service.history, found.since, found.until), *_policy(found.media))
                return Body(found.write(), found.media, headers)

            key, queue, packed = (name, found.key), Queue.of(found.points), wants_packed(request)
            body = await rendered_in_thread(service, publication, key, render, queue, packed=packed)
            return Answer(body, caching_until(service, found.until), by_header="Accept" if found.by_accept else "")
        except RatesvcError as error:
            refusal = dialect.refuse(error)
            return Answer(Body(refusal.content, refusal.media, _policy(refusal.media)), NO_STORE, refusal.status)

    return answer


def _policy(media: str) -> Headers:
    """No browser may run what an XML document holds, should a part of it be foreign."""
    return (("Content-Security-Policy", "default-src 'none'; sandbox"),) if "xml" in media else ()


def unconfirmed_days(history: History, since: date, until: date) -> Headers:
    """The header that names the days which a range lacks, because their sheets are not admitted."""
    days = list(map(str, history.unconfirmed_in(since, until)))
    more = [f"{len(days) - MOST_NAMED} more"] if len(days) > MOST_NAMED else []
    return (("Unconfirmed-Days", ", ".join([*days[:MOST_NAMED], *more])),) if days else ()
