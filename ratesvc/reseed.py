"""What Redis lost, memory gives back: after FLUSHALL, an empty restart, an eviction, damage, or an older master."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ratesvc.columns import Column
from ratesvc.history import History
from ratesvc.rates import Revision
from ratesvc.records import field_of
from ratesvc.store import Store

T = TypeVar("T")

NEWEST_SHEETS = 3
SHEETS_A_ROUND = 100
COLUMNS_A_ROUND = 5


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


class Reseed:
    """Compares memory with Redis, a part at every round, and writes what is lacking or does not verify.

    It never takes the place of what verifies, except columns under a span that reaches less far than memory's.
    """

    def __init__(self, store: Store, history: History) -> None:
        self._store = store
        self._history = history
        self._turn = 0

    async def round(self, broken: Iterable[str] = ()) -> Given:
        """One round; `broken` are fields of sheets under which something was found that does not verify.

        Raises StoreUnavailable.
        """
        self._turn += 1
        revisions = list(self._history)
        sheets = await self._store.restore(self._suspects(revisions))
        columns = await self._columns()
        strange = sorted(set(broken) - {field_of(*revision.key) for revision in revisions})
        if strange:
            await self._store.drop(strange)
        return Given(sheets, columns, len(strange))

    def _suspects(self, revisions: Sequence[Revision]) -> list[Revision]:
        """Those not seen in Redis, the newest, and a part of the others in turn."""
        lost = [revision for revision in revisions if not self._store.holds(revision.key)]
        looked_at = (*revisions[-NEWEST_SHEETS:], *self._part(revisions, SHEETS_A_ROUND), *lost)
        return list({revision.key: revision for revision in looked_at}.values())

    async def _columns(self) -> int:
        span = self._history.span
        if span is None:
            return 0
        columns = self._history.columns()
        theirs = await self._store.span.get()
        if theirs is None or (theirs != span and span.covers(theirs)):
            await self._store.put_history(columns, span)
            return len(columns)
        if theirs != span:
            # It reaches farther than memory, whose columns would have gaps under it.
            return 0
        broken: list[Column] = await self._store.broken_columns(self._part(columns, COLUMNS_A_ROUND))
        if broken:
            # Where one is lost, mostly all are: an eviction takes the whole hash.
            broken = await self._store.broken_columns(columns)
        for column in broken:
            await self._store.put_column(column, span)
        return len(broken)

    def _part(self, things: Sequence[T], size: int) -> Sequence[T]:
        parts = max(1, -(-len(things) // size))
        start = self._turn % parts * size
        return things[start : start + size]
