"""A TCP proxy before Redis that passes bytes on, loses them, delays them, damages them, or cuts the connection."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class ChaosProxy:
    """Set what it does at any moment; it holds for every byte from Redis after that."""

    upstream: int
    port: int = 0
    blackhole: bool = False
    delay_s: float = 0.0
    reset_after: int | None = None
    damage_every: int | None = None
    passed: int = 0
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def well(self) -> None:
        """Pass everything on again."""
        self.blackhole, self.delay_s, self.reset_after, self.damage_every = False, 0.0, None, None

    def cut(self) -> None:
        """Reset every connection."""
        for writer in tuple(self._writers):
            _reset(writer)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            there, back = await asyncio.open_connection("127.0.0.1", self.upstream)
            self._writers |= {writer, back}
            try:
                await asyncio.gather(self._ask(reader, back), self._answer(there, writer), return_exceptions=True)
            finally:
                self._writers -= {writer, back}
                back.close()
                writer.close()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while part := await reader.read(65536):
            if not self.blackhole:
                writer.write(part)
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while part := await reader.read(4096):
            await asyncio.sleep(self.delay_s)
            self.passed += len(part)
            if self.reset_after is not None and self.passed > self.reset_after:
                self.passed = 0
                _reset(writer)
                return
            if self.damage_every:
                part = bytes(b ^ 1 if (self.passed + i) % self.damage_every == 0 else b for i, b in enumerate(part))
            if not self.blackhole:
                writer.write(part)
        writer.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def proxying(upstream: int) -> AsyncIterator[ChaosProxy]:
    """A proxy before that port while the context lasts."""
    proxy = ChaosProxy(upstream)
    server = await asyncio.start_server(proxy.connected, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut()
