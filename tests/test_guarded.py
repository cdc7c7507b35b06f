"""Redis is never on the way of a request: what says so in every other test says so here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import guarded
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from conftest import Served

from ratesvc.storage.redis import connect


@pytest.fixture
async def planted(served: Served, redis_url: str) -> AsyncIterator[web.Application]:
    """An application that asks Redis for each answer: through the store, and past it."""

    async def through_the_store(_: web.Request) -> web.Response:
        await served.service.store.ping()
        return web.Response()

    client = connect(redis_url)

    async def past_it(_: web.Request) -> web.Response:
        await client.ping()
        return web.Response()

    app = web.Application()
    app.router.add_get("/v1/rates/{day}", through_the_store)
    app.router.add_get("/v1/rates", past_it)
    app.router.add_get("/health", through_the_store)
    yield app
    await client.aclose()
    guarded.ASKED.clear()


@pytest.mark.parametrize(("path", "how"), [("/v1/rates/2026-04-24", "call"), ("/v1/rates", "send_packed_command")])
async def test_a_handler_that_asks_redis_fails_its_test(path: str, how: str, planted: web.Application) -> None:
    """At once, by a 500, and at the end of the test by the way in which it asked."""
    async with TestClient[Any, Any](TestServer(planted)) as client, client.get(path) as answer:
        assert answer.status == 500
    assert guarded.ASKED[0].startswith(f"Redis was asked ({how}) while {path} was answered:")


async def test_health_may_ask(planted: web.Application) -> None:
    """It is for people, and says how Redis is."""
    async with TestClient[Any, Any](TestServer(planted)) as client, client.get("/health") as answer:
        assert answer.status == 200
    assert guarded.ASKED == []
