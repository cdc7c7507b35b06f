"""The widget in a real Chromium, on pages of other origins that do their worst."""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import date
from html import escape, unescape
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from conftest import first, in_nightly, missing, program
from kit.browser import (
    PHONE,
    WATCH,
    Browser,
    Host,
    Live,
    Page,
    chromium,
    got,
    hosting,
    live_service,
    pasted,
    settled,
    visited,
)
from kit.cases import script
from kit.proxies import nginx
from kit.service import finished, free_port, serving

from ratesvc.features.site.language import language_or_default
from ratesvc.features.site.page import LINK, hashes

pytestmark = pytest.mark.nightly

WEB = Path(__file__).parents[2] / "browser"
AXE = WEB / "node_modules" / "axe-core" / "axe.min.js"
VALIDATE = WEB / "node_modules" / ".bin" / "html-validate"
BELOW = '<p id="below">What stands below must not move.</p>'
# What axe and html-validate look at, beside what stands on a host's page: name → our own address.
PAGES = {
    "frame": "/widget/frame?theme={theme}&spark=7",
    "builder": "/",
    "rate": "/rate?lang=de&amount=5",
    "chart": "/chart?codes=USD,EUR&period=month&lang=ru",
    "chart-frame": "/chart/frame?codes=USD&period=month&theme={theme}",
    "docs": "/docs/history?lang=ru",
    "guide": "/docs/api",
    "frame-converter": "/widget/frame?theme={theme}&converter=1",
    "frame-line": "/widget/frame?theme={theme}&lang=ru&layout=line",
}
PAGES_IN_FAULTS = {
    "frame-bar": "/widget/frame?theme={theme}&lang=ru&layout=bar&href=https://a.example/{{code}}",
    "frame-ar": "/embed?theme={theme}&lang=ar",
    "builder-ru": "/?lang=ru",
    "builder-zh": "/?lang=zh-Hans&csp=1",
}
HOSTILE = """<style>*{letter-spacing:9px!important;text-transform:uppercase!important;line-height:4!important;
visibility:visible;text-align:center!important;word-spacing:20px!important}
table,td,th,caption,div,span,bdi,p{display:none!important;color:red!important;font-size:40px!important}</style>"""


async def opened(browser: Browser, address: str, **context: Any) -> Page:
    """The page, watched from its first moment, once it is quiet and its elements are drawn, if it has the loader."""
    page = await watched(browser, **context)
    await visited(page, address)
    if await page.locator("script[src*='/rates.js']").count():
        await settled(page)
    return page


async def watched(browser: Browser, **context: Any) -> Page:
    page: Page = await (await browser.new_context(**context)).new_page()
    await page.add_init_script(WATCH)
    return page


def element(live: Live, attributes: str = "", *, height: int = 460) -> str:
    box = f'height="{height}" style="display:block;height:{height}px"'
    return (
        f'<cbr-rates {attributes} {box}><a href="https://www.cbr.ru/">Bank of Russia</a></cbr-rates>{BELOW}'
        f'<script async src="{live.url}/widget/rates.js" crossorigin="anonymous"></script>'
    )


@pytest.mark.slow
@pytest.mark.parametrize("key", first(1, ["element", "frame"]))
async def test_a_strict_host(key: str, browser: Browser, live: Live, host: Host) -> None:
    """The builder's code with its rule and its line for the policy, under Trusted Types: no violation, no shift."""
    code = await pasted(live.url, key, "csp=1&spark=30")
    rule = code.split("Your style sheet:  ")[1].split("\n")[0]
    line = code.split("Your policy:  ")[1].split(" -->")[0]
    policy = f"default-src 'none'; style-src {hashes(rule)}; {line}; "
    policy += "require-trusted-types-for 'script'; trusted-types 'none'"
    address = host.put(code + BELOW, {"Content-Security-Policy": policy}, head=f"<style>{rule}</style>")
    page = await opened(browser, address)
    assert "60.3741" in await page.frames[-1].inner_text("table")
    assert await page.evaluate("violations") == []
    assert await page.evaluate("states") == (["cbr-load"] if key == "element" else [])
    border = "getComputedStyle(document.querySelector('cbr-rates, iframe')).borderTopWidth"
    assert await page.evaluate(border) == "0px"
    assert await page.evaluate("shift") == 0


@pytest.mark.parametrize("key", ["element", "frame"])
async def test_a_strict_host_of_a_service_under_a_prefix(key: str, tmp_path: Path) -> None:
    """The same for a service at http://пример.рф/widget: its name is in ASCII there, and its path ends right."""
    port = free_port()
    public_url = f"http://пример.рф:{port}/widget"
    prefix = {f"location /rates/{more}": f"location /widget/{more}" for more in (" {", "v1/events {")}
    async with (
        serving(tmp_path, "--demo", RATESVC_PUBLIC_URL=public_url) as service,
        nginx(tmp_path, service.url, port=port, replaced=prefix),
        hosting() as host,
        chromium("--host-resolver-rules=MAP xn--e1afmkfd.xn--p1ai 127.0.0.1") as browser,
    ):
        await service.ready()
        code = await pasted(service.url, key, "csp=1&lang=en&converter=1")
        line = code.split("Your policy:  ")[1].split(" -->")[0]
        assert line.isascii()
        page = await opened(browser, host.put(code, {"Content-Security-Policy": f"default-src 'none'; {line}"}))
        assert "60.3741" in await page.frames[-1].inner_text("table")
        assert await page.evaluate("violations") == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "query",
    [
        "lang=ru&spark=30&columns=name,today,next,change,percent&converter=1&pending=1",
        "lang=ar&spark=7&theme=dark&updown=blue-orange",
        "lang=ru&spark=7&columns=next,change&head=0",
        "lang=de&layout=line&href=https://a.example/{code}",
        "lang=zh-CN&layout=bar&heading=short",
        "lang=ru&layout=converter&date=2022-11-16",
        "lang=en&head=0&decimals=2&symbols=1&unit=1&heading=<i>'\"",
    ],
)
async def test_the_element_draws_the_fragment(browser: Browser, live: Live, host: Host, query: str) -> None:
    """Node for node, attribute for attribute, with every rule: the loader leaves nothing out."""
    pairs = (pair.split("=", 1) for pair in query.split("&"))
    attributes = " ".join(f'{name}="{escape(value)}"' for name, value in pairs)
    fragment = await got(f"{live.url}/widget?shadow=1&{query}")
    both = host.put(element(live, attributes) + f'<div id="fragment">{fragment}</div>')
    page = await opened(browser, both, viewport={"width": 328, "height": 900})
    drawn = """root => root.innerHTML.replace(/<style>.*?<.style>/gs, "").replace(/\\n\\s*/g, "")
      .replace(/^<(div|span)/, "<div").replace(/<.(div|span)>$/, "")"""
    from_rows = await page.evaluate(f"({drawn})(document.querySelector('cbr-rates').shadowRoot)")
    from_html = await page.evaluate(f"({drawn})(document.querySelector('#fragment > div').shadowRoot)")
    ordered = [re.sub(r' part="[^"]*"', "", text) for text in (from_rows, from_html)]
    assert ordered[0] == ordered[1]
    parts = [Counter(" ".join(re.findall(r' part="([^"]*)"', text)).split()) for text in (from_rows, from_html)]
    assert parts[1] <= parts[0]
    looks = """root => [...root.querySelectorAll("table, table *, p, p *")].map(node => {
      const { color, display, fontSize, opacity, position, gridArea, maxWidth } = getComputedStyle(node);
      return [node.tagName, color, display, fontSize, opacity, position, gridArea, maxWidth]; })"""
    seen = [
        await page.evaluate(f"({looks})(document.querySelector('{outer}').shadowRoot)")
        for outer in ("cbr-rates", "#fragment > div")
    ]
    assert seen[0] == seen[1]


async def test_one_rate_stands_in_a_sentence(browser: Browser, live: Live, host: Host) -> None:
    """As a link to its source in the text's own font, with its day as a hint; from a server it needs no script."""
    loader = f'<script async src="{live.url}/widget/rates.js" crossorigin="anonymous"></script>'
    element = '<cbr-rates code="USD" layout="inline" lang="ru"><a href="x">cbr.ru</a></cbr-rates>'
    page = await opened(browser, host.put(f"<p>The dollar is at {element} today.</p>{loader}"))
    assert await page.inner_text("cbr-rates .cbr-rates") == "60,39\u00a0₽"
    hint = "Банк России, 18\u00a0ноября 2022\u00a0г., 60,3894\u00a0₽"
    assert await page.get_attribute("cbr-rates .cbr-rates", "title") == hint
    assert await page.evaluate("document.querySelector('p').getClientRects().length") == 1
    assert await page.evaluate("document.querySelector('p').offsetHeight") < 30
    fragment = await got(f"{live.url}/widget?code=USD&layout=inline&style=none")
    page = await opened(browser, host.put(f"<p>At {fragment} today.</p>"))
    assert await page.inner_text("p") == "At ₽60.39 today."


async def test_the_words_after_a_rate_move_once(browser: Browser, live: Live, host: Host) -> None:
    """Words and figures differ in width, so an element cannot keep its place in a sentence. A server can."""
    code = await pasted(live.url, "element", "lang=ru&layout=inline&code=USD")
    text = "<p>Доллар стоит {}, это больше, чем было вчера: билеты и кофе подорожали за одну ночь.</p>" + BELOW
    included = await got(f"{live.url}/widget?code=USD&layout=inline&style=none&lang=ru")
    for part, most in ((code, 0.02), (included, 0)):
        page = await opened(browser, host.put(text.format(part)), viewport=PHONE)
        await page.get_by_text("60,39").wait_for()
        assert await page.evaluate("shift") <= most


CONTRAST = script("contrast")


async def test_a_host_has_a_say_in_the_colours(browser: Browser, live: Live, host: Host) -> None:
    """By `updown`, by the custom properties, and by the parts; colours of its style reach the element from outside."""
    hues = script("hues")
    chosen = "".join(element(live, f'updown="{words}"') for words in ("", "red-green", "blue-orange", "none"))
    head = """<style>.own{--cbr-up:rgb(0,0,200);--cbr-down:rgb(0,100,0);--cbr-line:rgb(1,2,3);
      &::part(code){font-style:italic}}</style>"""
    page = await opened(browser, host.put(chosen + element(live, 'class="own"'), head=head))
    assert await page.evaluate(hues) == [
        ["green", "red", "grey"],
        ["red", "green", "grey"],
        ["blue", "red", "grey"],
        ["grey", "grey", "grey"],
        ["blue", "green", "grey"],
    ]
    own = "getComputedStyle(document.querySelector('.own').shadowRoot.querySelector('{}')).{}"
    assert await page.evaluate(own.format("tbody tr", "borderTopColor")) == "rgb(1, 2, 3)"
    assert await page.evaluate(own.format(".cbr-code", "fontStyle")) == "italic"


async def test_a_height_is_kept_with_a_scrollbar_inside(browser: Browser, live: Live, host: Host) -> None:
    """Where only the attribute says it. Two loaders on a page, also of two releases, do no harm."""
    scripts = "".join(f'<script src="{live.url}/widget/{path}rates.js"></script>' for path in ("", "1.0.0/", ""))
    page = await watched(browser)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    await visited(page, host.put(f'<cbr-rates height="150"></cbr-rates>{scripts}'))
    await settled(page)
    sizes = "(one => [one.offsetHeight, one.scrollHeight > 200])(document.querySelector('cbr-rates'))"
    assert await page.evaluate(sizes) == [150, True]
    assert (await page.evaluate("states"), errors) == (["cbr-load"], [])


async def test_a_hidden_page_refreshes_when_it_is_seen_again(browser: Browser, live: Live, host: Host) -> None:
    """Its first rows come all the same. What comes later is not announced to those who listen."""
    page = await watched(browser)
    await page.clock.install()
    await page.add_init_script("""window.unseen = true;
      Object.defineProperty(Document.prototype, "hidden", { get: () => unseen });""")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await visited(page, host.put(element(live, "refresh=5")))
    for unseen, minutes, loads in (("true", 0, 1), ("true", 16, 1), ("false", 6, 2)):
        await page.evaluate(f"window.unseen = {unseen}")
        await page.clock.run_for(10 + minutes * 60_000)
        await page.wait_for_function(f"states.length == {loads}")
        assert len([address for address in asked if "nodes.json" in address]) == loads
    live_regions = "root => root.querySelectorAll('[aria-live], [role=status], [role=alert], [role=log]').length"
    assert await page.evaluate(f"({live_regions})(document.querySelector('cbr-rates').shadowRoot)") == 0


@pytest.mark.parametrize("layout", ["line", "bar"])
async def test_figures_in_a_header_have_the_colour_of_its_text(
    browser: Browser, live: Live, host: Host, layout: str
) -> None:
    """On red, green and blue with white text the arrows, too.

    On white and yellow they have a colour of their own; on a page that says it is dark, too, unless the text is white.
    """
    for ground, text, coloured in (
        ("#dc3545", "#fff", False),
        ("#cc0000", "#fff", False),
        ("#198754", "#fff", False),
        ("#0d6efd", "#fff", False),
        ("#ffffff", "#212529", True),
        ("#ffc107", "#000", True),
        ("#16191d", "#e8eaed;color-scheme:dark", True),
        ("#dc3545", "#fff;color-scheme:dark", False),
    ):
        around = f'<div style="background:{ground};color:{text}">{element(live, f"layout={layout}")}</div>'
        page = await opened(browser, host.put(around))
        colour = """selector => new Set([...document.querySelector("cbr-rates").shadowRoot
          .querySelectorAll(selector)].map(part => getComputedStyle(part).color)).size"""
        texts = await page.evaluate(colour, ".cbr-code, .cbr-value, td.cbr-change")
        all_texts = await page.evaluate(colour, ".cbr-code, .cbr-value, td.cbr-change, .cbr-mark")
        assert texts == 1
        assert all_texts == (3 if coloured else 1) or not coloured
        (of_text, *_), arrows = [await page.evaluate(CONTRAST, [ground, part]) for part in (".cbr-value", ".cbr-mark")]
        assert len(arrows) == 6
        chromas = """[...document.querySelector("cbr-rates").shadowRoot.querySelectorAll(".cbr-mark")]
          .map(mark => parseFloat(getComputedStyle(mark).color.split(" ")[1]))"""
        assert min(await page.evaluate(chromas)) > 0.1 or not coloured
        assert min(arrows) >= min(4.5, of_text - 0.01)
        await page.context.close()


async def test_a_ground_of_the_hosts_own_is_chosen_in_the_builder(browser: Browser, live: Live, host: Host) -> None:
    """Address and code have it. Pasted, the frame has no violation of its own policy."""
    page = await opened(browser, f"{live.url}/?lang=en", bypass_csp=True)
    await page.click("summary >> text=Appearance")
    await page.fill("[name=ground]", "#dc3545")
    await page.wait_for_url("**theme=%23dc3545")
    assert await page.is_checked("[name=theme][value=own]")
    assert await page.input_value("#picker") == "#dc3545"
    ground = "getComputedStyle(document.querySelector('{}')).backgroundColor"
    assert 'theme="#dc3545"' in await page.inner_text("#code-element code")
    code = await pasted(live.url, "frame", "lang=en&theme=dc3545")
    page = await opened(browser, host.put(code))
    frame = page.frames[1]
    assert [await frame.evaluate(ground.format(part)) for part in ("html", "main")] == ["rgb(220, 53, 69)"] * 2
    assert await frame.evaluate("violations") == []


@pytest.mark.parametrize(("theme", "part"), [("dark", "td"), ("auto", "td"), ("dc3545", ".cbr-mark")])
async def test_a_dark_frame_prints_black_on_white(browser: Browser, live: Live, theme: str, part: str) -> None:
    """Browsers print no backgrounds, so pale letters would stand on white."""
    page = await opened(browser, f"{live.url}/widget/frame?theme={theme}", color_scheme="dark")
    colours = """part => ["html", ".cbr-rates", "caption", part]
      .map(name => getComputedStyle(document.querySelector(name)))
      .flatMap((style, at) => at ? [style.color, style.backgroundColor] : [style.backgroundColor])"""
    clear, black = "rgba(0, 0, 0, 0)", "rgb(0, 0, 0)"
    on_screen = await page.evaluate(colours, part)
    assert clear != on_screen[0]
    assert black not in on_screen
    await page.emulate_media(media="print", color_scheme="dark")
    assert await page.evaluate(colours, part) == [clear, *[black, clear] * 3]


@pytest.mark.slow
@pytest.mark.parametrize("sandbox", first(1, ['sandbox="allow-scripts"', ""]))
@pytest.mark.parametrize("headers", first(1, [{}, {"Cross-Origin-Embedder-Policy": "require-corp"}]))
async def test_the_frame_as_pasted(
    browser: Browser, live: Live, host: Host, sandbox: str, headers: dict[str, str]
) -> None:
    """Plain, sandboxed as in WordPress, and on a page with COEP: one request, its height said, no shift."""
    code = (await pasted(live.url, "frame", "lang=en&theme=light")).replace("<iframe", f"<iframe {sandbox}")
    said = "<script>addEventListener('message', event => window.height = event.data.height)</script>"
    page = await opened(browser, host.put(said + code + BELOW, headers))
    frame = page.frames[1]
    assert "60.3741" in await frame.inner_text("table")
    assert await page.evaluate("shift") == 0
    height = await page.evaluate("height")
    assert 200 < height <= await page.evaluate("document.querySelector('iframe').clientHeight")


@pytest.mark.parametrize(
    ("layout", "height", "widths"),
    [
        ("table", "", (180, 240, 299, 300)),
        ("table&lang=hy&spark=30&columns=name,today,next,change,percent", "", (180, 240, 299)),
        ("table&columns=next,change&head=0", "", (180, 240, 299)),
        ("bar", "174px", (180, 240, 284, 300, 590)),
        ("bar&lang=en", "108px", (180, 213, 227, 228, 231, 290, 400, 456, 479, 480, 589, 590)),
    ],
)
async def test_a_frame_in_a_narrow_column_is_whole(
    browser: Browser, live: Live, host: Host, layout: str, height: str, widths: tuple[int, ...]
) -> None:
    """Its height is that of a phone, or that of a bar on a desktop, so it leaves out names.

    A bar has its changes from 230 pixels on, or small ones from 200 on, and nothing is torn. In a narrow table a rate
    stands after its code.
    """
    askew = """[...document.querySelectorAll("tbody tr")].filter(row => {
      const [code, rate] = [".cbr-code", ".cbr-value"].map(one => row.querySelector(one).getBoundingClientRect());
      return code.right > rate.left || code.bottom < rate.top; }).length"""
    torn = "[...document.querySelectorAll('.cbr-code')].filter(one => one.getClientRects().length > 1).length"
    sized = "size => Object.assign(document.querySelector('iframe').style, size) && 0"
    ends = "[...document.querySelectorAll('tbody td')].map(one => one.getBoundingClientRect().right)"
    language = "" if "lang=" in layout else "lang=ru&"
    code = await pasted(live.url, "frame", f"{language}theme=light&layout={layout}")
    page = await opened(browser, host.put(code))
    for width in widths:
        await page.evaluate(sized, {"maxWidth": f"{width}px", "height": height})
        await page.frames[1].wait_for_function("width => innerWidth === width", arg=width)
        spare = "innerHeight - document.body.getBoundingClientRect().height"
        assert await page.frames[1].evaluate(spare) >= 0, width
        assert await page.frames[1].evaluate("document.documentElement.scrollWidth <= innerWidth"), width
        assert await page.frames[1].evaluate(torn) == 0, width
        assert await page.frames[1].evaluate(askew) == 0 or width > 299 or layout[:3] == "bar", width
        if layout.startswith("bar"):
            shown = [end for end in await page.frames[1].evaluate(ends) if end]
            assert max(shown) <= width, width
            assert len(shown) == 12 - 6 * (width < 200), width


CARD = "columns=today,next,change&heading=short&spark=30&converter=1"
SHOWN = "[...document.querySelectorAll('{}')].filter(one => one.offsetWidth > 1 && one.offsetHeight > 1).length"
BETWEEN = """(([above, below]) => below.getBoundingClientRect().top - above.getBoundingClientRect().bottom < 16)(
  [document.querySelector("caption"), document.querySelector("cbr-converter, thead")])"""


@pytest.mark.parametrize(
    ("query", "size", "fact", "answer"),
    [
        # Rates of tomorrow stand beside their day, which in 240 pixels says so.
        ("layout=line", (240, 32), SHOWN.format(".cbr-tomorrow"), 1),
        ("layout=line", (180, 32), SHOWN.format("caption, .cbr-today, tbody tr:first-child .cbr-value"), 2),
        # A row that has a trend line elsewhere is high enough for its change below its rate.
        (CARD, (180, 540), SHOWN.format(".cbr-change"), 6),
        # Beside a rate it has an arrow.
        ("columns=next,change&head=0", (180, 270), SHOWN.format(".cbr-mark"), 6),
        # Air is not below the heading.
        (CARD, (180, 600), BETWEEN, True),
        ("layout=converter", (320, 188), BETWEEN, True),
        ("layout=converter", (180, 188), BETWEEN, True),
    ],
)
async def test_a_frame_of_a_narrow_column_has_what_an_element_has(
    browser: Browser, live: Live, query: str, size: tuple[int, int], fact: str, answer: object
) -> None:
    page = await browser.new_page(viewport={"width": size[0], "height": size[1]})
    await visited(page, f"{live.url}/widget/frame?lang=ru&{query}")
    assert await page.evaluate(fact) == answer
    assert await page.evaluate("document.documentElement.scrollHeight <= innerHeight")


async def test_a_note_takes_the_place_of_our_heading_alone(tmp_path: Path, browser: Browser) -> None:
    """The host's own words, and its link, stand beside the note that these rates are old. Below it rows are equal."""
    rows = "[...document.querySelectorAll('tbody tr')].map(one => one.offsetHeight)"
    async with live_service(tmp_path, until=date(2022, 11, 12)) as live:
        for more, is_shown in (("", 0), ("&heading=Our+rates", 1), ("&href=https://news.example/", 1)):
            address = f"{live.url}/embed?lang=en&head=0&columns=next,change{more}"
            size = json.loads(await got(f"{live.url}/oembed?url={quote(address)}"))
            page = await browser.new_page(viewport={"width": size["width"], "height": size["height"]})
            await visited(page, address)
            assert await page.evaluate(SHOWN.format("caption")) == is_shown
            heights = await page.evaluate(rows)
            assert max(heights) - min(heights) < 2
            assert await page.get_by_text("Not updated since").is_visible()
            assert await page.evaluate("document.documentElement.scrollHeight <= innerHeight")


@pytest.mark.parametrize("query", ["", "layout=line", "layout=converter"])
async def test_a_frame_beside_others_is_as_wide_as_what_is_left(
    browser: Browser, live: Live, host: Host, query: str
) -> None:
    """Of a row of 340 pixels, whose parts are otherwise never narrower than their width."""
    code = await pasted(live.url, "frame", f"lang=en&{query}")
    page = await browser.new_page(viewport={"width": 340, "height": 600})
    row = f'<div style="display:flex"><b style="flex:none;width:90px">News</b>{code}</div>'
    await visited(page, host.put(row, head="<style>body{margin:0}</style>"))
    assert await page.evaluate("document.documentElement.scrollWidth") == 340


async def test_a_frame_without_rates_is_filled(tmp_path: Path, browser: Browser) -> None:
    """Its outline is that of the frame, and a line shows the whole link."""
    inside = """(link => { const box = document.querySelector("main").getBoundingClientRect(), { top, bottom } = link;
      return [box.width === innerWidth, box.height === innerHeight, top >= 0 && bottom <= innerHeight,
        document.documentElement.scrollHeight <= innerHeight];
      })(document.querySelector("a").getBoundingClientRect())"""
    async with live_service(tmp_path, has_sheets=False) as live:
        for layout, height in (("table", 465), ("bar", 116), ("line", 32)):
            page = await browser.new_page(viewport={"width": 300, "height": height})
            await visited(page, f"{live.url}/widget/frame?theme=light&layout={layout}")
            assert await page.evaluate(inside) == [True] * 4, layout


async def test_a_bar_makes_no_grid_wider(browser: Browser, live: Live, host: Host) -> None:
    """Where a column is as wide as its words, a bar takes the room that is left."""
    bar = '<cbr-rates layout="bar"></cbr-rates>'
    grid = f'<div style="display:grid;grid-template-columns:auto auto"><div>{bar}</div><p>{"words " * 20}</p></div>'
    page = await browser.new_page(viewport={"width": 500, "height": 400})
    await visited(page, host.put(f'{grid}<script src="{live.url}/widget/rates.js"></script>'))
    await settled(page)
    assert await page.evaluate("document.documentElement.scrollWidth") == 500


@pytest.mark.parametrize("clipped", [True, False])
async def test_the_frame_says_its_height_at_once_and_when_it_changes(
    browser: Browser, live: Live, host: Host, clipped: bool
) -> None:
    """Each height once. The observers of a frame that is clipped may never run."""
    page = await watched(browser)
    if clipped:
        await page.add_init_script("window.ResizeObserver = class { observe() {} }")
    said = "<script>said = []; addEventListener('message', event => said.push(event.data.height))</script>"
    await visited(page, host.put(f'{said}<iframe src="{live.url}/widget/frame"></iframe>'))
    await page.wait_for_function("said.length")
    assert await page.evaluate("said.length") == 1
    if not clipped:
        for height in (1000, 1500):
            await page.frames[1].evaluate(f"document.body.style.height = '{height}px'")
            await page.wait_for_function(f"said.at(-1) === {height}")
        assert await page.evaluate("said.length") == 3


async def test_a_frame_that_is_not_laid_out_says_no_height(browser: Browser, live: Live, host: Host) -> None:
    """Closed details have a height of 0, and a host that sets it would see its page move when they are opened.

    A frame without a width, as on a busy machine, looks again by itself.
    """
    page = await watched(browser)
    await page.add_init_script("window.ResizeObserver = class { observe() {} }")
    said = "<script>said = []; addEventListener('message', event => said.push(event.data.height))</script>"
    frame = f'<details><summary>Rates</summary><iframe src="{live.url}/widget/frame"></iframe></details>'
    await visited(page, host.put(said + frame))
    await page.click("summary")
    await page.wait_for_function("said.length")
    assert await page.evaluate("said.map(height => height > 200)") == [True]


async def test_the_address_as_pasted_into_wordpress(browser: Browser, live: Live, host: Host) -> None:
    """Discovered, asked and framed in a sandbox as WordPress does it: the size asked for, no shift."""
    address = await pasted(live.url, "wordpress", "lang=ru&width=400&height=500")
    link = re.search(r'type="application/json\+oembed" href="([^"]+)"', await got(address))
    assert link
    document = json.loads(await got(unescape(link[1])))
    assert (document["type"], document["width"], document["height"]) == ("rich", 400, 500)
    sandboxed = document["html"].replace("<iframe", '<iframe sandbox="allow-scripts"')
    page = await opened(browser, host.put(sandboxed + BELOW))
    assert "60,3741" in await page.frames[1].inner_text("table")
    assert await page.evaluate("[document.querySelector('iframe').clientWidth, shift]") == [400, 0]
    # It leaves out the style, and then a frame without this attribute has a border.
    await page.evaluate("document.querySelector('iframe').removeAttribute('style')")
    assert await page.evaluate("getComputedStyle(document.querySelector('iframe')).borderTopWidth") == "0px"


@pytest.mark.parametrize("lang", ["ru", "ar", *in_nightly("en", "zh-Hans")])
async def test_the_picture_as_pasted(browser: Browser, live: Live, host: Host, lang: str) -> None:
    """Twice as fine as it is shown, with an alternative in its language, and a link to the Bank."""
    page = await opened(browser, host.put(await pasted(live.url, "picture", f"lang={lang}")))
    shown = """(e => [e.complete, e.naturalWidth / e.getAttribute("width"), e.naturalHeight / e.getAttribute("height"),
      e.alt])(document.querySelector('a > img'))"""
    assert await page.evaluate(shown) == [True, 2, 2, language_or_default(lang).say(LINK)]


@pytest.mark.slow
async def test_the_json_as_pasted(live: Live, tmp_path: Path) -> None:
    """The line runs in a shell."""
    command = await pasted(live.url, "json", "lang=ru&codes=USD,JPY")
    program("curl")
    _, said, _ = await finished("sh", "-c", command, cwd=tmp_path)
    assert [row["cells"][1] for row in json.loads(said)["rows"]] == ["60,3741", "43,0567"]


@pytest.mark.slow
@pytest.mark.parametrize("fault", first(1, ["503", "blocked", "integrity", "nonsense"]))
async def test_when_it_fails_the_link_stays(browser: Browser, live: Live, host: Host, fault: str) -> None:
    """The link at the top of the reserved box, in the colour of the page, no shift, one cbr-error at most, no retry.

    Where the loader runs, the box says so in the reader's language.
    """
    body = f'<div style="color:#e8eaed">{await pasted(live.url, "element", "lang=ru")}</div>{BELOW}'
    if fault == "integrity":
        body = body.replace("crossorigin", f'integrity="sha384-{"A" * 64}" crossorigin')
    page = await watched(browser)
    rows = 0

    async def refuse(route: Any) -> None:
        nonlocal rows
        rows += 1
        await route.fulfill(
            status=503 if fault == "503" else 200, body="<html>", headers={"Access-Control-Allow-Origin": "*"}
        )

    await page.route("**/nodes.json*", refuse)
    if fault == "blocked":
        await page.route("**/rates.js", lambda route: route.abort())
    loads = fault in ("503", "nonsense")
    await visited(page, host.put(body))
    if loads:
        await settled(page)
    assert await page.is_visible("cbr-rates a")
    box = """(link => [link.offsetTop - link.parentNode.offsetTop, getComputedStyle(link).color,
      getComputedStyle(link, "::after").content])(document.querySelector("cbr-rates a"))"""
    said = '". Сейчас эти курсы недоступны."' if loads else "none"
    assert await page.evaluate(box) == [0, "rgb(232, 234, 237)", said]
    assert await page.evaluate("shift") == 0
    assert rows == (1 if loads else 0)
    assert await page.evaluate("states") == (["cbr-error"] if loads else [])


async def test_the_link_before_the_rows_fits_its_place(browser: Browser, live: Live, host: Host) -> None:
    """A line has a short one in the colour and the height of the header, a sentence one that reads on."""
    line, sentence, own = [
        (await pasted(live.url, "element", f"lang=ru&{query}")).partition("<script")[0]
        for query in ("layout=line", "layout=inline&code=USD", "layout=inline&code=USD&heading=по%20курсу%20дня")
    ]
    # It is pasted into a sentence, so nothing becomes a blank before the next comma.
    assert "\n" not in await pasted(live.url, "element", "lang=ru&layout=inline&code=USD")
    assert ">по курсу ЦБ</a>" in sentence
    assert 'data-sentence="1\xa0USD — |."' in await got(f"{live.url}/?lang=ru&layout=inline&codes=USD")
    assert "title=" not in line + sentence
    assert ">по курсу дня</a>" in own
    page = await opened(browser, host.put(f'<header style="background:#c00;color:#fff">{line}</header>'))
    assert await page.inner_text("header") == "Курсы ЦБ"
    link = "getComputedStyle(document.querySelector('cbr-rates a')).color"
    assert await page.evaluate(link) == "rgb(255, 255, 255)"
    assert await page.evaluate("document.querySelector('header').offsetHeight") == 32


async def test_the_rows_of_a_table_share_what_is_reserved(browser: Browser, live: Live, host: Host) -> None:
    """Nothing stays empty below them, and each row has the same part of it. The cells of a bar stay in the middle."""
    for form, spare in (("layout=table", 0), ("layout=table&head=0&theme=light", 12), ("layout=bar", 0)):
        code = (await pasted(live.url, "element", f"lang=ru&height=900&{form}")).partition("<script")[0]
        page = await opened(browser, host.put(code + element(live)))
        ends = """(host => [...host.shadowRoot.querySelectorAll("tbody tr, p"), host]
          .map(part => part.getBoundingClientRect().bottom))(document.querySelector("cbr-rates"))"""
        *rows, end = await page.evaluate(ends)
        if form == "layout=bar":
            assert 340 < end - max(rows) < 420
            continue
        steps = [after - before for before, after in pairwise(rows[:-1])]
        assert max(steps) - min(steps) <= 1, form
        assert abs(end - max(rows) - spare) <= 2, form


async def test_equal_widgets_ask_once(browser: Browser, live: Live, host: Host) -> None:
    """One request for each distinct configuration on a page, none to a third host, and nothing is stored."""
    page = await watched(browser)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await visited(page, host.put(element(live) + element(live) + element(live, "codes=USD spark=30")))
    await settled(page)
    assert [address.removeprefix(live.url) for address in asked if live.url in address] == [
        "/widget/rates.js",
        "/widget/nodes.json?&lang=en",
        "/widget/nodes.json?&lang=en&codes=USD&spark=30",
    ]
    assert all(address.startswith((live.url, host.url)) for address in asked)
    assert await page.evaluate("localStorage.length + sessionStorage.length") == 0


async def test_a_page_that_stays_open_asks_again_after_a_minute(browser: Browser, live: Live, host: Host) -> None:
    """An element that is inserted within that minute shares the answer, be it rows or a failure."""
    page = await watched(browser)
    await page.clock.install()
    statuses = [503, 200, 200]

    async def answer(route: Any) -> None:
        if statuses.pop(0) == 200:
            await route.continue_()
        else:
            await route.fulfill(status=503, headers={"Access-Control-Allow-Origin": "*"})

    await page.route("**/nodes.json*", answer)
    await visited(page, host.put(element(live)))
    anew = "document.querySelector('cbr-rates').replaceWith(document.createElement('cbr-rates'))"
    for wait_ms, state, left in ((10, "error", 2), (10, "error", 2), (61_000, "load", 1), (10, "load", 1)):
        await page.clock.run_for(wait_ms)
        await page.evaluate(anew)
        await page.clock.run_for(10)
        await page.wait_for_function(
            "state => document.querySelector('cbr-rates').matches(`:state(${state})`)", arg=state
        )
        assert len(statuses) == left


@pytest.mark.slow
async def test_old_rows_are_no_answer_to_a_new_question(browser: Browser, live: Live, host: Host) -> None:
    """When other currencies cannot be had, the link stands there again; a failed refresh keeps what it has."""
    page = await watched(browser)
    await page.clock.install()
    await visited(page, host.put(element(live, "refresh=5")))
    await page.clock.run_for(10)
    await page.wait_for_function("states.length == 1")
    await page.route("**/nodes.json*", lambda route: route.abort())
    await page.clock.run_for(5 * 60_000)
    await page.wait_for_function("states.length == 2")
    assert await page.is_visible("cbr-rates table")
    await page.evaluate("document.querySelector('cbr-rates').setAttribute('codes', 'JPY')")
    await page.clock.run_for(510)
    await page.wait_for_function("states.length == 3")
    assert await page.evaluate("states") == ["cbr-load", "cbr-error", "cbr-error"]
    assert await page.locator("cbr-rates table").count() == 0
    assert await page.is_visible("cbr-rates a")
    assert await page.evaluate("document.querySelector('cbr-rates').matches(':state(error)')")


@pytest.mark.parametrize("fails", ["false", "true"])
async def test_a_late_answer_does_not_undo_a_later_question(
    browser: Browser, live: Live, host: Host, fails: str
) -> None:
    """The element was given another currency before it had the rows of the first, or before those failed."""
    page = await watched(browser)
    await page.add_init_script(script("a late answer"))
    await visited(page, host.put(element(live, "codes=USD")))
    await page.wait_for_function("!!window.release")
    await page.evaluate("document.querySelector('cbr-rates').setAttribute('codes', 'JPY')")
    await page.wait_for_function("states.length == 1")
    await page.evaluate(f"window.release({fails})")
    await page.evaluate("new Promise(done => setTimeout(done))")
    assert "JPY" in await page.inner_text("cbr-rates table")
    assert await page.evaluate("states") == ["cbr-load"]


async def test_a_removed_element_is_let_go(browser: Browser, live: Live, host: Host) -> None:
    """What a page of one document took out has no timer left that would keep it alive."""
    page = await watched(browser)
    await page.add_init_script(script("running timers"))
    await visited(page, host.put(element(live, "refresh=5")))
    await settled(page)
    assert await page.evaluate("running.size") == 1
    await page.evaluate("document.querySelector('cbr-rates').remove()")
    assert await page.evaluate("running.size") == 0


async def test_a_hostile_style_sheet_changes_nothing_inside(browser: Browser, live: Live, host: Host) -> None:
    """With a ground of its own the widget looks the same, pixel by pixel."""
    pictures = []
    for head in ("<style>body{margin:0}</style>", HOSTILE + "<style>body{margin:0!important}</style>"):
        body = element(live, 'theme="light" lang="en"').replace(BELOW, "")
        page = await opened(browser, host.put(body, head=head), viewport={"width": 320, "height": 460})
        pictures.append(await page.screenshot())
    assert pictures[0] == pictures[1]


async def test_a_page_without_a_doctype_changes_nothing_inside(browser: Browser, live: Live, host: Host) -> None:
    """There a table takes neither colour nor font of what is around it, so letters would be black on a dark header."""
    forms = ("layout=line", "layout=bar", "layout=table", "layout=table theme=#0b5cad", "layout=table theme=dark")
    elements = "".join(f"<cbr-rates lang=ru {form}></cbr-rates>" for form in forms)
    around = '<div style="background:#14171b;color:#ddd;font:italic 18px Georgia">'
    body = f'{around}{elements}</div><script async src="{live.url}/widget/rates.js"></script>'
    looks = """[...document.querySelectorAll("cbr-rates")].flatMap(({ shadowRoot }) =>
      [...shadowRoot.querySelectorAll("caption, th, td")].map(cell =>
        (({ color, font }) => color + font)(getComputedStyle(cell))))"""
    seen = {}
    for doctype in ("", "<!doctype html>"):
        address = host.put(body)
        host.pages[address.removeprefix(host.url)] = (f"{doctype}<html lang=ru><body>{body}", {})
        page = await opened(browser, address)
        seen[await page.evaluate("document.compatMode")] = await page.evaluate(looks)
    assert len(seen["BackCompat"]) > 100
    assert seen["BackCompat"] == seen["CSS1Compat"]


async def test_valid_html(live: Live, tmp_path: Path) -> None:
    """html-validate finds no error in frame, builder, /rate and fragment.

    But one, which docs/widget.md names: a fragment that is to be seen without any request brings a style element
    into the body. Every browser obeys it there; linked, or in a shadow root, it is valid.
    """
    if not VALIDATE.exists():
        missing("html-validate (npm)")
    # /docs repeats the roles of its tables, because its style takes them away on a phone.
    paths = {name: path.format(theme="light") for name, path in (PAGES | PAGES_IN_FAULTS).items() if name != "docs"}
    included = {
        "linked": "/widget?style=link&spark=7",
        "shadow": "/widget?shadow=1",
        "inline": "/widget",
        "sentence": "/widget?layout=inline&style=link",
    }
    around = '<!doctype html><html lang="en"><head><title>Host</title></head><body>{}</body></html>'
    for name, path in {**paths, **included}.items():
        text = await got(live.url + path)
        (tmp_path / f"{name}.html").write_text(around.format(text) if name in included else text, "utf-8")
    files = [str(tmp_path / f"{name}.html") for name in (*paths, *included)]
    command = [str(VALIDATE), "--config", str(WEB / ".htmlvalidate.json"), "--formatter", "json", *files]
    _, said, complaint = await finished(*command, cwd=tmp_path)
    found = [(Path(one["filePath"]).stem, error["ruleId"]) for one in json.loads(said) for error in one["messages"]]
    assert found == [("inline", "element-permitted-content")], said + complaint


async def heard(page: Page) -> Counter[str]:
    """How often each role is there for those who listen."""
    session = await page.context.new_cdp_session(page)
    nodes = (await session.send("Accessibility.getFullAXTree"))["nodes"]
    return Counter(node["role"]["value"].lower() for node in nodes if "role" in node)


@pytest.mark.parametrize("path", ["/widget/frame?codes=USD", "/docs/history"])
async def test_a_table_for_those_who_listen(browser: Browser, live: Live, path: str) -> None:
    """Also where the style sheet of a phone lays rows out as a grid, they stay rows with headers."""
    found = []
    for width in (320, 1100):
        page = await opened(browser, live.url + path, viewport={"width": width, "height": 900})
        roles = await heard(page)
        found.append([roles[kind] for kind in ("table", "row", "rowheader", "columnheader", "cell")])
    assert found[0] == found[1]
    assert all(found[0])


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", *in_nightly("dark")])
@pytest.mark.parametrize("what", first(2, ["element", *PAGES, "not-found", "fragment", "grounds", *PAGES_IN_FAULTS]))
async def test_axe_finds_nothing(browser: Browser, live: Live, host: Host, what: str, scheme: str) -> None:
    """axe-core with wcag22aa and best-practices."""
    if not AXE.exists():
        missing("axe-core (npm)")
    theme = "dark" if scheme == "dark" else "light"
    # On a dark page that sets no color-scheme.
    grounds = "".join(
        element(live, look) for look in ("", *(f"theme=#dc3545 layout={form}" for form in ("table", "line", "bar")))
    )
    included = {
        "element": element(live, f"theme={theme} spark=30"),
        "grounds": f'<div style="background:#14171b;color:#ddd">{grounds}</div>',
        "fragment": await got(f"{live.url}/widget?theme={theme}&style=inline"),
    }
    if what in included:
        address = host.put(f"<main><h1>Host</h1>{included[what]}</main>")
    else:
        address = live.url + (PAGES | PAGES_IN_FAULTS).get(what, "/nothing").format(theme=theme)
    page = await opened(browser, address, color_scheme=theme)
    await page.evaluate(AXE.read_text("utf-8"))
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    # What is inside a frame of the builder is tested as a frame; a frame is a part of a page and has no h1 of its own.
    rules = {"page-has-heading-one": {"enabled": "frame" not in what}}
    options = {"runOnly": {"type": "tag", "values": tags}, "iframes": False, "rules": rules}
    found = await page.evaluate("async options => (await axe.run(document, options)).violations", options)
    assert [(one["id"], [node["html"][:120] for node in one["nodes"]]) for one in found] == []


async def test_the_builder_keeps_what_is_typed(browser: Browser, live: Live) -> None:
    """A height is nobody's but the reader's, from the address or while it is typed; Enter moves no currency."""
    page = await opened(browser, f"{live.url}/?height=300")
    await page.fill("[name=own]", "Rates")
    await page.wait_for_url("**heading=Rates*")
    assert "height=300" in page.url
    assert await page.input_value("[name=height]") == "300"
    await page.fill("[name=height]", "")
    await page.wait_for_url(lambda address: "height" not in address)
    assert await page.input_value("[name=height]") == ""
    await page.fill("[name=height]", "250")
    await page.wait_for_url("**height=250*")
    await page.fill("[name=own]", "")
    await page.press("[name=own]", "Enter")
    await page.wait_for_url(f"{live.url}/?lang=en&height=250")


INTRUDERS = """<iframe srcdoc="<script>top.hit = 1</script>"></iframe><script src="/widget/rows.json"></script>
<iframe src="javascript:top.hit = 1"></iframe><script src="data:text/javascript,parent.hit = 1"></script>
<base href="//evil.example"><svg onload="parent.hit = 1">"""


async def test_a_preview_runs_in_the_builder_only(browser: Browser, live: Live, host: Host) -> None:
    """It takes its code from the page around it, which no page of another origin can be; alone it runs nothing."""
    code = 'data-code="<script>top.hit = 1</script><img src=x onerror=top.hit=1>hit"'
    frame = f'<iframe {code} src="{live.url}/widget/preview"></iframe>'
    page = await opened(browser, host.put(frame))
    assert await page.evaluate("[window.hit, frames.length]") == [None, 1]
    assert page.frames[1].url.startswith("chrome-error:")
    page = await opened(browser, f"{live.url}/widget/preview?code=hit#hit")
    assert await page.evaluate("document.body.innerText") == ""
    # Even the page around it can write no script of its own into it.
    page = await opened(browser, f"{live.url}/")
    made = """code => new Promise(done => { const frame = document.createElement("iframe");
      Object.assign(frame.dataset, { code }); frame.onload = done; frame.src = "/widget/preview";
      document.body.append(frame); })"""
    await page.evaluate(made, "<p>hit<script>parent.hit = 1</script><img src=x onerror=parent.hit=1>" + INTRUDERS)
    shown = "[frames[frames.length - 1].document.body.innerText.trim(), window.hit]"
    assert await page.evaluate(shown) == ["hit", None]


async def test_a_search_without_a_hit_says_so(browser: Browser, live: Live) -> None:
    page = await opened(browser, f"{live.url}/")
    await page.fill("#find", "zzz")
    assert await page.inner_text("#nothing") == "No currency has this code or name."
    await page.fill("#find", "usd")
    assert not await page.is_visible("#nothing")


async def test_the_letters_of_a_text_are_one_step_back(browser: Browser, live: Live) -> None:
    """One step back from a heading is the page before it, however long it took to type."""
    page = await opened(browser, f"{live.url}/?lang=en", bypass_csp=True)
    before = page.url
    for text in ("R", "Ra", "Rates"):
        await page.fill("[name=own]", text)
        await page.wait_for_url(f"**heading={text}&lang=en")
    assert await page.is_checked("[name=heading][value=own]")
    await page.go_back()
    await page.wait_for_function("document.querySelector('[name=own]').value == ''")
    assert page.url == before
    await page.check("[name=heading][value=none]")
    await page.wait_for_url("**heading=none*")
    assert await page.input_value("[name=own]") == ""


async def test_preview_and_code_stay_in_sight(browser: Browser, live: Live) -> None:
    """On a wide screen, also far down in the form. On a phone they stand below it, and nothing is too wide."""
    for screen in ({"width": 1280, "height": 800}, PHONE):
        page = await opened(browser, f"{live.url}/?lang=ru", viewport=screen, bypass_csp=True)
        await page.wait_for_function("document.querySelectorAll('.scripted iframe').length == 2")
        assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert not await page.is_visible("button.main")
        copy = "[role=tabpanel]:not([hidden]) > button"
        for selector in (copy, "#preview", "#code > [role=tablist]", copy):
            if selector == "#preview":
                await page.evaluate("document.querySelector('summary').scrollIntoView({ block: 'end' })")
            box = await page.locator(selector).bounding_box()
            assert box
            assert screen == PHONE or 0 <= box["y"] < screen["height"], selector


@pytest.mark.slow
async def test_the_builder_keeps_the_place_of_its_reader(browser: Browser, live: Live) -> None:
    """After another layout the same tab is open, what was unfolded still is, and the focus is where it was."""
    page = await opened(browser, f"{live.url}/?lang=en#code-php", bypass_csp=True)
    assert await page.is_visible("#code-php")
    await page.focus("#tab-code-php")
    await page.keyboard.press("End")
    assert await page.is_visible("#code-json")
    await page.keyboard.press("ArrowRight")
    assert await page.is_visible("#code-react")
    await page.keyboard.press("Home")
    await page.keyboard.press("ArrowLeft")
    assert await page.is_visible("#code-json")
    await page.click("summary >> text=Place")
    await page.focus("[name=layout]:checked")
    await page.keyboard.press("ArrowRight")
    await page.wait_for_url("**layout=bar*")
    focused = "document.activeElement.name + document.activeElement.value"
    await page.wait_for_function(f"{focused} == 'layoutbar'")
    assert await page.is_visible("#code-json")
    assert not await page.is_visible("#code-element")
    assert await page.is_visible("[name=float]")
    await page.focus("#tab-code-json")
    await page.evaluate("document.querySelector('[name=theme][value=dark]').click()")
    await page.wait_for_url("**theme=dark*")
    assert await page.evaluate("document.activeElement.id") == "tab-code-json"
    # A frame cannot have the ground of the page around it. While a preview is drawn the tabs stay where they are,
    # because a mouse that goes down on one thing and up on another clicks nothing.
    drawn = "frames.length > 1 && document.querySelector('#preview').style.minHeight === ''"
    await page.wait_for_function(drawn)
    await page.evaluate("""window.tops = new Set(); (function look() {
      tops.add(document.querySelector("[role=tablist]").getBoundingClientRect().top);
      requestAnimationFrame(look); })()""")
    for key, state in (("frame", "disabled"), ("element", "enabled")):
        await page.click(f"#tab-code-{key}")
        await page.wait_for_selector(f"[name=theme][value=inherit]:{state}", state="attached")
        await page.wait_for_function(drawn)
    assert await page.evaluate("tops.size") <= 2


async def test_another_layout_begins_with_its_own_defaults(browser: Browser, live: Live) -> None:
    """Ticked switches of a table do not follow into a line; unticked ones of a line are said in the code."""
    page = await opened(browser, f"{live.url}/?lang=ru&decimals=4&spark=30", bypass_csp=True)
    await page.check("[name=layout][value=line]")
    await page.wait_for_url("**layout=line*")
    assert await page.is_checked("[name=symbols]")
    assert 'layout="line" lang="ru" style' in await page.inner_text("#code-element code")
    await page.uncheck("[name=symbols]")
    await page.wait_for_function("document.querySelector('#code-element code').textContent.includes('symbols=\"0\"')")


async def test_a_new_currency_can_go_first(browser: Browser, live: Live) -> None:
    """It has its button as soon as it is ticked, and whoever presses it stays in the list."""
    page = await opened(browser, f"{live.url}/?codes=USD")
    assert not await page.is_visible("button[value=CHF]")
    assert not await page.is_visible("button[value=USD]")
    await page.check("input[value=CHF]")
    await page.click("button[value=CHF]")
    await page.wait_for_url("**codes=CHF,USD*")
    assert await page.evaluate("document.activeElement.value") == "CHF"
    assert await page.is_visible("button[value=USD]")


async def test_a_slow_answer_does_not_undo_a_later_choice(browser: Browser, live: Live) -> None:
    """Bodies that come in the wrong order: the last choice stands."""
    page = await watched(browser, bypass_csp=True)
    await page.add_init_script(script("a slow text"))
    await visited(page, f"{live.url}/")
    await page.fill("[name=own]", "one")
    await page.wait_for_function("!!window.release")
    await page.fill("[name=own]", "two")
    await page.wait_for_url("**heading=two*")
    await page.evaluate("window.release()")
    await page.evaluate("new Promise(done => setTimeout(done))")
    assert "heading=two" in page.url
    assert 'heading="two"' in await page.inner_text("#code-element code")


@pytest.mark.slow
async def test_an_answer_between_a_click_and_its_question_is_too_late(browser: Browser, live: Live) -> None:
    """The form of the earlier layout would stand in the place of what was clicked, or its text of what is typed."""
    page = await watched(browser, bypass_csp=True)
    await page.add_init_script(script("a slow text"))
    await visited(page, f"{live.url}/?lang=en")
    for act, now in (("[name=layout][value=line]", "**layout=line*"), ("#preset-card", "**converter=1*")):
        await page.fill("[name=own]", "one")
        await page.check("[name=layout][value=bar]")
        await page.wait_for_function("!!window.release")
        await page.evaluate(
            """act => { document.querySelector("[name=own]").value = ""; document.querySelector(act).click();
              release(); delete window.release; }""",
            act,
        )
        await page.wait_for_url(now)


async def test_copying_on_plain_http(browser: Browser, live: Live) -> None:
    """There is no clipboard for scripts then: the code is selected, and the button says so."""
    page = await watched(browser)
    await page.add_init_script("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    await visited(page, f"{live.url}/")
    await page.click("#code-element button")
    assert await page.inner_text("#code-element button") == "Selected. Press Ctrl+C to copy"
    assert await page.evaluate("getSelection().toString()") == await page.inner_text("#code-element code")


async def test_the_builder_in_another_language_keeps_the_choice(browser: Browser, live: Live) -> None:
    """The page's language changes, and with it the widget's where both were the same; all else stays."""
    page = await opened(browser, f"{live.url}/?codes=JPY&theme=dark&height=300&csp=1")
    await page.fill("[name=own]", "Rates")
    await page.wait_for_url("**heading=Rates*")
    await page.click("nav >> text=Русский")
    assert await page.get_attribute("html", "lang") == "ru"
    code = await page.inner_text("#code-element code")
    for kept in ('codes="JPY"', 'theme="dark"', "min-height:300px", 'heading="Rates"', 'lang="ru"', "integrity="):
        assert kept in code
    await page.goto(f"{live.url}/?lang=de")
    await page.click("nav >> text=Русский")
    assert 'lang="de"' in await page.inner_text("#code-element code")
    # One with a region is chosen in the list, so that the next change keeps it.
    await page.goto(f"{live.url}/?lang=zh-Hans-CN")
    await page.fill("[name=own]", "1")
    await page.wait_for_url("**heading=1&lang=zh-Hans-CN")


async def test_a_strict_host_of_the_fragment(browser: Browser, live: Live, host: Host) -> None:
    """Its style by link, the rule of an own ground and the converter are what the line for the policy allows."""
    for key, begins in (("ssi", 'virtual="/rates'), ("php", f"$address = '{live.url}")):
        code = await pasted(live.url, key, "csp=1&lang=en&theme=dc3545&converter=1")
        line = code.split("Your policy:  ")[1].split(" -->")[0]
        path = re.split("[\"']", code.split(begins)[1])[0]
        policy = {"Content-Security-Policy": f"default-src 'none'; {line}"}
        page = await opened(browser, host.put(await got(live.url + path), policy))
        assert await page.evaluate("violations") == []
        words = "document.querySelector('body > div').shadowRoot.querySelector('.cbr-words')"
        assert await page.evaluate(f"getComputedStyle({words}).position") == "absolute"
        await page.locator("#amount").wait_for()
        own = "document.querySelector('body > div').shadowRoot.querySelector('.cbr-own')"
        assert await page.evaluate(f"getComputedStyle({own}).backgroundColor") == "rgb(220, 53, 69)"


async def test_the_builder_without_scripts(browser: Browser, live: Live) -> None:
    """A GET form: every tab's code is there, and sending it keeps every choice."""
    page = await (await browser.new_context(java_script_enabled=False)).new_page()
    await page.goto(f"{live.url}/?lang=ru")
    assert await page.locator("#code pre").count() == 10
    await page.click("summary >> text=Оформление")
    await page.check("[name=theme][value=dark]")
    await page.click("button.main")
    assert page.url == f"{live.url}/?lang=ru&theme=dark"
    assert 'theme="dark"' in await page.inner_text("#code-element code")
