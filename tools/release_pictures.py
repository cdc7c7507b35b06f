"""Writes the widget's pictures with Chromium: `PYTHONPATH=.:tests:tests/faults python tools/release_pictures.py`."""

from __future__ import annotations

import asyncio
import base64
import tempfile
from io import BytesIO
from pathlib import Path

from kit.browser import chromium, hosting, live_service
from PIL import Image
from playwright.async_api import Page, ViewportSize

from ratesvc.features.site import png

DOCS = Path(__file__).parents[1] / "docs"
FONTS = Path(png.__file__).parent / "assets" / "fonts"
FACE = '@font-face{{font-family:Noto;font-weight:{};src:url("data:font/ttf;base64,{}")}}'
PAGE = (
    "body{margin:0;padding:28px 32px;font:16px/1.5 Noto,sans-serif;display:grid;gap:36px;"
    "grid-template-columns:1fr %spx}h1{margin:0 0 10px;font-size:27px;line-height:1.2}p{margin:0 0 12px}"
    ".quiet{color:light-dark(#5b6168,#a4abb3);font-size:14px}"
)
DARK = ":root{color-scheme:dark;background:#14171b;color:#e8eaed}"
EN = (
    "<h1>Harvest festival moves to the riverside</h1><p class=quiet>Friday, 18 November 2022</p>"
    "<p>The market square is closed for repairs, so this year's stalls will stand along the river. Organisers "
    "expect forty bakers, a brass band and, if the weather holds, the boat parade.</p>"
    "<p>Buses run every ten minutes from the station until midnight. Visitors are asked to leave their cars at "
    "home: the embankment stays closed to traffic on both days.</p>"
)
RU = (
    "<h1>Праздник урожая переезжает на набережную</h1><p class=quiet>Пятница, 18 ноября 2022 года</p>"
    "<p>Рыночную площадь ремонтируют, поэтому в этом году прилавки поставят вдоль реки. Ждут сорок пекарей, "
    "духовой оркестр и, если позволит погода, парад лодок.</p>"
    "<p>Автобусы от вокзала ходят каждые десять минут до полуночи. Гостей просят оставить машины дома.</p>"
)
PICTURES = {
    "widget-en-light": (EN, 'lang="en" spark="30"', 320, "", 450),
    "widget-ru-light": (RU, 'lang="ru" spark="30"', 320, "", 450),
    "widget-ru-dark-narrow": (RU, 'lang="ru" codes="USD,EUR,CNY"', 180, DARK, 350),
}


FORMS_PAGE = (
    "body{margin:0;font:16px/1.5 Noto,sans-serif;display:grid;grid-template-columns:1fr 290px}"
    "header{grid-column:1/-1;display:flex;align-items:center;gap:24px;padding:8px 32px;background:#8c1d18;color:#fff}"
    "nav{grid-column:1/-1;padding:12px 32px;background:#f4f1ec}main{padding:20px 32px}aside{padding:20px 32px 0 0}"
    "h1{margin:0 0 10px;font-size:25px;line-height:1.2}p{margin:0 0 12px}.quiet{color:#5b6168;font-size:14px}"
)
FORMS = (
    '<header><b>{name}</b><cbr-rates layout="line" lang="{lang}"></cbr-rates></header>'
    '<nav><cbr-rates layout="bar" lang="{lang}" heading="none"></cbr-rates></nav><main>{news}</main>'
    '<aside><cbr-rates layout="converter" lang="{lang}" heading="short"></cbr-rates></aside>'
)


def faces() -> str:
    """Our own fonts, so that the pictures do not depend on the machine."""
    files = {400: "NotoSans_400Regular.ttf", 600: "NotoSans_600SemiBold.ttf"}
    return "".join(
        FACE.format(weight, base64.b64encode((FONTS / name).read_bytes()).decode()) for weight, name in files.items()
    )


async def shoot(page: Page, address: str, name: str) -> None:
    """The page as a picture of few colours."""
    await page.goto(address, wait_until="networkidle")
    shot = Image.open(BytesIO(await page.screenshot())).convert("RGB")
    few = shot.quantize(64, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(DOCS / f"{name}.png", optimize=True)


async def main() -> None:
    """One page of news for each picture."""
    with tempfile.TemporaryDirectory() as folder:
        async with live_service(Path(folder), demo=False) as live, hosting() as host, chromium() as browser:
            scripts = "".join(
                f'<script async src="{live.url}/widget/{script}.js" crossorigin="anonymous"></script>'
                for script in ("rates", "converter")
            )
            for name, (news, attributes, width, dark, height) in PICTURES.items():
                box = f'height="{height}" style="display:block;height:{height}px"'
                element = f"<aside><cbr-rates {attributes} {box}></cbr-rates></aside>"
                style = f"<style>{faces()}{PAGE % width}{dark}</style>"
                size = ViewportSize(width=780 if width > 200 else 600, height=height + 40)
                page = await browser.new_page(viewport=size, device_scale_factor=2)
                await shoot(page, host.put(f"<main>{news}</main>{element}{scripts}", head=style), name)
            for lang, title, news in (("en", "The Riverside", EN), ("ru", "Набережная", RU)):
                page = await browser.new_page(viewport=ViewportSize(width=900, height=430), device_scale_factor=2)
                body = FORMS.format(name=title, lang=lang, news=news) + scripts
                await shoot(page, host.put(body, head=f"<style>{faces()}{FORMS_PAGE}</style>"), f"widget-forms-{lang}")


if __name__ == "__main__":
    asyncio.run(main())
