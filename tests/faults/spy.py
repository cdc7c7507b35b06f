"""A window of Chromium that reports scripts that run, violations of a policy, and requests."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

from conftest import patience_s
from playwright.async_api import Browser, Page

TELLS = """
window.pwned = () => tell("ran in " + location.href);
window.alert = window.confirm = window.prompt = pwned;
addEventListener("securitypolicyviolation", e => tell("stopped " + e.violatedDirective + " " + e.blockedURI));
"""
# Two frames later animations have begun, and events of opening and focus have come. A sandbox would never call back.
TWO_FRAMES = """
origin != "null" && new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))
"""
LURED = re.compile(r"/(x|pwned.*)$")


class Spy:
    """One window. `reported` has everything that must not happen; `opens` empties it."""

    def __init__(self, page: Page, home: str, *, scripts: bool) -> None:
        self.page = page
        self._scripts = scripts
        self.reported: list[str] = []
        self._home = home
        page.on("console", lambda message: self.reported.append(f"console {message.text}"))
        page.on("pageerror", lambda error: self.reported.append(f"error {error}"))
        page.on("request", lambda request: self._asked(request.url))

    def _asked(self, url: str) -> None:
        if not url.startswith(self._home) or LURED.search(url):
            self.reported.append(f"asked {url}")

    async def opens(self, url: str, until: Literal["load", "networkidle"] = "load") -> list[str]:
        """Open a page, and return what is reported until it is quiet."""
        self.reported.clear()
        async with asyncio.timeout(patience_s()):
            # On a slow machine the network is quiet, too, before the page has been read to its end.
            await self.page.goto(url)
            await self.page.wait_for_load_state(until)
            if self._scripts:
                await self.page.evaluate(TWO_FRAMES)
        return list(self.reported)


@asynccontextmanager
async def spying(browser: Browser, home: str, **options: Any) -> AsyncIterator[Spy]:
    """A window in its own context. It may request only addresses of `home`."""
    context = await browser.new_context(**options)
    try:
        spy = Spy(await context.new_page(), home, scripts=options.get("java_script_enabled", True))
        await context.expose_binding("tell", lambda _, what: spy.reported.append(what))
        await context.add_init_script(TELLS)
        yield spy
    finally:
        await context.close()
