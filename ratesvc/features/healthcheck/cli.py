"""`ratesvc healthcheck`. A container asks every few seconds, so it imports little, and only when it runs."""

from __future__ import annotations

from pathlib import Path

import click

from ratesvc.commands.options import json_option, settings_of

TIMEOUT_S, MOST_BYTES, MOST_PRINTED = 3.0, 4096, 120
"""How long a health check waits, how much of the answer it reads, and how much of that it prints."""


@click.command("healthcheck")
@click.option("--ready", "is_ready", is_flag=True, help="Ask /readyz: whether it has rates and is not about to stop.")
@json_option("The result as JSON: the address, its answer, and whether the service is alive, or ready.")
@click.pass_obj
def command(file: Path | None, *, is_ready: bool, as_json: bool) -> None:
    """Ask /livez of the service on this machine; for containers."""
    import msgspec

    from ratesvc.errors import RatesvcError

    server = settings_of(file).server
    path, is_what = ("/readyz", "ready") if is_ready else ("/livez", "alive")
    url = f"{server.local_url()}{path}"
    status, answer = _ask(server.local_host, server.port, path)
    if as_json:
        click.echo(msgspec.json.encode({"url": url, is_what: status == 200, "status": status, "answer": answer}))
    elif status == 200:
        click.echo(answer)
    if status != 200:
        # It may be the page of another program.
        line = " ".join(answer.split())[:MOST_PRINTED]
        raise RatesvcError(f"no answer from {url}: {line}" if status is None else f"{url} answers {status}: {line}")


def _ask(host: str, port: int, path: str) -> tuple[int | None, str]:
    """Status and body; without a status the reason why there is no answer."""
    from http.client import HTTPConnection, HTTPException

    connection = HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        response = connection.getresponse()
        return response.status, response.read(MOST_BYTES).decode(errors="replace").strip()
    except HTTPException:
        return None, "what answers there does not speak HTTP"
    except OSError as error:
        return None, str(error)
    finally:
        connection.close()
