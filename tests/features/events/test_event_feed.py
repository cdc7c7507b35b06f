"""The feed of events of a replica: when it tells its readers, and what that costs."""

from __future__ import annotations

import asyncio
from datetime import date

import pytest
from conftest import patience_s
from kit.bank import sheet
from kit.dates import FRIDAY, NOON, SATURDAY, THURSDAY

from ratesvc.domain.history import History
from ratesvc.domain.in_force import snapshot
from ratesvc.domain.rates import Revision
from ratesvc.domain.workdays import WorkCalendar
from ratesvc.features.events import feed, place
from ratesvc.features.events.feed import EventFeed
from ratesvc.features.events.place import SHEET, Event, Place
from ratesvc.service.schedule import HEARTBEAT_S


class FeedUnderTest:
    """A feed that has told of Thursday's and Friday's sheets."""

    def __init__(self) -> None:
        self.history = History(WorkCalendar())
        self.feed = EventFeed(self.history)
        assert self.feed.end is None
        self.holds(THURSDAY)
        self.holds(FRIDAY)

    def holds(self, day: date, number: int = 1) -> None:
        self.history.hold([Revision(sheet(day, number - 1), number, NOON)])
        self.feed.publish(snapshot(self.history, NOON))

    @property
    def end(self) -> Place:
        assert self.feed.end
        return self.feed.end


def kinds(found: list[Event]) -> list[str]:
    return [event.kind for event in found]


@pytest.fixture
async def fed(monkeypatch: pytest.MonkeyPatch) -> FeedUnderTest:
    assert feed.SPREAD_S > HEARTBEAT_S, "by then every replica has looked into Redis"
    monkeypatch.setattr(feed, "SPREAD_S", 0.2)
    made = FeedUnderTest()
    while made.end.newest != FRIDAY:
        await made.feed.after(made.end)
    return made


async def test_a_change_is_told_a_moment_later(fed: FeedUnderTest) -> None:
    """Until then a new reader begins before the change: its first answers may come from a replica that lacks it."""
    before = fed.end
    waiting = asyncio.create_task(fed.feed.after(before))
    begun = asyncio.get_running_loop().time()
    fed.holds(SATURDAY)
    assert fed.end == before
    returning = fed.feed.after(before)
    assert kinds(await returning) == kinds(await waiting) == [SHEET]
    assert asyncio.get_running_loop().time() - begun >= feed.SPREAD_S * 0.99
    assert fed.end.newest == SATURDAY


async def test_a_sheet_that_nobody_is_told_of_delays_nothing(fed: FeedUnderTest) -> None:
    """A backfill brings an earlier one every second."""
    loop, ends = asyncio.get_running_loop(), asyncio.Queue[Place]()
    fed.holds(SATURDAY)
    loop.call_later(feed.SPREAD_S / 2, fed.holds, date(2026, 4, 21))
    loop.call_later(feed.SPREAD_S * 1.2, lambda: ends.put_nowait(fed.end))
    assert (await ends.get()).newest == SATURDAY


async def test_changes_in_one_moment_are_told_together(fed: FeedUnderTest) -> None:
    """The last of them has as long to spread as the first."""
    before, loop = fed.end, asyncio.get_running_loop()
    begun = loop.time()
    fed.holds(SATURDAY)
    loop.call_later(feed.SPREAD_S / 2, fed.holds, SATURDAY, 2)
    meanwhile: list[Place] = []
    loop.call_later(feed.SPREAD_S * 1.2, lambda: meanwhile.append(fed.end))
    (event,) = await fed.feed.after(before)
    assert loop.time() - begun >= 1.5 * feed.SPREAD_S * 0.99
    assert meanwhile == [before], "a new reader would begin behind a change that has not spread"
    assert (event.sheet, event.place) == (fed.end.sheets[-1], fed.end)
    assert event.sheet
    assert event.sheet.number == 2


async def test_readers_at_one_place_cost_as_much_as_one(fed: FeedUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand are told in the same moment."""
    computed: list[Place] = []
    missed = place.missed

    def counted(place: Place, *more: object) -> object:
        computed.append(place)
        return missed(place, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(feed, "missed", counted)
    before = fed.end
    readers = [asyncio.create_task(fed.feed.after(before)) for _ in range(1000)]
    fed.holds(SATURDAY)
    assert {tuple(kinds(found)) for found in await asyncio.gather(*readers)} == {(SHEET,)}
    assert len(computed) <= 2


async def test_a_feed_that_closes_lets_its_readers_go(fed: FeedUnderTest) -> None:
    """Now and from now on."""
    waiting = asyncio.create_task(fed.feed.after(fed.end))
    await asyncio.sleep(0)
    fed.feed.close()
    async with asyncio.timeout(patience_s()):
        assert (await waiting, await fed.feed.after(None)) == ([], [])
