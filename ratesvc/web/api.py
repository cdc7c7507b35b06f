"""/v1: our own JSON API."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from datetime import date

from aiohttp import web

from ratesvc.domain.history import on_day
from ratesvc.domain.rates import FIRST_DAY, InForce
from ratesvc.domain.workdays import moscow_day
from ratesvc.errors import NoSheet, NotYetSet, UnknownCurrency
from ratesvc.render import json
from ratesvc.service.app import Service
from ratesvc.service.publication import Body, Publication
from ratesvc.web import params
from ratesvc.web.answer import FOR_EVER, RATES, SETTLED, Answer, Caching
from ratesvc.web.reply import Handler

SHEET = ("codes", "quote", "lang")


def routes(service: Service) -> dict[str, Handler]:
    """Path → handler."""

    async def today(request: web.Request) -> Answer:
        asked = _Asked(request, service, SHEET)
        publication = asked.publication
        body = asked.body("today", publication.snapshot.for_today())
        return asked.send(body, RATES)

    async def upcoming(request: web.Request) -> Answer:
        asked = _Asked(request, service, SHEET)
        snapshot = asked.publication.snapshot
        answer = snapshot.for_next()
        if answer is None:
            following = service.history.calendar.effective_date_after(snapshot.in_force.effective_date)
            raise NotYetSet(following, snapshot.next_expected_at, overdue=snapshot.next_overdue)
        return asked.send(asked.body("next", answer), RATES)

    async def on_a_day(request: web.Request) -> Answer:
        asked = _Asked(request, service, (*SHEET, "revision"))
        day = params.day(request.match_info["day"])
        today = moscow_day(service.clock())
        answer = on_day(service.history, day, service.clock())
        if asked.revision is not None:
            worded = service.history.in_revision(answer, asked.revision)
            return asked.send(asked.body((day, asked.revision), worded), caching_of(answer, today, FOR_EVER))
        return asked.send(asked.body(day, answer), caching_of(answer, today))

    async def one_number(request: web.Request) -> Answer:
        quote = known(params.StrictParams(request, ("quote",)).code("quote", "RUB"), service)
        named, today = request.match_info["day"], moscow_day(service.clock())
        day = today if named == "today" else params.day(named)
        code = known(params.one_code(request.match_info["code"]), service)
        answer = on_day(service.history, day, service.clock())
        body = Body(json.unit_rate(answer, code, quote), "text/plain; charset=utf-8")
        return send(service, body, caching_of(answer, today))

    return {
        "/v1/rates": today,
        "/v1/rates/today": today,
        "/v1/rates/next": upcoming,
        "/v1/rates/{day}": on_a_day,
        "/v1/rates/{day}/{code}.txt": one_number,
    }


def caching_of(answer: InForce, today: date, settled: Caching = SETTLED) -> Caching:
    """`settled` where nothing can be added any more, else RATES.

    The day must be past and the sheets before and after the day's must be known. A day to come is never settled, even
    if the sheet for it is announced, because an extraordinary sheet can still come first.
    """
    begins = answer.revision.effective_date == FIRST_DAY
    is_settled = answer.requested_date < today and answer.following is not None and not answer.stale
    return settled if is_settled and (begins or answer.previous is not None) else RATES


class _Asked:
    """What one request wants of a sheet, checked."""

    def __init__(self, request: web.Request, service: Service, parameters: tuple[str, ...]) -> None:
        asked = params.StrictParams(request, parameters)
        self._service = service
        self.language = asked.language()
        self.quote = asked.code("quote", "RUB")
        self.codes = asked.codes()
        self.revision = asked.count("revision")
        self.publication = published(service)
        for code in (self.quote, *(self.codes or ())):
            known(code, service)

    def body(self, which: Hashable, answer: InForce) -> Body:
        """The finished body, rendered if this is the first time that it is asked for."""
        codes = None if self.codes is None else tuple(sorted(self.codes))
        key = ("rates", which, self.language.tag, self.quote, codes)
        return self.publication.body(key, lambda: self._render(answer))

    def _render(self, answer: InForce) -> Body:
        if self.quote != "RUB" and self.quote not in answer.revision.sheet.by_code:
            raise UnknownCurrency(self.quote, effective=answer.revision.effective_date)
        content = json.rates(answer, self.language, quote=self.quote, codes=self.codes, demo=self._service.demo)
        return Body(content, json.JSON)

    def send(self, body: Body, caching: Caching) -> Answer:
        """With cache headers that never cross the next change of today's answer."""
        return send(self._service, body, caching)


def send(service: Service, body: Body, caching: Caching) -> Answer:
    """Answer with cache headers that never cross the next change of today's answer."""
    return Answer(body, caching, published(service).snapshot if caching is RATES else None, demo=service.demo)


async def send_long(
    service: Service, key: Hashable, until: date, render: Callable[[], Body], *, points: int, packed: bool = True
) -> Answer:
    """A body of so many points is rendered once, and once compressed for those who want it `packed`, in a thread."""
    body = await beside(service, published(service), key, render, points=points, packed=packed)
    return send_until(service, body, until)


async def beside(
    service: Service,
    publication: Publication,
    key: Hashable,
    render: Callable[[], Body],
    *,
    points: int = 0,
    packed: bool = True,
) -> Body:
    """The body, rendered in a thread if this is the first time that it is asked for; others wait for that.

    Raises Busy where it has many `points` and too many such bodies wait already.
    """
    turn = publication.turns.setdefault(key, asyncio.Lock())
    async with turn:
        found = publication.find(key)
        if found and (found.is_finished or not packed):
            return found

        def finished() -> Body:
            body = found or render()
            if packed and body.is_long:
                body.finish()
            return body

        return publication.keep(key, await service.workers.run(finished, points=points))


def send_until(service: Service, body: Body, until: date) -> Answer:
    """Answer about days up to `until`: may be kept longer if they are past, admitted, and a later sheet is known."""
    snapshot, coverage = published(service).snapshot, service.history.coverage
    newest = snapshot.announced or snapshot.in_force
    is_settled = until < min(
        moscow_day(service.clock()), newest.effective_date, *(coverage.unconfirmed if coverage else ())
    )
    return send(service, body, SETTLED if is_settled else RATES)


def known(code: str, service: Service) -> str:
    """The code itself. Raises UnknownCurrency for one that no held sheet has ever had, NoSheet while none is held."""
    if code != "RUB" and not service.history.knows(code):
        published(service)
        raise UnknownCurrency(code)
    return code


def published(service: Service) -> Publication:
    """What is on the Publisher. Raises NoSheet."""
    if service.publisher.current is None:
        raise NoSheet("No sheet of the Bank of Russia has been fetched yet; the service keeps trying.")
    return service.publisher.current
