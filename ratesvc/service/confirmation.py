"""The second document: which sheets await it, when it is asked for, and what follows."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import date

from ratesvc.bank.admission import Admission
from ratesvc.bank.client import BankClient
from ratesvc.domain.rates import Sheet
from ratesvc.errors import FetchFailed

MOST_UNCONFIRMED = 64
MOST_SILENT = 3


@dataclass(slots=True)
class Sighting:
    """An unconfirmed sheet, and the poll that last saw it; `silent` counts how often the second address lacked it."""

    sheet: Sheet
    poll: int
    silent: int = 0


class UnconfirmedSheets:
    """The sheets that await a second document. They are in memory only: a restart costs one more poll."""

    def __init__(self, client: BankClient) -> None:
        self._client = client
        self.sightings: dict[date, Sighting] = {}
        """The sheets that wait, by effective date. An admitted one is taken out."""
        self.poll = 0
        """Counts the polls: each allows one more decision about a sheet."""

    async def ask_second(self, first: Admission, *, at_once: bool) -> Admission:
        """Decide about an unconfirmed sheet. It stays unconfirmed if the Bank must be asked again at the next poll.

        `at_once` asks only the second address: for commands, which have no next poll, and for settled days, which the
        Bank has had time to correct.
        """
        sighting = self.sightings.get(first.effective_date)
        if sighting is None or not sighting.sheet.says_the_same_as(first.sheet):
            has_changed = sighting is not None
            if len(self.sightings) >= MOST_UNCONFIRMED:
                del self.sightings[next(iter(self.sightings))]
            sighting = self.sightings[first.effective_date] = Sighting(first.sheet, self.poll)
            if not at_once:
                return first.refused() if has_changed else first
        elif sighting.poll == self.poll and not at_once:
            # The backfill after a poll asks for the same days: the Bank has had no time to correct itself.
            return first
        sighting.poll = self.poll
        with contextlib.suppress(FetchFailed):
            second = await self._client.daily_in_english(first.effective_date)
            if second.effective_date == first.effective_date:
                return first.compared_with(second)
        sighting.silent += 1
        return first if sighting.silent < MOST_SILENT else first.refused()
