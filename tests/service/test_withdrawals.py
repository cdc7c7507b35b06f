"""A sheet that the Bank takes back is said, and one that a person withdraws does not come back by itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from conftest import Clock, Served, eventually, stored
from kit.bank import Bank
from kit.dates import EVENING, FRIDAY, SATURDAY, THURSDAY
from kit.http import knows, reading
from kit.sheets import changed, plausible, times, zloty
from structlog.testing import capture_logs

from ratesvc.config import Settings
from ratesvc.domain.rates import WITHDRAWAL, Revision, Sheet
from ratesvc.errors import RatesvcError
from ratesvc.features.verify.command import verify
from ratesvc.service import decisions
from ratesvc.service.schedule import next_poll_s
from ratesvc.storage.store import Store

pytestmark = pytest.mark.slow


async def published(bank: Bank, served: Served, clock: Clock, sheet: Sheet) -> None:
    """The sheet is held, as on the evening before Saturday."""
    clock.moment = EVENING
    bank.publish(sheet)
    for _ in range(2):
        await served.service.poll()
    assert served.held(sheet.effective_date).sheet.says_the_same_as(sheet)


async def withdraw(served: Served, day: date) -> None:
    refresher = served.service.refresher
    await decisions.publish(refresher, decisions.withdrawal(refresher, day))


@pytest.mark.parametrize("day", [SATURDAY, FRIDAY, THURSDAY])
async def test_a_sheet_that_the_bank_takes_back_is_said(bank: Bank, held: Served, clock: Clock, day: date) -> None:
    """Two answers lack it: log, health and metric name it until the Bank has it again. It stays in force meanwhile."""
    await published(bank, held, clock, plausible(SATURDAY))
    clock.advance(hours=16)
    bank.takes_back(day)
    with capture_logs() as logged:
        await held.service.poll()
        assert held.service.refresher.absences.taken_back == []
        assert held.service.health()["cbr:sheet"]["status"] == "pass"
        await held.service.poll()
        await held.service.poll()
    [said] = [line for line in logged if line["event"] == "sheet_taken_back"]
    assert (said["effective_date"], said["hint"]) == (str(day), f"ratesvc withdraw {day}")
    check = held.service.health()["cbr:sheet"]
    assert (check["status"], str(day) in check["output"]) == ("warn", True)
    assert (await held.samples())["ratesvc_sheets_taken_back"] == "1.0"
    assert held.held(day)
    bank.publish(plausible(day))
    clock.advance(hours=1)
    await held.service.poll()
    assert (await held.samples())["ratesvc_sheets_taken_back"] == "0.0"
    assert held.service.health()["cbr:sheet"]["status"] == "pass"


@pytest.mark.usefixtures("told_soon")
async def test_a_withdrawn_correction_gives_way_to_the_revision_before(
    bank: Bank, held: Served, clock: Clock, store: Store
) -> None:
    """Readers of events are told of a revision with the earlier figures. golden/backfill.txt has what happens then."""
    await published(bank, held, clock, plausible(SATURDAY))
    right, _, _ = await zloty(held, FRIDAY)
    await eventually(lambda: knows(held.url, str(SATURDAY)))
    await published(bank, held, clock, changed(plausible(FRIDAY), PLN=times("1.01")))
    wrong, number, _ = await zloty(held, FRIDAY)
    assert (number, right != wrong) == (2, True)
    await eventually(lambda: knows(held.url, f"{FRIDAY}.2"))
    async with reading(held.url) as reader:
        withdrawal = decisions.withdrawal(held.service.refresher, FRIDAY)
        await held.service.schedule.stop()  # a heartbeat would load it
        await store.add([replace(withdrawal, flags=())])
        with pytest.raises(RatesvcError, match=f"revision 3 of the sheet of {FRIDAY} has come meanwhile"):
            await decisions.publish(held.service.refresher, withdrawal)
        await store.connection.client.hdel(f"{{{held.service.settings.redis.namespace}}}:v2:sheets", f"{FRIDAY}.3")
        await withdraw(held, FRIDAY)
        assert await zloty(held, FRIDAY) == (right, 3, str(FRIDAY))
        await reader.receives(1)
        assert reader.received == [("revision", str(FRIDAY), 3)]
    assert (await held.get(f"/v1/rates/{FRIDAY}?revision=2&codes=PLN"))[2].count(wrong.encode())
    assert [one.number for one in await stored(store) if one.effective_date == FRIDAY] == [1, 2, 3]


@pytest.mark.usefixtures("told_soon")
async def test_a_withdrawn_sheet_leaves_its_day_to_the_sheet_before(bank: Bank, held: Served, clock: Clock) -> None:
    """Tomorrow's sheet goes. If the Bank has other figures later, two documents that agree bring them."""
    await published(bank, held, clock, plausible(SATURDAY))
    await eventually(lambda: knows(held.url, str(SATURDAY)))
    async with reading(held.url) as reader:
        bank.takes_back(SATURDAY)
        with capture_logs() as logged:
            await withdraw(held, SATURDAY)
        assert [line["event"] for line in logged if line.get("revision") == 2] == ["sheet_withdrawn"]
        assert (await held.get("/v1/rates/next"))[0] == 404
        assert (await held.get(f"/v1/rates/{SATURDAY}?revision=2"))[0] == 404
        await reader.receives(1)
        assert [kind for kind, *_ in reader.received] == ["reset"]
        async with reading(held.url, reader.last_id) as again:
            for _ in range(2):
                await held.service.poll()
            assert held.service.health()["cbr:sheet"]["status"] == "pass"
            other = changed(plausible(SATURDAY), PLN=times("1.01"))
            bank.publish(other)
            await held.service.poll()
            assert held.service.history.of_date(SATURDAY) is None
            await held.service.poll()
            await again.receives(1)
            assert again.received == [("revision", str(SATURDAY), 3)]
    assert await zloty(held, SATURDAY) == (str(other.by_code["PLN"].unit_rate), 3, str(SATURDAY))


async def test_after_a_withdrawal_the_bank_is_asked_at_once(bank: Bank, held: Served) -> None:
    """It says whether the day has another sheet."""
    bank.asked.clear()
    await withdraw(held, THURSDAY)
    await eventually(lambda: bank.asked)


async def test_a_withdrawal_that_the_bank_goes_on_contradicting_costs_few_requests(
    bank: Bank, held: Served, clock: Clock
) -> None:
    """It was 1,500 a day: a poll every three minutes, and after each a request for the withdrawn day."""
    bank.publish(plausible(SATURDAY))
    await withdraw(held, THURSDAY)
    await held.service.poll()
    bank.asked.clear()
    ends = clock.moment + timedelta(days=1)
    while clock.moment < ends:
        await held.service.poll()
        cycle = held.service.telemetry.last_cycle
        assert cycle
        clock.advance(seconds=next_poll_s(held.service.history, clock(), None, cycle, 0))
    assert len(bank.asked) < 150


async def test_verify_names_what_it_cannot_repair(
    bank: Bank, settings: Settings, held: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    """A day that the Bank no longer has. After the withdrawal nothing differs."""
    bank.takes_back(THURSDAY)
    with pytest.raises(RatesvcError, match="differences"):
        await verify(settings, repair=True, as_json=False, demo=False)
    out = capsys.readouterr().out
    assert out.count(f"{THURSDAY} is not repaired: the Bank has no sheet of that day any more; ratesvc withdraw") == 1
    await withdraw(held, THURSDAY)
    await held.service.poll()
    await eventually(lambda: not held.lacking)
    await verify(settings, repair=True, as_json=False, demo=False)
    assert capsys.readouterr().out.endswith("No difference.\n")
    assert (await zloty(held, THURSDAY))[2] == "2026-04-22"


async def test_a_withdrawal_that_comes_while_the_bank_is_asked_stays(
    bank: Bank, held: Served, store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A neighbour writes the sheet and its withdrawal before this replica stores its sheet.

    Tuesday's sheet is missing, so the Bank gives Saturday's for that day, too.
    """
    clock.moment = EVENING + timedelta(days=4)
    bank.publish(plausible(SATURDAY))
    put = held.service.store.put

    async def put_later(*given: Any) -> Any:
        first = Revision(plausible(SATURDAY), 1, clock.moment - timedelta(hours=2))
        await store.add([first, Revision(Sheet(SATURDAY, ()), 2, clock.moment - timedelta(hours=1), (WITHDRAWAL,))])
        return await put(*given)

    with monkeypatch.context() as patch:
        patch.setattr(held.service.store, "put", put_later)
        await held.service.poll()
    for _ in range(2):
        await held.service.store.release_leases()
        await held.service.poll()
    assert held.service.history.days
    assert held.service.history.of_date(SATURDAY) is None
