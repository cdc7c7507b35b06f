"""What people do on our pages, and all that it changes there."""

from __future__ import annotations

import re
from difflib import unified_diff

import pytest
from kit import cases
from kit.browser import Browser, Host, Live, done

OUTLINE = cases.script("outline of a page")
STORIES = sorted(file.name for file in (cases.FOLDER / "stories").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("name", STORIES)
async def test_a_page_changes_as_its_story_says(browser: Browser, live: Live, host: Host, name: str) -> None:
    """golden/stories: a page line by line, then what each step takes away, adds, and shows for a moment."""
    page = await browser.new_page(viewport={"width": 1100, "height": 900})
    await page.add_init_script(OUTLINE)
    before: list[str] = []
    answers = {}
    for step in cases.questions(f"stories/{name}"):
        words, *waits = step.split(" | ")
        kind, rest = words.split(" ", 1)
        if kind == "put":
            rest = host.put(rest, head=f'<script src="{live.url}/widget/rates.js" async></script>')
        await done(page, kind, rest if "://" in rest else rest and live.url + rest if kind == "open" else rest)
        for selector in waits:
            await page.locator(selector).first.wait_for()
        await page.evaluate("quiet()")
        lines, moment = await page.evaluate("outlined()")
        now = [anywhere(line, live, host) for line in lines]
        changes = [*unified_diff(before, now, n=0)][2:]
        told = now if kind in ("open", "put") else [line for line in changes if not line.startswith("@@")]
        passing = {anywhere(line, live, host) for line in moment} - {*before, *now}
        answers[step] = "\n".join([*told, *sorted(f"~{line}" for line in passing if kind not in ("open", "put"))])
        before = now
    cases.check(f"stories/{name}", answers)
    await page.close()


def anywhere(line: str, live: Live, host: Host) -> str:
    """Without what differs from one run to the next, or with the fonts of a machine: heights of what was measured."""
    for url, name in ((live.url, "https://rates.example"), (host.url, "https://host.example")):
        line = line.replace(url, name).replace(url.replace(":", "%3A").replace("/", "%2F"), name)
    line = re.sub(
        r"(height(?:: ?|=\\\"|=(?=\d+ (?:style|frameborder))))(?:[1-9][\d.]*(?:px|em)?|clamp\([^)]*\))", r"\1…", line
    )
    return re.sub(r"(sha)\d{3}-[\w+/=]+|\d+\.\d+(px)", r"…\1\2", line)
