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
from ratesvc.service.doubts import MOST_DOUBTS, Doubts

FRIDAY, SATURDAY = date(2026, 4, 24), date(2026, 4, 25)
ODD = changed(plausible(SATURDAY), PLN=times("1.3"))
OTHER = changed(plausible(SATURDAY), PLN=times("1.4"))


def unconfirmed(sheet: Sheet) -> Unconfirmed:
    found = admit(sheet, plausible(sheet.effective_date - ONE_DAY))
    assert isinstance(found, Unconfirmed)
    return found


@pytest.fixture
async def doubts(bank: Bank) -> AsyncIterator[Doubts]:
    """The Bank says ODD, in both of its documents."""
    bank.documents[SATURDAY] = daily_xml(ODD)
    async with BankClient((bank.url,), "ratesvc-tests", pace=Pace(None)) as client:
        yield Doubts(client)


def asked_in_english(bank: Bank) -> int:
    return sum(request.path.endswith("XML_daily_eng.asp") for request in bank.asked)


async def polled(doubts: Doubts, found: Unconfirmed) -> Admission:
    """What the next poll decides."""
    doubts.begin_turn()
    return await doubts.settle(found, at_once=False)


async def test_the_first_time_nothing_is_decided(doubts: Doubts, bank: Bank) -> None:
    """The second address is asked when the Bank has said the same twice, and then it decides."""
    found = unconfirmed(ODD)
    assert (await polled(doubts, found), asked_in_english(bank)) == (found, 0)
    assert (await polled(doubts, found), asked_in_english(bank)) == (Admitted(ODD, ("large_move",)), 1)


async def test_a_second_document_that_says_otherwise_refuses(doubts: Doubts, bank: Bank) -> None:
    """To the last digit."""
    bank.english = daily_xml(changed(ODD, PLN=times("1.001")))
    found = unconfirmed(ODD)
    await polled(doubts, found)
    assert await polled(doubts, found) == Quarantined(ODD, found.verdict)


async def test_a_bank_that_says_one_thing_and_then_another_is_not_believed(doubts: Doubts, bank: Bank) -> None:
    """Not even asked further: neither of the two may be right."""
    await polled(doubts, unconfirmed(ODD))
    other = unconfirmed(OTHER)
    assert await polled(doubts, other) == Quarantined(OTHER, other.verdict)
    assert asked_in_english(bank) == 0
    bank.english = daily_xml(OTHER)
    assert await polled(doubts, other) == Admitted(OTHER, ("large_move",))


async def test_a_second_address_that_is_silent_is_asked_three_times(doubts: Doubts, bank: Bank) -> None:
    """As one that still shows the day before; then a person is waited for."""
    for english in (b"", daily_xml(plausible(FRIDAY))):
        bank.english = english
        found = unconfirmed(ODD)
        doubts.settled(SATURDAY)
        said = [await polled(doubts, found) for _ in range(4)]
        assert said == [found, found, found, Quarantined(ODD, found.verdict)]


async def test_a_command_asks_the_second_address_at_once(doubts: Doubts, bank: Bank) -> None:
    """It has no next poll."""
    assert await doubts.settle(unconfirmed(ODD), at_once=True) == Admitted(ODD, ("large_move",))
    assert asked_in_english(bank) == 1


async def test_what_is_settled_is_no_doubt_any_more(doubts: Doubts) -> None:
    """The next time begins anew; another day's doubt stays."""
    found = unconfirmed(ODD)
    await polled(doubts, found)
    doubts.settled(FRIDAY)
    doubts.settled(SATURDAY)
    assert await polled(doubts, found) == found


async def test_no_more_doubts_are_kept_than_there_is_room_for(doubts: Doubts) -> None:
    """The oldest is forgotten, and begins anew."""
    found = unconfirmed(ODD)
    await polled(doubts, found)
    for n in range(1, MOST_DOUBTS + 1):
        day = SATURDAY + n * ONE_DAY
        later = unconfirmed(changed(plausible(day), PLN=times("1.3")))
        assert await polled(doubts, later) == later
    assert await polled(doubts, found) == found
