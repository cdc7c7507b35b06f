"""One refresh: lease → fetch → parse → guard → store → announce. It neither logs nor counts; it returns a Cycle.

A sheet that is held back, to be confirmed or in quarantine, changes nothing: the last good one keeps being served.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import partial
from operator import attrgetter

from ratesvc.bank.admission import (
    FEWEST_ROWS,
    Admission,
    Admitted,
    Assessment,
    Decision,
    Finding,
    Quarantined,
    Unconfirmed,
    admit,
    check_sheet,
    is_settled,
)
from ratesvc.bank.client import BankClient, Fetched
from ratesvc.bank.xml import parse_daily
from ratesvc.domain.history import History, day_to_fetch
from ratesvc.domain.rates import Revision, Sheet
from ratesvc.domain.workdays import ONE_DAY, moscow_day
from ratesvc.errors import BadDocument, FetchFailed, StoreUnavailable
from ratesvc.storage.quarantine import Case, name_of
from ratesvc.storage.store import Store

MOST_UNCONFIRMED = 64
MOST_SILENT = 3


@dataclass(slots=True)
class Sighting:
    """A sheet that was seen before, in that `turn`; `silent` counts how often the second address did not know it."""

    sheet: Sheet
    turn: int
    silent: int = 0


class UnconfirmedSheets:
    """The doubtful sheets of a few days."""

    def __init__(self, client: BankClient) -> None:
        self._client = client
        self._doubts: dict[date, Sighting] = {}
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

    def _remember(self, sheet: Sheet) -> Sighting:
        while len(self._doubts) >= MOST_UNCONFIRMED:
            del self._doubts[next(iter(self._doubts))]
        doubt = self._doubts[sheet.effective_date] = Sighting(sheet, self._turn)
        return doubt

    async def _second_document(self, effective: date) -> Sheet | None:
        """What the English document says; None when it does not come, or is still that of an earlier day."""
        try:
            sheet = await self._client.daily_in_english(effective)
        except FetchFailed:
            return None
        return sheet if sheet.effective_date == effective else None


MOST_DOCUMENTS = 3
CYCLE_S = 60.0

NO_DOCUMENT = frozenset({"html", "parameters"})
"""Reasons for which there is nothing to look at: a page of maintenance, or the Bank's refusal of the question."""

SUSPICIOUS = frozenset({"rows", "core", "unit"})
"""Reasons for which a document is refused that a person may want to look at: it is the Bank's, with wrong figures."""


@dataclass(frozen=True, slots=True)
class HeldBack:
    """A sheet that is not published (yet), and why: to be confirmed at the next poll, or in quarantine."""

    effective_date: date
    decision: Decision
    assessment: Assessment

    def __str__(self) -> str:
        """The reasons in one line."""
        return "; ".join(f"{finding.kind}: {finding.text}" for finding in self.assessment.findings)


@dataclass(frozen=True, slots=True)
class Cycle:
    """What one refresh did.

    `outcome` is new, unchanged, confirming, quarantined, failed, crashed or skipped (another replica holds the lease).
    `accepted` are the revisions that this replica did not hold; `stored` says whether they are safe in Redis and
    announced; `held_back` are the sheets that were not accepted; `put_aside` is the reason, in one word, of each
    document that was put into quarantine and had not been there.
    """

    outcome: str
    accepted: tuple[Revision, ...] = ()
    stored: bool = True
    failure: FetchFailed | None = None
    held_back: tuple[HeldBack, ...] = ()
    put_aside: tuple[str, ...] = ()

    @property
    def has_heard(self) -> bool:
        """Whether the Bank was asked and answered."""
        return self.outcome not in ("failed", "crashed", "skipped")

    @property
    def asked_in_vain(self) -> bool:
        """Whether the Bank was asked and this replica knows no more for it."""
        return self.outcome in ("failed", "crashed")


@dataclass(slots=True)
class _Found:
    """What a cycle has found so far, by effective date."""

    settled: dict[date, Revision] = field(default_factory=dict)
    held_back: dict[date, HeldBack] = field(default_factory=dict)
    put_aside: list[str] = field(default_factory=list)
    failure: FetchFailed | None = None

    def outcome(self, accepted: Sequence[Revision]) -> str:
        """All of it in one word; a request that failed beside one that brought a sheet is no failure of the cycle."""
        decisions = {one.decision for one in self.held_back.values()}
        if self.failure and not accepted:
            return "failed"
        if decisions:
            return "quarantined" if Decision.QUARANTINE in decisions else "confirming"
        return "new" if accepted else "unchanged"


class Refresher:
    """Asks the Bank for what a snapshot lacks."""

    def __init__(self, client: BankClient, store: Store, clock: Callable[[], datetime]) -> None:
        """`clock` gives UTC."""
        self._client = client
        self._store = store
        self._clock = clock
        self._doubts = UnconfirmedSheets(client)
        self.quarantine = store.quarantine

    async def cycle(self, history: History) -> Cycle:
        """What a poll does: ask for the newest sheet, unless another replica holds the lease."""
        self._doubts.begin_turn()
        return await self.ask(history) if await self._is_ours() else Cycle("skipped")

    async def ask(self, history: History, day: date | None = None, *, at_once: bool = False) -> Cycle:
        """The sheet of `day`, or the newest, then those in force and before it as far as they are not held.

        `at_once` settles a doubt without waiting for the next poll.
        """
        found = _Found()
        wanted = [day]
        asked: set[date | None] = set()
        while wanted and len(asked) < MOST_DOCUMENTS:
            day = wanted.pop(0)
            asked.add(day)
            try:
                await self._ask_for(day, found, history, at_once=at_once)
            except FetchFailed as failure:
                found.failure = failure
                await self._look_at(failure, found)
                if day is None:
                    wanted += self._without_the_newest(failure, history)
                continue
            # A sheet that is held back was given, so the one before it is still to be asked for.
            given = sorted({*history.days, *found.settled, *found.held_back})
            following = day_to_fetch(given, history, self._clock())
            if not wanted and following and following not in asked:
                wanted.append(following)
        return await self._kept(found, history)

    def _without_the_newest(self, failure: FetchFailed, history: History) -> list[date]:
        """Which days to ask for instead of the newest sheet: today's own may be right where the newest is refused."""
        today = moscow_day(self._clock())
        eve = [] if history.days else [self._eve(history)]
        is_refused = all(isinstance(error, BadDocument) for _, error in failure.failures)
        return [*eve, today] if is_refused and history.certain_on(today) is None else eve

    def _eve(self, history: History) -> date:
        return history.calendar.effective_date_on_or_before(moscow_day(self._clock())) - ONE_DAY

    async def _ask_for(self, day: date | None, found: _Found, history: History, *, at_once: bool) -> None:
        fetched = await self._client.daily(day, partial(self._check, day))
        effective = fetched.document.effective_date
        if effective in found.held_back:
            return
        is_lonely = self._nearest(effective, found.settled, history) is None
        if is_lonely and (day is None or effective > self._eve(history)):
            # Where nothing near is held, today's and the newest have those before them to be judged by.
            with contextlib.suppress(FetchFailed):
                await self._ask_for(effective - ONE_DAY, found, history, at_once=at_once)
        settled = await self._settle(fetched, found, history, at_once=at_once)
        if isinstance(settled, HeldBack):
            found.held_back[settled.effective_date] = settled
        elif settled:
            found.settled[settled.effective_date] = settled

    async def _kept(self, found: _Found, history: History) -> Cycle:
        """Store what was found, the newest first, since each is served and told as soon as it is announced."""
        accepted: list[Revision] = []
        stored = True
        for effective in sorted(found.settled, reverse=True):
            held = history.of_date(effective)
            revision, safe = await self._keep(found.settled[effective], held)
            stored = stored and safe
            if revision != held:
                accepted.append(revision)
        return Cycle(
            found.outcome(accepted),
            tuple(accepted),
            stored=stored,
            failure=found.failure,
            held_back=tuple(found.held_back.values()),
            put_aside=tuple(found.put_aside),
        )

    async def _is_ours(self) -> bool:
        try:
            return await self._store.poll_lease.take(CYCLE_S)
        except StoreUnavailable:
            return True

    async def _settle(
        self, fetched: Fetched[Sheet], found: _Found, history: History, *, at_once: bool
    ) -> Revision | HeldBack | None:
        """What is to be kept of one document: a revision, or why there is none, or nothing that is not held."""
        sheet = fetched.document
        effective = sheet.effective_date
        held = found.settled.get(effective) or history.of_date(effective)
        if held and held.sheet.says_the_same_as(sheet):
            self._doubts.settled(effective)
            if self._store.holds(held.key):
                return None
            # Backfilled figures, confirmed by a document of its own, are kept again with the Bank's bytes and names.
            return replace(held, sheet=sheet, document=zlib.compress(fetched.raw, 9))
        admission = self._admission(sheet, held, history, found.settled)
        if isinstance(admission, Unconfirmed):
            admission = await self._doubts.settle(admission, at_once=at_once)
            if isinstance(admission, Admitted):
                await self._leave_quarantine(fetched.raw)
        if not isinstance(admission, Admitted):
            return await self._hold_back(effective, admission, fetched.raw, found)
        self._doubts.settled(effective)
        return self._revision(admission, held, fetched.raw)

    async def _hold_back(self, day: date, admission: Unconfirmed | Quarantined, raw: bytes, found: _Found) -> HeldBack:
        decision = Decision.QUARANTINE if isinstance(admission, Quarantined) else Decision.CONFIRM
        refused = HeldBack(day, decision, admission.assessment)
        if decision is Decision.QUARANTINE:
            case = Case(day, self._now(), (str(refused),), raw)
            await self._put_aside(case, admission.assessment.reason, found)
        return refused

    def _admission(
        self,
        sheet: Sheet,
        held: Revision | None,
        history: History,
        settled: Mapping[date, Revision],
        *,
        released: bool = False,
        agreed: bool = False,
    ) -> Admission:
        """`agreed` says that the series are the second document of a settled day; no other one is enough for a slip."""
        before = self._nearest(sheet.effective_date, settled, history)
        return admit(
            sheet,
            before.sheet if before else None,
            held.sheet if held else None,
            settled=agreed,
            released=released,
        )

    @staticmethod
    def _nearest(effective: date, settled: Mapping[date, Revision], history: History) -> Revision | None:
        """The nearest earlier sheet, be it one of this cycle."""
        nearest = history.nearest_before(effective)
        earlier = [one for day, one in settled.items() if day < effective]
        return max((*earlier, *([nearest] if nearest else ())), key=attrgetter("effective_date"), default=None)

    def _revision(self, admitted: Admitted, held: Revision | None, raw: bytes) -> Revision:
        return admitted.revision(held.number + 1 if held else 1, self._now(), raw)

    async def confirm(self, history: History, day: date, from_columns: Sheet | None, *, at_once: bool) -> Cycle:
        """The document of a day of history whose sheet `from_columns` has findings, decided beside that sheet.

        Where the two disagree, the document is decided like a newest one: by the next poll and a second address. It is
        stored and not announced. Raises FetchFailed where no mirror answers, and StoreUnavailable.
        """
        try:
            # The columns tell whether a short document is whole: the tables of 1992 had few rows.
            fetched = await self._client.daily(day, partial(self._check, day, fewest_rows=1), paced=False)
        except FetchFailed as failure:
            return await self._unreadable(day, failure)
        admission = await self._beside(from_columns, history, day, fetched.document, at_once=at_once)
        if isinstance(admission, Admitted):
            self._doubts.settled(day)
            await self._leave_quarantine(fetched.raw)
            return Cycle("new", (await self._store.put(self._revision(admission, None, fetched.raw)),))
        found = _Found()
        found.held_back[day] = await self._hold_back(day, admission, fetched.raw, found)
        return await self._kept(found, history)

    async def _beside(
        self, from_columns: Sheet | None, history: History, day: date, document: Sheet, *, at_once: bool
    ) -> Admission:
        """What becomes of a daily document; on a settled day the sheet composed from columns is the second one."""
        if document.effective_date != day:
            return _refused(document, "other_day", f"the document of {day} is dated {document.effective_date}")
        agrees = from_columns is not None and from_columns.says_the_same_as(document)
        if not agrees and len(document.quotes) < FEWEST_ROWS:
            return _refused(document, "rows", f"{len(document.quotes)} rows, and not what the series say")
        agreed = agrees and is_settled(day, moscow_day(self._clock()), history.days[-1])
        admission = self._admission(document, None, history, {}, agreed=agreed)
        if not isinstance(admission, Unconfirmed):
            return admission
        if agreed:
            return admission.beside(document)
        return await self._doubts.settle(admission, at_once=at_once)

    async def _unreadable(self, day: date, failure: FetchFailed) -> Cycle:
        """A day whose document is refused waits for a person. Raises the failure where a mirror gave no document."""
        errors = [error for _, error in failure.failures if isinstance(error, BadDocument)]
        if len(errors) < len(failure.failures) or any(error.reason in NO_DOCUMENT for error in errors):
            raise failure
        found = _Found()
        findings = tuple(Finding(error.reason, Decision.QUARANTINE, str(error)) for error in errors)
        held_back = found.held_back[day] = HeldBack(day, Decision.QUARANTINE, Assessment(findings))
        await self._put_aside(Case(day, self._now(), (str(held_back),), errors[0].raw), errors[0].reason, found)
        return Cycle("quarantined", held_back=(held_back,), put_aside=tuple(found.put_aside))

    async def release(self, history: History, case: Case) -> Revision:
        """A person says that a document in quarantine is right: it is published, with that finding.

        Raises BadDocument where it does not even say what a sheet says.
        """
        sheet = parse_daily(case.raw)
        held = history.of_date(sheet.effective_date)
        if held is None or not held.sheet.says_the_same_as(sheet):
            admission = self._admission(sheet, held, history, {}, released=True)
            assert isinstance(admission, Admitted)  # noqa: S101 -- a person vouches for it
            held = await self._put(self._revision(admission, held, case.raw), held)
        await self.quarantine.drop([case.name])
        return held

    async def _look_at(self, failure: FetchFailed, found: _Found) -> None:
        for _, error in failure.failures:
            if isinstance(error, BadDocument) and error.reason in SUSPICIOUS and error.raw:
                await self._put_aside(Case(None, self._now(), (str(error),), error.raw), error.reason, found)

    async def _put_aside(self, case: Case, reason: str, found: _Found) -> None:
        # Without Redis it is put aside at the next poll, since the Bank still says the same then.
        with contextlib.suppress(StoreUnavailable):
            if await self.quarantine.add(case):
                found.put_aside.append(reason)

    async def _leave_quarantine(self, raw: bytes) -> None:
        # It was put there if the second address was silent at first.
        with contextlib.suppress(StoreUnavailable):
            await self.quarantine.drop([name_of(raw)])

    def _now(self) -> datetime:
        return self._clock().replace(microsecond=0)

    def _check(self, day: date | None, sheet: Sheet, fewest_rows: int = FEWEST_ROWS) -> None:
        check_sheet(sheet, moscow_day(self._clock()), fewest_rows=fewest_rows)
        if day is not None and sheet.effective_date > day:
            raise BadDocument("date", f"asked for {day}, answered {sheet.effective_date}")

    async def _keep(self, candidate: Revision, held: Revision | None) -> tuple[Revision, bool]:
        try:
            return await self._put(candidate, held), True
        except StoreUnavailable:
            # Without Redis this replica still serves what it fetched; the next cycle stores it.
            return candidate, False

    async def _put(self, candidate: Revision, held: Revision | None) -> Revision:
        """Store a sheet after what it corrects, which Redis may have as columns only, and announce it."""
        if held and held.number < candidate.number and not self._store.holds(held.key):
            await self._store.repair_sheets([held])
        revision = await self._store.put(candidate)
        await self._store.announce(revision.effective_date)
        return revision


def _refused(sheet: Sheet, kind: str, text: str) -> Quarantined:
    return Quarantined(sheet, Assessment((Finding(kind, Decision.QUARANTINE, text),)))
