"""Whether the service on this machine lives. A container asks every few seconds, so this imports next to nothing."""

from __future__ import annotations

from http.client import HTTPConnection, HTTPException
from pathlib import Path

import click
import msgspec

from ratesvc.commands.settings import settings
from ratesvc.config import Server
from ratesvc.errors import RatesvcError

TIMEOUT_S = 3.0


def healthcheck(file: Path | None, *, as_json: bool) -> None:
    """Print what /livez answers. Raises RatesvcError where that is not 200, or nothing."""
    host, port = _where(settings(file).server)
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}/livez"
    try:
        status, answer = _ask(host, port)
    except (OSError, HTTPException) as error:
        status, answer = None, f"no answer from {url}: {error}"
    if as_json:
        click.echo(msgspec.json.encode({"url": url, "alive": status == 200, "status": status, "answer": answer}))
    elif status == 200:
        click.echo(answer)
    if status != 200:
        raise RatesvcError(answer if status is None else f"{url} answers {status}: {answer}")


def _where(server: Server) -> tuple[str, int]:
    port = server.port if server.admin_port is None else server.admin_port
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- compared with
    return everywhere.get(server.host, server.host), port


def _ask(host: str, port: int) -> tuple[int, str]:
    connection = HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/livez")
        answer = connection.getresponse()
        return answer.status, answer.read(1000).decode(errors="replace").strip()
    finally:
        connection.close()
