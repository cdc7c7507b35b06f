"""What style sheets make of our pages: computed styles of each kind of element, in a real browser."""

from __future__ import annotations

from typing import Any

import pytest
from kit import cases
from kit.browser import PHONE, Browser, Live, visited

DESK: Any = {"width": 1100, "height": 900}
MODES: Any = (("", DESK, "light"), ("phone", PHONE, "light"), ("dark", DESK, "dark"))


@pytest.mark.slow
async def test_each_kind_of_element_looks_as_it_is_meant_to(browser: Browser, live: Live) -> None:
    """golden/styles.txt: what differs from a browser's own style, and from what is around; each look once.

    On a phone and in the dark it has what differs from the desk. Sizes that follow from letters are not there.
    """
    answers, told = {}, set[str]()
    page = await browser.new_page(viewport=DESK)
    for path in cases.questions("styles.txt"):
        await visited(page, live.url + path)
        seen: dict[str, dict[str, str]] = {}
        for mode, screen, scheme in MODES:
            await page.set_viewport_size(screen)
            await page.emulate_media(color_scheme=scheme)
            seen[mode] = await page.evaluate(cases.script("styles of each kind of element"))
        lines = []
        for mode, styles in seen.items():
            for name, style in styles.items():
                own = {*style.split("; ")} - ({*seen[""].get(name, "").split("; ")} if mode else set())
                shown = "; ".join(part for part in style.split("; ") if part in own)
                line = f"{mode} {name} {{ {shown} }}".lstrip()
                if shown and line not in told:
                    told.add(line)
                    lines.append(line)
        answers[path] = "\n".join(lines)
    cases.check("styles.txt", answers)
