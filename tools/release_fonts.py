"""Writes the fonts of PNG pictures: `make build/fonts`. The same sources give the same bytes.

The sources are the static faces of Noto Sans that two npm packages carry whole (70 MB, so they are not kept here);
what is written is the part of them that our pictures can need.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from babel import Locale
from fontTools import subset
from fontTools.ttLib import TTFont

from ratesvc.features.site import png
from ratesvc.render.language import catalogue

FEATURES = Path(png.__file__).parents[1]
FONTS = FEATURES / "site" / "assets" / "fonts"
SPEAKING = ("chart/drawing.py", "widget/card.py", "widget/rows.py", "widget/view.py", "widget/templates/card_empty.svg")
# Chinese in one weight: resvg takes a character that a font lacks from the first other font that has it.
FACES = (
    ("noto-sans/400Regular/NotoSans_400Regular.ttf", "fe8c022f48d8dd29f17b744d16f9346f"),
    ("noto-sans/600SemiBold/NotoSans_600SemiBold.ttf", "e691fe27813ec6ed11d0a5be4c6c1f67"),
    ("noto-sans-sc/400Regular/NotoSansSC_400Regular.ttf", "d45f67f0a7c0ca3f256950777ce6a61c"),
)
LETTERS = (
    *(range(0x20, 0x7F), range(0xA0, 0x180)),  # Latin, and its accents in Europe
    *((0x18F, 0x192, 0x1A0, 0x1A1, 0x1AF, 0x1B0, 0x259), range(0x218, 0x21C)),  # Azeri, Vietnamese, Romanian
    *(range(0x370, 0x400), range(0x400, 0x460), range(0x490, 0x500)),  # Greek, Cyrillic of all living languages
    *(range(0x1E80, 0x1E86), (0x1E9E, 0x2BB, 0x2BC), range(0x1EA0, 0x1EFA)),  # Welsh, German, ʻ ʼ, Vietnamese
    *(range(0x2009, 0x2016), range(0x2018, 0x2023), (0x2026, 0x202F, 0x2030, 0x2039, 0x203A)),  # punctuation
    *(range(0x20A0, 0x20C1), (0x2116, 0x2122, 0x2212)),  # currencies, №, ™, minus
)


def chinese() -> Iterator[str]:
    """The characters of every currency's name, of dates and of the sentences that pictures have."""
    said = "".join(FEATURES.joinpath(name).read_text("utf-8") for name in SPEAKING)
    sentences = (text for sentence, text in catalogue("zh-Hans").items() if sentence in said)
    texts = chain(Locale.parse("zh_Hans").currencies.values(), sentences, ("年月日天▲▼≈",))
    return (character for text in texts for character in text)


def written(source: Path, characters: set[int]) -> set[int]:
    """Write the part of a font that has these characters; gives those that it had."""
    names = [0, 1, 2, 3, 4, 5, 6, 13, 14, 16, 17]
    options = subset.Options(layout_features=["kern"], hinting=False, name_IDs=names)
    with TTFont(source, recalcTimestamp=False) as font:
        subsetter = subset.Subsetter(options)
        subsetter.populate(unicodes=characters)
        subsetter.subset(font)
        font.save(FONTS / source.name)
        return set(font.getBestCmap())


def main(folder: Path) -> None:
    """Write from the unpacked packages in this folder."""
    FONTS.mkdir(exist_ok=True)
    latin, han = set(chain.from_iterable(LETTERS)), {ord(character) for character in chinese()}
    found: set[int] = set()
    for name, digest in FACES:
        source = folder / name
        assert hashlib.sha256(source.read_bytes()).hexdigest().startswith(digest), (
            f"{source} is not the font that we took"
        )
        found |= written(source, han - latin if "SC" in name else latin)
    lines = "".join(map(chr, sorted(found)))
    (FONTS / "characters.txt").write_text(lines, "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
