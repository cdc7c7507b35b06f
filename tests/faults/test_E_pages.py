"""Hostile clients in a browser: E4 what they write is shown and never runs, E12 how the widget is embedded; headers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from typing import Any
from urllib.parse import quote

import pytest
from conftest import LONG
from playwright.async_api import Browser, Page
from widget_harness import Host, Live
from wire import Answered, ask, get

from ratesvc.render.widget import Site
from ratesvc.web import app

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CALLS = ["pwned()", "window['pw'+'ned']()", "top.pwned()", "self[`pwned`]``", "eval(atob('cHduZWQoKQ=='))"]
AROUND = """<script>{}</script>
"><script>{}</script>
'><script>{}</script>
</script><script>{}</script>
</style><script>{}</script>
</title><svg onload={}>
</textarea><img src=x onerror={}>
<img src=x onerror={}>
<svg><animate onbegin={} attributeName=x dur=1s>
<svg><script href="data:text/javascript,{}"/>
<math><mtext></form><form><mglyph><style></math><img src onerror={}>
<iframe srcdoc="<script>parent.{}</script>">
<iframe src="javascript:{}">
<a href="javascript:{}" autofocus tabindex=1 onfocus={}>x</a>
" autofocus onfocus="{}
' autofocus onfocus='{}
` onmouseover=`{}
javascript:{}//
<details open ontoggle={}>
<body onload={}>
<meta http-equiv=refresh content="0;url=javascript:{}">
<base href="javascript:{}//">
<object data="javascript:{}"><embed src="javascript:{}">
<link rel=stylesheet href="data:text/css,*{{background:url(/pwned)}}">
<style>@import'/pwned';*{{background:url(/pwned)}}</style>
x;background:url(/pwned);}}*{{color:red}}</style><script>{}</script>
{{{{ {} }}}} ${{ {} }} #{{ {} }} <%= {} %>
{{% for c in [].__class__.__base__.__subclasses__() %}}{{{{c}}}}{{% endfor %}}{}
{{{{config}}}}{{{{self.__init__.__globals__}}}}{{{{7*7}}}}{}
{{0.__class__}}{{effective.__globals__}}%s%n{}
\\"-{}-\\"
\\u003cscript\\u003e{}\\u003c/script\\u003e
&lt;script&gt;{}&lt;/script&gt;<!--><script>{}</script-->
]]><script xmlns="http://www.w3.org/1999/xhtml">{}</script><![CDATA[
<x:script xmlns:x="http://www.w3.org/1999/xhtml">{}</x:script>
<?php system('{}') ?><!--# exec cmd="{}" --><!--#include virtual="/etc/passwd" -->
\u202e<script>{}</script>\u2066
＜script＞{}＜/script＞
<noscript><p title="</noscript><img src=x onerror={}>">
<template shadowrootmode=open><script>{}</script></template>
\r\nX-Injected: 1\r\n\r\n<script>{}</script>
""".strip("\n").split("\n")
EACH = 10 if LONG else 31
PAYLOADS = [text.replace("{}", call).replace("{{", "{").replace("}}", "}") for text, call in product(AROUND, CALLS)]
PAGES = {
    "/": ("heading", "lang", "ui", "codes", "columns", "theme", "updown", "first", "width", "spark", "csp", "x"),
    "/rate": ("day", "currency", "lang", "x"),
    "/embed": ("heading", "lang", "codes", "columns", "theme", "updown", "date", "spark", "width"),
    "/widget/frame": ("heading", "lang", "codes", "columns", "theme", "updown", "date", "spark"),
    "/widget": ("heading", "lang", "codes", "theme", "style", "shadow"),
    "/widget/card.svg": ("heading", "lang", "codes", "theme", "updown"),
    "/chart.svg?codes=USD": ("lang", "theme", "quote", "since", "x"),
    "/v1/rates": ("codes", "lang", "quote", "x"),
    "/oembed": ("url", "maxwidth", "x"),
    "/docs": ("x",),
}
HEADERS = (
    "Host",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Forwarded-For",
    "Referer",
    "User-Agent",
    "Accept-Language",
)
SPY = """
window.ran = []; window.violations = []; window.pwned = () => ran.push(location.href);
window.alert = window.confirm = window.prompt = pwned;
addEventListener("securitypolicyviolation", e => violations.push(e.violatedDirective + " " + e.blockedURI));
"""


def attacks() -> Iterator[tuple[str, dict[str, str]]]:
    """Each payload in every parameter of every page, several payloads to a page, and in every header."""
    for number, _ in enumerate(PAYLOADS):
        for page, names in PAGES.items():
            several = [(name, PAYLOADS[(number + place * 37) % len(PAYLOADS)]) for place, name in enumerate(names)]
            query = "&".join(f"{name}={quote(text)}" for name, text in several)
            headers = {name: quote(PAYLOADS[number], safe=" <>'\"()=/{}") for name in HEADERS if name != "Host"}
            yield f"{page}{'&' if '?' in page else '?'}{query}", headers


async def spied(browser: Browser, **options: Any) -> Page:
    page: Page = await (await browser.new_context(**options)).new_page()
    await page.add_init_script(SPY)
    return page


async def harm(page: Page) -> list[str]:
    """What ran and what a policy had to stop, in the page and its frames."""
    found = [await frame.evaluate("(window.ran || []).concat(window.violations || [])") for frame in page.frames]
    return [one for frame in found for one in frame]


async def test_E4_nothing_that_is_written_into_a_parameter_runs(browser: Browser, live: Live) -> None:
    """Over 200 payloads in each parameter of each page: no script runs, no policy has to stop one, nothing is loaded.

    One heading of 120 characters is enough for an attack, so each is also given alone, where it is shown. A short run
    takes one call of each form.
    """
    assert len(PAYLOADS) >= 200
    page = await spied(browser)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    opened = 0
    for number, payload in enumerate(PAYLOADS if LONG else PAYLOADS[:: len(CALLS)]):
        for target in ("/?heading={}", "/widget/frame?heading={}", "/rate?currency={}", "/embed?heading={}&theme={}"):
            if number % 4 == opened % 4 or "heading" in target:
                await page.goto(live.url + target.replace("{}", quote(payload)))
                opened += 1
                assert await harm(page) == [], (target, payload)
    print(f"{opened} pages opened with {len(PAYLOADS)} payloads")  # noqa: T201 -- a figure
    assert not [address for address in asked if re.search(r"pwned$|/x$", address) or not address.startswith(live.url)]


async def test_E4_every_parameter_and_header_at_once(browser: Browser, live: Live, host: Host) -> None:
    """Payloads through all parameters and headers of all pages at once; a page of another site is opened before."""
    page = await spied(browser)
    await page.goto(host.put(""))
    opened = 0
    for number, (target, headers) in enumerate(attacks()):
        if number % EACH != number // EACH % EACH:
            continue  # every page sees every so many payloads in each place
        await page.set_extra_http_headers(headers)
        answer = await page.goto(live.url + target[:8000])
        opened += 1
        assert answer
        assert answer.status in (200, 400, 404, 501), target
        assert "x-injected" not in answer.headers
        assert await harm(page) == [], target
    print(f"{opened} pages opened")  # noqa: T201 -- a figure


async def test_E4_no_header_comes_back(live: Live) -> None:
    """Host, X-Forwarded-*, Referer and User-Agent leave no trace in any answer."""
    for payload in PAYLOADS[:: len(CALLS)]:
        text = quote(payload, safe=" <>'\"()=/{}")
        for target in PAGES:
            headers = [f"{name}: mark7{text}" for name in HEADERS if name != "Host"]
            answered = await ask(
                live.url, f"GET {target} HTTP/1.1\r\nHost: mark7.example\r\n".encode() + lines(headers)
            )
            assert b"mark7" not in answered.body
            assert "mark7" not in answered.head


def lines(headers: list[str]) -> bytes:
    return "".join(f"{header}\r\n" for header in [*headers, ""]).encode()


# What is meant to be framed, and what a browser shows as a page at all.
FRAMED = {"/embed", "/widget/frame", "/chart.svg"}
STYLE_HASHES = re.compile(r"script-src ('none'|('sha256-[A-Za-z0-9+/=]{44}' ?)+)(;|$)")
COMMON = {
    "Server": "ratesvc",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
}


def every_route(live: Live) -> list[str]:
    """Each route with its path parameters filled in."""
    routes = app.build(live.service, Site(live.url)).router.resources()
    day = live.service.history.days[-1].isoformat()
    paths = {route.canonical.replace("{day}", day).replace("{code}", "USD") for route in routes}
    return sorted(path for path in paths if "{" not in path and path != "/v1/events")


async def test_every_route_has_its_headers(live: Live) -> None:
    """No sniffing, no referrer, no version; a policy on whatever a browser would render; frames only where meant."""
    for path in [*every_route(live), "/nowhere", "/v1/rates?code=USD", "/rate?day=x"]:
        needs = dict.fromkeys(
            ("/chart.svg", "/chart.png", "/v1/series"), "?codes=USD&since=2022-11-01&until=2022-11-15"
        )
        answered = await ask(live.url, get(path + needs.get(path, "")))
        assert {name: answered[name] for name in COMMON} == COMMON, path
        assert answered["Set-Cookie"] is None
        if is_document(answered) and path != "/widget":  # a fragment, which has no page of its own
            check_document(path.partition("?")[0], answered)


def is_document(answered: Answered) -> bool:
    return str(answered["Content-Type"]).startswith(("text/html", "image/svg"))


def check_document(path: str, answered: Answered) -> None:
    policy = str(answered["Content-Security-Policy"])
    assert policy.startswith("default-src 'none'"), path
    assert "unsafe" not in policy
    assert "script-src" not in policy or STYLE_HASHES.search(policy), path
    if str(answered["Content-Type"]).startswith("text/html"):
        ancestors = "*" if path in FRAMED else "'none'"
        assert f"frame-ancestors {ancestors}" in policy, path
        assert "base-uri 'none'" in policy
        assert answered["Permissions-Policy"], path
        assert answered["Cross-Origin-Opener-Policy"] == (None if path in FRAMED else "same-origin"), path


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_page_opens_under_its_own_policy(browser: Browser, live: Live, scheme: Any) -> None:
    """Whatever a browser renders of ours: no complaint in the console, no violation, nobody else asked."""
    page = await spied(browser, color_scheme=scheme)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: complaints.extend([] if request.url.startswith(live.url) else [request.url]))
    for path in ("/", "/?lang=ar&ui=ru&csp=1", "/rate", "/rate?lang=ru", "/docs", "/embed", "/widget/frame?spark=30"):
        await page.goto(live.url + path, wait_until="networkidle")
        assert (path, complaints, await harm(page)) == (path, [], [])
    for path in ("/widget/card.svg", "/chart.svg?codes=USD,EUR&since=2022-11-01&until=2022-11-15", "/widget"):
        await page.goto(live.url + path, wait_until="networkidle")
        assert (path, complaints, await harm(page)) == (path, [], [])


@pytest.mark.parametrize("way", ["plain", "sandbox", "coep", "policy", "narrow", "dark", "no script", "styles"])
async def test_E12_embedding(browser: Browser, live: Live, host: Host, way: str) -> None:
    """The frame under what a host may do to it: the right number, and nothing in the console."""
    box = 'sandbox=""' if way == "sandbox" else ""
    width = 320 if way == "narrow" else 500
    frame = f'<iframe {box} src="{live.url}/widget/frame?lang=en" width="{width}" height="480" title="rates"></iframe>'
    headers = {
        "coep": {"Cross-Origin-Embedder-Policy": "require-corp"},
        "policy": {"Content-Security-Policy": f"default-src 'none'; frame-src {live.url}"},
    }.get(way, {})
    head = "<style>iframe{filter:invert(1)}*{color:red!important;display:block}</style>" if way == "styles" else ""
    page = await spied(
        browser, color_scheme="dark" if way == "dark" else "light", java_script_enabled=way != "no script"
    )
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    await page.goto(host.put(frame, headers, head=head), wait_until="networkidle")
    inner = page.frames[1]
    assert "60.3741" in await inner.inner_text("table")
    if way == "sandbox":  # Chromium says that it runs no script there, which is what the host asked for
        complaints = [text for text in complaints if "sandboxed and the 'allow-scripts'" not in text]
    assert complaints == []
    if way not in ("no script", "sandbox"):
        assert await inner.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
