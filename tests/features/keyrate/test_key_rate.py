"""/v1/key-rate with a stand-in of the Bank's SOAP service."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import pytest
from aiohttp import web
from conftest import Clock, Serve, Served, but, eventually
from kit.bank import Bank, bank_running, sheet
from kit.dates import DAYS, FRIDAY, NOON, SATURDAY, THURSDAY
from kit.figures import rate_row, soap, spoil, with_key_rate, wrong

from ratesvc.config import Settings
from ratesvc.domain.workdays import WorkCalendar
from ratesvc.features.keyrate import routes
from ratesvc.features.keyrate.routes import PATH

Held = dict[date, str]
WEDNESDAY = date(2026, 4, 22)


@pytest.fixture
def held(bank: Bank) -> Held:
    """What the Bank has; a test changes it."""
    rows = {date(2026, 3, 20): "17.00", date(2026, 4, 20): "16.50", WEDNESDAY: "16.50", THURSDAY: "16.50"}

    with_key_rate(bank, rows)
    bank.publish(*map(sheet, DAYS))
    return rows


@pytest.fixture
async def served(held: Held, serve_whole: Serve) -> AsyncIterator[Served]:  # noqa: ARG001 -- that the Bank has
    async with serve_whole() as running:
        await eventually(lambda: running.service.figures["keyrate"].columns)
        yield running


async def said(served: Served, path: str = "/v1/key-rate") -> Any:
    _, _, body = await served.get(path)
    return json.loads(body)


async def asks_again(served: Served) -> None:
    await served.service._ask_for(served.service.figures["keyrate"])  # noqa: SLF001 -- the job of the schedule


async def test_a_rate_says_since_when_it_is_in_force_and_which_was_before(served: Served) -> None:
    assert b'"rate":16.50,' in (await served.get("/v1/key-rate"))[2]
    answer = await said(served)
    assert {name: answer[name] for name in ("date", "since", "as_of", "stale", "previous")} == {
        "date": str(FRIDAY),
        "since": "2026-04-20",
        "as_of": str(THURSDAY),
        "stale": False,
        "previous": {"since": "2026-03-20", "rate": 17.0},
    }
    weekend = await said(served, "/v1/key-rate/2026-04-19")
    assert (weekend["rate"], weekend["as_of"], weekend["previous"]) == (17.0, "2026-03-20", None)
    assert (await said(served, "/v1/key-rate/2026-03-19"))["type"].endswith("before_history")
    assert (await said(served, f"/v1/key-rate/{SATURDAY}"))["type"].endswith("not_yet_set")
    changes = [(one["since"], one["rate"]) for one in (await said(served, "/v1/key-rate/changes"))["changes"]]
    assert changes == [("2026-03-20", 17.0), ("2026-04-20", 16.5)]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("date=2026-04-24", "16,50 %, с 20 апреля 2026 г."),
        ("date=2026-04-19", "17,00 %, с 20 марта 2026 г."),
        ("date=2026-03-19", None),
    ],
)
async def test_the_receipt_of_a_day_names_its_rate(served: Served, asked: str, told: str | None) -> None:
    _, _, body = await served.get(f"/rate?{asked}&code=USD&lang=ru")
    page = body.decode().replace("\u00a0", " ")
    assert ("Ключевая ставка" in page, f"<dd>{told}</dd>" in page) == (bool(told), bool(told))


async def test_a_rate_without_the_last_working_days_row_is_stale(served: Served, clock: Clock) -> None:
    clock.advance(days=3)
    answer = await said(served)
    assert (answer["stale"], answer["as_of"]) == (True, str(THURSDAY))


async def test_a_decision_replaces_the_answer(served: Served, held: Held) -> None:
    held[FRIDAY] = "16.00"
    await asks_again(served)
    answer = await said(served)
    assert (answer["rate"], answer["since"], answer["previous"]) == (
        16,
        str(FRIDAY),
        {"since": "2026-04-20", "rate": 16.5},
    )


@pytest.mark.parametrize(("pattern", "by", "why"), wrong("key rate"))
async def test_a_broken_answer_changes_nothing(served: Served, bank: Bank, pattern: str, by: str, why: str) -> None:
    before = await said(served)
    spoil(bank, PATH, pattern, by)
    await asks_again(served)
    assert await said(served) == before
    failure = served.service.figures["keyrate"].failure
    assert (failure.kind if failure else "invalid:none") == f"invalid:{why}"


async def test_an_escaped_inner_document_is_read(served: Served, bank: Bank) -> None:
    async def answer(_: web.Request) -> bytes:
        return soap(rate_row(FRIDAY, "15.25"), escaped=True)

    bank.others[PATH] = answer
    await asks_again(served)
    assert (await said(served))["rate"] == 15.25


async def test_a_mirror_without_soap_is_no_failure(held: Held, bank: Bank, settings: Settings, serve: Serve) -> None:
    """Such a mirror may be another ratesvc."""
    assert held
    async with bank_running() as other:
        other.publish(*map(sheet, DAYS))
        async with serve(but(settings, cbr={"mirrors": (other.url, bank.url)})) as served:
            await eventually(lambda: served.service.figures["keyrate"].columns)
            await asks_again(served)
            assert (await said(served))["rate"] == 16.5
            assert PATH in {one.path for one in other.asked}
            assert served.service.figures["keyrate"].failure is None


def test_the_bank_is_asked_more_often_while_a_row_is_awaited() -> None:
    """Every hour of a working day without its row, else four times a day."""
    pauses = [routes._pause_s(WorkCalendar(), newest, NOON) for newest in (THURSDAY, FRIDAY)]  # noqa: SLF001
    assert pauses == [3600, 6 * 3600]
