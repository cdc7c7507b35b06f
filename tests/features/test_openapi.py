"""The contract against the running service: every route, parameter, answer and example, and nothing else."""

from __future__ import annotations

import asyncio
import html
import inspect
import json
import os
import re
import sys
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import date
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import pytest
from conftest import Clock, Serve, Served, addresses, eventually, foreign
from jsonschema_rs import Draft202012Validator
from kit import cases
from kit.bank import Bank, sheet
from kit.dates import EVENING, FRIDAY, NOON, SATURDAY, THURSDAY
from kit.figures import with_key_rate, with_metals

from ratesvc.bank import admission
from ratesvc.bank.xml import UNKNOWN_PART
from ratesvc.domain.rates import FIRST_DAY, WITHDRAWAL, WITHDRAWN_BY_SERVICE, Revision
from ratesvc.features.docs import openapi_json, reference
from ratesvc.features.oembed.routes import OEMBED_SIZES
from ratesvc.features.ranges.unit_rates import MOST_POINTS
from ratesvc.features.rendering import Queue
from ratesvc.features.site import png
from ratesvc.features.site.page import FRAME_THEMES
from ratesvc.features.widget import card, releases, view
from ratesvc.installed import FEATURES
from ratesvc.render import openapi
from ratesvc.render.json import source_url
from ratesvc.render.language import TRANSLATIONS, catalogue
from ratesvc.render.openapi import Site
from ratesvc.web.problems import EVERY_PROBLEM, PROBLEMS

HOOKS = Path(__file__).parents[1].joinpath("schemathesis_hooks.py")
SITE = Site("https://rates.example/prefix", base="https://rates.example/prefix")
DOCUMENT: dict[str, Any] = json.loads(openapi_json.document(SITE, FRIDAY))
OPERATIONS = openapi_json.operations(SITE, FRIDAY)
PARAMETERS: dict[str, Any] = openapi.contract()["components"]["parameters"]

NO_API = {
    *("/v1", "/.well-known/api-catalog", "/llms.txt", "/favicon.ico", "/robots.txt", "/widget/preview"),
    *("/docs/{page}", "/docs/search.json"),
    *(f"/widget/{version}/{name}" for version, release in releases.releases().items() for name in release),
}
"""What browsers and pages fetch by themselves, and what describes the API to programs."""


ASKED = [question.split() for question in cases.questions("contract.txt")]
"""What each service is asked: its state, a path, and a query or what stands in the path."""
STREAMS = {one["path"] for one in OPERATIONS if "text/event-stream" in one["responses"][200]["content"]}


def address(path: str, asked: str, base: str) -> str:
    """The target of a request: the text replaces the path's variables, or follows the path."""
    return path.partition("{")[0] + asked.removeprefix("-").replace("{base}", base.replace("127.0.0.1", "localhost"))


async def got(served: Served, path: str, asked: str, **headers: str) -> tuple[int, Mapping[str, str], bytes]:
    """The answer, or the beginning of a stream."""
    if path not in STREAMS:
        return await served.get(asked, **headers)
    async with served.http.get(served.url + asked) as answer:
        return answer.status, answer.headers, await answer.content.readany()


def base(served: Served) -> str:
    return served.url.replace("127.0.0.1", "localhost")


def here(served: Served) -> list[dict[str, Any]]:
    """Every operation with examples that work on this service."""
    return openapi_json.operations(Site(base(served)), FRIDAY)


def resolved(part: Any) -> Any:
    """The document without references. Described objects are closed, so that an unknown field is an error."""
    if isinstance(part, list):
        return [resolved(one) for one in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        found: Any = DOCUMENT
        for name in part["$ref"].removeprefix("#/").split("/"):
            found = found[name.replace("~1", "/")]
        return resolved(found)
    whole = {name: resolved(one) for name, one in part.items()}
    closed = {"additionalProperties": False} if {"required", "properties"} <= whole.keys() else {}
    return {**whole, **closed}


def operation(path: str) -> dict[str, Any]:
    found: dict[str, Any] = resolved(DOCUMENT["paths"][path]["get"])
    return found


def wrong(schema: Any, value: Any) -> list[str]:
    checked = Draft202012Validator(schema, validate_formats=True)
    return [error.message for error in checked.iter_errors(value)]


def check(path: str, status: int, headers: Mapping[str, str], body: bytes) -> str:
    """Assert that an answer is as documented. Returns its status, media type and problem."""
    documented = operation(path)["responses"]
    assert str(status) in documented, (path, status, body[:300])
    answer = documented[str(status)]
    for name, header in answer["headers"].items():
        assert name in headers or not header["required"], (path, status, name)
        assert name not in headers or not wrong(header["schema"], headers[name])
    assert {"ETag", "Last-Modified", "Retry-After"} & set(headers) <= answer["headers"].keys()
    if "content" not in answer:
        assert not body
        return str(status)
    media = headers["Content-Type"].partition(";")[0]
    if media == "image/png":
        assert body.startswith(b"\x89PNG")
        return f"{status} {media}"
    schema = answer["content"][media]["schema"]
    value: Any = json.loads(body) if media.endswith(("/json", "+json")) else body.decode()
    assert not wrong(schema, value), (path, status)
    return f"{status} {media} {value['type']}" if "problem" in media else f"{status} {media}"


async def ask(served: Served, state: str) -> dict[str, str]:
    """The answers to all questions to a service in this state."""
    return {
        f"{state} {path} {asked}": check(path, *await got(served, path, address(path, asked, served.url)))
        for one, path, asked in ASKED
        if one == state
    }


def expected(path: str) -> set[str]:
    """All statuses, media types and problems of a route."""
    found = set()
    for status, answer in operation(path)["responses"].items():
        found |= set() if "content" in answer else {status}
        for media, content in answer.get("content", {}).items():
            problems = content.get("examples", ())
            found |= {f"{status} {media} urn:ratesvc:{slug}" for slug in problems} or {f"{status} {media}"}
    return found


def refused(path: str, asked: str) -> list[str]:
    """What the contract does not allow of what a request gives, in its path and in its query."""
    own, _, query = asked.removeprefix("-").partition("?")
    filled = re.fullmatch(re.sub(r"{(\w+)}", r"(?P<\1>.+)", path), path.partition("{")[0] + own)
    given = (filled.groupdict() if filled else {}) | dict(parse_qsl(query.replace("{base}", "http://localhost")))
    schemas = {one["name"]: one["schema"] for one in operation(path).get("parameters", ())}
    read = {
        name: int(text) if schemas[name].get("type") == "integer" else text
        for name, text in given.items()
        if name in schemas
    }
    return [error for name, value in read.items() for error in wrong(schemas[name], value)]


@pytest.fixture
async def whole(bank: Bank, serve_whole: Serve, clock: Clock) -> AsyncIterator[Served]:
    """A service with all of history and Saturday's announced sheet."""
    clock.moment = EVENING
    bank.publish(sheet(FIRST_DAY), sheet(THURSDAY), sheet(FRIDAY), sheet(SATURDAY))
    with_metals(bank, {THURSDAY: {1: "11310,1", 3: "5100"}, FRIDAY: {1: "11409,47", 3: "5009,28"}})
    with_key_rate(bank, {date(2026, 4, 20): "16.50", THURSDAY: "16.00"})
    async with serve_whole() as running:
        await eventually(lambda: running.service.publication and running.service.publication.snapshot.announced)
        await eventually(lambda: all(figures.columns for figures in running.service.figures.values()))
        yield running


@pytest.mark.slow
def test_the_document_is_valid() -> None:
    """OpenAPI 3.1: every reference leads somewhere, every component is used, and no parameter stands twice."""
    from openapi_spec_validator import OpenAPIV31SpecValidator, validate  # noqa: PLC0415 -- takes seconds

    validate(DOCUMENT, cls=OpenAPIV31SpecValidator)
    text = json.dumps(DOCUMENT)
    used = set(re.findall(r'"\$ref": "#/components/([^"]+)"', text))
    assert used == {f"{kind}/{name}" for kind, parts in DOCUMENT["components"].items() for name in parts}
    assert DOCUMENT["servers"] == [{"url": "https://rates.example/prefix"}]
    names = [part["get"]["operationId"] for part in DOCUMENT["paths"].values()]
    assert len(names) == len(set(names))
    for path, part in DOCUMENT["paths"].items():
        given = [parameter["$ref"] for parameter in part["get"].get("parameters", ()) if "$ref" in parameter]
        assert len(given) == len(set(given)), path


async def test_the_contract_has_every_route_and_nothing_else(serve: Serve) -> None:
    """The router, the contract and the tables of this test name the same addresses."""
    async with serve() as running:
        paths, others = addresses(running.service), foreign(running.service)
    assert others < paths
    assert paths > NO_API
    assert paths - others - NO_API == DOCUMENT["paths"].keys()
    for state in ("calm", "empty"):
        assert {path for one, path, _ in ASKED if one == state} == DOCUMENT["paths"].keys()
    assert {tag for one in OPERATIONS for tag in one["tags"]} == {tag["name"] for tag in DOCUMENT["tags"]}


OTHERS = ("ru", "USD", "EUR", "2", "today")
"""What may differ from the default where a parameter has a pattern only."""


def outside(schema: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
    """Values that a schema just allows, and values that it just refuses."""
    if "enum" in schema:
        return schema["enum"], ["zzz", ""]
    if "minimum" in schema:
        return [schema["minimum"], schema["maximum"]], [schema["minimum"] - 1, schema["maximum"] + 1, "1.0"]
    return ["2022-11-18", "today", "next"] if schema.get("format") == "day" else [], ["!"]


async def test_strict_handlers_obey_their_parameters(whole: Served) -> None:
    """They accept the values of the contract and no others, and at least one of them changes the answer."""
    ignored = set()
    for operation in here(whole):
        path, _, query = operation["x-example"].removeprefix(base(whole)).partition("?")
        asked = {part["name"]: part for part in operation["parameters"] if part["in"] == "query"}
        needed = "".join(f"{one}&" for one in query.split("&") if asked.get(one.partition("=")[0], {}).get("required"))
        is_strict = 400 in operation["responses"] and operation["path"] not in ("/oembed", *STREAMS)
        if is_strict:
            refusal = (await whole.get(f"{path}?{needed}zzzzzzzz=1"))[2].decode()
            known = {*refusal.partition("Known: ")[2].partition(".")[0].split(", ")} - {""}
            assert known == {*asked}, path
        for name, part in asked.items() if is_strict else ():
            rest = "".join(f"{one}&" for one in needed.split("&") if one and not one.startswith(f"{name}="))
            # Roubles have two kinds on the first day, of which there is a sheet.
            plain = (await whole.get(f"{path}?{rest}"))[2], (await whole.get(f"{path}?{rest}since=1992-07-01"))[2]
            allowed, refused = outside(part["schema"])
            found = set()
            for value in (*allowed, *refused, part.get("example", ""), *([] if allowed else OTHERS)):
                status, _, body = await whole.get(f"{path}?{rest}{name}={value}")
                if value in (*allowed, *refused):
                    assert (status == 400) != (value in allowed) or b"takes" not in body, (path, name, value)
                found |= {body} if status != 400 else set()
                if name == "roubles":
                    found.add((await whole.get(f"{path}?{rest}since=1992-07-01&{name}={value}"))[2])
            ignored |= set() if found - {*plain} else {f"{operation['path']} {name}"}
    # No schema makes a cursor, and no sheet was corrected: tests/features/archive has the tests.
    assert ignored - {"/v1/sheets after", "/v1/history.csv revisions"} == set(), (
        "the handlers do not read them, or no value of the contract shows what they do"
    )


def test_the_code_has_the_limits_and_lenient_values_of_the_contract() -> None:
    """Strict parameters are read from the contract; these are compared with it."""
    schemas = {name: part["schema"] for name, part in PARAMETERS.items()}
    lenient = {name: schema["anyOf"][0] for name, schema in schemas.items() if "anyOf" in schema}
    words = {
        "shown-theme": view.THEMES,
        "frame-theme": FRAME_THEMES,
        "card-theme": card.THEMES,
        "updown": view.UPDOWNS,
        "style": view.STYLES,
        "card-scale": png.SCALES,
        "ui": TRANSLATIONS,
        "spark": view.SPARKS,
        "layout": view.USUAL,
        "decimals": view.DECIMALS,
    }
    assert {name: lenient[name]["enum"] for name in words} == {name: list(one) for name, one in words.items()}
    assert set(re.findall(r"\w+", lenient["columns"]["pattern"])) == set(view.COLUMNS)
    assert lenient["heading"]["maxLength"] == view.LONGEST_HEADING
    assert lenient["href"]["maxLength"] == view.LONGEST_ADDRESS
    sizes = {"shown-width": view.WIDTHS, "shown-height": view.HEIGHTS, "maxwidth": OEMBED_SIZES}
    for name, size in sizes.items():
        assert (lenient[name]["minimum"], lenient[name]["maximum"] + 1) == (size.start, size.stop)
    assert schemas["density"]["enum"] == list(png.SCALES)
    assert f"{MOST_POINTS:,}" in DOCUMENT["paths"]["/v1/series"]["get"]["description"]
    assert f"{png.MOST_PIXELS:,}" in DOCUMENT["paths"]["/chart.png"]["get"]["description"]
    kinds = DOCUMENT["components"]["schemas"]["Problem"]["properties"]["type"]["anyOf"][0]["enum"]
    assert kinds == sorted(problem.body("")["type"] for problem in EVERY_PROBLEM)
    flags = {
        *re.findall(r'Finding\("(\w+)"', inspect.getsource(admission)),
        "released",
        WITHDRAWN_BY_SERVICE,
        UNKNOWN_PART,
        WITHDRAWAL,
    }
    assert DOCUMENT["components"]["schemas"]["Flag"]["anyOf"][0]["enum"] == sorted(flags)


@pytest.mark.nightly
async def test_embeddings_obey_their_parameters_and_no_others(whole: Served) -> None:
    """They refuse nothing, so each of their parameters must change the answer, and other parameters must not."""
    own = {
        one["path"]: {part["name"]: part["example"] for part in one["parameters"]}
        for one in OPERATIONS
        if one["tags"] == ["Widget"]
    }
    everything = {name: value for examples in own.values() for name, value in examples.items()}
    whole.service.history.hold([Revision(sheet(date(2026, 4, 22)), 1, whole.service.clock())])
    for path, own_examples in own.items():
        examples = {**everything, **own_examples}
        rest = address("", {"/oembed": "url={base}/embed"}.get(path, "style=inline"), whole.url)
        plain = (await whole.get(f"{path}?{rest}"))[2]
        changed = {
            name
            for name in examples.keys() - {"url", "format"}
            if (await whole.get(f"{path}?{name}={examples[name]}&{rest}"))[2] != plain
        }
        # Tomorrow's rates are there, so nothing is pending; the builder's code has it all the same.
        assert changed - {"pending"} == own_examples.keys() - {"url", "format", "pending"}, path


@pytest.mark.slow
async def test_every_documented_answer_occurs_and_is_as_documented(
    bank: Bank, whole: Served, serve: Serve, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Statuses, headers, media types, problem types and bodies of a calm, a loading and an empty service."""
    found = await ask(whole, "calm")
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "resvg_py", None)  # as where the extra is not installed
        found |= await ask(whole, "bare")
    with monkeypatch.context() as bounded:
        bounded.setattr("ratesvc.features.ranges.unit_rates.MOST_POINTS", 1)
        found |= await ask(whole, "short")
    with monkeypatch.context() as busy:
        busy.setattr("ratesvc.features.rendering.LONG_POINTS", 0)
        for queue in (Queue.LONG, Queue.PICTURES):
            busy.setattr(queue, "most", 0)
        found |= await ask(whole, "busy")
    witnessed: dict[str, set[str]] = {path: set() for path in DOCUMENT["paths"]}
    for path, asked in {path: asked for _, path, asked in reversed(ASKED) if f"calm {path} {asked}" in found}.items():
        target = address(path, asked, whole.url)
        async with whole.http.post(whole.url + target) as answer:
            witnessed[path].add(check(path, answer.status, answer.headers, await answer.read()))
        if "304" in expected(path):
            tag = (await whole.get(target))[1]["ETag"]
            witnessed[path].add(check(path, *await whole.get(target, If_None_Match=tag)))
    bank.documents = {FRIDAY: bank.documents[FRIDAY]}
    bank.series.clear()
    clock.moment = NOON
    async with serve(redis={"namespace": uuid.uuid4().hex}) as loading:
        await loading.ready()
        found |= await ask(loading, "loading")
    bank.documents.clear()
    bank.series.clear()
    async with serve(redis={"namespace": uuid.uuid4().hex}) as empty:
        await eventually(lambda: empty.service.telemetry.last_cycle)
        found |= await ask(empty, "empty")
    cases.check("contract.txt", found)
    for question, told in found.items():
        _, path, asked = question.split()
        witnessed[path].add(told)
        assert told[:3] != "200" or refused(path, asked) == [], question
    for path in DOCUMENT["paths"]:
        assert witnessed[path] == expected(path), path


@pytest.mark.nightly
async def test_schemathesis_finds_nothing(whole: Served, tmp_path: Path) -> None:
    """All checks, with valid and invalid requests. `RATESVC_QUESTIONS` is the number of requests to each route."""
    process = await asyncio.create_subprocess_exec(
        *(Path(sys.executable).with_name("st"), "--no-color", "run", f"{whole.url}/openapi.json", "--url", whole.url),
        *("--checks", "all", "--max-examples", os.environ.get("RATESVC_QUESTIONS", "30"), "--continue-on-failure"),
        *("--exclude-path", "/v1/events"),  # a stream: it has no end that `st` could wait for
        cwd=tmp_path,  # it leaves files behind
        env={**os.environ, "SCHEMATHESIS_HOOKS": HOOKS.stem, "PYTHONPATH": f"{HOOKS.parent}:{HOOKS.parents[1]}"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()


def test_examples_fit_their_schemas() -> None:
    """The examples of parameters, schemas and problems; problems have their own status, type and title."""
    parts = resolved(DOCUMENT["components"])
    for parameter in parts["parameters"].values():
        if "example" in parameter:
            assert not wrong(parameter["schema"], parameter["example"]), parameter["name"]
        # People write codes in small letters, too.
        is_code = not wrong({"type": "string"}, parameter.get("example")) and not wrong(parameter["schema"], "USD")
        assert not is_code or not wrong(parameter["schema"], "usd"), parameter["name"]
        if "default" in parameter["schema"]:
            assert not wrong(parameter["schema"], parameter["schema"]["default"])
    for name, schema in parts["schemas"].items():
        for example in schema.get("examples", ()):
            assert not wrong(schema, example), name
    for name in parts["schemas"].keys() - {"Rate", "OldRoubles", "Currency", "SheetRow", "Problem", "Document"}:
        assert parts["schemas"][name]["examples"], name
    for problem in PROBLEMS.values():
        value = parts["examples"][problem.slug]["value"]
        assert not wrong(parts["schemas"]["Problem"], value)
        facts = {name: value[name] for name in value.keys() - {"type", "title", "status", "detail"}}
        assert value == problem.body(value["detail"], facts)


def test_examples_of_answers_fit_their_schemas() -> None:
    """The Bank's page in them is that of their day."""
    for one in OPERATIONS:
        for content in one["responses"][200]["content"].values():
            example = content.get("example", {})
            assert not example or not wrong(resolved(content["schema"]), example), one["path"]
            if "source_url" in example:
                assert example["source_url"] == source_url(date.fromisoformat(example["effective_date"]))


async def articles(service: Served) -> dict[str, str]:
    """What the pages of /docs say about each address and problem, by operationId or the problem's name."""
    found: list[tuple[str, str]] = []
    for name in reference.titles(FEATURES):
        status, headers, body = await service.get(f"/docs/{name}".rstrip("/"))
        assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert "'unsafe" not in headers["Content-Security-Policy"]
        text = html.unescape(body.decode())
        found += re.findall(r'<article aria-labelledby="(\w+)">(.*?)</article>', text, re.DOTALL)
        identifiers = re.findall(r' id="([^"]+)"', text)
        assert len(identifiers) == len(set(identifiers))
    assert len(found) == len(dict(found))
    return dict(found)


async def test_the_examples_of_the_page_work(whole: Served) -> None:
    """Every curl command of /docs is answered as documented. What a page shows is the beginning of that answer.

    The page has every address, parameter, status and problem.
    """
    shown = 0
    pages = await articles(whole)
    assert {problem.slug for problem in PROBLEMS.values()} <= pages.keys()
    for one in here(whole):
        article, url = pages[one["operationId"]], one["x-example"]
        assert f"curl '<a href=\"{url}\">{url}</a>'" in article
        assert f"<code>GET {one['path']}</code>" in article
        named = [f'<th scope="row" role="rowheader"><code>{part["name"]}</code>' for part in one["parameters"]]
        named += [f'<span class="status">{status} ' for status in one["responses"]]
        assert [name for name in named if name not in article] == []
        status, headers, body = await got(whole, one["path"], url.removeprefix(base(whole)))
        assert status == 200, url
        assert check(one["path"], status, headers, body)
        media = {"application/json", "text/plain", "text/csv"} & one["responses"][200]["content"].keys()
        if media and "Service" not in one["tags"]:
            answer = (msgspec.json.format(body, indent=2) if "application/json" in media else body).decode()
            example, *others = re.findall(r'<pre tabindex="0">(.*?)</pre>', article, re.DOTALL)
            assert example.splitlines()[0] == answer.splitlines()[0]
            assert "\n".join(answer.splitlines()).startswith(example.removesuffix("…")), url
            assert example.endswith("…") == (len(answer.splitlines()) > reference.MOST_LINES)
            assert example not in others
            shown += 1
    assert shown == 24


def sentences(part: Mapping[str, Any]) -> Iterator[str]:
    """Those of an operation that /docs shows."""
    schemas = [content.get("schema", {}) for content in part["responses"][200]["content"].values()]
    found = [openapi.resolved(schema, DOCUMENT) for schema in schemas]
    described = [schema["properties"].values() for schema in found if "examples" in schema]
    yield from (part["summary"], part["description"])
    yield from (one["description"] for one in chain(part["parameters"], *described) if "description" in one)


def test_the_reference_is_translated() -> None:
    """locales/reference/ru.po has every sentence of the contract and of the page's template, and no other."""
    ours = files("ratesvc.features.docs")
    texts = [ours.joinpath("reference.py"), *ours.joinpath("templates").iterdir()]
    page = "".join(text.read_text("utf-8") for text in texts)
    said = {match[2] for match in re.finditer(r"""\b_?t\((["'])(.+?)\1\)""", page)}
    said |= {*reference.titles(FEATURES).values()}
    said |= {text for tag in DOCUMENT["tags"] for text in (tag["name"], tag["description"])}
    said |= {text for operation in OPERATIONS for text in sentences(operation)}
    said |= {*DOCUMENT["info"]["description"].splitlines(), *(problem.title for problem in EVERY_PROBLEM)}
    translated = catalogue("reference/ru")
    assert (said - translated.keys(), translated.keys() - said) == (set(), set()), "untranslated, and no longer said"


async def test_the_page_is_in_the_language_of_its_address(whole: Served) -> None:
    """Russian for every kind of Russian, English for everybody else."""
    for lang, tag in (("ru-RU", "ru"), ("de", "en"), ("", "en")):
        assert f'<html lang="{tag}">' in (await whole.get(f"/docs?lang={lang}"))[2].decode()


async def test_an_empty_service_describes_itself(serve: Serve) -> None:
    """Without a sheet the examples use today's date."""
    async with serve() as running:
        document = json.loads((await running.get("/openapi.json"))[2])
        assert document["components"]["parameters"]["path-date"]["example"] == "2026-04-24"
        # Relative to the document, so it holds behind a proxy that removes a prefix.
        for path, root in (("/openapi.json", "."), ("/openapi.json/", "..")):
            assert json.loads((await running.get(path))[2])["servers"] == [{"url": root}]
        for path, root in (("/.well-known/api-catalog", ".."), ("/.well-known/api-catalog/", "../..")):
            assert json.loads((await running.get(path))[2])["linkset"][0]["anchor"] == f"{root}/v1"
        assert (await running.get("/docs"))[0] == 200
