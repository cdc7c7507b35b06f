"""Keeps memory and Redis in sync: loads what other replicas stored, rewrites what Redis lost."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from itertools import groupby, starmap
from operator import itemgetter
from typing import NamedTuple

from ratesvc.bank.admission import Decision, assess_beside
from ratesvc.domain.columns import Column
from ratesvc.domain.history import NEAR, History
from ratesvc.domain.rates import Revision
from ratesvc.service.figures import Figures
from ratesvc.storage.records import field_of
from ratesvc.storage.store import Glance, Store

MOST_ALONE = 4
"""A neighbour writes to a Redis that came back empty within so many comparisons."""


class Repairs(NamedTuple):
    """How many sheets and columns one comparison wrote again, and how many unreadable values it deleted.

    `exchanged` is 1 if memory and Redis had other figures of the same settled days, of which one gave way.
    """

    sheets: int = 0
    columns: int = 0
    dropped: int = 0
    exchanged: int = 0


class Sync:
    """Compares memory and Redis.

    A comparison begins with counts, the coverage and the version. If these are as they were, nothing else is read.
    Otherwise the values of a month and those with new names are read, also if this replica has written them: another
    may have been faster, or has fetched them anew for a Redis that lost them. All are read after a start or a failure,
    and when Redis holds fewer than before.

    A replica that began without Redis had nothing to compare its first sheets with. So neighbours write before it, and
    what they hold counts.
    """

    def __init__(self, store: Store, history: History, figures: Mapping[str, Figures]) -> None:
        self._store = store
        self._history = history
        self._figures = figures
        self.lock = asyncio.Lock()
        """Is locked while it compares. It may hold ten years then, a month at a time."""
        self._last: tuple[Glance, tuple[int, ...]] | None = None
        """The last glance, and the versions of all that was held then. The exchange may miss what came meanwhile."""
        self._alone = MOST_ALONE
        """As long as memory has what no comparison found in Redis: how many may pass until it is written, and one."""
        self._read = dict[str, int]()
        """By field: the hashes of the revisions that were read since all were. The same bytes are not decoded again."""

    async def compare(self) -> Repairs:
        """Load what memory lacks and write what Redis lacks. Raises StoreUnavailable."""
        async with self.lock:
            last, self._last = self._last, None
            glance = await self._store.glance()
            seen, repaired = (glance, self._versions), Repairs()
            if last != seen:
                # Fewer than were read: Redis has lost them, and another replica may have written others since.
                is_less = glance.sheets < len(self._read)
                repaired = await self._exchange(glance, read_all=last is None or is_less)
                for figures in self._figures.values():
                    await figures.exchange(self._store)
            if not (any(repaired) or self._alone):
                # Else the glance is older than the repair, and Redis may lose the same again.
                self._last = seen
            return repaired

    @property
    def _versions(self) -> tuple[int, ...]:
        return self._history.version, *(figures.version for figures in self._figures.values())

    async def _exchange(self, glance: Glance, *, read_all: bool) -> Repairs:
        """Take into memory what it lacks, then write what Redis lacks."""
        fields = await self._store.fields()
        recent = str(self._history.days[-1] - NEAR) if self._history.days else ""
        wanted = fields if read_all else {field for field in fields if field not in self._read or field > recent}
        ours, theirs, columns = self._history.settled, glance.settled, list[Column]()
        if theirs and (read_all or theirs.outranks(ours)):
            theirs, columns = await self._store.history() or (None, [])
        # A value that cannot be read is deleted.
        read, unjudged = {field: self._read[field] for field in fields - wanted}, list[Revision]()
        gives_way = bool(theirs and not ours and self._alone)
        known = {} if gives_way else self._read
        # A month at a time: all sheets of ten years would take 50 MB, and block the event loop. Readers ask meanwhile:
        # the newest come first, and series last, because they do not know what a person withdrew or released.
        for _, month in groupby(sorted(wanted, reverse=True), itemgetter(slice(7))):
            found = await self._store.revisions([*month], known)
            if gives_way:
                unjudged, gives_way = self._history.forget(), False
            self._history.hold(one for _, one in found.values() if one)
            read |= {field: hashed for field, (hashed, _) in found.items()}
        if theirs:
            # This takes as many milliseconds as holding a month before, and as comparing keys afterwards.
            await asyncio.sleep(0)
            self._history.settle(theirs, columns)
            await asyncio.sleep(0)
        # The next poll asks for those that are dropped here.
        for revision in unjudged:
            is_new = not self._history.latest_or_withdrawal(revision.effective_date)
            if is_new and assess_beside(self._history, revision.sheet).decision is Decision.ACCEPT:
                self._history.hold([revision])
        self._read = read
        keys = [key for key in self._history.own_keys if field_of(*key) not in self._read]
        self._alone = max(0, self._alone - 1) if keys and not theirs else 0
        if self._alone:
            return Repairs()
        sheets = await self._store.add(filter(None, starmap(self._history.revision_or_withdrawal, keys)))
        exchanged = int(bool(ours and theirs and ours.contradicts(theirs)))
        held, columns = self._history.settled, []
        if held and held.outranks(theirs):
            columns = self._history.every_column()
            await self._store.put_history(columns, held)
        elif held and held != theirs:
            await self._store.put_settled(held)
        dropped, self._store.dropped = self._store.dropped, 0
        return Repairs(sheets, len(columns), dropped, exchanged)
