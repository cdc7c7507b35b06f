"""What is kept in Redis, as bytes: the same on every machine."""

from __future__ import annotations

from array import array
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from ratesvc.domain.columns import Column, Coverage, Currency
from ratesvc.storage.records import column_record, opened_column

FETCHED = datetime(2026, 4, 23, 13, 20, 5, tzinfo=UTC)
COVERAGE = Coverage(date(1992, 7, 1), date(2026, 4, 24))


def column() -> Column:
    made = Column(Currency("R01235", "R01235", "USD", "840", "Доллар США"), FETCHED)
    made.put(COVERAGE.since, 1, Decimal("125.2600"))
    made.put(COVERAGE.until, 1000, Decimal("9223372.0361"))
    return made


def swapped(numbers: array[int]) -> array[int]:
    """The same numbers as a machine keeps them that has the other end of them first."""
    other = numbers[:]
    other.byteswap()
    return other


def on_the_other_machine(one: Column) -> Column:
    days, values, nominals = map(swapped, (one.days, one.values, one.nominals))
    return Column(one.currency, one.fetched_at, days, values, nominals)


def test_numbers_are_kept_with_their_lowest_byte_first() -> None:
    """Those of today's machines, which stored values have already."""
    record = column_record(column(), COVERAGE)
    for day in (COVERAGE.since, COVERAGE.until):
        assert day.toordinal().to_bytes(4, "little") in record
    assert (1252600).to_bytes(8, "little") in record


def test_a_machine_of_the_other_byte_order_reads_and_writes_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replicas of both kinds may share a Redis, and a backup may move."""
    record = column_record(column(), COVERAGE)
    monkeypatch.setattr("ratesvc.storage.records.BIG_ENDIAN", True, raising=False)
    assert column_record(on_the_other_machine(column()), COVERAGE) == record
    assert opened_column("R01235", record) == (on_the_other_machine(column()), COVERAGE)
