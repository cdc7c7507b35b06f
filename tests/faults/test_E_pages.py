"""Our pages in a browser: headers and policy of each."""

from __future__ import annotations

import re

import pytest
from conftest import addresses
from kit import cases
from kit.browser import Browser, Live, spying
from kit.http import ask, get

from ratesvc.features.docs import openapi_json
from ratesvc.render.openapi import Site

pytestmark = pytest.mark.nightly

DOCUMENTS = {"text/html", "image/svg+xml"}
ABOUT_BROWSERS = re.compile("(Access-Control|Content-[ST]|Cross-Origin|Permissions|Referrer|Server|Set-Cookie|X-)")


@pytest.mark.slow
async def test_every_route_has_its_headers(live: Live) -> None:
    """golden/headers.txt: those that say what a browser may do. Each route is there."""
    answers, seen = dict[str, str](), dict[str, str]()
    for path in cases.questions("headers.txt"):
        told = [await ask(live.url, get(path, "Origin: null", method=method)) for method in ("OPTIONS", "GET")]
        lines = [{line for line in one.head.splitlines()[1:] if ABOUT_BROWSERS.match(line)} for one in told]
        text = "\n".join([*sorted(lines[1]), *(f"before: {line}" for line in sorted(lines[0] - lines[1]))])
        assert "unsafe" not in text or path == "/widget/preview"  # the copied code, in the frame of the builder alone
        first = seen.setdefault(re.sub(r"sha256-[\w+/=]{44}", "…", text.replace(live.url, "http://localhost")), path)
        answers[path] = f"as {first}"
    cases.check("headers.txt", answers | {path: text for text, path in seen.items()})
    asked = {path.partition("?")[0] for path in answers}
    assert {path for path in addresses(live.service) if "{" not in path} - {"/v1/events"} <= asked


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
