"""The log of events as one replica keeps it: it hears what any replica told, tells what is new, wakes who waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ratesvc.errors import StoreUnavailable
from ratesvc.events import Event, EventLog, Place
from ratesvc.store import Store

LoadSheets = Callable[[], Awaitable[None]]
News = Callable[[EventLog], list[Event]]


class Feed:
    """What /v1/events reads. Nothing is passed on that does not stand in Redis, so every replica says the same."""

    def __init__(self, load_sheets: LoadSheets) -> None:
        """`load_sheets` is called before events are passed on, so that whoever hears of a sheet can have it."""
        self.log = EventLog()
        self.closed = False
        self._load_sheets = load_sheets
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()
        self._at_close: list[Callable[[], None]] = []

    async def update(self, store: Store, news: News) -> None:
        """Hear the others, then tell what the log lacks. Raises StoreUnavailable.

        Of replicas that tell at the same moment one is first; the others' events are refused, and they hear its.
        """
        async with self._turn:
            await self._hear(store)
            lacking = news(self.log)
            if lacking:
                await store.tell(lacking)
                await store.announce(lacking[-1].effective_date)
                await self._hear(store)
                if self.log.end.seq < lacking[0].seq:
                    raise StoreUnavailable("Redis takes no events")

    async def _hear(self, store: Store) -> None:
        end = self.log.end
        stored = await store.events(end.seq)
        if end.seq and (not stored or stored[0].place != end):
            # Redis was emptied: what was told is put back, with the numbers that readers hold.
            await store.tell(list(self.log))
        if any(event.seq > end.seq for event in stored):
            await self._load_sheets()
        self.log.extend(stored)
        self._wake()

    async def after(self, place: Place) -> list[Event]:
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
