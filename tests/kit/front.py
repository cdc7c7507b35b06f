"""Fronts before the Bank's stand-in and before Redis. They pass bytes on, or do what a test says."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Self
from urllib.parse import urlsplit

from kit.service import free_port

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

END_OF_HEAD = b"\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n"


class Front:
    """Listens on one port of the loopback while a context lasts. It keeps the port while it is closed."""

    def __init__(self, upstream: str, tls: ssl.SSLContext | None = None) -> None:
        self.upstream = urlsplit(upstream).port or 0
        self.tls = tls
        self.port = free_port()  # nobody else gets it
        self.heads: list[bytes] = []
        self.script: Script | None = None
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        """With a name, because cookies and certificates need one."""
        return f"{'https' if self.tls else 'http'}://localhost:{self.port}"

    @property
    def connections(self) -> int:
        """How many are open, on both sides of this proxy."""
        return len(self._open)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port, ssl=self.tls)

    async def close(self) -> None:
        """Refuse connections from now on."""
        if self._server:
            self._server.close()
            self._server = None
        self.cut()

    def misbehave(self, script: Script | None) -> None:
        """Run this script on every connection from now on. None passes bytes on."""
        self.script = script
        self.cut()

    def cut(self) -> None:
        """End all open connections: they would not see the change."""
        for writer in tuple(self._open):
            _reset(writer)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, ssl.SSLError):
                await (self.script or self._pass_on)(reader, writer)
        finally:
            self._open.discard(writer)
            writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one request a connection, so that `heads` has each."""
        head = await reader.readuntil(END_OF_HEAD)
        self.heads.append(head)
        bank_reader, bank_writer = await asyncio.open_connection("127.0.0.1", self.upstream)
        bank_writer.write(head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
        try:
            while part := await bank_reader.read(65536):
                writer.write(part)
                await writer.drain()
        finally:
            bank_writer.close()


class ChaosProxy(Front):
    """Its settings may change at any moment. They hold for every later byte from Redis."""

    asked = passed = damaged = 0

    def __init__(self, upstream: int) -> None:
        super().__init__(f"redis://127.0.0.1:{upstream}")
        self.well()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def well(self) -> None:
        """Pass everything on again."""
        self.blackhole, self.delay_s = False, 0.0
        self.reset_after: int | None = None
        self.damage_every = 0

    def _spoilt(self, part: bytes) -> bytes:
        spoilt = bytes(byte ^ (place % self.damage_every == 0) for place, byte in enumerate(part, self.passed))
        self.damaged += spoilt != part
        return spoilt

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self.upstream)
        self._open.add(back)

        async def ask() -> None:
            while part := await reader.read(65536):
                self.asked += 1
                if not self.blackhole:
                    back.write(part)
            back.close()

        async def answer() -> None:
            while part := await there.read(4096):
                await asyncio.sleep(self.delay_s)
                self.passed += len(part)
                if self.reset_after is not None and self.passed > self.reset_after:
                    self.passed = 0
                    break
                if not self.blackhole:
                    writer.write(self._spoilt(part) if self.damage_every else part)
            if part:
                _reset(writer)
            else:
                writer.close()

        try:
            await asyncio.gather(ask(), answer(), return_exceptions=True)
        finally:
            self._open.discard(back)
            back.close()


def says(*parts: bytes, pause_s: float = 0.0) -> Script:
    """Answer a request with these bytes, a pause after each part, then close."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(END_OF_HEAD)
        for part in parts:
            writer.write(part)
            await writer.drain()
            if pause_s:
                await asyncio.sleep(pause_s)

    return script


def answers(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> Script:
    """A whole and honest HTTP answer with this body."""
    length = b"Content-Length: %d" % len(body)
    lines = [b"HTTP/1.1 " + status, b"Content-Type: text/html", length, b"Connection: close", *headers]
    return says(b"\r\n".join(lines) + END_OF_HEAD + body)


def drips(content: bytes, pause_s: float = 0.3) -> Script:
    """One byte at a time."""
    return says(*(content[place : place + 1] for place in range(len(content))), pause_s=pause_s)


async def hangs(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """No answer."""
    await reader.read()


async def resets(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """RST instead of an answer."""
    _reset(writer)


def _reset(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()


async def never_ends(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A plain body without an end, as fast as the client reads it."""
    await reader.readuntil(END_OF_HEAD)
    writer.write(OK + b"\r\n<?xml version='1.0' encoding='windows-1251'?><ValCurs>")
    while True:
        writer.write(b"<Valute>" * 8192)
        await writer.drain()


@contextmanager
def blackhole(port: int) -> Iterator[None]:
    """A listener whose queue is full: the kernel drops every further SYN, so a connect hangs."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(0)
        while True:
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0.2)
            try:
                waiting.connect(("127.0.0.1", port))
            except TimeoutError:
                break
        yield
