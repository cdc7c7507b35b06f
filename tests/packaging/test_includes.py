"""Server-side includes with real nginx and PHP: the page stays whole while the service is gone."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

import aiohttp
import pytest
from conftest import eventually, program
from processes import finished, free_port, serving
from widget_harness import live_service, pasted

pytestmark = pytest.mark.slow

SHORT = "proxy_ignore_headers Cache-Control; proxy_cache_valid 200 1s;"
CONFIG = Path(__file__).parents[2] / "deploy" / "nginx-ssi.conf"


async def test_nginx_keeps_the_page_whole(tmp_path: Path) -> None:
    """The shipped configuration and the builder's lines show rates, then the last good copy, or a link without one."""
    nginx = program("nginx")
    port, copies = free_port(), tmp_path / "copies.log"
    site = tmp_path / "site"
    site.mkdir()
    async with serving(tmp_path, "--demo") as service:
        await service.ready()
        for name, lang in (("index", "en"), ("new", "ru")):
            code = await pasted(service.url, "ssi", f"lang={lang}")
            site.joinpath(f"{name}.html").write_text(f"<h1>News</h1>{code}<p>The end</p>", "utf-8")
        config = _configured(tmp_path, site, service.url, port)
        process = await asyncio.create_subprocess_exec(nginx, "-c", str(config), "-e", str(tmp_path / "error.log"))
        try:
            await eventually(lambda: _answers(port))
            fresh = await _page(port, "/")
            assert "60.3741" in fresh
            assert fresh.endswith("<p>The end</p>")
            service.kill()
            await service.ended()

            async def is_stale() -> bool:
                assert await _page(port, "/") == fresh
                return "STALE" in copies.read_text("utf-8")

            await eventually(is_stale)
            without = await _page(port, "/new.html")
            assert "Официальные курсы валют Банка России</a>" in without
            assert without.endswith("<p>The end</p>")
        finally:
            process.terminate()
            await process.wait()


def _configured(folder: Path, site: Path, url: str, port: int) -> Path:
    """The shipped configuration for this machine: other places, nobody's rights, and copies that age in a second."""
    shipped = CONFIG.read_text("utf-8").replace("http://RATES/", f"{url}/")
    shipped = shipped.replace("listen 80", f"listen 127.0.0.1:{port}").replace("/var/www/html", str(site))
    shipped = shipped.replace("/var/cache/nginx/rates", str(folder / "cache"))
    # nginx looks at its own clock: a copy that is stale after a second shows what happens after five minutes.
    shipped = shipped.replace("proxy_cache rates;", f"proxy_cache rates; {SHORT}")
    names = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{name}_temp_path {folder}/{name};" for name in names)
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; user root; pid {folder}/pid; error_log {folder}/error.log;"
        f"events {{}} http {{ log_format copies $upstream_cache_status; log_subrequest on;"
        f"access_log {folder}/copies.log copies; default_type text/html; {paths}\n{shipped}\n}}",
        "utf-8",
    )
    return config


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def _page(port: int, path: str) -> str:
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}{path}") as answer:
        assert answer.status == 200
        return await answer.text()


async def test_php_keeps_the_last_good_copy(tmp_path: Path) -> None:
    """The builder's PHP shows rates, without the service the copy, and without a copy a link."""
    php = program("php")
    async with live_service(tmp_path / "data") as live:
        code = await pasted(live.url, "php", "lang=en")
        (tmp_path / "page.php").write_text(code, "utf-8")
        assert "60.3741" in await _php(php, tmp_path)
    copy = next(iter(tmp_path.glob("cbr-rates-*.html")))
    old = copy.stat().st_mtime - 1000
    os.utime(copy, (old, old))
    assert "60.3741" in await _php(php, tmp_path)
    copy.unlink()
    assert re.search(r"<a href=[^>]+>Bank of Russia official exchange rates</a>", await _php(php, tmp_path))


async def _php(php: str, folder: Path) -> str:
    command = (php, "-d", f"sys_temp_dir={folder}", str(folder / "page.php"))
    return (await finished(*command, cwd=folder))[1]
