"""No request may wait for Redis: a question to Redis while a request is answered fails the test at once."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import pytest
from aiohttp import web
from aiohttp.web_protocol import RequestHandler
from redis.asyncio.connection import AbstractConnection

from ratesvc.service.publication import Publication
from ratesvc.storage.redis import RedisConnection

# /health shows how Redis is, so it may ask. It need not: the last call of the service says it.
MAY_ASK = "/health"
_ANSWERED: ContextVar[str] = ContextVar("_ANSWERED", default="")
ASKED: list[str] = []


def _noted(handle: Any) -> Any:
    async def handled(self: Any, request: web.BaseRequest, *more: Any) -> Any:
        before = _ANSWERED.set("" if request.path == MAY_ASK else request.path)
        try:
            return await handle(self, request, *more)
        finally:
            _ANSWERED.reset(before)

    return handled


def _refused(ask: Any) -> Any:
    def asked(*arguments: Any, **options: Any) -> Any:
        if path := _ANSWERED.get():
            stack = "".join(traceback.format_stack(limit=6))
            ASKED.append(f"Redis was asked ({ask.__name__}) while {path} was answered:\n{stack}")
            raise AssertionError(ASKED[-1])
        return ask(*arguments, **options)

    return asked


@pytest.fixture
def nothing_remembered() -> Iterator[None]:
    """The service answers every request of this test as if it were the first of its kind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Publication, "remember", lambda *_: None)
        patch.setattr(Publication, "find", lambda *_: None)
        patch.setattr(Publication, "keep", lambda _, __, body: body)
        yield


@pytest.fixture(autouse=True)
def _no_request_asks_redis() -> Iterator[None]:
    ASKED.clear()
    with pytest.MonkeyPatch.context() as patch:
        ways: list[tuple[type, str, Any]] = [(RedisConnection, "call", _refused)]
        ways += [(AbstractConnection, "send_packed_command", _refused), (RequestHandler, "_handle_request", _noted)]
        for owner, name, changed in ways:
            patch.setattr(owner, name, changed(getattr(owner, name)))
        yield
    assert not ASKED, ASKED[0]
