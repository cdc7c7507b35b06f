"""Our pages in a real browser."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from pathlib import Path

import msgspec
import pytest
from conftest import Clock, Serve, Served, eventually
from fake_bank import Bank, sheet
from playwright.async_api import Browser
from widget_harness import chromium

from ratesvc.config import Settings

pytestmark = pytest.mark.browser


@pytest.fixture
async def own_browser() -> AsyncIterator[Browser]:
    """On the loop of the service that the test starts."""
    async with chromium() as running:
        yield running


@pytest.mark.parametrize(("scheme", "lang"), [("light", "en"), ("dark", "ru")])
async def test_the_page_shows_the_widget_without_a_single_complaint(
    own_browser: Browser, served: Served, scheme: str, lang: str, tmp_path: Path
) -> None:
    """Under its own CSP, in both schemes and languages: no console message, no foreign host, the right numbers."""
    context = await own_browser.new_context(color_scheme=scheme, viewport={"width": 1000, "height": 1300})  # type: ignore[arg-type]
    page = await context.new_page()
    complaints: list[str] = []
    hosts: set[str] = set()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: hosts.add(request.url.split("/")[2].split(":")[0]))
    await page.goto(f"{served.url}/?lang={lang}", wait_until="networkidle")
    frames = [frame for frame in page.frames if "/widget/frame" in frame.url]
    assert len(frames) == 2
    value = sheet(date(2026, 4, 24)).by_code["USD"].value
    for frame in frames:
        text = await frame.inner_text("table")
        assert f"{value:.4f}".replace(".", "," if lang == "ru" else ".") in text
        overflow = await frame.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert overflow <= 0
    await page.screenshot(path=tmp_path / "page.png")
    await context.close()
    assert not complaints
    assert hosts == {"127.0.0.1"}


LISTEN = """url => {
  window.heard = [];
  window.opened = 0;
  const source = new EventSource(url);
  source.onopen = () => window.opened++;
  for (const kind of ["sheet", "revision", "in_force", "reset"])
    source.addEventListener(kind, event =>
      window.heard.push([kind, event.lastEventId, JSON.parse(event.data).effective_date]));
}"""


@pytest.mark.slow
async def test_a_browser_hears_every_event_once_across_a_restart(
    own_browser: Browser, bank: Bank, settings: Settings, serve: Serve, clock: Clock
) -> None:
    """From a page of another origin; it comes back by itself, and what happened meanwhile is there."""
    page = await own_browser.new_page()
    bank.publish(sheet(date(2026, 4, 23)), sheet(date(2026, 4, 24)))
    async with serve(settings) as first:
        await eventually(lambda: first.service.event_log.log.end.seq == 2)
        port = int(first.url.rsplit(":", 1)[1])
        await page.evaluate(LISTEN, f"{first.url}/v1/events")
        await page.wait_for_function("window.opened == 1")
    bank.publish(sheet(date(2026, 4, 25)))
    again = msgspec.structs.replace(settings, server=msgspec.structs.replace(settings.server, port=port))
    async with serve(again) as second:
        await eventually(lambda: second.service.event_log.log.end.seq == 3)
        await page.wait_for_function("window.opened == 2")
        await page.wait_for_function("window.heard.length == 1")
        clock.moment = datetime(2026, 4, 24, 21, 0, tzinfo=UTC)
        await second.service.republish()
        await page.wait_for_function("window.heard.length >= 2")
        heard = await page.evaluate("window.heard")
        await page.close()
    assert [(kind, told[:14], day) for kind, told, day in heard] == [
        ("sheet", "3-2026-04-25.1", "2026-04-25"),
        ("in_force", "4-2026-04-25.1", "2026-04-25"),
    ]


@pytest.mark.parametrize(("scheme", "width"), [("light", 380), ("dark", 1100)])
async def test_the_reference_fits_every_screen(own_browser: Browser, served: Served, scheme: str, width: int) -> None:
    """/docs under its own CSP: no console message, no foreign host, nothing that sticks out, answers that open."""
    context = await own_browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})  # type: ignore[arg-type]
    page = await context.new_page()
    complaints: list[str] = []
    hosts: set[str] = set()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("request", lambda request: hosts.add(request.url.split("/")[2].split(":")[0]))
    await page.goto(f"{served.url}/docs", wait_until="networkidle")
    for summary in await page.query_selector_all("summary"):
        await summary.click()
    assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert await page.is_visible("details[open] pre")
    await page.click('nav a[href="#convert"]')
    assert await page.evaluate("location.hash") == "#convert"
    await context.close()
    assert not complaints
    assert hosts == {"127.0.0.1"}
