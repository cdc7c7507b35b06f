"""Days for which the Bank answers with an earlier sheet: it took theirs back, or never had one."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import date

from ratesvc.bank.client import BankClient
from ratesvc.domain.columns import Days
from ratesvc.domain.history import History
from ratesvc.domain.rates import USD
from ratesvc.domain.settled import Settled, Silence
from ratesvc.domain.workdays import ONE_DAY
from ratesvc.errors import FetchFailed, StoreUnavailable
from ratesvc.storage.store import Store


class Absences:
    """What the Bank's answers say about days without a sheet."""

    def __init__(self, client: BankClient, store: Store, history: History) -> None:
        self._client, self._store, self._history = client, store, history
        self._times: dict[date, int] = {}
        """How many of the Bank's answers lacked the sheet of a day that is held."""
        self._lacking: set[date] = set()
        """The missing days for which the Bank gave an earlier sheet, since days were learned."""
        self._newest = date.min
        """The newest day of a sheet that the Bank gave; perhaps it is held back."""

    def forget(self) -> None:
        """Another replica asks the Bank, and counts for itself."""
        self._times.clear()

    def came(self, day: date) -> None:
        """The Bank gave the sheet of that day."""
        self._times.pop(day, None)
        self._newest = max(self._newest, day)

    def note(self, day: date, held: date, given: date) -> bool:
        """Note an answer for a day. Returns whether it is an earlier sheet than the one that is `held`."""
        # A mirror that had it, and fails now, may have it still.
        if given < held and not any(mirror.error and mirror.has(held) for mirror in self._client.mirrors):
            self._times[held] = self._times.get(held, 0) + 1
        self._lacking.update(self._history.known.missing(Days(given + ONE_DAY, day)))
        return given < held

    @property
    def taken_back(self) -> list[date]:
        """The days of held sheets that the Bank no longer has, as two of its answers say; oldest first."""
        return sorted(day for day, times in self._times.items() if times > 1 and self._history.of_date(day))

    async def learn(self, today: date) -> None:
        """Learn which past days have no sheet: their documents are earlier ones, and the dollar's series lack them.

        Before a later sheet that is so for good, else until the Bank's next sheet. If one of several mirrors fails, it
        may have them still, unless the series have a later sheet. Of today and tomorrow only the calendar says it.
        """
        settled, days = self._history.settled, sorted(day for day in self._lacking if day < today)
        self._lacking.clear()
        if settled and settled.silence.newest == self._history.days[-1] < self._newest:
            await self._keep(replace(settled, silence=Silence(self._newest, self._newest)))
        if not settled or not days:
            return
        with suppress(FetchFailed):
            records = await self._client.dynamic(USD, days[0], today + ONE_DAY)
            sheets = {record.effective_date for record in records}
            given, newest = max(sheets, default=date.min), self._history.days[-1]
            is_sure = all(not mirror.error for mirror in self._client.mirrors)
            until = max(given, newest) if is_sure else given
            absent = settled.without_a_sheet.union(day for day in days if day not in sheets and day < until)
            rest = set(self._history.known.missing(Days(newest + ONE_DAY, days[-1])))
            is_silent = is_sure and given <= newest < days[-1] and rest <= set(days) and self._newest <= newest
            silence = max(settled.silence, Silence(newest, days[-1])) if is_silent else settled.silence
            await self._keep(replace(settled, without_a_sheet=absent, silence=silence))

    async def _keep(self, learned: Settled) -> None:
        if learned != self._history.settled:
            self._history.learn(learned)
            with suppress(StoreUnavailable):
                await self._store.put_settled(learned)
