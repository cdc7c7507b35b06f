"""A doubtful sheet: asked for again, and at the second address, which is a real one here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date

import pytest
from fake_bank import Bank, daily_xml
from sheets import changed, plausible, times

from ratesvc.bank.admission import Admission, Admitted, Quarantined, Unconfirmed, admit
from ratesvc.bank.client import BankClient, Pace
from ratesvc.domain.rates import Sheet
from ratesvc.domain.workdays import ONE_DAY
from ratesvc.service.refresh import MOST_UNCONFIRMED, UnconfirmedSheets

FRIDAY, SATURDAY = date(2026, 4, 24), date(2026, 4, 25)
ODD = changed(plausible(SATURDAY), PLN=times("1.3"))
OTHER = changed(plausible(SATURDAY), PLN=times("1.4"))


def unconfirmed(sheet: Sheet) -> Unconfirmed:
    found = admit(sheet, plausible(sheet.effective_date - ONE_DAY))
    assert isinstance(found, Unconfirmed)
    return found


@pytest.fixture
async def sheets(bank: Bank) -> AsyncIterator[UnconfirmedSheets]:
    """The Bank says ODD, in both of its documents."""
    bank.documents[SATURDAY] = daily_xml(ODD)
    async with BankClient((bank.url,), "ratesvc-tests", pace=Pace(None)) as client:
        yield UnconfirmedSheets(client)


def asked_in_english(bank: Bank) -> int:
    return sum(request.path.endswith("XML_daily_eng.asp") for request in bank.asked)


async def polled(sheets: UnconfirmedSheets, found: Unconfirmed) -> Admission:
    """What the next poll decides."""
    sheets.begin_poll()
    return await sheets.confirm(found, at_once=False)


async def test_the_first_time_nothing_is_decided(sheets: UnconfirmedSheets, bank: Bank) -> None:
    """The second address is asked when the Bank has said the same twice, and then it decides."""
    found = unconfirmed(ODD)
    assert (await polled(sheets, found), asked_in_english(bank)) == (found, 0)
    assert (await polled(sheets, found), asked_in_english(bank)) == (Admitted(ODD, ("large_move",)), 1)


async def test_a_second_document_that_says_otherwise_refuses(sheets: UnconfirmedSheets, bank: Bank) -> None:
    """To the last digit."""
    bank.english = daily_xml(changed(ODD, PLN=times("1.001")))
    found = unconfirmed(ODD)
    await polled(sheets, found)
    assert await polled(sheets, found) == Quarantined(ODD, found.assessment)


async def test_a_bank_that_says_one_thing_and_then_another_is_not_believed(
    sheets: UnconfirmedSheets, bank: Bank
) -> None:
    """Not even asked further: neither of the two may be right."""
    await polled(sheets, unconfirmed(ODD))
    other = unconfirmed(OTHER)
    assert await polled(sheets, other) == Quarantined(OTHER, other.assessment)
    assert asked_in_english(bank) == 0
    bank.english = daily_xml(OTHER)
    assert await polled(sheets, other) == Admitted(OTHER, ("large_move",))


async def test_a_second_address_that_is_silent_is_asked_three_times(sheets: UnconfirmedSheets, bank: Bank) -> None:
    """As one that still shows the day before; then a person is waited for."""
    for english in (b"", daily_xml(plausible(FRIDAY))):
        bank.english = english
        found = unconfirmed(ODD)
        sheets.forget(SATURDAY)
        said = [await polled(sheets, found) for _ in range(4)]
        assert said == [found, found, found, Quarantined(ODD, found.assessment)]


async def test_a_command_asks_the_second_address_at_once(sheets: UnconfirmedSheets, bank: Bank) -> None:
    """It has no next poll."""
    assert await sheets.confirm(unconfirmed(ODD), at_once=True) == Admitted(ODD, ("large_move",))
    assert asked_in_english(bank) == 1


async def test_what_is_settled_is_no_doubt_any_more(sheets: UnconfirmedSheets) -> None:
    """The next time begins anew; another day's doubt stays."""
    found = unconfirmed(ODD)
    await polled(sheets, found)
    sheets.forget(FRIDAY)
    sheets.forget(SATURDAY)
    assert await polled(sheets, found) == found


async def test_no_more_doubts_are_kept_than_there_is_room_for(sheets: UnconfirmedSheets) -> None:
    """The oldest is forgotten, and begins anew."""
    found = unconfirmed(ODD)
    await polled(sheets, found)
    for n in range(1, MOST_UNCONFIRMED + 1):
        day = SATURDAY + n * ONE_DAY
        later = unconfirmed(changed(plausible(day), PLN=times("1.3")))
        assert await polled(sheets, later) == later
    assert await polled(sheets, found) == found
