"""Widgets of a day, and the points of their trend."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal

from conftest import Clock, Serve, Served
from kit.bank import Bank, sheet, silence
from kit.dates import DAYS, FRIDAY, NOON, THURSDAY, TUESDAY

from ratesvc.domain.rates import Revision
from ratesvc.render.language import NOTHING

WIDGET = "/widget/rows.json?codes=USD&lang=en"


async def test_a_widget_of_a_day_is_not_the_widget_of_today(served: Served, clock: Clock) -> None:
    """Both show Friday's sheet, but today's says that it is stale, whichever of them was asked for first."""
    clock.moment = datetime(2026, 4, 24, 21, 1, tzinfo=UTC)
    served.service.publish()
    dated, undated = [json.loads((await served.get(path))[2]) for path in (f"{WIDGET}&date=2026-04-24", WIDGET)]
    assert (dated["stale"], undated["stale"]) == (False, True)
    assert (dated.get("note", ""), "April 24, 2026" in undated["note"]) == ("", True)


async def test_a_sparkline_composes_no_sheet(bank: Bank, serve_whole: Serve) -> None:
    """Its points are read from a column. Only sheets of the shown day and of today are composed."""
    days = DAYS
    bank.publish(*map(sheet, days))
    async with serve_whole() as served:
        composed = served.service.history._latest  # noqa: SLF001 -- what it costs is to be seen
        composed.cache_clear()
        status, _, body = await served.get(f"{WIDGET}&spark=7&date={days[8]}")
        assert (status, bool(json.loads(body)["rows"][0]["points"])) == (200, True)
        assert composed.cache_info().currsize <= 5


async def test_a_sparkline_is_in_the_roubles_of_its_last_day(bank: Bank, serve_whole: Serve) -> None:
    """In January 1998 it begins in new roubles, because a thousandth of the number is no fall."""
    old = [date(1997, 12, day) for day in (24, 25, 26, 27, 30, 31)]
    new = [date(1998, 1, day) for day in (1, 6, 7, 8)]
    days = [*old, *new, THURSDAY, FRIDAY]
    bank.publish(*map(sheet, days))
    bank.series["R01235"] |= {day: (1, Decimal(5960)) for day in old}
    async with serve_whole(calendar={"extra_off": silence(*days)}) as served:
        _, _, body = await served.get(f"{WIDGET}&spark=30&date=1998-01-08")
        last = sheet(new[-1]).by_code["USD"].value
        assert json.loads(body)["rows"][0]["cells"][0] == f"from 5.9600 to {last:.4f}"
        _, _, body = await served.get(f"{WIDGET}&spark=30&date=1997-12-31")
        assert json.loads(body)["rows"][0]["cells"][0] == "from 5,960.0000 to 5,960.0000"


async def test_tomorrows_rates_have_no_change_if_a_sheet_before_them_may_be_missing(served: Served) -> None:
    """Tuesday's is announced without Saturday's. Neither the widget nor /v1/rates/next compares it with Friday's."""
    served.service.history.hold([Revision(sheet(TUESDAY), 1, NOON)])
    served.service.publish()
    rates = json.loads((await served.get("/v1/rates/next?codes=USD"))[2])["rates"]
    cells = json.loads((await served.get(f"{WIDGET}&columns=next,change"))[2])["rows"][0]["cells"]
    assert (rates["USD"]["change"], cells[1:]) == (None, [NOTHING])
