"""What `ratesvc healthcheck` does. A container asks every few seconds, so this imports little."""

from __future__ import annotations

from http.client import HTTPConnection, HTTPException

import click
import msgspec

from ratesvc.config import Server
from ratesvc.errors import RatesvcError

TIMEOUT_S, MOST_BYTES, MOST_PRINTED = 3.0, 4096, 120
"""How long a health check waits, how much of the answer it reads, and how much of that it prints."""


def healthcheck(server: Server, *, as_json: bool) -> None:
    """Print what /livez answers. Raises RatesvcError if it is not 200."""
    url = f"{server.local_url()}/livez"
    status, answer = _ask(server.local_host, server.port)
    if as_json:
        click.echo(msgspec.json.encode({"url": url, "alive": status == 200, "status": status, "answer": answer}))
    elif status == 200:
        click.echo(answer)
    if status != 200:
        # It may be the page of another program.
        line = " ".join(answer.split())[:MOST_PRINTED]
        raise RatesvcError(f"no answer from {url}: {line}" if status is None else f"{url} answers {status}: {line}")


def _ask(host: str, port: int) -> tuple[int | None, str]:
    """Status and body; without a status the reason why there is no answer."""
    connection = HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/livez", headers={"Connection": "close"})
        response = connection.getresponse()
        return response.status, response.read(MOST_BYTES).decode(errors="replace").strip()
    except HTTPException:
        return None, "what answers there does not speak HTTP"
    except OSError as error:
        return None, str(error)
    finally:
        connection.close()
