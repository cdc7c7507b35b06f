"""How wide texts are in the widest common font, because readers' fonts are unknown, and where their lines break."""

from __future__ import annotations

import re
import unicodedata

PIXEL = 10
"""Coordinates are whole tenths of a pixel."""

# Widths in hundredths of the font size, a little more than the widest common sans-serif needs.
_WIDE, _CAPITAL, _OTHER, _THIN = 102, 78, 65, 42
_THIN_SIGNS = frozenset(" \u00a0\u202f.,:;·'()-ijlftr")

# Han, kana and Hangul break anywhere except after an opening and before a closing sign.
_OPENS, _CLOSES = "（《「『【", "）》」』】、。，．：；？！"
_WIDE_SIGNS = "\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60\U00020000-\U0003fffd"
_PIECE = re.compile(f" ?[{_OPENS}]*(?:[{_WIDE_SIGNS}]|[^ {_WIDE_SIGNS}]+)[{_CLOSES}]*")


def text_width(text: str, size: int) -> int:
    """The greatest width of a text in tenths of a pixel, at that font size in pixels."""
    return sum(_advance(sign) for sign in text) * size * PIXEL // 100


def _advance(sign: str) -> int:
    if unicodedata.combining(sign) or unicodedata.category(sign) == "Cf":
        return 0
    if sign in _THIN_SIGNS:
        return _THIN
    if unicodedata.east_asian_width(sign) in "WF":
        return _WIDE
    return _CAPITAL if sign.isupper() else _OTHER


def wrapped(text: str, size: int, width: int) -> list[str]:
    """The text in lines no wider than `width` tenths of a pixel, unless a single word is wider."""
    lines: list[str] = []
    for piece in _PIECE.findall(text):
        longer = lines[-1] + piece if lines else piece.lstrip()
        if lines and text_width(longer, size) > width:
            lines.append(piece.lstrip())
        else:
            lines[-1:] = [longer]
    return lines
