"""A TCP proxy before Redis that passes bytes on, loses them, delays them, damages them, or cuts the connection."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

Failure = Literal["refused", "lost", "silent", "gone"]
"""A call is not passed on; its answer is lost with the connection, or swallowed; or Redis is gone from there on."""


@dataclass
class ChaosProxy:
    """Its settings may change at any moment. They hold for every later byte from Redis."""

    upstream: int
    port: int = 0
    blackhole: bool = False
    delay_s: float = 0.0
    reset_after: int | None = None
    damage_every: int | None = None
    fails_at: int = 0
    fails_how: Failure = "refused"
    asked: int = 0
    passed: int = 0
    damaged: int = 0
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def well(self) -> None:
        """Pass everything on again."""
        self.blackhole, self.delay_s, self.reset_after, self.damage_every = False, 0.0, None, None
        self.fails_at = 0

    def fails(self, number: int, how: Failure) -> None:
        """The call with that number from now on fails. If Redis is `gone`, all later calls fail too."""
        self.asked, self.fails_at, self.fails_how = 0, number, how

    def _failing(self) -> Failure | None:
        self.asked += 1
        is_after = self.fails_how == "gone" and self.asked > self.fails_at > 0
        return self.fails_how if self.asked == self.fails_at or is_after else None

    def cut(self) -> None:
        """Reset every connection."""
        for writer in tuple(self._writers):
            _reset(writer)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.upstream)
        except OSError:  # nobody is there
            self._writers.discard(writer)
            writer.close()
            return
        self._writers.add(back)
        try:
            connection = _Connection(writer, back)
            questions, answers = self._ask(reader, connection), self._answer(there, connection)
            await asyncio.gather(questions, answers, return_exceptions=True)
        finally:
            self._writers -= {writer, back}
            back.close()
            writer.close()

    async def _ask(self, reader: asyncio.StreamReader, connection: _Connection) -> None:
        while part := await reader.read(65536):
            connection.failure = connection.failure or self._failing()
            if connection.failure in ("refused", "gone"):
                break
            if not self.blackhole:
                connection.back.write(part)
        connection.back.close()

    async def _answer(self, reader: asyncio.StreamReader, connection: _Connection) -> None:
        while part := await reader.read(4096):
            await asyncio.sleep(self.delay_s)
            self.passed += len(part)
            if connection.failure == "lost" or (self.reset_after is not None and self.passed > self.reset_after):
                self.passed = 0
                break
            if self.damage_every:
                spoilt = bytes(b ^ 1 if (self.passed + i) % self.damage_every == 0 else b for i, b in enumerate(part))
                self.damaged += spoilt != part
                part = spoilt
            if not self.blackhole and connection.failure != "silent":
                connection.front.write(part)
        if part or connection.failure:
            _reset(connection.front)
        else:
            connection.front.close()


@dataclass
class _Connection:
    """Both ends of a connection, and how its last call failed."""

    front: asyncio.StreamWriter
    back: asyncio.StreamWriter
    failure: Failure | None = None


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def proxying(upstream: int) -> AsyncIterator[ChaosProxy]:
    """A proxy before that port."""
    proxy = ChaosProxy(upstream)
    server = await asyncio.start_server(proxy.connected, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut()
