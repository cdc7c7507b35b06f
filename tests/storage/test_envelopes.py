"""What is kept in Redis, as bytes: what is written is read back, and whatever else is there is a miss."""

from __future__ import annotations

import zlib
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from fake_bank import daily_xml, sheet
from hypothesis import given
from hypothesis import strategies as st

from ratesvc.domain.columns import Column, Coverage, Currency
from ratesvc.domain.events import Event, Place
from ratesvc.domain.rates import Quote, Revision, Sheet
from ratesvc.storage import records

FRIDAY, SATURDAY = date(2026, 4, 24), date(2026, 4, 25)
FETCHED = datetime(2026, 4, 24, 12, 30, 5, tzinfo=UTC)
REVISION = Revision(sheet(FRIDAY), 2, FETCHED, ("large_move", "corrected"), zlib.compress(daily_xml(sheet(FRIDAY))))
FIELD = "2026-04-24.2"
LIRA = Currency("R01700J", "R01700", "TRY", "949", "Турецких лир", "Turkish Lira")
COVERAGE = Coverage(date(1992, 7, 1), SATURDAY, (FRIDAY,), assessed=False)


def column() -> Column:
    made = Column(LIRA, FETCHED)
    made.put(FRIDAY, 10, Decimal("16.8386"))
    made.put(SATURDAY, 1, Decimal("1.7000"))
    return made


def stored(revision: Revision = REVISION, field: str = FIELD) -> bytes:
    return records.seal(field, records.revision_record(revision))


# The envelope


@given(st.text(max_size=20), st.binary(max_size=50))
def test_an_envelope_gives_back_what_was_put_in(field: str, payload: bytes) -> None:
    """Under the name for which it was sealed, and under no other."""
    envelope = records.seal(field, payload)
    assert records.unseal(field, envelope) == payload
    assert records.unseal(f"{field}x", envelope) is None
    assert records.seems_damaged(envelope)


@given(st.data())
def test_an_envelope_with_one_wrong_byte_is_a_miss(data: st.DataObject) -> None:
    """Wherever it is: in the mark, the checksum or the payload."""
    envelope = bytearray(stored())
    at = data.draw(st.integers(0, len(envelope) - 1))
    envelope[at] ^= data.draw(st.integers(1, 255))
    assert records.opened_revision(FIELD, bytes(envelope)) is None
    assert records.opened_revision(FIELD, bytes(envelope)[:at]) is None


@pytest.mark.parametrize("other", [None, "", "ratesvc1", b"", b"ratesvc", b"ratesvc2" + bytes(40), b"{}"])
def test_what_is_no_envelope_is_a_miss_and_not_a_damage(other: bytes | str | None) -> None:
    """Reading it again would not help: it never was ours."""
    assert records.unseal(FIELD, other) is None
    assert not records.seems_damaged(other)
    for opened in (records.opened_revision, records.opened_column, records.opened_range):
        assert opened(FIELD, other) is None


def test_a_mark_alone_is_damaged() -> None:
    """It begins as ours do."""
    assert records.unseal(FIELD, b"ratesvc1") is None
    assert records.seems_damaged(b"ratesvc1")


# What is in it


def test_a_revision_comes_back_whole() -> None:
    """Figures, names, order, provenance and the Bank's own bytes."""
    assert records.field_of(*REVISION.key) == FIELD
    found = records.opened_revision(FIELD, stored())
    assert found == REVISION
    assert found
    assert found.raw == daily_xml(sheet(FRIDAY))
    assert [str(quote.value) for quote in found.sheet.quotes] == [str(quote.value) for quote in REVISION.sheet.quotes]
    assert (found.fetched_at.utcoffset(), found.admitted) == (timedelta(0), True)


@given(
    st.lists(
        st.tuples(st.integers(0, 8), st.integers(1, 10**13 - 1), st.text(max_size=12)),
        max_size=6,
    ),
    st.integers(1, 9999),
)
def test_any_figures_come_back(rows: list[tuple[int, int, str]], number: int) -> None:
    """To the last digit, in their order."""
    quotes = [
        Quote(f"X{n:02}", f"{n:03}", f"R{n:05}", 10**power, Decimal(value).scaleb(-4), name)
        for n, (power, value, name) in enumerate(rows)
    ]
    revision = Revision(Sheet(FRIDAY, tuple(quotes)), number, FETCHED)
    field = records.field_of(FRIDAY, number)
    assert records.opened_revision(field, stored(revision, field)) == revision


def test_a_revision_under_another_name_is_a_miss() -> None:
    """A whole envelope of another day, or another number, sealed for this one."""
    for field in ("2026-04-24.1", "2026-04-25.2", "2026-04-24.02", ""):
        assert records.opened_revision(field, stored(field=field)) is None


def test_whether_it_was_admitted_is_kept() -> None:
    """What an older version wrote ends before that: it was not."""
    for admitted in (True, False):
        one = Revision(sheet(FRIDAY), 2, FETCHED, admitted=admitted)
        found = records.opened_revision(FIELD, stored(one))
        assert found
        assert found.admitted is admitted
    older = msgspec.msgpack.encode(msgspec.msgpack.decode(records.revision_record(REVISION))[:7])
    found = records.opened_revision(FIELD, records.seal(FIELD, older))
    assert found == REVISION
    assert found
    assert not found.admitted


def altered(place: int, value: Any) -> bytes:
    """A revision with something else in one place of its record, in a sound envelope."""
    record = msgspec.msgpack.decode(records.revision_record(REVISION))
    record[place] = value
    return records.seal(FIELD, msgspec.msgpack.encode(record))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, "2026-02-30"),
        (0, 20260424),
        (1, "two"),
        (2, "yesterday"),
        (3, "flag"),
        (4, [["USD", "840", "R01235", "1", "75.5273", "Доллар США"]]),
        (4, [["USD", "840", "R01235", 1, "seventy-five", "Доллар США"]]),
        (4, [["USD", "840", "R01235", 1]]),
        (5, 7),
    ],
)
def test_a_record_of_another_shape_is_a_miss(place: int, value: Any) -> None:
    """It verifies, since somebody else's program sealed it, and still is not what we write."""
    assert records.opened_revision(FIELD, altered(place, value)) is None


@pytest.mark.parametrize("payload", [b"", b"\xc1", b"\x90", b"\x91\x01", b"not msgpack"])
def test_a_payload_that_is_no_record_is_a_miss(payload: bytes) -> None:
    """In an envelope that verifies."""
    assert records.opened_revision(FIELD, records.seal(FIELD, payload)) is None
    assert records.opened_column("R01235", records.seal("R01235", payload)) is None
    assert records.opened_range("span", records.seal("span", payload)) is None


def test_a_column_comes_back_whole_with_the_range_that_was_asked_for() -> None:
    """Days, values and nominals side by side, and what the currency is called in two languages."""
    asked = Coverage(date(1992, 7, 1), SATURDAY)
    found = records.opened_column("R01700J", records.column_record(column(), asked))
    assert found == (column(), asked)
    assert found
    assert found[0].currency == LIRA
    assert [found[0].quote(day) for day in (FRIDAY, SATURDAY)] == [column().quote(day) for day in (FRIDAY, SATURDAY)]
    assert records.opened_column("R01700", records.column_record(column(), asked)) is None


@pytest.mark.parametrize("place", [8, 9, 10])
def test_numbers_that_end_in_the_middle_are_a_miss(place: int) -> None:
    """Bytes that are no whole number of numbers; a nominal is one byte, so that any count of them is."""
    record = msgspec.msgpack.decode(_payload(records.column_record(column(), Coverage(FRIDAY, SATURDAY))))
    assert isinstance(record[place], bytes)
    record[place] = record[place] + b"\0" if place < 10 else "text"
    sealed = records.seal("R01700J", msgspec.msgpack.encode(record))
    assert records.opened_column("R01700J", sealed) is None


def _payload(envelope: bytes) -> bytes:
    return records.unseal("R01700J", envelope) or b""


def test_a_column_of_an_older_version_has_no_english_name() -> None:
    """It was added at the end, before the days that wait."""
    record = msgspec.msgpack.decode(_payload(records.column_record(column(), Coverage(FRIDAY, SATURDAY))))
    found = records.opened_column("R01700J", records.seal("R01700J", msgspec.msgpack.encode(record[:-2])))
    assert found
    assert (found[0].currency.english_name, found[0].currency.name) == ("", "Турецких лир")
    assert found[1] == Coverage(FRIDAY, SATURDAY)


def test_a_range_comes_back_with_what_it_lacks() -> None:
    """What an older version wrote lacks nothing, and was not assessed."""
    assert records.opened_range("span", records.range_record("span", COVERAGE)) == COVERAGE
    whole = Coverage(FRIDAY, SATURDAY)
    assert records.opened_range("span", records.range_record("span", whole)) == whole
    assert records.opened_range("plan", records.range_record("span", whole)) is None
    older = records.seal("span", msgspec.msgpack.encode([FRIDAY, SATURDAY]))
    assert records.opened_range("span", older) == Coverage(FRIDAY, SATURDAY, assessed=False)


# The log of events


EVENT = Event("sheet", Place(7, SATURDAY, 1))


def entry(event: Event, number: str) -> dict[bytes | str, bytes | str]:
    return {b"event": records.seal(number, str(event).encode())}


@pytest.mark.parametrize("number", [b"7-0", "7-0"])
def test_an_event_is_read_under_its_number(number: bytes | str) -> None:
    """Whichever way redis-py gives the number of an entry."""
    assert records.opened_event(number, entry(EVENT, "7-0")) == EVENT


@pytest.mark.parametrize(
    ("number", "fields"),
    [
        (b"8-0", entry(EVENT, "8-0")),
        (b"7-1", entry(EVENT, "7-1")),
        (b"7-0", entry(EVENT, "8-0")),
        (b"7-0", {b"event": b"sheet 7-2026-04-25.1"}),
        (b"7-0", {b"event": records.seal("7-0", b"sheets 7-2026-04-25.1")}),
        (b"7-0", {b"event": records.seal("7-0", b"\xff\xfe")}),
        (b"7-0", {b"other": b"x"}),
        (b"7-0", {}),
        (b"7-0", None),
        (None, None),
        (b"\xff", entry(EVENT, "7-0")),
    ],
)
def test_an_entry_that_is_not_ours_is_no_event(
    number: bytes | str | None, fields: dict[bytes | str, bytes | str] | None
) -> None:
    """Another number, another form, other bytes, or nothing at all."""
    assert records.opened_event(number, fields) is None


def test_a_field_is_text_whichever_way_it_comes() -> None:
    """What is no UTF-8 is still shown."""
    assert [records.as_text(field) for field in ("span", b"span", b"\xff")] == ["span", "span", "\ufffd"]


def test_a_moment_is_kept_in_utc() -> None:
    """Told in Moscow's time it is the same moment."""
    moscow = FETCHED.astimezone(timezone(timedelta(hours=3)))
    found = records.opened_revision(FIELD, stored(Revision(sheet(FRIDAY), 2, moscow)))
    assert found
    assert found.fetched_at == FETCHED
