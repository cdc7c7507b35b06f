"""What style sheets make of our pages: computed styles of each kind of element, in a real browser."""

from __future__ import annotations

from typing import Any

import pytest
from kit import cases
from kit.browser import PHONE, Browser, Host, Live, Page, visited

DESK: Any = {"width": 1100, "height": 900}
USUAL: Any = {"color_scheme": "light", "media": "screen", "reduced_motion": "no-preference"}
MODES: dict[str, dict[str, Any]] = {
    "": {},
    "phone": {},
    "dark": {"color_scheme": "dark"},
    "print": {"media": "print", "reduced_motion": "reduce"},
    "reached": {},
}
"""Paper does not move, either; reached is under a pointer and with the focus."""


@pytest.mark.slow
async def test_each_kind_of_element_looks_as_it_is_meant_to(browser: Browser, live: Live, host: Host) -> None:
    """golden/styles.txt: what differs from a browser's own style, and from what is around; each look once."""
    answers, told = {}, set[str]()
    page = await browser.new_page(viewport=DESK)
    for question in cases.questions("styles.txt"):
        address, *steps = question.split(" | ")
        if address.startswith("<"):
            address = host.put(address, head=f'<script src="{live.url}/widget/rates.js" async></script>')
        await page.set_viewport_size(DESK)
        await visited(page, address if "://" in address else live.url + address)
        for step in steps:
            await done(page, *step.split(" ", 1))
        usual: dict[str, list[str]] = {}
        lines = []
        for mode, media in [*MODES.items()][: 1 if steps else None]:
            if not steps:
                screen: Any = PHONE if mode == "phone" else DESK
                await page.set_viewport_size(screen)
            await page.emulate_media(**USUAL | media)
            seen = await page.evaluate(cases.script("styles of each kind of element"), mode == "reached")
            usual = usual or seen
            lines += [line for name, looks in seen.items() for line in shown(mode, name, looks, usual.get(name, []))]
        answers[question] = "\n".join(line for line in dict.fromkeys(lines) if line not in told)
        told.update(lines)
    cases.check("styles.txt", answers)


async def done(page: Page, what: str, rest: str) -> None:
    """A step before the page is looked at: a text into a field, a width, or what has to be there."""
    match what:
        case "fill":
            await page.fill(*rest.split(" ", 1))
        case "wide":
            await page.set_viewport_size({"width": int(rest), "height": 900})
        case "see":
            await page.locator(rest).first.wait_for()


def shown(mode: str, name: str, looks: list[str], usual: list[str]) -> list[str]:
    """What is different from the first of this name, and in another mode from how it usually is."""
    lines = []
    for at, look in enumerate(looks):
        if mode and look in usual:
            continue
        first = usual[min(at, len(usual) - 1)] if mode and usual else looks[0] if at else ""
        before, now = ([part for part in text.split("; ") if part] for text in (first, look))
        lost = {part.partition(":")[0] for part in before} - {part.partition(":")[0] for part in now}
        parts = [part for part in now if part not in before] + [f"no {part}" for part in sorted(lost)]
        if parts:
            lines.append(f"{mode} {name} {{ {'; '.join(parts)} }}".lstrip())
    return lines
