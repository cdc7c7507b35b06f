"""A window of Chromium that tells of whatever runs, whatever a policy stops, and whoever is asked."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

from conftest import PATIENCE_S
from playwright.async_api import Browser, Page

TELLS = """
window.pwned = () => tell("ran in " + location.href);
window.alert = window.confirm = window.prompt = pwned;
addEventListener("securitypolicyviolation", e => tell("stopped " + e.violatedDirective + " " + e.blockedURI));
"""
# Two frames later animations have begun and what was opened or focussed is told. In a sandbox nobody would call back.
TWO_FRAMES = """
origin != "null" && new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))
"""
LURED = re.compile(r"/(x|pwned.*)$")


class Spy:
    """One window; `told` is everything that should not have been, whenever it was, and is emptied by `opens`."""

    def __init__(self, page: Page, home: str, *, scripts: bool) -> None:
        self.page = page
        self._scripts = scripts
        self.told: list[str] = []
        self._home = home
        page.on("console", lambda message: self.told.append(f"console {message.text}"))
        page.on("pageerror", lambda error: self.told.append(f"error {error}"))
        page.on("request", lambda request: self._asked(request.url))

    def _asked(self, url: str) -> None:
        if not url.startswith(self._home) or LURED.search(url):
            self.told.append(f"asked {url}")

    async def opens(self, url: str, until: Literal["load", "networkidle"] = "load") -> list[str]:
        """What is told of this page until it has come to rest."""
        self.told.clear()
        async with asyncio.timeout(PATIENCE_S):
            await self.page.goto(url, wait_until=until)
            if self._scripts:
                await self.page.evaluate(TWO_FRAMES)
        return list(self.told)


@asynccontextmanager
async def spying(browser: Browser, home: str, **options: Any) -> AsyncIterator[Spy]:
    """A window in a context of its own; nobody but `home` is to be asked."""
    context = await browser.new_context(**options)
    try:
        spy = Spy(await context.new_page(), home, scripts=options.get("java_script_enabled", True))
        await context.expose_binding("tell", lambda _, what: spy.told.append(what))
        await context.add_init_script(TELLS)
        yield spy
    finally:
        await context.close()
