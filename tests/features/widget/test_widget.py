"""The widget's bytes: golden files, the loader's lock, and its safety inside somebody's page."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
from collections.abc import Mapping
from html import unescape
from itertools import pairwise
from pathlib import Path
from urllib.parse import parse_qsl

import aiohttp
import pytest
from conftest import first, golden, missing
from kit import cases
from kit.browser import Live, live_service
from kit.service import ROOT
from multidict import MultiDict
from release_loader import LOCK, built, changed, integrity
from yarl import URL

from ratesvc.features.site.page import asset, hashes, style
from ratesvc.features.site.text import PIXEL, text_width
from ratesvc.features.widget import releases
from ratesvc.features.widget.card import MARGIN
from ratesvc.features.widget.routes import embedded
from ratesvc.features.widget.table import LONG_WIDTHS, SHORT_WIDTHS, WIDEST_LINE
from ratesvc.render.openapi import Site

LOCALES = ("en", "ru", "zh-Hans", "de", "fr", "es", "pt-BR", "tr", "ar", "he", "fa", "hi", "ja", "kk", "uk")


async def get(url: str, path: str) -> tuple[int, Mapping[str, str], str]:
    async with aiohttp.ClientSession() as http, http.get(url + path) as answer:
        return answer.status, answer.headers, await answer.text()


async def text_of(live: Live, path: str) -> str:
    return (await get(live.url, path))[2]


def table_words(html: str) -> list[str]:
    table = html[html.index("<table") : html.index("</table>")]
    return [text.strip() for text in map(unescape, re.split("<[^>]+>", table)) if text.strip()]


@pytest.mark.parametrize("line", cases.questions("widget/recorded.txt"))
async def test_the_recorded_rates_give_the_same_bytes(live: Live, line: str) -> None:
    name, path = line.split()
    golden(f"widget/{name}", (await text_of(live, path)).replace(live.url, "https://rates.example"))


async def words_of_card(live: Live, query: str) -> str:
    """A picture's texts. It breaks long ones into lines."""
    return re.sub(r"( |\n|<[^>]+>)+", " ", await text_of(live, f"/widget/card.svg?{query}"))


@pytest.mark.slow
@pytest.mark.parametrize("lang", first(5, LOCALES))
@pytest.mark.parametrize(("layout", "columns"), [("table", 5), ("line", 4), ("bar", 3)])
async def test_every_form_has_the_same_texts(live: Live, lang: str, layout: str, columns: int) -> None:
    """A line and a bar show no names, and their heading has the day."""
    query = f"lang={lang}&layout={layout}"
    document = json.loads(await text_of(live, f"/widget/rows.json?{query}"))
    fragment = table_words(await text_of(live, f"/widget?{query}&style=none"))
    assert table_words(await text_of(live, f"/widget/frame?{query}")) == fragment
    card = await words_of_card(live, query)
    names = ["name"] if layout == "table" else []
    texts = [text for row in document["rows"] for text in (*map(row.get, ["unit", *names]), *row["cells"])]
    assert len(texts) == 6 * columns
    assert {document["title"], *texts} <= {*fragment, *(" ".join(fragment[:parts]) for parts in (2, 3))}
    assert [text for text in (document["title"], *texts) if text not in card] == []


@pytest.mark.parametrize("layout", ["table", "line", "bar", "converter"])
async def test_what_is_missing_is_said_in_every_form(live: Live, layout: str) -> None:
    """Beside the rates, or in a line in their place."""
    query = f"lang=ru&codes=RUB&layout={layout}"
    document = json.loads(await text_of(live, f"/widget/rows.json?{query}"))
    said = document.get("note") or document["title"]
    assert "RUB" in said
    shown = [re.sub("<[^>]+>", "", await text_of(live, f"/widget{form}?{query}")) for form in ("", "/frame")]
    assert [said in unescape(text) for text in shown] == [True, True]
    assert said in await words_of_card(live, query)


def test_a_released_file_never_changes() -> None:
    """Every file has the hash in the lock, and the lock has every hash that a tag of this repository has."""
    for version, release in releases.releases().items():
        assert {name: integrity(content) for name, content in release.items()} == releases.lock()[version]
    if not ROOT.joinpath(".git").exists():
        missing("the repository with its tags")
    assert changed(releases.lock()) == []


def test_the_first_release_freezes_the_loader(tmp_path: Path) -> None:
    """Until a tag has the lock its files may change. Then each may neither change nor go away, in any later release."""

    def git(*arguments: str) -> None:
        names = ("-c", "user.name=tests", "-c", "user.email=tests@example.org")
        subprocess.run(["git", "-C", tmp_path, *names, *arguments], check=True, capture_output=True, timeout=60)

    git("init", "--initial-branch=main")
    git("commit", "--allow-empty", "--message=before there was a loader")
    git("tag", "v0.1.0")
    lock = {"1.0.0": {"rates.js": "sha384-A", "widget.css": "sha384-B"}}
    tmp_path.joinpath(LOCK).parent.mkdir(parents=True)
    tmp_path.joinpath(LOCK).write_text(json.dumps(lock), "utf-8")
    git("add", ".")
    git("commit", "--message=the loader")
    other = {"1.0.0": {"rates.js": "sha384-C"}}
    assert changed(other, tmp_path) == []
    git("tag", "v1.0.0")
    assert changed(other, tmp_path) == ["1.0.0/rates.js", "1.0.0/widget.css"]
    assert changed(lock | {"1.1.0": {"rates.js": "sha384-C"}}, tmp_path) == []


def test_the_newest_release_is_what_is_built() -> None:
    """After a change of rates.js or widget.css run `make front`."""
    assert built() == releases.releases()[releases.RELEASE]


def test_the_types_have_the_attributes_that_the_loader_knows() -> None:
    known = re.search(r"const known = \[(.*?)\];", asset("widget/rates.js").read_text("utf-8"), re.DOTALL)
    types = asset("widget/rates.d.ts").read_text("utf-8").partition("export type")[0]
    assert known
    assert sorted(re.findall(r"\w+", known[1])) == sorted(re.findall(r"^  (\w+)\?:", types, re.MULTILINE))


def test_the_width_below_which_a_form_changes_is_in_its_class() -> None:
    """Its line height is a number of that many em, because a query of a container can compare with it."""
    widths = dict(re.findall(r"\.cbr-at-(\d+)\{line-height:(\d+)\}", style("widget/widget")))
    assert {*widths} >= {*map(str, (*LONG_WIDTHS, *SHORT_WIDTHS, WIDEST_LINE))}
    assert list(widths) == list(widths.values())


async def test_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With gzip: the loader has at most 1,372 bytes, loader and six rows 3,000 in each language, a frame 4,000.

    docs/widget.md names them in English and Russian.
    """
    rows = [f"/widget/nodes.json?lang={lang}" for lang in ("en", "ru", "zh-Hans")]
    frames = [f"/widget/frame?lang={lang}" for lang in ("en", "ru")]
    paths = ("/widget/rates.js", *frames, "/widget", *rows)
    async with live_service(tmp_path, demo=False) as live:
        sizes = {path: len(gzip.compress((await text_of(live, path)).encode(), 9)) for path in paths}
    with capsys.disabled():
        print(f"\ngzip: {sizes}")  # noqa: T201 -- figures to read
    assert sizes["/widget/rates.js"] <= 1372
    elements = [sizes["/widget/rates.js"] + sizes[path] for path in rows]
    assert max(sizes[path] for path in frames) <= 4000
    assert max(elements) <= 3000
    guide = Path("docs/widget.md").read_text("utf-8")
    told = re.findall(r"this service, (?:twice|once) \(([0-9.]+) kB with gzip.*?, ([0-9.]+) in Russian", guide)
    counted = [elements[:2], [sizes[path] for path in frames]]
    assert told == [tuple(f"{size / 1000:.1f}" for size in pair) for pair in counted]


async def test_the_manifest_has_the_pins_of_what_is_served(live: Live) -> None:
    """Each file of each release with its integrity, and the hash of the style that a shadow fragment brings."""
    document = json.loads(await text_of(live, "/widget/manifest.json"))
    for version, files in document["releases"].items():
        assert len(files) == 3
        for name, pin in files.items():
            assert integrity((await text_of(live, f"/widget/{version}/{name}")).encode()) == pin
    (brought,) = re.findall("<style>(.*?)</style>", await text_of(live, "/widget?shadow=1"))
    assert f"'{document['style']}'" == hashes(brought)
    assert document["version"] == releases.RELEASE


async def test_a_frame_that_names_no_ground_is_the_light_one(live: Live) -> None:
    """For consumers of oEmbed, too. Otherwise its bytes would be those of the address that is asked for first."""
    assert "theme%3Dlight&amp;format" in await text_of(live, "/embed?heading=first")


def heights(live: Live, query: str) -> str:
    """The heights that a frame needs, from 160 pixels of width on: each with the width from which it holds."""
    frame = embedded(live.service, Site(live.url), "", MultiDict(parse_qsl(query)))
    found = [(width, frame.height(width)) for width in range(160, 1300)]
    changes = [one for before, one in pairwise([(0, 0), *found]) if before[1] != one[1]]
    return " ".join(f"{width}:{height}" for width, height in changes)


async def test_a_frame_is_as_high_as_its_width_needs(live: Live) -> None:
    """golden/widget/heights.txt, to the pixel. test_no_text_is_cut_at_any_width compares some with a browser."""
    asked = cases.questions("widget/heights.txt")
    cases.check("widget/heights.txt", {query: heights(live, query) for query in asked})


async def test_a_chinese_heading_stays_on_its_card(live: Live) -> None:
    """It has no blanks, so it breaks between characters."""
    heading = "俄罗斯银行官方外汇汇率" * 5
    card = await text_of(live, f"/widget/card.svg?lang=zh-CN&heading={heading}")
    width = re.search(r'<svg [^>]*width="(\d+)"', card)
    lines = re.findall(r'font-weight="600"[^>]*>([^<]+)<', card.partition('font-size="13"')[0])
    assert width
    assert "".join(lines) == f"{heading} (演示)"
    assert all(text_width(line, 16) <= (int(width[1]) - 2 * MARGIN) * PIXEL for line in lines)


def told(status: int, headers: Mapping[str, str], body: str) -> str:
    """What an answer says, and the languages that it marks; of the builder its presets, its notices and its code."""
    named = [headers.get(name, "").partition(",")[0] for name in ("Cache-Control", "Retry-After")]
    head = filter(None, (str(status), *named, headers.get("Location")))
    if "code-element" in body:
        presets = re.findall('id="preset-.*?" href="(.*?)"', body)
        code = body.partition('id="code-element"')[2].partition("&lt;")[2].partition("&gt;")[0]
        body = " ".join([*re.findall('<p class="notice" .*?</p>', body), *presets, code])
    if not body.startswith("{"):
        body = re.sub("<(style|script).*?</\\1>", "", body, flags=re.DOTALL)
        body = re.sub('<[^>]* lang="(.*?)"(?: dir="(.*?)")?[^>]*>', r" [\1 \2] ", body)
        body = re.sub("<[^>]+>", " ", body)
    words = unescape(unescape(body)).split()
    return f"{', '.join(head)}\n{' '.join(words)}".rstrip()


async def test_each_answer_says_what_it_shows(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """golden/widget/says.txt: also where there are no rates, or with - nothing at all."""
    answers, ours = {}, live.url.replace("127.0.0.1", "localhost")
    for asked in cases.questions("widget/says.txt"):
        with monkeypatch.context() as without:
            if asked.startswith("-"):
                without.setattr(live.service, "publication", None)
            address = URL(live.url + asked.removeprefix("-").replace("@", ours), encoded=True)
            async with aiohttp.ClientSession() as http, http.get(address, allow_redirects=False) as answer:
                answers[asked] = told(answer.status, answer.headers, (await answer.text()).replace(ours, "@"))
    cases.check("widget/says.txt", answers)
