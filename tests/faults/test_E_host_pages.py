"""E13: the element on host pages that do their worst, in Chromium and in Firefox."""

from __future__ import annotations

from collections.abc import AsyncIterator

import hostile
import pytest
import pytest_asyncio
from conftest import in_nightly
from host_pages import ELEMENT, LINK, HostSite, Verdict, chromium_judges, firefox_judges, hosting, page, script
from kit.browser import SESSION, Live, got, pasted

from ratesvc.features.site.page import hashes
from ratesvc.features.widget.releases import RELEASE

pytestmark = pytest.mark.nightly


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


@pytest.mark.parametrize("way", hostile.NAMED)
async def test_E13_names_in_the_html(site: HostSite, loader: str, way: str) -> None:
    """Named elements in a host's HTML, as in a comment, hide properties of its document: rows, and only ours."""
    evil = f"{site.url}/widget/x"
    for names in (
        ["currentScript"],
        ["createElementNS"],
        ["defaultView"],
        ["host"],
        [*hostile.NAMES],
    ):
        comment = "".join(hostile.NAMED[way].format(name=name, evil=evil) for name in names)
        seen = await site.judged(page("", loader, before=comment))
        check(seen, rows=True)
        assert "60.3741" in seen.text
        assert site.asked["/widget/nodes.json"] == 0


@pytest.mark.parametrize("way", hostile.POLLUTIONS)
async def test_E13_polluted_prototypes(site: HostSite, loader: str, converter: str, way: str) -> None:
    """Keys that every object inherits become no handler, no link and no option of a request: rows or the link."""
    for attributes in ('lang="en"', 'lang="ru" spark="30" converter="1"', 'lang="en" layout="inline" code="USD"'):
        body = f"<cbr-rates {attributes}>{LINK}</cbr-rates>"
        check(await site.judged(page(hostile.POLLUTIONS[way], loader, body=body, after=converter)))


@pytest.mark.parametrize("way", hostile.LIBRARIES)
async def test_E13_libraries_and_polyfills(site: HostSite, loader: str, way: str) -> None:
    """Libraries that extend arrays and elements, polyfills of promises, elements and shadow DOM: rows or the link."""
    for attributes in ('lang="en"', 'lang="ru" spark="30" columns="name,next,change,percent"'):
        body = f"<cbr-rates {attributes}>{LINK}</cbr-rates>"
        check(await site.judged(page(hostile.LIBRARIES[way], loader, body=body)))


@pytest.mark.parametrize("way", [*hostile.TO_THE_LINK, *hostile.TO_THE_ROWS])
async def test_E13_documents_and_moves(site: HostSite, loader: str, way: str) -> None:
    """Without constructable style sheets, in another document, moved, removed, copied: rows or the link, and an event.

    Where the rows are, their style is.
    """
    story = hostile.STORY % (hostile.TO_THE_LINK | hostile.TO_THE_ROWS)[way]
    seen = await site.judged(page("", loader, body=f"{ELEMENT}<script>{story}</script>"))
    has_rows = way in hostile.TO_THE_ROWS
    assert (seen.shown, seen.state) == (("rows", "load") if has_rows else ("link", "error")), seen
    assert (seen.styled, seen.said) == (has_rows, "done"), seen
    assert (seen.ran, seen.errors) == ([], []), seen


@pytest.mark.parametrize("site", ["chromium"], indirect=True)
@pytest.mark.parametrize("status", [503, 200])
@pytest.mark.parametrize("way", hostile.FLOODS)
async def test_E13_floods(site: HostSite, loader: str, way: str, status: int) -> None:
    """A refresh of months, an attribute or element that changes at every frame, a service that fails: no flood.

    Neither of requests nor of events. Of 120 different elements in a second a hundred ask.
    """
    own = await playing_the_service(site, loader)
    rows = await got(loader.replace("rates.js", "nodes.json"))
    site.answers["/widget/nodes.json"] = status, rows if status == 200 else ""
    doing, most = hostile.FLOODS[way]
    element = ELEMENT.replace("lang", f"{way} lang") if "=" in way else ELEMENT
    seen = await site.judged(page("", own, body=f"{element}<script>{hostile.FRAMES % doing}</script>"))
    assert 1 <= site.asked["/widget/nodes.json"] <= most, (seen, site.asked)
    assert len(seen.events) <= (150 if status == 200 else 5 + 2 * most), (seen, site.asked)
    assert (seen.shown, seen.errors) == ("link" if status == 503 else "rows", []), seen


@pytest.mark.parametrize("way", ["open", "closed", "nested", "slotted"])
async def test_E13_in_another_component(site: HostSite, loader: str, converter: str, way: str) -> None:
    """In the shadow DOM of another component it has the page's language, its converter, and an event that gets out."""
    rates = f"<cbr-rates converter=1>{LINK}</cbr-rates>"
    inside = {"nested": "<inner-card></inner-card>", "slotted": ""}.get(way, rates)
    card = hostile.COMPONENT.format(name="some-card", mode="closed" if way == "closed" else "open", inside=inside)
    inner = hostile.COMPONENT.format(name="inner-card", mode="closed", inside=rates)
    body = f"<some-card>{rates if way == 'slotted' else ''}</some-card><script>var subject; {inner} {card}</script>"
    seen = await site.judged(page("", loader, body=body, after=converter).replace("lang=en", "lang=ru"))
    check(seen, rows=True)
    assert "60,3741" in seen.text
    assert seen.converter, seen


async def test_E13_a_hostile_answer(site: HostSite, loader: str, converter: str) -> None:
    """A pinned loader makes no script, handler, style or frame of a hostile answer, and no link but http and https."""
    own = await playing_the_service(site, loader)
    for name, text in hostile.answers().items():
        site.answers["/widget/nodes.json"] = 200, text
        seen = await site.judged(page(f"name = {name!r}", own, after=converter))
        check(seen)


@pytest.mark.parametrize("way", ["names", "every key", "shadow DOM", "moved into a frame"])
async def test_E13_under_a_strict_policy(site: HostSite, live: Live, way: str) -> None:
    """The same under the builder's strict code, a policy and Trusted Types: not one violation."""
    code = await pasted(live.url, "element", "csp=1&lang=en")
    rule = code.split("Your style sheet:  ")[1].split("\n")[0]
    line = code.split("Your policy:  ")[1].split(" -->")[0]
    own, story = (hostile.POLLUTIONS | hostile.LIBRARIES).get(way, ""), ""
    if way in hostile.TO_THE_ROWS:
        story = hostile.STORY % hostile.TO_THE_ROWS[way]
    before = "".join(f'<form name="{name}"></form>' for name in hostile.NAMES) if way == "names" else ""
    body = f"{code.split('<script')[0]}<script>{story}</script>"
    text = page(own, f"{live.url}/widget/{RELEASE}/rates.js", body=body, before=before)
    allowed = line.replace("script-src", f"script-src {hashes('parent.watch(window)', own, story)}")
    policy = f"default-src 'none'; style-src {hashes(rule)}; {allowed}; frame-src 'self'; "
    policy += "require-trusted-types-for 'script'; trusted-types 'none'"
    text = text.replace("</head>", f"<style>{rule}</style></head>")
    seen = await site.judged(text, {"Content-Security-Policy": policy})
    check(seen, rows=way != "shadow DOM")
    assert seen.violations == []
