"""The page /chart in a real browser: under a pointer, by keyboard, without JavaScript, and in other people's pages."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import in_nightly
from kit.browser import PHONE, WATCH, Browser, Host, Live, Page, Request, Spy, spying, visited
from kit.cases import script

from ratesvc.features.chart.chart_page import frame_height

pytestmark = pytest.mark.nightly

DESK = {"width": 1100, "height": 1200}
MONTH = "codes=USD,EUR&period=month&lang=ru"
TABLE = """[...document.querySelectorAll("tbody tr")].reverse().map(row =>
  [...row.cells].map(cell => cell.textContent))"""

CENTRES = """dots => dots.map(dot => {
  const box = dot.getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2];
})"""


async def shown(page: Page) -> list[str]:
    """The day and the figures in the box beside the pointer, in the order of the table; nothing if there is no box."""
    if not await page.is_visible(".tip"):
        return []
    texts: list[str] = await page.eval_on_selector_all(
        ".tip > span", "all => all.map(one => (one.lastElementChild || one).textContent)"
    )
    return texts


async def rested(page: Page, at: float) -> list[str]:
    """What is shown where the pointer is so far from the first day to the last."""
    box = await page.locator(".area").bounding_box()
    assert box
    await page.mouse.move(box["x"] + min(box["width"] * at, box["width"] - 1), box["y"] + box["height"] / 2)
    return await shown(page)


async def opened(spy: Spy, live: Live, path: str) -> None:
    """Open an address of the service without a complaint."""
    assert await spy.opens(f"{live.url}{path}", "networkidle") == []


@pytest.mark.slow
@pytest.mark.parametrize("asked", [MONTH, *in_nightly("codes=USD,JPY&period=month&lang=en")])
async def test_the_rates_are_under_the_pointer(asked: str, browser: Browser, live: Live) -> None:
    """From the first day to the last each day and its rates, as the table writes them, on the lines; then nothing.

    Yen and dollars lie so far apart that the picture has an index; figures stay those of the Bank.
    """
    async with spying(browser, live.url, viewport=DESK) as spy:
        await opened(spy, live, f"/chart?{asked}")
        table: list[list[str]] = await spy.page.evaluate(TABLE)
        seen = [await rested(spy.page, step / 100) for step in range(101)]
        assert (seen[0], seen[-1]) == (table[0], table[-1])
        assert [row for number, row in enumerate(seen) if row != seen[number - 1]] == table
        dots = await spy.page.eval_on_selector_all(".cursor i", CENTRES)
        ends = await spy.page.eval_on_selector_all(".end path", CENTRES)
        assert [[round(x / 2), round(y / 2)] for x, y in ends] == [[round(x / 2), round(y / 2)] for x, y in dots]
        await spy.page.mouse.move(1, 1)
        assert await shown(spy.page) == []
        assert spy.reported == []


HEIGHTS = script("heights of a line")


@pytest.mark.slow
async def test_a_line_is_as_high_as_the_figures_of_its_axis_say(browser: Browser, live: Live) -> None:
    """The picture that people see: its highest and lowest point, its begin and its end, between the written levels."""
    page = await browser.new_page()
    await page.goto(f"{live.url}/chart?codes=USD&period=month&lang=en")
    marks, drawn = await page.evaluate(HEIGHTS)
    rates = [float(rate) for _, rate in await page.evaluate(TABLE)]
    (high, top), *_, (low, bottom) = [(float(text), y) for text, y in marks]
    for text, y in marks:
        assert abs(y - (top + (high - float(text)) / (high - low) * (bottom - top))) < 1
    for rate, y in zip((max(rates), min(rates), rates[0], rates[-1]), drawn, strict=True):
        assert abs(y - (top + (high - rate) / (high - low) * (bottom - top))) < 1.5, rate


async def test_the_rates_can_be_read_by_keyboard(browser: Browser, live: Live) -> None:
    """A slider, which screen readers know: they say its day and rates at each step, and nothing while a mouse moves."""
    async with spying(browser, live.url, viewport=DESK) as spy:
        await opened(spy, live, f"/chart?{MONTH}")
        page, table = spy.page, await spy.page.evaluate(TABLE)
        slider = page.get_by_role("slider", name="Дата начала действия")
        await slider.focus()
        for key, at in (
            ("End", -1),
            ("ArrowLeft", -2),
            ("ArrowDown", -3),
            ("ArrowRight", -2),
            ("Home", 0),
            ("ArrowUp", 1),
        ):
            await page.keyboard.press(key)
            assert await shown(page) == table[at], key
            day, usd, eur = table[at]
            assert await slider.get_attribute("aria-valuetext") == f"{day}, USD {usd}, EUR {eur}"
        assert await page.evaluate("document.querySelector('.plot').matches(':has(:focus-visible)')")
        assert await page.locator(".tip").get_attribute("aria-hidden") == "true"
        assert await page.locator("[aria-live], [role=status], output").count() == 0
        await page.keyboard.press("Tab")
        assert await shown(page) == []


async def test_a_finger_leaves_the_figures_there(browser: Browser, live: Live) -> None:
    """On a phone all six fit beside the line, over no title and no label, and the page scrolls under the finger."""
    async with spying(browser, live.url, viewport=PHONE, has_touch=True) as spy:
        await opened(spy, live, "/chart?codes=USD,EUR,CNY,GBP,JPY,TRY&period=month&lang=ru")
        page, plot = spy.page, spy.page.locator(".plot")
        await plot.scroll_into_view_if_needed()
        box = await plot.bounding_box()
        assert box
        area = await page.locator(".area").bounding_box()
        assert area
        for part in (0.2, 0.45, 0.6):
            await page.touchscreen.tap(box["x"] + box["width"] * part, box["y"] + box["height"] / 2)
            assert len(await shown(page)) == 7
            tip = await page.locator(".tip").bounding_box()
            assert tip
            assert box["x"] <= tip["x"] < tip["x"] + tip["width"] <= area["x"] + area["width"] + 1, part
            assert tip["y"] >= area["y"] - 1
            assert tip["y"] + tip["height"] <= box["y"] + box["height"]
        assert await plot.evaluate("one => getComputedStyle(one).touchAction") == "pan-y"
        assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert spy.reported == []


@pytest.mark.slow
@pytest.mark.parametrize("screen", [DESK, *in_nightly(PHONE)])
async def test_nothing_moves_and_little_is_loaded(browser: Browser, live: Live, screen: Any) -> None:
    """Nothing but the page; layout shift is exactly 0 under the pointer. A page that arrives may wrap a line."""
    context = await browser.new_context(viewport=screen)
    page = await context.new_page()
    await page.add_init_script(WATCH)
    loaded: list[Request] = []
    page.on("response", lambda response: loaded.append(response.request))
    await visited(page, f"{live.url}/chart?{MONTH}")
    loading = await page.evaluate("shift")
    assert loading < 0.01
    await page.locator(".area").scroll_into_view_if_needed()
    days = {(await rested(page, at))[0] for at in (0.1, 0.45, 0.9)}
    await page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert (len(days), await page.evaluate("[shift, violations]")) == (3, [loading, []])
    pages = [one for one in loaded if "favicon" not in one.url]
    sizes = [(await one.sizes())["responseBodySize"] for one in pages]
    assert [one.url.partition("?")[0].rpartition("/")[2] for one in pages] == ["chart"]
    assert sum(sizes) < 20_000, sizes


@pytest.mark.slow
async def test_without_javascript_there_is_the_same_chart(browser: Browser, live: Live) -> None:
    """The picture with its words, the table, all periods and own days, and one more currency by the form."""
    async with spying(browser, live.url, viewport=PHONE, java_script_enabled=False) as spy:
        await opened(spy, live, f"/chart?{MONTH}")
        page = spy.page
        picture = page.get_by_role("img")
        assert "последнее" in str(await picture.get_attribute("aria-label"))
        box = await page.locator(".plot").bounding_box()
        assert box
        assert (box["width"] > 300, box["height"] > 200) == (True, True)
        assert not await page.get_by_role("slider").is_visible()
        await page.get_by_text("Добавить на сайт").click()
        assert (await page.is_visible(".embed pre"), await page.is_visible(".embed form")) == (True, False)
        await page.get_by_text("Таблица").click()
        assert await page.is_visible("tbody")
        assert await page.locator(".rows").evaluate("one => one.scrollWidth - one.clientWidth") == 0
        await page.select_option("#add", label="CNY · китайский юань")
        await page.get_by_role("button", name="Добавить").click()
        assert page.url.endswith("/chart?period=month&lang=ru&codes=USD%2CEUR%2CCNY")
        await page.get_by_role("link", name="Убрать EUR").click()
        await page.get_by_role("link", name="7 дн.").click()
        assert page.url.endswith("/chart?codes=USD,CNY&period=week&lang=ru")
        await page.get_by_text("Другие дни").click()
        await page.fill("#since", "2022-11-01")
        await page.fill("#until", "2022-11-10")
        await page.get_by_role("button", name="Показать").click()
        assert page.url.endswith("/chart?codes=USD%2CCNY&lang=ru&since=2022-11-01&until=2022-11-10")
        assert spy.reported == []


async def test_the_code_of_the_page_shows_the_chart_in_other_pages(browser: Browser, live: Live, host: Host) -> None:
    """As it is copied, in a page of another origin, under its policy: the same figures, keys, and the way back."""
    async with spying(browser, "http://", viewport=DESK) as spy:
        await opened(spy, live, f"/chart?{MONTH}")
        await spy.page.get_by_text("Добавить на сайт").click()
        code = await spy.page.inner_text("pre")
        origin = live.url
        policy = {"Content-Security-Policy": f"default-src 'none'; frame-src {origin}; style-src 'unsafe-inline'"}
        assert await spy.opens(host.put(code, policy), "networkidle") == []
        frame = spy.page.frames[1]
        assert await frame.evaluate("document.documentElement.scrollHeight - innerHeight") <= 0
        await frame.locator("input").focus()
        await frame.locator("input").press("Home")
        assert "18\u00a0октября 2022" in await frame.inner_text(".tip")
        assert await frame.locator("form, nav").count() == 0
        await frame.get_by_role("link", name="Курсы ЦБ").click()
        await spy.page.wait_for_url(f"{origin}/chart?{MONTH}")


RUNS = script("which way texts run")


@pytest.mark.parametrize("screen", [DESK, PHONE])
async def test_arabic_runs_to_the_left_and_english_beside_it_to_the_right(
    browser: Browser, live: Live, screen: Any
) -> None:
    """Each day as it is read, day before month: in figures, table, box and picture. No English line is turned round."""
    async with spying(browser, live.url, viewport=screen) as spy:
        page = spy.page
        await opened(spy, live, "/chart?codes=USD,EUR&period=month&lang=ar")
        await page.get_by_role("slider").focus()
        await page.evaluate("document.querySelector('.rows').parentNode.open = true")
        for selector in (".figures .soft", "tbody time", ".tip > :first-child"):
            assert {*await page.eval_on_selector_all(selector, RUNS)} == {"left"}, selector
        await page.goto(f"{live.url}/chart.svg?codes=USD&since=2022-10-18&lang=ar&width=320&height=300")
        for selector, way in ((".days text", "left"), (".small[lang=en]", "right")):
            assert {*await page.eval_on_selector_all(selector, RUNS)} == {way}, selector
        await page.set_viewport_size({"width": 1100, "height": 1200})
        await page.goto(f"{live.url}/widget/frame?lang=ar&spark=30&columns=name,today,next,change,percent")
        assert await page.eval_on_selector_all("thead th[lang=en]", RUNS) == ["right"] * 4
        await page.goto(f"{live.url}/widget/card.svg?lang=ar")
        arabic = "all => all.filter(one => /[\u0620-\u064a]{2}/.test(one.textContent))"
        runs = await page.eval_on_selector_all("[font-size='13']:not([lang])", f"all => ({RUNS})(({arabic})(all))")
        assert {*runs} == {"left"}


CUT = """all => all.filter(one =>
  one.scrollWidth > one.clientWidth || one.scrollHeight > one.clientHeight + 1).length"""

BEGINS_OUTSIDE = script("names that begin outside")


WIDTHS = (
    *((180, "ru"), (200, "en"), (240, "en"), (300, "ru"), (320, "zh-Hans"), (360, "de"), (390, "ru"), (500, "ar")),
    *((720, "ru"), (1200, "en")),
)
TOUCHING = """all => all.map(one => one.getBoundingClientRect()).filter(box => box.width).some((one, at, boxes) =>
  boxes.some((other, place) => place > at && one.right > other.left && other.right > one.left
    && one.bottom - 3 > other.top && other.bottom - 3 > one.top))"""
SMALLEST = """all => Math.min(...all.filter(one => one.getClientRects().length)
  .map(one => parseFloat(getComputedStyle(one).fontSize)))"""
TORN = script("torn days")
"""The days of a caption that do not stand on one line."""


@pytest.mark.parametrize("codes", ["USD", "USD,EUR", "UZS,USD,XDR", "USD,EUR,CNY,GBP,JPY,TRY"])
async def test_figures_have_their_space(browser: Browser, live: Live, codes: str) -> None:
    """From a narrow column to a wide page, in each language: the chart fills the frame and nothing scrolls.

    No figure is cut, no label touches another and none is small. A long name ends in an ellipsis.
    """
    page = await browser.new_page()
    for width, lang in WIDTHS:
        asked = f"codes={codes}&period=month&lang={lang}"
        await page.set_viewport_size({"width": width, "height": frame_height(codes.split(","))})
        await page.goto(f"{live.url}/chart/frame?{asked}&theme=dark")
        spare = "innerHeight - document.querySelector('summary').getBoundingClientRect().bottom"
        assert 0 <= await page.evaluate(spare) < 24, (width, lang)
        assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") == 0, (width, lang)
        apart = ".days text", ".end text", ".marks span", ".figures p:not(.soft), .figures b", "summary, .source a"
        for texts in apart:
            assert not await page.eval_on_selector_all(texts, TOUCHING), (width, lang, texts)
        assert await page.eval_on_selector_all("main *", SMALLEST) >= 12, (width, lang)
        assert await page.eval_on_selector("figcaption :last-child", TORN) == [], (width, lang)
        # A long name may end in an ellipsis.
        assert await page.eval_on_selector_all(".figures .last, .figures li", CUT) == 0, (width, lang)
        await page.goto(f"{live.url}/chart?{asked}")
        assert await page.eval_on_selector_all(".figures .last, .add p", CUT) == 0 or width < 240, (width, lang)
        outside = await page.eval_on_selector_all(".figures .code span", BEGINS_OUTSIDE)
        assert outside == 0 or width < 320, (width, lang)
