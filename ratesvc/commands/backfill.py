"""`ratesvc backfill`: fetch all of history, or compare it with the Bank."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date

import click
import msgspec

from ratesvc.commands.running import follow, opened, require_data
from ratesvc.config import Settings
from ratesvc.domain.rates import FIRST_DAY
from ratesvc.errors import RatesvcError
from ratesvc.service.app import Service
from ratesvc.service.backfill import Progress


@dataclass(frozen=True, slots=True)
class Difference:
    """A day on which the held figures differ from the Bank's. None means no record, `held_back` not admitted."""

    code: str
    day: date
    held: str | None
    bank: str | None
    held_back: bool = False


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
        differences = await follow(differences_of(service), as_json=as_json)
    for found in differences:
        click.echo(msgspec.json.encode(found) if as_json else _in_words(found))
    if as_json:
        click.echo(msgspec.json.encode({"differences": len(differences)}))
    elif not differences:
        click.echo("No difference.")
    if differences:
        raise RatesvcError(f"{len(differences)} difference{'s' if len(differences) > 1 else ''}")


async def differences_of(service: Service) -> AsyncIterator[Progress | Difference]:
    """Ask for everything in the coverage again and report what differs. Nothing is changed."""
    coverage = service.history.coverage
    if coverage is None:
        raise RatesvcError("there is no complete history to verify yet; run a backfill first")
    columns = sorted(service.history.columns(), key=lambda column: column.currency.code)
    for number, column in enumerate(columns):
        currency = column.currency
        yield Progress(number, len(columns), f"{currency.code} ({currency.cbr_id})")
        await asyncio.sleep(service.settings.cbr.backfill_gap_seconds)
        records = await service.client.dynamic(currency.cbr_id, coverage.since, coverage.until)
        bank = {record.effective_date: f"{record.value} for {record.nominal}" for record in records}
        days = [day for ordinal in column.days if (day := date.fromordinal(ordinal)) in coverage]
        held = {day: f"{quote.value} for {quote.nominal}" for day in days if (quote := column.quote(day))}
        for day in sorted(held.keys() | bank.keys()):
            if held.get(day) != bank.get(day):
                yield Difference(currency.code, day, held.get(day), bank.get(day), day in coverage.unconfirmed)
    yield Progress(len(columns), len(columns), "nothing more")


def _in_words(found: Difference) -> str:
    if found.held_back:
        return f"{found.code} {found.day}: not admitted (ratesvc quarantine list), the Bank has {found.bank}"
    return f"{found.code} {found.day}: held {found.held or 'nothing'}, the Bank has {found.bank or 'nothing'}"
