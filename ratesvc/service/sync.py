"""Memory and Redis give each other what they lack, and readers of events hear what is new."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from datetime import date

from ratesvc.bank.admission import Reassessed, reassess
from ratesvc.domain.columns import Coverage
from ratesvc.domain.history import History
from ratesvc.domain.rates import Revision, Snapshot
from ratesvc.errors import StoreUnavailable
from ratesvc.service.event_log import SharedLog
from ratesvc.service.repair import Given, Repair
from ratesvc.storage.store import HEARD, Store
from ratesvc.storage.stored import Glance, Loaded

RECONNECT_S = 1.0
PART_S = 3600.0
PARTS = 8


class Sync:
    """Compares both sides now and then. Without Redis nothing happens, and both are out of step until it is back.

    A round reads counts, the coverage and the last event. It compares every value when one of these differs, after a
    trouble and after a reconnection, and an eighth of them once an hour, because a value that was replaced in its place
    changes no count.
    """

    def __init__(
        self,
        store: Store,
        history: History,
        seen: Callable[[], Snapshot | None],
        take: Callable[[Iterable[Revision], Coverage | None], None],
        refused: Callable[[Reassessed], Awaitable[None]],
        *,
        telling: bool,
    ) -> None:
        """`seen` says what is known now, `take` holds and publishes revisions, and hears of a coverage that was filled.

        `refused` hears what became of sheets that an older version stored.
        Not `telling` leaves the log of events to others, as a command does.
        """
        self.event_log = SharedLog(history, seen, self._load)
        self.in_step = True
        self._store = store
        self._history = history
        self._take = take
        self._refused = refused
        self._telling = telling
        self._reseed = Repair(store, history)
        self._broken: set[str] = set()
        self._turn = asyncio.Lock()
        self._glance: Glance | None = None
        self._part_at = time.monotonic() + PART_S

    @property
    def quarantined(self) -> int | None:
        """How many documents Redis held in quarantine when it was last looked at."""
        return self._glance.quarantined if self._glance else None

    async def listen(self, heard: Callable[[], None]) -> None:
        """Look again at each announcement, for ever; call `heard` if the Bank has answered another replica's poll."""
        while True:
            with contextlib.suppress(StoreUnavailable):
                async for text in self._store.announcements():
                    if self._store.is_heard_elsewhere(text):
                        heard()
                    if text and text.startswith(HEARD):
                        continue
                    if text is None:
                        # Redis may have restarted, or be another server.
                        self.in_step = False
                    await self.reread()
            await asyncio.sleep(RECONNECT_S)

    async def reread(self) -> None:
        """Take from Redis what memory lacks."""
        with contextlib.suppress(StoreUnavailable):
            await self._load()
            await self.tell()

    async def tell(self) -> None:
        """Let readers of events know what is new. Raises StoreUnavailable."""
        if self._telling:
            await self.event_log.update(self._store)

    async def round(self, today: date) -> Given:
        """Both ways; what was given back to Redis is announced, since other replicas may lack it too."""
        given = Given()
        try:
            async with self._turn:
                given = await self._compare()
            if given:
                await self._store.announce(today)
            await self._keep_abreast()
        except StoreUnavailable as error:
            if error.kind == "type":
                given = replace(given, misplaced=await self._misplaced())
        return given

    async def _compare(self) -> Given:
        # Set first, so that a trouble or a reconnection during this round makes the next one compare everything.
        is_whole, self.in_step = not self.in_step, True
        try:
            glance = await self._store.glance()
            is_whole = await self._differs(glance) or is_whole
            await self._store.check_writes()
            if is_whole:
                # A round that failed after `forget` has not read the sheets again.
                await self._load()
            return await self._give_back(is_whole=is_whole)
        except BaseException:
            self.in_step = False
            raise

    async def _keep_abreast(self) -> None:
        assert self._glance  # noqa: S101 -- every round begins with one
        if self._telling and self._glance.end is None:
            await self.event_log.mend(self._store)
        if not self.event_log.is_abreast(self._store, self._glance.end):
            await self.tell()

    async def _differs(self, glance: Glance) -> bool:
        """Load what is new in Redis; returns whether Redis may have lost something."""
        before, self._glance = self._glance, glance
        if before and glance.sheets < before.sheets:
            self._store.forget()
        if before is None or glance.sheets != before.sheets or glance.coverage != self._store.seen_coverage:
            await self._load()
        return before is None or glance.sheets < before.sheets or glance.columns != before.columns

    async def _give_back(self, *, is_whole: bool) -> Given:
        is_part = time.monotonic() >= self._part_at
        broken = frozenset(self._broken)
        given = await self._reseed.round(broken, 1 if is_whole else PARTS if is_part else 0)
        # What is found broken meanwhile waits for the next round.
        self._broken -= broken
        if is_part:
            self._part_at = time.monotonic() + PART_S
        return given

    async def _misplaced(self) -> tuple[str, ...]:
        with contextlib.suppress(StoreUnavailable):
            return tuple(await self._store.drop_misplaced())
        return ()

    async def _load(self) -> None:
        loaded = await self._store.load()
        self._broken |= set(loaded.broken)
        if all(revision.admitted for revision in loaded.revisions) and (
            not loaded.coverage or loaded.coverage.assessed
        ):
            self._hold(loaded)
            return
        try:
            # Where Redis took no writes the last time, it is held already, and assessing takes seconds.
            await self._store.check_writes()
            found = await self._reassessed(loaded)
            kept = tuple(replace(revision, admitted=True) for revision in found.kept)
            admitted = tuple(revision for revision in loaded.revisions if revision.admitted)
            self._hold(replace(loaded, revisions=(*admitted, *kept), coverage=loaded.coverage and found.coverage))
            await self._store.readmit(found.kept, [revision for revision, _ in found.refused])
            if loaded.coverage:
                await (self._store.coverage.put(found.coverage) if found.coverage else self._store.coverage.drop())
            await self._refused(found)
        except BaseException:
            self._store.unload()
            raise

    def _hold(self, loaded: Loaded) -> None:
        # A master that comes back may know less than we do: its history is not taken, it is given ours.
        coverage = loaded.coverage if loaded.coverage and self._widens(loaded.coverage) else None
        if coverage:
            self._history.fill(loaded.columns, coverage)
        self._take(loaded.revisions, coverage)

    async def _reassessed(self, loaded: Loaded) -> Reassessed:
        """Admit, or refuse, once what an older version stored: it took history for sheets without assessing it."""
        admitted = [revision for revision in loaded.revisions if revision.admitted]
        stored = [revision for revision in loaded.revisions if not revision.admitted]
        # A version that still runs beside this one adds a sheet to history that is held already: it is judged by that.
        columns, coverage = loaded.columns or self._history.every_column(), loaded.coverage or self._history.coverage
        copies, known = [column.copy() for column in columns], (*self._history, *admitted)
        return await asyncio.to_thread(reassess, self._history.calendar, known, stored, copies, coverage)

    def _widens(self, coverage: Coverage) -> bool:
        held = self._history.coverage
        return held is None or coverage.covers(held)
