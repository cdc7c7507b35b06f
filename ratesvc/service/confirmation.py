"""The second document: which sheets await one, when it is asked for, and what follows."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import date

from ratesvc.bank.admission import Admission, Unconfirmed
from ratesvc.bank.client import BankClient
from ratesvc.domain.rates import Sheet
from ratesvc.errors import FetchFailed

MOST_UNCONFIRMED = 64
MOST_SILENT = 3


@dataclass(slots=True)
class _Sighting:
    """A sheet that was seen in that poll; `silent` counts how often the second address did not know it."""

    sheet: Sheet
    poll: int
    silent: int = 0


class UnconfirmedSheets:
    """The sheets that await a second document. They live in memory only: a restart costs one more poll."""

    def __init__(self, client: BankClient) -> None:
        self._client = client
        self._seen: dict[date, _Sighting] = {}
        self._poll = 0

    def begin_poll(self) -> None:
        """Allow one more decision about each sheet until the next poll."""
        self._poll += 1

    def forget(self, effective: date) -> None:
        """The sheet of that day is admitted."""
        self._seen.pop(effective, None)

    async def confirm(self, found: Unconfirmed, *, at_once: bool) -> Admission:
        """Decide about an unconfirmed sheet. It stays unconfirmed if the Bank must be asked again at the next poll.

        `at_once` asks only the second address: for commands, which have no next poll, and for settled days, which the
        Bank has had time to correct.
        """
        seen = self._seen.get(found.effective_date)
        if seen is None or not seen.sheet.says_the_same_as(found.sheet):
            self._remember(found.sheet)
            if not at_once:
                return found.refused() if seen else found
        elif seen.poll == self._poll and not at_once:
            # The backfill after a poll asks for the same days: the Bank has had no time to correct itself.
            return found
        return await self._ask_second_address(found, self._seen[found.effective_date])

    async def _ask_second_address(self, found: Unconfirmed, seen: _Sighting) -> Admission:
        seen.poll = self._poll
        with contextlib.suppress(FetchFailed):
            second = await self._client.daily_in_english(found.effective_date)
            if second.effective_date == found.effective_date:
                return found.compared_with(second)
        seen.silent += 1
        return found if seen.silent < MOST_SILENT else found.refused()

    def _remember(self, sheet: Sheet) -> None:
        while len(self._seen) >= MOST_UNCONFIRMED:
            del self._seen[next(iter(self._seen))]
        self._seen[sheet.effective_date] = _Sighting(sheet, self._poll)
