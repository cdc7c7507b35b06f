"""The HTTP server: all routes, one listener or two, an orderly end."""

from __future__ import annotations

import re
import socket
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import structlog
from aiohttp import web

from ratesvc.config import Server
from ratesvc.render.openapi import Site
from ratesvc.service.app import Service
from ratesvc.web import fast_path, features, probes, problems, rates
from ratesvc.web.connections import accepting
from ratesvc.web.responses import Handler, Respond, answering, counted, remembered

EVERYWHERE = ("127.0.0.1", "0.0.0.0", "::", "::1")  # noqa: S104 -- compared with, not bound to


def build(service: Service, public_url: str, probed: Collection[str] = probes.PATHS) -> web.Application:
    """The service, its features and these probes; links begin with `public_url`. Raises ConfigError."""
    configured = service.settings.server.public_url.rstrip("/")
    site = Site(public_url, service.demo, service.settings.features, configured)
    on = features.load(site.features)
    # A feature may read all handlers when it answers, as /docs does for its examples, so they are filled in place.
    paths = on.handlers
    paths |= rates.routes(service)
    for feature in on.on:
        paths |= feature.routes(service, site, on)
    foreign = {path for feature in on.on for path in feature.proxied}
    others = [partial(feature.not_found, site) for feature in on.on if feature.not_found]
    probing = {path: handler for path, handler in probes.routes(service).items() if path in probed}
    return _application(service, public_url, {**paths, **probing}, foreign, *others)


def _application(
    service: Service,
    public_url: str,
    paths: Mapping[str, Handler],
    foreign: Collection[str] = (),
    not_found: Respond = problems.not_found,
) -> web.Application:
    # No middleware: a published body must cost as little as a file.
    app = web.Application(client_max_size=1)
    own, bank = {urlsplit(public_url).hostname or ""}, set(service.settings.cbr.host_names)
    for path, handler in paths.items():
        answer = counted(answering(handler, service, path, own | bank if path in foreign else own), service, path)
        # No redirect for a trailing slash: spreadsheets and scripts that do not follow it would fail. Probes have one
        # spelling, because front ends hide /health and /metrics by their exact addresses.
        has_twin = not path.endswith("/") and f"{path}/" not in paths and path not in probes.PATHS
        for ending in ("", "/") if has_twin else ("",):
            app.router.add_route("*", pattern_of(path) + ending, answer)
    app.router.add_route("*", "/{anything:(?s:.*)}", counted(not_found, service, "none"))
    return app


def pattern_of(path: str) -> str:
    """The path for aiohttp: the folder and name of a script .asp in any case, as Windows servers match it."""
    prefix, *script = path.rsplit("/", 2)
    return f"{prefix}/{{script:(?i:{re.escape('/'.join(script))})}}" if path.endswith(".asp") else path


@asynccontextmanager
async def listening(service: Service) -> AsyncIterator[str]:
    """Serve while the context lasts; yields the address to open. Raises OSError when a port is taken."""
    server, died = service.settings.server, service.telemetry.task_died
    service.telemetry.metrics.gauges.append(partial(probes.gauges, service))
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(_bound(server, server.port))
        address = _address(server, listener)
        public_url = (server.public_url or address).rstrip("/")
        if server.admin_port is None:
            app = build(service, public_url)
        else:
            app = build(service, public_url, probes.PROBES)
            admin = stack.enter_context(_bound(server, server.admin_port))
            service.admin_url = _address(server, admin)
            probing = _application(service, public_url, probes.routes(service))
            await stack.enter_async_context(accepting(probing, admin, died=died))
        await stack.enter_async_context(accepting(app, listener, **_shortcuts(service), died=died))
        stack.callback(service.drain)
        yield address


def _shortcuts(service: Service) -> dict[str, Any]:
    """The shortcuts of remembered answers past their routes. Routes write the access log, so with it there are none."""
    if service.settings.log.access:
        return {}
    if not fast_path.is_known():
        structlog.get_logger("ratesvc").warning("fast_path_off", aiohttp=aiohttp.__version__)
        return {"recall": partial(remembered, service)}
    return {"recall": partial(remembered, service), "install": partial(fast_path.install, service)}


def _address(server: Server, listener: socket.socket) -> str:
    port = listener.getsockname()[1]
    return f"http://localhost:{port}" if server.host in EVERYWHERE else server.local_url(port)


def _bound(server: Server, port: int) -> socket.socket:
    """A socket that does not listen yet. A proxy would take a port that listens and does not answer for a hung replica.

    Raises OSError.
    """
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    bound = socket.socket(family)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if server.reuse_port:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET6:
        # :: is every address of the machine, of both kinds.
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, server.host != "::")
    try:
        bound.bind((server.host, port))
    except OSError as error:
        bound.close()
        settings = "RATESVC_HOST, RATESVC_PORT and RATESVC_ADMIN_PORT set the address"
        raise OSError(error.errno, f"{error.strerror}: {server.host}, port {port}; {settings}") from None
    return bound
