"""A ground in the host's own colour: legible on every colour, and nothing but a colour gets into our CSS."""

from __future__ import annotations

import re
from itertools import product

import pytest
from kit.browser import Live, got

from ratesvc.features.widget.ground import MOVES, colour, ink, moves

BRINGS = ("/widget?", "/widget?shadow=1&style=link&", "/widget/frame?", "/embed?", "/widget/nodes.json?")


def contrast(one: str, other: str) -> float:
    """By the formula of WCAG 2.2."""

    def luminance(text: str) -> float:
        shares = [part / 255 for part in bytes.fromhex(text[1:])]
        red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in shares)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return high / low


def test_letters_and_arrows_are_legible_on_every_ground() -> None:
    """At least 4.5 to 1 on 4,096 colours. Changes have colours of their own on white, on black and on many others."""
    grounds = ["#" + "".join(f"{part:02x}" for part in parts) for parts in product(range(0, 256, 17), repeat=3)]
    for ground in grounds:
        letters = ink(ground)
        assert contrast(letters, ground) >= 4.5, ground
        for updown in (*MOVES, "none"):
            assert min(contrast(move, ground) for move in moves(ground, letters, updown)) >= 4.5, (ground, updown)
    for ground in ("#ffffff", "#000000", "#fff7e0", "#14171b"):
        assert len({ink(ground), *moves(ground, ink(ground), "green-red")}) == 3
    assert set(moves("#dc3545", "#ffffff", "green-red")) == {"#ffffff"}
    assert sum(len(set(moves(ground, ink(ground), "green-red"))) == 2 for ground in grounds) > 400


@pytest.mark.parametrize(("given", "meant"), [("#0b5cad", "#0b5cad"), ("0B5CAD", "#0b5cad"), ("#FA0", "#ffaa00")])
async def test_a_colour_may_be_written_in_three_ways(live: Live, given: str, meant: str) -> None:
    """It comes to every form, and the copied code has it in one way."""
    query = f"theme={given.replace('#', '%23')}"
    assert colour(given) == meant
    for path in BRINGS:
        rules = re.findall(
            r"[.]cbr-own-([0-9a-f]{6})\{color:(#[0-9a-f]{6});background:(#[0-9a-f]{6});",
            await got(f"{live.url}{path}{query}"),
        )
        assert rules == [(meant[1:], ink(meant), meant)], path
    assert f'fill="{meant}" stroke=' in await got(f"{live.url}/widget/card.svg?{query}")
    assert "<style" not in await got(f"{live.url}/widget?style=none&{query}")
    page = await got(f"{live.url}/?{query}")
    assert page.count(f"theme=&#34;{meant}&#34;") + page.count(f'theme="{meant}"') >= 1
    assert f"theme=%23{meant[1:]}" in page
