"""`ratesvc backfill`: all of history, fetched or compared."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import click
import msgspec

from ratesvc.commands.progress import follow
from ratesvc.commands.running import opened
from ratesvc.config import Settings
from ratesvc.domain.columns import Coverage
from ratesvc.domain.rates import FIRST_DAY
from ratesvc.errors import RatesvcError
from ratesvc.service.backfill import Difference


@dataclass(frozen=True, slots=True)
class BackfillOptions:
    """What the command line says."""

    since: date | None
    until: date | None
    as_json: bool
    demo: bool


async def backfill(settings: Settings, asked: BackfillOptions) -> None:
    """Fetch what is lacking and say what is held. Raises RatesvcError."""
    async with opened(settings, demo=asked.demo) as service:
        await follow(service.backfill(asked.since or FIRST_DAY, asked.until), as_json=asked.as_json)
        coverage, count = service.history.coverage, len(service.history.days)
        if coverage is None:
            raise RatesvcError("the Bank has no sheets in that range")
        if asked.as_json:
            held = {
                "sheets": count,
                "since": coverage.since,
                "until": coverage.until,
                "unconfirmed": coverage.unconfirmed,
            }
            click.echo(msgspec.json.encode(held))
        else:
            click.echo(f"Held: {count} sheets, {_which(coverage)} from {coverage.since} to {coverage.until}.")


async def verify(settings: Settings, asked: BackfillOptions) -> None:
    """Print what differs from the Bank. Raises RatesvcError where anything does."""
    async with opened(settings, demo=asked.demo) as service:
        differences = await follow(service.verify(), as_json=asked.as_json)
        for found in differences:
            click.echo(msgspec.json.encode(found) if asked.as_json else _in_words(found))
        if asked.as_json:
            click.echo(msgspec.json.encode({"differences": len(differences)}))
        elif not differences:
            click.echo("No difference.")
        if differences:
            raise RatesvcError(f"{len(differences)} differences")


def _which(coverage: Coverage) -> str:
    if not coverage.unconfirmed:
        return "every one"
    return f"all but {len(coverage.unconfirmed)} that wait (ratesvc quarantine list)"


def _in_words(found: Difference) -> str:
    if found.held_back:
        return f"{found.code} {found.day}: not admitted (ratesvc quarantine list), the Bank has {found.bank}"
    return f"{found.code} {found.day}: held {found.held or 'nothing'}, the Bank has {found.bank or 'nothing'}"
