"""/rate: the page «Which rate applies to a document dated X?», which explains every answer and every refusal."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from aiohttp import web

from ratesvc.domain.history import on_day
from ratesvc.domain.rates import InForce
from ratesvc.domain.workdays import moscow_day
from ratesvc.errors import BadRequest, RatesvcError, UnknownCurrency
from ratesvc.render import rate_page
from ratesvc.render.rate_page import Kind, Question, Reason, reason
from ratesvc.render.widget import Site, own_page
from ratesvc.service.app import Service
from ratesvc.service.publication import Body
from ratesvc.web import params
from ratesvc.web.answer import NO_STORE, Answer
from ratesvc.web.api import caching_of, published, send
from ratesvc.web.params import LenientParams
from ratesvc.web.reply import Handler

KNOWN = ("date", "currency", "lang")
DEFAULT_CODE = "USD"
HEADERS = own_page(rate_page.SECURITY_POLICY)

Found = TypeVar("Found")

# Every other reason comes with a rate.
_STATUSES = {
    Kind.ABSENT: 404,
    Kind.NOT_YET_SET: 404,
    Kind.BEFORE_HISTORY: 404,
    Kind.UNKNOWN_CURRENCY: 404,
    Kind.LOADING: 503,
    Kind.NOTHING_STORED: 503,
}


def routes(service: Service, site: Site) -> dict[str, Handler]:
    """Path → handler."""

    async def rate(request: web.Request) -> Answer:
        try:
            asked = _Asked(request, service, site)
        except BadRequest as error:
            return _refused(request, service, site, error)
        return asked.answer()

    return {"/rate": rate}


class _Asked:
    """One question, checked."""

    def __init__(self, request: web.Request, service: Service, site: Site) -> None:
        asked = params.StrictParams(request, KNOWN)
        self._request, self._service, self._site = request, service, site
        self._language = asked.language()
        self._now = service.clock()
        self._today = moscow_day(self._now)
        day = asked.day("date", self._today)
        self._question = Question(day, asked.code("currency", DEFAULT_CODE), service.history.codes())

    def answer(self) -> Answer:
        """The page, kept with the publication where there is a rate."""
        outcome = self._outcome()
        why = reason(outcome, self._question.code, self._now, self._service.history.calendar)
        status = _STATUSES.get(why.kind, 200)
        if status == 200 and isinstance(outcome, InForce):
            return self._send(why, outcome)
        return _page(rate_page.answered(self._question, why, None, self._language, self._site), status)

    def _outcome(self) -> InForce | RatesvcError:
        history, code = self._service.history, self._question.code
        try:
            published(self._service)
            answer = on_day(history, self._question.day, self._now)
        except RatesvcError as error:
            return error
        return answer if history.knows(code) else UnknownCurrency(code)

    def _send(self, why: Reason, answer: InForce) -> Answer:
        question, publication = self._question, published(self._service)

        def render() -> Body:
            quote = answer.revision.sheet.by_code[question.code]
            page = rate_page.answered(question, why, quote, self._language, self._site)
            return Body(page.encode(), rate_page.CONTENT_TYPE, HEADERS)

        body = publication.body(("rate", self._language.tag, question.day, question.code), render)
        return send(self._service, body, caching_of(answer, self._today))


def _refused(request: web.Request, service: Service, site: Site, error: BadRequest) -> Answer:
    """The form again, with what can be kept of the question, and what was wrong."""
    problem = "The question was not understood. Please choose a day and a currency."
    day = _well_formed(params.day, request.query.get("date", "")) or moscow_day(service.clock())
    code = _well_formed(params.one_code, request.query.get("currency", "")) or DEFAULT_CODE
    question = Question(day, code, service.history.codes())
    page = rate_page.refused(question, problem, str(error), LenientParams(request).language(), site)
    return _page(page, 400)


def _well_formed(read: Callable[[str], Found], text: str) -> Found | None:
    try:
        return read(text)
    except BadRequest:
        return None


def _page(page: str, status: int) -> Answer:
    return Answer(Body(page.encode(), rate_page.CONTENT_TYPE, HEADERS), NO_STORE, status=status)
