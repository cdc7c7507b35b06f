"""What is an event and what is not, and how a reader finds its place again."""

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


def told(log: EventLog, in_force: Revision, current: date, *held: Revision) -> list[str]:
    """Let the log have what it lacks; returns it as text without the checksums."""
    lacking = new_events(log, held, in_force, current)
    log.extend(lacking)
    assert new_events(log, held, in_force, current) == []
    return [str(event).removesuffix(f"-{event.place.check}") for event in lacking]


def test_the_life_of_a_sheet() -> None:
    """Announced on Friday, corrected in the evening, in force at midnight, corrected again on Sunday."""
    log = EventLog()
    friday, saturday = revision(FRIDAY), revision(SATURDAY)
    assert told(log, friday, FRIDAY, friday) == ["sheet 1-2026-04-24.1", "in_force 2-2026-04-24.1"]
    assert told(log, friday, FRIDAY, friday, saturday) == ["sheet 3-2026-04-25.1"]
    corrected = revision(SATURDAY, 2)
    assert told(log, friday, FRIDAY, friday, corrected) == ["revision 4-2026-04-25.2"]
    assert told(log, corrected, SATURDAY, friday, corrected) == ["in_force 5-2026-04-25.2"]
    again = revision(SATURDAY, 3)
    assert told(log, again, SATURDAY, friday, again) == ["revision 6-2026-04-25.3"]


def test_history_that_becomes_known_is_silent() -> None:
    """Neither a gap that is filled, nor today's sheet when tomorrow's was known first, is a new sheet."""
    log = EventLog()
    saturday = revision(SATURDAY)
    assert told(log, saturday, SATURDAY, saturday) == ["sheet 1-2026-04-25.1", "in_force 2-2026-04-25.1"]
    assert told(log, saturday, SATURDAY, revision(THURSDAY), revision(FRIDAY), saturday) == []
    log = EventLog()
    log.extend([Event("sheet", Place(1, SATURDAY, 1))])
    assert told(log, revision(FRIDAY), FRIDAY, revision(FRIDAY), saturday) == ["in_force 2-2026-04-24.1"]


def test_a_long_log_is_read_once_however_much_is_held() -> None:
    """It is looked at every few seconds: a thousand events by some hundreds of sheets would take the loop for long."""
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


def test_an_old_correction_is_told_when_the_log_reaches_back_that_far() -> None:
    """The day of a filled gap too has an event once it is corrected."""
    log = EventLog()
    log.extend([Event("in_force", Place(1, THURSDAY, 1)), Event("in_force", Place(2, TUESDAY, 1))])
    held = (revision(THURSDAY, 2), revision(FRIDAY), revision(SATURDAY, 2), revision(TUESDAY))
    assert told(log, held[-1], TUESDAY, *held) == ["revision 3-2026-04-23.2", "revision 4-2026-04-25.2"]
    assert log.begins == THURSDAY


def test_a_clock_that_is_behind_takes_nothing_back() -> None:
    """At midnight one replica tells; another that still has the day before says nothing."""
    log = EventLog()
    friday, saturday = revision(FRIDAY), revision(SATURDAY)
    log.extend([Event("sheet", Place(1, SATURDAY, 1)), Event("in_force", Place(2, SATURDAY, 1))])
    assert told(log, friday, FRIDAY, friday, saturday) == []


def test_a_reader_finds_its_place() -> None:
    """By the whole id; whoever stands elsewhere, since the log is another one or forgot the place, asks afresh."""
    log = EventLog()
    assert (log.known, log.after(NOWHERE), log.end) == (False, [], NOWHERE)
    events = [Event("sheet", Place(seq, date(2026, 1, seq), 1)) for seq in (3, 4, 6)]
    log.extend(events)
    log.extend(events)
    assert log.after(Place(3, date(2026, 1, 3), 1)) == events[1:]
    assert log.after(log.end) == []
    unknown = [Place(40, date(2026, 1, 4), 1), Place(4, date(2026, 1, 3), 1), Place(1, date(2025, 12, 31), 2)]
    for place in (*unknown, Place(3, date(2026, 1, 3), 1, "0" * 8), NOWHERE, None):
        assert log.after(place) == [Event("reset", log.end)]
        assert not log.knows(place)


def test_from_the_beginning_means_from_event_number_one() -> None:
    """A log that forgot its beginning cannot tell what came before."""
    log = EventLog()
    log.extend(events := [Event("sheet", Place(seq, FRIDAY, 1)) for seq in range(1, MOST_EVENTS + 1)])
    assert log.after(NOWHERE) == events
    log.extend([Event("in_force", Place(MOST_EVENTS + 1, FRIDAY, 1))])
    assert log.after(NOWHERE) == [Event("reset", log.end)]


def test_an_id_stands_for_everything_told_up_to_there() -> None:
    """Two logs that say the same have the same ids; one other figure, or one other event, and all later ids differ."""

    def ids(*held: Revision) -> list[str]:
        return [str(event.place) for event in new_events(EventLog(), held, held[0], FRIDAY)]

    friday, saturday = revision(FRIDAY), revision(SATURDAY)
    assert ids(friday, saturday) == ids(revision(FRIDAY), revision(SATURDAY))
    corrected = Revision(sheet(FRIDAY, shift=1), 1, FETCHED)
    assert not {*ids(friday, saturday)} & {*ids(corrected, saturday)}
    assert [str(Place.from_id(one)) for one in ids(friday, saturday)] == ids(friday, saturday)
    assert [a == b for a, b in zip(ids(friday, saturday), ids(friday), strict=False)] == [True, False]


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
    """It forgets its own for another one, but not for a part of its own, which is still to be completed."""
    log = EventLog()
    log.extend(written(ours))
    log.follow(written(stored, 3 if stored.startswith("C") else 1))
    assert list(log) == written(expected)


def written(letters: str, first: int = 1) -> list[Event]:
    """One event for each letter, numbered from `first`."""
    return [Event("sheet", Place(seq, FRIDAY, 1, letter * 8)) for seq, letter in enumerate(letters, first)]


def test_the_log_forgets_the_oldest() -> None:
    """Memory is bounded."""
    log = EventLog()
    log.extend(Event("in_force", Place(seq, FRIDAY, 1)) for seq in range(1, MOST_EVENTS + 11))
    assert [event.seq for event in log] == list(range(11, MOST_EVENTS + 11))


@pytest.mark.parametrize(
    "text", ["1-2026-04-24.1", "0-0001-01-01.0", "123456789012345-1992-07-01.9999", "7-2026-04-25.1-0123abcd"]
)
def test_an_id_says_where(text: str) -> None:
    """Text and place are the same."""
    place = Place.from_id(text)
    assert str(place) == text
    assert Event.from_text(f"in_force {text}") == Event("in_force", place) if place else False


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "-1-2026-04-24.1",
        "1-2026-02-30.1",
        "1-2026-04-24.1\n",
        "1-2026-04-24.1-abc",
        "9" * 16 + "-2026-04-24.1",
        "١-2026-04-24.1",
    ],
)
def test_what_is_no_id_of_ours_is_no_place(text: str) -> None:
    """A stranger's id is no error: its reader begins now."""
    assert Place.from_id(text) is None
    assert Event.from_text(f"sheet {text}") is None
    assert Event.from_text("sheets 1-2026-04-24.1") is None


def test_the_log_keeps_a_thousand_events() -> None:
    """About two years of them."""
    log = EventLog()
    log.extend(Event("in_force", Place(seq, FRIDAY, 1)) for seq in range(1, 1002))
    assert [event.seq for event in log] == list(range(2, 1002))
    assert log.end == Place(1001, FRIDAY, 1)


def test_a_log_is_known_once_it_was_read() -> None:
    """Also when there was nothing in it."""
    log = EventLog()
    assert not log.known
    log.extend([])
    assert log.known
    assert (log.begins, log.end) == (date.max, NOWHERE)


@pytest.mark.parametrize(
    "text", ["1-2026-04-24.10000", "1-2026-04-24.", "-2026-04-24.1", "1-26-04-24.1", "1-2026-4-24.1"]
)
def test_an_id_has_its_digits(text: str) -> None:
    """One to fifteen, a date, one to four."""
    assert Place.from_id(text) is None


def test_a_reader_at_nowhere_hears_everything() -> None:
    """It stands before the very first event that there can be."""
    log = EventLog()
    events = [Event("sheet", Place(1, date.min, 1)), Event("in_force", Place(2, FRIDAY, 1))]
    log.extend(events)
    assert log.after(NOWHERE) == events
    assert str(NOWHERE) == "0-0001-01-01.0"


def test_a_first_wording_is_no_correction() -> None:
    """A past day's first sheet is history; its second is told, and told once."""
    log = EventLog()
    today = revision(SATURDAY)
    first, second = revision(THURSDAY), revision(THURSDAY, 2)
    assert told(log, today, SATURDAY, today) == ["sheet 1-2026-04-25.1", "in_force 2-2026-04-25.1"]
    assert told(log, today, SATURDAY, first, today) == []
    assert told(log, today, SATURDAY, second, today) == ["revision 3-2026-04-23.2"]


def test_the_sheet_in_force_today_is_told_although_it_was_told_as_a_sheet() -> None:
    """Its announcement is another event than its beginning; the same sheet again is none."""
    log = EventLog()
    log.extend([Event("sheet", Place(1, SATURDAY, 1))])
    saturday = revision(SATURDAY)
    assert told(log, saturday, SATURDAY, saturday) == ["in_force 2-2026-04-25.1"]


def test_a_sheet_between_two_that_were_told_is_silent() -> None:
    """Friday's becomes known after Saturday's was announced: nobody waits for it any more."""
    log = EventLog()
    log.extend([Event("in_force", Place(1, THURSDAY, 1)), Event("sheet", Place(2, SATURDAY, 1))])
    held = (revision(THURSDAY), revision(FRIDAY), revision(SATURDAY))
    assert told(log, held[0], THURSDAY, *held) == []


def test_an_id_without_a_checksum_is_an_earlier_versions() -> None:
    """It names a sheet and a wording of it all the same."""
    place = Place.from_id("7-2026-04-24.2")
    assert place == Place(7, FRIDAY, 2, "")
    assert place
    assert place.key == (FRIDAY, 2)
    assert Place.from_id("7-2026-04-24.2-0123abcd") == Place(7, FRIDAY, 2, "0123abcd") != place
    for wrong in ("7-2026-04-24.2-0123abc", "7-2026-04-24.2-0123abcde", "7-2026-04-24.2-", "7-2026-04-24.2-0123ABCD"):
        assert Place.from_id(wrong) is None


def test_what_is_told_has_an_id_that_is_read_back() -> None:
    """With its checksum, which goes on from one event to the next."""
    events = new_events(EventLog(), [revision(FRIDAY), revision(SATURDAY)], revision(FRIDAY), FRIDAY)
    assert [str(event.place).rsplit("-", 1)[0] for event in events] == [
        "1-2026-04-24.1",
        "2-2026-04-25.1",
        "3-2026-04-24.1",
    ]
    for event in events:
        assert Event.from_text(str(event)) == event
        assert len(event.place.check) == 8


def test_a_place_is_known_while_what_follows_it_can_be_told() -> None:
    """Every event's is, and the beginning while the first event is there; a stranger's, or none, is not."""
    log = EventLog()
    log.extend(Event("sheet", Place(seq, date(2026, 1, seq), 1)) for seq in (1, 2))
    assert [log.knows(Place(seq, date(2026, 1, seq), 1)) for seq in (1, 2, 3)] == [True, True, False]
    assert (log.knows(NOWHERE), log.knows(None), log.knows(Place(1, FRIDAY, 1))) == (True, False, False)
