"""What stands in front of the service: nginx with a shipped configuration, and plain caches of two kinds."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

import aiohttp
from certificates import Authority
from conftest import program
from processes import ROOT, finished, free_port, started

NGINX = """
http {{
  access_log off; proxy_cache_path {folder}/cache keys_zone=rates:1m;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass {origin}; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
      proxy_cache rates; proxy_cache_use_stale updating; proxy_cache_revalidate on; {lines}
      add_header X-Cache $upstream_cache_status;
    }}
  }}
}}
"""
VARNISH = """
vcl 4.1;
backend default {{ .host = "127.0.0.1"; .port = "{port}"; }}
sub vcl_hash {{ hash_data(req.url); return (lookup); }}
sub vcl_backend_response {{ set beresp.do_stream = false; set beresp.keep = 1h; {lines} }}
sub vcl_deliver {{ if (obj.hits > 0) {{ set resp.http.X-Cache = "HIT"; }} else {{ set resp.http.X-Cache = "MISS"; }} }}
"""


def changed(shipped: str, replaced: Mapping[str, str]) -> str:
    """A file of deploy/ with each of these texts, which it must contain, replaced."""
    text = (ROOT / "deploy" / shipped).read_text("utf-8")
    for before, after in replaced.items():
        assert before in text, before
        text = text.replace(before, after)
    return text


@asynccontextmanager
async def nginx(folder: Path, text: str, port: int, variables: Mapping[str, str] | None = None) -> AsyncIterator[None]:
    """nginx with a whole http block, with nobody's rights, and in places of its own. It keeps `variables`."""
    names = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = "".join(f"{name}_temp_path {folder}/{name}; " for name in names)
    kept = "".join(f"env {name}; " for name in variables or {})
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; user root; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log; {kept}\n"
        f"events {{ worker_connections 4096; }}\n{text.replace('http {', f'http {{ {places}', 1)}",
        "utf-8",
    )
    command = (program("nginx"), "-c", str(config), "-e", f"{folder}/error.log")
    code, _, errors = await finished(*command, "-t", cwd=folder)
    assert (code, errors.count("[warn]")) == (0, 0), errors
    async with started(port, *command, variables=variables):
        yield


@asynccontextmanager
async def cache(kind: str, origin: str, folder: Path, lines: str = "") -> AsyncIterator[str]:
    """A real cache in front of the origin, with more `lines` about what it stores; yields its address."""
    port = free_port()
    if kind == "nginx":
        text = NGINX.format(folder=folder, port=port, origin=origin, lines=lines)
        async with nginx(folder, text, port):
            yield f"http://127.0.0.1:{port}"
    else:
        async with varnish(folder, VARNISH.format(port=urlsplit(origin).port, lines=lines), port):
            yield f"http://127.0.0.1:{port}"


@asynccontextmanager
async def varnish(folder: Path, text: str, port: int) -> AsyncIterator[None]:
    """Varnish with these rules."""
    rules = folder / "rules.vcl"
    rules.write_text(text, "utf-8")
    command = (program("varnishd"), "-F", "-j", "none", "-a", f"127.0.0.1:{port}", "-f", str(rules))
    async with started(port, *command, "-n", str(folder / "n"), "-s", "malloc,16m"):
        yield


@asynccontextmanager
async def prefixed(
    folder: Path, *replicas: str, replaced: Mapping[str, str] = MappingProxyType({})
) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of ratesvc under the prefix of the shipped nginx.conf, which trusts its certificate."""
    authority, port = Authority(folder), free_port()
    authority.server()
    own = {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "/etc/ssl/rates.pem": f"{folder}/localhost-root-False.pem",
        "/etc/ssl/rates.key": f"{folder}/localhost-root-False.key",
    }
    trust = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=authority.ca_file), limit=100)
    async with (
        nginx(folder, of_replicas(replicas, own | dict(replaced)), port),
        aiohttp.ClientSession(f"https://localhost:{port}/rates/", connector=trust) as http,
    ):
        yield http


@asynccontextmanager
async def unlimited(
    folder: Path, *replicas: str, port: int = 0, replaced: Mapping[str, str] = MappingProxyType({})
) -> AsyncIterator[str]:
    """The shipped nginx.conf without TLS and without a limit of requests; yields the address of the prefix.

    It adds which replica answered.
    """
    port = port or free_port()
    own = {
        "listen 443 ssl": f"listen 127.0.0.1:{port}",
        "ssl_certificate /etc/ssl/rates.pem;": "",
        "ssl_certificate_key /etc/ssl/rates.key;": "",
        "burst=600": "burst=1000000",
        "location /rates/ {": "location /rates/ { add_header X-Replica $replica always;",
    }
    async with nginx(folder, of_replicas(replicas, own | dict(replaced)), port):
        yield f"http://127.0.0.1:{port}/rates"


def of_replicas(replicas: Sequence[str], replaced: Mapping[str, str]) -> str:
    """The shipped nginx.conf as an http block, for these replicas."""
    hosts = [url.removeprefix("http://") for url in replicas]
    names = "".join(f"~{host}$ replica{number}; " for number, host in enumerate(hosts))
    own = {
        "server REPLICA2": f"server {hosts[1]}" if hosts[1:] else "# REPLICA2",
        "REPLICA1": hosts[0],
    }
    text = changed("nginx.conf", own | dict(replaced))
    return f"http {{ access_log off; map $upstream_addr $replica {{ {names} }}\n{text}\n}}"
