"""Writes the widget's pictures with Chromium: `PYTHONPATH=.:tests:tests/faults python tools/release_pictures.py`."""

from __future__ import annotations

import asyncio
import base64
import tempfile
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.async_api import ViewportSize
from widget_harness import chromium, hosting, live_service

from ratesvc.render import png

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
    "widget-ru-dark-narrow": (RU, 'lang="ru" codes="USD,EUR,CNY"', 180, DARK, 390),
}


def faces() -> str:
    """Our own fonts, so that the pictures do not depend on the machine."""
    files = {400: "NotoSans_400Regular.ttf", 600: "NotoSans_600SemiBold.ttf"}
    return "".join(
        FACE.format(weight, base64.b64encode((FONTS / name).read_bytes()).decode()) for weight, name in files.items()
    )


async def main() -> None:
    """One page of news for each picture."""
    with tempfile.TemporaryDirectory() as folder:
        async with live_service(Path(folder), demo=False) as live, hosting() as host, chromium() as browser:
            for name, (news, attributes, width, dark, height) in PICTURES.items():
                box = f'height="{height}" style="display:block;height:{height}px"'
                element = f"<aside><cbr-rates {attributes} {box}></cbr-rates></aside>"
                loader = f'<script async src="{live.url}/widget/rates.js" crossorigin="anonymous"></script>'
                style = f"<style>{faces()}{PAGE % width}{dark}</style>"
                size = ViewportSize(width=780 if width > 200 else 600, height=height + 40)
                page = await browser.new_page(viewport=size, device_scale_factor=2)
                await page.goto(host.put(f"<main>{news}</main>{element}{loader}", head=style), wait_until="networkidle")
                shot = Image.open(BytesIO(await page.screenshot())).convert("RGB")
                shot.quantize(32, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
                    DOCS / f"{name}.png", optimize=True
                )


if __name__ == "__main__":
    asyncio.run(main())
