"""The daily change: what is asked most is ready again before anybody asks."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from conftest import Clock, Serve, eventually
from fake_bank import Bank, sheet

from ratesvc.config import Settings
from ratesvc.web import warm

FRIDAY, SATURDAY = date(2026, 4, 24), date(2026, 4, 25)
OFTEN = ("/widget?lang=ru&codes=USD,EUR", "/v1/rates?quote=USD", "/widget/rows.json?lang=ar", "/v1/rates/2026-04-24")
SELDOM = ("/v1/rates?codes=CHF", "/widget?heading=once")


async def test_the_most_asked_is_answered_again_before_it_is_asked(
    bank: Bank, settings: Settings, serve: Serve, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When tomorrow's rates are set the most asked targets have new answers without a request, and no others have."""
    monkeypatch.setattr(warm, "MOST_WARMED", len(OFTEN))
    bank.publish(sheet(FRIDAY - timedelta(days=1)), sheet(FRIDAY))
    async with serve(settings) as running:
        publisher = running.service.publisher
        await eventually(lambda: publisher.current and publisher.current.snapshot.previous)
        before = {target: (await running.get(target))[2] for target in (*OFTEN, *SELDOM)}
        for target in OFTEN * 3:
            await running.get(target)
        old = publisher.current
        assert old
        bank.publish(sheet(SATURDAY))
        clock.moment = datetime(2026, 4, 24, 14, 0, tzinfo=UTC)
        await running.service.refresh()
        await eventually(lambda: publisher.current is not old)
        await eventually(lambda: publisher.current and len(publisher.current.answers) == len(OFTEN))
        answers: dict[str, Any] = publisher.current.answers if publisher.current else {}
        assert set(answers) == set(OFTEN)
        # Four readers of one of them and one of another: what was made ready is no request.
        said = (await running.get("/metrics"))[2].decode()
        assert 'requests_total{route="/v1/rates",status="200"} 5.0' in said
        for target in OFTEN:
            assert "encodings" in vars(answers[target].body)
            assert (await running.get(target))[2] == answers[target].body.content != before[target]


async def test_a_quick_second_change_forgets_nothing(bank: Bank, settings: Settings, serve: Serve) -> None:
    """Two publications one right after the other: what the first one had no time for is ready in the second."""
    bank.publish(sheet(FRIDAY - timedelta(days=1)), sheet(FRIDAY))
    async with serve(settings) as running:
        publisher = running.service.publisher
        await eventually(lambda: publisher.current and publisher.current.snapshot.previous)
        for target in OFTEN * 3:
            await running.get(target)
        for day in (FRIDAY - timedelta(days=3), FRIDAY - timedelta(days=2)):
            bank.publish(sheet(day))
            await running.service.fetch(day)
            running.service.publish()
        await eventually(lambda: publisher.current and set(OFTEN) <= set(publisher.current.answers))


async def test_what_nobody_asks_for_any_more_is_forgotten(bank: Bank, settings: Settings, serve: Serve) -> None:
    """What was asked for once is answered at the next change; there only we ask for it, so at a later one it is not."""
    bank.publish(sheet(FRIDAY - timedelta(days=1)), sheet(FRIDAY))
    async with serve(settings) as running:
        publisher = running.service.publisher
        await eventually(lambda: publisher.current and publisher.current.snapshot.previous)
        for target in (OFTEN[0], *SELDOM * 9):
            await running.get(target)
        for days in (3, 2):
            bank.publish(sheet(FRIDAY - timedelta(days=days)))
            await running.service.fetch(FRIDAY - timedelta(days=days))
            await eventually(lambda: "warm" not in {task.get_name() for task in asyncio.all_tasks()})
        assert publisher.current
        assert set(publisher.current.answers) == set(SELDOM)
