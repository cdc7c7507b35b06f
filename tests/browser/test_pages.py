"""Our pages in a real browser."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from conftest import Clock, Serve, eventually, first
from kit.bank import Bank, sheet
from kit.browser import Live, chromium, spying
from kit.service import free_port
from playwright.async_api import Browser

pytestmark = pytest.mark.nightly


@pytest.mark.parametrize(("scheme", "lang", "value"), [("light", "en", "60.3741"), ("dark", "ru", "60,3741")])
async def test_the_page_shows_the_widget_without_a_single_complaint(
    browser: Browser, live: Live, scheme: str, lang: str, value: str
) -> None:
    """Under its own CSP, in both schemes and languages: no console message, no foreign host, the right numbers."""
    screen: dict[str, Any] = {"color_scheme": scheme, "viewport": {"width": 1000, "height": 1300}}
    async with spying(browser, live.url, **screen) as spy:
        assert await spy.opens(f"{live.url}/?lang={lang}", "networkidle") == []
        frames = [frame for frame in spy.page.frames if "/widget/preview" in frame.url]
        assert len(frames) == 2
        for frame in frames:
            assert value in await frame.inner_text("table")
            assert await frame.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


@pytest.mark.parametrize(("scheme", "width"), [("light", 380), ("dark", 1100)])
async def test_the_reference_fits_every_screen(browser: Browser, live: Live, scheme: str, width: int) -> None:
    """/docs under its own CSP: no console message, no foreign host, nothing sticks out; answers open; a search."""
    screen: dict[str, Any] = {"color_scheme": scheme, "viewport": {"width": width, "height": 900}}
    async with spying(browser, live.url, **screen) as spy:
        assert await spy.opens(f"{live.url}/docs", "networkidle") == []
        for summary in await spy.page.query_selector_all("summary"):
            await summary.click()
        assert await spy.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert await spy.page.is_visible("details[open] pre")
        await spy.page.fill("#find", "card svg")
        assert await spy.page.get_attribute("#search li:first-child a", "href") == "#card"
        assert not await spy.page.is_visible(".contents > ul")
        await spy.page.press("#find", "Enter")
        assert await spy.page.evaluate("location.hash") == "#card"
        await spy.page.fill("#find", "xyzzy")
        assert await spy.page.inner_text("output") == "Nothing here has these words."
        await spy.page.fill("#find", "")
        await spy.page.click('nav a[href="#convert"]')
        assert await spy.page.evaluate("location.hash") == "#convert"
        assert spy.reported == []


@pytest.mark.parametrize(("path", "only_on_screen"), [("/rate", "form"), ("/chart", ".add"), ("/docs", ".contents")])
async def test_what_is_for_the_screen_is_not_printed(
    browser: Browser, live: Live, path: str, only_on_screen: str
) -> None:
    """And what is for print is not on the screen: a form there can be filled in."""
    page = await browser.new_page()
    await page.goto(f"{live.url}{path}?lang=en")
    assert await page.is_visible(only_on_screen)
    await page.emulate_media(media="print")
    assert not await page.is_visible(only_on_screen)


QUESTIONS = {
    "en": {
        "tomorrow's rate": ("calling", "next"),
        "weekend": ("calling", "Saturday"),
        "Excel": ("calling", "spreadsheet"),
        "monthly mean": ("calling", "Monthly"),
        "how is it rounded?": ("accounting", "Rounding"),
        "corrections": ("accounting", "Corrections"),
        "all of history": ("calling", "/v1/history.csv"),
        "rate limits": ("calling", "limits"),
        "compatibility": ("calling", "Compatibility"),
        "503": ("", "503"),
    },
    "ru": {
        "курс на завтра": ("calling", "завтра"),
        "выходные": ("calling", "выходные"),
        "Excel": ("calling", "Excel"),
        "средний за месяц": ("calling", "Средние"),
        "как округляется": ("accounting", "Округление"),
        "исправления": ("accounting", "Исправления"),
        "вся история": ("calling", "/v1/history.csv"),
        "лимит запросов": ("calling", "лимита"),
        "совместимость": ("calling", "Совместимость"),
        "503": ("", "503"),
    },
}
WORDS = {
    "en": "tomorrow yesterday today excel spreadsheet error errors round rounding cache caching etag pandas grafana "
    "csv json webhook telegram stream weekend holiday month average limit retry busy nominal revision cross history "
    "invoice",
    "ru": "завтра сегодня вчера таблица ошибка ошибки округлить кеш кеширование pandas grafana csv json вебхук "
    "telegram поток выходной праздник месяц средний лимит повторить номинал версия исправить кросс история счёт "
    "зарплата бухгалтер закон",
}


@pytest.mark.slow
@pytest.mark.parametrize("lang", first(1, ["ru", "en"]))
async def test_the_search_of_the_reference_answers_what_people_ask(browser: Browser, live: Live, lang: str) -> None:
    """Ten questions by the first three results, each with the words of the answer; thirty words find something."""
    page = await browser.new_page()
    await page.goto(f"{live.url}/docs?lang={lang}")
    for question, (guide, words) in QUESTIONS[lang].items():
        await page.fill("#find", question)
        results = [
            (str(await one.locator("a").get_attribute("href")), await one.inner_text())
            for one in (await page.locator("#search li").all())[:3]
        ]
        assert [text for address, text in results if f"/docs/{guide}" in address or not guide], (question, results)
        assert any(words in text for _, text in results), (question, results)
    nothing = []
    for word in WORDS[lang].split():
        await page.fill("#find", word)
        if not await page.locator("#search li").count():
            nothing.append(word)
    assert nothing == []
    await page.close()


async def test_a_result_of_the_search_leads_to_its_place_in_a_guide(browser: Browser, live: Live) -> None:
    """The guide is a page of this service with its own address in the examples, under its own CSP."""
    async with spying(browser, live.url) as spy:
        await spy.opens(f"{live.url}/docs?lang=ru", "networkidle")
        await spy.page.fill("#find", "power query")
        await spy.page.press("#find", "Enter")
        await spy.page.wait_for_url("**/docs/calling?lang=ru#a-spreadsheet-excel-libreoffice-google-sheets")
        assert "Csv.Document" in await spy.page.inner_text("main")
        assert await spy.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert spy.reported == []


LISTEN = """url => {
  window.heard = [];
  window.opened = 0;
  const source = new EventSource(url);
  source.onopen = () => window.opened++;
  for (const kind of ["sheet", "revision", "in_force", "reset"])
    source.addEventListener(kind, event =>
      window.heard.push([kind, event.lastEventId, JSON.parse(event.data).effective_date]));
}"""


async def test_a_browser_hears_every_event_once_across_a_restart(bank: Bank, serve: Serve, clock: Clock) -> None:
    """A page of another origin reconnects by itself, and gets what happened meanwhile."""
    bank.publish(sheet(date(2026, 4, 23)), sheet(date(2026, 4, 24)))
    # A browser of its own, on the loop of the services.
    async with chromium() as browser:
        page = await browser.new_page()
        port = free_port()  # none that the system gives to somebody else while nobody listens there
        async with serve(server={"port": port}) as first:
            await eventually(lambda: len(first.service.history.days) == 2)
            await page.evaluate(LISTEN, f"{first.url}/v1/events")
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
    assert [tuple(told) for told in heard] == [
        ("sheet", "2026-04-24.1-7fe99e88_2026-04-25.1-99c35439", "2026-04-25"),
        ("in_force", "2026-04-25.1-99c35439", "2026-04-25"),
    ]
