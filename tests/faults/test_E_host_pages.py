"""E13: the element on host pages that do their worst, in Chromium and in Firefox.

A judge in the browser says what a reader sees: a page (judge.js) that opens the hostile ones in a frame and posts its
verdicts. So every browser will do that can open an address.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from aiohttp import web
from conftest import in_nightly, patience_s, program
from kit.browser import SESSION, Live, chromium, got
from kit.cases import parts
from kit.http import answering
from kit.service import begun

pytestmark = pytest.mark.nightly

PAGES = partial(parts, "host_pages.txt")
NAMED, LIBRARIES, TO_THE_LINK, TO_THE_ROWS = map(PAGES, ("named", "library", "link", "rows"))
EACH = f"for (const key of {json.dumps(PAGES('keys')[''].split())})"
POLLUTIONS = {way: what.replace("EACH", EACH) for way, what in PAGES("pollution").items()}
FLOODS = {way.partition(" ")[2]: (int(way.split()[0]), what) for way, what in PAGES("flood").items()}
COMPONENT, STORY, FRAMES = (PAGES(kind)[""] for kind in ("component", "story", "frames"))


def hostile_answers() -> dict[str, str]:
    """Whole answers with one of the nodes each, and some that are none."""
    cell = ["td", ["class", "cbr-value"], ["bdi", ["dir", "ltr"], "1.50"]]
    nodes = {name: json.loads(node) for name, node in PAGES("node").items()}
    whole = {name: {"style": "", "content": ["table", [], ["tr", [], cell, node]]} for name, node in nodes.items()}
    deep = '["p", [], ' * 50_000 + "1" + "]" * 50_000
    return {
        **{name: json.dumps(document) for name, document in whole.items()},
        "deep": f'{{"style": "", "content": {deep}}}',
        "no content": "{}",
        "a list": "[]",
        "no JSON": "<html>",
        "empty": "",
        "no text": '{"style": "", "content": ["p", []]}',
    }


JUDGE = Path(__file__).with_name("judge.js")
WATCHED = "<script>parent.watch(window)</script>"
LINK = '<a href="https://www.cbr.ru/">Bank of Russia</a>'
ELEMENT = f'<cbr-rates lang="en">{LINK}</cbr-rates>'
PREFERENCES = {
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "dom.security.https_first": False,
    # Whatever else it may want to ask is asked of nobody.
    "network.proxy.http": "127.0.0.1",
    "network.proxy.http_port": 9,
    "network.proxy.ssl": "127.0.0.1",
    "network.proxy.ssl_port": 9,
    "network.proxy.type": 1,
}


@dataclass(frozen=True)
class Verdict:
    """What a reader sees: `shown` is rows, link or nothing; `ran` is whatever is foreign, which must be empty."""

    shown: str
    state: str | None = None
    ran: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    styled: bool = False
    converter: bool = False
    text: str = ""
    said: object = None


class HostSite:
    """A host's site on an origin of its own. It can also play our service, or an attacker's.

    `answers` are path → status and text; `asked` counts requests by path.
    """

    def __init__(self) -> None:
        self.url = ""
        self.answers: dict[str, tuple[int, str]] = {}
        self.asked: Counter[str] = Counter()
        self._pages: dict[str, str] = {}
        self._jobs: asyncio.Queue[dict[str, object]] = asyncio.Queue()
        self._verdicts: asyncio.Queue[Verdict] = asyncio.Queue()

    async def judged(self, page: str) -> Verdict:
        """Open this page; returns what is seen as soon as the element has a state and the page is not `busy`."""
        self._pages.clear()
        self.asked.clear()
        path = f"/page/{id(page)}"
        self._pages[path] = page
        self._jobs.put_nowait({"url": path, "patience": patience_s()})
        async with asyncio.timeout(2 * patience_s()):
            return await self._verdicts.get()

    async def answer(self, request: web.Request) -> web.Response:
        self.asked[request.path] += 1
        if request.path == "/next":
            return web.json_response(await self._jobs.get())
        if request.path == "/verdict":
            self._verdicts.put_nowait(msgspec.json.decode(await request.read(), type=Verdict))
            return web.Response()
        if request.path == "/judge":
            return _html(f"<body><script>{JUDGE.read_text('utf-8')}</script>")
        if request.path in self._pages:
            return _html(self._pages[request.path])
        status, text = self.answers.get(request.path, (404, ""))
        return web.Response(status=status, text=text, headers={"Access-Control-Allow-Origin": "*"})


def _html(text: str) -> web.Response:
    return web.Response(text=f"<!doctype html>{text}", content_type="text/html")


def script(address: str) -> str:
    """As the builder's code has it."""
    return f'<script async src="{address}" crossorigin="anonymous"></script>'


def page(hostile: str, loader: str, *, body: str = ELEMENT, before: str = "", after: str = "") -> str:
    """A page whose own script runs first. Its loader follows in the body."""
    head = f"<head><meta charset=utf-8><title>Host</title>{WATCHED}<script>{hostile}</script></head>"
    return f"<html lang=en>{head}<body>{before}{body}{script(loader)}{after}</body></html>"


@asynccontextmanager
async def hosting() -> AsyncIterator[HostSite]:
    """The site is up, and no judge is there yet."""
    site = HostSite()
    async with answering(site.answer) as site.url:
        yield site


@asynccontextmanager
async def chromium_judges(site: HostSite) -> AsyncIterator[None]:
    """A Chromium of its own, because other tests close the windows of theirs."""
    async with chromium() as browser:
        window = await browser.new_page()
        await window.goto(f"{site.url}/judge")
        yield


@asynccontextmanager
async def firefox_judges(site: HostSite, folder: Path) -> AsyncIterator[None]:
    """A Firefox with a profile of its own, which asks nobody else."""
    lines = (f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in PREFERENCES.items())
    folder.joinpath("user.js").write_text("\n".join(lines), "utf-8")
    command = [program("firefox-esr", "firefox"), "--headless", "--no-remote", "--profile", str(folder)]
    quiet = asyncio.subprocess.DEVNULL
    own = {**os.environ, "HOME": str(folder)}  # as root it refuses the home of another user
    async with begun(*command, f"{site.url}/judge", out=quiet, err=quiet, end=signal.SIGTERM, env=own):
        yield


@pytest_asyncio.fixture(scope=SESSION, loop_scope=SESSION, params=["chromium", *in_nightly("firefox")])
async def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[HostSite]:
    async with hosting() as site:
        folder = tmp_path_factory.mktemp("firefox")
        async with chromium_judges(site) if request.param == "chromium" else firefox_judges(site, folder):
            yield site


@pytest.fixture
def loader(live: Live) -> str:
    return f"{live.url}/widget/rates.js"


@pytest.fixture
def converter(live: Live) -> str:
    return script(f"{live.url}/widget/converter.js")


async def playing_the_service(site: HostSite, loader: str) -> str:
    """The site has the loader, too, so that it can answer as it likes. Returns the loader's address there."""
    site.answers["/widget/rates.js"] = 200, await got(loader)
    return f"{site.url}/widget/rates.js"


def check(seen: Verdict, *, rows: bool = False) -> None:
    """Rows or the link, with the state and the events that say which. Nothing foreign runs, no error is reported."""
    assert seen.shown in (("rows",) if rows else ("rows", "link")), seen
    assert seen.state == ("load" if seen.shown == "rows" else "error"), seen
    assert set(seen.events) == {f"cbr-{seen.state}"}, seen
    assert (seen.ran, seen.errors) == ([], []), seen


@pytest.mark.parametrize("way", NAMED)
async def test_E13_names_in_the_html(site: HostSite, loader: str, way: str) -> None:
    """Named elements in a host's HTML, as in a comment, hide properties of its document: rows, and only ours."""
    evil = f"{site.url}/widget/x"
    for names in (["currentScript"], ["createElementNS"], ["defaultView"], ["host"], PAGES("names")[""].split()):
        comment = "".join(NAMED[way].format(name=name, evil=evil) for name in names)
        seen = await site.judged(page("", loader, before=comment))
        check(seen, rows=True)
        assert "60.3741" in seen.text
        assert site.asked["/widget/nodes.json"] == 0


@pytest.mark.parametrize("way", POLLUTIONS)
async def test_E13_polluted_prototypes(site: HostSite, loader: str, converter: str, way: str) -> None:
    """Keys that every object inherits become no handler, no link and no option of a request: rows or the link."""
    for attributes in ('lang="en"', 'lang="ru" spark="30" converter="1"', 'lang="en" layout="inline" code="USD"'):
        body = f"<cbr-rates {attributes}>{LINK}</cbr-rates>"
        check(await site.judged(page(POLLUTIONS[way], loader, body=body, after=converter)))


@pytest.mark.parametrize("way", LIBRARIES)
async def test_E13_libraries_and_polyfills(site: HostSite, loader: str, way: str) -> None:
    """Libraries that extend arrays and elements, polyfills of promises, elements and shadow DOM: rows or the link."""
    for attributes in ('lang="en"', 'lang="ru" spark="30" columns="name,next,change,percent"'):
        body = f"<cbr-rates {attributes}>{LINK}</cbr-rates>"
        check(await site.judged(page(LIBRARIES[way], loader, body=body)))


@pytest.mark.parametrize("way", [*TO_THE_LINK, *TO_THE_ROWS])
async def test_E13_documents_and_moves(site: HostSite, loader: str, way: str) -> None:
    """Without constructable style sheets, in another document, moved, removed, copied: rows or the link, and an event.

    Where the rows are, their style is.
    """
    story = STORY.replace("WHAT", (TO_THE_LINK | TO_THE_ROWS)[way])
    seen = await site.judged(page("", loader, body=f"{ELEMENT}<script>{story}</script>"))
    has_rows = way in TO_THE_ROWS
    assert (seen.shown, seen.state) == (("rows", "load") if has_rows else ("link", "error")), seen
    assert (seen.styled, seen.said) == (has_rows, "done"), seen
    assert (seen.ran, seen.errors) == ([], []), seen


@pytest.mark.parametrize("site", ["chromium"], indirect=True)
@pytest.mark.parametrize("status", [503, 200])
@pytest.mark.parametrize("way", FLOODS)
async def test_E13_floods(site: HostSite, loader: str, way: str, status: int) -> None:
    """A refresh of months, an attribute or element that changes at every frame, a service that fails: no flood.

    Neither of requests nor of events. Of 120 different elements in a second a hundred ask.
    """
    own = await playing_the_service(site, loader)
    rows = await got(loader.replace("rates.js", "nodes.json"))
    site.answers["/widget/nodes.json"] = status, rows if status == 200 else ""
    most, doing = FLOODS[way]
    element = ELEMENT.replace("lang", f"{way} lang") if "=" in way else ELEMENT
    seen = await site.judged(page("", own, body=f"{element}<script>{FRAMES.replace('WHAT', doing)}</script>"))
    assert 1 <= site.asked["/widget/nodes.json"] <= most, (seen, site.asked)
    assert len(seen.events) <= (150 if status == 200 else 5 + 2 * most), (seen, site.asked)
    assert (seen.shown, seen.errors) == ("link" if status == 503 else "rows", []), seen


@pytest.mark.parametrize("way", ["open", "closed", "nested", "slotted"])
async def test_E13_in_another_component(site: HostSite, loader: str, converter: str, way: str) -> None:
    """In the shadow DOM of another component it has the page's language, its converter, and an event that gets out."""
    rates = f"<cbr-rates converter=1>{LINK}</cbr-rates>"
    inside = {"nested": "<inner-card></inner-card>", "slotted": ""}.get(way, rates)
    card, inner = (
        COMPONENT.replace("NAME", name).replace("MODE", mode).replace("WHAT", what)
        for name, mode, what in (
            ("some-card", "closed" if way == "closed" else "open", inside),
            ("inner-card", "closed", rates),
        )
    )
    waits = "customElements.whenDefined('cbr-converter').then(() => busy = false)"
    scripts = f"<script>var subject, busy = true; {waits}; {inner} {card}</script>"
    body = f"<some-card>{rates if way == 'slotted' else ''}</some-card>{scripts}"
    seen = await site.judged(page("", loader, body=body, after=converter).replace("lang=en", "lang=ru"))
    check(seen, rows=True)
    assert "60,3741" in seen.text
    assert seen.converter, seen


async def test_E13_a_hostile_answer(site: HostSite, loader: str, converter: str) -> None:
    """A pinned loader makes no script, handler, style or frame of a hostile answer, and no link but http and https."""
    own = await playing_the_service(site, loader)
    for name, text in hostile_answers().items():
        site.answers["/widget/nodes.json"] = 200, text
        seen = await site.judged(page(f"name = {name!r}", own, after=converter))
        check(seen)
