"""What one refresh does: lease → fetch → parse → admit → store. It returns a Cycle; it does not log, count or publish.

A sheet that is held back changes nothing: the last good one is still served.
"""

from __future__ import annotations

import contextlib
import zlib
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import partial
from itertools import pairwise

from ratesvc.bank.admission import (
    FEWEST_ROWS,
    Admission,
    Admitted,
    HeldBack,
    Quarantined,
    Recent,
    Unconfirmed,
    admit,
    check_sheet,
    with_monthly,
)
from ratesvc.bank.client import BankClient
from ratesvc.bank.xml import parse_daily, unknown_parts
from ratesvc.domain.history import SETTLED, History, day_to_fetch
from ratesvc.domain.rates import WITHDRAWAL, Revision, Sheet
from ratesvc.domain.workdays import ONE_DAY, moscow_day
from ratesvc.errors import BadDocument, FetchFailed, RatesvcError, StoreUnavailable
from ratesvc.service.confirmation import UnconfirmedSheets
from ratesvc.storage.records import Case, name_of
from ratesvc.storage.store import Store

MOST_DOCUMENTS = 3

NO_DOCUMENT = frozenset({"html", "parameters"})
"""Such a refusal leaves nothing to look at: the Bank sent a page of maintenance, or refused the request."""

SUSPICIOUS = frozenset({"rows", "core", "unit", "foreign"})
"""A person may want to look at such a document: it has wrong figures, or somebody else's content."""


@dataclass(frozen=True, slots=True)
class Cycle:
    """The outcome of one refresh.

    `outcome` is new, unchanged, confirming, quarantined, failed, crashed or skipped (another replica holds the lease).
    `accepted` are the revisions that this replica did not hold; `stored` says whether they are safe in Redis and
    announced. `newly_quarantined` has the reason, in one word, of each document that is new in quarantine. `unknown`
    are the elements and attributes of admitted documents that this program does not know.
    """

    outcome: str
    accepted: tuple[Revision, ...] = ()
    stored: bool = True
    failure: FetchFailed | None = None
    held_back: tuple[HeldBack, ...] = ()
    newly_quarantined: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def bank_answered(self) -> bool:
        """Whether the Bank was asked and answered."""
        return self.outcome not in ("failed", "crashed", "skipped")

    @property
    def has_failed(self) -> bool:
        """Whether the Bank was asked and this replica learned nothing."""
        return self.outcome in ("failed", "crashed")

    def then(self, again: Cycle) -> Cycle:
        """Both refreshes as one, which fails only if the first does."""
        outcome = min(self.outcome, again.outcome, key=MOST_TELLING_FIRST.index)
        held_back = {sheet.effective_date: sheet for sheet in (*self.held_back, *again.held_back)}
        accepted, stored = (*self.accepted, *again.accepted), self.stored and again.stored
        failure, both = self.failure or again.failure, tuple(held_back.values())
        return replace(self, outcome=outcome, accepted=accepted, stored=stored, failure=failure, held_back=both)


MOST_TELLING_FIRST = ("quarantined", "confirming", "new", "unchanged", "failed", "crashed")


@dataclass(slots=True)
class _Draft:
    """A cycle in the making: its sheets by effective date, and the history that they are compared with."""

    history: History
    admitted: dict[date, Revision] = field(default_factory=dict)
    held_back: dict[date, HeldBack] = field(default_factory=dict)
    newly_quarantined: list[str] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)
    failure: FetchFailed | None = None

    def current(self, effective: date) -> Revision | None:
        """The latest revision of that day's sheet."""
        return self.admitted.get(effective) or self.history.of_date(effective)

    def number(self, effective: date) -> int:
        """The number of that day's next revision."""
        latest = self.admitted.get(effective) or self.history.latest(effective)
        return latest.number + 1 if latest else 1

    def recent(self, effective: date) -> Recent:
        """The sheets before that day, those of this cycle among them."""
        return Recent.before(self.history, effective, (new.sheet for new in self.admitted.values()))

    def decide(self, sheet: Sheet, *, settled: bool = False, released: bool = False) -> Admission:
        """Apply the rules of admission to a sheet. The arguments are those of `admit`."""
        day = sheet.effective_date
        current, withdrawn = self.current(day), [revision.sheet for revision in self.history.standing(day)[1]]
        held = current.sheet if current else None
        return admit(sheet, self.recent(day), held, withdrawn, settled=settled, released=released)

    def admit(self, revision: Revision, raw: bytes) -> None:
        """Take an admitted sheet. A document with unknown parts is not kept, so that nobody repeats them to readers."""
        unknown = unknown_parts(raw)
        self.unknown.update(unknown)
        document = b"" if unknown else zlib.compress(raw, 9)
        self.admitted[revision.effective_date] = replace(revision, document=document)

    def cycle(self, accepted: Sequence[Revision], *, stored: bool) -> Cycle:
        """The finished cycle. A failed request is no failure if another one brought a sheet."""
        if self.failure and not accepted:
            outcome = "failed"
        elif self.held_back:
            is_quarantined = any(isinstance(sheet, Quarantined) for sheet in self.held_back.values())
            outcome = "quarantined" if is_quarantined else "confirming"
        else:
            outcome = "new" if accepted else "unchanged"
        held_back, newly_quarantined = tuple(self.held_back.values()), tuple(self.newly_quarantined)
        unknown = tuple(sorted(self.unknown))
        return Cycle(outcome, tuple(accepted), stored, self.failure, held_back, newly_quarantined, unknown)


class Refresher:
    """Asks the Bank for daily documents, and admits and stores them."""

    def __init__(
        self, client: BankClient, store: Store, history: History, clock: Callable[[], datetime], *, scheduled: bool
    ) -> None:
        """`clock` gives UTC.

        A `scheduled` refresher decides about an unconfirmed sheet at the next poll; that of a command decides at once.
        """
        self.client = client
        self.store = store
        self.history = history
        self.clock = clock
        self.scheduled = scheduled
        self._unconfirmed = UnconfirmedSheets(client)
        self._asked: dict[date, date] = {}
        """On which day each day was last asked for by its date."""
        self._newest: date | None = None
        """The day of the sheet that the Bank last gave as its newest."""
        self._absences: dict[date, int] = {}
        """How many of the Bank's answers lacked the sheet of a day that is held."""

    async def refresh(self) -> Cycle:
        """Ask for the newest sheet, unless another replica holds the lease: the work of a poll.

        After a failure the other replicas get the lease: they may reach the Bank.
        """
        self._unconfirmed.poll += 1
        with contextlib.suppress(StoreUnavailable):
            if not await self.store.poll_lease.take():
                # The replica that polls counts for itself.
                self._absences.clear()
                return Cycle("skipped")
        cycle = Cycle("crashed")
        try:
            cycle = await self.ask()
        finally:
            if cycle.has_failed:
                await self.store.poll_lease.release()
        return cycle

    async def ask(self, day: date | None = None) -> Cycle:
        """Ask for the sheet of `day`, or the newest, then for today's and the one before it if they are not held."""
        draft, self._newest = _Draft(self.history), None
        days = [day]
        asked: set[date | None] = set()
        while days and len(asked) < MOST_DOCUMENTS:
            day = days.pop(0)
            asked.add(day)
            try:
                await self._ask_for(day, draft)
            except FetchFailed as failure:
                draft.failure = failure
                await self._quarantine_refused(failure, draft)
                if day is None:
                    days += self._without_the_newest(failure)
                continue
            # The Bank gave a sheet that is held back, so the one before it must be asked for.
            given = sorted({*self.history.days, *draft.admitted, *draft.held_back})
            following = day_to_fetch(given, self.history, self.clock())
            if not days and following and following not in asked:
                days.append(following)
        return await self._store(draft)

    async def ask_again(self) -> Cycle:
        """Ask again for the sheets of the last week, because the Bank corrects sheets that are no longer the newest.

        Each is asked for by the last day on which it is in force, so that a sheet that was not noticed comes, too.
        """
        draft = _Draft(self.history)
        for day in self._days_to_ask_again():
            held_back = len(draft.held_back)
            try:
                given = await self._ask_for(day, draft)
            except FetchFailed as failure:
                draft.failure = failure
                if not failure.is_answered:
                    break
                await self._quarantine_refused(failure, draft)
                continue
            if self._is_absent(day, given) or len(draft.held_back) > held_back:
                # The next poll may confirm it.
                del self._asked[day]
        return await self._store(draft)

    def _days_to_ask_again(self) -> list[date]:
        """Today while tomorrow's sheet is held; the others of the last week once a day, and after a start."""
        today = self._today()
        sheets = sorted({*self.history.days, *self.history.open_days})
        lasts = [
            following - ONE_DAY for _, following in pairwise(sheets) if today - SETTLED < following <= today + ONE_DAY
        ]
        if self._newest and self.history.days and self._newest < self.history.days[-1]:
            lasts.append(self.history.days[-1])
        self._asked = {day: on for day, on in self._asked.items() if on == today}
        return [day for day in lasts if day == today or day not in self._asked]

    def _is_absent(self, day: date, given: date) -> bool:
        """Whether the Bank, asked for a day, gave an earlier sheet than the one that is held; such answers count."""
        before = bisect_right(self.history.days, day)
        held = self.history.days[before - 1] if before else given
        if given >= held:
            return False
        self._absences[held] = self._absences.get(held, 0) + 1
        return True

    @property
    def taken_back(self) -> list[date]:
        """The days of held sheets that the Bank no longer has, as two of its answers say; oldest first."""
        return sorted(day for day, times in self._absences.items() if times > 1 and self.history.of_date(day))

    def _without_the_newest(self, failure: FetchFailed) -> list[date]:
        """The days to ask for if the newest sheet is refused: today, and first tomorrow if only its date was wrong."""
        today = self._today()
        days = [today] if failure.is_answered else []
        if days and all(error.reason == "date" for error in failure.refusals):
            days.insert(0, today + ONE_DAY)
        eve = [] if self.history.days else [self._eve()]
        return [*eve, *(day for day in days if self.history.certain_on(day) is None)]

    def _today(self) -> date:
        return moscow_day(self.clock())

    def _eve(self) -> date:
        """The day before the sheet of today takes effect."""
        return self.history.calendar.effective_date_on_or_before(self._today()) - ONE_DAY

    async def _ask_for(self, day: date | None, draft: _Draft) -> date:
        """Ask for the sheet of a day, or the newest, and decide about it; returns its day. Raises FetchFailed."""
        if day is None:
            due = self.history.calendar.due_by(self.clock())
            sheet, raw = await self.client.newest(due, partial(self._read, day))
            self._newest = sheet.effective_date
        else:
            sheet, raw = await self.client.daily(day, partial(self._read, day))
            self._asked[day] = self._today()
        effective = sheet.effective_date
        self._absences.pop(effective, None)
        if effective in draft.held_back:
            return effective
        if draft.recent(effective).last(effective) is None and (day is None or effective > self._eve()):
            # At a first start, today's and the newest sheet need earlier ones to be compared with.
            with contextlib.suppress(FetchFailed):
                await self._ask_for(effective - ONE_DAY, draft)
        current = draft.current(effective)
        if current and current.sheet.says_the_same_as(sheet):
            self._unconfirmed.sightings.pop(effective, None)
            await self._drop(raw)
            if not (self.history.document(effective) or effective in draft.admitted):
                # Backfilled figures are kept again with the Bank's bytes and names.
                draft.admit(replace(current, sheet=sheet), raw)
            return effective
        # A backfill compares an open day with the series.
        settled = self.history.is_settled(effective, self._today()) and effective not in self.history.open_days
        await self._decide(draft.decide(sheet, settled=settled), raw, draft, settled=settled)
        return effective

    async def _decide(self, admission: Admission, raw: bytes, draft: _Draft, *, settled: bool) -> None:
        """Take the decision about a document into the draft. The second address may confirm an unconfirmed sheet."""
        # While that address is asked, a backfill may admit the same sheet. Redis keeps one revision under a number.
        number = draft.number(admission.sheet.effective_date)
        if isinstance(admission, Unconfirmed):
            admission = await self._unconfirmed.confirm(admission, at_once=settled or not self.scheduled)
        if isinstance(admission, Admitted):
            self._unconfirmed.sightings.pop(admission.sheet.effective_date, None)
            draft.admit(admission.revision(number, self._now()), raw)
            await self._drop(raw)
            return
        draft.held_back[admission.effective_date] = admission
        if isinstance(admission, Quarantined):
            case = Case(admission.effective_date, self._now(), (str(admission),), raw)
            await self._quarantine(case, admission.assessment.reason, draft)

    async def _store(self, draft: _Draft) -> Cycle:
        """Store the admitted sheets, the newest first."""
        accepted: list[Revision] = []
        stored = True
        for effective in sorted(draft.admitted, reverse=True):
            current, revision = draft.history.of_date(effective), draft.admitted[effective]
            try:
                if stored:
                    revision = await self._put(revision, current)
            except StoreUnavailable:
                # This replica still serves what it fetched, and the next cycle stores it. The other sheets are not
                # tried, because each would wait for Redis as long again.
                stored = False
            if revision != current:
                accepted.append(revision)
        return draft.cycle(accepted, stored=stored)

    async def _put(self, candidate: Revision, current: Revision | None) -> Revision:
        """Store a sheet, after the one that it corrects, which Redis may have as columns only.

        Returns what another replica has stored meanwhile, if it has. The next poll compares the Bank's with that.
        """
        if current and current.number < candidate.number:
            await self.store.add([current])
        return await self.store.put(candidate)

    async def decide_open_day(self, history: History, day: date, composed: Sheet | None) -> Cycle | None:
        """Ask for the document of a day of `history` that is not admitted, and decide about it.

        `composed` is the sheet that the series give; it is the second document of a settled day. Returns None if the
        Bank answers with an earlier sheet. Raises FetchFailed if no mirror answers.
        """
        draft, settled = _Draft(history), self.history.is_settled(day, self._today())
        try:
            # The series tell whether a short document is whole: the tables of 1992 had few rows.
            document, raw = await self.client.daily(day, partial(self._read, day, fewest_rows=1), paced=False)
        except FetchFailed as failure:
            admission, raw = _unreadable(day, failure)
        else:
            if document.effective_date != day:
                return None
            whole = with_monthly(document, composed, draft.recent(day)) if composed else document
            agrees = composed is not None and composed.says_the_same_as(whole)
            # Of three documents that differ one errs, and nothing says which.
            settled = settled and (agrees or composed is None)
            admission = self._admission(whole if agrees else document, draft, settled=settled, agrees=agrees)
        await self._decide(admission, raw, draft, settled=settled)
        return await self._store(draft)

    @staticmethod
    def _admission(sheet: Sheet, draft: _Draft, *, settled: bool, agrees: bool) -> Admission:
        """Decide about a daily document. On a settled day the series, if it `agrees` with them, are the second one."""
        if not agrees and len(sheet.quotes) < FEWEST_ROWS:
            return Quarantined.because(sheet, ("rows", f"{len(sheet.quotes)} rows, and not what the series say"))
        admission = draft.decide(sheet, settled=settled)
        if agrees and settled and isinstance(admission, Unconfirmed):
            return admission.compared_with(sheet)
        return admission

    async def release(self, case: Case) -> Revision:
        """Publish a document in quarantine as a person's decision.

        Raises BadDocument if it is no sheet, and what `_put_decided` raises.
        """
        sheet = parse_daily(case.raw)
        draft, day = _Draft(self.history), sheet.effective_date
        current = draft.current(day)
        if current and current.sheet.says_the_same_as(sheet):
            return current
        admission = draft.decide(sheet, released=True)
        assert isinstance(admission, Admitted)  # noqa: S101 -- a person vouches for it
        draft.admit(admission.revision(draft.number(day), self._now()), case.raw)
        return await self._put_decided(draft.admitted[day])

    def withdrawal(self, day: date) -> Revision:
        """What takes the place of a day's sheet if a person withdraws it: the revision before it, or no sheet.

        Raises RatesvcError.
        """
        standing, _ = self.history.standing(day)
        if not standing:
            raise RatesvcError(f"no sheet of {day} is held")
        if len(standing) == 1 and day == self.history.days[0]:
            raise RatesvcError(f"no sheet before that of {day} is held, so nothing would be in force")
        before = standing[-2] if len(standing) > 1 else Admitted(Sheet(day, ())).revision(0, self._now())
        flags = (*before.flags, WITHDRAWAL)
        return replace(before, number=_Draft(self.history).number(day), fetched_at=self._now(), flags=flags)

    async def withdraw(self, withdrawal: Revision) -> None:
        """Store a withdrawal. Raises what `_put_decided` raises."""
        await self._put_decided(withdrawal)

    async def _put_decided(self, candidate: Revision) -> Revision:
        """Store what a person has decided.

        Raises StoreUnavailable, and RatesvcError if another revision has come since the person looked.
        """
        stored = await self._put(candidate, self.history.of_date(candidate.effective_date))
        if stored != candidate:
            day, number = stored.key
            raise RatesvcError(f"revision {number} of the sheet of {day} has come meanwhile: nothing was changed")
        return stored

    async def _quarantine_refused(self, failure: FetchFailed, draft: _Draft) -> None:
        for error in failure.refusals:
            if error.reason in SUSPICIOUS and error.raw:
                await self._quarantine(Case(None, self._now(), (str(error),), error.raw), error.reason, draft)

    async def _drop(self, raw: bytes) -> None:
        """An admitted document does not wait any more: its second one came late, or a person released it just now."""
        if self.store.quarantine.count:
            with contextlib.suppress(StoreUnavailable):
                await self.store.quarantine.drop([name_of(raw)])

    async def _quarantine(self, case: Case, reason: str, draft: _Draft) -> None:
        # Without Redis it is put aside at the next poll, because the Bank still says the same then.
        with contextlib.suppress(StoreUnavailable):
            if await self.store.quarantine.add(case):
                draft.newly_quarantined.append(reason)

    def _now(self) -> datetime:
        return self.clock().replace(microsecond=0)

    def _read(self, day: date | None, raw: bytes, fewest_rows: int = FEWEST_ROWS) -> Sheet:
        """The sheet in an answer to the question for a day, or for the newest. Raises BadDocument."""
        sheet = parse_daily(raw)
        held = self.history.of_date(sheet.effective_date)
        # What is held is admitted: a person may have released it, although these rules refuse it.
        if not (held and held.sheet.checksum == sheet.checksum):
            check_sheet(sheet, self._today(), fewest_rows=fewest_rows)
        if day is not None and sheet.effective_date > day:
            raise BadDocument("date", f"asked for {day}, answered {sheet.effective_date}")
        return sheet


def _unreadable(day: date, failure: FetchFailed) -> tuple[Admission, bytes]:
    """A document that is refused waits for a person. Raises the failure if a mirror gave no document."""
    errors = failure.refusals
    if not failure.is_answered or any(error.reason in NO_DOCUMENT for error in errors):
        raise failure
    return Quarantined.because(Sheet(day, ()), *((error.reason, str(error)) for error in errors)), errors[0].raw
