"""OpenAPI 3.1: what this service answers, for programs; `page` shows the same to people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

from ratesvc import __version__
from ratesvc.render.json import PROBLEMS, WRONG_METHOD, Problem, encode
from ratesvc.render.openapi import parameters
from ratesvc.render.openapi.route import PAGE, PROBLEM, Answer, Kind, Route
from ratesvc.render.openapi.routes import ROUTES, TAGS
from ratesvc.render.openapi.schemas import component as schema
from ratesvc.render.openapi.schemas import schemas
from ratesvc.render.widget import Site

Part = dict[str, Any]

_ABOUT = (
    "The Bank of Russia's official exchange rates, exact to the last digit. Numbers are decimal literals: read them "
    "as decimals, not as binary floats. Every address is read by GET or HEAD from any site, without a key. Unknown, "
    "repeated and malformed parameters under /v1 are refused; `utm_*` and `_` are tolerated everywhere. Errors are "
    "problem documents (RFC 9457) and never kept by caches; keep what has an ETag and ask again with If-None-Match."
)
_WHEN = {
    304: "Not modified: what If-None-Match names is still right.",
    400: "A parameter is unknown, repeated or malformed; the text says which and what it takes.",
    404: "There is no such answer; `type` says why.",
    405: "Another method than GET, HEAD and OPTIONS.",
    501: "What this service, or its installation, does not do; the text says what would.",
    503: "Not answerable yet; ask again after Retry-After seconds.",
}


def document(site: Site, day: date) -> bytes:
    """The whole document as JSON. `day` is one whose rates are held, for the examples."""
    return encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "ratesvc", "version": __version__, "description": _ABOUT, "license": _license()},
            "servers": [{"url": site.public_url}],
            "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
            "paths": {route.path: {"get": _operation(route)} for route in ROUTES},
            "components": {
                "parameters": parameters.components(day.isoformat(), site.public_url),
                "headers": _HEADERS,
                "responses": _responses(),
                "schemas": {**schemas(examples()), "Document": {"type": "object", "required": ["openapi", "paths"]}},
                "examples": {problem.slug: {"value": examples()[problem.slug]} for problem in _problems()},
            },
        }
    )


def about() -> str:
    """What holds for every address."""
    return _ABOUT


@cache
def examples() -> Mapping[str, msgspec.Raw]:
    """Bodies as they may be answered, by the name of a schema or of a problem; every digit as it stands there."""
    text = files("ratesvc.render").joinpath("assets", "examples.json").read_bytes()
    return msgspec.json.decode(text, type=dict[str, msgspec.Raw])


def _license() -> Part:
    return {"name": "MIT", "identifier": "MIT"}


def _problems() -> Iterable[Problem]:
    return (*PROBLEMS.values(), WRONG_METHOD)


_HEADERS: Part = {
    "ETag": {
        "description": "A strong validator of these bytes, the same on every replica.",
        "required": True,
        "schema": {"type": "string", "pattern": '^"[0-9a-f]{24}(?:-br|-gzip)?"$'},
    },
    "ETagOfRates": {
        "description": "The same, where there are rates to show.",
        "required": False,
        "schema": {"type": "string", "pattern": '^"[0-9a-f]{24}(?:-br|-gzip)?"$'},
    },
    "Cache-Control": {
        "description": "Never beyond the next change: the publication that is due, or Moscow midnight.",
        "required": True,
        "schema": {"type": "string"},
    },
    "Retry-After": {
        "description": "Seconds.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[1-9][0-9]*$"},
    },
    "Allow": {"description": "What is answered.", "required": True, "schema": {"type": "string"}},
}


def _headers(*names: str, neutral: bool = False) -> Part:
    return {name: {"$ref": f"#/components/headers/{name}{'OfRates' * (neutral and name == 'ETag')}"} for name in names}


def _operation(route: Route) -> Part:
    return {
        "operationId": route.name,
        "tags": [route.tag],
        "summary": route.summary,
        "description": route.text,
        "parameters": [{"$ref": f"#/components/parameters/{parameters.component(key)}"} for key in route.parameters],
        "responses": _answers(route),
    }


def _answers(route: Route) -> Part:
    """By status: the good answer, and references to those that many routes share."""
    named = {"304": _shared("NotModified")} if route.kept else {}
    named |= {str(status): _shared(_name(status, kinds, route.refusal)) for status, kinds in by_status(route).items()}
    if route.down:
        content = _content(Answer(route.down, _schema_of(route, route.down)))
        named["503"] = {"description": _WHEN[503], "headers": _error_headers(503), "content": content}
    good = {
        "description": route.summary,
        "headers": _headers("Cache-Control", *(("ETag",) if route.kept else ()), neutral=route.neutral),
        "content": {media: part for answer in route.answers for media, part in _content(answer).items()},
    }
    return {"200": good, **dict(sorted({**named, "405": _shared(_name(405, ()))}.items()))}


def by_status(route: Route) -> dict[int, tuple[Kind, ...]]:
    """The route's problems, those with the same status together."""
    kinds = sorted(route.problems, key=lambda kind: PROBLEMS[kind].slug)
    statuses = sorted({PROBLEMS[kind].status for kind in kinds})
    return {status: tuple(kind for kind in kinds if PROBLEMS[kind].status == status) for status in statuses}


def _schema_of(route: Route, media: str) -> str:
    return next((answer.schema for answer in route.answers if answer.media == media), "")


def _content(answer: Answer) -> Part:
    if answer.media == "image/png":
        return {answer.media: {}}  # bytes have no schema
    if answer.schema:
        return {answer.media: {"schema": schema(answer.schema)}}
    shown = {"example": answer.example} if answer.example else {}
    return {answer.media: {"schema": {"type": "string"}, **shown}}


def _shared(name: str) -> Part:
    return {"$ref": f"#/components/responses/{name}"}


def _name(status: int, kinds: Iterable[Kind], refusal: str = PROBLEM) -> str:
    if refusal != PROBLEM:
        return f"{status}.{'page' if refusal == PAGE else 'empty'}"
    return ".".join([str(status), *(PROBLEMS[kind].slug for kind in kinds)])


def _responses() -> Part:
    """Every answer that routes share, each once."""
    found: Part = {"NotModified": {"description": _WHEN[304], "headers": _headers("Cache-Control", "ETag")}}
    for route in ROUTES:
        for status, kinds in by_status(route).items():
            found[_name(status, kinds, route.refusal)] = _refusal(route, status, kinds)
    found[_name(405, ())] = _problem(405, [WRONG_METHOD])
    return found


def _refusal(route: Route, status: int, kinds: Iterable[Kind]) -> Part:
    if route.refusal == PROBLEM:
        return _problem(status, [PROBLEMS[kind] for kind in kinds])
    content = {"content": _content(Answer(route.refusal))} if route.refusal else {}
    return {"description": _WHEN[status], "headers": _error_headers(status), **content}


def _problem(status: int, problems: Iterable[Problem]) -> Part:
    kinds = {"properties": {"type": {"enum": [problem.type for problem in problems]}, "status": {"const": status}}}
    shown = {problem.slug: {"$ref": f"#/components/examples/{problem.slug}"} for problem in problems}
    return {
        "description": _WHEN[status],
        "headers": _error_headers(status),
        "content": {PROBLEM: {"schema": {"allOf": [schema("Problem"), kinds]}, "examples": shown}},
    }


def _error_headers(status: int) -> Part:
    return _headers("Cache-Control", *{503: ("Retry-After",), 405: ("Allow",)}.get(status, ()))
