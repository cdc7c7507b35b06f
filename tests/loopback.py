"""A server that stands in for others, and a client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Protocol

import aiohttp
from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def answering(handler: Handler, port: int = 0, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """A server that answers each request so while the context lasts. Yields its own address."""
    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def client(url: str | None = None, *, source: str = "", limit: int = 0, **options: Any) -> aiohttp.ClientSession:
    """One that may ask from another address of this machine. It takes any certificate: Caddy's authority is its own."""
    connector = aiohttp.TCPConnector(ssl=False, limit=limit, local_addr=(source, 0) if source else None)
    return aiohttp.ClientSession(url, connector=connector, **options)


class Fetched(NamedTuple):
    """One answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def fetched(url: Any, **headers: str) -> Fetched:
    """The answer to a GET, over a connection of its own."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    async with client() as http, http.get(url, headers=names) as answer:
        return Fetched(answer.status, answer.headers, await answer.read())


class Answering(Protocol):
    """A service, in a process or in this one."""

    async def get(self, path: str) -> tuple[int, Mapping[str, str], bytes]: ...


async def says(service: Answering, path: str, part: bytes = b"", status: int = 200) -> bool:
    """Whether it answers with this status, and with this in the body."""
    found, _, body = await service.get(path)
    return found == status and part in body
