"""Pages for people: the builder at /, /rate, /chart, /docs and its guides; for programs /openapi.json and others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date, timedelta
from functools import cache, partial

from aiohttp import hdrs, web
from multidict import MultiDict, MultiMapping
from yarl import URL

from ratesvc.domain.columns import Days
from ratesvc.domain.history import on_day
from ratesvc.domain.rates import InForce
from ratesvc.domain.workdays import iso_day, moscow_day
from ratesvc.errors import BadRequest, NoSheet, NotYetSet, RatesvcError, UnknownCurrency
from ratesvc.render import contract
from ratesvc.render.json import JSON
from ratesvc.render.language import key_of, language_or_default
from ratesvc.render.page import ASSETS, HTML, Site, own_page
from ratesvc.render.pages import guides, rate, reference
from ratesvc.render.pages.guides import GUIDES
from ratesvc.render.pages.rate import Question
from ratesvc.render.tables import NDJSON
from ratesvc.render.widget import builder
from ratesvc.render.widget.builder import HEIGHTS, WIDTHS, Choice, Notice
from ratesvc.render.widget.view import LAYOUTS, LONGEST_ADDRESS, MOST_CODES
from ratesvc.service.app import Service
from ratesvc.service.publication import Body, Queue
from ratesvc.web import charts, problems
from ratesvc.web.caching import HOURLY, ICON, NO_STORE, REFERENCE, caching_of
from ratesvc.web.params import LenientParams, StrictParams, one_code, page_language, wants_packed
from ratesvc.web.problems import EVERY_PROBLEM, problem_of, see_other, uncached
from ratesvc.web.rates import day_named
from ratesvc.web.responses import Answer, Handler
from ratesvc.web.widget import PICTURE_POLICY, Embedding, fixed, html, picture_size

ICON_FILE = ASSETS.joinpath("icon.svg")
BUILDER_HEADERS = own_page(
    "home", "builder", img_src="'self'", frame_src="'self'", connect_src="'self'", form_action="'self'"
)
LONGEST_AMOUNT = 30
NOT_FOUND_HEADERS = own_page("home", img_src="'self'")
SWITCHES = ("unit", "symbols", "head", "pending")
OWN = {"heading": "own", "theme": "ground"}
"""Choice → the field for the host's own."""
NO_SENTENCE_HAS = (*OWN, "updown")
OF_ONE_LAYOUT = (*("columns", "decimals", "unit", "symbols", "head"), *("spark", "converter", "width", "height"))
DOCS_HEADERS, GUIDE_HEADERS = own_page("docs", "docs", img_src="'self'"), own_page("docs", img_src="'self'")
CATALOGUE = "/.well-known/api-catalog"
LINKSET = 'application/linkset+json; profile="https://www.rfc-editor.org/info/rfc9727"'
TEXT = "text/plain; charset=utf-8"
ROBOTS = (
    b"User-agent: *\nDisallow: /rate?\nDisallow: /chart?\nDisallow: /chart.svg\nDisallow: /chart/\nDisallow: /widget\n"
    b"Allow: /widget/card.png\n"
)
"""The pages may be searched, but not every rate of every day, nor what other pages embed. Previews need pictures."""
EXAMPLES = {JSON, NDJSON, "text/plain", "text/csv"}


def routes(service: Service, site: Site, others: Mapping[str, Handler]) -> dict[str, Handler]:
    """Path → handler. The reference shows answers of the `others`."""
    return {
        "/": _in_the_readers_language(partial(_home, service, site)),
        "/rate": _in_the_readers_language(partial(_rate, service, site)),
        charts.PAGE: _in_the_readers_language(partial(charts.page, service, site, charts.PAGE)),
        "/openapi.json": partial(_document, service, site),
        "/docs": _in_the_readers_language(partial(_docs, service, site, others, asyncio.Lock())),
        **{f"/docs/{name}": _in_the_readers_language(partial(_guide, service, site, name)) for name in GUIDES},
        "/favicon.ico": fixed(Body(ICON_FILE.read_bytes(), "image/svg+xml", (PICTURE_POLICY,)), ICON),
        CATALOGUE: partial(_catalogue, service, site),
        "/llms.txt": partial(_for_language_models, service, site),
        "/robots.txt": fixed(Body(ROBOTS, TEXT), HOURLY),
    }


def _in_the_readers_language(handler: Handler) -> Handler:
    """The handler; where `lang` is missing, the browser's Accept-Language chooses among our translations."""

    async def answer(request: web.Request) -> Answer | web.StreamResponse:
        if "lang" in request.query:
            return await handler(request)
        tag = page_language(",".join(request.headers.getall(hdrs.ACCEPT_LANGUAGE, ())))
        asked = request.clone(rel_url=request.rel_url.update_query(lang=tag))
        asked._match_info = request._match_info  # noqa: SLF001 -- clone has no argument for it
        said = await handler(asked)
        return replace(said, by_header=hdrs.ACCEPT_LANGUAGE) if isinstance(said, Answer) else said

    return answer


async def _home(service: Service, site: Site, request: web.Request) -> Answer | web.Response:
    params = LenientParams(_of_form(request.query), packed=wants_packed(request))
    ui, first = params.text("ui", 10), params.text("first", 3).upper()
    try:
        shown = Embedding(params, service, dated=False)
    except NoSheet:
        page = builder.not_ready(builder.words_of(ui, params.language()), site)
        return Answer(html(page, *BUILDER_HEADERS), NO_STORE, 503)
    choice = await shown.measured(first, Queue.BUILDER)
    words, codes = builder.words_of(ui, choice.language), service.history.codes()
    notices = _notices(params, choice)
    if "was" in request.query and not notices:
        return see_other(f"?{builder.address(choice, words)}")

    def render() -> Body:
        table = shown.table_in(choice.language, choice.view)
        drawn = replace(choice, size=replace(choice.size, picture=picture_size(shown)))
        return html(builder.builder(drawn, words, table, codes, site, notices), *BUILDER_HEADERS)

    # It costs as much as twenty widgets, so none of them waits behind it.
    return await shown.answer(("home", key_of(choice), words.tag, notices), render, queue=Queue.BUILDER)


def _of_form(query: MultiMapping[str]) -> MultiMapping[str]:
    """What a form means: a switch that it does not send is off, and choices for another layout do not count.

    It says in `was` which layout it was made for, and has fields of its own for the host's words and colour.
    """
    if "was" not in query:
        return query
    layout = query.get("layout", LAYOUTS[0])
    meant = [(name, query.get(own if query.get(name) == "own" else name, "")) for name, own in OWN.items()]
    is_other = query["was"] != layout
    off = () if is_other else tuple((name, "0") for name in SWITCHES if name not in query)
    kept = [*((name, value) for name, value in query.items() if name not in OWN), *off, *meant]
    left_out = {*(OF_ONE_LAYOUT if is_other else ()), *(NO_SENTENCE_HAS if layout == "inline" else ())}
    return MultiDict([(name, value) for name, value in kept if name not in left_out])


def _notices(params: LenientParams, choice: Choice) -> tuple[Notice, ...]:
    """What the form asked for and the widget does not show, each with the limits."""
    view, was = choice.view, params.text("was", 10)
    lacks_columns = was == view.layout != "inline" and not params.words("columns", 1)
    has_too_many = len(params.words("codes", 2 * MOST_CODES)) > MOST_CODES
    has_wrong_link = params.text("href", 2 * LONGEST_ADDRESS) and not view.href
    width, height = map(str, (choice.size.width, choice.size.height))
    widths, heights = (f"{allowed[0]}\u2013{allowed[-1]}" for allowed in (WIDTHS, HEIGHTS))
    notices = (
        (was and not params.words("codes", 1), "No currency is chosen, so you see the default ones.", ""),
        (has_too_many, "The first {limits} currencies are shown.", str(MOST_CODES)),
        (lacks_columns, "No column is chosen, so you see the default ones.", ""),
        (has_wrong_link, "The link must begin with https:// or http://.", ""),
        (params.text("width", 20) not in ("", width), "Width: {limits} pixels.", widths),
        (params.text("height", 20) not in ("", height), "Height: {limits} pixels.", heights),
    )
    return tuple((text, limits) for is_due, text, limits in notices if is_due)


async def not_found(site: Site, request: web.Request) -> web.Response:
    """404 for every other address: a page for a browser, a problem for a program."""
    if "text/html" not in request.headers.get(hdrs.ACCEPT, ""):
        return await problems.not_found(request)
    words = language_or_default(page_language(",".join(request.headers.getall(hdrs.ACCEPT_LANGUAGE, ()))))
    answer = uncached(404, builder.not_found(words, site).encode(), HTML)
    answer.headers.update(NOT_FOUND_HEADERS)
    return answer


async def _document(service: Service, site: Site, _: web.Request) -> Answer:
    return await _reference(service, "document", lambda day: Body(contract.document(site, day), JSON))


async def _catalogue(service: Service, site: Site, _: web.Request) -> Answer:
    itself = ("Link", f'<{site.public_url}{CATALOGUE}>; rel="api-catalog"')
    return await _reference(service, "catalogue", lambda _: Body(contract.api_catalog(site), LINKSET, (itself,)))


async def _for_language_models(service: Service, site: Site, _: web.Request) -> Answer:
    return await _reference(service, "llms", lambda day: Body(contract.for_language_models(site, day), TEXT))


async def _docs(
    service: Service, site: Site, others: Mapping[str, Handler], lock: asyncio.Lock, request: web.Request
) -> Answer:
    tag, answers = reference.tag_of(LenientParams(request).language()), {}
    problems = [problem.body("…") for problem in EVERY_PROBLEM]
    # One request asks for the examples' answers; the others wait for its page.
    async with lock:
        current = service.publication
        if current is not None and not current.find(("reference", tag)):
            day = current.snapshot.in_force.effective_date
            operations = await service.workers.run(lambda: contract.operations(site, day), Queue.SMALL)
            answers = await _own_answers(operations, site, others, request)

        def render(day: date) -> Body:
            return html(reference.page(site, day, tag, answers, problems), *DOCS_HEADERS)

        return await _reference(service, tag, render)


async def _guide(service: Service, site: Site, name: str, request: web.Request) -> Answer:
    tag = reference.tag_of(LenientParams(request).language())
    return await _reference(service, f"{name} {tag}", lambda _: html(guides.page(name, site, tag), *GUIDE_HEADERS))


async def _own_answers(
    operations: Sequence[contract.Part], site: Site, others: Mapping[str, Handler], request: web.Request
) -> dict[tuple[str, str], bytes]:
    """What this service answers to the example of each operation, if that is text, by operationId and media type."""
    answers = {}
    for operation in operations:
        if operation["path"] in others and EXAMPLES & operation["responses"][200]["content"].keys():
            target = URL(operation["x-example"].removeprefix(site.public_url), encoded=True)
            asked = request.clone(rel_url=target)
            asked._match_info = await request.app.router.resolve(asked)  # noqa: SLF001 -- clone has no argument for it
            with suppress(RatesvcError):
                answer = await others[operation["path"]](asked)
                if isinstance(answer, Answer):
                    media = answer.body.content_type.partition(";")[0]
                    answers[operation["operationId"], media] = answer.body.encoded("identity")
    return answers


async def _rate(service: Service, site: Site, request: web.Request) -> Answer:
    """Which rate applies to a document dated X, or why there is none."""
    now, history = service.clock(), service.history
    try:
        params = StrictParams(request, "/rate")
        language, day, code = params.language(), _day_asked(params, service), params.code("code")
        question = Question(day, code, history.codes(), params.typed_amount(code, language))
    except BadRequest as error:
        return _rate_refused(request, service, site, error)
    outcome = _outcome(question, service)
    why, headers = rate.reason(outcome, code, now, history.calendar), _rate_headers(site)
    if isinstance(outcome, InForce) and code in outcome.revision.sheet.by_code:
        has_line = history.first_gap(Days(day - timedelta(days=rate.MONTH), day)) is None

        def render() -> Body:
            return html(rate.answered(question, why, outcome, language, site, has_line=has_line), *headers)

        # The amount as text, because 10 and 10.00 are equal, but each is repeated as it was written.
        key, publication = ("rate", language.tag, day, code, question.written), service.require_publication()
        body = await publication.body_in_thread(key, render, service.workers, Queue.PAGES, packed=params.packed)
        return Answer(body, caching_of(service, outcome))
    answer, refusal = (outcome, UnknownCurrency(code)) if isinstance(outcome, InForce) else (None, outcome)
    page = rate.answered(question, why, answer, language, site)
    return Answer(html(page, *headers), NO_STORE, problem_of(refusal).status)


def _day_asked(params: StrictParams, service: Service) -> date:
    """The day of the document. A next day that is not announced yet is a day all the same."""
    try:
        return day_named(params.text("date"), service)
    except NotYetSet as error:
        return error.day
    except NoSheet:
        return moscow_day(service.clock())


@cache
def _rate_headers(site: Site) -> tuple[tuple[str, str], ...]:
    """Its pictures have the public address, under which not everybody may have opened it."""
    return own_page("rate", img_src=f"'self' {site.public_url}/", form_action="'self'")


def _outcome(question: Question, service: Service) -> InForce | RatesvcError:
    try:
        service.require_publication()
        answer = on_day(service.history, question.day, service.clock())
    except RatesvcError as error:
        return error
    return answer if question.code in service.history.codes() else UnknownCurrency(question.code)


def _rate_refused(request: web.Request, service: Service, site: Site, error: BadRequest) -> Answer:
    """The form with the well-formed parts of the question and the amount as it was typed, and the error."""
    params = LenientParams(request)
    day, code = iso_day(request.query.get("date", "")) or moscow_day(service.clock()), "USD"
    with suppress(BadRequest):
        code = one_code(request.query.get("code", ""))
    question = Question(day, code, service.history.codes(), unread=params.text("amount", 200)[:LONGEST_AMOUNT])
    page = rate.refused(question, error, params.language(), site)
    return Answer(html(page, *_rate_headers(site)), NO_STORE, 400)


async def _reference(service: Service, name: str, render: Callable[[date], Body]) -> Answer:
    """A page that is kept with the publication, because its examples use the publication's day."""
    current = service.publication
    if current is None:
        return Answer(await service.workers.run(lambda: render(moscow_day(service.clock())), Queue.SMALL), REFERENCE)
    day = current.snapshot.in_force.effective_date
    body = await current.body_in_thread(("reference", name), lambda: render(day), service.workers)
    return Answer(body, REFERENCE)
