"""What the builder shows is what its code shows on a page of somebody else: clicked, copied and pasted."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import date
from functools import partial
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote

import pytest
from conftest import first
from kit.browser import SEEN, WATCH, Browser, Frame, Host, Live, Page, Route, got, live_service, pasted, settled
from kit.cases import parts, script

FORMS = {
    form.split()[0]: (form.split()[1], clicks.splitlines()) for form, clicks in parts("clicks.txt", "form").items()
}
"""Languages, and what is clicked in the builder."""
PHONE = 328
"""The column of a phone of 360 pixels. A frame in a narrower one may scroll."""
WIDTHS = (320, 390, 720, 1280)
GROUNDS = {"light": "background:#fff;color:#1a1d21", "dark": "background:#16191d;color:#e8eaed;color-scheme:dark"}
FONT = 'font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","Noto Sans SC",Arial,sans-serif'
BESIDE = "<div>{0}</div>", '<div style="width:300px">{0}</div>'
ROW = '<div style="display:flex;gap:8px"><b>Logo</b>{0}<i>Menu</i></div>'

DRAWN = script("previews are drawn")
FACTS = script("facts of a widget", SEEN=SEEN)


async def facts(frame: Frame) -> dict[str, Any]:
    """The text, the colours and the box of the widget, and what is wrong with it; of a frame what is inside, too."""
    inner = frame.child_frames[0] if frame.child_frames else frame
    sizes = "[...document.querySelectorAll('iframe')].map(one => [one.offsetWidth, one.offsetHeight])"
    size = (await frame.evaluate(sizes) or [[]])[0]
    if size:
        await inner.wait_for_function("width => innerWidth === width", arg=size[0])
    found: dict[str, Any] = await inner.evaluate(FACTS)
    if await frame.evaluate("document.documentElement.scrollWidth > innerWidth"):
        found["cut"].append("too wide")
    if size:
        found["frame"] = size
        if found["height"] > size[1] + 1 and size[0] >= PHONE:
            found["cut"].append("frame scrolls")
    return found


async def clicked(page: Page, selector: str) -> None:
    """Click, and wait until the preview is drawn anew."""
    await page.evaluate("document.querySelectorAll('.scripted iframe').forEach(frame => { frame.old = 1; })")
    await page.evaluate("selector => document.querySelector(selector).click()", selector)
    await page.wait_for_function(DRAWN)


async def resized(page: Page, frame: Frame, width: int, *, is_preview: bool) -> None:
    if is_preview:
        await (await frame.frame_element()).evaluate(
            f"frame => {{ frame.style.cssText = 'max-width:none;width:{width}px'; }}"
        )
    else:
        await page.set_viewport_size({"width": width, "height": 900})


async def made_by_a_server(live: Live, key: str, code: str) -> str:
    """The HTML that this code brings into a page."""
    if key == "wordpress":
        html: str = json.loads(await got(f"{live.url}/oembed?url={quote(code)}"))["html"]
        return html
    if key in ("ssi", "php"):
        query = re.search(r"/widget(\?[^\"']+)", code)
        return await got(f"{live.url}/widget{query[1] if query else ''}")
    return code


@pytest.mark.slow
@pytest.mark.parametrize(("form", "lang"), first(1, [(form, lang) for form, (lang, _) in FORMS.items()]))
async def test_what_is_shown_is_what_is_pasted(browser: Browser, live: Live, host: Host, form: str, lang: str) -> None:
    """In two orders of clicks the same code; pasted, text, colours and box as in the preview, on light and on dark.

    No text is cut, no letter has less than 12 pixels, nothing scrolls, and 24 spare pixels are reserved at most.
    When the rows come late, a block, a column and a flex row shift by .01 at most; a bar in no column of a desktop.
    """
    clicks, codes = FORMS[form][1], set()
    for order in (clicks[::-1], clicks):
        page = await browser.new_page(viewport={"width": 1400, "height": 900}, bypass_csp=True)
        await page.goto(f"{live.url}/?lang={lang}")
        await page.wait_for_function(DRAWN)
        for selector in sorted(order, key=lambda one: "layout" not in one) if form == "sentence" else order:
            await clicked(page, selector)
        codes.add(await page.inner_text("#code-element code"))
        if order != clicks:
            await page.close()
    assert len(codes) == 1
    assert "height" not in page.url
    assert not await page.locator(".notice:not(#fits)").count()
    for key in ("element", "frame", "ssi", "php", "wordpress"):
        if await page.locator(f"#tab-code-{key}").count():
            await clicked(page, f"#tab-code-{key}")
            await compared(browser, live, host, page, key)
    await page.close()
    if form != "sentence":
        await nothing_shifts(browser, host, codes.pop())


async def compared(browser: Browser, live: Live, host: Host, page: Page, key: str) -> None:
    """The preview of the open tab with its code on other pages."""
    code = await page.evaluate(f"document.querySelector('#code-{key} code').textContent")
    before, bar, after = (await page.get_attribute("#preview", "data-sentence") or "").partition("|")
    made = await made_by_a_server(live, key, code)
    previews = [frame for frame in page.frames[1:] if frame.parent_frame == page.main_frame]
    spare = []
    for ground, preview in zip(GROUNDS, previews, strict=True):
        head = f"<style>html{{{GROUNDS[ground]};{FONT}}}body{{margin:16px}}p{{margin:0}}</style>"
        other = await browser.new_page(bypass_csp=True)
        await other.goto(host.put(f"<p>{before}{made}{after}</p>" if bar else made, head=head))
        await other.wait_for_load_state("networkidle")
        await settled(other)
        for width in (272, 360, 1280) if ground == "light" else (720,):  # colours hardly depend on it
            await resized(page, preview, width, is_preview=True)
            await resized(other, other.main_frame, width, is_preview=False)
            shown, seen = await facts(preview), await facts(other.main_frame)
            assert {key: width, **seen} == {key: width, **shown}
            assert {key: width, "cut": seen["cut"]} == {key: width, "cut": []}
            if width > PHONE:
                spare.append(seen.get("frame", [0, seen["height"]])[1] - seen["inside"])
        assert await other.context.cookies() == []
        await other.close()
    if key in ("element", "frame") and not bar and not re.search(r"layout=.?line", code):
        assert 0 <= min(spare) <= 24, key


async def late(painted: asyncio.Event, route: Route) -> None:
    await painted.wait()
    await route.continue_()


async def nothing_shifts(browser: Browser, host: Host, code: str) -> None:
    """The rows come after the first paint."""
    for width in WIDTHS:
        page, painted = await browser.new_page(viewport={"width": width, "height": 2400}), asyncio.Event()
        await page.add_init_script(WATCH)
        await page.route("**/nodes.json*", partial(late, painted))
        # On a desktop a bar has the height of a row, so it is no form for a narrow column.
        beside = BESIDE[:1] if 'layout="bar"' in code and width >= 720 else BESIDE
        places = (*beside, ROW) if width >= 720 else beside
        await page.goto(host.put("".join(place.format(code) for place in places) + "<u>below</u>"))
        await page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length")
        below = "document.querySelector('u').getBoundingClientRect().top"
        before = await page.evaluate(below)
        painted.set()
        await settled(page)
        await page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        assert (width, await page.evaluate(below)) == (width, before)
        assert await page.evaluate("shift") <= 0.01, width
        await page.close()


EIGHT = "codes=USD,EUR,CNY,GBP,JPY,TRY,KZT,UZS"
COLUMNS = {
    "pressed": ("lang=ru", 300),
    "two": ("lang=ru&codes=USD,EUR&width=300", 300),
    "with the key rate": ("lang=ru&codes=USD,EUR,CNY&key_rate=1&width=300", 300),
    "eight": (f"lang=en&{EIGHT}&width=300", 300),
    "narrow": ("lang=en&codes=USD&key_rate=1&width=180", 180),
    "on a ground": ("lang=en&key_rate=1&theme=light&width=180", 180),
    "half a page": ("lang=en&width=480", 480),
}
"""What is asked of the builder for a bar, and the width of the column that it is pasted into."""


@pytest.mark.parametrize("column", COLUMNS)
async def test_a_bar_for_a_column_does_not_shift_in_any_window(
    browser: Browser, live: Live, host: Host, column: str
) -> None:
    """Its place is pressed beside the preview, or chosen as its width: what it reserves is what its rows need."""
    query, width = COLUMNS[column]
    page = await browser.new_page(viewport={"width": 1400, "height": 900}, bypass_csp=True)
    await page.goto(f"{live.url}/?layout=bar&{query}")
    await page.wait_for_function(DRAWN)
    if column == "pressed":
        await clicked(page, f"[name=at][value='{width}']")
    code = await page.inner_text("#code-element code")
    await page.close()
    for window in (360, 1280):
        page, painted = await browser.new_page(viewport={"width": window, "height": 900}), asyncio.Event()
        await page.route("**/nodes.json*", partial(late, painted))
        head = f"<style>html{{{FONT}}}body{{margin:16px}}</style>"
        await page.goto(host.put(f'<div style="width:{width}px;max-width:100%">{code}</div><u>below</u>', head=head))
        below = "document.querySelector('u').getBoundingClientRect().top"
        before = await page.evaluate(below)
        painted.set()
        await settled(page)
        await page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        assert (window, await page.evaluate(below)) == (window, before)
        spare = await page.evaluate(SPARE)
        assert (window, spare, spare <= 24) == (window, spare, True)
        await page.close()


SPARE = """(() => {
  const host = document.querySelector("cbr-rates"), box = host.shadowRoot.querySelector(".cbr-rates");
  const high = host.getBoundingClientRect().height;
  host.style.minHeight = box.style.minHeight = 0;
  return high - host.getBoundingClientRect().height;
})()"""


TWENTY = "codes=USD,EUR,CNY,GBP,JPY,TRY,KZT,BYN,AMD,GEL,UZS,KGS,AZN,INR,HKD,CHF,SEK,NOK,PLN,AED"
COLUMN = "codes=USD,EUR,CNY&columns=next,change&heading=short&head=0"
COPIED = (
    ("ru", "", 300),
    ("ru", "", 328),
    ("ru", TWENTY, 180),
    ("ru", TWENTY, 240),
    ("hy", TWENTY, 300),
    ("ru", f"{COLUMN}&width=240", 180),
    ("en", "head=0&columns=next,change", 320),
    ("en", "head=0&columns=next,change&heading=Our+rates", 320),
    ("en", "layout=converter", 180),
    ("en", "layout=converter", 320),
    ("ru", "layout=converter&width=240", 180),
    ("ru", "layout=line", 180),
    ("en", "layout=bar", 180),
    ("ru", "layout=bar", 300),
    ("en", "layout=bar", 300),
    ("en", "layout=bar&codes=USD,EUR,CNY", 360),
    ("ru", "layout=bar", 700),
)
"""Languages, what is chosen, and the width of a column of a wide window."""


@pytest.mark.slow
async def test_a_frame_copied_by_day_is_whole_on_every_other(browser: Browser, host: Host, tmp_path: Path) -> None:
    """In the evening, once its rates are old, and where there are none.

    Also in the narrowest column that it is made for, and where a host gives frames no height. Its letters stay large,
    the day of a line is whole, and so is each unit.
    """
    for name in ("day", "evening", "old", "none"):
        (tmp_path / name).mkdir()
    async with (
        live_service(tmp_path / "day", until=date(2022, 11, 18), demo=False) as day,
        live_service(tmp_path / "evening", demo=False) as evening,
        live_service(tmp_path / "old", until=date(2022, 11, 12), demo=False) as old,
        live_service(tmp_path / "none", has_sheets=False, demo=False) as without,
    ):
        page = await browser.new_page(viewport={"width": 1280, "height": 900})
        pasted = await browser.new_page(viewport={"width": 1280, "height": 900})
        for lang, query, width in COPIED:
            await page.goto(f"{day.url}/?lang={lang}&{query}")
            await page.wait_for_function(DRAWN)
            # What oEmbed gives has one height, which is that of a wide bar.
            for key in ("frame", "wordpress")[: 1 if "layout=bar" in query else 2]:
                await clicked(page, f"#tab-code-{key}")
                code = await page.evaluate(f"document.querySelector('#code-{key} code').textContent")
                made = await made_by_a_server(day, key, code)
                for other in (evening, old, without):
                    style = "<style>body{margin:0}iframe{display:block;height:auto}</style>"
                    shown = made.replace(day.url, other.url).replace('"lazy"', '"eager"')
                    await pasted.goto(host.put(f"<div style=width:{width}px>{shown}</div>", head=style))
                    # Its outline is never lower than its window.
                    spare = "(main => (main.style.minHeight = 0, innerHeight - main.getBoundingClientRect().height))"
                    spare += "(document.querySelector('main'))"
                    high = await pasted.frames[1].evaluate(spare)
                    assert high >= 0, (key, lang, query, width, other)
                    # Names that a narrow column leaves out have second lines in a wider one.
                    most = 180 if query == TWENTY else 80
                    assert high <= most or other is without, (key, lang, query, width, other)
                    letters = "getComputedStyle(document.querySelector('main')).fontSize"
                    size = "14px" if query == "layout=line" and other is not without else "15px"
                    assert await pasted.frames[1].evaluate(letters) == size, (key, lang, query, width, other)
                    torn = "[...document.querySelectorAll('.cbr-code')].filter(one => one.getClientRects().length > 1)"
                    torn += ".length || document.documentElement.scrollWidth > innerWidth"
                    assert not await pasted.frames[1].evaluate(torn), (key, lang, query, width, other)
                    if other is old and query == "layout=line":
                        whole = "(one => one.scrollHeight <= one.clientHeight + 1)(document.querySelector('caption'))"
                        assert await pasted.frames[1].evaluate(whole), (key, lang, query, width, other)


@pytest.mark.slow
async def test_a_frame_copied_in_the_evening_or_while_rates_are_old_is_whole_by_day(
    browser: Browser, host: Host, tmp_path: Path
) -> None:
    """Today's rates alone stand beside their names, and a note that rates are old takes the place of a heading."""
    for name in ("day", "evening", "old"):
        (tmp_path / name).mkdir()
    async with (
        live_service(tmp_path / "day", until=date(2022, 11, 18), demo=False) as day,
        live_service(tmp_path / "evening", demo=False) as evening,
        live_service(tmp_path / "old", until=date(2022, 11, 12), demo=False) as old,
    ):
        page = await browser.new_page(viewport={"width": 1280, "height": 900})
        pasted = await browser.new_page(viewport={"width": 1280, "height": 900})
        for copied, query, width in (
            (evening, f"lang=ru&{TWENTY}", 300),
            (old, "lang=en&head=0&columns=next,change", 300),
            (old, f"lang=ru&{COLUMN}&width=240", 180),
            (old, "lang=hy&layout=converter", 180),
            (old, "lang=en&layout=bar", 300),
        ):
            await page.goto(f"{copied.url}/?{query}")
            await page.wait_for_function(DRAWN)
            await clicked(page, "#tab-code-frame")
            code = await page.evaluate("document.querySelector('#code-frame code').textContent")
            shown = code.replace(copied.url, day.url).replace('"lazy"', '"eager"')
            await pasted.goto(host.put(f"<div style=width:{width}px>{shown}</div>"))
            scrolls = "document.documentElement.scrollHeight - innerHeight"
            assert await pasted.frames[1].evaluate(scrolls) == 0, (query, width)


@pytest.mark.slow
async def test_a_framed_bar_is_as_wide_as_its_place_and_leaves_others_theirs(
    browser: Browser, live: Live, host: Host
) -> None:
    """In a place that is as wide as what stands in it, all six cells stand in one row if the window has room."""
    code = await pasted(live.url, "frame", "lang=en&layout=bar")
    page = await browser.new_page(viewport={"width": 1280, "height": 900})
    places = {
        "<table><td>{}</table>": 728,
        "<div style=display:flex><h1>News</h1><div>{}</div></div>": 728,
        "<div style='display:grid;grid-template-columns:1fr auto;width:760px'>{}<p style=width:160px></div>": 600,
        "<div style='display:grid;grid-template-columns:1fr 1fr 1fr;width:600px'><div>{}</div></div>": 200,
        "<div style=display:flex;width:900px><div style=flex:1>{}</div><div style=flex:1></div></div>": 450,
        "<div style=width:500px><div style=float:right>{}</div></div>": 500,
    }
    await page.goto(host.put("".join(place.format(unescape(code)) for place in places)))
    widths = await page.eval_on_selector_all("iframe", "all => all.map(one => one.getBoundingClientRect().width)")
    assert widths == [*places.values()]


async def test_a_letter_keeps_its_day(live: Live) -> None:
    """The picture of the newest rates, and that of a day, which the page names; the code says how large each is."""
    for key, day in (("picture", ""), ("letter", "2022-11-19")):
        code = await pasted(live.url, key, "lang=en&codes=USD,EUR")
        query, width, height = re.findall(r'card\.png\?(\S+?)" width="(\d+)" height="(\d+)"', unescape(code))[0]
        assert dict(parse_qsl(query)).get("date", "") == day
        svg = await got(f"{live.url}/widget/card.svg?{query}")
        assert f'width="{width}" height="{height}"' in svg
    page = await got(f"{live.url}/?lang=en")
    assert "Rates of November 19, 2022" in page


@pytest.mark.slow
async def test_on_a_phone_the_preview_and_the_code_are_at_hand(browser: Browser, live: Live) -> None:
    """Wherever somebody chooses, a tap changes what is in sight, and Copy copies the code of the open tab.

    Two thirds of the window are left to what somebody chooses.
    """
    context = await browser.new_context(viewport={"width": 390, "height": 844}, permissions=["clipboard-write"])
    page = await context.new_page()
    await page.goto(f"{live.url}/?lang=ru")
    await page.wait_for_function(DRAWN)
    seen = """name => { const box = document.querySelector(name).getBoundingClientRect();
      return box.top >= 0 && box.bottom <= innerHeight && box.width > 0; }"""
    await page.click("summary >> text=Оформление")
    for place in ("[name=layout]", "[name=codes][value=TRY]", "[name=updown][value=none]"):
        await page.locator(place).first.evaluate("field => field.scrollIntoView({ block: 'center' })")
        assert await page.evaluate(seen, "#preview .copy"), place
        top = await page.evaluate("document.querySelector('#preview .light').getBoundingClientRect().top")
        assert 0 < top < 844 - 200, place
        assert await page.evaluate("document.querySelector('#preview').offsetHeight / innerHeight") <= 0.31, place
    await page.click("#preview .copy")
    await page.get_by_text("Скопировано").first.wait_for()


async def folded(live: Live, query: str) -> set[str]:
    """The fields of the builder that a reader has to unfold."""
    parts = re.findall("<details>(.*?)</details>", await got(f"{live.url}/?{query}"), re.DOTALL)
    return {name for part in parts for name in re.findall(' name="(.*?)"', part)}


async def test_what_differs_from_the_usual_is_unfolded(live: Live) -> None:
    """Each field alone opens its part. What a reader of rates chooses first is never folded."""
    others = {"theme": "dark", "updown": "none", "width": "300", "height": "300", "float": "1", "csp": "1"}
    assert await folded(live, "lang=en&href=https://a.example") == {*others, "ground"}
    for name, value in others.items():
        assert name not in await folded(live, f"{name}={value}")
