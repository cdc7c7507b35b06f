"""One refresh: asks the Bank for documents, decides about each, stores and holds what is admitted. It logs nothing.

A sheet that is held back changes nothing: the last good one is still served.
"""

from __future__ import annotations

import contextlib
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import date, datetime
from functools import partial

from ratesvc.bank.admission import Decision, assess_beside, check_sheet, whole
from ratesvc.bank.client import BankClient
from ratesvc.bank.xml import parse_daily
from ratesvc.domain.columns import Days
from ratesvc.domain.history import History
from ratesvc.domain.rates import FIRST_DAY, Revision, Sheet
from ratesvc.domain.workdays import ONE_DAY, moscow_day
from ratesvc.errors import BadDocument, FetchFailed, StoreUnavailable
from ratesvc.service.absences import Absences
from ratesvc.service.confirmation import MOST_SILENT, UnconfirmedSheets
from ratesvc.service.cycle import Cycle, Draft
from ratesvc.service.mirrors import compare_mirrors
from ratesvc.service.questions import Questions
from ratesvc.storage.records import Case, name_of
from ratesvc.storage.store import Store

SUSPICIOUS = frozenset({"rows", "core", "unit", "foreign", "root"})
"""A person may want to look at such a document: it has wrong figures, another form, or somebody else's content."""


class Refresher:
    """Asks the Bank for daily documents, admits and stores them."""

    def __init__(
        self,
        client: BankClient,
        store: Store,
        history: History,
        clock: Callable[[], datetime],
        tell: Callable[[Cycle], None],
        *,
        scheduled: bool,
    ) -> None:
        """`clock` gives UTC. `tell` gets the cycle so far.

        A `scheduled` refresher decides about an unconfirmed sheet at the next poll; that of a command decides at once.
        """
        self.client = client
        self.store = store
        self.history = history
        self.clock = clock
        self.scheduled = scheduled
        self.tell = tell
        self.unconfirmed = UnconfirmedSheets(client)
        self.absences = Absences(client, store, history)
        self._questions = Questions(history, clock)

    # What a poll, a command and the first week ask for

    async def refresh(self) -> Cycle:
        """Ask for the newest sheet and those that may have changed, unless another replica holds the lease: the poll.

        After a failure the other replicas get the lease: they may reach the Bank.
        """
        self.unconfirmed.poll += 1
        # Without Redis there is no lease, and each replica asks. Redis may be back when the Bank has answered, so this
        # failure does not count as one of `Cycle.storing`.
        is_our_turn = True
        with contextlib.suppress(StoreUnavailable):
            # A replica whose commands Redis refuses may never get what the holder of the lease stores: it asks, too.
            is_our_turn = await self.store.poll_lease.take() or self.store.connection.refusing
        if not is_our_turn:
            # Another replica asks now, and counts for itself the answers that lack a held sheet.
            self.absences.forget()
            return Cycle("skipped")
        draft, began = Draft(), self.clock()
        try:
            await self._ask_for_newest(draft)
            if draft.has_answer:
                # The newest sheet is served by now. The Bank also corrects earlier ones. The oldest is asked for first,
                # because each is compared with those before it.
                await self._ask_and_store(self._questions.days_to_ask(draft.newest), draft)
                await compare_mirrors(self.client, self.history, began, partial(self._parsed, None))
        finally:
            if not draft.has_answer:
                await self.store.poll_lease.release()
        return draft.cycle

    async def ask_without_lease(self, day: date | None = None) -> Cycle:
        """Ask for the sheet of `day` and the one before, or the newest and those that are missing: a command's work."""
        draft = Draft()
        if day:
            await self._ask_and_store([day], draft)
            effective = self._day_held_on(day)
            if effective > self.history.begins and not self.history.before(effective):
                await self._ask_and_store([effective - ONE_DAY], draft)
        else:
            await self._ask_for_newest(draft)
            await self._ask_and_store(self._questions.missing(draft.newest), draft)
        return draft.cycle

    async def ask_for_week(self) -> None:
        """Ask for the sheets of the last month that are missing, and those of the last week not asked for today."""
        await self._ask_and_store(self._questions.days_to_ask(None), Draft())

    def _today(self) -> date:
        return moscow_day(self.clock())

    # The requests

    async def _ask_for_newest(self, draft: Draft) -> None:
        """Ask for the newest sheet, decide about it, store and hold it.

        With nothing near to compare it with, one or two earlier ones are asked for, and decided first.
        """
        try:
            due = self.history.calendar.due_by(self.clock())
            newest, raw = await self.client.daily(None, due, partial(self._parsed, None))
        except FetchFailed as failure:
            await self._note_failure(failure, draft)
            await self._ask_instead(failure, draft)
            return
        draft.newest, draft.has_answer = newest.effective_date, True
        if not self.history.month_before(newest.effective_date):
            # At a first start, today's and the newest sheet need earlier ones to be compared with. Without them they
            # may be admitted as they are, and `first_week.py` judges them once history is there.
            firsts = {self._eve(), newest.effective_date - ONE_DAY}
            await self._ask(sorted(day for day in firsts if day < newest.effective_date), draft)
        await self._decide(newest, raw, draft)
        await self._store_and_hold(draft)

    async def _ask_instead(self, failure: FetchFailed, draft: Draft) -> None:
        """Ask for sheets by their days if the Bank answers, and the document of its newest sheet is refused."""
        today, days = self._today(), list[date]()
        if failure.refusals and not self.history.days:
            # To compare today's with. Without today's it is better than nothing.
            days.append(self._eve())
        if failure.is_answered:
            # Today's may be another document than the newest.
            days.append(today)
            if all(error.reason == "date" for error in failure.refusals):
                # Nothing but the date was refused, so tomorrow's sheet may be there.
                days.append(today + ONE_DAY)
        await self._ask_and_store([day for day in days if self.history.certain_on(day) is None], draft)

    def _eve(self) -> date:
        """The last day of the sheet before today's."""
        return self.history.calendar.effective_date_on_or_before(self._today()) - ONE_DAY

    async def _ask_and_store(self, days: Iterable[date], draft: Draft) -> None:
        """Ask for the sheets of these days, store and hold what is admitted."""
        await self._ask(days, draft)
        # A day without a document of its own has no sheet if the dollar's series lack it, too: a request more.
        await self.absences.learn(self._today())
        await self._store_and_hold(draft)

    async def _ask(self, days: Iterable[date], draft: Draft) -> None:
        """Ask for the sheets of these days, and decide about each.

        It ends when no mirror gives a document for the third time, because the next requests would wait as long again.
        """
        silent = 0
        for day in days:
            held_day = self._day_held_on(day)
            # The latest sheet that a good mirror has by now. One that lags gives an earlier one, and the next is asked.
            due = max([held_day, *self.history.missing_days(Days(held_day + ONE_DAY, day), self._today())])
            try:
                sheet, raw = await self.client.daily(day, due, partial(self._parsed, day))
            except FetchFailed as failure:
                await self._note_failure(failure, draft)
                silent += 0 if failure.refusals else 1
                if silent == MOST_SILENT:
                    break
                continue
            await self._decide(sheet, raw, draft)
            self._note_answer(day, held_day, sheet.effective_date, draft)

    def _note_answer(self, day: date, held_day: date, given_day: date, draft: Draft) -> None:
        """Note what the sheet that came for a day means for the next questions.

        `held_day` is that of the sheet held on the asked `day`: for a Sunday, Saturday's. If Friday's is given for it,
        the Bank may have taken Saturday's back.
        """
        is_earlier = self.absences.note(day, held_day, given_day)
        held_back = draft.cycle.held_back.get(given_day)
        is_quarantined = held_back is not None and held_back.decision is Decision.QUARANTINE
        # A person decides about a case, and about a sheet that two of the Bank's answers lacked.
        if is_quarantined or (is_earlier and held_day in self.absences.taken_back):
            self._questions.put_off(day)
        elif not is_earlier and not held_back:
            self._questions.answered(day)
        # Else neither: the next poll asks again.

    def _day_held_on(self, day: date) -> date:
        """The day of the sheet that is held and in force on `day`."""
        before = bisect_right(self.history.days, day)
        return self.history.days[before - 1] if before else FIRST_DAY

    def _parsed(self, day: date | None, raw: bytes) -> Sheet:
        """The sheet in an answer to the question for a day, or for the newest. Raises BadDocument. Runs in a thread."""
        sheet = parse_daily(raw)
        held = self.history.of_date(sheet.effective_date)
        # What is held is admitted: a person may have released it, although these rules refuse it.
        if not (held and held.sheet.checksum == sheet.checksum):
            check_sheet(sheet, self._today())
        if day is not None and sheet.effective_date > day:
            raise BadDocument("date", f"asked for {day}, answered {sheet.effective_date}")
        return sheet

    async def _note_failure(self, failure: FetchFailed, draft: Draft) -> None:
        """Keep a failure for the log, and what a person may want to look at."""
        earlier = draft.cycle.failure.failures if draft.cycle.failure else ()
        draft.cycle.failure = FetchFailed([*earlier, *failure.failures])
        for error in failure.refusals:
            if error.reason in SUSPICIOUS and error.raw:
                await self._quarantine(Case(None, self.moment(), (str(error),), error.raw), error.reason, draft.cycle)

    # Decisions

    async def _decide(self, sheet: Sheet, raw: bytes, draft: Draft) -> None:
        """Admit a daily document or hold it back. One that says what is held is no news."""
        effective = sheet.effective_date
        self.absences.came(effective)
        current = draft.admitted.get(effective) or self.history.of_date(effective)
        # A document from before 2010 lacks the currencies that the Bank set once a month: these rows stay as they were,
        # also if the sheet that has them was withdrawn.
        beside = current or next(reversed(self.history.withdrawn_revisions(effective)), None)
        sheet = whole(sheet, beside.sheet if beside else None)
        if current and current.sheet.says_the_same_as(sheet):
            await self._note_same(current, sheet, raw, draft)
            return
        admission = assess_beside(self.history, sheet, draft.admitted)
        # Numbered now: if a command admits a sheet of this day while the second address is asked, ours must lose.
        number = self.history.next_number(effective)
        if admission.decision is Decision.CONFIRM:
            earlier = self.history.standing_revisions(effective)[:-1]
            # Back to earlier figures: perhaps only a mirror that lags, so it takes another poll.
            is_return = any(one.sheet.says_the_same_as(sheet) for one in earlier)
            admission = await self.unconfirmed.ask_second(admission, at_once=not self.scheduled, is_return=is_return)
        if admission.decision is Decision.ACCEPT:
            self.unconfirmed.sightings.pop(effective, None)
            await draft.take(admission.revision(number, self.moment()), raw)
            await self._drop_from_quarantine(raw, draft.cycle, effective)
            return
        draft.cycle.held_back[effective] = admission
        if admission.decision is Decision.QUARANTINE:
            await self._quarantine(
                Case(effective, self.moment(), (str(admission),), raw), admission.reason, draft.cycle
            )

    async def _note_same(self, current: Revision, sheet: Sheet, raw: bytes, draft: Draft) -> None:
        """The Bank says what is held: nothing waits any more."""
        day = sheet.effective_date
        self.unconfirmed.sightings.pop(day, None)
        await self._drop_from_quarantine(raw, draft.cycle)
        if day not in self.history.latest_own and day not in draft.admitted:
            # Backfilled figures are kept again with the Bank's bytes and names.
            await draft.take(replace(current, sheet=sheet), raw)

    async def _store_and_hold(self, draft: Draft) -> None:
        """Store the admitted sheets, hold what is stored, and tell what the cycle has brought so far.

        The newest is stored first: readers of other replicas wait for it.
        """
        new, cycle = list[Revision](), draft.cycle
        for effective in sorted(draft.admitted, reverse=True):
            current, revision = self.history.of_date(effective), draft.admitted[effective]
            # Redis may have the sheet that this one corrects as columns only: it is stored first then.
            stored = await self._put(revision, current, cycle)
            if stored != [revision]:
                # Its number was taken meanwhile, or it is withdrawn already. Asked again, the Bank says whether ours
                # corrects what is held.
                self._questions.repeat()
            # What is stored under our number may be held here by now, which is no news.
            new += [one for one in stored if one != current]
        draft.admitted.clear()
        cycle.accepted += self.history.hold(new)
        draft.conclude()
        self.tell(cycle)
        cycle.newly_quarantined.clear()

    async def _put(self, revision: Revision, current: Revision | None, cycle: Cycle) -> list[Revision]:
        """Store a revision; returns those that are stored under its number and later: a person may have withdrawn it.

        Without Redis it returns what to serve: the given one, which is written once Redis is back, or nothing new if
        its number is taken.
        """
        if cycle.stored:
            with cycle.storing():
                return await self.store.put(revision, current)
        # Redis was away before, or the `with` has just ended without a result. Another replica may have stored one of
        # this number while the Bank was asked.
        is_taken = revision.number in self.history.own_revisions(revision.effective_date)
        return [] if is_taken else [revision]

    async def _drop_from_quarantine(self, raw: bytes, cycle: Cycle, day: date | None = None) -> None:
        """Drop the case of a document that is held now, and if it was just admitted, all cases of its `day`."""
        if cycle.stored and self.store.quarantine.count:
            with cycle.storing():
                cases = await self.store.quarantine.cases() if day else []
                others = [case.name for case in cases if case.effective_date == day]
                await self.store.quarantine.drop([name_of(raw), *others])

    async def _quarantine(self, case: Case, reason: str, cycle: Cycle) -> None:
        """Put a document aside. Without Redis the next poll does it, because the Bank still says the same then."""
        if cycle.stored:
            with cycle.storing():
                if await self.store.quarantine.add(case):
                    cycle.newly_quarantined.append(reason)

    def moment(self) -> datetime:
        """The time in UTC, in whole seconds."""
        return self.clock().replace(microsecond=0)
