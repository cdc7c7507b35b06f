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

import msgspec
import pytest
from conftest import Clock, Serve, Served, addresses, eventually, foreign
from jsonschema_rs import Draft202012Validator
from kit.bank import Bank, sheet
from kit.dates import EVENING, FRIDAY, NOON, SATURDAY, THURSDAY
from kit.figures import with_key_rate, with_metals

from ratesvc.bank import admission
from ratesvc.bank.xml import UNKNOWN_PART
from ratesvc.domain.rates import FIRST_DAY, WITHDRAWAL, Revision
from ratesvc.features.docs import openapi_json, reference
from ratesvc.features.oembed.routes import OEMBED_SIZES
from ratesvc.features.ranges.unit_rates import MOST_POINTS
from ratesvc.features.rendering import Queue
from ratesvc.features.site import png
from ratesvc.features.site.page import FRAME_THEMES
from ratesvc.features.widget import card, releases, view
from ratesvc.installed import FEATURES
from ratesvc.render import openapi
from ratesvc.render.language import TRANSLATIONS, catalogue
from ratesvc.render.openapi import Site
from ratesvc.web.problems import EVERY_PROBLEM, PROBLEMS

HOOKS = Path(__file__).parents[1].joinpath("schemathesis_hooks.py")
SITE = Site("https://rates.example/prefix", base="https://rates.example/prefix")
DOCUMENT: dict[str, Any] = json.loads(openapi_json.document(SITE, FRIDAY))
OPERATIONS = openapi_json.operations(SITE, FRIDAY)
PARAMETERS: dict[str, Any] = openapi.contract()["components"]["parameters"]

SERIES, PERIODS = ("/v1/series", "/v1/series.csv"), ("/v1/periods", "/v1/periods.csv")
FIXED = (
    *("/health", "/livez", "/readyz", "/metrics", "/openapi.json", "/docs"),
    *("/widget/rates.js", "/widget/rates.d.ts", "/widget/converter.js", "/widget/manifest.json"),
)
NO_API = {
    *("/v1", "/.well-known/api-catalog", "/llms.txt", "/favicon.ico", "/robots.txt", "/widget/preview"),
    *("/docs/{page}", "/docs/search.json"),
    *(f"/widget/{version}/{name}" for version, release in releases.releases().items() for name in release),
}
"""What browsers and pages fetch by themselves, and what describes the API to programs."""


def split(requests: Mapping[str, str]) -> dict[str, list[str]]:
    """The requests to each path: a query, what stands in the path, or - for neither."""
    return {path: ["" if one == "-" else one for one in text.split()] for path, text in requests.items()}


# What answers each problem, and each 503 that is none; the moment is Friday evening, Saturday's sheet is announced.
CALM = split(
    {
        "/v1/rates": "?codes=USD ?quote_currency=USD ?code=1 ?codes=XQZ",
        "/v1/rates.csv": "- ?codes=USD&locale=ru&lang=de ?quote_currency=USD ?codes=1 ?quote_currency=XQZ",
        "/v1/rates/{date}.csv": "today.csv next.csv 2026-04-24.csv?revision=1 x.csv 2026-04-24.csv?codes=XQZ "
        "2026-04-24.csv?revision=2 2026-05-30.csv 1992-06-30.csv",
        "/v1/rates/{date}": "2026-04-24 today?lang=ru next 1992-07-02?quote_currency=USD 2026-04-24?revision=1 "
        "2026-02-30 2026-04-24?codes=XQZ "
        "2026-04-24?revision=2 2026-05-30 1992-06-30",
        "/v1/rates/{date}/{code}.txt": "2026-04-24/USD.txt next/USD.txt 2026-04-24/US.txt 2026-04-24/XQZ.txt "
        "2026-05-30/USD.txt "
        "1992-06-30/USD.txt 2026-04-24/USD.txt?revision=2",
        **dict.fromkeys(
            SERIES,
            "?codes=USD ?codes=USD&fill=daily&since=2026-04-20 ?codes=USD&group=year "
            "?codes=EUR,RUB&quote_currency=USD ?codes=USD&until=2026-05-30&fill=daily ?codes=XQZ "
            "?codes=USD&until=0001-01-01 ?codes=USD&since=0001-01-01&until=1992-06-30 ?codes=USD&since=2026-05-30 "
            "?codes=USD,EUR,CNY,GBP,JPY,CHF,KZT,CAD&fill=daily&since=1992-07-01",
        ),
        **dict.fromkeys(
            PERIODS,
            "?codes=USD&group=year&since=1992-07-01 ?codes=USD&group=week ?codes=EUR,RUB&quote_currency=USD "
            "?group=day ?codes=XQZ ?until=1992-06-30 ?since=2026-05-30",
        ),
        "/v1/convert": "?from=USD - ?amount=-0.5&from=USD&to=JPY&date=next ?from=USD&to=XQZ ?from=USD&date=2026-05-30 "
        "?from=USD&date=1992-06-30 ?from=USD&to=EUR,RUB&revision=1 ?from=USD&revision=2",
        "/v1/sheets": "- ?since=2026-04-23&until=next ?after=1 ?until=1992-06-30",
        "/v1/history.csv": "- ?codes=USD&since=2026-04-24 ?codes=1 ?codes=XQZ ?until=1992-06-30",
        "/v1/currencies": "?lang=ru ?lng=ru",
        "/v1/currencies/{code}": "USD rub XQZ US",
        "/v1/metals": "?lang=ru ?lng=ru",
        "/v1/metals.csv": "- ?locale=ru ?lng=ru",
        "/v1/key-rate": "- ?lang=ru",
        "/v1/key-rate/changes": "- ?lang=ru",
        **dict.fromkeys(("/v1/metals/{date}", "/v1/key-rate/{date}"), "2026-04-24 today next x 2026-05-30 1992-06-30"),
        "/chart.svg": "?codes=USD&since=2026-04-20 - ?codes=USD&width=1 ?codes=XQZ ?codes=USD&until=1992-06-30 "
        "?codes=USD&scale=indexed&theme=dark",
        "/chart.png": "?codes=USD&since=2026-04-20 - ?codes=USD&theme=auto ?codes=XQZ ?codes=USD&until=1992-06-30",
        **dict.fromkeys(
            ("/chart", "/chart/frame"),
            "- ?codes=USD,EUR&period=all ?period=x ?codes=XQZ ?until=1992-06-30 ?since=2026-04-20",
        ),
        "/rate": "- ?date=2026-04-24&lang=ru ?date=1 ?code=XQZ ?date=2026-05-30 ?date=1992-06-30",
        "/v1/events": "- ?codes=USD",
        "/": "- ?codes=XQZ&date=2026-05-30&lang=tlh",
        "/widget": "- ?date=2026-05-30 ?date=1992-06-30 ?style=link&shadow=1",
        **dict.fromkeys(
            ("/widget/rows.json", "/widget/nodes.json"), "- ?date=2026-05-30 ?date=1992-06-30 ?lang=ar&spark=7"
        ),
        **dict.fromkeys(
            ("/widget/frame", "/widget/card.svg", "/widget/card.png", "/embed"), "- ?date=2026-05-30 ?date=1992-06-30"
        ),
        "/oembed": "?url={base}/embed - ?url=http://elsewhere.example/ ?format=xml "
        "?url={base}/embed%3Fdate=2026-05-30 ?url={base}/embed%3Fdate=1992-06-30",
        **dict.fromkeys(FIXED, "-"),
    }
)
LOADING = split(
    {
        "/v1/rates/{date}": "2026-04-15 next",
        "/v1/rates/{date}.csv": "2026-04-15.csv",
        "/v1/rates/{date}/{code}.txt": "2026-04-15/USD.txt",
        **dict.fromkeys((*SERIES, *PERIODS, "/chart.svg", "/chart.png"), "?codes=USD ?codes=USD&until=next"),
        **dict.fromkeys(("/chart", "/chart/frame"), "- ?until=2026-04-15"),
        "/v1/convert": "?from=USD&date=2026-04-15",
        **dict.fromkeys(
            ("/rate", "/widget", "/widget/frame", "/widget/rows.json", "/widget/nodes.json", "/embed"),
            "?date=2026-04-15",
        ),
        **dict.fromkeys(("/v1/sheets", "/v1/history.csv"), "- ?since=next"),
        "/oembed": "?url={base}/embed%3Fdate=2026-04-15",
    }
)
EMPTY = split(
    {
        **dict.fromkeys(CALM, "-"),
        **dict.fromkeys(("/v1/rates", *SERIES, *PERIODS, "/chart.svg", "/chart.png"), "?codes=USD"),
        "/v1/convert": "?from=USD",
        "/v1/rates/{date}": "2026-04-24?codes=USD",
        "/v1/rates/{date}.csv": "2026-04-24.csv",
        "/v1/rates/{date}/{code}.txt": "2026-04-24/USD.txt next/USD.txt",
        "/v1/currencies/{code}": "USD",
        "/oembed": "?url={base}/embed",
    }
)
BUSY = {
    **dict.fromkeys(
        (*SERIES, *PERIODS, "/chart", "/chart/frame", "/chart.svg", "/chart.png", "/widget/card.png"),
        "?codes=GBP&since=2026-04-21",
    ),
    "/v1/sheets": "?since=2026-04-21",
    "/v1/history.csv": "?codes=GBP",
    "/v1/metals.csv": "?locale=de",
}
STREAMS = {one["path"] for one in OPERATIONS if "text/event-stream" in one["responses"][200]["content"]}


def address(path: str, asked: str, base: str) -> str:
    """The target of a request: the text replaces the path's variables, or follows the path."""
    return path.partition("{")[0] + asked.replace("{base}", base.replace("127.0.0.1", "localhost"))


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


def check(path: str, status: int, headers: Mapping[str, str], body: bytes) -> set[str]:
    """Assert that an answer is as documented. Returns its status, media type and problem type."""
    documented = operation(path)["responses"]
    assert str(status) in documented, (path, status, body[:300])
    answer = documented[str(status)]
    for name, header in answer["headers"].items():
        assert name in headers or not header["required"], (path, status, name)
        assert name not in headers or not wrong(header["schema"], headers[name])
    assert {"ETag", "Last-Modified", "Retry-After"} & set(headers) <= answer["headers"].keys()
    if "content" not in answer:
        assert not body
        return {str(status)}
    media = headers["Content-Type"].partition(";")[0]
    if media == "image/png":
        assert body.startswith(b"\x89PNG")
        return {str(status), f"{status} {media}"}
    schema = answer["content"][media]["schema"]
    value: Any = json.loads(body) if media.endswith(("/json", "+json")) else body.decode()
    assert not wrong(schema, value), (path, status)
    return {str(status), f"{status} {media}", *([f"{status} {value['type']}"] if "problem" in media else [])}


async def ask(served: Served, questions: Mapping[str, list[str]], witnessed: dict[str, set[str]]) -> None:
    for path, asked in questions.items():
        for one in asked:
            answer = await got(served, path, address(path, one, served.url))
            witnessed.setdefault(path, set()).update(check(path, *answer))


def expected(path: str) -> set[str]:
    """All statuses, media types and problem types of a route."""
    found = set()
    for status, answer in operation(path)["responses"].items():
        found.add(status)
        for media, content in answer.get("content", {}).items():
            found.add(f"{status} {media}")
            found |= {f"{status} urn:ratesvc:{slug}" for slug in content.get("examples", ())}
    return found


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
    assert DOCUMENT["paths"].keys() == CALM.keys() == EMPTY.keys()
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
        admission.WITHDRAWN,
        "released",
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
    witnessed: dict[str, set[str]] = {}
    await ask(whole, CALM, witnessed)
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "resvg_py", None)  # as where the extra is not installed
        await ask(whole, {"/chart.png": ["?codes=EUR"], "/widget/card.png": ["?codes=EUR"]}, witnessed)
    with monkeypatch.context() as bounded:
        bounded.setattr("ratesvc.features.ranges.unit_rates.MOST_POINTS", 1)
        await ask(whole, {path: ["?codes=GBP"] for path in PERIODS}, witnessed)
    with monkeypatch.context() as busy:
        busy.setattr("ratesvc.features.rendering.LONG_POINTS", 0)
        for queue in (Queue.LONG, Queue.PICTURES):
            busy.setattr(queue, "most", 0)
        await ask(whole, split(BUSY), witnessed)
    for path in CALM:
        asked = address(path, CALM[path][0], whole.url)
        async with whole.http.post(whole.url + asked) as answer:
            witnessed[path] |= check(path, answer.status, answer.headers, await answer.read())
        if "304" in expected(path):
            tag = (await whole.get(asked))[1]["ETag"]
            witnessed[path] |= check(path, *await whole.get(asked, If_None_Match=tag))
    bank.documents = {FRIDAY: bank.documents[FRIDAY]}
    bank.series.clear()
    clock.moment = NOON
    async with serve(redis={"namespace": uuid.uuid4().hex}) as loading:
        await loading.ready()
        await ask(loading, LOADING, witnessed)
    bank.documents.clear()
    bank.series.clear()
    async with serve(redis={"namespace": uuid.uuid4().hex}) as empty:
        await eventually(lambda: empty.service.telemetry.last_cycle)
        await ask(empty, EMPTY, witnessed)
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
    """Russian, or English for everybody else; both pages lead to each other."""
    for lang, tag, title in (("ru-RU", "ru", "Справочник по API"), ("de", "en", "API reference"), ("", "en", "API")):
        text = (await whole.get(f"/docs?lang={lang}"))[2].decode()
        assert f'<html lang="{tag}">' in text
        assert title in text
        assert f'/docs?lang={tag}" lang="{tag}" hreflang="{tag}" aria-current="true"' in text


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
