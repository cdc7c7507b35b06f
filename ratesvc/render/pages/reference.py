"""The contract of our API, ratesvc/openapi.yaml: /openapi.json for programs, and /docs for people.

The contract is English. locales/reference/ru.po translates each of its sentences that /docs shows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date
from functools import cache, partial
from http import HTTPStatus
from importlib.resources import files
from typing import Any

import msgspec
from markupsafe import Markup, escape

from ratesvc import __version__
from ratesvc.render import page as pages
from ratesvc.render.json import EVERY_PROBLEM, PROBLEM_JSON, encode
from ratesvc.render.language import DEFAULT, Language, catalogue, language_or_default
from ratesvc.render.page import Site

Part = dict[str, Any]

LANGUAGES = (DEFAULT, "ru")
MOST_LINES = 60
HOST, DAY = b"http://localhost:8080", re.compile(rb'(?<=[/=])2022-11-18|(?<="example":")2022-11-18')
"""What the file's requests say. A service puts its own address and a day whose rates it holds in their place."""


def contract() -> Part:
    """The file as it stands. Keeping it would take a megabyte."""
    whole: Part = msgspec.json.decode(_as_json())
    return whole


@cache
def _as_json() -> bytes:
    """The file as JSON, which is read in a twentieth of the time."""
    return encode(msgspec.yaml.decode(files("ratesvc").joinpath("openapi.yaml").read_bytes()))


def document(site: Site, day: date) -> bytes:
    """/openapi.json. `day` is one whose rates are held, so that the examples work."""
    whole, own_address = contract(), encode(site.public_url)[1:-1]
    whole["info"]["version"] = __version__
    return DAY.sub(day.isoformat().encode(), encode(whole).replace(HOST, own_address))


def query_parameters(path: str) -> dict[str, Part]:
    """The query parameters of an address, by name."""
    return _query_parameters()[path]


@cache
def _query_parameters() -> dict[str, dict[str, Part]]:
    whole = contract()
    found = {
        path: [resolved(one, whole) for one in methods["get"].get("parameters", ())]
        for path, methods in whole["paths"].items()
    }
    return {path: {one["name"]: one for one in ones if one["in"] == "query"} for path, ones in found.items()}


def operations(site: Site, day: date) -> list[Part]:
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
    """The shared component that a reference names, the first of several; anything else as it is."""
    part = part["anyOf"][0] if "anyOf" in part else part
    if "$ref" not in part:
        return part
    _, _, kind, name = part["$ref"].split("/")
    found: Part = whole["components"][kind][name]
    return found


def tag_of(language: Language) -> str:
    """The language of /docs for a reader of this language."""
    return language.locale.language if language.locale.language in LANGUAGES else DEFAULT


def page(site: Site, day: date, tag: str, answers: Mapping[tuple[str, str], bytes]) -> str:
    """/docs in one of our LANGUAGES. `day` is one whose rates are held, so that every example works.

    `answers` by operationId and media type stand in place of the contract's examples.
    """
    found, whole, sentences = operations(site, day), contract(), catalogue(f"reference/{tag}")

    def t(text: str) -> str:
        return sentences.get(text, text)

    sections = [(tag, [one for one in found if tag["name"] in one["tags"]]) for tag in whole["tags"]]
    shown = {slug: example["value"] for slug, example in whole["components"]["examples"].items()}
    problems = [(problem, shown.get(problem.slug) or problem.body("…")) for problem in EVERY_PROBLEM]
    return pages.page(
        "docs.html",
        site=site,
        tag=tag,
        languages=[language_or_default(one) for one in LANGUAGES],
        t=t,
        about=whole["info"]["description"],
        sections=sections,
        problems=problems,
        answers=answers,
        schema=partial(resolved, whole=whole),
        kind=partial(_kind, t=t),
        coded=_coded,
        indented=_indented,
        clipped=_clipped,
        refusals=partial(_refusals, t=t),
        phrase=_phrase,
    )


def _coded(text: str) -> Markup:
    """Words between back quotes as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 -- escaped just here


def _indented(example: Any) -> str:
    text = example if isinstance(example, bytes) else encode(example)
    return _clipped(msgspec.json.format(text, indent=2).decode())


def _clipped(text: str) -> str:
    """The first lines, which are enough for an example."""
    lines = text.splitlines()
    return "\n".join(lines if len(lines) <= MOST_LINES else [*lines[:MOST_LINES], "…"])


def _phrase(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase}"


def _refusals(operation: Part, t: Callable[[str], str]) -> tuple[list[str], str]:
    """The problems of an address, and how its errors look where they are no problem documents."""
    answers = [answer for status, answer in operation["responses"].items() if status not in (200, 304, 405)]
    contents = [answer.get("content", {}) for answer in answers]
    problems = {slug for content in contents for slug in content.get(PROBLEM_JSON, {}).get("examples", ())}
    if any("text/html" in content for content in contents):
        return sorted(problems), t("Errors come as a page for people.")
    return sorted(problems), "" if all(contents) else t("Errors have an empty body.")


def _kind(schema: Part, t: Callable[[str], str]) -> str:
    """A schema in a few words; `t` translates them."""
    schema = schema["anyOf"][0] if "anyOf" in schema else schema
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "const" in schema:
        return encode(schema["const"]).decode()
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    words = [str(schema.get("format", kind)) if kind == "string" else kind for kind in kinds]
    kind = " | ".join(schema["enum"]) if "enum" in schema else t(" or ").join(words)
    if "default" not in schema:
        return kind
    return t("{kind}; {default} by default").format(kind=kind, default=schema["default"])
