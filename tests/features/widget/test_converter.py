"""The converter in a real Chromium, compared with /v1/convert of a real server."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from html import escape
from pathlib import Path
from random import Random
from urllib.parse import quote

import aiohttp
import pytest
from conftest import in_nightly
from kit.browser import Browser, Host, Live, got, pasted, visited
from kit.cases import script

from ratesvc.features.ranges.conversion import convert
from ratesvc.features.site.language import Language, language_or_default
from ratesvc.features.site.page import hashes
from ratesvc.features.widget.converter import converter_data
from ratesvc.features.widget.releases import RELEASE

pytestmark = pytest.mark.nightly

SEED = 20261126
TABLE = json.loads((Path(__file__).parents[2] / "amounts.json").read_text("utf-8"))
ASK = script("ask the converter")


def page_with(live: Live, host: Host, language: Language) -> str:
    """A page with a converter of every currency, whose script comes twice; returns its address."""
    current = live.service.publication
    assert current
    answer = current.snapshot.for_today()
    data = escape(converter_data([answer], answer.revision.sheet.by_code, language))
    script = f'<script src="{live.url}/widget/{RELEASE}/converter.js"></script>'
    return host.put(f'<cbr-converter data="{data}"></cbr-converter>{script}{script}')


@pytest.mark.parametrize("tag", ["ru", *in_nightly("de")])
async def test_a_thousand_amounts_are_those_of_the_api(browser: Browser, live: Live, host: Host, tag: str) -> None:
    """Random amounts and pairs, ties of half a kopeck among them, give `result_rounded` of /v1/convert."""
    language = language_or_default(tag)
    chance = Random(SEED)  # noqa: S311 -- a seed, so that a failure can be repeated
    codes = [*sorted(live.service.history.codes()), "RUB"]
    asked = [(f"{chance.randrange(10 ** chance.randrange(1, 15))}", *chance.choices(codes, k=2)) for _ in range(500)]
    asked += [
        (f"{chance.randrange(10**6)}.{chance.randrange(10 ** (places - 1), 10**places)}", *chance.choices(codes, k=2))
        for places in (1, 2, 3, 4, 10)
        for _ in range(95)
    ]
    asked += [(f"{number}.{number:02}5", "RUB", "RUB") for number in range(25)]
    page = await browser.new_page()
    await page.goto(page_with(live, host, language))
    shown = await page.evaluate(ASK, [(text.replace(".", language.decimal_mark), *pair) for text, *pair in asked])
    expected = []
    async with aiohttp.ClientSession() as http:  # one connection for all
        for amount, base, other in asked:
            async with http.get(f"{live.url}/v1/convert?amount={amount}&from={base}&to={other}") as answer:
                expected.append((await answer.json())["results"][other]["result_rounded"])
    plain = [text.replace(language.group_mark, "").replace(language.decimal_mark, ".") for text, *_ in shown]
    assert len(expected) == 1000
    assert plain == expected


@pytest.mark.parametrize("tag", dict.fromkeys(tag for tag, *_ in TABLE))
async def test_an_amount_is_read_by_the_rule_of_the_pages(browser: Browser, live: Live, host: Host, tag: str) -> None:
    """Each amount of tests/amounts.json. One that the table refuses has words, or is of the currency it names."""
    language, current = language_or_default(tag), live.service.publication
    assert current
    rows = [row for lang, *row in TABLE if lang == tag]
    page = await browser.new_page()
    await page.goto(page_with(live, host, language))
    shown = await page.evaluate(ASK, [(text, code, "RUB") for code, text, _ in rows])
    words = language.say("Enter a number")
    assert words != "Enter a number" or language.foreign or tag == "en"
    for (code, text, amount), (result, base, said) in zip(rows, shown, strict=True):
        assert said == ("" if result else words), text
        if amount is None:
            assert not result or base != code, text
            continue
        roubles = convert(current.snapshot.in_force.sheet, Decimal(amount), code, "RUB").rounded
        assert (result, base) == (language.number(roubles, 2), code), text


@pytest.mark.slow
async def test_a_reader_sees_how_an_amount_was_read(browser: Browser, live: Live, host: Host) -> None:
    """A mark that only the language decides is shown as read; no number is said at once; a currency is chosen."""
    page = await browser.new_page()
    await page.goto(page_with(live, host, language_or_default("de")))
    amount, base = page.get_by_role("textbox"), page.get_by_role("combobox").first
    said, result = page.get_by_role("alert"), page.get_by_role("status")
    await base.select_option("USD")
    for text, label, heard in (
        ("1.234", "1.234 · US-Dollar", ""),
        ("1,234", "1,234 · US-Dollar", ""),
        ("1.234,5", "US-Dollar", ""),
        ("", "US-Dollar", ""),
        ("5 tausend", "US-Dollar", "Enter a number"),
    ):
        await amount.fill(text)
        assert " ".join((await page.locator("label").first.inner_text()).split()) == label
        assert (await said.all_inner_texts() or [""]) == [heard]
        assert await amount.get_attribute("aria-invalid") == str(bool(heard)).lower()
        assert bool(await result.inner_text()) == (text[:1] == "1")
    await amount.fill("1.000 €")
    assert (await base.input_value(), await result.inner_text()) == ("EUR", "62.571,20")
    await amount.fill("10 Dollar")  # whose?
    assert await said.inner_text() == "Enter a number"
    await amount.fill("$10")
    assert await base.input_value() == "USD"
    await amount.fill("1.000 EUR")
    await amount.fill("500 Rubel")
    assert [await box.input_value() for box in await page.get_by_role("combobox").all()] == ["RUB", "EUR"]
    await base.select_option("CNY")
    assert (await amount.input_value(), await base.input_value()) == ("500", "CNY")


@pytest.mark.parametrize("layout", ["table", "converter"])
async def test_the_converter_of_the_element_costs_one_file(
    browser: Browser, live: Live, host: Host, layout: str
) -> None:
    """The builder's strict snippet under Trusted Types; whichever script comes first, typing asks nothing more."""
    code = await pasted(live.url, "element", "csp=1&lang=en&converter=1")
    code = code.replace("<cbr-rates ", f'<cbr-rates layout="{layout}" ')
    style, scripts = (code.split(part)[1].split("\n")[0].split(";")[0] for part in ("sheet:  ", "policy:  "))
    assert scripts.count("/widget/") == code.count("integrity=") == 2
    policy = f"default-src 'none'; style-src {hashes(style)}; {scripts}; connect-src {live.url}"
    policy += "; require-trusted-types-for 'script'; trusted-types 'none'"
    address = host.put(code, {"Content-Security-Policy": policy}, head=f"<style>{style}</style>")
    page, asked, told = await browser.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: told.append(message.text))
    await visited(page, address)
    await page.locator("#amount").fill("1000")
    assert await page.get_by_role("status").inner_text() == "60,389.40"
    assert await page.get_by_role("cell").first.is_visible() == (layout == "table")
    paths = [one.removeprefix(live.url).partition("?")[0] for one in asked if one.startswith(live.url)]
    folder = f"/widget/{RELEASE}"
    assert sorted(paths) == [f"{folder}/converter.js", f"{folder}/rates.js", "/widget/nodes.json"]
    assert told == []


@pytest.mark.parametrize("layout", ["table", *in_nightly("bar", "converter")])
@pytest.mark.parametrize("lang", ["ru", "de"])
async def test_a_frame_has_room_for_the_converter(browser: Browser, live: Live, lang: str, layout: str) -> None:
    """The height of oEmbed needs no scrollbar in any width."""
    page = await browser.new_page()
    for width in (180, 259, 260, 320, 600):
        address = f"{live.url}/embed?converter=1&lang={lang}&layout={layout}&width={width}"
        size = json.loads(await got(f"{live.url}/oembed?url={quote(address)}"))
        await page.set_viewport_size({"width": size["width"], "height": size["height"]})
        await page.goto(address)
        shown = await page.evaluate("document.documentElement.scrollHeight")
        assert shown <= size["height"] <= shown + 60, (width, shown)


@pytest.mark.parametrize("layout", ["table", "bar"])
async def test_in_180_pixels_its_fields_stand_in_two_rows(browser: Browser, live: Live, layout: str) -> None:
    """Beside their arrows currencies have room for three letters."""
    page = await browser.new_page(viewport={"width": 180, "height": 700})
    await visited(page, f"{live.url}/widget/frame?lang=ru&layout={layout}&theme=light&converter=1")
    fields = await page.locator("cbr-converter :is(input, output, select, button)").element_handles()
    boxes = [await field.bounding_box() for field in fields]
    assert len({round(box["y"] + box["height"] / 2) for box in boxes if box}) == 2
    room = "one => one.clientWidth - 2 * parseFloat(getComputedStyle(one).paddingLeft)"
    assert min([await page.locator("select").nth(at).evaluate(room) for at in (0, 1)]) >= 53


@pytest.mark.parametrize("form", ["frame", "fragment", "fragment without a shadow root"])
async def test_other_forms_have_the_converter_too(browser: Browser, live: Live, host: Host, form: str) -> None:
    """A frame has its script inside, a fragment brings it. There is a gap above its fields."""
    address = f"{live.url}/widget/frame?converter=1"
    if form != "frame":
        address = host.put(await got(f"{live.url}/widget?converter=1&shadow={int(form == 'fragment')}"))
    page, told = await browser.new_page(), []
    page.on("console", lambda message: told.append(message.text))
    await visited(page, address)
    await page.locator("#amount").fill("1000")
    assert await page.get_by_role("status").inner_text() == "60,389.40"
    (table, fields) = [await page.locator(name).bounding_box() for name in ("table", "cbr-converter")]
    assert table
    assert fields
    assert 10 <= fields["y"] - table["y"] - table["height"] <= 14
    assert told == []


@pytest.mark.slow
async def test_the_converter_is_used_with_the_keyboard_and_heard(browser: Browser, live: Live, host: Host) -> None:
    """Three tab stops before the result's currency; every field has a name, and the result is a polite status."""
    page = await browser.new_page()
    await page.goto(page_with(live, host, language_or_default("en")))
    assert await page.get_by_role("textbox", name="Amount · Australian Dollar").input_value() == "100"
    await page.keyboard.press("Tab")
    await page.keyboard.type("2")
    await page.keyboard.press("Tab")
    await page.keyboard.type("USD")
    assert await page.get_by_role("status", name="Result · Russian Ruble").inner_text() == "120.78"
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    assert await page.get_by_role("combobox", name="From currency").input_value() == "RUB"
    assert await page.get_by_role("combobox", name="To currency").input_value() == "USD"
    assert await page.get_by_role("status", name="Result · US dollar").inner_text() == "0.03"


async def test_what_is_typed_survives_a_refresh_and_another_attribute(browser: Browser, live: Live, host: Host) -> None:
    """Amount, currencies and focus. A currency that is gone gives way to the first."""
    scripts = "".join(f'<script src="{live.url}/widget/{name}"></script>' for name in ("rates.js", "converter.js"))
    page = await browser.new_page()
    await page.clock.install()
    element = '<cbr-rates converter="1" lang="en" refresh="5" codes="USD,EUR,CNY"></cbr-rates>'
    await visited(page, host.put(element + scripts))
    await page.evaluate(
        "window.loads = 0; document.querySelector('cbr-rates').addEventListener('cbr-load', () => loads++)"
    )
    await page.clock.run_for(10)
    amount, base = page.get_by_role("textbox"), page.get_by_role("combobox").first
    await amount.wait_for()
    before = await page.evaluate("loads")
    await base.select_option("EUR")
    await amount.fill("1000")
    for step, (change, wait_ms) in enumerate((("", 5 * 60_000), ("setAttribute('theme', 'dark')", 510)), before + 1):
        await page.evaluate(f"document.querySelector('cbr-rates').{change or 'id'}")
        await page.clock.run_for(wait_ms)
        await page.wait_for_function("step => loads >= step", arg=step)
        assert (await amount.input_value(), await base.input_value()) == ("1000", "EUR")
        assert await page.get_by_role("status").inner_text() == "62,571.20"
        assert await amount.evaluate("field => field.getRootNode().activeElement === field")
    await page.evaluate("document.querySelector('cbr-rates').setAttribute('codes', 'CNY')")
    await page.clock.run_for(510)
    await page.wait_for_function("step => loads >= step", arg=before + 3)
    assert (await amount.input_value(), await base.input_value()) == ("1000", "CNY")


@pytest.mark.parametrize(
    ("query", "days", "links"),
    [("layout=converter", 1, 1), ("layout=converter&heading=none", 1, 1), ("converter=1&columns=today", 2, 1)],
)
async def test_the_source_is_named_once(browser: Browser, live: Live, query: str, days: int, links: int) -> None:
    """In the heading or below the rows, there with the year. One link leads to it. Paper has the converter, too."""
    page = await browser.new_page()
    await visited(page, f"{live.url}/widget/frame?lang=ru&{query}")
    await page.get_by_role("textbox").wait_for()
    text = await page.inner_text("main") + await page.evaluate(
        "document.querySelector('cbr-converter').shadowRoot.querySelector('div').parentNode.textContent"
    )
    assert len(re.findall(r"18[. ]", text.replace("\u00a0", " "))) == days
    assert await page.locator("a:visible").count() == links
    assert text.count("Банк России") + text.count("ЦБ") == 1
    await page.emulate_media(media="print")
    assert await page.get_by_role("status").is_visible()
    assert not await page.locator("cbr-converter button").is_visible()


@pytest.mark.parametrize("query", ["lang=ru&converter=1", "lang=ru&layout=converter"])
async def test_nothing_moves_when_the_fields_come(browser: Browser, live: Live, host: Host, query: str) -> None:
    """The code reserves the height, so only the line about the source moves, when the second script comes.

    In what a server includes nothing moves.
    """
    page = await browser.new_page(viewport={"width": 360, "height": 900})
    await page.add_init_script("""window.shift = 0;
      new PerformanceObserver(list => { for (const { value } of list.getEntries()) shift += value; })
        .observe({ type: "layout-shift", buffered: true });""")
    code = (await pasted(live.url, "element", f"{query}&width=340")).partition("<script")[0]
    included = (await got(f"{live.url}/widget?shadow=1&{query}")).partition("<script")[0]
    await page.goto(host.put(f"{code}<p>{included}</p><u>below</u>"))
    below = "document.querySelector('u').getBoundingClientRect().top"
    before = await page.evaluate(below)
    painted = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
    for name, there in (("rates", "cbr-rates:state(load)"), ("converter", "cbr-converter:defined")):
        await page.evaluate(painted)
        await page.add_script_tag(url=f"{live.url}/widget/{name}.js")
        await page.wait_for_selector(there, state="attached")
        await page.evaluate(painted)
    assert await page.evaluate("shift") <= 0.01
    assert abs(await page.evaluate(below) - before) < 1
