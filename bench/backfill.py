"""A first start over the recorded figures of thirty years: what has findings, what is asked for, what it costs.

PYTHONPATH=.:tests:tests/web:tests/faults .venv/bin/python bench/backfill.py FOLDER

FOLDER holds history/ and catalog/ of the recorded documents. The Bank is a stand-in in this process that writes each
daily document from the same figures, so its own work is measured apart and taken off.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from admission import daily_only
from aiohttp import web
from fake_bank import Bank, bank_running
from recorded_history import Recorded

from ratesvc.config import Cbr, Settings
from ratesvc.service.app import Service


class TimedBank(Bank):
    """Counts the processor time of its own answers."""

    spent_s = 0.0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """As ever."""
        begun = time.process_time()
        try:
            return await super().answer(request)
        finally:
            self.spent_s += time.process_time() - begun


async def main(folder: Path) -> None:
    """Print the figures."""
    recorded = Recorded(folder)
    bank = TimedBank()
    for code, records in recorded.series.items():
        cbr_id, number = recorded.ids[code]
        bank.currencies[cbr_id] = (code, number, code)
        bank.series[cbr_id] = dict(daily_only(sorted(records.items())))
    now = datetime.combine(recorded.days[-1], datetime.min.time().replace(hour=9), UTC)
    async with bank_running(bank) as running:
        with tempfile.TemporaryDirectory() as data:
            settings = Settings(data_dir=data, cbr=Cbr(mirrors=(running.url,), backfill_gap_seconds=0))
            async with Service(settings, clock=lambda: now, scheduled=False) as service:
                begun, wall = time.process_time(), time.monotonic()
                steps = [progress async for progress in service.backfill()]
                spent, took = time.process_time() - begun - bank.spent_s, time.monotonic() - wall
                flags = Counter(flag for revision in service.history for flag in revision.flags)
                coverage = service.history.coverage
                assert coverage
                print(f"sheets held                    {len(service.history.days):>8,}")
                print(f"steps of the backfill          {len(steps):>8,}")
                print(f"series asked for               {len(bank.series_asked):>8,}")
                print(f"daily documents asked for      {len(bank.queries):>8,}")
                print(f"flagged and confirmed          {sum(bool(r.flags) for r in service.history):>8,}")
                for flag, count in flags.most_common():
                    print(f"  {flag:<28}{count:>8,}")
                print(f"days that stay unconfirmed     {len(coverage.unconfirmed):>8,}")
                print(f"processor time                 {spent:>8.1f} s, {took:.1f} s in all")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
