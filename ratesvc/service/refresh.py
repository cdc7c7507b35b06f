"""One refresh: lease → fetch → parse → admit → store → announce. It neither logs nor counts; it returns a Cycle.

A sheet that is held back changes nothing: the last good one is served on.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import partial
from operator import attrgetter

from ratesvc.bank.admission import (
    FEWEST_ROWS,
    Admission,
    Admitted,
    HeldBack,
    Quarantined,
    Unconfirmed,
    admit,
    check_sheet,
    is_settled,
    predecessor,
)
from ratesvc.bank.client import BankClient
from ratesvc.bank.xml import parse_daily
from ratesvc.domain.history import History, day_to_fetch
from ratesvc.domain.rates import Revision, Sheet
from ratesvc.domain.workdays import ONE_DAY, moscow_day
from ratesvc.errors import BadDocument, FetchFailed, StoreUnavailable
from ratesvc.storage.quarantine import Case, name_of
from ratesvc.storage.store import Store

MOST_DOCUMENTS = 3
CYCLE_S = 60.0
MOST_UNCONFIRMED = 64
MOST_SILENT = 3

NO_DOCUMENT = frozenset({"html", "parameters"})
"""Reasons for which a person has nothing to look at: a page of maintenance, or the Bank's refusal of the request."""

SUSPICIOUS = frozenset({"rows", "core", "unit"})
"""Reasons for which a person may want to look at a refused document: it is the Bank's, with wrong figures."""


@dataclass(slots=True)
class _Sighting:
    """A sheet that was seen in that poll; `silent` counts how often the second address did not know it."""

    sheet: Sheet
    poll: int
    silent: int = 0


class UnconfirmedSheets:
    """The sheets that await a second document. They live in memory only: a restart costs one more poll."""

    def __init__(self, client: BankClient) -> None:
        self._client = client
        self._seen: dict[date, _Sighting] = {}
        self._poll = 0

    def begin_poll(self) -> None:
        """Allow one more decision about each sheet until the next poll."""
        self._poll += 1

    def forget(self, effective: date) -> None:
        """The sheet of that day is admitted."""
        self._seen.pop(effective, None)

    async def confirm(self, found: Unconfirmed, *, at_once: bool) -> Admission:
        """Decide about an unconfirmed sheet. It stays unconfirmed if the Bank must be asked again at the next poll.

        `at_once` is for commands, which have no next poll: they ask only the second address.
        """
        seen = self._seen.get(found.effective_date)
        if seen is None or not seen.sheet.says_the_same_as(found.sheet):
            self._remember(found.sheet)
            if not at_once:
                return found.refused() if seen else found
        elif seen.poll == self._poll and not at_once:
            # The backfill after a poll asks for the same days: the Bank has had no time to correct itself.
            return found
        return await self._ask_second_address(found, self._seen[found.effective_date])

    async def _ask_second_address(self, found: Unconfirmed, seen: _Sighting) -> Admission:
        seen.poll = self._poll
        with contextlib.suppress(FetchFailed):
            second = await self._client.daily_in_english(found.effective_date)
            if second.effective_date == found.effective_date:
                return found.compared_with(second)
        seen.silent += 1
        return found if seen.silent < MOST_SILENT else found.refused()

    def _remember(self, sheet: Sheet) -> None:
        while len(self._seen) >= MOST_UNCONFIRMED:
            del self._seen[next(iter(self._seen))]
        self._seen[sheet.effective_date] = _Sighting(sheet, self._poll)


@dataclass(frozen=True, slots=True)
class Cycle:
    """The outcome of one refresh.

    `outcome` is new, unchanged, confirming, quarantined, failed, crashed or skipped (another replica holds the lease).
    `accepted` are the revisions that this replica did not hold; `stored` says whether they are safe in Redis and
    announced. `newly_quarantined` has the reason, in one word, of each document that is new in quarantine.
    """

    outcome: str
    accepted: tuple[Revision, ...] = ()
    stored: bool = True
    failure: FetchFailed | None = None
    held_back: tuple[HeldBack, ...] = ()
    newly_quarantined: tuple[str, ...] = ()

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
    at_once: bool = False
    admitted: dict[date, Revision] = field(default_factory=dict)
    held_back: dict[date, HeldBack] = field(default_factory=dict)
    newly_quarantined: list[str] = field(default_factory=list)
    failure: FetchFailed | None = None

    def held(self, effective: date) -> Revision | None:
        return self.admitted.get(effective) or self.history.of_date(effective)

    def before(self, effective: date) -> Sheet | None:
        """The nearest earlier sheet, which may be one of this cycle."""
        nearest = self.history.nearest_before(effective)
        earlier = [one for day, one in self.admitted.items() if day < effective] + ([nearest] if nearest else [])
        return max(earlier, key=attrgetter("effective_date")).sheet if earlier else None

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
        return Cycle(outcome, tuple(accepted), stored, self.failure, held_back, newly_quarantined)


class Refresher:
    """Asks the Bank for daily documents, and admits and stores them."""

    def __init__(self, client: BankClient, store: Store, history: History, clock: Callable[[], datetime]) -> None:
        """`clock` gives UTC."""
        self.client = client
        self.store = store
        self.history = history
        self.clock = clock
        self._unconfirmed = UnconfirmedSheets(client)

    async def cycle(self) -> Cycle:
        """Ask for the newest sheet, unless another replica holds the lease: the work of a poll."""
        self._unconfirmed.begin_poll()
        with contextlib.suppress(StoreUnavailable):
            if not await self.store.poll_lease.take(CYCLE_S):
                return Cycle("skipped")
        return await self.ask()

    async def ask(self, day: date | None = None, *, at_once: bool = False) -> Cycle:
        """Ask for the sheet of `day`, or the newest, then for today's and the one before it if they are not held.

        `at_once` decides about an unconfirmed sheet without waiting for the next poll.
        """
        found = _Found(self.history, at_once)
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

    def _without_the_newest(self, failure: FetchFailed) -> list[date]:
        """The days to ask for if the newest sheet is refused: today's own may be right."""
        today = moscow_day(self.clock())
        eve = [] if self.history.days else [self._eve()]
        is_refused = all(isinstance(error, BadDocument) for _, error in failure.failures)
        return [*eve, today] if is_refused and self.history.certain_on(today) is None else eve

    def _eve(self) -> date:
        return self.history.calendar.effective_date_on_or_before(moscow_day(self.clock())) - ONE_DAY

    async def _ask_for(self, day: date | None, found: _Found) -> None:
        sheet, raw = await self.client.daily(day, partial(self._check, day))
        effective = sheet.effective_date
        if effective in found.held_back:
            return
        if found.before(effective) is None and (day is None or effective > self._eve()):
            # At a first start, today's and the newest sheet need earlier ones to be compared with.
            with contextlib.suppress(FetchFailed):
                await self._ask_for(effective - ONE_DAY, found)
        held = found.held(effective)
        if held and held.sheet.says_the_same_as(sheet):
            self._unconfirmed.forget(effective)
            if not self.store.holds(held.key):
                # Backfilled figures are kept again with the Bank's bytes and names.
                found.admitted[effective] = replace(held, sheet=sheet, document=zlib.compress(raw, 9))
            return
        admission = admit(sheet, found.before(effective), held.sheet if held else None)
        await self._decide(admission, raw, found, held)

    async def _decide(self, admission: Admission, raw: bytes, found: _Found, held: Revision | None) -> None:
        """Note the decision about a document. The second address may confirm it."""
        if isinstance(admission, Unconfirmed):
            admission = await self._unconfirmed.confirm(admission, at_once=found.at_once)
        if isinstance(admission, Admitted):
            effective = admission.sheet.effective_date
            self._unconfirmed.forget(effective)
            found.admitted[effective] = self._revision(admission, held, raw)
            return
        found.held_back[admission.effective_date] = admission
        if isinstance(admission, Quarantined):
            case = Case(admission.effective_date, self._now(), (str(admission),), raw)
            await self._quarantine(case, admission.assessment.reason, found)

    async def _kept(self, found: _Found) -> Cycle:
        """Store the admitted sheets, the newest first, because each is served once it is announced."""
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

    async def confirm(self, history: History, day: date, from_columns: Sheet | None, *, at_once: bool) -> Cycle:
        """Ask for the document of a day of `history` whose sheet `from_columns` has findings, and compare the two.

        If they disagree, the document is decided about like a newest one. Raises FetchFailed if no mirror answers.
        """
        found = _Found(history, at_once)
        try:
            # The columns tell whether a short document is whole: the tables of 1992 had few rows.
            document, raw = await self.client.daily(day, partial(self._check, day, fewest_rows=1), paced=False)
        except FetchFailed as failure:
            refused, raw = _unreadable(day, failure)
            await self._decide(refused, raw, found, None)
        else:
            await self._decide(self._compared(day, document, from_columns, history), raw, found, None)
        return await self._kept(found)

    def _compared(self, day: date, document: Sheet, from_columns: Sheet | None, history: History) -> Admission:
        """Decide about a daily document. On a settled day the sheet composed from columns is the second document."""
        if document.effective_date != day:
            text = f"the document of {day} is dated {document.effective_date}"
            return Quarantined.because(replace(document, effective_date=day), ("other_day", text))
        agrees = from_columns is not None and from_columns.says_the_same_as(document)
        if not agrees and len(document.quotes) < FEWEST_ROWS:
            return Quarantined.because(document, ("rows", f"{len(document.quotes)} rows, and not what the series say"))
        settled = agrees and is_settled(day, moscow_day(self.clock()), history.days[-1])
        admission = admit(document, predecessor(history, day), settled=settled)
        return admission.compared_with(document) if settled and isinstance(admission, Unconfirmed) else admission

    async def release(self, case: Case) -> Revision:
        """Publish a document in quarantine as a person's decision.

        Raises BadDocument if it is no sheet, and StoreUnavailable.
        """
        sheet = parse_daily(case.raw)
        held = self.history.of_date(sheet.effective_date)
        if held is None or not held.sheet.says_the_same_as(sheet):
            before = predecessor(self.history, sheet.effective_date)
            admission = admit(sheet, before, held.sheet if held else None, released=True)
            assert isinstance(admission, Admitted)  # noqa: S101 -- a person vouches for it
            held = await self._put(self._revision(admission, held, case.raw), held)
        await self.store.quarantine.drop([case.name])
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
        """Store a sheet after the one that it corrects, which Redis may have as columns only, and announce it."""
        if held and held.number < candidate.number and not self.store.holds(held.key):
            await self.store.repair_sheets([held])
        revision = await self.store.put(candidate)
        await self.store.announce(revision.effective_date)
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
