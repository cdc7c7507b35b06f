"""Servers that stand in for others, and clients: of pages, of raw bytes, of events."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from kit.time import eventually, patience_s

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


# Caddy's authority is its own.
ANY_CERTIFICATE = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
ANY_CERTIFICATE.check_hostname, ANY_CERTIFICATE.verify_mode = False, ssl.CERT_NONE


@dataclass
class Answered:
    """One answer. `closed` has the seconds until the server closed the connection, if the test waited for that."""

    status: int
    head: str
    body: bytes
    closed: float | None = None

    def __getitem__(self, name: str) -> str | None:
        found = re.search(rf"(?im)^{name}: *(.*?)\r?$", self.head)
        return found[1] if found else None

    @property
    def document(self) -> Any:
        return json.loads(self.body)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    where = urlsplit(url)
    tls = ANY_CERTIFICATE if where.scheme == "https" else None
    reader, writer = await asyncio.open_connection(where.hostname, where.port, ssl=tls)
    try:
        yield reader, writer
    finally:
        writer.close()


async def ask(url: str, request: bytes, *, closes: bool = False) -> Answered:
    """The answer to these bytes. `closes` also waits for the end of the connection."""
    async with connected(url) as (reader, writer), asyncio.timeout(patience_s()):
        begun = time.monotonic()
        writer.write(request)
        answered = await answer_from(reader, request)
        if closes:
            assert await ending(reader) == b"", "a second answer"
            answered.closed = time.monotonic() - begun
        return answered


@asynccontextmanager
async def asking(url: str) -> AsyncIterator[Callable[[bytes], Awaitable[Answered]]]:
    """A function that sends one request after the other on one connection."""
    async with connected(url) as (reader, writer):

        async def ask_for(request: bytes) -> Answered:
            writer.write(request)
            return await answer_from(reader, request)

        yield ask_for


async def answer_from(reader: asyncio.StreamReader, request: bytes) -> Answered:
    """The next answer on a connection, which stays open."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    length = re.search(r"(?i)content-length: (\d+)", head)
    empty = request.startswith(b"HEAD") or length is None
    body = b"" if empty or length is None else await reader.readexactly(int(length[1]))
    return Answered(int(head.split()[1]), head, body)


async def ending(reader: asyncio.StreamReader) -> bytes:
    """All bytes up to the end of the connection, however it ends."""
    try:
        return await reader.read()
    except ConnectionError:
        return b""


def get(target: str, *headers: str, method: str = "GET", host: str = "x") -> bytes:
    """A well-formed request with this target and these headers."""
    return "\r\n".join([f"{method} {target} HTTP/1.1", f"Host: {host}", *headers, "", ""]).encode()


@dataclass
class Reader:
    """The blocks of one stream so far."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    blocks: list[dict[str, str]] = field(default_factory=list)
    ended: bool = False

    @property
    def events(self) -> list[dict[str, str]]:
        """Those that a browser would dispatch."""
        return [block for block in self.blocks if "data" in block]

    @property
    def received(self) -> list[tuple[str, str, int]]:
        """Kind, effective date and revision of each event; `reset` is about no sheet."""
        figures = [(block["event"], json.loads(block["data"])) for block in self.events]
        return [(kind, document.get("effective_date", ""), document.get("revision", 0)) for kind, document in figures]

    @property
    def ids(self) -> list[str]:
        return [block["id"] for block in self.events]

    @property
    def last_id(self) -> str:
        """What a browser would send when it comes back."""
        return next(block["id"] for block in reversed(self.blocks) if "id" in block)

    def documents(self) -> list[dict[str, Any]]:
        return [json.loads(block["data"]) for block in self.events]

    async def receives(self, count: int) -> None:
        await eventually(lambda: len(self.events) >= count)

    async def follow(self, answer: aiohttp.ClientResponse) -> None:
        try:
            block: dict[str, str] = {}
            async for line in answer.content:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name:
                    block[name] = value
                else:
                    self.blocks.append(block)
                    block = {}
        except aiohttp.ClientError:
            pass
        self.ended = True


async def knows(url: str, words: str) -> bool:
    """Whether a new reader of events begins behind that day or revision."""
    async with reading(url) as new:
        return words in new.last_id


@asynccontextmanager
async def reading(url: str, last_id: str = "") -> AsyncIterator[Reader]:
    """One stream, open when the context begins."""
    reader = Reader()
    headers = {"Last-Event-ID": last_id} if last_id else {}
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(timeout=timeout) as http, http.get(f"{url}/v1/events", headers=headers) as answer:
        reader.status, reader.headers = answer.status, answer.headers
        following = asyncio.create_task(reader.follow(answer))
        try:
            await eventually(lambda: reader.blocks or reader.ended)
            yield reader
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
