"""What style sheets make of our pages: computed styles of each kind of element, in a real browser."""

from __future__ import annotations

from typing import Any

import pytest
from kit import cases
from kit.browser import Browser, Host, Live, done

DESK: Any = {"width": 1100, "height": 900}


@pytest.mark.slow
async def test_each_kind_of_element_looks_as_it_is_meant_to(browser: Browser, live: Live, host: Host) -> None:
    """golden/styles.txt: what differs from a browser's own style, and from what is around; each look once.

    A rule for paper, the dark, a narrow place, a pointer, or another state is tried on an element that it could be for.
    """
    answers, told, applied, turned = {}, set[str](), set[str](), dict[str, tuple[str, str]]()
    page = await browser.new_page(viewport=DESK)
    for question in cases.questions("styles.txt"):
        address, *steps = question.split(" | ")
        if address.startswith("<"):
            address = host.put(address, head=f'<script src="{live.url}/widget/rates.js" async></script>')
        await page.goto(address if "://" in address else live.url + address)
        for step in steps:
            what, rest = step.split(" ", 1)
            await (page.locator(rest).first.wait_for() if what == "see" else done(page, what, rest))
        seen = [*applied, *(key for key, (_, line) in turned.items() if "{" in line)]
        looks, rules, others = await page.evaluate(cases.script("styles of each kind of element"), seen)
        applied.update(rules)
        turned |= {
            key: (question, " | ".join(filter(None, line))) for key, line in others if line[1] or key not in turned
        }
        lines = [line for name, texts in looks for line in shown(name, texts)]
        answers[question] = "\n".join(line for line in dict.fromkeys(lines) if line not in told)
        told.update(lines)
    for key, (question, line) in turned.items():
        answers[question] += f"\n{line}" if key not in applied else ""
    cases.check("styles.txt", answers)


def shown(name: str, looks: list[str]) -> list[str]:
    """Of a further look what is different from the first of this name, but no height of a frame: fonts decide it."""
    lines, is_frame = [], name.endswith("iframe")

    def parts_of(text: str) -> list[str]:
        return [part for part in text.split("; ") if part and not (is_frame and part.startswith("height: "))]

    for at, look in enumerate(looks):
        before, now = parts_of(looks[0] if at else ""), parts_of(look)
        lost = {part.partition(":")[0] for part in before} - {part.partition(":")[0] for part in now}
        parts = [part for part in now if part not in before] + [f"no {part}" for part in sorted(lost)]
        if parts:
            lines.append(f"{name} {{ {'; '.join(parts)} }}")
    return lines
