"""Keeps memory and Redis in sync: loads what other replicas stored, rewrites what Redis lost."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from ratesvc.domain.columns import Column, Coverage
from ratesvc.domain.history import History
from ratesvc.domain.rates import Revision
from ratesvc.errors import StoreUnavailable
from ratesvc.storage.store import Store

RECONNECT_S = 1.0
PART_S = 3600.0
PARTS = 8


@dataclass(frozen=True, slots=True)
class Repaired:
    """How many sheets and columns one round wrote again, and how many damaged values it deleted.

    `misplaced` are keys of ours that were deleted because they held another type of value.
    """

    sheets: int = 0
    columns: int = 0
    dropped: int = 0
    misplaced: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether the round changed anything in Redis."""
        return self != Repaired()


class Sync:
    """Compares memory and Redis regularly. Without Redis it does nothing, and `in_sync` is False until it is back.

    A round reads counts and the coverage. It compares every value if one of these differs, after an error and after a
    reconnection; and an eighth of them once an hour, because no count shows a value that was overwritten in its place.
    `quarantined` is how many documents Redis held in quarantine at the last round.
    """

    def __init__(
        self,
        store: Store,
        history: History,
        hold: Callable[[Iterable[Revision], Sequence[Column], Coverage | None], None],
    ) -> None:
        """`hold(revisions, columns, coverage)` takes them into memory and publishes."""
        self.in_sync = True
        self.quarantined = 0
        self._store = store
        self._history = history
        self._hold = hold
        self._lock = asyncio.Lock()
        self._columns: int | None = None
        self._part = 0
        self._part_at = time.monotonic() + PART_S

    async def listen(self, bank_answered: Callable[[], None]) -> None:
        """Load at each announcement, for ever; call `bank_answered` if the Bank has answered another replica's poll."""
        while True:
            with contextlib.suppress(StoreUnavailable):
                async for announcement in self._store.announcements():
                    if announcement == "bank answered":
                        bank_answered()
                        continue
                    if announcement == "connected":
                        # Redis may have restarted, or be another server.
                        self.in_sync = False
                    await self.reread()
            await asyncio.sleep(RECONNECT_S)

    async def reread(self) -> None:
        """Load what memory lacks."""
        with contextlib.suppress(StoreUnavailable):
            await self._load()

    async def round(self, today: date) -> Repaired:
        """Load and repair. A repair is announced, because other replicas may lack the same. Raises StoreUnavailable."""
        try:
            async with self._lock:
                repaired = await self._compare()
            if repaired:
                with contextlib.suppress(StoreUnavailable):
                    await self._store.announce(today)
        except StoreUnavailable as error:
            if error.kind != "type":
                raise
            return Repaired(misplaced=tuple(await self._store.drop_misplaced()))
        return repaired

    async def _compare(self) -> Repaired:
        # Set first, so that an error or a reconnection during this round makes the next one compare everything.
        compare_all, self.in_sync = not self.in_sync, True
        try:
            glance = await self._store.glance()
            before, self.quarantined, self._columns = self._columns, glance.quarantined, glance.columns
            if glance.sheets != len(self._store.fields_in_redis) or glance.coverage != self._store.coverage_in_redis:
                await self._load()
            await self._store.check_writes()
            parts = PARTS if time.monotonic() >= self._part_at else 0
            if compare_all or glance.sheets != len(self._store.fields_in_redis) or glance.columns != before:
                parts = 1
            if parts:
                await self._load(self._part, parts)
            repaired = await self._repair(parts)
        except BaseException:
            self.in_sync = False
            raise
        if repaired.columns:
            # The count was taken before the repair. If Redis lost the columns again, the count would look unchanged.
            self._columns = None
        return repaired

    async def _repair(self, parts: int) -> Repaired:
        """Write the sheets that were not seen in Redis, and what it lacks of one of `parts` of the columns."""
        sheets = await self._store.repair_sheets(one for one in self._history if not self._store.holds(one.key))
        columns = await self._repair_columns(parts)
        dropped, self._store.dropped = self._store.dropped, 0
        if parts > 1:
            self._part += 1
            self._part_at = time.monotonic() + PART_S
        return Repaired(sheets, columns, dropped)

    async def _repair_columns(self, parts: int) -> int:
        coverage, theirs = self._history.coverage, self._store.coverage_in_redis
        columns = self._history.every_column()
        if coverage and coverage != theirs and (theirs is None or coverage.covers(theirs)):
            await self._store.put_history(columns, coverage)
            return len(columns)
        if coverage and coverage == theirs and parts:
            return await self._store.repair_columns(columns, coverage, self._part, parts)
        # If the coverage in Redis reaches farther than memory, our columns would have gaps under it.
        return 0

    async def _load(self, part: int = 0, parts: int = 0) -> None:
        loaded = await self._store.load(part, parts)
        self._hold(loaded.revisions, loaded.columns, loaded.coverage)
