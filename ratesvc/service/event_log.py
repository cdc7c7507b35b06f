"""The log of events as one replica keeps it: it hears what any replica told, tells what is new, wakes who waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ratesvc.domain.events import Event, EventLog, Place, new_events
from ratesvc.domain.history import History
from ratesvc.domain.rates import Revision, Snapshot
from ratesvc.errors import StoreUnavailable
from ratesvc.storage.store import Store


class SharedLog:
    """What /v1/events reads. Nothing is passed on that does not stand in Redis, so every replica says the same."""

    def __init__(
        self, history: History, seen: Callable[[], Snapshot | None], load_sheets: Callable[[], Awaitable[None]]
    ) -> None:
        """`seen` says what is known now; `load_sheets` is called before events are passed on.

        So whoever hears of a sheet can have it.
        """
        self.log = EventLog()
        self.closed = False
        self._history = history
        self._seen = seen
        self._load_sheets = load_sheets
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()
        self._at_close: list[Callable[[], None]] = []

    async def update(self, store: Store) -> None:
        """Hear the others, then tell what the log lacks. Raises StoreUnavailable.

        Of replicas that tell at the same moment one is first; the others' events are refused, they hear its, and tell
        what is still lacking at the next update.
        """
        async with self._turn:
            await self._hear(store)
            lacking = self._lacking(store)
            if lacking:
                await store.tell(lacking, self.log.end.seq)
                await store.announce(lacking[-1].effective_date)
                await self._hear(store)
                if self.log.end.seq < lacking[0].seq:
                    raise StoreUnavailable("Redis takes no events")

    def is_abreast(self, store: Store, end: Place | None) -> bool:
        """Whether this log ends at `end`, as Redis' log does, and has no events to add."""
        return self.log.known and self.log.end == end and not self._lacking(store)

    async def mend(self, store: Store) -> None:
        """Write the log anew where a foreign entry stands at its end, which may keep any event from being added."""
        async with self._turn:
            await self._hear(store)
            await store.drop_foreign_events()
            await self._hear(store)

    async def _hear(self, store: Store) -> None:
        end = self.log.end
        stored = await store.events(end.seq)
        if end.seq and (not stored or stored[0].place != end):
            stored = await self._put_back(store)
        if stored and stored[-1].place != end:
            await self._load_sheets()
        self.log.follow(stored)
        self._wake()

    async def _put_back(self, store: Store) -> list[Event]:
        """All that Redis holds after what it lost is put back, with the ids that readers hold.

        Where another replica has begun another log meanwhile, that one counts, for all replicas the same.
        """
        stored = await store.events(0)
        lost = self.log.since(stored[-1].place) if stored else list(self.log)
        if lost:
            await store.tell(lost, stored[-1].seq if stored else 0)
            stored = await store.events(0)
        return stored

    def _lacking(self, store: Store) -> list[Event]:
        """What the log lacks, of the sheets that are safe."""
        seen = self._seen()
        if seen is None or not self._is_safe(store, seen.in_force):
            return []
        current = self._history.calendar.effective_date_on_or_before(seen.today)
        since = min(current, self.log.begins)
        latest = {held.effective_date: held for held in self._history if held.effective_date >= since}
        safe = (held for held in latest.values() if self._is_safe(store, held))
        return new_events(self.log, safe, seen.in_force, current)

    def _is_safe(self, store: Store, revision: Revision) -> bool:
        """Whether it is in Redis: only that is told, since elsewhere and after a restart nobody could be given more."""
        coverage = self._history.coverage if revision.number == 1 else None
        return store.holds(revision.key) or (coverage is not None and revision.effective_date in coverage)

    async def after(self, place: Place | None) -> list[Event]:
        """What was told after `place`, as soon as there is something; nothing when this replica is about to stop."""
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
        """Let everyone go who waits, now and from now on."""
        self.closed = True
        self._wake()
        for call in self._at_close:
            call()

    def _wake(self) -> None:
        waiting, self._changed = self._changed, asyncio.Event()
        waiting.set()
