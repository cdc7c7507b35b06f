"""Pictures as PNG: small, the same on every machine, and without a box in place of a letter."""

from __future__ import annotations

import re
import struct
from html import escape
from io import BytesIO

import pytest
from conftest import first
from kit.browser import Live
from kit.http import fetched
from PIL import Image

from ratesvc.features.site import png
from ratesvc.features.site.language import language_or_default
from ratesvc.features.widget.view import TITLE

DAYS = "since=2022-10-01&until=2022-11-18"

pytestmark = pytest.mark.nightly


async def got(live: Live, path: str) -> bytes:
    status, _, body = await fetched(live.url + path)
    assert status == 200
    return body


def size(picture: bytes) -> tuple[int, int]:
    assert picture.startswith(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    width, height = struct.unpack(">II", picture[16:24])
    return width, height


@pytest.mark.slow
@pytest.mark.parametrize("lang", first(2, ["ru", "zh-Hans", "el"]))
@pytest.mark.parametrize("layout", ["table", "line", "bar"])
async def test_a_card_for_mail(live: Live, layout: str, lang: str) -> None:
    """It is as large as the SVG, or at scale 2 twice as fine and at most 23 kB."""
    query = f"layout={layout}&lang={lang}"
    drawn = (await got(live, f"/widget/card.svg?{query}")).decode()
    plain, fine = [await got(live, f"/widget/card.png?{query}&scale={scale}") for scale in "12"]
    width, height = map(int, re.findall(r'<svg [^>]*width="(\d+)" height="(\d+)"', drawn)[0])
    assert (size(plain), size(fine)) == ((width, height), (2 * width, 2 * height))
    wide, high = size(await got(live, f"/widget/card.png?{query}&wide=1"))
    assert (abs(wide - 1.91 * height) <= 2, high) == (True, height)
    assert len(fine) <= 23_000
    assert png.first_drawable([drawn, ""]) == drawn


@pytest.mark.parametrize("scale", [1, 2])
async def test_the_lines_of_a_card_are_seen(live: Live, scale: int) -> None:
    """On a dark ground and at the usual size, too: each is as many whole pixels high as the picture has for one."""
    for theme in ("light", "dark", "dc3545"):
        picture = Image.open(BytesIO(await got(live, f"/widget/card.png?codes=USD,EUR&scale={scale}&theme={theme}")))
        beside_codes = (90 * scale, 92 * scale, 90 * scale + 1, picture.height - 50 * scale)
        colours = {colour: count for count, colour in picture.convert("RGB").crop(beside_codes).getcolors() or ()}
        assert sorted(colours.values())[:-1] == [3 * scale], theme


async def test_a_card_of_twenty_currencies(live: Live) -> None:
    """docs/widget.md names its size."""
    codes = ",".join(sorted(live.service.history.codes())[:20])
    assert 40_000 < len(await got(live, f"/widget/card.png?lang=ru&scale=2&codes={codes}")) <= 64_000


@pytest.mark.parametrize("lang", ["en", "ru", "zh-Hans"])
async def test_the_fonts_have_every_currency(live: Live, lang: str) -> None:
    from babel.core import get_global  # noqa: PLC0415 -- only the night has it

    language = language_or_default(lang)
    names = [language.currency(code, count) for code in live.service.history.codes() for count in (1, 10, 100)]
    text = " ".join([*names, *map(language.currency, get_global("all_currencies")), language.say(TITLE)])
    picture = f'<svg xmlns="http://www.w3.org/2000/svg"><text>{escape(text)}</text></svg>'
    assert png.first_drawable([picture, ""]) == picture


@pytest.mark.slow
@pytest.mark.parametrize("lang", first(1, ["ar", "th"]))
async def test_a_script_that_the_fonts_lack_is_answered_in_english(live: Live, lang: str) -> None:
    """Readable words are better than boxes, in cards, without rates too, and in charts."""
    for path in ("/widget/card.png?", "/widget/card.png?date=2031-01-01&", f"/chart.png?codes=USD,EUR&{DAYS}&"):
        assert await got(live, f"{path}lang={lang}") == await got(live, f"{path}lang=en")
        assert await got(live, f"{path}lang=ru") != await got(live, f"{path}lang=en")


@pytest.mark.slow
async def test_a_heading_that_cannot_be_written_is_left_out(live: Live) -> None:
    """Our own heading takes its place, in the requested language."""
    assert await got(live, "/widget/card.png?lang=ru&heading=為替") == await got(live, "/widget/card.png?lang=ru")
    assert await got(live, "/widget/card.png?lang=ru&heading=Курс") != await got(live, "/widget/card.png?lang=ru")


@pytest.mark.slow
@pytest.mark.parametrize("lang", ["en", "ru", "zh-Hans"])
async def test_a_chart_for_mail(live: Live, lang: str) -> None:
    """It has the requested size and language, and is light unless dark is requested."""
    query = f"/chart.png?codes=USD,CNY&{DAYS}&width=600&height=300&lang={lang}"
    picture = await got(live, query)
    assert size(picture) == (600, 300)
    assert await got(live, f"{query}&theme=light") == picture
    assert await got(live, f"{query}&theme=dark") != picture


async def test_nothing_stored_is_a_neutral_picture(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is in the reader's language, and as narrow as any card, whose place a page may give it. No cache keeps it."""
    monkeypatch.setattr(live.service, "publication", None)
    status, headers, body = await fetched(f"{live.url}/widget/card.png?lang=ru&scale=2")
    assert (status, headers["Cache-Control"], size(body)[0]) == (200, "no-store", 512)


@pytest.mark.parametrize("path", ["/widget/card.png?date=2031-01-01", "/widget/card.svg?date=2031-01-01"])
async def test_a_neutral_picture_is_not_remembered(live: Live, path: str) -> None:
    """The rates of a day may arrive while the same publication is served."""
    await got(live, path)
    assert live.service.publication
    assert path not in live.service.publication.answers


async def test_a_large_picture_is_drawn_in_strips(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """No other thread runs while a strip is drawn, so each is small; together they are the whole picture."""
    images, read, draw = png._libraries()  # noqa: SLF001 -- what it is drawn with
    drawn: list[int] = []

    def noting(svg: str, *, zoom: int, **more: object) -> bytes:
        width, height = png.size_of(svg)
        drawn.append(width * height * zoom**2)
        return draw(svg, zoom=zoom, **more)

    monkeypatch.setattr(png, "_libraries", lambda: (images, read, noting))
    path = f"/chart.png?codes=USD,EUR&{DAYS}&width=720&height=400&density=2"
    assert size(await got(live, path)) == (1440, 800)
    assert max(drawn) <= png.STRIP_PIXELS
    assert sum(drawn) == 1440 * 800


@pytest.mark.parametrize(
    "path",
    [
        f"/chart.svg?codes=USD,EUR,CNY&{DAYS}&height=700&title=Курс",
        "/widget/card.svg?lang=zh-Hans",
        "/widget/card.svg?lang=ru",
    ],
)
async def test_no_strip_lacks_a_text_that_reaches_into_it(
    live: Live, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A strip is drawn without the texts of other strips, which take most of the time, and looks as with them."""
    drawn = (await got(live, path)).decode()
    parts = png.png(drawn, 2)
    monkeypatch.setattr(png, "TEXT_ABOVE", 10_000)
    monkeypatch.setattr(png, "TEXT_BELOW", 10_000)
    assert png.png(drawn, 2) == parts
