"""A ground in the host's own colour, and the letters and arrows that are legible on it (WCAG 2.2, 1.4.3)."""

from __future__ import annotations

import re
from decimal import Context, Decimal
from functools import cache

from ratesvc.features.widget.view import Look

LEAST = Decimal("4.5")
WHITE, BLACK = "#ffffff", "#000000"
MOVES = {
    "green-red": (("#0a6b2d", "#b3261e"), ("#5fd38d", "#ff9b93")),
    "red-green": (("#b3261e", "#0a6b2d"), ("#ff9b93", "#5fd38d")),
    "blue-orange": (("#0b5cad", "#a34700"), ("#7cc0ff", "#ffb066")),
}
"""The colours of a rise and a fall, for light and for dark grounds."""

_COLOUR = re.compile(r"#?([0-9a-f]{3}|[0-9a-f]{6})", re.IGNORECASE)
_DIGITS = Context(prec=9)
_BEND = Decimal("0.04045"), Decimal("12.92")
_OFFSET, _SCALE, _GAMMA = Decimal("0.055"), Decimal("1.055"), Decimal("2.4")
_SHARES = Decimal("0.2126"), Decimal("0.7152"), Decimal("0.0722")
_FLARE = Decimal("0.05")


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


def rule(look: Look) -> str:
    """The rule of style for an own ground; empty for every other theme."""
    if not look.is_own:
        return ""
    ground, letters = look.theme, ink(look.theme)
    up, down = moves(ground, letters, look.updown)
    scheme = "dark" if letters == WHITE else "light"
    colours = f"color:{letters};background:{ground};color-scheme:{scheme};--cbr-up:{up};--cbr-down:{down}"
    return f".cbr-own.cbr-own-{ground[1:]}{{{colours}}}"


def _contrast(one: str, other: str) -> Decimal:
    dark, light = sorted((_luminance(one), _luminance(other)))
    return _DIGITS.divide(light + _FLARE, dark + _FLARE)


@cache
def _channel(value: int) -> Decimal:
    """A channel of sRGB, 0 to 255, as light."""
    share = _DIGITS.divide(Decimal(value), Decimal(255))
    bend, slope = _BEND
    if share <= bend:
        return _DIGITS.divide(share, slope)
    return _DIGITS.power(_DIGITS.divide(share + _OFFSET, _SCALE), _GAMMA)


def _luminance(text: str) -> Decimal:
    channels = map(_channel, bytes.fromhex(text[1:]))
    return sum((share * light for share, light in zip(_SHARES, channels, strict=True)), Decimal())
