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


def guard(patch: pytest.MonkeyPatch) -> None:
    """Watch every request that a server of this process answers from now on."""
    patch.setattr(RequestHandler, "_handle_request", _noted(RequestHandler._handle_request))  # noqa: SLF001
    for owner, name in ((RedisConnection, "call"), (AbstractConnection, "send_packed_command")):
        patch.setattr(owner, name, _refused(getattr(owner, name), name))


def forget(patch: pytest.MonkeyPatch) -> None:
    """Answer every request from now on as if it were the first of its kind."""
    patch.setattr(Publication, "remember", lambda *_: None)
    patch.setattr(Publication, "find", lambda *_: None)
    patch.setattr(Publication, "keep", lambda _, __, body: body)


def _noted(handle: Any) -> Any:
    async def handled(self: Any, request: web.BaseRequest, *more: Any) -> Any:
        before = _ANSWERED.set("" if request.path == MAY_ASK else request.path)
        try:
            return await handle(self, request, *more)
        finally:
            _ANSWERED.reset(before)

    return handled


def _refused(ask: Any, name: str) -> Any:
    def asked(*arguments: Any, **options: Any) -> Any:
        if path := _ANSWERED.get():
            stack = "".join(traceback.format_stack(limit=6))
            ASKED.append(f"Redis was asked ({name}) while {path} was answered:\n{stack}")
            raise AssertionError(ASKED[-1])
        return ask(*arguments, **options)

    return asked


@pytest.fixture
def nothing_remembered() -> Iterator[None]:
    """The service remembers no answers in this test."""
    with pytest.MonkeyPatch.context() as patch:
        forget(patch)
        yield


@pytest.fixture(autouse=True)
def _no_request_asks_redis() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        guard(patch)
        ASKED.clear()
        yield
    assert not ASKED, ASKED[0]
