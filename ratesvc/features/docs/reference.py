"""The pages of /docs: prose, the contract of our API by its tags, its problems, and an index of them for the search.

The contract is English. locales/reference/ru.po translates each of its sentences that /docs shows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from functools import cache
from html import unescape
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec
from markupsafe import Markup, escape

from ratesvc.features.docs.openapi_json import operations
from ratesvc.features.site import page as pages
from ratesvc.features.site.language import language_or_default
from ratesvc.render.json import PROBLEM_JSON, encode
from ratesvc.render.language import DEFAULT, catalogue
from ratesvc.render.openapi import Part, Site, contract, resolved

LANGUAGES = (DEFAULT, "ru")
MOST_LINES = 60
OVERVIEW, PROBLEMS = "", "problems"
FIRST = "getUnitRate"
"""The example at the beginning."""
PROSE = {"api": "Using the API"}
"""The pages from docs/*.md, with their titles."""

_SECTION = re.compile(r'<h([123]) id="([^"]+)">(.*?)</h\1>(.*?)(?=<h[123] id=|\Z)', re.DOTALL)
_ALSO = re.compile(r"<!-- search: (.*?) -->")
_LEFT_OUT = re.compile(r"<pre\b.*?</pre>|<[^>]*>", re.DOTALL)


class Section(NamedTuple):
    """A part of a page under one heading as plain words, and other words for the same that people search for."""

    address: str
    title: str
    text: str
    also: str


@cache
def titles(features: tuple[str, ...]) -> dict[str, str]:
    """The title of each page in English, by the end of its address."""
    tags = [tag["name"] for tag in contract(features)["tags"]]
    return {OVERVIEW: "API reference", **PROSE, **{tag.lower(): tag for tag in tags}, PROBLEMS: "Problems"}


class Manual:
    """/docs in one of our LANGUAGES. `day` is one whose rates are held, so that every example works."""

    def __init__(self, site: Site, day: date, tag: str, problems: Sequence[Part]) -> None:
        self._site, self._tag, self._sentences = site, tag, catalogue(f"reference/{tag}")
        self._contract, self._operations = contract(site.features), operations(site, day)
        shown = {one["value"]["type"]: one["value"] for one in self._contract["components"]["examples"].values()}
        self._problems = [shown.get(problem["type"], problem) for problem in problems]

    def page(self, name: str, answers: Mapping[tuple[str, str], bytes]) -> str:
        """A page. The `answers` by operationId and media type stand in place of the contract's examples."""
        main = self._main(name, answers)
        first, *others = sections(main, "")
        return pages.page(
            "docs/docs.html",
            **self._shared(),
            name=name,
            main=Markup(main),  # noqa: S704 -- our own template, whose values are escaped
            about=first.text.partition(". ")[0].removesuffix(".") + ".",
            here=others if name else [],
            words=language_or_default(self._tag),
            uis=[(language_or_default(tag), self._address(name, tag)) for tag in LANGUAGES],
        )

    def index(self) -> bytes:
        """All sections of all pages as JSON, for the search."""
        found = (sections(self._main(name, {}), self._address(name)) for name in titles(self._site.features))
        return encode([list(section) for part in found for section in part])

    def _main(self, name: str, answers: Mapping[tuple[str, str], bytes]) -> str:
        if name in PROSE:
            from ratesvc.features.docs import prose  # noqa: PLC0415 -- not needed for the start

            return prose.content(name, self._site, self._tag)
        template = {OVERVIEW: "overview", PROBLEMS: "problems"}.get(name, "tag")
        return pages.page(
            f"docs/{template}.html",
            **self._shared(),
            contract=self._contract,
            name=name,
            prose=PROSE,
            first=next(one for one in self._operations if one["operationId"] == FIRST),
            operations=self._operations,
            problems=self._problems,
            answers=answers,
            schema=lambda part: resolved(part, self._contract),
            kind=self._kind,
            coded=_coded,
            indented=_indented,
            clipped=_clipped,
            refusals=self._refusals,
            http_status=HTTPStatus,
        )

    def _shared(self) -> dict[str, Any]:
        names = titles(self._site.features)
        return {"site": self._site, "tag": self._tag, "t": self._t, "titles": names, "address": self._address}

    def _t(self, text: str) -> str:
        return self._sentences.get(text, text)

    def _address(self, name: str, tag: str = "") -> str:
        return f"{self._site.public_url}/docs{name and f'/{name}'}?lang={tag or self._tag}"

    def _refusals(self, operation: Part) -> tuple[list[str], str]:
        """The problems of an address, and how its errors look where they are no problem documents."""
        answers = [answer for status, answer in operation["responses"].items() if status not in (200, 304, 405)]
        contents = [answer.get("content", {}) for answer in answers]
        problems = {slug for content in contents for slug in content.get(PROBLEM_JSON, {}).get("examples", ())}
        if any("text/html" in content for content in contents):
            return sorted(problems), self._t("Errors come as a page for people.")
        return sorted(problems), "" if all(contents) else self._t("Errors have an empty body.")

    def _kind(self, schema: Part) -> str:
        """A schema in a few words."""
        schema = schema["anyOf"][0] if "anyOf" in schema else schema
        if "$ref" in schema:
            return str(schema["$ref"]).rpartition("/")[2]
        if "const" in schema:
            return encode(schema["const"]).decode()
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        words = [str(schema.get("format", kind)) if kind == "string" else kind for kind in kinds]
        kind = " | ".join(schema["enum"]) if "enum" in schema else self._t(" or ").join(words)
        if "default" not in schema:
            return kind
        return self._t("{kind}; {default} by default").format(kind=kind, default=schema["default"])


def sections(main: str, address: str) -> Iterator[Section]:
    """The parts of a page; the first is its beginning."""
    for found in _SECTION.finditer(main):
        title, text = (" ".join(unescape(_LEFT_OUT.sub(" ", part)).split()) for part in found.group(3, 4))
        yield Section(f"{address}#{found[2]}", title, text, " ".join(_ALSO.findall(found[4])))


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
