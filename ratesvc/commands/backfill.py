"""`ratesvc backfill`: fetches all of history, later only what is missing."""

from __future__ import annotations

from datetime import date

import click
import msgspec

from ratesvc.commands.running import opened, progress_shown
from ratesvc.config import Settings
from ratesvc.domain.columns import Days
from ratesvc.domain.rates import FIRST_DAY
from ratesvc.errors import RatesvcError


async def backfill(settings: Settings, since: date | None, until: date | None, *, as_json: bool, demo: bool) -> None:
    """Fetch what is missing and print what is held. Raises RatesvcError."""
    async with opened(settings, demo=demo, creates=True) as service:
        place = f" in {service.engine.folder.path.resolve()}" if service.engine else ""
        with progress_shown(as_json=as_json) as on_step:
            await service.backfill(on_step, since or FIRST_DAY, until)
        history, settled = service.history, service.history.settled
    if settled is None:
        raise RatesvcError("the Bank has no sheets in that range")
    days = history.days
    missing = history.missing_days(Days(settled.since, days[-1]), days[-1])
    held = {"sheets": len(days), "since": settled.since, "until": days[-1], "unconfirmed": missing}
    which = f"all but {len(missing)} that are not confirmed (ratesvc quarantine list)" if missing else "every one"
    words = f"Held{place}: {len(days)} sheets, {which} from {settled.since} to {days[-1]}."
    click.echo(msgspec.json.encode(held) if as_json else words)
