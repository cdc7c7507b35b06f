"""The contract of our API, ratesvc/openapi.yaml: /openapi.json for programs, and /docs for people."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from typing import Any

import msgspec
from markupsafe import Markup, escape

from ratesvc import __version__
from ratesvc.render import widget
from ratesvc.render.json import EVERY_PROBLEM, PROBLEM_JSON, Problem, encode

Part = dict[str, Any]

HOST, DAY = b"http://localhost:8080", b"2022-11-18"
"""What the file's examples say. A service puts its own address and a day whose rates it holds in their place."""


@cache
def contract() -> Part:
    """The file as it stands."""
    return msgspec.yaml.decode(files("ratesvc").joinpath("openapi.yaml").read_bytes(), type=Part)


def document(site: widget.Site, day: date) -> bytes:
    """/openapi.json. `day` is one whose rates are held, so that the examples work."""
    whole = {**contract(), "info": {**contract()["info"], "version": __version__}}
    own_address = encode(site.public_url)[1:-1]
    return encode(whole).replace(HOST, own_address).replace(DAY, day.isoformat().encode())


@dataclass(frozen=True, slots=True)
class Field:
    """One line of a table: a parameter, or a field of an answer."""

    name: str
    kind: str
    needed: bool
    text: str


@dataclass(frozen=True, slots=True)
class Shape:
    """One media type of an answer: an example, and its fields where it is JSON."""

    media: str
    example: str
    fields: tuple[Field, ...]


def operations(site: widget.Site, day: date) -> list[Part]:
    """Every address with its `path`, its parameters and its responses by status, references followed."""
    whole: Part = msgspec.json.decode(document(site, day))
    return [
        {
            **methods["get"],
            "path": path,
            "parameters": [resolved(one, whole) for one in methods["get"].get("parameters", ())],
            "responses": {int(status): resolved(one, whole) for status, one in methods["get"]["responses"].items()},
        }
        for path, methods in whole["paths"].items()
    ]


def resolved(part: Part, whole: Part) -> Part:
    """The shared component that a reference names; anything else as it is."""
    if "$ref" not in part:
        return part
    _, _, kind, name = part["$ref"].split("/")
    found: Part = whole["components"][kind][name]
    return found


def page(site: widget.Site, day: date) -> str:
    """/docs, a page without scripts. `day` is one whose rates are held, so that every example works."""
    found = operations(site, day)
    sections = [(tag, [_shown(one) for one in found if tag["name"] in one["tags"]]) for tag in contract()["tags"]]
    problems = [_problem(problem) for problem in EVERY_PROBLEM]
    about = contract()["info"]["description"]
    return widget.page("docs.html", coded=_coded, site=site, about=about, sections=sections, problems=problems)


def _coded(text: str) -> Markup:
    """Words between back quotes as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 -- escaped just here


def _shown(operation: Part) -> Part:
    """What the page's template shows of one address."""
    answers = operation["responses"]
    refusals = [answer for status, answer in answers.items() if status not in (200, 304, 405)]
    problems = [answer["content"][PROBLEM_JSON] for answer in refusals if PROBLEM_JSON in answer.get("content", {})]
    return {
        "operation": operation,
        "parameters": [_parameter(one) for one in operation["parameters"]],
        "shapes": [_shape(media, content) for media, content in answers[200]["content"].items()],
        "statuses": [_status(status) for status in answers],
        "problems": sorted({name for problem in problems for name in problem["examples"]}),
        "refusal": _refusal(refusals),
    }


def _refusal(refusals: list[Part]) -> str:
    """How errors look where they are no problem documents."""
    if any("text/html" in answer.get("content", {}) for answer in refusals):
        return "Errors come as a page for people."
    return "" if all("content" in answer for answer in refusals) else "Errors have an empty body."


def _status(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase}"


def _parameter(described: Part) -> Field:
    needed = described.get("required", False)
    return Field(described["name"], _kind(described["schema"]), needed, described["description"])


def _kind(schema: Part) -> str:
    """A schema in a few words."""
    schema = schema["anyOf"][0] if "anyOf" in schema else schema
    default = f"; {schema['default']} by default" if "default" in schema else ""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "const" in schema:
        return encode(schema["const"]).decode()
    if "enum" in schema:
        return " | ".join(schema["enum"]) + default
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    words = [str(schema.get("format", kind)) if kind == "string" else kind for kind in kinds]
    return " or ".join(words) + default


def _shape(media: str, content: Part) -> Shape:
    schema = resolved(content.get("schema", {}), contract())
    if "examples" not in schema:
        return Shape(media, content.get("example", ""), ())
    return Shape(media, _indented(schema["examples"][0]), tuple(_fields(schema)))


def _fields(schema: Part) -> Iterator[Field]:
    for name, part in schema["properties"].items():
        yield Field(name, _kind(part), name in schema["required"], part.get("description", ""))


def _problem(problem: Problem) -> Part:
    examples = contract()["components"]["examples"]
    shown = examples[problem.slug]["value"] if problem.slug in examples else problem.body("…")
    return {"problem": problem, "status": _status(problem.status), "example": _indented(shown)}


def _indented(example: Any) -> str:
    return msgspec.json.format(encode(example), indent=2).decode()
