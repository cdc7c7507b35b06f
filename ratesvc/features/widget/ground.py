"""A ground in the host's own colour, and the letters and arrows that are legible on it (WCAG 2.2, 1.4.3)."""

from __future__ import annotations

import re

LEAST = 4.5
WHITE, BLACK = "#ffffff", "#000000"
MOVES = {
    "green-red": (("#0a6b2d", "#b3261e"), ("#5fd38d", "#ff9b93")),
    "red-green": (("#b3261e", "#0a6b2d"), ("#ff9b93", "#5fd38d")),
    "blue-orange": (("#0b5cad", "#a34700"), ("#7cc0ff", "#ffb066")),
}
"""The colours of a rise and a fall, for light and for dark grounds."""

_COLOUR = re.compile(r"#?([0-9a-f]{3}|[0-9a-f]{6})", re.IGNORECASE)
_BEND = 0.04045


def colour(text: str) -> str:
    """#rrggbb for three or six hexadecimal digits, empty for anything else: it becomes a part of our CSS."""
    hexadecimal = _COLOUR.fullmatch(text)
    if not hexadecimal:
        return ""
    digits = hexadecimal[1].lower()
    return "#" + (digits if len(digits) > 3 else "".join(digit * 2 for digit in digits))


def ink(ground: str) -> str:
    """The colour of letters: white or black. One of them has 4.5 : 1 on every ground."""
    return WHITE if _contrast(WHITE, ground) >= LEAST else BLACK


def moves(ground: str, letters: str, updown: str) -> tuple[str, str]:
    """The colours of a rise and a fall, or twice that of the letters where the ground allows no other."""
    pairs = MOVES.get(updown, ())
    legible = (pair for pair in pairs if all(_contrast(one, ground) >= LEAST for one in pair))
    return next(legible, (letters, letters))


def rule(ground: str, updown: str) -> str:
    """The rule of style for an own ground."""
    letters = ink(ground)
    up, down = moves(ground, letters, updown)
    scheme = "dark" if letters == WHITE else "light"
    colours = f"color:{letters};background:{ground};color-scheme:{scheme};--cbr-up:{up};--cbr-down:{down}"
    return f".cbr-own.cbr-own-{ground[1:]}{{{colours}}}"


def _contrast(one: str, other: str) -> float:
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(text: str) -> float:
    shares = (channel / 255 for channel in bytes.fromhex(text[1:]))
    red, green, blue = (share / 12.92 if share <= _BEND else ((share + 0.055) / 1.055) ** 2.4 for share in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
