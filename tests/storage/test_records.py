"""The values in Redis as bytes: what is written is read back, and anything else counts as missing."""

from __future__ import annotations

import zlib
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.bank import daily_xml, sheet
from kit.dates import FRIDAY, SATURDAY

from ratesvc.domain.columns import Column, Currency
from ratesvc.domain.rates import Revision
from ratesvc.domain.settled import Settled, Silence
from ratesvc.storage import records

FETCHED = datetime(2026, 4, 24, 12, 30, 5, tzinfo=UTC)
REVISION = Revision(sheet(FRIDAY), 2, FETCHED, ("large_move", "corrected"), zlib.compress(daily_xml(sheet(FRIDAY))))
FIELD = "2026-04-24.2"
LIRA = Currency("R01700J", "R01700", "TRY", "949", "Турецких лир", "Turkish Lira")
OLD_LIRA = Currency("R01700J", "R01700", "TRL", "792", "Турецких лир")
ASKED = Settled(date(1992, 7, 1), SATURDAY)


def decoded(field: str, envelope: bytes | str | None) -> list[object]:
    """By every decoder."""
    return [
        records.decode_revision(field, envelope),
        records.decode_column(field, envelope),
        records.decode_coverage(envelope),
    ]


def column() -> Column:
    made = Column(LIRA, FETCHED)
    made.put(FRIDAY, 10, Decimal("16.8386"), OLD_LIRA)
    made.put(SATURDAY, 1, Decimal("9223372.0361"))
    return made


def resealed(field: str, envelope: bytes, changed: dict[int, Any], kept: int | None = None) -> bytes:
    """The same record with other values in some places, or only its first values, in an envelope that verifies."""
    record = msgspec.msgpack.decode(records.unseal(field, envelope) or b"")
    for place, value in changed.items():
        record[place] = value
    return records.seal(field, msgspec.msgpack.encode(record[:kept]))


# The envelope


@given(st.data())
def test_an_envelope_with_one_wrong_byte_is_a_miss(data: st.DataObject) -> None:
    """In the magic word, the checksum or the payload."""
    envelope = bytearray(records.encode_revision(REVISION))
    at = data.draw(st.integers(0, len(envelope) - 1))
    envelope[at] ^= data.draw(st.integers(1, 255))
    assert records.decode_revision(FIELD, bytes(envelope)) is None
    assert records.decode_revision(FIELD, bytes(envelope)[:at]) is None


@pytest.mark.parametrize(
    "other", [None, "", "ratesvc1", b"", b"ratesvc", b"ratesvc1", b"ratesvc1" + bytes(1000), b"ratesvc2" + bytes(40)]
)
def test_a_value_that_is_no_envelope_is_a_miss(other: bytes | str | None) -> None:
    """Other types, other magic words, and a magic word without a checksum."""
    assert decoded(FIELD, other) == [None] * 3


# Revisions


def test_a_revision_comes_back_whole() -> None:
    """Figures, names, order, provenance, and the Bank's own bytes."""
    found = records.decode_revision(FIELD, records.encode_revision(REVISION))
    assert found == REVISION
    assert found
    assert (found.raw, found.fetched_at.utcoffset()) == (daily_xml(sheet(FRIDAY)), timedelta(0))
    local = replace(REVISION, fetched_at=FETCHED.astimezone(timezone(timedelta(hours=3))))
    found = records.decode_revision(FIELD, records.encode_revision(local))
    assert found
    assert found.fetched_at == FETCHED


@pytest.mark.parametrize("field", ["2026-04-24.1", "2026-04-25.2", "2026-04-24.02", ""])
def test_a_revision_under_another_name_is_a_miss(field: str) -> None:
    """Even if its envelope was sealed for that name."""
    payload = records.unseal(FIELD, records.encode_revision(REVISION))
    assert payload
    assert records.decode_revision(field, records.seal(field, payload)) is None


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
    """Another program may seal what this one does not write."""
    changed = resealed(FIELD, records.encode_revision(REVISION), {place: value})
    assert records.decode_revision(FIELD, changed) is None


def test_a_record_of_a_newer_version_is_read() -> None:
    """It has more fields at its end."""
    envelope = records.encode_revision(REVISION)
    newer = msgspec.msgpack.encode([*msgspec.msgpack.decode(records.unseal(FIELD, envelope) or b""), "something new"])
    assert records.decode_revision(FIELD, records.seal(FIELD, newer)) == REVISION


# Columns and ranges


def test_a_column_comes_back_whole_with_the_range_that_was_asked_for() -> None:
    """Days, values, nominals, both names, and the codes of each day. Older versions kept the codes of the last day."""
    envelope = records.encode_column(column(), ASKED)
    found = records.decode_column("R01700J", envelope)
    assert found == (column(), ASKED)
    assert found
    assert [found[0].quote(day) for day in (FRIDAY, SATURDAY)] == [column().quote(day) for day in (FRIDAY, SATURDAY)]
    assert records.decode_column("R01700", envelope) is None
    older = records.decode_column("R01700J", resealed("R01700J", envelope, {}, kept=12))
    assert older
    assert older[0].named(FRIDAY) == LIRA


def test_an_older_version_finds_its_open_days_in_a_range_that_this_one_wrote() -> None:
    """It takes every other day of the range for complete. Whatever is learned, the rest stays as it wrote it."""
    older = [date(1992, 7, 1), SATURDAY, [FRIDAY, SATURDAY], 16]
    found = records.decode_coverage(records.seal("coverage", msgspec.msgpack.encode(older)))
    assert found == (replace(ASKED, open_days=frozenset([FRIDAY, SATURDAY])), 16)
    for absent, left in ((frozenset[date](), [FRIDAY, SATURDAY]), (frozenset([FRIDAY]), [SATURDAY])):
        learned = replace(found[0], looked_until=FRIDAY, without_a_sheet=absent, silence=Silence(FRIDAY, SATURDAY))
        envelope = records.encode_coverage(learned, 16)
        assert records.decode_coverage(envelope) == (learned, 16)
        payload = records.unseal("coverage", envelope) or b""
        assert msgspec.msgpack.decode(payload)[:4] == ["1992-07-01", str(SATURDAY), list(map(str, left)), 16]


@pytest.mark.parametrize(("place", "value"), [(8, bytes(7)), (9, bytes(9)), (10, "text")])
def test_numbers_that_end_in_the_middle_are_a_miss(place: int, value: object) -> None:
    """The bytes of a day or a value are not a whole number of numbers."""
    changed = resealed("R01700J", records.encode_column(column(), ASKED), {place: value})
    assert records.decode_column("R01700J", changed) is None
