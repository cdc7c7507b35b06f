"""What is kept is given only to those who ask for the same, stays true, and is not kept for good."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from conftest import Clock, Served, announced, eventually
from kit.bank import Bank, sheet
from kit.dates import MIDNIGHT, SATURDAY, THURSDAY
from kit.sheets import without

from ratesvc.domain.rates import Revision


@pytest.fixture
async def served(served: Served) -> Served:
    """It knows that Thursday's sheet is the one before Friday's."""
    await eventually(lambda: served.service.publication and served.service.publication.snapshot.previous)
    return served


async def on_saturday(bank: Bank, served: Served, clock: Clock) -> None:
    """Saturday's sheet is in force, so Friday is over."""
    await announced(bank, served, clock, SATURDAY)
    clock.moment = datetime(2026, 4, 25, 6, 0, tzinfo=UTC)
    served.service.publish()


async def test_a_publication_is_replaced_only_by_news(served: Served, clock: Clock) -> None:
    """One more sheet, another hour and another day make a new publication; the same knowledge does not."""
    service = served.service
    first = service.publication
    service.publish()
    assert service.publication is first
    service.history.add(Revision(sheet(SATURDAY), 1, clock()))
    service.publish()
    with_saturday = service.publication
    assert with_saturday is not first
    assert with_saturday
    assert with_saturday.snapshot.announced
    clock.moment = MIDNIGHT
    service.publish()
    assert service.publication is not with_saturday


@pytest.mark.parametrize("first", ["/v1/rates", "/v1/rates/2026-04-24"])
async def test_a_sheet_is_overdue_from_that_second_on_whatever_was_asked_first(
    first: str, served: Served, clock: Clock
) -> None:
    """At 21:00:00, before the schedule has run. A day is answered by the clock, and today by the publication."""
    clock.moment = datetime(2026, 4, 24, 18, tzinfo=UTC) - timedelta(seconds=1)
    paths = [first, "/v1/rates", "/v1/rates/2026-04-24", "/v1/rates/today", "/v1/rates/2026-04-24?codes=USD"]
    for overdue in (False, True):
        said = [json.loads((await served.get(path))[2])["next_overdue"] for path in paths]
        assert said == [overdue] * len(paths)
        clock.advance(seconds=1)


async def test_a_clock_that_is_set_back_over_midnight_leaves_no_yesterday_behind(served: Served, clock: Clock) -> None:
    """An answer that was made in that second called Friday today, and would be kept with those of Saturday."""
    clock.moment = MIDNIGHT
    await served.get("/v1/rates")
    for seconds, today in ((-1, "2026-04-24"), (0, "2026-04-25")):
        clock.moment = MIDNIGHT + timedelta(seconds=seconds)
        assert json.loads((await served.get("/v1/rates?codes=USD"))[2])["date"] == today


async def test_a_revision_never_changes(bank: Bank, served: Served, clock: Clock) -> None:
    """Not even when the sheet before it is corrected afterwards. It is not immutable: a lost store counts anew."""
    await on_saturday(bank, served, clock)
    path = "/v1/rates/2026-04-24?revision=1"
    _, headers, said = await served.get(path)
    assert "immutable" not in headers["Cache-Control"]
    assert json.loads(said)["rates"]["USD"]["change"] is not None
    clock.advance(hours=1)
    served.service.history.add(Revision(sheet(THURSDAY, shift=7), 2, clock()))
    served.service.publish()
    assert (await served.get(path))[2] == said
    latest = json.loads((await served.get("/v1/rates/2026-04-24"))[2])
    assert latest["rates"]["USD"]["change"] != json.loads(said)["rates"]["USD"]["change"]


async def test_a_currency_that_a_sheet_lacks_is_not_called_unknown(served: Served, clock: Clock) -> None:
    """Another sheet has it. The text names the sheet that lacks it."""
    served.service.history.add(Revision(without(sheet(THURSDAY), "CNY"), 2, clock()))
    for path in ("?quote_currency=CNY", "/CNY.txt"):
        status, _, body = await served.get(f"/v1/rates/2026-04-23{path}")
        assert (status, json.loads(body)["detail"]) == (404, "The sheet of 2026-04-23 has no CNY.")
