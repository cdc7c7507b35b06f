"""/docs: the document as one page without scripts, written from the same table and schemas."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from http import HTTPStatus
from typing import Any

import msgspec
from markupsafe import Markup, escape

from ratesvc.render import widget
from ratesvc.render.json import EVERY_PROBLEM, PROBLEMS, Problem, encode
from ratesvc.render.openapi import about, document, examples, parameters
from ratesvc.render.openapi.route import EMPTY, PAGE, PROBLEM, Answer, Route
from ratesvc.render.openapi.routes import ROUTES, TAGS

Part = dict[str, Any]

_REFUSALS = {PROBLEM: "", PAGE: "Errors come as a page for people.", EMPTY: "Errors have an empty body."}


def _coded(text: str) -> Markup:
    """Words between back quotes as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 -- escaped just here


@dataclass(frozen=True, slots=True)
class Field:
    """One line of a table: a parameter, or a field of an answer."""

    name: str
    kind: str
    needed: bool
    text: str


@dataclass(frozen=True, slots=True)
class Shape:
    """What an answer looks like: an example, and its fields where it is JSON."""

    media: str
    example: str
    fields: tuple[Field, ...]


def page(site: widget.Site, day: date) -> str:
    """The page; `day` is one whose rates are held, so that every example works."""
    described = msgspec.json.decode(document(site, day))["components"]
    sections = {tag: [_shown(route, day, site, described) for route in ROUTES if route.tag == tag] for tag in TAGS}
    return widget.page(
        "docs.html", coded=_coded, site=site, about=about(), tags=TAGS, sections=sections, problems=_problems()
    )


def example_path(route: Route, day: date, site: widget.Site) -> str:
    """What curl asks for."""
    return route.example.replace("{day}", day.isoformat()).replace("{base}", site.public_url)


def _shown(route: Route, day: date, site: widget.Site, described: Part) -> Part:
    return {
        "route": route,
        "parameters": [_parameter(key, described) for key in route.parameters],
        "url": site.public_url + example_path(route, day, site),
        "shapes": [_shape(answer, described["schemas"]) for answer in route.answers],
        "statuses": [_status(status) for status in _statuses(route)],
        "problems": sorted(PROBLEMS[kind].slug for kind in route.problems if route.refusal == PROBLEM),
        "refusal": _REFUSALS[route.refusal],
    }


def _statuses(route: Route) -> Iterator[int]:
    found = {200, 405, *(PROBLEMS[kind].status for kind in route.problems)}
    yield from sorted(found | ({304} if route.kept else set()) | ({503} if route.down else set()))


def _status(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase}"


def _parameter(key: str, described: Part) -> Field:
    shown = described["parameters"][parameters.component(key)]
    return Field(shown["name"], _kind(shown["schema"]), shown["required"], shown["description"])


def _kind(schema: Part) -> str:
    """A schema in a few words."""
    schema = schema["anyOf"][0] if "anyOf" in schema else schema
    default = f"; {schema['default']} by default" if "default" in schema else ""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "const" in schema:
        return msgspec.json.encode(schema["const"]).decode()
    if "enum" in schema:
        return " | ".join(schema["enum"]) + default
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    words = [str(schema.get("format", kind)) if kind == "string" else kind for kind in kinds]
    return " or ".join(words) + default


def _shape(answer: Answer, shapes: Part) -> Shape:
    if answer.schema not in examples():
        return Shape(answer.media, answer.example, ())
    text = msgspec.json.format(bytes(examples()[answer.schema]), indent=2).decode()
    return Shape(answer.media, text, tuple(_fields(shapes[answer.schema])))


def _fields(schema: Part) -> Iterator[Field]:
    for name, part in schema["properties"].items():
        yield Field(name, _kind(part), name in schema["required"], part.get("description", ""))


def _problems() -> list[Part]:
    return [
        {
            "problem": problem,
            "status": _status(problem.status),
            "example": _example(problem),
        }
        for problem in EVERY_PROBLEM
    ]


def _example(problem: Problem) -> str:
    shown = examples().get(problem.slug) or encode(problem.body("…"))
    return msgspec.json.format(bytes(shown), indent=2).decode()
