"""What ours is compared with: plain aiohttp that sends finished bytes, and the service that asks Redis each time.

python bench/others.py plain|naive FOLDER PORT asyncio|uvloop [REDIS_SOCKET]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path

from aiohttp import web
from redis.asyncio import Redis

Handler = Callable[[web.Request], Awaitable[web.Response]]


def plain(folder: Path) -> Handler:
    """The file and headers of each target from a dictionary, as anyone would write it; 304 by its tag."""
    bodies = {path.stem: path.read_bytes() for path in folder.glob("*.body")}
    headers = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}

    async def answer(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        asked = headers[name]
        if asked["Etag"] in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers=asked)
        return web.Response(body=bodies[name], headers=asked)

    return answer


def naive(folder: Path, socket: str) -> Handler:
    """One document in Redis, read, understood and written anew for each request."""
    redis = Redis(unix_socket_path=socket)
    body = (folder / "identity.body").read_bytes()

    async def answer(_: web.Request) -> web.Response:
        stored = await redis.get("naive") or await _stored(redis, body)
        return web.json_response(json.loads(stored, parse_float=Decimal), dumps=_dumps)

    return answer


async def _stored(redis: Redis, body: bytes) -> bytes:
    await redis.set("naive", body)
    return body


def _dumps(document: object) -> str:
    return json.dumps(document, default=str)


def main(kind: str, folder: str, port: str, loop: str, socket: str = "") -> None:
    """Listen until ended."""
    app = web.Application()
    app.router.add_get("/{name}", naive(Path(folder), socket) if kind == "naive" else plain(Path(folder)))
    if loop == "uvloop":
        import uvloop  # noqa: PLC0415 -- one of the two contenders has it

        uvloop.install()
    web.run_app(app, host="127.0.0.1", port=int(port), access_log=None, print=None)


if __name__ == "__main__":
    main(*sys.argv[1:])
