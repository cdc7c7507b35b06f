"""`ratesvc backfill`: fetch all of history, or compare it with the Bank."""

from __future__ import annotations

from datetime import date

import click
import msgspec

from ratesvc.commands.running import follow, opened, require_data
from ratesvc.config import Settings
from ratesvc.domain.rates import FIRST_DAY
from ratesvc.errors import RatesvcError
from ratesvc.service.backfill import Difference


async def backfill(settings: Settings, since: date | None, until: date | None, *, as_json: bool, demo: bool) -> None:
    """Fetch what is missing and print what is held. Raises RatesvcError."""
    async with opened(settings, demo=demo, creates=True) as service:
        place = f" in {service.data_dir.resolve()}" if service.engine else ""
        await follow(service.backfill(since or FIRST_DAY, until), as_json=as_json)
        coverage, count = service.history.coverage, len(service.history.days)
    if coverage is None:
        raise RatesvcError("the Bank has no sheets in that range")
    held = {"sheets": count, "since": coverage.since, "until": coverage.until, "unconfirmed": coverage.unconfirmed}
    waiting = len(coverage.unconfirmed)
    which = f"all but {waiting} that wait (ratesvc quarantine list)" if waiting else "every one"
    words = f"Held{place}: {count} sheets, {which} from {coverage.since} to {coverage.until}."
    click.echo(msgspec.json.encode(held) if as_json else words)


async def verify(settings: Settings, *, as_json: bool, demo: bool) -> None:
    """Print what differs from the Bank. Raises RatesvcError if anything does."""
    require_data(settings, demo=demo)
    async with opened(settings, demo=demo) as service:
        differences = await follow(service.verify(), as_json=as_json)
    for found in differences:
        click.echo(msgspec.json.encode(found) if as_json else _in_words(found))
    if as_json:
        click.echo(msgspec.json.encode({"differences": len(differences)}))
    elif not differences:
        click.echo("No difference.")
    if differences:
        raise RatesvcError(f"{len(differences)} difference{'s' if len(differences) > 1 else ''}")


def _in_words(found: Difference) -> str:
    if found.held_back:
        return f"{found.code} {found.day}: not admitted (ratesvc quarantine list), the Bank has {found.bank}"
    return f"{found.code} {found.day}: held {found.held or 'nothing'}, the Bank has {found.bank or 'nothing'}"
