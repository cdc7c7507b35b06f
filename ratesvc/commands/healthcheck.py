"""Whether the service on this machine lives. A container asks every few seconds, so this imports next to nothing."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import click
import msgspec

from ratesvc.commands.settings import settings
from ratesvc.config import Server
from ratesvc.errors import RatesvcError

TIMEOUT_S = 3.0
MOST_BYTES = 4096
LONGEST_SAID = 120


def healthcheck(file: Path | None, *, as_json: bool) -> None:
    """Print what /livez answers. Raises RatesvcError where that is not 200, or nothing."""
    host, port = _where(settings(file).server)
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}/livez"
    try:
        status, answer = _ask(host, port)
    except OSError as error:
        status, answer = None, str(error)
    if as_json:
        click.echo(msgspec.json.encode({"url": url, "alive": status == 200, "status": status, "answer": answer}))
    elif status == 200:
        click.echo(answer)
    if status != 200:
        # What answers there may be another program, with a page of its own.
        said = " ".join(answer.split())[:LONGEST_SAID]
        raise RatesvcError(f"no answer from {url}: {said}" if status is None else f"{url} answers {status}: {said}")


def _where(server: Server) -> tuple[str, int]:
    port = server.port if server.admin_port is None else server.admin_port
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- compared with
    return everywhere.get(server.host, server.host), port


def _ask(host: str, port: int) -> tuple[int | None, str]:
    """Status and body; without a status the answer is no HTTP. By hand: http.client would cost a fifth of the whole."""
    with socket.create_connection((host, port), TIMEOUT_S) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        text = connection.makefile("rb").read(MOST_BYTES).decode(errors="replace")
    head, _, body = text.partition("\r\n\r\n")
    found = re.match(r"HTTP/1\.[01] ([0-9]{3})\b", head)
    return (int(found[1]), body.strip()) if found else (None, "what answers there does not speak HTTP")
