"""Judges the settled days, which were served before anything could be compared with them.

The Bank's series say what settled days are, so nothing waits for this. But a series may have a slipped point on an old
day, or lack a day. The document of each strange day is asked for until it comes, three times at most.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from dataclasses import replace
from datetime import date
from itertools import pairwise
from typing import Any, NamedTuple

from ratesvc.bank.admission import Admission, Decision, Recent, assess, check_sheet, whole
from ratesvc.bank.xml import UNKNOWN_PART, with_document
from ratesvc.domain.columns import Days
from ratesvc.domain.history import NEAR
from ratesvc.domain.rates import Revision, Sheet
from ratesvc.domain.workdays import LONG_AGO, ONE_DAY, RULE_SINCE
from ratesvc.errors import BadDocument, FetchFailed, NotTaken
from ratesvc.service.confirmation import MOST_SILENT
from ratesvc.service.cycle import OnStep, Progress
from ratesvc.service.first_week import FirstWeek
from ratesvc.service.refresh import Refresher
from ratesvc.storage.records import Case, name_of

MOST_ASKED = 3
"""How often the document of a day is asked for, if none comes."""
NO_DOCUMENT = frozenset({"html", "parameters"})
"""Such a refusal says nothing of a day: the Bank sent a page of maintenance, or refused the request."""


class Answer(NamedTuple):
    """What the Bank says of a day. The document has no rows if it is refused; without bytes the Bank has none."""

    document: Sheet
    raw: bytes


class Look:
    """One walk over settled days, the oldest first.

    Each is compared with the sheets before it that are not strange, or whose document came: the `recent` ones.
    """

    def __init__(self, refresher: Refresher, gap_s: float) -> None:
        """`gap_s` is the pause between two requests."""
        self._refresher, self._history, self._gap_s = refresher, refresher.history, gap_s
        self._failures = Counter[date]()
        """How often the Bank was asked for the document of a day, and gave none."""
        self._answered = set[date]()
        """The days whose documents came. They are not asked for again."""
        self.first_week = FirstWeek(refresher)

    async def run(self, on_step: OnStep) -> None:
        """Look at the days that had no look. Raises StoreUnavailable, and NotTaken if documents do not come.

        Days whose documents do not come keep their figures, with flags. They are asked for again, three times in all.
        """
        settled, history = self._history.settled, self._history
        if settled is None or settled.is_looked_at:
            return
        if is_first := settled.looked_until < settled.since:
            # A look that was cut off has flagged them.
            flagged = {one.effective_date for one in history.latest_own.values() if one.flags and _is_of_series(one)}
            self._answered |= flagged - self._failures.keys()
        days = Days(max(settled.since, settled.looked_until + ONE_DAY), settled.until)
        left, recent = deque(await asyncio.to_thread(self._days_to_look_at, days)), Recent.before(history, days.since)
        total, failed, silent = len(left), list[date](), 0
        while strange := await asyncio.to_thread(self._next_strange, left, recent):
            day, findings = strange
            await on_step(Progress(total - len(left) - 1, total, f"the sheet of {day}"))
            # If none comes, the Bank is not asked in vain a hundred times.
            gives_up = silent >= MOST_SILENT
            answer = None if gives_up else await self._answer_for(day)
            if answer:
                silent = 0
                await self._decide(day, findings, answer, recent)
                continue
            silent += 1
            if self._failures[day] < MOST_ASKED:
                failed.append(day)
            await self._flag_series(day, findings, recent if gives_up else None)
        if is_first:
            await self.first_week.judge(recent)
        if self._history.settled and self._history.settled.contradicts(settled):
            return  # another replica's figures came meanwhile, which have their own look
        await self._learn(looked_until=min(failed) - ONE_DAY if failed else settled.until)
        await on_step(Progress(total, total, "nothing more"))
        if failed:
            raise NotTaken(
                f"the Bank gives no documents of {len(failed)} days from {failed[0]} on. It is asked again later"
            )

    # Settled days

    async def _learn(self, **what: Any) -> None:
        """Remember how far the look has come, or that the Bank has no sheet of a day, or may have one."""
        settled = self._history.settled
        assert settled  # noqa: S101 -- settled days stay settled
        learned = replace(settled, **what)
        self._history.learn(learned)
        await self._refresher.store.put_settled(learned)

    def _days_to_look_at(self, days: Days) -> list[date]:
        """The days of sheets, and those on which one is expected; in a silence of a month the calendar expects none."""
        held, settled = [day for day in self._history.days if day in days], self._history.settled
        found, calendar = {*held, *self._history.known.missing(days)}, self._history.calendar
        for sheet, following in pairwise([*held, days.until + ONE_DAY]):
            day = calendar.may_end(max(sheet, RULE_SINCE))
            while day < following <= sheet + NEAR:
                found.add(day)
                day = calendar.effective_date_after(day)
        return sorted(found - settled.without_a_sheet if settled else found)

    def _next_strange(self, left: deque[date], recent: Recent) -> tuple[date, Admission | None] | None:
        """Take days out of those that are `left`, up to one without a sheet or with findings, which come with it."""
        while left:
            day = left.popleft()
            revision = self._history.of_date(day)
            may_ask = self._failures[day] < MOST_ASKED and day not in self._answered
            if revision is None:
                if may_ask and day not in self._history.withdrawn_days:
                    return day, None
                continue
            admission = assess(revision.sheet, recent) if _is_of_series(revision) else None
            # A document of this day waits for the second one: it may know what the series cannot say.
            waits = day in self._refresher.unconfirmed.sightings
            if not admission or (admission.decision is Decision.ACCEPT and not waits):
                recent.add(revision.sheet)
            elif may_ask:
                return day, admission
        return None

    async def _answer_for(self, day: date) -> Answer | None:
        """Ask for the document of a day; None if the Bank does not answer."""
        await asyncio.sleep(self._gap_s)
        try:
            document, raw = await self._refresher.client.daily(day, day)
        except FetchFailed as failure:
            if not failure.is_answered or any(error.reason in NO_DOCUMENT for error in failure.refusals):
                self._failures[day] += 1
                return None
            return Answer(Sheet(day, ()), failure.refusals[0].raw)
        return Answer(document, raw) if document.effective_date == day else Answer(Sheet(day, ()), b"")

    async def _decide(self, day: date, findings: Admission | None, answer: Answer, recent: Recent) -> None:
        """Decide about a day for which the Bank has answered."""
        held, refresher, (document, raw) = self._history.of_date(day), self._refresher, answer
        if day in self._history.withdrawn_days or (held and not _is_of_series(held)):
            # A poll or a person was faster.
            return
        if held:
            self._answered.add(day)
            chosen = _document_or_series(document, held, findings.flags if findings else (), recent)
            await self._store_and_hold(chosen, held, raw, recent)
        elif not raw:
            await self._learn(without_a_sheet=frozenset([day]))
        elif (admission := assess(document, recent)).decision is Decision.QUARANTINE or not _is_well_formed(document):
            reason = f"{', '.join(admission.flags or ('rows',))}: the series have no sheet of that day"
            await refresher.store.quarantine.add(Case(day, refresher.moment(), (reason,), raw))
            await self._learn(open_days=frozenset([day]))
        else:
            await self._store_and_hold(Revision(document, 1, LONG_AGO, admission.flags), None, raw, recent)

    async def _store_and_hold(self, chosen: Revision, held: Revision | None, raw: bytes, recent: Recent) -> None:
        """Store and hold what was chosen for a day: the document with these bytes, or the `held` series with flags."""
        day, store, number = chosen.effective_date, self._refresher.store, chosen.number
        is_document = not (held and chosen.sheet is held.sheet)
        if held and number == held.number:
            number = self._number_with(chosen.flags, held)
        revision = replace(chosen, number=number, fetched_at=self._refresher.moment(), document=b"")
        revision = await asyncio.to_thread(with_document, revision, raw) if is_document else revision
        self._history.hold(await store.put(revision, held))
        self._refresher.unconfirmed.sightings.pop(day, None)
        if is_document:
            recent.add(revision.sheet)
            await store.quarantine.drop([name_of(raw)])

    async def _flag_series(self, day: date, findings: Admission | None, recent: Recent | None) -> None:
        """Say what is strange about the series' figures of a day. With `recent` the next are compared with them."""
        held = self._history.of_date(day)
        if not (held and findings):
            return
        if recent:
            recent.add(held.sheet)
        if not set(findings.flags) <= set(held.flags):
            number, moment = self._number_with(findings.flags, held), self._refresher.moment()
            flagged = replace(held, number=number, fetched_at=moment, flags=findings.flags)
            self._history.hold(await self._refresher.store.put(flagged, held))

    def _number_with(self, flags: tuple[str, ...], held: Revision) -> int:
        """The number of a held revision with these flags: the next one if it is stored with others, which it keeps."""
        is_stored = held.effective_date in self._history.latest_own
        return held.number + 1 if is_stored and flags != held.flags else held.number


def _is_of_series(revision: Revision) -> bool:
    """Whether no document and no person has said these figures: they are the series'."""
    return not (revision.document or revision.is_withdrawal or UNKNOWN_PART in revision.flags)


def _document_or_series(document: Sheet, held: Revision, flags: tuple[str, ...], recent: Recent) -> Revision:
    """The document if nothing is strange about it, or if it says the same; else the series with their flags."""
    sheet = whole(document, held.sheet)
    if document.quotes and sheet.says_the_same_as(held.sheet):
        return replace(held, sheet=sheet, flags=flags)
    admission = assess(sheet, recent)
    if _is_well_formed(document) and _by_id(sheet) == _by_id(held.sheet):
        # Series have no codes, so the document says them.
        return replace(held, sheet=sheet, flags=admission.flags)
    if admission.decision is Decision.ACCEPT and _is_well_formed(document):
        return replace(held, sheet=sheet, number=held.number + 1, flags=("corrected", *admission.flags))
    return replace(held, flags=flags)


def _by_id(sheet: Sheet) -> set[tuple[object, ...]]:
    return {(quote.cbr_id, quote.nominal, quote.value) for quote in sheet.quotes}


def _is_well_formed(document: Sheet) -> bool:
    """Whether the rules that need no other sheet allow a document of a past day."""
    try:
        check_sheet(document, document.effective_date)
    except BadDocument:
        return False
    return True
