"""Raw bytes on a connection, as no well-behaved client would send them."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from machine import patience_s

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
