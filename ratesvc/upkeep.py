"""Memory and Redis give each other what they lack, and readers of events hear what is new."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from datetime import date

from ratesvc.cbr.admission import Reassessed, reassess
from ratesvc.columns import Span
from ratesvc.errors import StoreUnavailable
from ratesvc.feed import Feed
from ratesvc.history import History
from ratesvc.rates import Revision, Snapshot
from ratesvc.reseed import Given, Reseed
from ratesvc.store import Loaded, Store

RECONNECT_S = 1.0


class Upkeep:
    """Compares both sides now and then. Without Redis nothing happens, and both are out of step until it is back."""

    def __init__(
        self,
        store: Store,
        history: History,
        seen: Callable[[], Snapshot | None],
        take: Callable[[Iterable[Revision], Span | None], None],
        refused: Callable[[Reassessed], Awaitable[None]],
        *,
        telling: bool,
    ) -> None:
        """`seen` says what is known now, `take` holds and publishes revisions, and hears of a span that was filled.

        `refused` hears what became of sheets that an older version stored.
        Not `telling` leaves the log of events to others, as a command does.
        """
        self.feed = Feed(history, seen, self._load)
        self.in_step = True
        self._store = store
        self._history = history
        self._take = take
        self._refused = refused
        self._telling = telling
        self._reseed = Reseed(store, history)
        self._broken: set[str] = set()
        self._turn = asyncio.Lock()

    async def listen(self) -> None:
        """Look again at each announcement, for ever."""
        while True:
            with contextlib.suppress(StoreUnavailable):
                async for _ in self._store.announcements():
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
            await self.feed.update(self._store)

    async def round(self, today: date) -> Given:
        """Both ways; what was given back to Redis is announced, since other replicas may lack it too."""
        given = Given()
        try:
            async with self._turn:
                if await self._store.changed():
                    await self._load()
                broken = frozenset(self._broken)
                given = await self._reseed.round(broken)
                # What is found broken meanwhile waits for the next round.
                self._broken -= broken
            if given:
                await self._store.announce(today)
            await self.tell()
            self.in_step = True
        except StoreUnavailable as error:
            self.in_step = False
            if error.kind == "type":
                given = replace(given, misplaced=await self._misplaced())
        return given

    async def _misplaced(self) -> tuple[str, ...]:
        with contextlib.suppress(StoreUnavailable):
            return tuple(await self._store.drop_misplaced())
        return ()

    async def _load(self) -> None:
        loaded = await self._store.load()
        self._broken |= set(loaded.broken)
        if any(not revision.admitted for revision in loaded.revisions) or (loaded.span and not loaded.span.assessed):
            loaded = await self._reassessed(loaded)
        # A master that comes back may know less than we do: its history is not taken, it is given ours.
        span = loaded.span if loaded.span and self._widens(loaded.span) else None
        if span:
            self._history.fill(loaded.columns, span)
        self._take(loaded.revisions, span)

    async def _reassessed(self, loaded: Loaded) -> Loaded:
        """Admit, or refuse, once what an older version stored: it took history for sheets without assessing it."""
        admitted = [revision for revision in loaded.revisions if revision.admitted]
        stored = [revision for revision in loaded.revisions if not revision.admitted]
        known = (*self._history, *admitted)
        found = await asyncio.to_thread(reassess, self._history.calendar, known, stored, loaded.columns, loaded.span)
        await self._store.readmit(found.kept, [revision for revision, _ in found.refused])
        if found.span:
            await self._store.span.put(found.span)
        await self._refused(found)
        return replace(loaded, revisions=(*admitted, *found.kept), span=found.span)

    def _widens(self, span: Span) -> bool:
        held = self._history.span
        return held is None or span.covers(held)
