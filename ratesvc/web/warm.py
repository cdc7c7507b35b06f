"""At a new publication the most asked targets of the old one are answered again, before somebody waits for them.

The new publication is served at once, since at midnight the old one is wrong; whoever comes before a target's turn
renders it, as always.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

from aiohttp import web
from aiohttp.http import HttpVersion11, RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from ratesvc.service.app import Service
from ratesvc.service.publication import Publication
from ratesvc.web.reply import Routed

MOST_WARMED = 100
HEADERS = CIMultiDictProxy(CIMultiDict({"Host": "localhost", "Accept-Encoding": "br, gzip"}))


class Warmer:
    """Knows what is asked most, over several publications."""

    def __init__(self, routed: Routed) -> None:
        """`routed` is the application, as the server calls it."""
        self._routed = routed
        self._asked: Counter[str] = Counter()
        self._task: asyncio.Task[None] | None = None

    def changed(self, old: Publication | None) -> None:
        """Begin to answer what `old` was asked for most; what older ones were asked for counts half."""
        asked = Counter({target: times // 2 for target, times in self._asked.items()})
        # One of the askers was this: without it what nobody asks for any more would stay for ever.
        ours = self._asked.keys()
        asked.update({target: answer.asked - (target in ours) for target, answer in old.answers.items()} if old else {})
        self._asked = Counter(dict((+asked).most_common(MOST_WARMED)))
        self.stop()
        self._task = asyncio.create_task(self._answer(list(self._asked)), name="warm")

    def stop(self) -> None:
        """Leave the rest to those who ask."""
        if self._task:
            self._task.cancel()

    async def _answer(self, targets: list[str]) -> None:
        loop = asyncio.get_running_loop()
        for target in targets:
            begun = loop.time()
            await self._routed(_request(target, loop))
            # Half of the time is for those who ask.
            await asyncio.sleep(loop.time() - begun)


@asynccontextmanager
async def warming(routed: Routed, service: Service) -> AsyncIterator[None]:
    """While the context lasts."""
    warmer = Warmer(routed)
    service.publisher.changed = warmer.changed
    try:
        yield
    finally:
        service.publisher.changed = None
        warmer.stop()


def _request(target: str, loop: asyncio.AbstractEventLoop) -> web.Request:
    """A GET that came over no connection."""
    url = URL(target, encoded=True)
    message = RawRequestMessage("GET", target, HttpVersion11, HEADERS, (), False, None, False, False, url)  # noqa: FBT003 -- aiohttp's order
    nobody = cast("Any", SimpleNamespace(transport=None, ssl_context=None, peername=None, sockname=None))
    return web.Request(message, EMPTY_PAYLOAD, nobody, nobody, cast("Any", asyncio.current_task()), loop)
