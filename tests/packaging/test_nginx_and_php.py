"""What a site has in front of ratesvc: nginx with the two shipped configurations, and the builder's PHP."""

from __future__ import annotations

import asyncio
import json
import os
import re
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
from widget_harness import live_service, pasted
from yarl import URL

pytestmark = pytest.mark.slow

PREFIX = "https://www.example.com/rates"
# A CDN's shield asks for so many addresses in the first second of a day, as docs/scale.md says.
HERD = 500
TIGHT = {"rate=100r/s": "rate=1r/m", "burst=600": "burst=5"}
# nginx looks at its own clock: a copy that is stale after a second shows what happens after five minutes.
SHORT = "proxy_ignore_headers Cache-Control; proxy_cache_valid 200 1s;"


@asynccontextmanager
async def nginx(folder: Path, shipped: str, replaced: dict[str, str], *lines: str) -> AsyncIterator[None]:
    """nginx with a shipped configuration for this machine: other places, nobody's rights, and more `lines` of http."""
    text = (ROOT / "deploy" / shipped).read_text("utf-8")
    for name, value in replaced.items():
        assert name in text
        text = text.replace(name, value)
    names = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = "".join(f"{name}_temp_path {folder}/{name};" for name in names)
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; user root; pid {folder}/pid; error_log {folder}/error.log; events {{}}\n"
        f"http {{ {places} {' '.join(lines)}\n{text}\n}}",
        "utf-8",
    )
    command = (program("nginx"), "-c", str(config), "-e", f"{folder}/error.log")
    code, _, errors = await finished(*command, "-t", cwd=folder)
    assert (code, errors.count("[warn]")) == (0, 0), errors
    process = await asyncio.create_subprocess_exec(*command)
    try:
        await eventually((folder / "pid").read_text)  # nginx -t leaves it empty
        yield
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def prefixed(
    folder: Path, rates: str, replaced: dict[str, str] | None = None
) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of ratesvc under nginx' prefix, which trusts its certificate."""
    authority, port = Authority(folder), free_port()
    authority.server()
    own = {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "/etc/ssl/rates.pem": f"{folder}/localhost-root-False.pem",
        "/etc/ssl/rates.key": f"{folder}/localhost-root-False.key",
        "http://RATES/": f"{rates}/",
    }
    trust = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=authority.ca_file), limit=50)
    async with (
        nginx(folder, "nginx.conf", own | (replaced or {}), "access_log off;"),
        aiohttp.ClientSession(f"https://localhost:{port}/rates/", connector=trust) as http,
    ):
        yield http


async def test_nginx_serves_under_a_prefix_with_tls(tmp_path: Path) -> None:
    """Rates, links and events come under the prefix; /health and /metrics do not, however they are written."""
    async with serving(tmp_path, "--demo", RATESVC_PUBLIC_URL=PREFIX) as one, prefixed(tmp_path, one.url) as http:
        await one.ready()
        async with http.get("v1/rates") as answer:
            assert answer.status == 200
            assert (await answer.json())["stale"] is False
        async with http.get("widget?lang=en") as answer:
            assert "60.3741" in await answer.text()
        async with http.get("v1/events", headers={"Last-Event-ID": "2022-11-17"}) as answer:
            text = b""
            while b"data: " not in text:
                text += await answer.content.readline()
            assert json.loads(text.rpartition(b"data: ")[2])["url"].startswith(PREFIX)
            host = answer.url.origin()
        for path in ("health", "metrics", "%68ealth", "%6detrics", "x/%2e%2e/health", "/metrics"):
            async with http.get(URL(f"{host}/rates/{path}", encoded=True)) as answer:
                assert answer.status == 404, path


async def test_nginx_lets_a_shield_ask_at_midnight_but_limits_one_address(tmp_path: Path) -> None:
    """500 requests at once pass. Above the limit the answer is 429: a problem in JSON that any page may read."""

    async def statuses(http: aiohttp.ClientSession, count: int) -> Counter[int]:
        async def status() -> int:
            async with http.get("livez") as answer:
                await answer.read()
                return answer.status

        return Counter(await asyncio.gather(*(status() for _ in range(count))))

    async with serving(tmp_path, "--demo") as one:
        await one.ready()
        async with prefixed(tmp_path, one.url) as http:
            assert await statuses(http, HERD) == {200: HERD}
        async with prefixed(tmp_path, one.url, TIGHT) as http:
            assert await statuses(http, 20) == {200: 6, 429: 14}
            async with http.get("v1/events") as answer:
                assert (answer.status, answer.content_type) == (429, "application/problem+json")
                assert (answer.headers["Retry-After"], answer.headers["Access-Control-Allow-Origin"]) == ("10", "*")
                assert (await answer.json(content_type=None))["status"] == 429


async def test_server_side_includes_keep_the_page_whole(tmp_path: Path) -> None:
    """The builder's lines show rates; without the service the last good copy, or a link where there is no copy."""
    port, site = free_port(), tmp_path / "site"
    site.mkdir()
    async with serving(tmp_path, "--demo") as service:
        await service.ready()
        for name, lang in (("index", "en"), ("new", "ru")):
            code = await pasted(service.url, "ssi", f"lang={lang}")
            site.joinpath(f"{name}.html").write_text(f"<h1>News</h1>{code}<p>The end</p>", "utf-8")
        own = {
            "http://RATES/": f"{service.url}/",
            "listen 80": f"listen 127.0.0.1:{port}",
            "/var/www/html": str(site),
            "/var/cache/nginx/rates": f"{tmp_path}/cache",
            "proxy_cache rates;": f"proxy_cache rates; {SHORT}",
        }
        log = f"log_format copies $upstream_cache_status; access_log {tmp_path}/copies.log copies; log_subrequest on;"
        async with (
            nginx(tmp_path, "nginx-ssi.conf", own, log, "default_type text/html;"),
            aiohttp.ClientSession(f"http://127.0.0.1:{port}", raise_for_status=True) as http,
        ):

            async def page(path: str) -> str:
                async with http.get(path) as answer:
                    return await answer.text()

            fresh = await page("/")
            assert "60.3741" in fresh
            assert fresh.endswith("<p>The end</p>")
            service.kill()
            await service.ended()

            async def is_stale() -> bool:
                assert await page("/") == fresh
                return "STALE" in (tmp_path / "copies.log").read_text("utf-8")

            await eventually(is_stale)
            without = await page("/new.html")
            assert "Официальные курсы валют Банка России</a>" in without
            assert without.endswith("<p>The end</p>")


async def test_php_keeps_the_last_good_copy(tmp_path: Path) -> None:
    """The builder's PHP shows rates, without the service the copy, and without a copy a link."""
    command = (program("php"), "-d", f"sys_temp_dir={tmp_path}", str(tmp_path / "page.php"))

    async def page() -> str:
        return (await finished(*command, cwd=tmp_path))[1]

    async with live_service(tmp_path / "data") as live:
        (tmp_path / "page.php").write_text(await pasted(live.url, "php", "lang=en"), "utf-8")
        assert "60.3741" in await page()
    copy = next(iter(tmp_path.glob("cbr-rates-*.html")))
    old = copy.stat().st_mtime - 1000
    os.utime(copy, (old, old))
    assert "60.3741" in await page()
    copy.unlink()
    assert re.search(r"<a href=[^>]+>Bank of Russia official exchange rates</a>", await page())
