"""Hostile host pages, and a judge in a browser that says what a reader sees of the element on each.

The judge is a page (judge.js) that opens the hostile ones in a frame and posts its verdicts. So every browser will do
that can open an address.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from aiohttp import web
from conftest import patience_s, program
from kit.browser import chromium
from kit.http import answering
from kit.service import begun

JUDGE = Path(__file__).with_name("judge.js")
WATCHED = "<script>parent.watch(window)</script>"
LINK = '<a href="https://www.cbr.ru/">Bank of Russia</a>'
ELEMENT = f'<cbr-rates lang="en">{LINK}</cbr-rates>'
PREFERENCES = {
    "app.normandy.enabled": False,
    "app.update.enabled": False,
    "browser.safebrowsing.downloads.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "dom.security.https_first": False,
    "extensions.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    # Whatever else it may want to ask is asked of nobody.
    "network.proxy.http": "127.0.0.1",
    "network.proxy.http_port": 9,
    "network.proxy.ssl": "127.0.0.1",
    "network.proxy.ssl_port": 9,
    "network.proxy.type": 1,
    "services.settings.server": "http://127.0.0.1:9",
    "toolkit.telemetry.enabled": False,
}


@dataclass(frozen=True)
class Verdict:
    """What a reader sees: `shown` is rows, link or nothing; `ran` is whatever is foreign, which must be empty."""

    shown: str
    state: str | None = None
    ran: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    styled: bool = False
    converter: bool = False
    text: str = ""
    said: object = None


class HostSite:
    """A host's site on an origin of its own. It can also play our service, or an attacker's.

    `answers` are path → status and text; `asked` counts requests by path.
    """

    def __init__(self) -> None:
        self.url = ""
        self.answers: dict[str, tuple[int, str]] = {}
        self.asked: Counter[str] = Counter()
        self._pages: dict[str, tuple[str, Mapping[str, str]]] = {}
        self._jobs: asyncio.Queue[dict[str, object]] = asyncio.Queue()
        self._verdicts: asyncio.Queue[Verdict] = asyncio.Queue()

    async def judged(
        self, page: str, headers: Mapping[str, str] | None = None, within_s: float | None = None
    ) -> Verdict:
        """Open this page; returns what is seen as soon as the element has a state and the page is not `busy`."""
        self._pages.clear()
        self.asked.clear()
        path = f"/page/{id(page)}"
        self._pages[path] = page, headers or {}
        self._jobs.put_nowait({"url": path, "patience": within_s or patience_s()})
        async with asyncio.timeout(2 * patience_s()):
            return await self._verdicts.get()

    async def answer(self, request: web.Request) -> web.Response:
        self.asked[request.path] += 1
        if request.path == "/next":
            return web.json_response(await self._jobs.get())
        if request.path == "/verdict":
            self._verdicts.put_nowait(msgspec.json.decode(await request.read(), type=Verdict))
            return web.Response()
        if request.path == "/judge":
            return _html(f"<body><script>{JUDGE.read_text('utf-8')}</script>", {})
        if request.path in self._pages:
            return _html(*self._pages[request.path])
        status, text = self.answers.get(request.path, (404, ""))
        return web.Response(status=status, text=text, headers={"Access-Control-Allow-Origin": "*"})


def _html(text: str, headers: Mapping[str, str]) -> web.Response:
    return web.Response(text=f"<!doctype html>{text}", content_type="text/html", headers=headers)


def script(address: str) -> str:
    """As the builder's code has it."""
    return f'<script async src="{address}" crossorigin="anonymous"></script>'


def page(hostile: str, loader: str, *, body: str = ELEMENT, before: str = "", after: str = "") -> str:
    """A page whose own script runs first. Its loader follows in the body."""
    head = f"<head><meta charset=utf-8><title>Host</title>{WATCHED}<script>{hostile}</script></head>"
    return f"<html lang=en>{head}<body>{before}{body}{script(loader)}{after}</body></html>"


@asynccontextmanager
async def hosting() -> AsyncIterator[HostSite]:
    """The site is up, and no judge is there yet."""
    site = HostSite()
    async with answering(site.answer) as site.url:
        yield site


@asynccontextmanager
async def chromium_judges(site: HostSite) -> AsyncIterator[None]:
    """A Chromium of its own, because other tests close the windows of theirs."""
    async with chromium() as browser:
        window = await browser.new_page()
        await window.goto(f"{site.url}/judge")
        yield


@asynccontextmanager
async def firefox_judges(site: HostSite, folder: Path) -> AsyncIterator[None]:
    """A Firefox with a profile of its own, which asks nobody else."""
    lines = (f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in PREFERENCES.items())
    folder.joinpath("user.js").write_text("\n".join(lines), "utf-8")
    command = [program("firefox-esr", "firefox"), "--headless", "--no-remote", "--profile", str(folder)]
    quiet = asyncio.subprocess.DEVNULL
    own = {**os.environ, "HOME": str(folder)}  # as root it refuses the home of another user
    async with begun(*command, f"{site.url}/judge", out=quiet, err=quiet, end=signal.SIGTERM, env=own):
        yield
