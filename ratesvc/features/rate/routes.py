"""/rate: which rate applies to a document of a day."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import date, timedelta
from decimal import Decimal
from functools import partial

from aiohttp import web

from ratesvc.domain.columns import Days
from ratesvc.domain.in_force import on_day
from ratesvc.domain.rates import InForce
from ratesvc.domain.workdays import iso_day, moscow_day
from ratesvc.errors import BadRequest, NoSheet, NotYetSet, RatesvcError, UnknownCurrency
from ratesvc.features.rate import rate_page
from ratesvc.features.rate.rate_page import Question
from ratesvc.features.rendering import Queue, rendered
from ratesvc.features.site.amounts import read_amount
from ratesvc.features.site.language import Language
from ratesvc.features.site.page import own_page
from ratesvc.features.site.reasons import reason
from ratesvc.features.site.routes import LenientParams, html, in_the_readers_language
from ratesvc.render import language as languages
from ratesvc.render.openapi import Site
from ratesvc.service.app import Service
from ratesvc.service.publication import Body
from ratesvc.web.caching import NO_STORE, caching_of
from ratesvc.web.features import Feature, Features
from ratesvc.web.params import StrictParams, one_code
from ratesvc.web.problems import problem_of
from ratesvc.web.rates import day_named
from ratesvc.web.responses import Answer, Handler

LONGEST_AMOUNT = 30


def routes(service: Service, site: Site, features: Features) -> dict[str, Handler]:
    """Path → handler."""
    # Its pictures have the public address, under which not everybody may have opened it.
    headers = own_page("site/rate", img_src=f"'self' {site.public_url}/", form_action="'self'")
    return {"/rate": in_the_readers_language(partial(_rate, service, site, features, headers))}


async def _rate(
    service: Service, site: Site, features: Features, headers: Sequence[tuple[str, str]], request: web.Request
) -> Answer:
    """Which rate applies to a document dated X, or why there is none."""
    now, history = service.clock(), service.history
    try:
        params = StrictParams(request, "/rate")
        language, day, code = Language(params.language().tag), _day_asked(params, service), params.code("code")
        question = Question(day, code, history.codes(), typed_amount(params, code, language))
    except BadRequest as error:
        return Answer(html(_refusal(request, service, site, error), *headers), NO_STORE, 400)
    outcome = _outcome(question, service)
    why = reason(outcome, code, now, history.calendar, language)
    if isinstance(outcome, InForce) and code in outcome.revision.sheet.by_code:
        days = Days(day - timedelta(days=rate_page.MONTH), day)
        has_line = site.has("chart") and history.first_loading(days) is None

        def render() -> Body:
            told = (line(service, day) for feature in features.on for line in feature.lines.values())
            more = rate_page.More(has_line, [line for line in told if line])
            return html(rate_page.answered(question, why, outcome, language, site, more), *headers)

        # The amount as text, because 10 and 10.00 are equal, but each is repeated as it was written.
        key, publication = ("rate", language.tag, day, code, question.written), service.require_publication()
        body = await rendered(service, publication, key, render, Queue.PAGES)
        return Answer(body, caching_of(service, outcome))
    answer, refusal = (outcome, UnknownCurrency(code)) if isinstance(outcome, InForce) else (None, outcome)
    page = rate_page.answered(question, why, answer, language, site)
    return Answer(html(page, *headers), NO_STORE, problem_of(refusal).status)


def typed_amount(params: StrictParams, code: str, language: languages.Language) -> Decimal | None:
    """An amount of a currency, as people type it; None where it is not given. Raises BadRequest."""
    text = params.text("amount")
    amount = read_amount(text, code, language)
    if amount is None and text.strip():
        raise params.malformed("amount")
    return amount


def _day_asked(params: StrictParams, service: Service) -> date:
    """The day of the document. A next day that is not announced yet is a day all the same."""
    try:
        return day_named(params.text("date"), service)
    except NotYetSet as error:
        return error.day
    except NoSheet:
        return moscow_day(service.clock())


def _outcome(question: Question, service: Service) -> InForce | RatesvcError:
    try:
        service.require_publication()
        answer = on_day(service.history, question.day, service.clock())
    except RatesvcError as error:
        return error
    return answer if question.code in service.history.codes() else UnknownCurrency(question.code)


def _refusal(request: web.Request, service: Service, site: Site, error: BadRequest) -> str:
    """The form with the well-formed parts of the question and the amount as it was typed, and the error."""
    params = LenientParams(request)
    day, code = iso_day(request.query.get("date", "")) or moscow_day(service.clock()), "USD"
    with suppress(BadRequest):
        code = one_code(request.query.get("code", ""))
    question = Question(day, code, service.history.codes(), unread=params.text("amount", 200)[:LONGEST_AMOUNT])
    return rate_page.refused(question, error, params.language(), site)


FEATURE = Feature("rate", routes, needs=("site",), robots=("Disallow: /rate?",))
