"""/v1/sheets over HTTP: a nightly import that asks what has changed, and never misses it."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, date, datetime
from typing import Any

import pytest
from conftest import Clock, Serve, Served, eventually
from kit.bank import Bank
from kit.dates import EVENING, FRIDAY, SATURDAY, TUESDAY
from kit.sheets import changed, plausible, times

pytestmark = pytest.mark.usefixtures("every_sheet")


async def listed(served: Served, query: str = "") -> dict[str, Any]:
    status, _, body = await served.get(f"/v1/sheets{query}")
    assert status == 200, body
    document: dict[str, Any] = json.loads(body)
    return document


def days(document: dict[str, Any]) -> list[str]:
    return [row["effective_date"] for row in document["rows"]]


async def corrects(bank: Bank, served: Served, day: date) -> None:
    """The Bank corrects its newest sheet or today's, and a later poll confirms it."""
    bank.publish(changed(plausible(day), PLN=times("1.01")))
    for _ in range(3):
        await served.service.poll()


async def agree_with_rates(served: Served, document: dict[str, Any]) -> None:
    for row in document["rows"]:
        answer = json.loads((await served.get(f"/v1/rates/{row['effective_date']}"))[2])
        assert row == {name: answer[name] for name in row}


async def test_a_nightly_import_is_told_of_new_and_corrected_sheets_and_of_no_others(
    bank: Bank, held: Served, clock: Clock
) -> None:
    """Saturday's sheet is new, and Friday's is corrected."""
    cursor = (await listed(held))["cursor"]
    nothing = await listed(held, f"?after={cursor}")
    assert (nothing["rows"], nothing["cursor"]) == ([], cursor)
    clock.moment = EVENING
    bank.publish(plausible(SATURDAY))
    await corrects(bank, held, FRIDAY)
    news = await listed(held, f"?after={cursor}")
    assert [(row["effective_date"], row["revision"]) for row in news["rows"]] == [(str(FRIDAY), 2), (str(SATURDAY), 1)]
    assert news["since"] == "2025-04-24"
    assert (await listed(held, f"?after={news['cursor']}"))["rows"] == []
    await agree_with_rates(held, news)


async def test_a_day_that_is_not_admitted_is_named_and_told_once_a_person_releases_it(
    bank: Bank, held: Served, clock: Clock
) -> None:
    """Every later sheet is told of meanwhile. The document of the day waits in quarantine for a week."""
    cursor = (await listed(held))["cursor"]
    clock.moment = EVENING
    bank.publish(changed(plausible(SATURDAY), **dict.fromkeys(("USD", "EUR", "CNY"), times("10"))))
    for _ in range(3):
        await held.service.poll()
    later = TUESDAY
    clock.moment = datetime(2026, 4, 27, 14, tzinfo=UTC)
    bank.publish(plausible(later))
    await held.service.poll()
    await eventually(lambda: held.service.history.open_days == (SATURDAY,) and not held.service.backfilling)
    news = await listed(held, f"?after={cursor}")
    assert (days(news), news["unconfirmed"]) == ([str(later)], [str(SATURDAY)])
    assert news["rows"][0]["previous_effective_date"] is None
    [case] = [case for case in await held.service.quarantine.cases() if case.effective_date == SATURDAY]
    await held.service.release(case.name)
    released = await listed(held, f"?after={news['cursor']}")
    assert [(row["effective_date"], row["flags"][-1:]) for row in released["rows"]] == [(str(SATURDAY), ["released"])]
    assert "unconfirmed" not in released


async def test_another_replica_without_redis_and_a_restart_understand_a_cursor(
    bank: Bank, serve_whole: Serve, clock: Clock
) -> None:
    """The corrected sheet is its first revision there, with the same figures: nothing is new. Later news is told."""
    clock.moment = EVENING
    bank.publish(plausible(SATURDAY))
    async with serve_whole() as first:
        await corrects(bank, first, FRIDAY)
        assert first.held(FRIDAY).number == 2
        cursor = (await listed(first))["cursor"]
    async with serve_whole(redis={"namespace": uuid.uuid4().hex}) as other:
        await eventually(lambda: other.service.history.of_date(SATURDAY))
        assert other.held(FRIDAY).number == 1
        assert (await listed(other, f"?after={cursor}"))["rows"] == []
        await corrects(bank, other, SATURDAY)
        assert days(await listed(other, f"?after={cursor}")) == [str(SATURDAY)]
    async with serve_whole() as again:
        await corrects(bank, again, SATURDAY)
        assert days(await listed(again, f"?after={cursor}")) == [str(SATURDAY)]


async def test_the_list_waits_until_history_is_loaded(bank: Bank, serve: Serve) -> None:
    """An incomplete one would pass for all that there is."""
    bank.series.clear()
    bank.documents = {FRIDAY: bank.documents[FRIDAY]}
    async with serve() as loading:
        await loading.ready()
        for path in ("/v1/sheets", "/v1/history.csv"):
            status, _, body = await loading.get(path)
            assert (status, json.loads(body)["type"]) == (503, "urn:ratesvc:history_loading")
        assert (await loading.get(f"/v1/sheets?since={FRIDAY}"))[0] == 200
