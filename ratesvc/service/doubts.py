"""What is done about a doubtful sheet: the Bank is asked once more at the next poll, and at a second address.

Doubts live in memory only. A restart loses them, which costs one more poll.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from ratesvc.bank.admission import Admission, Unconfirmed
from ratesvc.bank.client import BankClient
from ratesvc.domain.rates import Sheet
from ratesvc.errors import FetchFailed

MOST_DOUBTS = 64
MOST_SILENT = 3


@dataclass(slots=True)
class Doubt:
    """A sheet that was seen before, in that `turn`; `silent` counts how often the second address did not know it."""

    sheet: Sheet
    turn: int
    silent: int = 0


class Doubts:
    """The doubtful sheets of a few days."""

    def __init__(self, client: BankClient) -> None:
        self._client = client
        self._doubts: dict[date, Doubt] = {}
        self._turn = 0

    def begin_turn(self) -> None:
        """A poll begins: what was doubtful before it may now be decided, but once until the next."""
        self._turn += 1

    def settled(self, effective: date) -> None:
        """The sheet of that day is accepted."""
        self._doubts.pop(effective, None)

    async def settle(self, found: Unconfirmed, *, at_once: bool) -> Admission:
        """What becomes of an unconfirmed sheet; it stays unconfirmed where the Bank is to be asked again.

        `at_once` is for commands, which have no next poll: only the second address is asked.
        """
        sheet = found.sheet
        doubt = self._doubts.get(sheet.effective_date)
        if doubt is None or not doubt.sheet.says_the_same_as(sheet):
            seen_another = doubt is not None
            doubt = self._remember(sheet)
            if not at_once:
                return found.refused() if seen_another else found
        elif doubt.turn == self._turn and not at_once:
            # The backfill after a poll asks for the same days: the Bank has had no time to correct itself.
            return found
        doubt.turn = self._turn
        second = await self._second_document(sheet.effective_date)
        if second is None:
            doubt.silent += 1
            return found if doubt.silent < MOST_SILENT else found.refused()
        return found.beside(second)

    def _remember(self, sheet: Sheet) -> Doubt:
        while len(self._doubts) >= MOST_DOUBTS:
            del self._doubts[next(iter(self._doubts))]
        doubt = self._doubts[sheet.effective_date] = Doubt(sheet, self._turn)
        return doubt

    async def _second_document(self, effective: date) -> Sheet | None:
        """What the English document says; None when it does not come, or is still that of an earlier day."""
        try:
            sheet = await self._client.daily_in_english(effective)
        except FetchFailed:
            return None
        return sheet if sheet.effective_date == effective else None
