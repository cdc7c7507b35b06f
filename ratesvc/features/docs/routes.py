"""/docs and its pages for people; /openapi.json, the catalogue and /llms.txt for programs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date
from functools import partial

from aiohttp import web
from yarl import URL

from ratesvc.domain.workdays import moscow_day
from ratesvc.errors import RatesvcError
from ratesvc.features.docs import openapi_json, reference
from ratesvc.features.docs.reference import Manual
from ratesvc.features.rendering import Queue, rendered, workers_of
from ratesvc.features.site.page import own_page
from ratesvc.features.site.routes import TEXT, LenientParams, html, in_the_readers_language, not_found
from ratesvc.render.json import JSON
from ratesvc.render.language import DEFAULT
from ratesvc.render.openapi import Part, Site
from ratesvc.service.app import Service
from ratesvc.service.publication import Body
from ratesvc.web.caching import REFERENCE
from ratesvc.web.features import Feature, Features
from ratesvc.web.problems import EVERY_PROBLEM
from ratesvc.web.responses import Answer, Handler

DOCS_HEADERS = own_page("docs/docs", script_name="docs/docs", img_src="'self'", connect_src="'self'")
DOCUMENT, CATALOGUE = "/openapi.json", "/.well-known/api-catalog"
LINKSET = 'application/linkset+json; profile="https://www.rfc-editor.org/info/rfc9727"'
EXAMPLES = {JSON, "text/plain", "text/csv"}


def routes(service: Service, site: Site, features: Features) -> dict[str, Handler]:
    """Path → handler. The reference shows answers of the other handlers."""
    page = in_the_readers_language(partial(_page, service, site, features.handlers, asyncio.Lock()))
    itself = ("Link", f'<{site.public_url}{CATALOGUE}>; rel="api-catalog"')
    described: dict[str, Callable[[Site, date], Body]] = {
        DOCUMENT: lambda seen, day: Body(openapi_json.document(seen, day), JSON),
        CATALOGUE: lambda seen, _: Body(openapi_json.api_catalog(seen), LINKSET, (itself,)),
        "/v1": lambda seen, day: Body(openapi_json.addresses(seen, day), JSON),
        "/llms.txt": lambda seen, day: Body(openapi_json.for_language_models(seen, day), TEXT),
    }
    return {
        **{path: partial(_description, service, site, render) for path, render in described.items()},
        "/docs": page,
        "/docs/search.json": in_the_readers_language(partial(_search, service, site)),
        "/docs/{page}": page,
    }


async def _description(
    service: Service, site: Site, render: Callable[[Site, date], Body], request: web.Request
) -> Answer:
    """A document for programs. Its addresses are relative to its own, to which a slash at the end adds a folder."""
    seen = replace(site, base=site.base or "/".join([".."] * (request.path.count("/") - 1)))
    return await _reference(service, request.path, partial(render, seen))


async def _page(
    service: Service, site: Site, others: Mapping[str, Handler], lock: asyncio.Lock, request: web.Request
) -> Answer | web.StreamResponse:
    name, tag = request.match_info.get("page", reference.OVERVIEW), _tag(request)
    if name not in reference.titles(site.features):
        return await not_found(site, request)
    answers: dict[tuple[str, str], bytes] = {}
    # One request asks for the examples' answers; the others wait for its page.
    async with lock:
        current = service.publication
        if current is not None and not current.find(("reference", f"{tag}/{name}")):
            day = current.snapshot.in_force.effective_date
            operations = await workers_of(service).run(lambda: openapi_json.operations(site, day), Queue.SMALL)
            shown = [one for one in operations if name in map(str.lower, one["tags"])]
            if name == reference.OVERVIEW:
                shown = [one for one in operations if one["operationId"] == reference.FIRST]
            answers = await _own_answers(shown, site, others, request)

        def render(day: date) -> Body:
            return html(_manual(site, day, tag).page(name, answers), *DOCS_HEADERS)

        return await _reference(service, f"{tag}/{name}", render)


async def _search(service: Service, site: Site, request: web.Request) -> Answer:
    tag = _tag(request)
    return await _reference(service, f"{tag} search", lambda day: Body(_manual(site, day, tag).index(), JSON))


def _tag(request: web.Request) -> str:
    """The language of /docs for this reader."""
    tag = LenientParams(request).language().primary
    return tag if tag in reference.LANGUAGES else DEFAULT


def _manual(site: Site, day: date, tag: str) -> Manual:
    return Manual(site, day, tag, [problem.body("…") for problem in EVERY_PROBLEM])


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
        return Answer(
            await workers_of(service).run(lambda: render(moscow_day(service.clock())), Queue.SMALL), REFERENCE
        )
    day = current.snapshot.in_force.effective_date
    body = await rendered(service, current, ("reference", name), lambda: render(day))
    return Answer(body, REFERENCE)


FEATURE = Feature("docs", routes, needs=("site",))
