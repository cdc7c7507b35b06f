"""What ours is compared with: plain aiohttp that sends finished bytes.

python bench/others.py FOLDER PORT
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from aiohttp import web


def main(folder: str, port: str) -> None:
    """Send the file and headers of each target from a dictionary, as anyone would write it; 304 by its tag."""
    bodies = {path.stem: path.read_bytes() for path in Path(folder).glob("*.body")}
    headers = {path.stem: json.loads(path.read_text()) for path in Path(folder).glob("*.json")}

    async def answer(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        asked = headers[name]
        if asked["Etag"] in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers=asked)
        return web.Response(body=bodies[name], headers=asked)

    app = web.Application()
    app.router.add_get("/{name}", answer)
    web.run_app(app, host="127.0.0.1", port=int(port), access_log=None, print=None)


if __name__ == "__main__":
    main(*sys.argv[1:])
