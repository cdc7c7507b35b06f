"""Pictures as PNG: our SVG drawn by resvg with our own fonts, so that they look the same on every machine.

resvg and Pillow are the extra `png`. The fonts have Latin, Greek and Cyrillic, and the Han characters of our Chinese
texts; `tools/release_fonts.py` writes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from io import BytesIO
from typing import Any
from xml.etree import ElementTree as ET

from ratesvc.errors import NotSupported

CONTENT_TYPE = "image/png"
SCALES = ("1", "2")
FAMILY = "Noto Sans"
MOST_COLOURS = 64
FEWEST_COLOURS = 17
STRIP_PIXELS = 100_000
MOST_PIXELS = 1_200_000
"""The largest chart: the usual size at double density, which takes a quarter of a second."""

TEXT_ABOVE, TEXT_BELOW = 24, 8
"""No text reaches further from its line, in pixels: the largest is 17 pixels high."""

WIDE = Decimal("1.91")
"""Width by height of the pictures that previews of links show."""

_SVG = "{http://www.w3.org/2000/svg}"
_UNSEEN = {_SVG + name for name in ("title", "desc", "style")}
_FONTS = files("ratesvc.features.site").joinpath("assets", "fonts")


def installed() -> bool:
    """Whether the extra is installed."""
    return all(map(find_spec, ("PIL", "resvg_py")))


def png(svg: str, scale: int, colours: Sequence[str] = (), *, is_wide: bool = False) -> bytes:
    """The picture with `scale` times its size in pixels, in some 100 ms. Raises NotSupported without the extra.

    It is reduced to `colours`, #rrggbb and the ground first, or to the colours that it needs most. If it `is_wide`,
    ground is added at its sides.
    """
    images, read, svg_to_bytes = _libraries()
    picture, (width, height) = _parsed(svg), size_of(svg)
    sides = max(0, int(height * WIDE) - width) // 2 * scale if is_wide else 0
    size, ground = (width * scale + 2 * sides, height * scale), colours[0] if colours else None
    image, packed = images.new("RGB", size, ground or 0), BytesIO()
    options = {"skip_system_fonts": True, "font_files": _fonts(), "font_family": FAMILY}
    # No other thread runs while resvg draws, and it takes four bytes a pixel: hence in strips.
    rows = max(1, STRIP_PIXELS // (width * scale * scale))
    for top in range(0, height, rows):
        strip = _strip(picture, top, min(rows, height - top))
        drawn = svg_to_bytes(strip, zoom=scale, background=ground, **options)
        image.paste(read(BytesIO(drawn)).convert("RGB"), (sides, top * scale))
    chosen = None
    if colours:
        # With 16 colours or fewer PNG packs two pixels into a byte, and its compression no longer finds equal letters.
        padded = [*colours, *[colours[0]] * (FEWEST_COLOURS - len(colours))]
        chosen = images.new("P", (1, 1))
        chosen.putpalette([part for colour in padded for part in bytes.fromhex(colour[1:])])
    image.quantize(MOST_COLOURS, palette=chosen, dither=images.Dither.NONE).save(packed, "PNG", optimize=bool(colours))
    return packed.getvalue()


def _strip(picture: ET.Element, top: int, height: int) -> str:
    """A part of the picture. It lacks the texts of the other parts, which take most of the time."""
    picture.set("height", str(height))
    picture.set("viewBox", f"0 {top} {picture.get('width')} {height}")
    for text in picture.iter(f"{_SVG}text"):
        is_seen = top - TEXT_BELOW < Decimal(text.get("y", "0")) < top + height + TEXT_ABOVE
        text.set("display", "inline" if is_seen else "none")
    return ET.tostring(picture, encoding="unicode")


def size_of(svg: str) -> tuple[int, int]:
    """Width and height of the picture in pixels, at scale 1."""
    picture = _parsed(svg)
    return int(picture.get("width", 0)), int(picture.get("height", 0))


def first_drawable(pictures: Iterable[str]) -> str:
    """The first picture whose visible characters our fonts have, or else the last, which is in English."""
    picture = ""
    for picture in pictures:
        shown = (f"{one.text or ''}{one.tail or ''}" for one in _parsed(picture).iter() if one.tag not in _UNSEEN)
        if _characters().issuperset("".join(shown)):
            break
    return picture


def _parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314 -- our own


def _libraries() -> tuple[Any, Any, Callable[..., bytes]]:
    try:
        from PIL import Image  # noqa: PLC0415 -- an extra that most installations lack
        from PIL.PngImagePlugin import PngImageFile  # noqa: PLC0415 -- the same
        from resvg_py import svg_to_bytes  # noqa: PLC0415 -- the same
    except ImportError:
        raise NotSupported(
            "PNG pictures need two more packages: pip install pillow resvg-py. The same picture is available as SVG."
        ) from None
    return Image, PngImageFile, svg_to_bytes


@cache
def _fonts() -> list[str]:
    return sorted(str(font) for font in _FONTS.iterdir() if font.name.endswith(".ttf"))


@cache
def _characters() -> frozenset[str]:
    return frozenset(_FONTS.joinpath("characters.txt").read_text("utf-8") + "\n")
