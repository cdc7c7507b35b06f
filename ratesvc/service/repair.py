"""What Redis lost, memory gives back: after FLUSHALL, an empty restart, an eviction, damage, or an older master."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ratesvc.domain.columns import Column
from ratesvc.domain.history import History
from ratesvc.domain.rates import Revision
from ratesvc.storage.records import field_of
from ratesvc.storage.store import Store

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Given:
    """How much was given back in one round, and how many fields were dropped since nobody can read them.

    `misplaced` are keys of ours that were deleted since they held another type of value.
    """

    sheets: int = 0
    columns: int = 0
    dropped: int = 0
    misplaced: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether it was anything."""
        return self != Given()


class Repair:
    """Compares memory with Redis, value by value, and writes what is lacking or does not verify.

    It never takes the place of what verifies, except columns under a coverage that reaches less far than memory's.
    """

    def __init__(self, store: Store, history: History) -> None:
        self._store = store
        self._history = history
        self._turn = 0

    async def round(self, broken: Iterable[str] = (), parts: int = 1) -> Given:
        """One round; `broken` are fields of sheets under which something was found that does not verify.

        `parts` is 1 to compare everything, n to compare the next n-th of it, 0 only what was not seen in Redis yet.
        Raises StoreUnavailable.
        """
        if parts > 1:
            self._turn += 1
        revisions = list(self._history)
        sheets = await self._store.restore(self._suspects(revisions, parts))
        columns = await self._columns(parts)
        strange = sorted(set(broken) - {field_of(*revision.key) for revision in revisions})
        if strange:
            await self._store.drop(strange)
        dropped = len(strange) + (await self._strange_columns() if parts == 1 else 0)
        return Given(sheets, columns, dropped)

    async def _strange_columns(self) -> int:
        known = {column.currency.cbr_id for column in self._history.every_column()}
        return await self._store.drop_strange_columns(known) if self._history.coverage else 0

    def _suspects(self, revisions: Sequence[Revision], parts: int) -> list[Revision]:
        """Those not seen in Redis, and a part of the others in turn."""
        lost = [revision for revision in revisions if not self._store.holds(revision.key)]
        return list({revision.key: revision for revision in (*self._part(revisions, parts), *lost)}.values())

    async def _columns(self, parts: int) -> int:
        coverage = self._history.coverage
        if coverage is None or (parts == 0 and coverage == self._store.seen_coverage):
            return 0
        columns = self._history.every_column()
        theirs = await self._store.coverage.get()
        if theirs is None or (theirs != coverage and coverage.covers(theirs)):
            await self._store.put_history(columns, coverage)
            return len(columns)
        if theirs != coverage:
            # It reaches farther than memory, whose columns would have gaps under it.
            return 0
        broken: list[Column] = await self._store.broken_columns(self._part(columns, parts))
        if broken and parts > 1:
            # Where one is lost, mostly all are: an eviction takes the whole hash.
            broken = await self._store.broken_columns(columns)
        for column in broken:
            await self._store.put_column(column, coverage)
        return len(broken)

    def _part(self, things: Sequence[T], parts: int) -> Sequence[T]:
        return things[self._turn % parts :: parts] if parts else ()
