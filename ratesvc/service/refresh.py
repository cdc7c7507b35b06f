"""What one refresh does: lease → fetch → parse → admit → store → hold. It does not log or count.

A sheet that is held back changes nothing: the last good one is still served.
"""

from __future__ import annotations

import contextlib
from bisect import bisect_right
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import partial
from itertools import pairwise

from ratesvc.bank.admission import FEWEST_ROWS, Admission, Decision, Recent, assess, check_sheet, with_monthly
from ratesvc.bank.client import BankClient
from ratesvc.bank.xml import parse_daily, unknown_parts, with_document
from ratesvc.domain.history import SETTLED_AFTER, History, day_to_fetch
from ratesvc.domain.rates import FIRST_DAY, Revision, Sheet
from ratesvc.domain.workdays import ONE_DAY, moscow_day
from ratesvc.errors import BadDocument, FetchFailed, StoreUnavailable
from ratesvc.service.confirmation import UnconfirmedSheets
from ratesvc.storage.records import Case, name_of
from ratesvc.storage.store import Store

NO_DOCUMENT = frozenset({"html", "parameters"})
"""Such a refusal leaves nothing to look at: the Bank sent a page of maintenance, or refused the request."""

SUSPICIOUS = frozenset({"rows", "core", "unit", "foreign", "root"})
"""A person may want to look at such a document: it has wrong figures, another form, or somebody else's content."""


@dataclass(slots=True)
class Cycle:
    """One refresh, and its outcome.

    `outcome` is new, unchanged, confirming, quarantined, failed, crashed or skipped (another replica holds the lease).
    `accepted` are the revisions that this replica did not hold; `stored` says whether they are safe in Redis.
    `held_back` are sheets by effective date. `newly_quarantined` has the reason, in one word, of each document that is
    new in quarantine and not counted yet. `unknown` are the elements and attributes of admitted documents that this
    program does not know.
    """

    outcome: str = "unchanged"
    accepted: list[Revision] = field(default_factory=list)
    stored: bool = True
    failure: FetchFailed | None = None
    held_back: dict[date, Admission] = field(default_factory=dict)
    newly_quarantined: list[str] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)

    @property
    def has_failed(self) -> bool:
        """Whether the Bank was asked and this replica learned nothing."""
        return self.outcome in ("failed", "crashed")


@dataclass(slots=True)
class _Draft:
    """A cycle in the making, and the history that its sheets are compared with."""

    history: History
    cycle: Cycle = field(default_factory=Cycle)
    asked: set[date | None] = field(default_factory=set)
    newest: date | None = None
    """The day of the sheet that the Bank gave as its newest."""
    admitted: dict[date, Revision] = field(default_factory=dict)
    """The sheets that are not stored and held yet, by effective date."""
    has_answer: bool = False
    """Whether the Bank gave what it was asked for first, or a sheet that is new. Later failures are of other days."""

    def current(self, effective: date) -> Revision | None:
        """The latest revision of that day's sheet."""
        return self.admitted.get(effective) or self.history.of_date(effective)

    def recent(self, effective: date) -> Recent:
        """The sheets before that day, those of this cycle among them."""
        return Recent.before(self.history, effective, (new.sheet for new in self.admitted.values()))

    def judge(self, sheet: Sheet, *, settled: bool) -> Admission:
        """Apply the rules of admission to a sheet. The arguments are those of `assess`."""
        day = sheet.effective_date
        current, withdrawn = self.current(day), [revision.sheet for revision in self.history.standing(day)[1]]
        held = current.sheet if current else None
        return assess(sheet, self.recent(day), held, withdrawn, settled=settled)

    def take(self, revision: Revision, raw: bytes) -> None:
        """Take an admitted sheet."""
        self.cycle.unknown.update(unknown_parts(raw))
        self.admitted[revision.effective_date] = with_document(revision, raw)

    def outcome(self) -> str:
        """The outcome of the cycle so far."""
        cycle = self.cycle
        if cycle.failure and not self.has_answer:
            return "failed"
        if any(sheet.decision is Decision.QUARANTINE for sheet in cycle.held_back.values()):
            return "quarantined"
        if cycle.held_back:
            return "confirming"
        return "new" if cycle.accepted else "unchanged"


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
        self._tell = tell
        self._unconfirmed = UnconfirmedSheets(client)
        self._asked: dict[date, date] = {}
        """On which day each day was last asked for by its date, and answered with a sheet that is held."""
        self._absences: dict[date, int] = {}
        """How many of the Bank's answers lacked the sheet of a day that is held."""

    async def refresh(self) -> Cycle:
        """Ask for the newest sheet and those of the last week, unless another replica holds the lease: a poll's work.

        After a failure the other replicas get the lease: they may reach the Bank.
        """
        self._unconfirmed.poll += 1
        with contextlib.suppress(StoreUnavailable):
            # A replica whose commands Redis refuses may never get what the holder of the lease stores.
            if not await self.store.poll_lease.take() and not self.store.connection.refusing:
                # The replica that polls counts for itself.
                self._absences.clear()
                return Cycle("skipped")
        draft, began = _Draft(self.history), self.clock()
        try:
            await self._ask_for_all([None], draft)
            if draft.has_answer:
                # The newest sheet is served by now. The Bank also corrects sheets that are no longer the newest.
                today = self._today()
                self._asked = {day: on for day, on in self._asked.items() if on == today}
                await self._ask_for_all(_days_to_ask_again(self.history, today, draft.newest, self._asked), draft)
                await self._look_at_mirrors(began)
        finally:
            if not draft.has_answer:
                await self.store.poll_lease.release()
        return draft.cycle

    async def ask_without_lease(self, day: date | None = None) -> Cycle:
        """Ask for the sheet of `day`, or the newest, at once: the work of a command."""
        draft = _Draft(self.history)
        await self._ask_for_all([day], draft)
        return draft.cycle

    async def _ask_for_all(self, days: Sequence[date | None], draft: _Draft) -> None:
        """Ask for the sheets of these days; None is the newest. Then for today's and the one before it if they lack.

        If no mirror gives a document, it ends, because the next requests would wait as long again.
        """
        left = list(days)
        while left:
            day = left.pop(0)
            if day in draft.asked:
                continue
            draft.asked.add(day)
            try:
                await self._ask_for(day, draft)
            except FetchFailed as failure:
                earlier = draft.cycle.failure.failures if draft.cycle.failure else ()
                draft.cycle.failure = FetchFailed([*earlier, *failure.failures])
                await self._quarantine_refused(failure, draft)
                if day is None:
                    left += self._without_the_newest(failure)
                elif not failure.refusals:
                    break
                continue
            # The Bank gave a sheet that is held back, so the one before it must be asked for.
            given = sorted({*self.history.days, *draft.admitted, *draft.cycle.held_back})
            if not left and (following := day_to_fetch(given, self.history, self.clock())):
                left.append(following)
        await self._store(draft)

    async def _look_at_mirrors(self, began: datetime) -> None:
        """Ask the mirrors that no poll of the last day needed. Note which of those asked since then lag or differ."""
        mirrors, due = self.client.mirrors, self.history.calendar.due_by(began)
        for mirror in mirrors:
            if not mirror.asked_at or mirror.asked_at <= began - ONE_DAY:
                with contextlib.suppress(FetchFailed):
                    await self.client.daily(None, due, partial(self._read, None), of=[mirror])
        for mirror in mirrors if len(mirrors) > 1 else ():
            if mirror.newest and mirror.asked_at and mirror.asked_at >= began:
                day = mirror.newest.effective_date
                held, is_late = self.history.of_date(day), day < due and any(other.has(due) for other in mirrors)
                is_other = held and not held.sheet.says_the_same_as(mirror.newest)
                lags = f"lags: its newest sheet is that of {day}" if is_late else ""
                mirror.finding = f"differs: other figures for {day} than those held" if is_other else lags

    def _held_on(self, day: date) -> date:
        """The day of the sheet that is held and in force on `day`."""
        before = bisect_right(self.history.days, day)
        return self.history.days[before - 1] if before else FIRST_DAY

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
        eve = [self._eve()] if failure.refusals and not self.history.days else []
        return [*eve, *(day for day in days if self.history.certain_on(day) is None)]

    def _today(self) -> date:
        return moscow_day(self.clock())

    def _eve(self) -> date:
        """The day before the sheet of today takes effect."""
        return self.history.calendar.effective_date_on_or_before(self._today()) - ONE_DAY

    async def _ask_for(self, day: date | None, draft: _Draft) -> None:
        """Ask for the sheet of a day, or the newest, and decide about it. Raises FetchFailed."""
        due = self._held_on(day) if day else self.history.calendar.due_by(self.clock())
        sheet, raw = await self.client.daily(day, due, partial(self._read, day))
        effective = sheet.effective_date
        draft.newest = draft.newest if day else effective
        self._absences.pop(effective, None)
        if draft.recent(effective).last(effective) is None and (day is None or effective > self._eve()):
            # At a first start, today's and the newest sheet need earlier ones to be compared with.
            with contextlib.suppress(FetchFailed):
                await self._ask_for(effective - ONE_DAY, draft)
        await self._receive(sheet, raw, draft)
        if day and effective < due:
            # A mirror that had it, and fails now, may have it still.
            if not any(mirror.error and mirror.has(due) for mirror in self.client.mirrors):
                self._absences[due] = self._absences.get(due, 0) + 1
        # A sheet that is held back is asked for again by the next poll, which may confirm it.
        elif day and effective not in draft.cycle.held_back:
            self._asked[day] = self._today()

    async def _receive(self, sheet: Sheet, raw: bytes, draft: _Draft) -> None:
        """Judge a daily document, unless it says what is held."""
        effective = sheet.effective_date
        current = draft.current(effective)
        if current and current.sheet.says_the_same_as(sheet):
            self._unconfirmed.sightings.pop(effective, None)
            await self._drop(raw)
            if not (self.history.document(effective) or effective in draft.admitted):
                # Backfilled figures are kept again with the Bank's bytes and names.
                draft.take(replace(current, sheet=sheet), raw)
            return
        # A backfill compares an open day with the series.
        settled = self.history.is_settled(effective, self._today()) and effective not in self.history.open_days
        await self._act_on(draft.judge(sheet, settled=settled), raw, draft, settled=settled)

    async def _act_on(self, admission: Admission, raw: bytes, draft: _Draft, *, settled: bool) -> None:
        """Take an admitted sheet into the draft, or hold it back. The second address may confirm an unconfirmed one."""
        # While that address is asked, a backfill may admit the same sheet. Redis keeps one revision under a number.
        number = draft.history.next_number(admission.effective_date)
        if admission.decision is Decision.CONFIRM:
            earlier = draft.history.standing(admission.effective_date)[0][:-1]
            is_return = any(one.sheet.says_the_same_as(admission.sheet) for one in earlier)
            at_once = settled or not self.scheduled
            admission = await self._unconfirmed.ask_second(admission, at_once=at_once, is_return=is_return)
        if admission.decision is Decision.ACCEPT:
            self._unconfirmed.sightings.pop(admission.effective_date, None)
            draft.take(admission.revision(number, self.moment()), raw)
            await self._drop(raw, admission.effective_date)
            return
        draft.cycle.held_back[admission.effective_date] = admission
        if admission.decision is Decision.QUARANTINE:
            case = Case(admission.effective_date, self.moment(), (str(admission),), raw)
            await self._quarantine(case, admission.reason, draft)

    async def _store(self, draft: _Draft) -> None:
        """Store the admitted sheets, the newest first; then hold them."""
        new, cycle = list[Revision](), draft.cycle
        for effective in sorted(draft.admitted, reverse=True):
            current, revision = draft.history.of_date(effective), draft.admitted[effective]
            stored: Revision | None = revision
            try:
                if cycle.stored:
                    stored = await self.store.put(revision, current)
            except StoreUnavailable:
                # This replica still serves what it fetched, and the next cycle stores it. The other sheets are not
                # tried, because each would wait for Redis as long again.
                cycle.stored = False
            if not cycle.stored and revision.key in (held.key for held in self.history.documents()):
                # Another replica has stored one under this number while the Bank was asked.
                stored = current
            if stored is not revision:
                # What the Bank says now is not held, so the next poll asks again.
                self._asked.clear()
            if stored and stored != current:
                new.append(stored)
        draft.admitted.clear()
        cycle.accepted += new
        draft.has_answer = draft.has_answer or not cycle.failure or bool(cycle.accepted)
        cycle.outcome = draft.outcome()
        self.history.hold(new)
        self._tell(cycle)
        cycle.newly_quarantined.clear()

    async def decide_open_day(self, history: History, day: date, composed: Sheet | None) -> Cycle | None:
        """Ask for the document of a day of `history` that is not admitted, and decide about it.

        `composed` is the sheet that the series give; it is the second document of a settled day. Returns None if the
        Bank answers with an earlier sheet. Raises FetchFailed if no mirror answers.
        """
        draft, settled = _Draft(history), self.history.is_settled(day, self._today())
        try:
            # The series tell whether a short document is whole: the tables of 1992 had few rows.
            document, raw = await self.client.daily(day, day, partial(self._read, day, fewest_rows=1))
        except FetchFailed as failure:
            admission, raw = _unreadable(day, failure)
        else:
            if document.effective_date != day:
                return None
            whole = with_monthly(document, composed, draft.recent(day)) if composed else document
            if composed and composed.says_the_same_as(whole):
                admission = draft.judge(whole, settled=settled)
                if settled and admission.decision is Decision.CONFIRM:
                    admission = admission.compared_with(composed)
            elif (rows := len(document.quotes)) < FEWEST_ROWS:
                admission = Admission.refusal(document, ("rows", f"{rows} rows, and not what the series say"))
            else:
                # Of three documents that differ one errs, and nothing says which.
                settled = settled and composed is None
                admission = draft.judge(document, settled=settled)
        await self._act_on(admission, raw, draft, settled=settled)
        await self._store(draft)
        return draft.cycle

    async def _quarantine_refused(self, failure: FetchFailed, draft: _Draft) -> None:
        for error in failure.refusals:
            if error.reason in SUSPICIOUS and error.raw:
                await self._quarantine(Case(None, self.moment(), (str(error),), error.raw), error.reason, draft)

    async def _drop(self, raw: bytes, day: date | None = None) -> None:
        """A document that is held does not wait any more, nor do others of its `day` if it was just admitted."""
        if self.store.quarantine.count:
            with contextlib.suppress(StoreUnavailable):
                cases = await self.store.quarantine.cases() if day else []
                others = [case.name for case in cases if case.effective_date == day]
                await self.store.quarantine.drop([name_of(raw), *others])

    async def _quarantine(self, case: Case, reason: str, draft: _Draft) -> None:
        # Without Redis it is put aside at the next poll, because the Bank still says the same then.
        with contextlib.suppress(StoreUnavailable):
            if await self.store.quarantine.add(case):
                draft.cycle.newly_quarantined.append(reason)

    def moment(self) -> datetime:
        """The time in UTC, in whole seconds."""
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


def _days_to_ask_again(history: History, today: date, newest: date | None, asked: Collection[date]) -> list[date]:
    """Today while tomorrow's sheet is held; the others of the last week once a day, and after a start.

    Each is the last day on which a sheet is in force, so that a sheet that was not noticed comes, too. `newest` is the
    day of the Bank's newest sheet. These days were `asked` for today.
    """
    sheets = sorted({*history.days, *history.open_days})
    since, until = today - SETTLED_AFTER, today + ONE_DAY
    lasts = [following - ONE_DAY for _, following in pairwise(sheets) if since < following <= until]
    if newest and history.days and newest < history.days[-1]:
        lasts.append(history.days[-1])
    return [day for day in lasts if day == today or day not in asked]


def _unreadable(day: date, failure: FetchFailed) -> tuple[Admission, bytes]:
    """A document that is refused waits for a person. Raises the failure if a mirror gave no document."""
    errors = failure.refusals
    if not failure.is_answered or any(error.reason in NO_DOCUMENT for error in errors):
        raise failure
    return Admission.refusal(Sheet(day, ()), *((error.reason, str(error)) for error in errors)), errors[0].raw
