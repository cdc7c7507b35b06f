"""Series, conversions and pictures of charts over HTTP where figures change. golden/answers.txt has all others."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from decimal import Decimal

from conftest import Serve
from kit.bank import Bank, sheet, silence
from kit.dates import FRIDAY, THURSDAY
from kit.sheets import all_times, changed

OLD, NEW = date(1997, 12, 31), date(1998, 1, 1)


async def test_the_first_revision_of_a_corrected_sheet_stays_readable(bank: Bank, serve_whole: Serve) -> None:
    """Every address has the correction, and with `revision` what was booked. While the day lasts that may change."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    value = str(sheet(FRIDAY).by_code["USD"].value)
    paths = ("rates/2026-04-24?codes=USD", "rates/2026-04-24/USD.txt?", "convert?from=USD&date=2026-04-24")
    async with serve_whole() as running:
        booked = [(await running.get(f"/v1/{path}"))[2] for path in paths]
        bank.publish(sheet(FRIDAY, shift=1))
        for _ in range(2):
            await running.service.poll()
        for path, before in zip(paths, booked, strict=True):
            assert value.encode() not in (await running.get(f"/v1/{path}"))[2]
            _, headers, body = await running.get(f"/v1/{path}&revision=1")
            assert (value.encode() in body, "immutable" in headers["Cache-Control"]) == (True, False)
            assert path.startswith("rates/2026-04-24?") or body == before
        assert json.loads((await running.get("/v1/series?codes=USD"))[2])["rows"][-1]["revision"] == 2


async def test_charts_are_in_new_roubles(bank: Bank, serve_whole: Serve) -> None:
    """A dollar costs 6,000 old roubles, and on the next day 6 new ones."""
    six = changed(sheet(NEW), USD=Decimal(6))
    bank.publish(sheet(FRIDAY), all_times(replace(six, effective_date=OLD), "1000"), six)
    days = f"since={OLD}&until={NEW}"
    async with serve_whole(calendar={"extra_off": silence(OLD, NEW, FRIDAY)}) as served:
        _, _, index = await served.get(f"/chart.svg?codes=RUB&quote_currency=USD&scale=indexed&{days}")
        assert b"December 31, 1997, last 100.0 on" in index
        assert b"(</span>0.00%<span>)" in (await served.get(f"/chart?codes=USD&{days}"))[2]


async def test_a_chart_of_far_apart_rates_starts_at_100_and_has_its_hosts_title(bank: Bank, serve_whole: Serve) -> None:
    """Unless its address asks for absolute lines. A title takes no control characters, which XML does not have.

    There are one to six lines.
    """
    bank.publish(sheet(FRIDAY))
    async with serve_whole() as served:
        target = "/chart.svg?codes=USD,KZT&since=2026-04-24&until=2026-04-24&title=This%20week"
        automatic, absolute = [(await served.get(target + more))[2].decode() for more in ("", "&scale=absolute")]
        seven = f"/chart.svg?codes={','.join(sorted(served.service.history.codes())[:7])}"
        for wrong in (f"{target}%07", seven):
            assert (await served.get(wrong))[0] == 400
    assert "Index, first day = 100" in automatic
    assert "RUB for one unit" in absolute
    assert "<title>This week. Index" in automatic
