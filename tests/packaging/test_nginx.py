"""What the shipped nginx.conf does by itself; hung and restarted replicas behind it are in faults/test_G_proxies."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from pathlib import Path

import aiohttp
import pytest
from fleet import SHIPPED
from fronts import prefixed
from processes import ROOT, serving
from yarl import URL

pytestmark = pytest.mark.slow

PREFIX = "https://www.example.com/rates"
# A CDN's shield asks for so many addresses in the first second of a day, as docs/scale.md says.
HERD = 500
TIGHT = {"rate=100r/s": "rate=1r/m", "burst=600": "burst=5"}


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


async def statuses(http: aiohttp.ClientSession, count: int, reader: str = "") -> Counter[int]:
    """What so many requests at once get."""

    async def status() -> int:
        async with http.get("livez", headers={"X-Forwarded-For": reader}) as answer:
            await answer.read()
            return answer.status

    return Counter(await asyncio.gather(*(status() for _ in range(count))))


async def test_nginx_lets_a_shield_ask_at_midnight_but_limits_one_address(tmp_path: Path) -> None:
    """500 requests at once pass. Above the limit the answer is 429: a problem in JSON that any page may read."""
    async with serving(tmp_path, "--demo") as one:
        await one.ready()
        async with prefixed(tmp_path, one.url) as http:
            assert await statuses(http, HERD) == {200: HERD}
        async with prefixed(tmp_path, one.url, replaced=TIGHT) as http:
            assert await statuses(http, 20) == {200: 6, 429: 14}
            async with http.get("v1/events") as answer:
                assert (answer.status, answer.content_type) == (429, "application/problem+json")
                assert (answer.headers["Retry-After"], answer.headers["Access-Control-Allow-Origin"]) == ("10", "*")
                assert (await answer.json(content_type=None))["status"] == 429


async def test_nginx_counts_readers_behind_a_cdn(tmp_path: Path) -> None:
    """With the lines of its comment each reader has a limit of his own. Without them nobody's header is believed."""
    known = {f"# {line}": line for line in ("real_ip_header", "real_ip_recursive")}
    known["# set_real_ip_from 192.0.2.0/24"] = "set_real_ip_from 127.0.0.1"
    async with serving(tmp_path, "--demo") as one:
        await one.ready()
        async with prefixed(tmp_path, one.url, replaced=TIGHT | known) as http:
            for reader in ("203.0.113.1", "198.51.100.1, 203.0.113.2"):
                assert await statuses(http, 20, reader) == {200: 6, 429: 14}
        async with prefixed(tmp_path, one.url, replaced=TIGHT) as http:
            assert sum([await statuses(http, 1, f"203.0.113.{number}") for number in range(20)], Counter())[429] == 14


async def test_nginx_answers_a_problem_while_no_replica_does(tmp_path: Path) -> None:
    """Its own 502 is JSON, says when to come again, and any page may read it."""
    async with prefixed(tmp_path, "http://127.0.0.1:1", "http://127.0.0.1:1") as http:
        for path in ("v1/rates", "v1/series?codes=USD", "v1/events"):
            async with http.get(path) as answer:
                assert (answer.status, answer.content_type) == (502, "application/problem+json")
                assert (answer.headers["Retry-After"], answer.headers["Access-Control-Allow-Origin"]) == ("5", "*")
                assert (await answer.json(content_type=None))["title"] == "Bad Gateway"


def test_nginx_waits_longer_for_the_same_answers_as_haproxy() -> None:
    """Both configurations name the same beginnings of addresses."""
    (haproxy,) = re.findall(r"use_backend long if .* beg (.*) }", SHIPPED.read_text("utf-8"))
    (nginx,) = re.findall(r"location ~ \^/rates/\((v1/series.*)\) {", (ROOT / "deploy/nginx.conf").read_text("utf-8"))
    assert {"/v1/events", *(f"/{start.replace(chr(92), '')}" for start in nginx.split("|"))} == set(haproxy.split())


async def test_nginx_says_where_to_report_a_hole(tmp_path: Path) -> None:
    """RFC 9116, at the root of the host, once the operator has taken away the mark of a remark."""
    given = {"#location = /.well-known": "location = /.well-known"}
    none = ("http://127.0.0.1:1", "http://127.0.0.1:2")
    async with prefixed(tmp_path, *none, replaced=given) as http, http.get("/.well-known/security.txt") as answer:
        assert (answer.status, answer.content_type) == (200, "text/plain")
        assert re.fullmatch(r"Contact: mailto:\S+\nExpires: \S+Z\n", await answer.text())
