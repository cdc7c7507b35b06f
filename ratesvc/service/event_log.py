"""The event log of one replica: reads what any replica appended, appends what is new, wakes the readers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ratesvc.domain.events import Event, EventLog, Place, new_events
from ratesvc.domain.history import History
from ratesvc.domain.rates import Revision, Snapshot
from ratesvc.errors import StoreUnavailable
from ratesvc.storage.store import Store


class SharedLog:
    """What /v1/events reads. Readers get only events that are in Redis, so every replica says the same."""

    def __init__(
        self,
        history: History,
        current_snapshot: Callable[[], Snapshot | None],
        load_sheets: Callable[[], Awaitable[None]],
    ) -> None:
        """`load_sheets` is called before readers get events, so that they find the sheets."""
        self.log = EventLog()
        self.closed = False
        self._history = history
        self._current_snapshot = current_snapshot
        self._load_sheets = load_sheets
        self._lock = asyncio.Lock()
        self._changed = asyncio.Event()
        self._at_close: list[Callable[[], None]] = []

    async def update(self, store: Store) -> None:
        """Read the log in Redis, then append what it lacks. Raises StoreUnavailable.

        If several replicas append at the same moment, Redis takes the events of the first and refuses the others'. The
        others read these events, and append what is still missing at their next update.
        """
        async with self._lock:
            await self._read(store)
            missing = self._missing(store)
            if missing:
                await store.append_events(missing, self.log.end.seq)
                await store.announce(missing[-1].place.effective_date)
                await self._read(store)
                if self.log.end.seq < missing[0].place.seq:
                    raise StoreUnavailable("Redis accepts no events")

    def is_current(self, store: Store, end: Place | None) -> bool:
        """Whether this log ends at `end`, as the log in Redis does, and has no events to append."""
        return self.log.known and self.log.end == end and not self._missing(store)

    async def repair(self, store: Store) -> None:
        """Write the log again if it ends with a foreign entry, which may refuse every later event."""
        async with self._lock:
            await self._read(store)
            await store.drop_foreign_events()
            await self._read(store)

    async def _read(self, store: Store) -> None:
        end = self.log.end
        stored = await store.events(end.seq)
        if end.seq and (not stored or stored[0].place != end):
            stored = await self._restore(store)
        if stored and stored[-1].place != end:
            await self._load_sheets()
        self.log.follow(stored)
        self._wake()

    async def _restore(self, store: Store) -> list[Event]:
        """Append again what Redis lost, with the ids that readers hold; returns the log in Redis.

        If another replica has begun another log meanwhile, that log counts, for every replica.
        """
        stored = await store.events(0)
        lost = self.log.since(stored[-1].place) if stored else list(self.log)
        if lost:
            await store.append_events(lost, stored[-1].place.seq if stored else 0)
            stored = await store.events(0)
        return stored

    def _missing(self, store: Store) -> list[Event]:
        """The events that the log lacks about sheets that are in Redis."""
        snapshot = self._current_snapshot()
        if snapshot is None or not self._is_stored(store, snapshot.in_force):
            return []
        current = self._history.calendar.effective_date_on_or_before(snapshot.today)
        since = min(current, self.log.begins)
        latest = {held.effective_date: held for held in self._history if held.effective_date >= since}
        stored = (held for held in latest.values() if self._is_stored(store, held))
        return new_events(self.log, stored, snapshot.in_force, current)

    def _is_stored(self, store: Store, revision: Revision) -> bool:
        """Whether Redis has it. Other replicas, and this one after a restart, could not serve any other sheet."""
        coverage = self._history.coverage if revision.number == 1 else None
        return store.holds(revision.key) or (coverage is not None and revision.effective_date in coverage)

    async def after(self, place: Place | None) -> list[Event]:
        """The events after `place`, as soon as there are any; nothing when this replica is about to stop."""
        while not self.closed:
            found = self.log.after(place)
            if found:
                return found
            await self._changed.wait()
        return []

    def at_close(self, call: Callable[[], None]) -> None:
        """Have `call` called when this replica is about to stop."""
        self._at_close.append(call)

    def close(self) -> None:
        """Let every reader go, now and from now on."""
        self.closed = True
        self._wake()
        for call in self._at_close:
            call()

    def _wake(self) -> None:
        waiting, self._changed = self._changed, asyncio.Event()
        waiting.set()
