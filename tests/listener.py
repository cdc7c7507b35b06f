"""A reader of /v1/events that keeps every block."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from conftest import eventually


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
