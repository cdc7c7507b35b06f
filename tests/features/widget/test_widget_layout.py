"""The widget at every width, in every host: nothing is cut, overlaps, moves, is small, or is too wide."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from itertools import chain, combinations, product
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from conftest import LONG, in_nightly
from kit.browser import SEEN, Browser, Host, Live, Page, got, pasted, visited
from kit.cases import parts, script
from kit.not_run import program
from kit.service import finished

from ratesvc.domain.in_force import on_day
from ratesvc.features.site.language import language_or_default
from ratesvc.features.widget import rows
from ratesvc.features.widget.markup import fragment
from ratesvc.features.widget.releases import RELEASE
from ratesvc.features.widget.view import COLUMNS, USUAL, Look
from ratesvc.render.openapi import Site

pytestmark = pytest.mark.nightly

WIDTHS = [*range(160, 520, 10), *range(520, 971, 30)][:: 1 if LONG else 3]
HEIGHTS = 8 if LONG else 3
"""The height is compared at each width of so many."""
LOOKS = ("spark=0", "spark=30&key_rate=1", "layout=line&key_rate=1", "layout=bar&key_rate=1")
LANGUAGES = ("ru", "en", "de", "ar", "zh", "hi", "th", "hy")
CODES = "USD,JPY,UZS,XDR,AUD,KRW"
SUBSETS = list(chain.from_iterable(combinations(COLUMNS, count) for count in range(1, len(COLUMNS) + 1)))
FAULTS = script("faults at widths", SEEN=SEEN)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lang", "subsets"),
    [
        ("ru", SUBSETS[-1:]),
        *in_nightly(*((lang, SUBSETS[n % 3 :: 1 if LONG else 3]) for n, lang in enumerate(LANGUAGES))),
    ],
)
async def test_no_text_is_cut_at_any_width(
    browser: Browser, live: Live, host: Host, lang: str, subsets: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """With any columns, wide names and large units, in each layout. No letter has less than 12 pixels.

    oEmbed's height is that of two lines less at most, because it counts lines without the reader's font.
    """
    page = await browser.new_page(viewport={"width": 1000, "height": 900})
    style = f'<link rel="stylesheet" href="{live.url}/widget/{RELEASE}/widget.css">'
    await visited(page, host.put("<main></main>", head=style))
    wrong, layouts, spare = [], 0, 0
    for columns, look in product(subsets, LOOKS):
        query = f"lang={lang}&codes={CODES}&columns={','.join(columns)}&{look}"
        fragment = await got(f"{live.url}/widget?style=none&theme=light&{query}")
        await page.evaluate("html => { document.querySelector('main').innerHTML = html; }", fragment)
        faults, heights = await page.evaluate(FAULTS, WIDTHS)
        wrong += [(query, *fault) for fault in faults]
        for width, high in zip(WIDTHS[::HEIGHTS], heights[::HEIGHTS], strict=True):
            framed = quote(f"{live.url}/embed?width={width}&{query}")
            reserved = json.loads(await got(f"{live.url}/oembed?url={framed}"))["height"]
            spare = max(spare, reserved - int(high))
            wrong += [(query, width, high, reserved)] if high > reserved + 32 else []
        layouts += len(WIDTHS)
    with capsys.disabled():
        print(f"\n{lang}: {layouts} layouts, {len(wrong)} wrong, at most {spare} px too high")  # noqa: T201 -- figures to read
    assert wrong == []
    assert spare <= 180


LINES = f"""widths => {{ {SEEN} const box = document.querySelector(".cbr-rates");
  return widths.map(width => {{
    box.parentNode.style.width = width + "px";
    return seenTexts(box).map(([text]) => text.data.trim()); }}); }}"""
GAPS = """widths => { const box = document.querySelector(".cbr-rates");
  return widths.map(width => {
    box.parentNode.style.width = width + "px";
    const rows = [...box.querySelectorAll("tbody tr")].map(row => row.getBoundingClientRect());
    return [...new Set(rows.filter((row, at) => at && row.top === rows[0].top)
      .map((row, at) => Math.round(Math.max(row.left - rows[at].right, rows[at].left - row.right))))]; }); }"""


SPARE = """width => { const box = document.querySelector(".cbr-rates");
  box.parentNode.style.width = width + "px";
  const ends = [...box.querySelectorAll("tbody tr")].map(row => row.getBoundingClientRect().right);
  return box.getBoundingClientRect().right - Math.max(...ends); }"""


@pytest.mark.parametrize(
    ("lang", "dated", "warning"),
    [
        ("ru", "19.11 (завтра)", ""),
        ("en", "Nov\u00a019 (tomorrow)", ""),
        ("ru", "19.11.2022", "Курсы не обновлялись с"),
        ("en", "Nov\u00a019,\u00a02022", "Not updated since"),
        ("zh-Hans", "2022/11/19", "自"),
    ],
)
async def test_no_figure_of_a_line_stands_without_its_day(
    browser: Browser, live: Live, host: Host, lang: str, dated: str, warning: str
) -> None:
    """Tomorrow's and old figures have it at every width, and old ones the warning where it fits.

    Today's may be alone below 150 pixels, and there are such figures from 180 on. In 240 it says that it is tomorrow's.
    """
    day, _, tomorrow = dated.partition(" ")
    snapshot, now = live.service.require_publication().snapshot, live.service.clock()
    shown = [snapshot.for_today(), on_day(live.service.history, date(2022, 11, 19), now)]
    if warning:
        shown = [replace(shown[-1], stale=True)]
    view, language = USUAL["line"], language_or_default(lang)
    line = rows.table(shown, language, view, rows.NOTHING_BESIDE, today=date(2022, 11, 18))
    page = await browser.new_page(viewport={"width": 1400, "height": 900})
    await page.goto(host.put(f"<main>{fragment(line, Look(), 'inline', Site(''), shadow=False)}</main>"))
    seen = await page.evaluate(LINES, [*range(120, 600, 20), 728, 1100, 1280])
    newest = rows.table(shown[-1:], language, view, rows.NOTHING_BESIDE, today=date(2022, 11, 18))
    figures = {row.cells[0] for row in newest.rows}
    assert [texts for texts in seen if figures & {*texts} and day not in texts] == []
    assert [texts for texts in seen if not texts] == []
    assert [texts for texts in seen[3:] if not figures & {*texts}] == []
    assert warning or seen[6][:2] == [day, tomorrow]
    assert [texts[0] for texts in seen[-3:] if warning] == [warning] * 3 * bool(warning)
    assert seen[0] == ([day] if warning else [line.rows[0].unit, line.rows[0].cells[0]])


@pytest.mark.slow
@pytest.mark.parametrize("lang", ["ru", "ar", "en"])
async def test_a_wider_line_never_shows_fewer_rates(browser: Browser, live: Live, host: Host, lang: str) -> None:
    """From 240 pixels on, by day and in the evening, in even steps, and all changes or none.

    Tomorrow's have their day. Changes come as soon as there is room, and that of one
    more; Arabic letters are counted as wider than they are.
    """
    snapshot, now = live.service.require_publication().snapshot, live.service.clock()
    tomorrow = on_day(live.service.history, date(2022, 11, 19), now)
    page, language = await browser.new_page(viewport={"width": 1600, "height": 900}), language_or_default(lang)
    for shown in ([snapshot.for_today()], [snapshot.for_today(), tomorrow]):
        line = rows.table(shown, language, USUAL["line"], rows.NOTHING_BESIDE, today=date(2022, 11, 18))
        await page.goto(host.put(f"<main>{fragment(line, Look(), 'inline', Site(''), shadow=False)}</main>"))
        seen = await page.evaluate(LINES, [*range(240, 1520, 8)])
        counts = [len({row.cells[-2] for row in line.rows} & {*texts}) for texts in seen]
        assert counts == sorted(counts)
        assert (counts[0], counts[-1]) == (1 if lang != "ar" and len(shown) > 1 else 2, 6)
        tomorrows, todays = {"19.11", "19/11", "Nov\u00a019"}, {"18.11", "18/11", "Nov\u00a018"}
        days = tomorrows if len(shown) > 1 else todays
        assert [texts for texts in seen if not days & {*texts}] == []
        changes = [sum(text in {row.cells[-1] for row in line.rows} for text in texts) for texts in seen]
        assert changes == sorted(changes)
        assert {*changes} == {0, 6}
        assert lang == "ar" or await page.evaluate(SPARE, 240 + 8 * changes.index(6)) <= 60
        assert {len(gaps) for gaps in await page.evaluate(GAPS, [*range(240, 1520, 8)])} <= {0, 1}


FREE = parts("places.txt", "free ")
PLACES = parts("places.txt", "given ") | FREE | parts("places.txt", "other ")
"""Places in a page, as HTML around WIDGET."""
RIGID = "<style>.rigid > * { flex: none }</style>"
TAKE_ALL = ("layout=line", "layout=bar", "layout=bar&codes=USD,EUR,CNY")
SENTENCE = "layout=inline&code=USD"
FORMS = (
    *TAKE_ALL,
    "layout=table",
    "layout=table&spark=30&columns=name,today,next,change,percent",
    "layout=converter",
    SENTENCE,
)
FONTS = ("16px DejaVu Sans", "13px DejaVu Sans Condensed", "18px DejaVu Serif")
TEN_WIDTHS = (160, 200, 240, 280, 320, 360, 480, 768, 1024, 1280)
FAULTS_IN_HOSTS = script("faults in hosts", SEEN=SEEN)


def section(place: str, form: str, font: str, code: str, width: str = "auto") -> str:
    """A form in a place, with a text below."""
    around, name = PLACES[place].replace("WIDGET", code), f"{place}, {form}, {font}, {width}"
    return f'<section id="{name}" style="font:{font};width:{width}">{around}<u>below</u></section>'


async def loaded(page: Page, live: Live) -> None:
    """The scripts come, and then all rows."""
    for name in ("rates", "converter"):
        await page.add_script_tag(url=f"{live.url}/widget/{name}.js")
    await page.wait_for_function("!document.querySelector('cbr-rates:not(:state(load))')")


async def test_no_form_widens_its_host(browser: Browser, live: Live, host: Host) -> None:
    """A line leaves out whole currencies. A header of a phone must have room for one beside its logo.

    Before the rows come it has room for the line's link, too.
    """
    page = await browser.new_page(viewport={"width": 360, "height": 900})
    codes = {form: (await pasted(live.url, "element", f"lang=ru&{form}")).partition("<script")[0] for form in FORMS}
    shown = [(place, form) for place, form in product(PLACES, FORMS) if place != "header" or form in TAKE_ALL]
    fonts = [FONTS if LONG else (FONTS[at % len(FONTS)],) for at in range(len(shown))]
    parts = [section(*part, font, codes[part[1]]) for part, chosen in zip(shown, fonts, strict=True) for font in chosen]
    await page.goto(host.put(RIGID + "".join(parts)))
    wide = """[...document.querySelectorAll("section")].filter(one => one.scrollWidth > one.clientWidth)
      .map(one => one.id)"""
    assert [one for one in await page.evaluate(wide) if "header, layout=line" in one] == []
    await loaded(page, live)
    wrong = []
    for width in TEN_WIDTHS:
        await page.set_viewport_size({"width": width, "height": 900})
        faults = await page.evaluate(FAULTS_IN_HOSTS)
        wrong += [(width, fault) for fault in faults if width >= 280 or "header" not in fault]
    assert wrong == []


async def test_a_table_is_18_em_wide_or_as_wide_as_its_place_up_to_40(browser: Browser, live: Live, host: Host) -> None:
    """Ems of the widget's letters, which have 15 of the page's 16 pixels. Cells of a bar are equal.

    Beside a phone's logo and menu a bar has a line for each rate, and is as high as it is in the phone's column.
    """
    page = await browser.new_page(viewport={"width": 1000, "height": 900})
    tables = '<div style="float:left"><cbr-rates></cbr-rates></div><div><cbr-rates></cbr-rates></div>'
    bars = "<cbr-rates layout=bar codes=USD,JPY,UZS></cbr-rates><p style=width:190px><cbr-rates layout=bar></cbr-rates>"
    await page.goto(host.put(f"{tables}{bars}<p style=width:328px><cbr-rates layout=bar></cbr-rates>"))
    await loaded(page, live)
    width = "parts => parts.map(part => Math.round(part.getBoundingClientRect().width))"
    assert (await page.eval_on_selector_all(".cbr-rates", width))[:2] == [18 * 15, 40 * 15]
    cells = (await page.eval_on_selector_all(".cbr-bar tbody tr", width))[:3]
    assert max(cells) - min(cells) <= 1
    lowest, highest = sorted(await page.eval_on_selector_all("p .cbr-bar", width.replace("width", "height")))
    assert highest - lowest <= 24


async def in_firefox(address: str, function: str, folder: Path) -> Any:
    """What this function says of each element of a page."""
    script = Path(__file__).parents[2] / "browser/firefox.mjs"
    firefox = program("firefox-esr", "firefox")
    code, said, errors = await finished(program("node"), script, firefox, address, function, cwd=folder)
    assert code == 0, errors
    return json.loads(said)


async def test_a_place_without_a_width_gives_a_table_one_in_firefox(live: Live, host: Host, tmp_path: Path) -> None:
    """Of a contained box Firefox takes neither the content nor the tracks of a grid, so it was 0 pixels wide."""
    loader = f'<script async src="{live.url}/widget/rates.js"></script>'
    tables = "".join(place.replace("WIDGET", "<cbr-rates lang=en></cbr-rates>") for place in FREE.values())
    widths = await in_firefox(host.put(tables + loader), "one => one.offsetWidth", tmp_path)
    assert widths == [18 * 15] * len(FREE)


async def test_no_text_is_cut_in_firefox(live: Live, host: Host, tmp_path: Path) -> None:
    """It breaks a line only where the element around both letters allows it, so it cut the changes of a line."""
    loader = f'<script async src="{live.url}/widget/rates.js"></script>'
    elements = "".join(
        f"<div style=width:{width}px><cbr-rates lang={lang} layout={layout}></cbr-rates></div>"
        for width, lang, layout in product((180, 240, 300, 400, 600), ("ru", "ar"), ("table", "line", "bar"))
    )
    found = f"""one => {{ {SEEN} const box = one.shadowRoot.querySelector(".cbr-rates");
      return [one.parentNode.style.width, box.className, ...faultsOf(box)]; }}"""
    said = await in_firefox(host.put(elements + loader), found, tmp_path)
    assert [one for one in said if len(one) > 2] == []
