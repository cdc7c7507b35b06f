"""Our pages in a browser: headers and policy of each."""

from __future__ import annotations

import re

import pytest
from conftest import addresses
from kit.browser import Browser, Live, spying
from kit.http import Answered, ask, get

from ratesvc.features.docs import openapi_json
from ratesvc.render.openapi import Site

pytestmark = pytest.mark.nightly

DOCUMENTS = {"text/html", "image/svg+xml"}
# What is meant to be framed, and what a browser shows as a page at all.
FRAMED = {"/embed", "/widget/frame", "/chart.svg", "/chart/frame"}
RANGE = "?codes=USD&since=2022-11-01&until=2022-11-15"
OF_A_RANGE = {"/chart.svg", "/chart.png", "/v1/series", "/v1/series.csv"}
STYLE_HASHES = re.compile(r"script-src ('none'|('sha256-[A-Za-z0-9+/=]{44}' ?)+)(;|$)")
COMMON = {
    "Server": "ratesvc",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Credentials": None,
    "Cross-Origin-Resource-Policy": "cross-origin",
}


def every_route(live: Live) -> list[str]:
    """Each route with its path parameters filled in."""
    day = live.service.history.days[-1].isoformat()
    paths = {
        path.replace("{day}", day).replace("{date}", day).replace("{code}", "USD") for path in addresses(live.service)
    }
    return sorted(path for path in paths if "{" not in path and path != "/v1/events")


@pytest.mark.slow
async def test_every_route_has_its_headers(live: Live) -> None:
    """No sniffing, no referrer, no version; a policy on whatever a browser would render; frames only where meant."""
    for path in [*every_route(live), "/nowhere", "/v1/rates?code=USD", "/rate?date=x"]:
        target = path + (RANGE if path in OF_A_RANGE else "")
        preflight = await ask(live.url, get(target, "Origin: null", method="OPTIONS"))
        answered = await ask(live.url, get(target, "Origin: null"))
        for one in (preflight, answered):
            assert {name: one[name] for name in COMMON} == COMMON, path
        assert answered["Set-Cookie"] is None
        is_document = str(answered["Content-Type"]).startswith(("text/html", "image/svg"))
        if is_document and path != "/widget":  # a fragment, which has no page of its own
            check_document(path.partition("?")[0], answered)


def check_document(path: str, answered: Answered) -> None:
    policy = str(answered["Content-Security-Policy"])
    if path == "/widget/preview":  # the copied code, in the frame of the builder alone
        assert "frame-ancestors 'self'" in policy
        assert "'unsafe-inline'" not in policy.partition("script-src ")[2]
        return
    assert policy.startswith("default-src 'none'"), path
    assert "unsafe" not in policy
    assert "script-src" not in policy or STYLE_HASHES.search(policy), path
    if str(answered["Content-Type"]).startswith("text/html"):
        ancestors = "*" if path in FRAMED else "'none'"
        assert f"frame-ancestors {ancestors}" in policy, path
        assert "base-uri 'none'" in policy
        assert answered["Permissions-Policy"], path
        assert answered["Cross-Origin-Opener-Policy"] == (None if path in FRAMED else "same-origin"), path


# Beside the example of each route.
MORE = (
    *("/?lang=ar&ui=ru&csp=1", "/rate?lang=ru", "/rate?date=x", "/widget/frame?spark=30"),
    "/widget/card.svg?date=1992-06-30",
)


async def test_every_page_opens_under_its_own_policy(browser: Browser, live: Live) -> None:
    """Each page opens without a console message, a violation of its policy, or a request to anybody else."""
    examples = [
        operation["x-example"].removeprefix(live.url)
        for operation in openapi_json.operations(Site(live.url), live.service.history.days[-1])
        if not DOCUMENTS.isdisjoint(operation["responses"][200]["content"])
    ]
    assert {"/docs", "/widget/card.svg"} <= {path.partition("?")[0] for path in examples}
    async with spying(browser, live.url, color_scheme="dark") as spy:
        for path in (*examples, *MORE):
            seen = await spy.opens(live.url + path)
            assert (path, [one for one in seen if "status of 4" not in one]) == (path, [])
