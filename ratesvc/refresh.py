"""One refresh: lease → fetch → parse → guard → store → announce. It neither logs nor counts; it returns a Cycle."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from random import Random

from ratesvc.cbr import guards
from ratesvc.cbr.client import BankClient
from ratesvc.errors import BadDocument, FetchFailed, StoreUnavailable
from ratesvc.history import History, wanted_day
from ratesvc.rates import Revision, Sheet
from ratesvc.store import Store
from ratesvc.workdays import moscow_day

MOST_DOCUMENTS = 3
CYCLE_S = 60.0

WINDOW_PACE_S = 180.0
USUAL_PACE_S = 3600.0
FIRST_RETRY_S = 10.0
LONGEST_RETRY_S = 600.0
LONGEST_FIRST_SHEET_RETRY_S = 60.0


@dataclass(frozen=True, slots=True)
class Cycle:
    """What one refresh did.

    `outcome` is new, unchanged, failed or skipped (another replica holds the lease). `accepted` are the revisions
    that this replica did not hold; `stored` says whether they are safe in Redis and announced.
    """

    outcome: str
    accepted: tuple[Revision, ...] = ()
    stored: bool = True
    failure: FetchFailed | None = None


class Refresher:
    """Asks the Bank for what a snapshot lacks."""

    def __init__(self, client: BankClient, store: Store, clock: Callable[[], datetime]) -> None:
        """`clock` gives UTC."""
        self._client = client
        self._store = store
        self._clock = clock

    async def cycle(self, history: History) -> Cycle:
        """What a poll does: ask for the newest sheet, unless another replica holds the lease."""
        return await self.ask(history) if await self._is_ours() else Cycle("skipped")

    async def ask(self, history: History, day: date | None = None) -> Cycle:
        """The sheet of `day`, or the newest, then those in force and before it as far as they are not held."""
        accepted: dict[date, Revision] = {}
        stored = True
        asked: set[date | None] = set()
        try:
            while len(asked) < MOST_DOCUMENTS:
                asked.add(day)
                revision, safe = await self._fetch(day, accepted, history)
                stored = stored and safe
                if revision:
                    accepted[revision.effective_date] = revision
                day = wanted_day(sorted({*history.days, *accepted}), history, self._clock())
                if day is None or day in asked:
                    break
        except FetchFailed as failure:
            return Cycle("failed", tuple(accepted.values()), stored, failure)
        return Cycle("new" if accepted else "unchanged", tuple(accepted.values()), stored)

    async def _is_ours(self) -> bool:
        try:
            return await self._store.poll_lease.take(CYCLE_S)
        except StoreUnavailable:
            return True

    async def _fetch(
        self, day: date | None, accepted: Mapping[date, Revision], history: History
    ) -> tuple[Revision | None, bool]:
        """One document. Returns what of it is new here, and whether it is safe in Redis."""
        fetched = await self._client.daily(day, lambda sheet: self._accept(sheet, day))
        effective, document = fetched.document.effective_date, zlib.compress(fetched.raw, 9)
        held = accepted.get(effective) or history.of_date(effective)
        if held and held.sheet.says_the_same_as(fetched.document):
            if self._store.holds(held.key):
                return None, True
            # Backfilled figures, confirmed by a document of its own: now with the Bank's bytes and names.
            candidate = replace(held, sheet=fetched.document, document=document)
        else:
            number = held.number + 1 if held else 1
            candidate = Revision(fetched.document, number, self._clock().replace(microsecond=0), document=document)
        revision, safe = await self._keep(candidate)
        return (None if revision == held else revision), safe

    def _accept(self, sheet: Sheet, day: date | None) -> None:
        guards.check(sheet, moscow_day(self._clock()))
        if day is not None and sheet.effective_date > day:
            raise BadDocument("date", f"asked for {day}, answered {sheet.effective_date}")

    async def _keep(self, candidate: Revision) -> tuple[Revision, bool]:
        try:
            revision = await self._store.put(candidate)
            await self._store.announce(revision.effective_date)
        except StoreUnavailable:
            # Without Redis this replica still serves what it fetched; the next cycle stores it.
            return candidate, False
        return revision, True


def next_poll_s(
    history: History, now: datetime, fixed_s: float | None, failure: FetchFailed | None, tries: int
) -> float:
    """Seconds until the Bank is to be asked again, without jitter.

    `fixed_s`, when configured, alone decides; `tries` counts failures in a row, the last of which is `failure`.
    """
    if fixed_s is not None:
        return fixed_s
    newest = history.newest.effective_date if history.newest else None
    calendar = history.calendar
    if calendar.awaits_publication(newest, now):
        pace = WINDOW_PACE_S
    elif newest is not None and calendar.missed_since(newest, now):
        pace = LONGEST_RETRY_S
    else:
        pace = min(USUAL_PACE_S, (calendar.next_window(now) - now) / timedelta(seconds=1))
    if failure is None:
        return pace
    longest = LONGEST_RETRY_S if newest else LONGEST_FIRST_SHEET_RETRY_S
    return max(failure.retry_after_s, min(FIRST_RETRY_S * 2.0 ** min(tries - 1, 10), longest, max(pace, FIRST_RETRY_S)))


def with_jitter(seconds: float, chance: Random) -> float:
    """Up to a tenth later, so that a fleet does not ask in step."""
    return seconds * (1 + chance.random() / 10)
