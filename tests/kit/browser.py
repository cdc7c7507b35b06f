"""A live service with the recorded Bank behind it, pages on other origins, and a Chromium that reports what it does."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import date
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import pytest
import pytest_asyncio
from aiohttp import web

from kit.cases import script
from kit.http import answering, fetched
from kit.not_run import program
from kit.time import patience_s
from ratesvc.config import Cbr, Server, Settings
from ratesvc.demo import recorded_bank, recorded_sheets, stopped_clock
from ratesvc.domain.rates import Revision
from ratesvc.service.app import Service
from ratesvc.web.server import listening

if TYPE_CHECKING:
    from playwright.async_api import Browser, Frame, Page, Request, Route
else:
    Browser = Frame = Page = Request = Route = object
"""Playwright's types. `make quick` imports this without Playwright, and runs no test of a browser."""
__all__ = ["Browser", "Frame", "Page", "Request", "Route"]

WATCH = script("watch")
PHONE = {"width": 360, "height": 740}
# What is seen of a widget: its texts and their rectangles, and what is wrong. A line leaves out what is below it.
SEEN = script("seen")

FLAGS = [
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]


@dataclass
class Live:
    """A running service and its address."""

    service: Service
    url: str


@asynccontextmanager
async def live_service(
    folder: Path, *, port: int = 0, demo: bool = True, has_sheets: bool = True, until: date = date.max
) -> AsyncIterator[Live]:
    """A service on a stopped clock that holds all recorded sheets, or those until this day, or none."""
    stopped = stopped_clock()
    async with AsyncExitStack() as stack:
        bank = await stack.enter_async_context(recorded_bank())
        settings = Settings(server=Server(port=port), data_dir=str(folder), cbr=Cbr(mirrors=(bank,)))
        service = await stack.enter_async_context(Service(settings, clock=lambda: stopped, demo=demo, scheduled=False))
        if has_sheets:
            service.history.hold(
                Revision(sheet, 1, stopped) for sheet in recorded_sheets() if sheet.effective_date <= until
            )
            service.publish()
        yield Live(service, await stack.enter_async_context(listening(service)))


async def got(address: str) -> str:
    """What a server gets there, which includes it in a page of its own."""
    return (await fetched(address)).body.decode()


async def pasted(url: str, key: str, query: str = "") -> str:
    """One of the codes that the builder, our home page, offers, as a person would copy it."""
    page = await got(f"{url}/?{query}")
    section = page.split(f'id="code-{key}"')[1].split("</section>")[0]
    return unescape(section.split("<code>")[1].split("</code>")[0])


@dataclass
class Host:
    """A host's site on another origin: pages with their headers."""

    url: str
    pages: dict[str, tuple[str, dict[str, str]]]
    asked: list[str]

    def put(self, body: str, headers: dict[str, str] | None = None, *, head: str = "") -> str:
        """A page around this body; returns its address."""
        path = f"/{len(self.pages)}"
        start = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Host</title>{head}</head>'
        self.pages[path] = (f"{start}<body>{body}</body></html>", headers or {})
        return self.url + path


@asynccontextmanager
async def hosting() -> AsyncIterator[Host]:
    """A server for pages of a host."""
    host = Host("", {}, [])

    async def answer(request: web.Request) -> web.Response:
        host.asked.append(request.path)
        if request.path not in host.pages:
            return web.Response(status=204)
        text, headers = host.pages[request.path]
        return web.Response(text=text, content_type="text/html", headers=headers)

    async with answering(answer) as host.url:
        yield host


@asynccontextmanager
async def chromium(*flags: str) -> AsyncIterator[Browser]:
    """The system's browser."""
    from playwright.async_api import async_playwright  # noqa: PLC0415 -- see above

    binary = program("chromium", "chromium-browser", "google-chrome")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=binary, args=[*FLAGS, *flags])
        for name in ("new_context", "new_page"):
            setattr(browser, name, _patient(getattr(browser, name)))
        yield browser


OURS = re.compile(r"localhost:\d+/(widget|embed|chart|rate|docs|\?|[\s:]*$)", re.MULTILINE)
ERRORS: list[str] = []
"""Errors of our scripts and pages since the last test; a host's own scripts may fail as they like."""


def _note_error(error: Any) -> None:
    text = f"{error.error.stack or error.error} in {error.page.url if error.page else ''}"
    if OURS.search(text):
        ERRORS.append(text)


def _patient(opens: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Its waits end when only a hang can take so long, not after Playwright's half a minute."""

    async def opened(*given: Any, **options: Any) -> Any:
        page = await opens(*given, **options)
        (page.context if hasattr(page, "context") else page).on("weberror", _note_error)
        page.set_default_timeout(1000 * patience_s())
        return page

    return opened


async def visited(page: Page, address: str) -> None:
    """Open an address, and wait until its scripts have run and nothing more is asked for.

    On a slow machine the network is quiet, too, before the page has been read to its end.
    """
    await page.goto(address)
    await page.wait_for_load_state("networkidle")


async def settled(page: Page) -> None:
    """Wait until each element has its rows, or has none."""
    await page.locator("cbr-rates:not(:state(load)):not(:state(error))").first.wait_for(state="detached")


async def done(page: Page, kind: str, rest: str) -> None:
    """A step of a story: what a person does on a page."""
    selector, _, more = rest.rpartition(" ")
    match kind:
        case "open" | "put":
            await page.goto(rest)
        case "click":
            await page.locator(rest).first.click()
        case "fill":
            await page.fill(*rest.split(" ", 1))
        case "press":
            await (page.press(selector, more) if selector else page.keyboard.press(more))
        case "choose":
            await page.select_option(selector, more)
        case "point":
            box = await page.locator(selector).first.bounding_box()
            assert box
            await page.mouse.move(box["x"] + float(more) * box["width"], box["y"] + box["height"] / 2)
        case "drag":
            await page.drag_and_drop(*rest.split(" "), steps=6)
        case "wide":
            await page.set_viewport_size({"width": int(rest), "height": 900})
        case "run":
            await page.evaluate(f"void ({rest})")
        case _:
            raise ValueError(kind)


# Chromium takes longer to start than most tests take, so all tests share one, and the loop to which it is bound.
SESSION: Final = "session"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that takes one of the fixtures below, or E4's complete service, runs on their loop."""
    for item in items:
        names = set(item.fixturenames) if isinstance(item, pytest.Function) else set()
        if names & {"live", "complete", "host", "browser"} and inspect.iscoroutinefunction(getattr(item, "obj", None)):
            item.add_marker(pytest.mark.asyncio(loop_scope=SESSION), append=False)


@pytest_asyncio.fixture(scope=SESSION, loop_scope=SESSION)
async def live(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Live]:
    """One for all tests, which leave it as it is."""
    async with live_service(tmp_path_factory.mktemp("live")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope=SESSION)
async def host() -> AsyncIterator[Host]:
    async with hosting() as running:
        yield running


@pytest_asyncio.fixture(scope=SESSION, loop_scope=SESSION)
async def _chromium() -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running


@pytest_asyncio.fixture(loop_scope=SESSION)
async def browser(_chromium: Browser) -> AsyncIterator[Browser]:
    """Without any window that is open."""
    ERRORS.clear()
    yield _chromium
    for context in _chromium.contexts:
        await context.close()
    assert ERRORS == []


TELLS = script("tells")
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
