"""/docs and its guides for people; /openapi.json, the catalogue and /llms.txt for programs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import date
from functools import partial

from aiohttp import web
from yarl import URL

from ratesvc.domain.workdays import moscow_day
from ratesvc.errors import RatesvcError
from ratesvc.features.docs import guides, openapi, reference
from ratesvc.features.docs.guides import GUIDES
from ratesvc.features.site.page import own_page
from ratesvc.features.site.routes import LenientParams, html, in_the_readers_language
from ratesvc.render.contract import Part, Site
from ratesvc.render.json import JSON
from ratesvc.service.app import Service
from ratesvc.service.publication import Body, Queue
from ratesvc.web.caching import REFERENCE
from ratesvc.web.features import Feature, Features
from ratesvc.web.problems import EVERY_PROBLEM
from ratesvc.web.responses import Answer, Handler

DOCS_HEADERS, GUIDE_HEADERS = (
    own_page("docs/docs", "docs/docs", img_src="'self'"),
    own_page("docs/docs", img_src="'self'"),
)
DOCUMENT, CATALOGUE = "/openapi.json", "/.well-known/api-catalog"
LINKSET = 'application/linkset+json; profile="https://www.rfc-editor.org/info/rfc9727"'
TEXT = "text/plain; charset=utf-8"
EXAMPLES = {JSON, "text/plain", "text/csv"}


def routes(service: Service, site: Site, features: Features) -> dict[str, Handler]:
    """Path → handler. The reference shows answers of the other handlers."""
    return {
        DOCUMENT: partial(_document, service, site),
        "/docs": in_the_readers_language(partial(_docs, service, site, features.handlers, asyncio.Lock())),
        **{f"/docs/{name}": in_the_readers_language(partial(_guide, service, site, name)) for name in GUIDES},
        CATALOGUE: partial(_catalogue, service, site),
        "/llms.txt": partial(_for_language_models, service, site),
    }


async def _document(service: Service, site: Site, _: web.Request) -> Answer:
    return await _reference(service, "document", lambda day: Body(openapi.document(site, day), JSON))


async def _catalogue(service: Service, site: Site, _: web.Request) -> Answer:
    itself = ("Link", f'<{site.public_url}{CATALOGUE}>; rel="api-catalog"')
    return await _reference(service, "catalogue", lambda _: Body(openapi.api_catalog(site), LINKSET, (itself,)))


async def _for_language_models(service: Service, site: Site, _: web.Request) -> Answer:
    return await _reference(service, "llms", lambda day: Body(openapi.for_language_models(site, day), TEXT))


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
            operations = await service.workers.run(lambda: openapi.operations(site, day), Queue.SMALL)
            answers = await _own_answers(operations, site, others, request)

        def render(day: date) -> Body:
            return html(reference.page(site, day, tag, answers, problems), *DOCS_HEADERS)

        return await _reference(service, tag, render)


async def _guide(service: Service, site: Site, name: str, request: web.Request) -> Answer:
    tag = reference.tag_of(LenientParams(request).language())
    return await _reference(service, f"{name} {tag}", lambda _: html(guides.page(name, site, tag), *GUIDE_HEADERS))


async def _own_answers(
    operations: Sequence[Part], site: Site, others: Mapping[str, Handler], request: web.Request
) -> dict[tuple[str, str], bytes]:
    """What this service answers to the example of each operation, if that is text, by operationId and media type."""
    answers = {}
    for operation in operations:
        if operation["path"] in others.keys() - {DOCUMENT} and EXAMPLES & operation["responses"][200]["content"].keys():
            target = URL(operation["x-example"].removeprefix(site.public_url), encoded=True)
            asked = request.clone(rel_url=target)
            asked._match_info = await request.app.router.resolve(asked)  # noqa: SLF001 -- clone has no argument for it
            with suppress(RatesvcError):
                answer = await others[operation["path"]](asked)
                if isinstance(answer, Answer):
                    media = answer.body.content_type.partition(";")[0]
                    body = answer.body
                    text = b"".join(body.pieces()) or body.encoded("identity")
                    answers[operation["operationId"], media] = text
    return answers


async def _reference(service: Service, name: str, render: Callable[[date], Body]) -> Answer:
    """A page that is kept with the publication, because its examples use the publication's day."""
    current = service.publication
    if current is None:
        return Answer(await service.workers.run(lambda: render(moscow_day(service.clock())), Queue.SMALL), REFERENCE)
    day = current.snapshot.in_force.effective_date
    body = await current.body_in_thread(("reference", name), lambda: render(day), service.workers)
    return Answer(body, REFERENCE)


FEATURE = Feature("docs", routes, needs=("site",))
