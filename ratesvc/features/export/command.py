"""What `ratesvc export` does. The files are for a site that runs no Python and copies a folder."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import aiohttp
import click
import msgspec

from ratesvc.commands.running import opened
from ratesvc.config import Settings
from ratesvc.domain.workdays import moscow_day
from ratesvc.errors import FetchFailed, RatesvcError
from ratesvc.features.files import replace_file
from ratesvc.render.json import PROBLEM_JSON
from ratesvc.service.app import Service
from ratesvc.web import features
from ratesvc.web.server import listening


async def export(settings: Settings, folder: Path, *, as_json: bool, demo: bool) -> None:
    """Fetch today's sheet if it is not held, write the files, print how many. Raises RatesvcError, OSError."""
    server = msgspec.structs.replace(settings.server, host="127.0.0.1", port=0, admin_port=None)
    async with opened(msgspec.structs.replace(settings, server=server), demo=demo) as service:
        is_held = service.history.certain_on(moscow_day(service.clock())) is not None
        if not is_held and (failure := (await service.refresher.ask_without_lease()).failure):
            raise failure
        counts, refusals = await _write_files(service, folder)
    if as_json:
        click.echo(msgspec.json.encode({"folder": str(folder), **counts, "kept": len(refusals)}))
    else:
        click.echo(f"{folder}: {', '.join(f'{count} {outcome}' for outcome, count in counts.items())}")
    if refusals:
        raise RatesvcError(f"{len(refusals)} files were left as they are, the first because {refusals[0]}")


async def _write_files(service: Service, folder: Path) -> tuple[dict[str, int], list[str]]:
    """Write every file of `_pages` into the folder; an answer of 404 removes its file. Raises OSError.

    Returns how many files were written, unchanged and removed, and why the other files were left as they are.
    """
    counts = {"written": 0, "unchanged": 0, "removed": 0}
    refusals = []
    # The answers come over the service's own listener, so that their bytes are the same.
    async with listening(service) as url, aiohttp.ClientSession(headers={"Accept-Encoding": "identity"}) as http:
        await _ask_for_figures(service)
        for path, name in _pages(service):
            async with http.get(url + path) as answer:
                body = await answer.read()
            if answer.status in (HTTPStatus.OK, HTTPStatus.NOT_FOUND):
                counts[replace_file(folder / name, body if answer.ok else None)] += 1
            else:
                is_problem = answer.content_type == PROBLEM_JSON
                why = msgspec.json.decode(body)["detail"] if is_problem else answer.reason
                refusals.append(f"{path} is answered by {answer.status}: {why}")
    return counts, refusals


async def _ask_for_figures(service: Service) -> None:
    """Take what Redis has of features' own figures, and ask the Bank for what is missing."""
    await service.tick()
    now = service.clock()
    for figures in service.figures.values() if not service.demo else ():
        if figures.is_stale(service.history.calendar, moscow_day(now)):
            try:
                await figures.fetch(service.client, now)
            except FetchFailed as failure:  # an old figure says that it is stale, and without one there is no file
                service.telemetry.figures_failed(figures.name, failure)
    await service.tick()


def _pages(service: Service) -> Iterator[tuple[str, str]]:
    """Each address and its file."""
    yield "/v1/rates", "rates.json"
    yield "/v1/rates/next", "rates-next.json"
    yield "/v1/currencies", "currencies.json"
    for feature in features.load(service.settings.features).on:
        yield from feature.exports(service)
