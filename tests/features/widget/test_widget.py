"""The widget's bytes: golden files, the loader's lock, and its safety inside somebody's page."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
from collections.abc import AsyncIterator, Mapping
from html import unescape
from pathlib import Path

import aiohttp
import pytest
from conftest import first, golden, missing
from kit.browser import Live, live_service
from kit.service import ROOT
from release_loader import LOCK, TERSER, built, changed, integrity

from ratesvc.config import Server, Settings
from ratesvc.features.site.page import asset, hashes
from ratesvc.features.site.text import PIXEL, text_width
from ratesvc.features.widget import releases
from ratesvc.features.widget.card import MARGIN
from ratesvc.features.widget.view import WIDTHS
from ratesvc.render.language import NOTHING
from ratesvc.service.app import Service
from ratesvc.web.server import listening

EVERY = "name,today,next,change,percent"
SVG = "{http://www.w3.org/2000/svg}"
LOCALES = ("en", "ru", "zh-Hans", "de", "fr", "es", "pt-BR", "tr", "ar", "he", "fa", "hi", "ja", "kk", "uk")


async def get(url: str, path: str) -> tuple[int, Mapping[str, str], str]:
    async with aiohttp.ClientSession() as http, http.get(url + path) as answer:
        return answer.status, answer.headers, await answer.text()


async def text_of(live: Live, path: str) -> str:
    return (await get(live.url, path))[2]


@pytest.fixture
async def empty(tmp_path: Path) -> AsyncIterator[str]:
    """The address of a service that has no rates yet."""
    settings = Settings(server=Server(port=0), data_dir=str(tmp_path))
    async with Service(settings, scheduled=False) as service, listening(service) as url:
        yield url


def table_words(html: str) -> list[str]:
    table = html[html.index("<table") : html.index("</table>")]
    return [text.strip() for text in map(unescape, re.split("<[^>]+>", table)) if text.strip()]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("fragment.en.html", "/widget?style=none"),
        ("fragment.ru.html", f"/widget?style=link&lang=ru&spark=30&href=https://a.example/rates&columns={EVERY}"),
        (
            "shadow.zh.html",
            f"/widget?shadow=1&style=none&lang=zh-CN&spark=7&href=https://a.example/{{code}}&columns={EVERY}",
        ),
        ("rows.ar.json", "/widget/rows.json?lang=ar&codes=USD,JPY"),
        ("card.ru.svg", "/widget/card.svg?lang=ru&spark=30"),
        ("card.de.svg", "/widget/card.svg?lang=de&heading=Kurse&codes=USD"),
        ("card.ar.svg", "/widget/card.svg?lang=ar&columns=today,next"),
    ],
)
async def test_the_recorded_rates_give_the_same_bytes(live: Live, name: str, path: str) -> None:
    text = await text_of(live, path)
    golden(f"widget/{name}", text.replace(live.url, "https://rates.example"))


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


def test_the_newest_release_is_made_from_the_sources() -> None:
    """After a change of rates.js or widget.css run `python tools/release_loader.py`."""
    if not TERSER.exists():
        missing("terser (npm)")
    assert built() == releases.releases()[releases.RELEASE]


def test_the_types_have_the_attributes_that_the_loader_knows() -> None:
    known = re.search(r"const known = (\[.*?\]);", asset("widget/rates.js").read_text("utf-8"))
    types = asset("widget/rates.d.ts").read_text("utf-8").partition("export type")[0]
    assert known
    assert sorted(json.loads(known[1])) == sorted(re.findall(r"^  (\w+)\?:", types, re.MULTILINE))


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


async def test_a_day_without_rates_shows_nothing_or_a_sentence(live: Live) -> None:
    """Nothing in a page of the host, a sentence in a frame, a neutral picture."""
    for path in ("/widget", "/widget/rows.json"):
        assert (await get(live.url, f"{path}?date=1992-06-30"))[::2] == (404, "")
    status, _, page = await get(live.url, "/widget/frame?date=1992-06-30&theme=dc3545")
    assert (status, "These rates are not available right now." in page) == (404, True)
    status, headers, _ = await get(live.url, "/widget/card.svg?date=1992-06-30")
    assert (status, headers["Cache-Control"]) == (200, "no-store")


@pytest.mark.parametrize("code", ["BYR", "RUB"])
@pytest.mark.parametrize("layout", ["table", "line", "bar", "converter"])
async def test_a_widget_whose_only_currency_has_no_rate_says_so(live: Live, layout: str, code: str) -> None:
    """It showed eight others."""
    document = json.loads(await text_of(live, f"/widget/rows.json?codes={code}&layout={layout}&pending=1"))
    assert [(row["unit"], {*row["cells"]}) for row in document["rows"]] == [(code, {NOTHING})]
    said = document["title"] + "." if layout == "line" else document["note"]
    assert said == f"The Bank of Russia has no rate for {code}."
    assert "converter" not in document
    assert said.rstrip(".") in await words_of_card(live, f"codes={code}&layout={layout}")


async def test_a_chinese_heading_stays_on_its_card(live: Live) -> None:
    """It has no blanks, so it breaks between characters."""
    heading = "俄罗斯银行官方外汇汇率" * 5
    card = await text_of(live, f"/widget/card.svg?lang=zh-CN&heading={heading}")
    width = re.search(r'<svg [^>]*width="(\d+)"', card)
    lines = re.findall(r'font-weight="600"[^>]*>([^<]+)<', card.partition('font-size="13"')[0])
    assert width
    assert "".join(lines) == f"{heading} (演示)"
    assert all(text_width(line, 16) <= (int(width[1]) - 2 * MARGIN) * PIXEL for line in lines)


@pytest.mark.parametrize("lang", ["de", "ar", "ru"])
async def test_a_heading_of_the_host_is_in_the_language_of_the_page(live: Live, lang: str) -> None:
    """If our sentences are English, our title is marked as English, and the host's heading is not."""
    english = lang != "ru"
    for heading, ours in (("", english), ("none", english), ("Wechselkurse", False)):
        query = f"lang={lang}&heading={heading}"
        for path in ("/widget", "/widget/frame"):
            titles = re.findall(r"<(?:caption|title)[^>]*>", await text_of(live, f"{path}?{query}"))
            assert len(titles) == (2 if path == "/widget/frame" else 1)
            assert [('lang="en"' in title) for title in titles] == [ours] * len(titles)
        document = json.loads(await text_of(live, f"/widget/rows.json?{query}"))
        assert document.get("title_lang") == ("en" if ours else None)
        assert document.get("words_lang") == ("en" if english else None)


async def test_nothing_stored_yet(empty: str) -> None:
    """Rows and fragment are empty with 503 and Retry-After. The card is a neutral picture that no cache keeps."""
    for path in ("/widget", "/widget/rows.json"):
        status, headers, text = await get(empty, path)
        assert (status, headers["Retry-After"], text) == (503, "30", "")
    for lang, said in (("de", "en"), ("ru", "ru")):
        status, headers, card = await get(empty, f"/widget/card.svg?lang={lang}")
        assert (status, headers["Cache-Control"]) == (200, "no-store")
        assert f' lang="{said}" ' in card
    status, _, page = await get(empty, "/widget/frame?lang=ru")
    assert (status, "Сейчас эти курсы недоступны." in page) == (503, True)
    assert 'href="https://www.cbr.ru/currency_base/daily/"' in page
    page = (await get(empty, "/widget/frame?lang=de"))[2]
    assert 'href="https://www.cbr.ru/eng/currency_base/daily/"' in page
    for lang, tag in (("ar", "en"), ("zh-Hans", "zh-Hans")):
        assert f'<html lang="{tag}" dir="ltr"' in (await get(empty, f"/embed?lang={lang}"))[2]


@pytest.mark.parametrize(
    ("query", "tag"), [("lang=de", "en"), ("lang=ar", "en"), ("lang=de&ui=ru", "ru"), ("lang=zh-CN", "zh-Hans")]
)
async def test_the_builder_without_rates_speaks_the_language_of_its_page(empty: str, query: str, tag: str) -> None:
    """English sentences are not marked as German or Arabic."""
    status, _, page = await get(empty, f"/?{query}")
    assert (status, f'<html lang="{tag}" dir="ltr">' in page) == (503, True)


async def test_a_frame_of_oembed_is_no_larger_than_its_consumer_allows(live: Live) -> None:
    ours = f"{live.url}/embed?codes=USD%26lang=ru".replace("?", "%3F")
    status, _, text = await get(live.url, f"/oembed?url={ours}&maxwidth=200&maxheight=150")
    document = json.loads(text)
    assert (status, document["width"], document["height"]) == (200, 200, 150)
    assert document["html"].startswith(f'<iframe src="{live.url}/embed?codes=USD&amp;lang=ru" width="200" height="150"')


@pytest.mark.parametrize("size_given", ["%26width=400", "%26width=600%26height=500"])
async def test_a_narrower_frame_is_higher(live: Live, size_given: str) -> None:
    """Rows and title wrap in a narrower frame, so it needs more height."""
    address = f"/oembed?url={live.url}/embed%3Fcolumns=name,today,next,change,percent{size_given}"

    async def size(limits: str) -> tuple[int, int]:
        document = json.loads(await text_of(live, address + limits))
        return document["width"], document["height"]

    wide, usual = await size("")
    assert await size("&maxwidth=2000") == (wide, usual)
    narrow, high = await size("&maxwidth=300")
    assert (narrow, high > usual) == (300, True)
    assert (await size("&maxwidth=200"))[1] >= high
    assert await size("&maxwidth=1") == (1, (await size(f"&maxwidth={WIDTHS.start}"))[1])
    assert await size("&maxwidth=240&maxheight=300") == (240, 300)


async def test_a_preset_is_a_whole_choice_in_the_readers_language(live: Live) -> None:
    """A line above a page, a narrow column, a card of its own."""
    page = await text_of(live, "/?lang=de&ui=ru&codes=JPY&theme=dark")
    found = re.findall(r'<a href="([^"]+)">(Шапка|Колонка|Карточка)</a>', page)
    shown = {}
    for address, name in found:
        code = unescape(await text_of(live, f"/{unescape(address)}")).partition('id="code-element"')[2]
        shown[name] = re.findall(r'<cbr-rates (.*?) style="', unescape(code))[0]
        assert '<html lang="ru"' in await text_of(live, f"/{unescape(address)}")
    assert shown == {
        "Шапка": 'layout="line" codes="USD,EUR,CNY" lang="de"',
        "Колонка": 'codes="USD,EUR,CNY" columns="next,change" head="0" heading="short" lang="de"',
        "Карточка": 'columns="today,next,change" heading="short" spark="30" converter="1" lang="de" theme="light"',
    }


@pytest.mark.parametrize(
    ("query", "notice"),
    [
        ("was=table&columns=name", "No currency is chosen, so you see the default ones."),
        (
            f"codes={','.join(['USD', *(f'X{a}{b}' for a in 'ABCDE' for b in 'ABCDE')])}",
            "The first 20 currencies are shown.",
        ),
        ("was=table&codes=USD", "No column is chosen, so you see the default ones."),
        ("width=5000", "Width: 120–2000 pixels."),
        ("height=5", "Height: 24–4000 pixels."),
        ("href=javascript:1", "The link must begin with https:// or http://."),
        ("codes=USD&columns=name,next", ""),
    ],
)
async def test_the_builder_says_what_it_does_not_show(live: Live, query: str, notice: str) -> None:
    """Instead of silently showing defaults."""
    found = re.findall('<p class="notice" role="status">(.*?)</p>', await text_of(live, f"/?{query}"))
    assert list(map(unescape, found)) == ([notice] if notice else [])


async def test_a_sentence_has_no_choices_that_its_form_does_not_show(live: Live) -> None:
    """After a table of his own colour a host gets a plain number: without the field he could not undo its ground."""
    looks = "theme=own&ground=%23ffcc00&updown=none&heading=own&own=Rates"
    target = f"{live.url}/?was=bar&layout=inline&codes=USD&{looks}&unit=1&symbols=1&lang=en"
    async with aiohttp.ClientSession() as http, http.get(target, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, "?layout=inline&codes=USD&lang=en")
