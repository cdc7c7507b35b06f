"""`ratesvc backfill`: fetches all of history, later only what is missing."""

from __future__ import annotations

from datetime import date

import click
import msgspec

from ratesvc.commands.running import opened, progress_shown
from ratesvc.config import Settings
from ratesvc.domain.rates import FIRST_DAY
from ratesvc.errors import RatesvcError


async def backfill(settings: Settings, since: date | None, until: date | None, *, as_json: bool, demo: bool) -> None:
    """Fetch what is missing and print what is held. Raises RatesvcError."""
    async with opened(settings, demo=demo, creates=True) as service:
        place = f" in {service.engine.folder.path.resolve()}" if service.engine else ""
        with progress_shown(as_json=as_json) as on_step:
            await service.backfill(on_step, since or FIRST_DAY, until)
        coverage, count = service.history.coverage, len(service.history.days)
    if coverage is None:
        raise RatesvcError("the Bank has no sheets in that range")
    held = {"sheets": count, "since": coverage.since, "until": coverage.until, "unconfirmed": coverage.open_days}
    waiting = len(coverage.open_days)
    which = f"all but {waiting} that wait (ratesvc quarantine list)" if waiting else "every one"
    words = f"Held{place}: {count} sheets, {which} from {coverage.since} to {coverage.until}."
    click.echo(msgspec.json.encode(held) if as_json else words)
