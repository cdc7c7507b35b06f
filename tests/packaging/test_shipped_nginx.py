"""nginx with the shipped configuration: TLS, a path prefix, limits, and neither health nor figures for strangers."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from certificates import Authority
from conftest import eventually, program
from processes import ROOT, finished, free_port, serving

pytestmark = pytest.mark.slow

HOST = "www.example.com"
PREFIX = f"https://{HOST}/rates"
# A CDN's shield asks for so many addresses in the first second of a day, as docs/scale.md says.
HERD = 500
TIGHT = {"rate=100r/s": "rate=1r/m", "burst=600": "burst=5"}


@asynccontextmanager
async def nginx(folder: Path, rates: str, replaced: dict[str, str]) -> AsyncIterator[aiohttp.ClientSession]:
    """The shipped configuration for this machine, once nginx -t accepts it; yields a client that trusts it."""
    authority, port = Authority(folder), free_port()
    authority.server(name=HOST)
    shipped = (ROOT / "deploy/nginx.conf").read_text("utf-8")
    own = {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "/etc/ssl/rates.pem": f"{folder}/{HOST}-root-False.pem",
        "/etc/ssl/rates.key": f"{folder}/{HOST}-root-False.key",
        "http://RATES/": f"{rates}/",
    }
    for name, value in (own | replaced).items():
        assert name in shipped
        shipped = shipped.replace(name, value)
    places = "".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; user root; pid {folder}/pid; error_log {folder}/error.log; events {{}}\n"
        f"http {{ access_log off; {places}\n{shipped}\n}}",
        "utf-8",
    )
    command = (program("nginx"), "-c", str(config), "-e", f"{folder}/error.log")
    code, _, errors = await finished(*command, "-t", cwd=folder)
    assert (code, errors.count("[warn]")) == (0, 0), errors
    process = await asyncio.create_subprocess_exec(*command)
    trust = ssl.create_default_context(cafile=authority.ca_file)
    connector = aiohttp.TCPConnector(ssl=trust, limit=50, resolver=Here(port))
    try:
        async with aiohttp.ClientSession(connector=connector) as http:
            await eventually(lambda: answers(http))
            yield http
    finally:
        process.terminate()
        await process.wait()


class Here(aiohttp.abc.AbstractResolver):
    """Every name is this machine, at that port."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[aiohttp.abc.ResolveResult]:  # noqa: ARG002
        """Wherever it was to go."""
        there = "127.0.0.1"
        return [{"hostname": host, "host": there, "port": self._port, "family": socket.AF_INET, "proto": 0, "flags": 0}]

    async def close(self) -> None:
        """Nothing is open."""


async def answers(http: aiohttp.ClientSession) -> bool:
    try:
        async with http.get(f"{PREFIX}/health"):
            return True
    except aiohttp.ClientConnectorError:
        return False


async def test_nginx_serves_under_a_prefix_with_tls(tmp_path: Path) -> None:
    """Rates, links and events come under the prefix; /health and /metrics do not, however they are written."""
    async with serving(tmp_path, "--demo", RATESVC_PUBLIC_URL=PREFIX) as one, nginx(tmp_path, one.url, {}) as http:
        await one.ready()
        async with http.get(f"{PREFIX}/v1/rates") as answer:
            assert answer.status == 200
            assert (await answer.json())["stale"] is False
        async with http.get(f"{PREFIX}/widget?lang=en") as answer:
            assert "60.3741" in await answer.text()
        async with http.get(f"{PREFIX}/v1/events", headers={"Last-Event-ID": "0-0001-01-01.0"}) as answer:
            text = b""
            while b"data: " not in text:
                text += await answer.content.readline()
            assert json.loads(text.rpartition(b"data: ")[2])["url"].startswith(PREFIX)
        for path in ("health", "metrics", "%68ealth", "%6detrics", "x/%2e%2e/health", "/metrics"):
            async with http.get(f"{PREFIX}/{path}") as answer:
                assert answer.status == 404, path


async def test_nginx_lets_a_shield_ask_at_midnight_but_limits_one_address(tmp_path: Path) -> None:
    """500 requests at once pass. Above the limit the answer is 429: a problem in JSON that any page may read."""
    async with serving(tmp_path, "--demo") as one:
        await one.ready()

        async def statuses(http: aiohttp.ClientSession, count: int) -> Counter[int]:
            async def status() -> int:
                async with http.get(f"{PREFIX}/livez") as answer:
                    await answer.read()
                    return answer.status

            return Counter(await asyncio.gather(*(status() for _ in range(count))))

        async with nginx(tmp_path, one.url, {}) as http:
            assert await statuses(http, HERD) == {200: HERD}
        async with nginx(tmp_path, one.url, TIGHT) as http:
            assert await statuses(http, 20) == {200: 6, 429: 14}
            async with http.get(f"{PREFIX}/v1/events") as answer:
                assert (answer.status, answer.content_type) == (429, "application/problem+json")
                assert (answer.headers["Retry-After"], answer.headers["Access-Control-Allow-Origin"]) == ("10", "*")
                assert (await answer.json(content_type=None))["status"] == 429
