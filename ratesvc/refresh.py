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

from ratesvc.cbr import guards
from ratesvc.cbr.client import BankClient, Fetched
from ratesvc.cbr.documents import parse_daily
from ratesvc.cbr.verdict import Decision, Verdict, judge
from ratesvc.doubts import Doubts
from ratesvc.errors import BadDocument, FetchFailed, StoreUnavailable
from ratesvc.history import History, wanted_day
from ratesvc.quarantine import Case, Quarantine, name_of
from ratesvc.rates import Revision, Sheet
from ratesvc.store import Store
from ratesvc.workdays import ONE_DAY, moscow_day

MOST_DOCUMENTS = 3
CYCLE_S = 60.0

SUSPICIOUS = frozenset({"rows", "core", "unit"})
"""Reasons for which a document is refused that a person may want to look at: it is the Bank's, with wrong figures."""


@dataclass(frozen=True, slots=True)
class HeldBack:
    """A sheet that is not published (yet), and why: to be confirmed at the next poll, or in quarantine."""

    effective_date: date
    decision: Decision
    verdict: Verdict

    def __str__(self) -> str:
        """The reasons in one line."""
        return "; ".join(f"{remark.kind}: {remark.text}" for remark in self.verdict.remarks)


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
        """All of it in one word."""
        if self.failure:
            return "failed"
        decisions = {one.decision for one in self.held_back.values()}
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
        self._doubts = Doubts(client)
        self.quarantine = Quarantine(store.link, store.quarantine_key)

    async def cycle(self, history: History) -> Cycle:
        """What a poll does: ask for the newest sheet, unless another replica holds the lease."""
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
                if day is None and not history.days:
                    wanted.append(self._eve(history))
                continue
            # A sheet that is held back was given, so the one before it is still to be asked for.
            given = sorted({*history.days, *found.settled, *found.held_back})
            following = wanted_day(given, history, self._clock())
            if not wanted and following and following not in asked:
                wanted.append(following)
        return await self._kept(found, history)

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
        verdict = self._judged(sheet, held, history, found.settled)
        decision = verdict.decision
        if decision is Decision.CONFIRM:
            decision = await self._doubts.settle(sheet, at_once=at_once)
        if decision is not Decision.ACCEPT:
            refused = HeldBack(effective, decision, verdict)
            if decision is Decision.QUARANTINE:
                await self._put_aside(Case(effective, self._now(), (str(refused),), fetched.raw), verdict.reason, found)
            return refused
        self._doubts.settled(effective)
        if verdict.decision is Decision.CONFIRM:
            await self._leave_quarantine(fetched.raw)
        return self._revision(sheet, held, verdict.flags, fetched.raw)

    @staticmethod
    def _judged(sheet: Sheet, held: Revision | None, history: History, settled: Mapping[date, Revision]) -> Verdict:
        before = Refresher._nearest(sheet.effective_date, settled, history)
        return judge(sheet, before.sheet if before else None, held.sheet if held else None)

    @staticmethod
    def _nearest(effective: date, settled: Mapping[date, Revision], history: History) -> Revision | None:
        """The nearest earlier sheet, be it one of this cycle."""
        nearest = history.before_near(effective)
        earlier = [one for day, one in settled.items() if day < effective]
        return max((*earlier, *([nearest] if nearest else ())), key=attrgetter("effective_date"), default=None)

    def _revision(self, sheet: Sheet, held: Revision | None, flags: tuple[str, ...], raw: bytes) -> Revision:
        number = held.number + 1 if held else 1
        return Revision(sheet, number, self._now(), flags, zlib.compress(raw, 9))

    async def release(self, history: History, case: Case) -> Revision:
        """A person says that a document in quarantine is right: it is published, with that remark.

        Raises BadDocument where it does not even say what a sheet says.
        """
        sheet = parse_daily(case.raw)
        held = history.of_date(sheet.effective_date)
        if held is None or not held.sheet.says_the_same_as(sheet):
            flags = (*self._judged(sheet, held, history, {}).flags, "released")
            held = await self._put(self._revision(sheet, held, flags, case.raw), held)
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

    def _check(self, day: date | None, sheet: Sheet) -> None:
        guards.check(sheet, moscow_day(self._clock()))
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
            await self._store.restore([held])
        revision = await self._store.put(candidate)
        await self._store.announce(revision.effective_date)
        return revision
