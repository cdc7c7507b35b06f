"""The routes of the application."""

from __future__ import annotations

import pytest
from conftest import Served


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/rates", "/v1/rates?codes=USD", "/v1/rates/2026-04-24", "/v1/rates/2026-04-24.csv", "/v1/rates/next"),
        *("/v1/rates/today/USD.txt", "/v1/series", "/rate", "/docs", "/widget", "/widget/rates.js"),
        *("/frankfurter/v1/latest", "/cbr-xml-daily/daily_json.js", "/scripts/XML_daily.asp", "/nowhere"),
    ],
)
async def test_a_trailing_slash_changes_no_answer(served: Served, path: str) -> None:
    """Neither its first answer nor the remembered one, nor the answer to HEAD; it is no redirect."""
    expected = await served.get(path)
    address, query = path.partition("?")[::2]
    slashed = f"{address}/" + (f"?{query}" if query else "")
    for _ in ("first", "remembered"):
        status, headers, body = await served.get(slashed)
        assert (status, headers["Content-Type"], body) == (expected[0], expected[1]["Content-Type"], expected[2])
    async with served.http.head(served.url + slashed) as answer:
        assert answer.status == expected[0]


@pytest.mark.parametrize("path", ["/health/", "/metrics/", "/livez/", "/readyz/"])
async def test_probes_have_one_address(served: Served, path: str) -> None:
    """Front ends hide /health and /metrics by their exact addresses."""
    assert (await served.get(path))[0] == 404
