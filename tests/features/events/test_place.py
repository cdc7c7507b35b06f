from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time

from hypothesis import given
from hypothesis import strategies as st
from kit import cases
from kit.bank import sheet, workdays
from kit.dates import FRIDAY, THURSDAY

from ratesvc.domain.columns import Column, Currency
from ratesvc.domain.history import History
from ratesvc.domain.in_force import snapshot
from ratesvc.domain.rates import WITHDRAWAL, Revision
from ratesvc.domain.settled import Settled
from ratesvc.domain.workdays import ONE_DAY, WorkCalendar, at
from ratesvc.features.events.place import (
    IN_FORCE,
    MOST_CORRECTED,
    MOST_SHEETS,
    Event,
    Place,
    can_go_on,
    missed,
)

CALENDAR = WorkCalendar()
FETCHED = datetime(2026, 4, 23, 13, 20, 5, tzinfo=UTC)


def revision(day: date, number: int = 1, shift: int | None = None) -> Revision:
    """Each revision has figures of its own, unless `shift` says which."""
    return Revision(sheet(day, number - 1 if shift is None else shift), number, FETCHED)


@dataclass
class Replica:
    """What a replica holds on a day, at noon."""

    today: date
    history: History

    @property
    def end(self) -> Place:
        return Place.at(self.history, snapshot(self.history, self.now))

    @property
    def now(self) -> datetime:
        return at(self.today, time(12)).astimezone(UTC)

    def can_go_on(self, place: Place | str) -> bool:
        return can_go_on(place_of(place), self.history, snapshot(self.history, self.now))

    def missed(self, place: Place | str) -> list[Event]:
        """The events for a reader; one that got them lacks nothing more, also if it leaves after any of them."""
        assert self.can_go_on(place)
        view = self.history, snapshot(self.history, self.now)
        lacking = list(missed(place_of(place), *view))
        for index, event in enumerate(lacking):
            assert Place.from_id(str(event.place)) == event.place
            assert self.can_go_on(event.place)
            assert list(missed(event.place, *view)) == lacking[index + 1 :]
        return lacking

    def words(self, place: Place | str) -> list[str]:
        """The same in words."""
        return [f"{event.kind} {event.sheet.day}.{event.sheet.number}" for event in self.missed(place) if event.sheet]


def replica(today: date, *revisions: Revision) -> Replica:
    return Replica(today, History(CALENDAR, revisions))


def place_of(place: Place | str) -> Place:
    if isinstance(place, Place):
        return place
    found = Place.from_id(place)
    assert found
    return found


# Which events there are


def held(text: str) -> Replica:
    """`23 24.2 25.3=1 28.2- at 28`: the revisions that a replica holds, and its day."""
    days, _, today = text.partition(" at ")
    return replica(april(today), *map(told_of, days.split()))


def told_of(text: str) -> Revision:
    match = re.fullmatch(r"([0-9]+)(?:\.([0-9]+))?(?:=([0-9]+)|(-))?", text)
    assert match
    number = int(match[2] or 1)
    made = revision(april(match[1]), number, int(match[3] or number) - 1)
    return replace(made, sheet=replace(made.sheet, quotes=()), flags=(WITHDRAWAL,)) if match[4] else made


def april(day: str) -> date:
    return date(2026, 4, int(day))


def answered(question: str) -> str:
    match question.split(" ", 1):
        case "id", text:
            return read(text.replace("\\n", "\n"))
        case _:
            return told(question)


def read(text: str) -> str:
    """The day and the sheets that an id names, or that it is foreign."""
    place = Place.from_id(text.strip("'"))
    if not place:
        return "foreign"
    assert str(place) == text
    return " ".join([f"on {place.in_force}", *map(str, place.sheets)])


def told(question: str) -> str:
    """The events of a reader who knows the end of one replica and asks another, or has an id."""
    known, _, asked = question.partition(" → ")
    end, now = held(known).end if " at " in known else place_of(known), held(asked)
    if not now.can_go_on(end):
        return "reset"
    lacking = now.missed(end)
    return "\n".join(f"{word}, id {one.place}" for word, one in zip(now.words(end), lacking, strict=True)) or "nothing"


def test_what_a_reader_missed_follows_from_what_it_knows_and_what_is_held() -> None:
    """Or it gets everything again. A reader may leave after any event, and then lacks the others."""
    cases.check("events.txt", {question: answered(question) for question in cases.questions("events.txt")})


def test_an_id_names_no_more_sheets_than_ours() -> None:
    """Whatever a reader sends, it costs no more than an id of this service."""
    assert [bool(Place.from_id("_".join(["2026-04-24"] * (MOST_CORRECTED + n)))) for n in (2, 3)] == [True, False]


# Replicas that know less


@dataclass
class World:
    """What happened so far, and how much of it each replica holds. Around midnight they differ about the day."""

    moments: list[tuple[date, list[Revision]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.moments.append((FRIDAY, [revision(THURSDAY), revision(FRIDAY)]))

    def goes_on(self, what: int) -> None:
        """A midnight, a correction of one of the last sheets, or a sheet for the next day that has one."""
        today, held = self.moments[-1]
        latest = {one.effective_date: one for one in held}
        following = CALENDAR.effective_date_after(max(latest))
        if what in (0, 1):
            # Hours after midnight no clock says the day before.
            self.moments = [(today, old) for _, old in self.moments]
        if what == 0:
            self.moments.append((today + ONE_DAY, held))
        elif what > 1:
            corrected = latest[sorted(latest)[-min(what - 1, len(latest))]]
            self.moments.append((today, [*held, revision(corrected.effective_date, corrected.number + 1)]))
        elif following == today + ONE_DAY:
            self.moments.append((today, [*held, revision(following)]))

    def replica(self, behind: int) -> Replica:
        """One that lacks the last so many things that happened."""
        today, held = self.moments[max(len(self.moments) - 1 - behind, 0)]
        return replica(today, *held)


@given(st.lists(st.tuples(st.integers(0, 4), st.lists(st.integers(0, 3), max_size=3)), max_size=25))
def test_replicas_that_are_late_never_repeat_and_never_lose(story: list[tuple[int, list[int]]]) -> None:
    """A reader asks any of them after each happening. Days in force and the revisions of a day only grow."""
    world, received = World(), []
    place = world.replica(0).end
    for what, asked in [*story, (0, [0])]:
        world.goes_on(what)
        for behind in asked:
            for event in world.replica(behind).missed(place):
                received.append(event)
                place = event.place
    assert place == world.replica(0).end
    in_force = [event.sheet for event in received if event.sheet and event.kind == IN_FORCE]
    assert in_force == sorted(in_force)
    figures = [event.sheet for event in received if event.sheet and event.kind != IN_FORCE]
    assert len(figures) == len({*figures})
    for day in {stamp.day for stamp in figures}:
        numbers = [stamp.number for stamp in figures if stamp.day == day]
        assert numbers == sorted(numbers)


# Whose place cannot be continued


def test_a_reader_gets_ten_weeks_of_sheets() -> None:
    """One that lacks more fetches everything."""
    assert MOST_SHEETS == 50
    days = list(workdays(date(2026, 2, 3), MOST_SHEETS + 2))
    long = replica(days[-1], *map(revision, days))
    assert len(long.words(str(days[1]))) == MOST_SHEETS + 1  # and the one in force
    assert not long.can_go_on(str(days[0]))


def test_backfilled_sheets_are_told_like_fetched_ones() -> None:
    """With the same ids, because they say the same."""
    days = list(workdays(THURSDAY, 4))
    columns = [
        Column(Currency(q.cbr_id, q.cbr_id, q.code, q.numeric_code, q.name), FETCHED) for q in sheet(days[0]).quotes
    ]
    for day in days:
        for column, quote in zip(columns, sheet(day).quotes, strict=True):
            column.put(day, quote.nominal, quote.value)
    backfilled = Replica(days[-1], History(CALENDAR))
    backfilled.history.settle(Settled(days[0], days[-1]), columns)
    assert backfilled.missed("2026-04-23") == replica(days[-1], *map(revision, days)).missed("2026-04-23")


# Ids


def corrected_sheets(days: Iterable[date]) -> list[Revision]:
    return [one for day in days for one in (revision(day), revision(day, 2))]


def test_an_id_lists_the_latest_twenty_corrected_sheets() -> None:
    """A correction of a sheet before these is not told; of a later one it is, in whatever part the reader hears."""
    days = list(workdays(date(2026, 3, 3), 30))
    today = days[-1]
    full = replica(today, *corrected_sheets(days[2:22]), *map(revision, days))
    assert len(full.end.sheets) == MOST_CORRECTED + 1
    assert len(str(full.end)) < 500
    once_more = revision(days[2], 3)
    again = replica(today, *corrected_sheets(days[2:22]), once_more, *map(revision, days))
    assert again.words(full.end) == [f"revision {days[2]}.3"]
    nineteen = replica(today, *corrected_sheets(days[3:22]), *map(revision, days))
    assert full.words(nineteen.end) == [f"revision {days[2]}.2"]
    more = replica(today, *corrected_sheets([days[0], *days[2:26]]), *map(revision, days))
    assert more.words(full.end) == [f"revision {day}.2" for day in days[22:26]]
    assert len(more.end.sheets) == MOST_CORRECTED + 1
    # None of them is known: in the order of days no later one is lost when earlier ones no longer fit into the id.
    assert more.words(replica(today, *map(revision, days)).end) == [
        f"revision {day}.2" for day in [days[0], *days[2:26]]
    ]
