"""The routes of the application."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from conftest import Serve, Served

from ratesvc.config import Settings
from ratesvc.web import connections

PATHS = (
    *("/v1/rates", "/v1/rates?codes=USD", "/v1/rates/2026-04-24", "/v1/rates/2026-04-24.csv", "/v1/rates/next"),
    *("/v1/rates/today/USD.txt", "/v1/series", "/rate", "/docs", "/widget", "/widget/rates.js"),
    *("/frankfurter/v1/latest", "/cbr-xml-daily/daily_json.js", "/scripts/XML_daily.asp", "/nowhere"),
)


async def test_a_trailing_slash_changes_no_answer(served: Served) -> None:
    """Neither its first answer nor the remembered one, nor the answer to HEAD; it is no redirect."""
    for path in PATHS:
        expected = await served.get(path)
        address, sign, query = path.partition("?")
        slashed = f"{address}/{sign}{query}"
        for _ in ("first", "remembered"):
            status, headers, body = await served.get(slashed)
            found = status, headers["Content-Type"], body
            assert found == (expected[0], expected[1]["Content-Type"], expected[2]), path
        async with served.http.head(served.url + slashed) as answer:
            assert answer.status == expected[0], path


async def test_probes_have_one_address(served: Served) -> None:
    """Front ends hide /health and /metrics by their exact addresses."""
    for path in ("/health", "/metrics", "/livez", "/readyz"):
        assert [(await served.get(address))[0] for address in (path, f"{path}/")] == [200, 404]


async def test_a_port_listens_once_it_answers(
    settings: Settings, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before, it refuses. A proxy would take a port that listens and does not answer for a hung replica."""
    seen = []

    @asynccontextmanager
    async def accepting(application: Any, listener: socket.socket, **options: Any) -> AsyncIterator[None]:
        seen.append(listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
        async with connections.accepting(application, listener, **options):
            seen.append(listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
            yield

    monkeypatch.setattr("ratesvc.web.server.accepting", accepting)
    async with serve(settings) as served:
        assert (await served.get("/livez"))[0] == 200
    assert seen == [0, 1]
