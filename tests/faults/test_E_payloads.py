"""Hostile clients, the words: E4, text in a parameter or header is at most shown; E5, no header poisons a cache."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from html.parser import HTMLParser
from urllib.parse import parse_qsl, quote, urlencode
from xml.etree import ElementTree as ET

import pytest
import pytest_asyncio
from conftest import LONG, eventually, first
from kit.browser import SESSION, Browser, Host, Live, live_service, spying
from kit.cases import questions
from kit.http import Answered, ask, asking, get

from ratesvc.domain.rates import Snapshot
from ratesvc.domain.settled import Settled
from ratesvc.features.docs import openapi_json
from ratesvc.render.json import PROBLEM_JSON
from ratesvc.render.openapi import Site

pytestmark = pytest.mark.nightly

# The two at the end end a line, or turn it round, for real.
PAYLOADS = (
    *questions("payloads.txt"),
    "\u202e<script>pwned()</script>\u2066",
    "\r\nX-Injected: 1\r\n\r\n<script>pwned()</script>",
)
HARMLESS = "harmless"
HERE = "HERE"


@dataclass(frozen=True, slots=True)
class Spot:
    """A target with HERE in place of one parameter, and the statuses and media types that its route may answer."""

    route: str
    name: str
    target: str
    statuses: frozenset[int]
    media: frozenset[str]

    def written(self, text: str) -> str:
        """The target with this text in the place."""
        return self.target.replace(HERE, quote(text, safe=""))


def our_spots(snapshot: Snapshot, url: str) -> Iterator[Spot]:
    """Each parameter of each described route, an unknown parameter's name, and an unknown path."""
    day = snapshot.today
    for operation in openapi_json.operations(Site(url), day):
        route, answers = operation["path"], operation["responses"]
        path, _, query = operation["x-example"].removeprefix(url).partition("?")
        given = dict(parse_qsl(query))
        statuses = frozenset(status for status in answers if status < 500) - {304, 405}
        refusals = [
            answer.get("content", {"text/html"}) for status, answer in answers.items() if status not in (304, 405)
        ]
        media = frozenset({"text/html", PROBLEM_JSON} & {one for kinds in refusals for one in kinds})
        media |= answers[200]["content"].keys()
        for parameter in operation["parameters"]:
            name = parameter["name"]
            if parameter["in"] == "query":
                known = frozenset({501}) if name == "format" and route == "/oembed" else statuses
                yield Spot(route, name, f"{path}?{urlencode({**given, name: HERE})}", known, media)
            if parameter["in"] == "path":
                values = {"date": day.isoformat(), "code": "USD", name: HERE}
                yield Spot(route, name, route.format(**values), statuses | {404}, media)
        if {304, 400} & answers.keys():  # the probes read no query at all
            yield Spot(route, "a name", f"{path}?{urlencode({**given, HERE: 1})}", statuses, media)
    framed = urlencode({"url": f"{url}/embed?heading={HERE}"})
    yield Spot("/oembed", "heading in url", f"/oembed?{framed}", frozenset({200}), frozenset({"application/json"}))
    yield Spot("/nowhere", "path", f"/{HERE}", frozenset({400, 404}), frozenset({PROBLEM_JSON}))


IN_A_HEADER = [text for text in PAYLOADS if "\r" not in text]
DOCUMENTS = ("text/html", "image/svg+xml")
LONGEST_HEADING = 120
# What any payload leaves behind where it gets through.
TRACE = re.compile(r"pwned|x-injected", re.IGNORECASE)


@pytest_asyncio.fixture(scope=SESSION, loop_scope=SESSION)
async def complete(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Live]:
    """A service whose history is complete with its recorded sheets, so that every route answers."""
    async with live_service(tmp_path_factory.mktemp("complete")) as live:
        history = live.service.history
        history.settle(Settled(history.days[0], history.days[-1]))
        live.service.publish()
        yield live


class Read(HTMLParser):
    """A document as far as an attack would change it: its elements with their attributes' names, and its words."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.elements: set[tuple[str, ...]] = set()
        self.text = ""
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        # What says that a field's value is wrong does no harm.
        self.elements.add((tag, *(name for name, _ in attrs if name not in {"aria-invalid", "aria-describedby"})))
        self.text += " ".join(value or "" for _, value in attrs)

    def handle_comment(self, data: str) -> None:
        self.elements.add(("!", data))

    def handle_data(self, data: str) -> None:
        self.text += data


def media(answered: Answered) -> str:
    return str(answered["Content-Type"]).partition(";")[0]


def check(spot: Spot, text: str, answered: Answered, harmless: Answered) -> None:
    """An answer of this route, in which the payload is nothing but text."""
    at, kind = (spot.route, spot.name, text), media(answered)
    assert answered.status in spot.statuses, at
    assert kind in spot.media, at
    assert not TRACE.search(answered.head), at
    if kind.endswith("json"):
        document = json.loads(answered.body)
        if spot.name == "heading in url":
            assert Read(document["html"]).elements == Read(harmless.document["html"]).elements, at
    elif kind.endswith("zip") or kind == "image/png":
        assert not TRACE.search(answered.body.decode("latin-1")), at
    else:
        check_text(spot, text, answered, harmless)


def check_text(spot: Spot, text: str, answered: Answered, harmless: Answered) -> None:
    """No character that means something there comes as it was written, and the document is built as ever."""
    at = (spot.route, spot.name, text)
    body = answered.body.decode(str(answered["Content-Type"]).partition("charset=")[2] or "utf-8")
    assert text not in body or not set(text) & set("<>\"'&"), at
    if answered.body == harmless.body and not is_shown(spot, text):
        return
    if "xml" in media(answered):
        ET.fromstring(answered.body)  # noqa: S314 -- our own bytes
    if media(answered) in DOCUMENTS:
        document = Read(body)
        assert document.elements <= read(harmless.body).elements, at
        assert text in document.text or not is_shown(spot, text), at


@lru_cache
def read(document: bytes) -> Read:
    """One that others are compared with."""
    return Read(document.decode())


def is_shown(spot: Spot, text: str) -> bool:
    """Whether people read it."""
    return spot.name == "heading" and is_heading(text)


def is_heading(text: str) -> bool:
    return text.isprintable() and len(text) <= LONGEST_HEADING


async def test_E4_no_parameter_runs(complete: Live) -> None:
    """Payloads in each parameter of each route stay text: the document is built as ever."""
    current, url = complete.service.publication, complete.url
    assert current
    async with asking(url) as ask_for:
        for number, spot in enumerate(our_spots(current.snapshot, url)):
            harmless = await ask_for(get(spot.written(HARMLESS)))
            # Each place gets some of them, the next place the next. Pixels are read by nobody's parser.
            some = PAYLOADS[number % 8 :: 8] if spot.route.endswith(".png") else PAYLOADS[number % 3 :: 3]
            for text in PAYLOADS if LONG else some:
                check(spot, text, await ask_for(get(spot.written(text))), harmless)


ATTRIBUTES = ("heading", "codes", "columns", "date", "lang", "spark", "theme", "updown")
CAPTIONS = (
    "[...document.querySelectorAll('cbr-rates')].map(one => one.shadowRoot?.querySelector('caption')?.textContent)"
)


def element(text: str) -> str:
    """It as a careful host writes it."""
    given = " ".join(f"{name}='{escape(text)}'" for name in ATTRIBUTES)
    return f"<cbr-rates {given}></cbr-rates>"


async def test_E4_what_a_host_pastes_is_as_harmless(browser: Browser, complete: Live, host: Host) -> None:
    """The element with each payload in each attribute, and oEmbed's HTML for each, run nothing in a host's page."""
    codes = []
    for text in PAYLOADS:
        address = quote(f"{complete.url}/embed?heading={quote(text)}", safe="")
        codes.append((await ask(complete.url, get(f"/oembed?url={address}"))).document["html"])
    head = f'<script src="{complete.url}/widget/rates.js"></script>'
    async with spying(browser, "http://") as spy:
        assert await spy.opens(host.put("".join(codes)), "networkidle") == []
        assert await spy.opens(host.put("".join(map(element, PAYLOADS)), head=head), "networkidle") == []
        await eventually(lambda: spy.page.evaluate(f"{CAPTIONS}.every(text => text !== undefined)"))
        assert spy.reported == []
        shown = await spy.page.evaluate(CAPTIONS)
        assert all(text in caption for text, caption in zip(PAYLOADS, shown, strict=True) if is_heading(text))


HEADERS = (
    *("Host", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-For", "Forwarded", "Referer", "User-Agent"),
    *("Accept", "Accept-Language", "Accept-Encoding", "Cookie", "Origin", "If-None-Match", "Last-Event-ID"),
)
READERS = ("/", "/embed", "/rate", "/rate?date=x", "/v1/rates", "/widget/card.svg", "/docs", "/nowhere")


def hostile(name: str, text: str, target: str) -> bytes:
    """A request with this in one header."""
    host = () if name == "Host" else ("Host: x",)
    return "\r\n".join([f"GET {target} HTTP/1.1", *host, f"{name}: {text}", "", ""]).encode()


@pytest.mark.slow
@pytest.mark.parametrize("name", first(3, HEADERS))
async def test_E4_no_header_comes_back(complete: Live, name: str) -> None:
    """Each payload in each header: the answer has the same bytes as without it."""
    async with asking(complete.url) as ask_for:
        for target in READERS:
            clean = await ask(complete.url, get(target))
            for text in IN_A_HEADER:
                answered = await ask_for(hostile(name, text, target))
                assert (text, answered.status, answered.body) == (text, clean.status, clean.body)
                assert not TRACE.search(answered.head), text


EVIL = "evil.example"
UNKEYED = [
    *(f"X-Forwarded-Host: {EVIL}", f"X-Host: {EVIL}", f"X-Forwarded-Server: {EVIL}", f"Forwarded: host={EVIL}"),
    *("X-Forwarded-Proto: https", "X-Forwarded-Scheme: nothttps", "X-Forwarded-Port: 1", "X-Forwarded-Prefix: //evil"),
    *(f"X-Original-URL: /{EVIL}", f"X-Rewrite-URL: /{EVIL}", f"Origin: https://{EVIL}", f"Referer: https://{EVIL}/"),
    *(f"User-Agent: <script>{EVIL}", "X-HTTP-Method-Override: POST", "Accept-Language: xx"),
    *("Cookie: lang=ru; a=b", "Range: bytes=0-3", "If-Range: x", "X-Forwarded-For: 127.0.0.1", "Prefer: respond-async"),
    *("Cache-Control: no-transform", "Upgrade: h2c", "Last-Event-ID: 5", "TE: trailers", "Via: x", f"Host: {EVIL}"),
    *('If-None-Match: "x"', "If-Modified-Since: x"),
]


async def test_E5_no_header_poisons_a_cache(complete: Live) -> None:
    """A cache may know nothing but the address: no header changes status, body or caching."""
    for target in READERS:
        clean = await ask(complete.url, get(target))
        for header in UNKEYED:
            name, _, text = header.partition(": ")
            found = await ask(complete.url, hostile(name, text, target))
            wanted = header, clean.status, clean.body, clean["Cache-Control"]
            assert (header, found.status, found.body, found["Cache-Control"]) == wanted
            assert EVIL not in found.head, header
