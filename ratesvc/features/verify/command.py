"""What `ratesvc verify` does: it asks the Bank for everything again, and can take what differs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from operator import attrgetter

import click
import msgspec

from ratesvc.commands.running import opened, progress_shown
from ratesvc.config import Settings
from ratesvc.errors import RatesvcError
from ratesvc.service.app import Service
from ratesvc.service.cycle import Cycle, OnStep, Progress


@dataclass(frozen=True, slots=True)
class Difference:
    """A day on which the held figures differ from the Bank's. None means no record."""

    code: str
    day: date
    held: str | None
    bank: str | None


async def verify(settings: Settings, *, repair: bool, as_json: bool, demo: bool) -> None:
    """Print what differs from the Bank; `repair` takes the Bank's sheets of these days, as far as they are admitted.

    Raises RatesvcError if anything differs in the end.
    """
    unrepaired: dict[date, str] = {}
    async with opened(settings, demo=demo, requires=True) as service:
        with progress_shown(as_json=as_json) as on_step:
            found = differences = await differences_of(service, on_step)
        if repair:
            for day in sorted({difference.day for difference in found}):
                cycle = await service.refresher.ask_without_lease(day)
                differences = [one for one in found if one.day == day and _is_left(one, service)]
                if differences:
                    unrepaired[day] = _why_left(differences, cycle)
            differences = [difference for difference in found if _is_left(difference, service)]
    for difference in differences:
        click.echo(msgspec.json.encode(difference) if as_json else _in_words(difference))
    for day, why in unrepaired.items():
        click.echo(msgspec.json.encode({"unrepaired": day, "why": why}) if as_json else f"{day} is not repaired: {why}")
    if as_json:
        click.echo(msgspec.json.encode({"differences": len(differences)}))
    elif not differences:
        click.echo(f"{_counted(found)} repaired." if found else "No difference.")
    if differences:
        raise RatesvcError(_counted(differences))


def _counted(differences: Sequence[Difference]) -> str:
    return f"{len(differences)} difference{'s' if len(differences) > 1 else ''}"


async def differences_of(service: Service, on_step: OnStep) -> list[Difference]:
    """Ask for all settled days again; returns what differs. Nothing is changed."""
    settled = service.history.settled
    if settled is None:
        raise RatesvcError("there is no complete history to verify yet; run a backfill first")
    columns = sorted(filter(attrgetter("days"), service.history.every_column()), key=attrgetter("currency.code"))
    found = []
    for number, column in enumerate(columns):
        currency = column.currency
        await on_step(Progress(number, len(columns), f"{currency.code} ({currency.cbr_id})"))
        await asyncio.sleep(service.settings.cbr.backfill_gap_seconds)
        records = await service.client.dynamic(currency.cbr_id, settled.since, settled.until)
        bank = {record.effective_date: _figure(record.nominal, record.value) for record in records}
        days = [day for ordinal in column.days if (day := date.fromordinal(ordinal)) in settled]
        held = {day: _figure(*record) for day in days if (record := column.record(day))}
        found += [
            Difference(column.named(day).code, day, held.get(day), bank.get(day))
            for day in sorted(held.keys() | bank.keys())
            if held.get(day) != bank.get(day)
        ]
    await on_step(Progress(len(columns), len(columns), "nothing more"))
    return found


def _is_left(difference: Difference, service: Service) -> bool:
    records = (column.record(difference.day) for column in service.history.columns(difference.code))
    return difference.bank != next((_figure(*record) for record in records if record), None)


def _why_left(differences: Sequence[Difference], cycle: Cycle) -> str:
    """Why the document of a day did not end its differences."""
    if cycle.failure:
        return str(cycle.failure)
    if held_back := next(iter(cycle.held_back.values()), None):
        return f"its document is held back: {held_back}"
    day = differences[0].day
    if all(difference.bank is None for difference in differences):
        return f"the Bank has no sheet of that day any more; ratesvc withdraw {day} takes ours back"
    return "the Bank's document says what is held, and its series do not"


def _figure(nominal: int, value: Decimal) -> str:
    return f"{value} for {nominal}"


def _in_words(difference: Difference) -> str:
    held = f"held {difference.held or 'nothing'}"
    return f"{difference.code} {difference.day}: {held}, the Bank has {difference.bank or 'nothing'}"
