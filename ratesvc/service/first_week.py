"""Judges the first sheets of a store, which were served before anything could be compared with them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import date

from ratesvc.bank.admission import Admission, Decision, Recent, assess
from ratesvc.bank.xml import UNKNOWN_PART
from ratesvc.domain.rates import WITHDRAWN_BY_SERVICE, Revision
from ratesvc.errors import FetchFailed
from ratesvc.service import decisions
from ratesvc.service.cycle import Cycle
from ratesvc.service.refresh import Refresher
from ratesvc.storage.records import Case


class FirstWeek:
    """The sheets of the week at a first start: those after the settled days."""

    def __init__(self, refresher: Refresher) -> None:
        self._refresher, self._history = refresher, refresher.history
        self._doubted: dict[date, Admission] = {}
        """The sheets that the second address has not confirmed yet. A restart forgets them: they stay as they are."""

    async def judge(self, recent: Recent) -> None:
        """Judge the sheets of the week as if they came now. Hold back what is strange.

        They came before there was anything to compare them with.
        """
        await self._refresher.ask_for_week()
        settled = self._history.settled
        for day in [day for day in self._history.days if settled and day > settled.until]:
            if revision := self._history.of_date(day):
                # A flag says that a finding was confirmed, or that a person decided.
                is_judged, admission = bool(set(revision.flags) - {UNKNOWN_PART}), assess(revision.sheet, recent)
                is_fine = is_judged or admission.decision is Decision.ACCEPT
                if is_fine or await self._confirm_or_hold_back(revision, admission):
                    recent.add(revision.sheet)

    async def confirm(self) -> None:
        """Ask the second address once more about the first sheets that it has not confirmed. Raises RatesvcError.

        If it is silent about one, the next poll asks about the next.
        """
        for day, admission in list(self._doubted.items()):
            self._doubted.pop(day, None)
            revision, settled = self._history.of_date(day), self._history.settled
            is_settled = settled is not None and day <= settled.until
            if revision and not is_settled and revision.sheet.says_the_same_as(admission.sheet):
                await self._confirm_or_hold_back(revision, admission)
            if day in self._doubted:
                return

    async def _confirm_or_hold_back(self, revision: Revision, admission: Admission) -> bool:
        """Decide about a strange sheet of the week, with the second document if it is asked for.

        While the second address is silent it stays, with its flags. Returns whether it is confirmed.
        """
        day, waiting = revision.effective_date, self._refresher.unconfirmed
        if admission.decision is Decision.CONFIRM:
            self._doubted[day] = admission
            waiting.sightings.pop(day, None)
            admission = await waiting.ask_second(admission, at_once=True)
            waiting.sightings.pop(day, None)
        if admission.decision is Decision.QUARANTINE:
            await self._hold_back(revision, admission)
        elif not set(admission.flags) <= set(revision.flags):
            flags = tuple(dict.fromkeys((*admission.flags, *revision.flags)))
            flagged = replace(revision, number=self._history.next_number(day), flags=flags)
            await decisions.publish(self._refresher, flagged)
        if admission.decision is not Decision.CONFIRM:
            self._doubted.pop(day, None)
        return admission.decision is Decision.ACCEPT

    async def _hold_back(self, revision: Revision, admission: Admission) -> None:
        """Withdraw a sheet, put its document into quarantine, and say why."""
        day, raw, refresher = revision.effective_date, revision.raw, self._refresher
        if not raw:
            # A document with unknown parts is not kept. A person needs it.
            with suppress(FetchFailed):
                raw = (await refresher.client.daily(day, day))[1]
        case = Case(day, refresher.moment(), (str(admission),), raw)
        is_new = bool(raw) and await refresher.store.quarantine.add(case)
        await decisions.publish(refresher, decisions.withdrawal(refresher, day, WITHDRAWN_BY_SERVICE))
        refresher.tell(Cycle("quarantined", held_back={day: admission}, newly_quarantined=[admission.reason] * is_new))
