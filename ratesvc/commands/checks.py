"""`ratesvc healthcheck` and `ratesvc serve --check-config`: quick, because they import neither service nor loop."""

from __future__ import annotations

import os
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import click
import msgspec

from ratesvc.config import Settings, load
from ratesvc.errors import ConfigError, RatesvcError

TIMEOUT_S = 3.0
MOST_BYTES = 4096
MOST_PRINTED = 120


def check_config(file: Path | None, *, as_json: bool) -> None:
    """Print whether the settings are right. Raises ConfigError if they are not."""
    try:
        load(file, os.environ)
    except ConfigError as error:
        if as_json:
            click.echo(msgspec.json.encode({"right": False, "error": str(error)}))
        raise
    click.echo(msgspec.json.encode({"right": True}) if as_json else "The settings are right.")


def healthcheck(settings: Settings, *, as_json: bool) -> None:
    """Print what /livez of the service on this machine answers. Raises RatesvcError if that is not 200."""
    server = settings.server
    port = server.port if server.admin_port is None else server.admin_port
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(server.host, server.host)  # noqa: S104 -- compared with
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}/livez"
    status, answer = _ask(host, port)
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
