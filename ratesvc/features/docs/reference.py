"""/docs: the contract of our API for people.

The contract is English. locales/reference/ru.po translates each of its sentences that /docs shows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import partial
from http import HTTPStatus
from typing import Any

import msgspec
from markupsafe import Markup, escape

from ratesvc.features.docs import guides
from ratesvc.features.docs.guides import LANGUAGES
from ratesvc.features.docs.openapi import operations
from ratesvc.features.site import page as pages
from ratesvc.features.site.language import Language, language_or_default
from ratesvc.render.contract import Part, Site, contract, resolved
from ratesvc.render.json import PROBLEM_JSON, encode
from ratesvc.render.language import DEFAULT, catalogue

MOST_LINES = 60


def tag_of(language: Language) -> str:
    """The language of /docs for a reader of this language."""
    return language.primary if language.primary in LANGUAGES else DEFAULT


def page(site: Site, day: date, tag: str, answers: Mapping[tuple[str, str], bytes], problems: Sequence[Part]) -> str:
    """/docs in one of our LANGUAGES. `day` is one whose rates are held, so that every example works.

    `answers` by operationId and media type stand in place of the contract's examples, which also show `problems`.
    """
    whole, sentences = contract(site.features), catalogue(f"reference/{tag}")
    described = operations(site, day)

    def t(text: str) -> str:
        return sentences.get(text, text)

    sections = [(tag, [each for each in described if tag["name"] in each["tags"]]) for tag in whole["tags"]]
    shown = {example["value"]["type"]: example["value"] for example in whole["components"]["examples"].values()}
    return pages.page(
        "docs/docs.html",
        site=site,
        tag=tag,
        languages=list(map(language_or_default, LANGUAGES)),
        t=t,
        about=whole["info"]["description"].splitlines(),
        sections=sections,
        guides={name: list(guides.sections(name, site, tag)) for name in guides.GUIDES},
        problems=[shown.get(problem["type"], problem) for problem in problems],
        answers=answers,
        schema=partial(resolved, whole=whole),
        kind=partial(_kind, t=t),
        coded=_coded,
        indented=_indented,
        clipped=_clipped,
        refusals=partial(_refusals, t=t),
        http_status=HTTPStatus,
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
