"""The widget at every width: no text is cut, nothing overlaps, and it never collapses."""

from __future__ import annotations

import json
from itertools import chain, combinations, product
from typing import Any
from urllib.parse import quote

import pytest
from conftest import LONG, in_faults
from playwright.async_api import Browser
from widget_harness import Host, Live, got

from ratesvc.render.widget.releases import RELEASE
from ratesvc.render.widget.view import COLUMNS, View

pytestmark = pytest.mark.browser

WIDTHS = [*range(160, 520, 10), *range(520, 971, 30)][:: 1 if LONG else 3]
HEIGHTS = 8 if LONG else 3
"""The height is compared at each width of so many."""
LOOKS = ("spark=0", "spark=30", "layout=line", "layout=bar")
LANGUAGES = ("ru", "en", "de", "ar", "zh", "hi", "th", "hy")
CODES = "USD,JPY,UZS,XDR,AUD,KRW"
SUBSETS = list(chain.from_iterable(combinations(COLUMNS, count) for count in range(1, len(COLUMNS) + 1)))
# The texts that are seen, by their rectangles: inside the widget, and never one over another.
FAULTS = """widths => {
  const root = document.querySelector(".cbr-rates"), box = root.parentNode, found = [], heights = [];
  const texts = [], walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) if (walker.currentNode.data.trim()) texts.push(walker.currentNode);
  const seen = text => { for (let at = text.parentElement; at !== root; at = at.parentElement)
    if (getComputedStyle(at).clipPath !== "none") return false; return true; };
  const range = document.createRange();
  for (const width of widths) {
    box.style.width = width + "px";
    const outer = root.getBoundingClientRect(), rects = [];
    for (const text of texts.filter(seen)) {
      range.selectNodeContents(text);
      for (const { left, right, top, bottom } of range.getClientRects())
        rects.push([left, right, top, bottom, text.data]);
    }
    const out = rects.filter(one => one[0] < outer.left - 1 || one[1] > outer.right + 1 || one[3] > outer.bottom + 1);
    const over = rects.filter((one, at) => rects.some((two, other) => other > at && one[0] < two[1] - 1
      && two[0] < one[1] - 1 && one[2] < two[3] - 4 && two[2] < one[3] - 4));
    const isOneLine = root.matches(".cbr-line");
    if (over.length || (isOneLine ? outer.height > 34 || outer.width > width : out.length))
      found.push([width, ...[...out, ...over].slice(0, 2).map(one => one[4])]);
    heights.push(outer.height);
  }
  return [found, heights];
}"""


@pytest.mark.parametrize(
    ("lang", "subsets"),
    [("ru", SUBSETS[-1:]), ("th", [View().columns]), *in_faults(*((lang, SUBSETS) for lang in LANGUAGES))],
)
async def test_no_text_is_cut_at_any_width(
    browser: Browser, live: Live, host: Host, lang: str, subsets: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """With any columns, wide names and large units, in each layout; the height of oEmbed is enough."""
    page = await browser.new_page(viewport={"width": 1000, "height": 900})
    style = f'<link rel="stylesheet" href="{live.url}/widget/{RELEASE}/widget.css">'
    await page.goto(host.put("<main></main>", head=style), wait_until="networkidle")
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
            wrong += [(query, width, high, reserved)] if high > reserved else []
        layouts += len(WIDTHS)
    with capsys.disabled():
        print(f"\n{lang}: {layouts} layouts, {len(wrong)} wrong, at most {spare} px too high")  # noqa: T201 -- figures to read
    assert wrong == []


@pytest.mark.parametrize(
    "around",
    [
        '<div style="display:flex">{}</div>',
        '<div style="display:grid;grid-template-columns:auto 1fr">{}<p>text</p></div>',
        "<table><tr><td>{}</td></tr></table>",
        '<div style="float:left">{}</div>',
        '<div style="display:inline-block">{}</div>',
    ],
)
async def test_the_element_never_collapses(around: str, browser: Browser, live: Live, host: Host) -> None:
    """Where its container asks for its own width, it is at least 12em wide, and never wider than a narrow container."""
    loader = f'<script async src="{live.url}/widget/rates.js"></script>'
    widths = []
    for window in (600, 200):
        page = await browser.new_page(viewport={"width": window, "height": 600})
        await page.goto(host.put(around.format('<cbr-rates lang="ru"></cbr-rates>') + loader), wait_until="networkidle")
        assert await page.evaluate("document.querySelector('cbr-rates').matches(':state(load)')")
        widths.append(await page.evaluate("document.querySelector('cbr-rates').offsetWidth"))
    assert widths[0] >= 12 * 16
    assert widths[1] <= 200 or around.startswith("<table")
