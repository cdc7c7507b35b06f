"""Our pages in a real browser."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import unquote

import pytest
from conftest import Clock, Serve, eventually, first
from kit.bank import Bank, sheet
from kit.browser import Browser, Live, chromium, spying
from kit.cases import questions, script
from kit.service import ROOT, free_port

from ratesvc.features.docs.reference import titles
from ratesvc.installed import FEATURES

pytestmark = pytest.mark.nightly

HERE = "http://localhost:8080"


@pytest.mark.parametrize(("scheme", "width"), [("light", 380), ("dark", 1100)])
async def test_the_reference_fits_every_screen(browser: Browser, live: Live, scheme: str, width: int) -> None:
    """/docs under its own CSP: no console message, no foreign host, nothing sticks out; answers open; a search."""
    screen: dict[str, Any] = {"color_scheme": scheme, "viewport": {"width": width, "height": 900}}
    async with spying(browser, live.url, **screen) as spy:
        for name in titles(FEATURES):
            assert await spy.opens(f"{live.url}/docs/{name}".rstrip("/"), "networkidle") == []
            for summary in await spy.page.query_selector_all("main summary"):
                await summary.click()
            assert await spy.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, name
            assert await spy.page.is_visible(".contents nav") == (width > 1000)
        await spy.page.goto(f"{live.url}/docs/rates")
        await spy.page.click("main summary")
        assert await spy.page.is_visible("details[open] pre")
        await spy.page.fill("#find", "card svg")
        await spy.page.wait_for_selector("#search li")
        assert "/docs/widget?lang=en#" in str(await spy.page.get_attribute("#search li:first-child a", "href"))
        assert not await spy.page.is_visible(".contents nav")
        await spy.page.fill("#find", "xyzzy")
        await spy.page.wait_for_selector("output:not(:empty)")
        assert await spy.page.inner_text("output") == "Nothing here has these words."
        assert spy.reported == []


@pytest.mark.slow
@pytest.mark.parametrize("lang", first(1, ["ru", "en"]))
async def test_the_search_of_the_reference_answers_what_people_ask(browser: Browser, live: Live, lang: str) -> None:
    """The first result is right for nine of ten."""
    page = await browser.new_page()
    await page.goto(f"{live.url}/docs?lang={lang}")
    await page.fill("#find", "USD")
    await page.locator("#search li").first.wait_for()
    asked = [line.split(" | ") for line in questions("searches.txt") if line.startswith(lang)]
    wrong = {}
    for _, question, right in asked:
        await page.fill("#find", question)
        first_one = await page.eval_on_selector_all(
            "#search li:first-child a", "all => all.map(a => `${a.href} «${a.text}`)"
        )
        found = unquote("".join(first_one).replace(f"?lang={lang}", "")).lower()
        if not any(part.lower() in found for part in right.split("; ")):
            wrong[question] = found
    assert len(wrong) <= len(asked) / 10, wrong
    await page.close()


@pytest.mark.slow
async def test_a_result_of_the_search_leads_to_its_place_in_a_page(browser: Browser, live: Live) -> None:
    """The page has the address of this service in its examples, and its own CSP."""
    async with spying(browser, live.url) as spy:
        await spy.opens(f"{live.url}/docs?lang=ru", "networkidle")
        await spy.page.fill("#find", "power query")
        await spy.page.press("#find", "Enter")
        await spy.page.wait_for_url("**/docs/api?lang=ru#*-excel-libreoffice-google-*")
        assert "Csv.Document" in await spy.page.inner_text("main")
        # The contents show where the reader is.
        here = spy.page.locator(".contents [aria-current=location]")
        await here.and_(spy.page.get_by_text("Excel")).wait_for()
        await spy.page.evaluate("document.getElementById('в-вебхук-в-канал').scrollIntoView()")
        await here.and_(spy.page.get_by_text("вебхук")).wait_for()
        for shown in (here, spy.page.locator("#find")):
            assert 0 <= await shown.evaluate("one => one.getBoundingClientRect().top") < 720
        assert spy.reported == []


LISTEN = script("listen to events")


async def test_a_browser_hears_every_event_once_across_a_restart(bank: Bank, serve: Serve, clock: Clock) -> None:
    """A page of another origin reconnects by itself, and gets what happened meanwhile. So does that of docs/api.md."""
    (example,) = re.findall(
        r"^const events = .*?(?=^```)", (ROOT / "docs/api.md").read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    bank.publish(sheet(date(2026, 4, 23)), sheet(date(2026, 4, 24)))
    # A browser of its own, on the loop of the services.
    async with chromium() as browser:
        page = await browser.new_page()
        port = free_port()  # none that the system gives to somebody else while nobody listens there
        async with serve(server={"port": port}) as first:
            await eventually(lambda: len(first.service.history.days) == 2)
            await page.evaluate(LISTEN, f"{first.url}/v1/events")
            await page.add_script_tag(
                content=f"const show = sheet => {{ window.shown = sheet; }}; {example.replace(HERE, first.url)}"
            )
            await page.wait_for_function("window.opened == 1")
        bank.publish(sheet(date(2026, 4, 25)))
        async with serve(server={"port": port}) as second:
            await eventually(lambda: len(second.service.history.days) == 3)
            await page.wait_for_function("window.opened == 2")
            await page.wait_for_function("window.heard.length == 1")
            clock.moment = datetime(2026, 4, 24, 21, 0, tzinfo=UTC)
            await second.service.tick()
            await page.wait_for_function("window.heard.length >= 2")
            heard = await page.evaluate("window.heard")
            await page.wait_for_function("window.shown?.effective_date === '2026-04-25'")
    assert [tuple(told) for told in heard] == [
        ("sheet", "2026-04-24.1-7fe99e88_2026-04-25.1-99c35439", "2026-04-25"),
        ("in_force", "2026-04-25.1-99c35439", "2026-04-25"),
    ]
