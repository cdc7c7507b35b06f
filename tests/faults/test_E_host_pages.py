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
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from aiohttp import web
from conftest import in_nightly, patience_s, program
from kit.browser import SESSION, Live, chromium, got
from kit.http import answering
from kit.service import begun

pytestmark = pytest.mark.nightly

# What our scripts, or others that one might think of, ask of a document, and of the window.
NAMES = (
    *("currentScript", "createElementNS", "createTextNode", "defaultView", "hidden", "querySelector", "body", "host"),
    *("ownerDocument", "getRootNode", "adoptedStyleSheets", "lang", "addEventListener", "dispatchEvent"),
    *("fetch", "customElements", "CSSStyleSheet", "Reflect", "Document", "AbortSignal", "CustomEvent", "window"),
)
NAMED = {
    "img": '<img name="{name}" id="{name}" src="{evil}">',
    "form": '<form name="{name}" action="{evil}"></form>',
    "iframe": '<iframe name="{name}" id="{name}" hidden></iframe>',
}
"""Elements that a document knows by their names; a site that cleans comments may let them through."""

KEYS = (
    *("onmouseover", "onclick", "onerror", "onload", "onfocus", "href", "src", "srcdoc", "style", "is", "innerHTML"),
    *("class", "part", "title", "data", "content", "rows", "cells", "name", "lang", "id", "slot"),
    *("method", "mode", "headers", "body", "credentials", "integrity", "redirect", "cache", "signal", "keepalive"),
    *("slotAssignment", "delegatesFocus", "clonable", "registry", "customElementRegistry", "cancelable", "detail"),
    *("0", "1", "2", "3", "url", "due", "shown", "state", "turn", "words", "amount", "result", "media", "length"),
    *("baseURL", "disabled", "extends", "capture", "once", "passive", "toJSON", "then"),
)
EACH = f"for (const key of {json.dumps(KEYS)})"
POLLUTIONS = {
    "every key": f"{EACH} Object.prototype[key] = 'pwned()'",
    "every key of arrays": f"{EACH} if (key != 'length') Array.prototype[key] = 'pwned()'",
    "links": "Object.prototype.href = 'javascript:pwned()'",
    "objects": f"{EACH} Object.prototype[key] = {{ toString: () => 'pwned()' }}",
    "functions": f"{EACH} if (key != 'then') Object.prototype[key] = () => 'pwned()'",
    "setters": f"{EACH} Object.defineProperty(Object.prototype, key, {{ set() {{ throw Error('set') }}, get() {{}} }})",
    "frozen": "for (const one of [Object, Array, String, Function, Promise, Element, Node, HTMLElement, Document]) "
    "{ Object.freeze(one); Object.freeze(one.prototype) }",
}


# What libraries of twenty years do to everybody's objects, and what polyfills play where a browser has the real thing.
LIBRARIES = {
    "names of its own": "let fetch = 1, jobs = 3, rest = 4, known = 5, allowed = 6, built = 7, of = 8, AbortSignal = 9",
    "extended arrays": """
      Array.from = list => {
        const made = [];
        for (let at = 0; at < (list.length || 0); at++) made[at] = list[at];
        return made };
      for (const name of ["each", "collect", "flatten", "first", "entries", "inspect", "toJSON", "append", "remove"])
        Array.prototype[name] = function () { return this };
      String.prototype.startsWith = function (text) { return this.indexOf(text) == 0 };
      String.prototype.sub = String.prototype.strip = String.prototype.toJSON = function () { return this };
      Function.prototype.bind = function (self) { const body = this; return () => body.apply(self, arguments) };
      Object.keys = object => { const keys = []; for (const key in object) keys.push(key); return keys };""",
    "extended elements": """
      const add = {
        show() { this.style.display = ""; return this }, hide() { this.style.display = "none"; return this },
        remove() { this.parentNode.removeChild(this); return this }, get() { return "" }, set() { return this },
        update(html) { this.innerHTML = html; return this }, replaceChildren(html) { this.innerHTML = html },
        append(html) { this.innerHTML += html }, prepend(html) { this.innerHTML = html + this.innerHTML } };
      const { prototype } = window.Element;
      for (const one of [prototype, HTMLElement.prototype, DocumentFragment.prototype]) Object.assign(one, add);
      window.Element = function (tag) { return document.createElement(tag) };
      window.Element.prototype = prototype;
      Event.prototype.stop = function () { this.stopImmediatePropagation() }""",
    "closed roots": """
      const attach = Element.prototype.attachShadow;
      Element.prototype.attachShadow = function () { return window.root = attach.call(this, { mode: "closed" }) }""",
    "promises": """
      const Native = Promise;
      window.Promise = class Polyfilled {
        constructor(work) { this.native = new Native(work) }
        then(done, failed) { return new Polyfilled((yes, no) => this.native.then(done, failed).then(yes, no)) }
        catch(failed) { return this.then(undefined, failed) }
        static resolve(value) { return new Polyfilled(yes => yes(value)) } };
      delete Native.prototype.finally; delete Native.any; delete Native.allSettled;
      const ask = fetch; window.fetch = (...given) => new Promise((yes, no) => ask(...given).then(yes, no))""",
    "elements": """
      const Native = HTMLElement;
      window.HTMLElement = function () { return Reflect.construct(Native, [], this.constructor) };
      HTMLElement.prototype = Native.prototype; Object.setPrototypeOf(HTMLElement, Native);
      const define = customElements.define;
      customElements.define = (name, type) => define.call(customElements, name, class extends type {})""",
}

# What a page does around the element. `next` waits for its next event.
STORY = """
const kinds = ["cbr-load", "cbr-error"], frame = document.body.appendChild(document.createElement("iframe"));
var subject = document.querySelector("cbr-rates"), busy = true, said;
const put = (where, what = subject) => where.body.appendChild(what), other = frame.contentDocument;
const next = () => new Promise(done => kinds.forEach(kind => subject.addEventListener(kind, done, { once: true })));
const loading = what => { const ask = fetch; fetch = (...given) => { fetch = ask; what(); return ask(...given) } };
(async () => { %s; said = 'done'; busy = false })()
"""
TO_THE_LINK = {
    "no style sheets": "delete window.CSSStyleSheet; await next()",
    "none may be adopted": "for (const one of [ShadowRoot, Document]) Object.defineProperty(one.prototype, "
    "'adoptedStyleSheets', { set() { throw Error('not here') } }); await next()",
    "a root that is taken": "subject.attachShadow({ mode: 'open' }).innerHTML = '<slot></slot>'; await next()",
    "a loader without an address": "Object.defineProperty(Document.prototype, 'currentScript', { get: () => null }); "
    "await next()",
}
TO_THE_ROWS = {
    "moved into a frame": "await next(); put(other); await next()",
    "moved into a frame and back": "await next(); put(other); await next(); put(document); await next()",
    "moved while loading": "loading(() => put(other)); await next()",
    "made in a frame": "const made = other.createElement('cbr-rates'); made.innerHTML = subject.innerHTML; "
    "put(other, made); subject.remove(); put(document, subject = made); await next()",
    "removed while loading": "loading(() => { subject.remove(); setTimeout(() => put(document), 50) }); await next()",
    "a copy": "await next(); const copy = subject.cloneNode(true); subject.replaceWith(copy); subject = copy; "
    "await next()",
}

# What a page does at each of 60 frames, about a second, and how many requests that may cost.
FRAMES = """
var busy = true, subject = document.querySelector("cbr-rates"), left = 60;
const instead = () => {
  const made = document.createElement("cbr-rates");
  made.innerHTML = subject.innerHTML;
  subject.replaceWith(made);
  return subject = made;
};
const each = () => { %s; --left ? requestAnimationFrame(each) : busy = false };
each()
"""
FLOODS = {
    **{f"refresh={minutes}": ("", 1) for minutes in ("35792", "0.00001", "NaN")},
    "every attribute": ("for (const name of ['codes', 'theme', 'refresh']) subject.setAttribute(name, left)", 1),
    "a new element": ("instead()", 1),
    "more elements": (
        "for (const half of 'ab') document.body.appendChild(subject.cloneNode(true)).setAttribute('unit', left + half)",
        100,
    ),
    "inserted again when it fails": ("if (left == 60) addEventListener('cbr-error', () => busy && instead())", 1),
    "changed when it fails": (
        "if (left == 60) addEventListener('cbr-error', () => subject.setAttribute('unit', left))",
        10,
    ),
}

COMPONENT = """
customElements.define("{name}", class extends HTMLElement {{ connectedCallback() {{
  const root = this.attachShadow({{ mode: "{mode}" }});
  root.innerHTML = `<slot></slot><div>{inside}</div>`;
  subject = subject || root.querySelector("cbr-rates");
}} }});"""

# Nodes of a hostile answer. They stand beside an honest cell.
RUNS = "javascript:pwned()"
HANDLERS = ("onmouseover", "ONCLICK", "onfocus", "oncontentvisibilityautostatechange")
ADDRESSES = (
    *(RUNS, f" {RUNS}", "java\nscript:pwned()", "JavaScript:pwned()", "data:text/html,x", "//evil.example/", "httpq"),
)
NODES: dict[str, object] = {
    "a script": ["script", [], "pwned()"],
    "a frame": ["iframe", ["srcdoc", "<script>parent.pwned()</script>", "src", "javascript:parent.pwned()"]],
    "a style": ["style", [], "*{display:none}"],
    **{f"a handler {name}": ["p", [name, "pwned()"], "x"] for name in HANDLERS},
    **{f"{name}={to!r}": ["a", [name, to], "x"] for name in ("href", "HREF", "xlink:href") for to in ADDRESSES},
    "a link that moves": [
        "svg",
        [],
        ["a", ["href", "https://x.example"], ["animate", ["attributeName", "href", "to", RUNS]]],
    ],
    "an attribute with a sign": ["p", ["class=x onclick", "pwned()"], "x"],
    "no tag": [None, [], "x"],
    "nothing": [],
    "text with tags": "<img src=x onerror=pwned()>",
    "a converter": [
        "cbr-converter",
        [
            "data",
            '{"rates":{"<img src=x onerror=pwned()>":["1",1,2]},"names":{},"words":{},"lang":"x","group":"","mark":""}',
        ],
    ],
}


def hostile_answers() -> dict[str, str]:
    """Whole answers with one of the nodes each, and some that are none."""
    cell = ["td", ["class", "cbr-value"], ["bdi", ["dir", "ltr"], "1.50"]]
    whole = {name: {"style": "", "content": ["table", [], ["tr", [], cell, node]]} for name, node in NODES.items()}
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
    for names in (
        ["currentScript"],
        ["createElementNS"],
        ["defaultView"],
        ["host"],
        [*NAMES],
    ):
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
    story = STORY % (TO_THE_LINK | TO_THE_ROWS)[way]
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
    doing, most = FLOODS[way]
    element = ELEMENT.replace("lang", f"{way} lang") if "=" in way else ELEMENT
    seen = await site.judged(page("", own, body=f"{element}<script>{FRAMES % doing}</script>"))
    assert 1 <= site.asked["/widget/nodes.json"] <= most, (seen, site.asked)
    assert len(seen.events) <= (150 if status == 200 else 5 + 2 * most), (seen, site.asked)
    assert (seen.shown, seen.errors) == ("link" if status == 503 else "rows", []), seen


@pytest.mark.parametrize("way", ["open", "closed", "nested", "slotted"])
async def test_E13_in_another_component(site: HostSite, loader: str, converter: str, way: str) -> None:
    """In the shadow DOM of another component it has the page's language, its converter, and an event that gets out."""
    rates = f"<cbr-rates converter=1>{LINK}</cbr-rates>"
    inside = {"nested": "<inner-card></inner-card>", "slotted": ""}.get(way, rates)
    card = COMPONENT.format(name="some-card", mode="closed" if way == "closed" else "open", inside=inside)
    inner = COMPONENT.format(name="inner-card", mode="closed", inside=rates)
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
