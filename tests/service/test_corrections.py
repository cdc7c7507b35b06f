"""The last week is never final: what the Bank corrects, or sets late, is served and announced, whatever was missed."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta

import pytest
from conftest import Clock, Serve, Served, eventually, stored
from kit.bank import Bank, workdays
from kit.dates import DAYS, SATURDAY, THURSDAY, TUESDAY
from kit.sheets import OF_THE_BANK, changed, plausible, ranges_name, times, zloty

from ratesvc.config import Settings
from ratesvc.domain.workdays import ONE_DAY
from ratesvc.errors import RatesvcError
from ratesvc.features.verify.command import verify
from ratesvc.storage.store import Store

pytestmark = [pytest.mark.nightly, pytest.mark.settles_after_a_week, pytest.mark.usefixtures("every_sheet")]


def corrects(bank: Bank, day: date, factor: str = "1.01") -> str:
    """The Bank corrects its sheet; returns the new price of the dollar."""
    right = changed(plausible(day), PLN=times(factor))
    bank.publish(right)
    return str(right.by_code["PLN"].unit_rate)


async def poll_twice(served: Served) -> None:
    """The first poll notices a correction, the second confirms it."""
    for _ in range(2):
        await served.service.poll()


async def test_a_restored_backup_gets_its_corrections_back(
    bank: Bank, settings: Settings, serve: Serve, serve_whole: Serve, store: Store, clock: Clock
) -> None:
    """A correction that was served is not in it. Those of older days come with `verify --repair`."""
    async with serve_whole() as first:
        corrected = corrects(bank, THURSDAY), corrects(bank, DAYS[5]), corrects(bank, DAYS[7])
        clock.advance(days=1)
        await poll_twice(first)
        assert (await zloty(first, THURSDAY))[:2] == (corrected[0], 2)
    client = store.connection.client
    await client.hdel(f"{{{settings.redis.namespace}}}:v2:sheets", f"{THURSDAY}.2")
    async with serve() as restored:
        await restored.ready()
        await poll_twice(restored)
        assert (await zloty(restored, THURSDAY))[:2] == (corrected[0], 2)
        assert (await restored.get(f"/v1/rates/{THURSDAY}?revision=2"))[0] == 200
        with pytest.raises(RatesvcError, match="2 differences"):
            await verify(settings, repair=False, as_json=False, demo=False)
        await verify(settings, repair=True, as_json=False, demo=False)
        await eventually(lambda: restored.held(DAYS[5]).number == 2)
        await eventually(lambda: restored.held(DAYS[7]).number == 2)
        for day, right in zip((DAYS[5], DAYS[7]), corrected[1:], strict=True):
            assert (await zloty(restored, day))[:2] == (right, 2)
    corrects(bank, DAYS[9])
    await verify(settings, repair=True, as_json=False, demo=False)
    assert [one.number for one in await stored(store) if one.effective_date == DAYS[9]] == [1, 2]


async def test_a_day_that_is_never_confirmed_stops_no_range(bank: Bank, held: Served, clock: Clock) -> None:
    """A slip of one day that nobody corrects. All later sheets are admitted: only its own day is missing."""
    wrong = SATURDAY
    bank.publish(plausible(wrong))
    bank.documents[wrong] = b"<html>maintenance</html>"
    for day in workdays(TUESDAY, 3):
        clock.moment = datetime(day.year, day.month, day.day, 9, tzinfo=UTC) - ONE_DAY + timedelta(hours=5)
        bank.publish(plausible(day))
        await held.service.poll()
        await eventually(lambda day=day: held.service.history.of_date(day))  # type: ignore[misc]
        await eventually(lambda: held.lacking == [wrong] and not held.service.backfilling)
        clock.moment += timedelta(hours=10)
        held.service.publish()
        await ranges_name(wrong, held, day)
        assert (await held.get(OF_THE_BANK.format(wrong, wrong)))[0] == 503
        assert (await held.get("/cbr-xml-daily/daily_json.js"))[0] == 200
        assert (await held.get(f"/v1/rates/{wrong}"))[0] == 503
        assert (await held.get(f"/v1/rates/{day}"))[0] == 200
    assert json.loads((await held.get(f"/v1/series?codes=USD&until={wrong}"))[2])["unconfirmed"] == [str(wrong)]
