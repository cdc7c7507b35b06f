"""One refresh: lease → fetch → parse → admit → store. It neither logs, counts nor publishes; it returns a Cycle.

A sheet that is held back changes nothing: the last good one is served on.
"""

from __future__ import annotations

import contextlib
import zlib
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
    is_settled,
    with_monthly,
)
from ratesvc.bank.client import BankClient
from ratesvc.bank.xml import parse_daily, unknown_parts
from ratesvc.domain.history import SETTLED, History, day_to_fetch
from ratesvc.domain.rates import Revision, Sheet
from ratesvc.domain.workdays import ONE_DAY, moscow_day
from ratesvc.errors import BadDocument, FetchFailed, StoreUnavailable
from ratesvc.service.confirmation import UnconfirmedSheets
from ratesvc.storage.quarantine import Case, name_of
from ratesvc.storage.store import Store

MOST_DOCUMENTS = 3

NO_DOCUMENT = frozenset({"html", "parameters"})
"""Reasons for which a person has nothing to look at: a page of maintenance, or the Bank's refusal of the request."""

SUSPICIOUS = frozenset({"rows", "core", "unit", "foreign"})
"""Reasons for which a person may want to look at a refused document: wrong figures, or somebody else's content."""


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


@dataclass(slots=True)
class _Found:
    """The sheets of a cycle so far, by effective date, and the history that they are compared with."""

    history: History
    admitted: dict[date, Revision] = field(default_factory=dict)
    held_back: dict[date, HeldBack] = field(default_factory=dict)
    newly_quarantined: list[str] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)
    failure: FetchFailed | None = None

    def held(self, effective: date) -> Revision | None:
        return self.admitted.get(effective) or self.history.of_date(effective)

    def recent(self, effective: date) -> Recent:
        """The sheets before that day, those of this cycle among them."""
        return Recent.before(self.history, effective, {day: one.sheet for day, one in self.admitted.items()})

    def cycle(self, accepted: Sequence[Revision], *, stored: bool) -> Cycle:
        """A failed request is no failure of the cycle if another one brought a sheet."""
        if self.failure and not accepted:
            outcome = "failed"
        elif self.held_back:
            is_quarantined = any(isinstance(one, Quarantined) for one in self.held_back.values())
            outcome = "quarantined" if is_quarantined else "confirming"
        else:
            outcome = "new" if accepted else "unchanged"
        held_back, newly_quarantined = tuple(self.held_back.values()), tuple(self.newly_quarantined)
        unknown = tuple(sorted(self.unknown))
        return Cycle(outcome, tuple(accepted), stored, self.failure, held_back, newly_quarantined, unknown)

    def admit(self, revision: Revision) -> None:
        """Note an admitted sheet. A document with unknown parts is not kept, so that nobody repeats them to readers."""
        if unknown := unknown_parts(revision.raw):
            self.unknown.update(unknown)
            revision = replace(revision, document=b"")
        self.admitted[revision.effective_date] = revision


class Refresher:
    """Asks the Bank for daily documents, and admits and stores them."""

    def __init__(
        self, client: BankClient, store: Store, history: History, clock: Callable[[], datetime], *, waits: bool = True
    ) -> None:
        """`clock` gives UTC.

        A refresher that `waits` decides about an unconfirmed sheet at the next poll; that of a command decides at once.
        """
        self.client = client
        self.store = store
        self.history = history
        self.clock = clock
        self.waits = waits
        self._unconfirmed = UnconfirmedSheets(client)
        self._asked: dict[date, date] = {}
        """The days that were asked for by their date, and when."""

    async def cycle(self) -> Cycle:
        """Ask for the newest sheet, unless another replica holds the lease: the work of a poll.

        The other replicas learn that the Bank answered. After a failure they get the lease: they may reach the Bank.
        """
        self._unconfirmed.begin_poll()
        with contextlib.suppress(StoreUnavailable):
            if not await self.store.poll_lease.take():
                return Cycle("skipped")
        cycle = Cycle("crashed")
        try:
            cycle = await self.ask()
        finally:
            if cycle.has_failed:
                await self.store.poll_lease.release()
            else:
                with contextlib.suppress(StoreUnavailable):
                    await self.store.announce_answer()
        return cycle

    async def ask(self, day: date | None = None) -> Cycle:
        """Ask for the sheet of `day`, or the newest, then for today's and the one before it if they are not held."""
        found = _Found(self.history)
        days = [day]
        asked: set[date | None] = set()
        while days and len(asked) < MOST_DOCUMENTS:
            day = days.pop(0)
            asked.add(day)
            try:
                await self._ask_for(day, found)
            except FetchFailed as failure:
                found.failure = failure
                await self._look_at(failure, found)
                if day is None:
                    days += self._without_the_newest(failure)
                continue
            # The Bank gave a sheet that is held back, so the one before it must be asked for.
            given = sorted({*self.history.days, *found.admitted, *found.held_back})
            following = day_to_fetch(given, self.history, self.clock())
            if not days and following and following not in asked:
                days.append(following)
        return await self._kept(found)

    async def ask_again(self) -> Cycle:
        """Ask again for the sheets of the last week, because the Bank corrects sheets that are no longer the newest.

        Each is asked for by the last day on which it is in force, so that a sheet that was not noticed comes, too.
        """
        found = _Found(self.history)
        for day in self._days_to_ask_again():
            held_back = len(found.held_back)
            try:
                await self._ask_for(day, found)
            except FetchFailed as failure:
                found.failure = failure
                break
            if len(found.held_back) > held_back:
                # The next poll may confirm it.
                del self._asked[day]
        return await self._kept(found)

    def _days_to_ask_again(self) -> list[date]:
        """Today while tomorrow's sheet is held; the others of the last week once a day, and after a start."""
        today = self._today()
        known = sorted({*self.history.days, *self.history.unconfirmed})
        lasts = [
            following - ONE_DAY for _, following in pairwise(known) if today - SETTLED < following <= today + ONE_DAY
        ]
        self._asked = {day: asked for day, asked in self._asked.items() if asked == today}
        return [day for day in lasts if day == today or day not in self._asked]

    def _without_the_newest(self, failure: FetchFailed) -> list[date]:
        """The days to ask for if the newest sheet is refused: today's own may be right."""
        today = self._today()
        eve = [] if self.history.days else [self._eve()]
        is_refused = all(isinstance(error, BadDocument) for _, error in failure.failures)
        return [*eve, today] if is_refused and self.history.certain_on(today) is None else eve

    def _today(self) -> date:
        return moscow_day(self.clock())

    def _eve(self) -> date:
        return self.history.calendar.effective_date_on_or_before(self._today()) - ONE_DAY

    async def _ask_for(self, day: date | None, found: _Found) -> None:
        if day is None:
            due = self.history.calendar.due_by(self.clock())
            sheet, raw = await self.client.newest(due, partial(self._check, day))
        else:
            sheet, raw = await self.client.daily(day, partial(self._check, day))
            self._asked[day] = self._today()
        effective = sheet.effective_date
        if effective in found.held_back:
            return
        if found.recent(effective).last(effective) is None and (day is None or effective > self._eve()):
            # At a first start, today's and the newest sheet need earlier ones to be compared with.
            with contextlib.suppress(FetchFailed):
                await self._ask_for(effective - ONE_DAY, found)
        held = found.held(effective)
        if held and held.sheet.says_the_same_as(sheet):
            self._unconfirmed.forget(effective)
            if not (self.history.has_document(effective) or effective in found.admitted):
                # Backfilled figures are kept again with the Bank's bytes and names.
                found.admit(replace(held, sheet=sheet, document=zlib.compress(raw, 9)))
            return
        # A backfill compares an unconfirmed day with the series.
        settled = self._is_settled(effective) and effective not in self.history.unconfirmed
        admission = admit(sheet, found.recent(effective), held.sheet if held else None, settled=settled)
        await self._decide(admission, raw, found, held, settled=settled)

    def _is_settled(self, effective: date) -> bool:
        return is_settled(effective, self._today(), self.history.days[-1] if self.history.days else None)

    async def _decide(
        self, admission: Admission, raw: bytes, found: _Found, held: Revision | None, *, settled: bool
    ) -> None:
        """Note the decision about a document. The second address may confirm it."""
        if isinstance(admission, Unconfirmed):
            admission = await self._unconfirmed.confirm(admission, at_once=settled or not self.waits)
        if isinstance(admission, Admitted):
            self._unconfirmed.forget(admission.sheet.effective_date)
            found.admit(self._revision(admission, held, raw))
            return
        found.held_back[admission.effective_date] = admission
        if isinstance(admission, Quarantined):
            case = Case(admission.effective_date, self._now(), (str(admission),), raw)
            await self._quarantine(case, admission.assessment.reason, found)

    async def _kept(self, found: _Found) -> Cycle:
        """Store the admitted sheets, the newest first."""
        accepted: list[Revision] = []
        stored = True
        for effective in sorted(found.admitted, reverse=True):
            held, revision = found.history.of_date(effective), found.admitted[effective]
            try:
                if stored:
                    revision = await self._put(revision, held)
            except StoreUnavailable:
                # This replica still serves what it fetched, and the next cycle stores it. The other sheets are not
                # tried, because each would wait for Redis as long again.
                stored = False
            if revision != held:
                accepted.append(revision)
        return found.cycle(accepted, stored=stored)

    async def confirm(self, history: History, day: date, composed: Sheet | None) -> Cycle | None:
        """Ask for the document of a day of `history` that is not admitted, and decide about it.

        `composed` is the sheet that the series give; it is the second document of a settled day. Returns None if the
        Bank answers with an earlier sheet. Raises FetchFailed if no mirror answers.
        """
        found = _Found(history)
        settled = self._is_settled(day)
        try:
            # The series tell whether a short document is whole: the tables of 1992 had few rows.
            document, raw = await self.client.daily(day, partial(self._check, day, fewest_rows=1), paced=False)
        except FetchFailed as failure:
            refused, raw = _unreadable(day, failure)
            await self._decide(refused, raw, found, None, settled=settled)
            return await self._kept(found)
        if document.effective_date != day:
            return None
        whole = with_monthly(document, composed, found.recent(day)) if composed else document
        agrees = composed is not None and composed.says_the_same_as(whole)
        if composed and not agrees:
            # Of three documents one errs, and nothing says which.
            settled = False
        admission = self._admission(whole if agrees else document, found.recent(day), settled=settled, agrees=agrees)
        await self._decide(admission, raw, found, None, settled=settled)
        return await self._kept(found)

    @staticmethod
    def _admission(sheet: Sheet, recent: Recent, *, settled: bool, agrees: bool) -> Admission:
        """Decide about a daily document. On a settled day the series, if it `agrees` with them, are the second one."""
        if not agrees and len(sheet.quotes) < FEWEST_ROWS:
            return Quarantined.because(sheet, ("rows", f"{len(sheet.quotes)} rows, and not what the series say"))
        admission = admit(sheet, recent, settled=settled)
        if agrees and settled and isinstance(admission, Unconfirmed):
            return admission.compared_with(sheet)
        return admission

    async def release(self, case: Case) -> Revision:
        """Publish a document in quarantine as a person's decision.

        Raises BadDocument if it is no sheet, and StoreUnavailable.
        """
        sheet = parse_daily(case.raw)
        held = self.history.of_date(sheet.effective_date)
        if held is None or not held.sheet.says_the_same_as(sheet):
            recent = Recent.before(self.history, sheet.effective_date)
            admission = admit(sheet, recent, held.sheet if held else None, released=True)
            assert isinstance(admission, Admitted)  # noqa: S101 -- a person vouches for it
            found = _Found(self.history)
            found.admit(self._revision(admission, held, case.raw))
            held = await self._put(found.admitted[sheet.effective_date], held)
        return held

    async def _look_at(self, failure: FetchFailed, found: _Found) -> None:
        for _, error in failure.failures:
            if isinstance(error, BadDocument) and error.reason in SUSPICIOUS and error.raw:
                await self._quarantine(Case(None, self._now(), (str(error),), error.raw), error.reason, found)

    async def _quarantine(self, case: Case, reason: str, found: _Found) -> None:
        # Without Redis it is put aside at the next poll, because the Bank still says the same then.
        with contextlib.suppress(StoreUnavailable):
            if await self.store.quarantine.add(case):
                found.newly_quarantined.append(reason)

    def _revision(self, admitted: Admitted, held: Revision | None, raw: bytes) -> Revision:
        return admitted.revision(held.number + 1 if held else 1, self._now(), raw)

    def _now(self) -> datetime:
        return self.clock().replace(microsecond=0)

    def _check(self, day: date | None, sheet: Sheet, fewest_rows: int = FEWEST_ROWS) -> None:
        check_sheet(sheet, moscow_day(self.clock()), fewest_rows=fewest_rows)
        if day is not None and sheet.effective_date > day:
            raise BadDocument("date", f"asked for {day}, answered {sheet.effective_date}")

    async def _put(self, candidate: Revision, held: Revision | None) -> Revision:
        """Store a sheet after the one that it corrects, which Redis may have as columns only.

        Returns what another replica has stored meanwhile, if it has. The next poll compares the Bank's with that.
        """
        if held and held.number < candidate.number:
            await self.store.add([held])
        revision = await self.store.put(candidate)
        # Quarantined before, if the second address was silent at first.
        with contextlib.suppress(StoreUnavailable):
            await self.store.quarantine.drop([name_of(candidate.raw)])
        return revision


def _unreadable(day: date, failure: FetchFailed) -> tuple[Quarantined, bytes]:
    """A document that is refused waits for a person. Raises the failure if a mirror gave no document."""
    errors = [error for _, error in failure.failures if isinstance(error, BadDocument)]
    if len(errors) < len(failure.failures) or any(error.reason in NO_DOCUMENT for error in errors):
        raise failure
    return Quarantined.because(Sheet(day, ()), *((error.reason, str(error)) for error in errors)), errors[0].raw
