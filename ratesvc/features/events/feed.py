"""The events of one replica: computes what each reader missed, and wakes the readers after a change."""

from __future__ import annotations

import asyncio
from functools import lru_cache

from ratesvc.domain.history import History
from ratesvc.domain.rates import Snapshot
from ratesvc.features.events.place import RESET, Event, Place, can_go_on, missed

SPREAD_S = 2.0
"""Readers are told so long after a change: most fetch the event's address at once, from any replica."""
MOST_PLACES = 100


class EventFeed:
    """What /v1/events reads.

    `end` is the place of a reader that knows everything, None while no sheet is published.
    """

    def __init__(self, history: History) -> None:
        """Readers wait until the first `publish`."""
        self.end: Place | None = None
        self.closed = False
        self.streams = 0
        """How many are open."""
        self._history = history
        self._snapshot: Snapshot | None = None
        self._latest: Place | None = None
        """What `end` becomes when the last change has spread."""
        self._woken = asyncio.Event()
        # Most readers are at the same place.
        self._missed = lru_cache(MOST_PLACES)(self._compute)

    def publish(self, snapshot: Snapshot) -> None:
        """Tell the readers of a change later, when the other replicas have loaded it, too."""
        place = Place.at(self._history, snapshot)
        self._snapshot, self._latest = snapshot, place
        if self.end in (None, place):
            self._tell(place)
        else:
            asyncio.get_running_loop().call_later(SPREAD_S, self._tell, place)

    def _tell(self, place: Place) -> None:
        if place == self._latest:
            self.end = place
            self._missed.cache_clear()
            self._wake()

    async def after(self, place: Place | None) -> list[Event]:
        """The events for a reader at `place`, as soon as there are any; none when this replica is about to stop.

        Without a place the reader gets a `reset`.
        """
        while not self.closed:
            # A reader that comes while a change spreads waits like the others.
            if self.end == self._latest and (events := self._missed(place)):
                return events
            await self._woken.wait()
        return []

    def _compute(self, place: Place | None) -> list[Event]:
        if self._snapshot is None or self.end is None:
            return []
        if place is None or not can_go_on(place, self._history, self._snapshot):
            return [Event(RESET, None, self.end)]
        return list(missed(place, self._history, self._snapshot))

    def close(self) -> None:
        """Let every reader go, now and from now on."""
        self.closed = True
        self._wake()

    def _wake(self) -> None:
        waiting, self._woken = self._woken, asyncio.Event()
        waiting.set()
