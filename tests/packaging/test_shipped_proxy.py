"""What the shipped proxy does by itself; a replica that stops behind it is in faults/test_D_fleet."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest
from conftest import eventually
from fleet import answers_with, proxy
from processes import serving

pytestmark = pytest.mark.slow


async def test_the_proxy_refuses_too_many_requests_and_hides_the_figures(tmp_path: Path) -> None:
    """More than it allows one address is 429 with Retry-After; /metrics is not for readers.

    A hundred in ten seconds here, for a busy machine may not ask three hundred as fast.
    """
    async with serving(tmp_path, "--demo") as one, proxy(tmp_path, one.url, at_most=100) as url:
        await one.ready()
        # Not waiting for the replica behind it: whoever asks for that again and again is one too many.
        await eventually(lambda: answers_with(url, "/metrics", 404))
        await eventually(lambda: answers_with(url, "/livez", 429))
        async with aiohttp.ClientSession() as http, http.get(f"{url}/livez") as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (429, "10")


async def test_without_any_replica_the_proxy_answers_with_a_problem(tmp_path: Path) -> None:
    """A program gets JSON and is told when to come again, not a page in HTML."""
    async with proxy(tmp_path, "http://127.0.0.1:1") as url:
        await eventually(lambda: answers_with(url, "/v1/rates", 503))
        async with aiohttp.ClientSession() as http, http.get(f"{url}/v1/rates") as answer:
            assert answer.content_type == "application/problem+json"
            assert (await answer.json(content_type=None))["status"] == 503
            assert answer.headers["Retry-After"] == "5"
