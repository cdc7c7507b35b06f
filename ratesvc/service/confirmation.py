"""The second document: which sheets await it, when it is asked for, and what follows."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import date

from ratesvc.bank.admission import Admission, whole
from ratesvc.bank.client import ENGLISH_PATH, BankClient
from ratesvc.domain.rates import Sheet
from ratesvc.errors import FetchFailed

MOST_UNCONFIRMED = 64
MOST_SILENT = 3
"""After so many questions without an answer no more are asked for now."""


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

    async def ask_second(self, first: Admission, *, at_once: bool, is_return: bool = False) -> Admission:
        """Decide about an unconfirmed sheet. It stays unconfirmed if the Bank must be asked again at the next poll.

        `at_once` asks for the second document now: for commands, which have no next poll, and for the sheets of a first
        start, which are served already. `is_return` says that an earlier revision has these figures. Without another
        mirror that agrees it waits for one more poll, so that mirrors that come and go make no news.
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
        given = [whole(sheet, first.sheet) for sheet in await self._given_by_mirrors(first.effective_date)]
        agreeing = sum(sheet.says_the_same_as(first.sheet) for sheet in given)
        if agreeing > 1:
            return first.compared_with(first.sheet)
        if given[agreeing:]:
            return first.refused()
        if at_once or sighting.silent or not is_return:
            with contextlib.suppress(FetchFailed):
                second, _ = await self._client.daily(first.effective_date, first.effective_date, path=ENGLISH_PATH)
                if second.effective_date == first.effective_date:
                    return first.compared_with(whole(second, first.sheet))
        sighting.silent += 1
        return first if sighting.silent < MOST_SILENT else first.refused()

    async def _given_by_mirrors(self, day: date) -> list[Sheet]:
        """The sheet of that day from each mirror that has it, if there are several."""
        given = list[Sheet]()
        for mirror in self._client.mirrors if len(self._client.mirrors) > 1 else ():
            with contextlib.suppress(FetchFailed):
                given.append((await self._client.daily(day, day, of=[mirror]))[0])
        return [sheet for sheet in given if sheet.effective_date == day]
