from __future__ import annotations

import dataclasses
from datetime import date, timedelta

import pytest
from figures import DAY, TABLE, UTF_8, Document, Row
from hypothesis import given
from hypothesis import strategies as st

from ratesvc.bank.admission import check_sheet
from ratesvc.bank.xml import parse_daily
from ratesvc.domain.rates import Sheet
from ratesvc.errors import BadDocument


def read(*rows: Row, day: date = DAY, written: str | None = None) -> Sheet:
    return parse_daily(bytes(Document(rows=rows, day=day, date=written, layout=UTF_8)))


def refused(sheet: Sheet, today: date = DAY) -> str:
    """The reason for which a well-formed sheet is refused."""
    with pytest.raises(BadDocument) as caught:
        check_sheet(sheet, today)
    return caught.value.reason


def without(*codes: str) -> list[Row]:
    return [row for row in TABLE if row.code not in codes]


def test_the_banks_sheet_passes() -> None:
    """On its own day, on its eve, and ever after."""
    for later in (-1, 0, 1, 400):
        check_sheet(read(*TABLE), DAY + timedelta(days=later))


@pytest.mark.parametrize("ahead", [2, 3, 31, 365])
def test_b16_a_sheet_is_never_effective_later_than_tomorrow(ahead: int) -> None:
    """The Bank sets a rate on the day before; whatever is dated further on is a mistake."""
    assert refused(read(*TABLE, day=DAY + timedelta(days=ahead))) == "date"


@pytest.mark.parametrize("written", ["25.04.0026", "01.01.0001", "31.12.1991", "30.06.1992"])
def test_b16_a_sheet_is_never_older_than_the_first_one(written: str) -> None:
    """The Bank's rates begin on 1 July 1992: a year 0026 is a two-digit year gone wrong."""
    assert refused(read(*without("EUR"), written=written)) == "date"


def test_b16_the_first_sheet_of_all_passes() -> None:
    """1 July 1992 is a day of rates."""
    check_sheet(read(*TABLE, day=date(1992, 7, 1)), DAY)


def test_b5_a_table_of_a_few_rows_is_a_cut_one() -> None:
    """Nine rows are fewer than any table that is worth publishing, even with the core in them."""
    assert refused(read(TABLE[5])) == "rows"
    dollar_and_euro_first = sorted(TABLE, key=lambda row: row.code not in {"USD", "EUR"})
    assert refused(read(*dollar_and_euro_first[:9])) == "rows"
    check_sheet(read(*dollar_and_euro_first[:10]), DAY)


@pytest.mark.parametrize("code", ["USD", "EUR"])
def test_b5_dollar_and_euro_are_always_there(code: str) -> None:
    """A sheet without one of them is not the Bank's."""
    assert refused(read(*without(code))) == "core"


def test_b5_the_euro_begins_in_1999() -> None:
    """A sheet of 31 December 1998 cannot have it, that of 1 January 1999 must."""
    check_sheet(read(*without("EUR"), day=date(1998, 12, 31)), DAY)
    assert refused(read(*without("EUR"), day=date(1999, 1, 1))) == "core"
    assert refused(read(*without("EUR", "USD"), day=date(1998, 12, 31))) == "core"


@pytest.mark.parametrize("name", ["code", "numeric_code", "cbr_id"])
def test_b7_no_two_rows_share_a_code_or_an_id(name: str) -> None:
    """If two rows claim to be the dollar, neither is believed."""
    dollar, tenge = TABLE[5], TABLE[8]
    twin = dataclasses.replace(tenge, **{name: getattr(dollar, name)})
    assert refused(read(*without("KZT"), twin)) == "duplicate"


@given(st.sets(st.integers(0, len(TABLE) - 1)))
def test_losing_rows_is_accepted_only_while_the_core_and_ten_rows_are_left(lost: set[int]) -> None:
    """Currencies come and go; these two and a table do not."""
    rows = [row for index, row in enumerate(TABLE) if index not in lost]
    codes = {row.code for row in rows}
    if len(rows) >= 10 and {"USD", "EUR"} <= codes:
        check_sheet(read(*rows), DAY)
    elif rows:
        assert refused(read(*rows)) in {"rows", "core"}


@given(st.integers(0, len(TABLE) - 1), st.integers(0, len(TABLE) - 1))
def test_the_order_of_rows_is_no_matter(one: int, other: int) -> None:
    """The guards look at what is said, not where."""
    rows = list(TABLE)
    rows[one], rows[other] = rows[other], rows[one]
    check_sheet(read(*rows), DAY)
