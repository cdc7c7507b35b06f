"""What stands in front of the service: HAProxy, Caddy and nginx with the shipped files, and plain caches."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

import aiohttp

from kit.cases import script
from kit.http import fetched
from kit.not_run import program
from kit.service import ROOT, environment, finished, free_port, started
from kit.time import eventually

Replaced = Mapping[str, str]
AS_SHIPPED: Replaced = MappingProxyType({})

Front = Callable[..., AbstractAsyncContextManager[str]]
"""A proxy in front of replicas: a folder, their addresses and what is `replaced` in its file → its own address.

Its answers say in X-Replica which replica answered.
"""

NGINX = script("nginx as a cache")
VARNISH = script("Varnish as a cache")


def shipped(name: str) -> str:
    """A file of deploy/."""
    return (ROOT / "deploy" / name).read_text("utf-8")


def changed(name: str, replaced: Replaced) -> str:
    """The same with each of these texts, which it must contain, replaced."""
    text = shipped(name)
    for before, after in replaced.items():
        assert before in text, before
        text = text.replace(before, after)
    return text


async def answers_with(url: str, path: str, status: int) -> bool:
    """Whether that address answers with this status."""
    try:
        return (await fetched(url + path)).status == status
    except aiohttp.ClientError:
        return False


@asynccontextmanager
async def haproxy(folder: Path, *replicas: str, replaced: Replaced = AS_SHIPPED) -> AsyncIterator[str]:
    """HAProxy, as compose.yaml has it."""
    port = free_port()
    servers = "\n".join(f"    server replica{n} {url.removeprefix('http://')}" for n, url in enumerate(replicas))
    own = {
        "    server-template replica 2 ratesvc:8080 resolvers docker init-addr none": servers
        + "\n    http-response set-header X-Replica %s",
        "bind :8080": f"bind 127.0.0.1:{port}",
    }
    config = folder / "haproxy.cfg"
    config.write_text(changed("haproxy.cfg", own | dict(replaced)), "utf-8")
    async with started(port, program("haproxy"), "-db", "-f", str(config), log=folder / "haproxy.log"):
        yield f"http://127.0.0.1:{port}"


@asynccontextmanager
async def caddy(
    folder: Path, *replicas: str, http_port: int = 0, named: bool = True, replaced: Replaced = AS_SHIPPED
) -> AsyncIterator[str]:
    """Caddy, for https://localhost, with a certificate of its own authority. `named` adds which replica answered."""
    port, addresses = free_port(), [url.removeprefix("http://") for url in replicas]
    ports = f"\thttp_port {http_port or free_port()}\n\thttps_port {port}\n"
    own = {"\n{\n": f"\n{{\n\tadmin off\n\tskip_install_trust\n\tdefault_bind 127.0.0.1\n{ports}"}
    if named:
        words = ["{rp.upstream.hostport}", *(f"{one} replica{n}" for n, one in enumerate(addresses))]
        own["(replicas) {\n"] = "(replicas) {\n" + "".join(f"\theader_down X-Replica {one}\n" for one in words)
    config = folder / "Caddyfile"
    config.write_text(changed("Caddyfile", own | dict(replaced)), "utf-8")
    given = {"XDG_DATA_HOME": str(folder), "DOMAIN": "localhost", "RATES": " ".join(addresses)}
    command = (program("caddy"), "run", "--config", str(config))
    url = f"https://localhost:{port}"
    async with started(port, *command, variables=environment(folder, **given), log=folder / "caddy.log"):
        await eventually(lambda: answers_with(url, "/health", 404))  # it has its certificate
        yield url


@asynccontextmanager
async def nginx(
    folder: Path, *replicas: str, port: int = 0, certificate: Path | None = None, replaced: Replaced = AS_SHIPPED
) -> AsyncIterator[str]:
    """nginx, which serves under a prefix, with TLS if it has a certificate."""
    port, hosts = port or free_port(), [url.removeprefix("http://") for url in replicas]
    names = "".join(f"~{host}$ replica{number}; " for number, host in enumerate(hosts))
    own = {
        "server REPLICA2": f"server {hosts[1]}" if hosts[1:] else "# REPLICA2",
        "REPLICA1": hosts[0],
        "listen 443 ssl": f"listen 127.0.0.1:{port}{' ssl' if certificate else ''}",
        "location /rates/ {": "location /rates/ { add_header X-Replica $replica always;",
        "ssl_certificate ": "ssl_certificate " if certificate else "# ",
        "ssl_certificate_key ": "ssl_certificate_key " if certificate else "# ",
        "/etc/ssl/rates": str(certificate),
    }
    text = changed("nginx.conf", own | dict(replaced))
    text = f"http {{ access_log off; map $upstream_addr $replica {{ {names} }}\n{text}\n}}"
    async with nginx_with(folder, text, port):
        yield f"{'https://localhost' if certificate else 'http://127.0.0.1'}:{port}/rates"


# Readers of the tests ask much more than these allow one address.
UNLIMITED: dict[str, Front] = {
    "haproxy": partial(haproxy, replaced={"gt 1000": "gt 1000000000"}),
    "caddy": caddy,
    "nginx": partial(nginx, replaced={"burst=600": "burst=1000000"}),
}


@asynccontextmanager
async def nginx_with(
    folder: Path, text: str, port: int, variables: Mapping[str, str] | None = None
) -> AsyncIterator[None]:
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
        running = nginx_with(folder, NGINX.format(folder=folder, port=port, origin=origin, lines=lines), port)
    else:
        running = varnish(folder, VARNISH.format(port=urlsplit(origin).port, lines=lines), port)
    async with running:
        yield f"http://127.0.0.1:{port}"


@asynccontextmanager
async def varnish(folder: Path, text: str, port: int) -> AsyncIterator[None]:
    """Varnish with these rules."""
    rules = folder / "rules.vcl"
    rules.write_text(text, "utf-8")
    command = (program("varnishd"), "-F", "-j", "none", "-a", f"127.0.0.1:{port}", "-f", str(rules))
    async with started(port, *command, "-n", str(folder / "n"), "-s", "malloc,16m"):
        yield
