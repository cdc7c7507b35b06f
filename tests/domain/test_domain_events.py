from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
from fake_bank import sheet

from ratesvc.domain.events import MOST_EVENTS, NOWHERE, Event, EventLog, Place, new_events
from ratesvc.domain.rates import Revision

THURSDAY, FRIDAY, SATURDAY, TUESDAY = (date(2026, 4, day) for day in (23, 24, 25, 28))
FETCHED = datetime(2026, 4, 23, 13, 20, 5, tzinfo=UTC)


def revision(day: date, number: int = 1) -> Revision:
    return Revision(sheet(day), number, FETCHED)


def logged(*events: Event) -> EventLog:
    log = EventLog()
    log.extend(events)
    return log


def update(log: EventLog, in_force: Revision, current: date, *held: Revision) -> list[str]:
    """Append what the log lacks; returns it as text without the checksums."""
    lacking = new_events(log, held, in_force, current)
    log.extend(lacking)
    assert new_events(log, held, in_force, current) == []
    return [str(event).removesuffix(f"-{event.place.check}") for event in lacking]


# Which events there are


def test_the_life_of_a_sheet() -> None:
    """Announced on Friday, corrected in the evening, in force at midnight, corrected again on Sunday."""
    log = EventLog()
    friday, saturday = revision(FRIDAY), revision(SATURDAY)
    assert update(log, friday, FRIDAY, friday) == ["sheet 1-2026-04-24.1", "in_force 2-2026-04-24.1"]
    assert update(log, friday, FRIDAY, friday, saturday) == ["sheet 3-2026-04-25.1"]
    corrected = revision(SATURDAY, 2)
    assert update(log, friday, FRIDAY, friday, corrected) == ["revision 4-2026-04-25.2"]
    assert update(log, corrected, SATURDAY, friday, corrected) == ["in_force 5-2026-04-25.2"]
    again = revision(SATURDAY, 3)
    assert update(log, again, SATURDAY, friday, again) == ["revision 6-2026-04-25.3"]


def test_history_that_becomes_known_gets_no_event() -> None:
    """Neither a gap that is filled, nor today's sheet when tomorrow's was known first, is a new sheet."""
    log = EventLog()
    friday, saturday = revision(FRIDAY), revision(SATURDAY)
    assert update(log, saturday, SATURDAY, saturday) == ["sheet 1-2026-04-25.1", "in_force 2-2026-04-25.1"]
    assert update(log, saturday, SATURDAY, revision(THURSDAY), friday, saturday) == []
    announced = Event("sheet", Place(1, SATURDAY, 1))
    assert update(logged(announced), friday, FRIDAY, friday, saturday) == ["in_force 2-2026-04-24.1"]
    assert update(logged(announced), saturday, SATURDAY, saturday) == ["in_force 2-2026-04-25.1"]
    between = logged(Event("in_force", Place(1, THURSDAY, 1)), Event("sheet", Place(2, SATURDAY, 1)))
    assert update(between, revision(THURSDAY), THURSDAY, revision(THURSDAY), friday, saturday) == []


def test_an_old_correction_gets_an_event_if_the_log_reaches_back_that_far() -> None:
    """The day of a filled gap too, once it is corrected."""
    log = logged(Event("in_force", Place(1, THURSDAY, 1)), Event("in_force", Place(2, TUESDAY, 1)))
    held = (revision(THURSDAY, 2), revision(FRIDAY), revision(SATURDAY, 2), revision(TUESDAY))
    assert update(log, held[-1], TUESDAY, *held) == ["revision 3-2026-04-23.2", "revision 4-2026-04-25.2"]
    assert log.begins == THURSDAY


def test_a_clock_that_is_behind_takes_nothing_back() -> None:
    """At midnight one replica adds an event; another that still has the day before adds none."""
    log = logged(Event("sheet", Place(1, SATURDAY, 1)), Event("in_force", Place(2, SATURDAY, 1)))
    assert update(log, revision(FRIDAY), FRIDAY, revision(FRIDAY), revision(SATURDAY)) == []


def test_a_long_log_is_read_once_however_much_is_held() -> None:
    """It is compared every few seconds: a thousand events by some hundreds of sheets would block the loop."""
    reads = 0

    class Counted(EventLog):
        def __iter__(self) -> Iterator[Event]:
            nonlocal reads
            reads += 1
            return super().__iter__()

    log = Counted()
    log.extend([Event("sheet", Place(1, THURSDAY, 1))])
    held = [revision(THURSDAY + timedelta(days=n)) for n in range(9)]
    assert len(new_events(log, held, held[0], THURSDAY)) == 9
    assert reads == 1


# Places


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("1-2026-04-24.1", Place(1, FRIDAY, 1)),
        ("7-2026-04-24.2", Place(7, FRIDAY, 2, "")),
        ("7-2026-04-24.2-0123abcd", Place(7, FRIDAY, 2, "0123abcd")),
        ("0-0001-01-01.0", NOWHERE),
        ("123456789012345-1992-07-01.9999", Place(123456789012345, date(1992, 7, 1), 9999)),
    ],
)
def test_an_id_names_a_place(text: str, place: Place) -> None:
    """Text and place are the same; ids of an earlier version have no checksum."""
    assert Place.from_id(text) == place
    assert str(place) == text
    assert place.key == (place.effective_date, place.number)
    assert Event.from_text(f"in_force {text}") == Event("in_force", place)
    assert Event.from_text(f"sheets {text}") is None


@pytest.mark.parametrize(
    "text",
    [
        *("", "1", "-1-2026-04-24.1", "1-2026-02-30.1", "1-2026-04-24.1\n", "9" * 16 + "-2026-04-24.1"),
        *("1-2026-04-24.10000", "1-2026-04-24.", "-2026-04-24.1", "1-26-04-24.1", "1-2026-4-24.1", "١-2026-04-24.1"),
        *("7-2026-04-24.2-0123abc", "7-2026-04-24.2-0123abcde", "7-2026-04-24.2-", "7-2026-04-24.2-0123ABCD"),
    ],
)
def test_another_text_is_no_place(text: str) -> None:
    """A foreign id is no error: its reader begins now."""
    assert Place.from_id(text) is None
    assert Event.from_text(f"sheet {text}") is None


def test_an_id_stands_for_the_whole_log_up_to_there() -> None:
    """Equal logs have the same ids; with one other figure, or one other event, all later ids differ."""

    def ids(*held: Revision) -> list[str]:
        events = new_events(EventLog(), held, held[0], FRIDAY)
        assert [Event.from_text(str(event)) for event in events] == events
        assert {len(event.place.check) for event in events} == {8}
        return [str(event.place) for event in events]

    friday, saturday = revision(FRIDAY), revision(SATURDAY)
    both = ids(friday, saturday)
    assert [one.rsplit("-", 1)[0] for one in both] == ["1-2026-04-24.1", "2-2026-04-25.1", "3-2026-04-24.1"]
    assert both == ids(revision(FRIDAY), revision(SATURDAY))
    assert not {*both} & {*ids(Revision(sheet(FRIDAY, shift=1), 1, FETCHED), saturday)}
    assert [a == b for a, b in zip(both, ids(friday), strict=False)] == [True, False]


def test_a_reader_finds_its_place() -> None:
    """By the whole id; if the log is another one or has forgotten the place, its reader fetches everything."""
    events = [Event("sheet", Place(seq, date(2026, 1, seq), 1)) for seq in (3, 4, 6)]
    log = logged(*events)
    log.extend(events)
    assert log.after(Place(3, date(2026, 1, 3), 1)) == events[1:]
    assert log.after(log.end) == []
    assert all(log.knows(event.place) for event in events)
    unknown = [Place(40, date(2026, 1, 4), 1), Place(4, date(2026, 1, 3), 1), Place(1, date(2025, 12, 31), 2)]
    for place in (*unknown, Place(3, date(2026, 1, 3), 1, "0" * 8), NOWHERE, None):
        assert log.after(place) == [Event("reset", log.end)]
        assert not log.knows(place)


# The log


def test_a_log_is_known_once_it_was_read() -> None:
    """Also if there was nothing in it."""
    log = EventLog()
    assert (log.known, log.after(NOWHERE), log.end, log.begins) == (False, [], NOWHERE, date.max)
    log.extend([])
    assert (log.known, log.after(NOWHERE), log.end, log.begins) == (True, [], NOWHERE, date.max)


def test_the_log_keeps_a_thousand_events() -> None:
    """While it holds the first, it can be read from the beginning; a log that forgot its beginning cannot."""
    events = [Event("sheet", Place(seq, date.min if seq == 1 else FRIDAY, 1)) for seq in range(1, MOST_EVENTS + 1)]
    log = logged(*events)
    assert MOST_EVENTS == 1000
    assert log.after(NOWHERE) == events
    assert log.knows(NOWHERE)
    log.extend([last := Event("in_force", Place(MOST_EVENTS + 1, FRIDAY, 1))])
    assert (list(log), log.end) == ([*events[1:], last], last.place)
    assert log.after(NOWHERE) == [Event("reset", log.end)]


def written(letters: str, first: int = 1) -> list[Event]:
    """One event for each letter, numbered from `first`."""
    return [Event("sheet", Place(seq, FRIDAY, 1, letter * 8)) for seq, letter in enumerate(letters, first)]


@pytest.mark.parametrize(
    ("ours", "stored", "expected"),
    [
        ("", "", ""),
        ("", "ABC", "ABC"),
        ("ABC", "C", "ABC"),
        ("ABC", "CDE", "ABCDE"),
        ("ABC", "ABCDE", "ABCDE"),
        ("ABC", "", "ABC"),
        ("ABC", "AB", "ABC"),
        ("ABC", "xy", "xy"),
        ("ABC", "wxyz", "wxyz"),
        ("ABC", "ABxy", "ABxy"),
    ],
)
def test_a_replica_follows_the_log_in_redis(ours: str, stored: str, expected: str) -> None:
    """It forgets its own for another log, but not for a part of its own, which will be completed."""
    log = logged(*written(ours))
    log.follow(written(stored, 3 if stored.startswith("C") else 1))
    assert list(log) == written(expected)
