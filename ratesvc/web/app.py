"""The HTTP server: every route of every room, one listener, an orderly end."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import structlog
from aiohttp import web

from ratesvc.render.widget import Site
from ratesvc.service import Service
from ratesvc.web import api, chart, compat, embed, events, home, ops, rate, reference, series
from ratesvc.web.express import Runner
from ratesvc.web.reply import answering, not_found, preflight, wrong_method

KEEP_ALIVE_S = 75.0
FINISH_S = 5.0
EVERYWHERE = ("127.0.0.1", "0.0.0.0", "::", "::1")  # noqa: S104 -- compared with, not bound to


def build(service: Service, site: Site) -> web.Application:
    """The application over one service; links begin with `site.public_url`."""
    # No middleware: a published body must cost as little as a file.
    app = web.Application(client_max_size=1)
    paths = {
        **api.routes(service),
        **series.routes(service),
        **chart.routes(service),
        **rate.routes(service, site),
        **events.routes(service, site),
        **embed.routes(service, site),
        **home.routes(service, site),
        **ops.routes(service),
        **reference.routes(service, site),
        **compat.routes(service, site),
    }
    bank = service.settings.cbr.host_names
    for path, handler in paths.items():
        app.router.add_get(path, answering(handler, service, bank if path.startswith(compat.BANK) else ()))
        app.router.add_route("OPTIONS", path, preflight)
        app.router.add_route("*", path, wrong_method)
    app.router.add_route("*", "/{anything:.*}", not_found)
    return app


@asynccontextmanager
async def listening(service: Service) -> AsyncIterator[str]:
    """Serve while the context lasts; yields the address to open. Raises OSError when the port is taken."""
    server = service.settings.server
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    listener = socket.create_server((server.host, server.port), family=family, backlog=1024)
    host = "localhost" if server.host in EVERYWHERE else server.host
    address = f"http://{host}:{listener.getsockname()[1]}"
    site = Site((server.public_url or address).rstrip("/"), service.demo)
    runner = Runner(
        build(service, site),
        service,
        access_log=None,
        keepalive_timeout=KEEP_ALIVE_S,
        shutdown_timeout=FINISH_S,
        handler_cancellation=True,  # who leaves a stream gives up the place in it at once
    )
    if not runner.is_express:
        structlog.get_logger("ratesvc").warning("express_path_off", aiohttp=aiohttp.__version__)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    try:
        yield address
    finally:
        service.drain()
        await runner.cleanup()
