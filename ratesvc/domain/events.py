"""The log of events about sheets, the same on every replica, and which events it still lacks."""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Self

from ratesvc.domain.rates import Revision

SHEET = "sheet"
REVISION = "revision"
IN_FORCE = "in_force"
RESET = "reset"
"""Never in the log. A reader gets it whose place the log does not know, so that it fetches everything again."""

MOST_EVENTS = 1000
"""About two years of events; older ones are forgotten."""

_EVENT = re.compile(r"(sheet|revision|in_force) (\S+)")
_ID = re.compile(r"([0-9]{1,15})-([0-9]{4}-[0-9]{2}-[0-9]{2})\.([0-9]{1,4})(?:-([0-9a-f]{8}))?")


@dataclass(frozen=True, slots=True)
class Place:
    """A reader's place in the log: right after one event. As text it is that event's id, `seq-date.rev-check`.

    `check` is a checksum over the whole log up to there, figures included. Two logs therefore share an id only if
    they are the same up to it, even if both count from 1. Events of earlier versions have none.
    """

    seq: int
    """Counted from 1 over all replicas."""
    effective_date: date
    number: int
    check: str = ""

    @classmethod
    def from_id(cls, text: str) -> Self | None:
        """The place after the event with that id, or None if it is not an id of ours."""
        found = _ID.fullmatch(text)
        try:
            return cls(int(found[1]), date.fromisoformat(found[2]), int(found[3]), found[4] or "") if found else None
        except ValueError:
            return None

    def __str__(self) -> str:
        check = f"-{self.check}" if self.check else ""
        return f"{self.seq}-{self.effective_date.isoformat()}.{self.number}{check}"

    @property
    def key(self) -> tuple[date, int]:
        """The revision that the event is about."""
        return self.effective_date, self.number


NOWHERE = Place(0, date.min, 0)
"""Before the first event."""


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the log; `kind` is sheet (became known), revision (a correction) or in_force (applies from today)."""

    kind: str
    place: Place

    @classmethod
    def from_text(cls, text: str) -> Self | None:
        """The event that `str` wrote, or None."""
        found = _EVENT.fullmatch(text)
        place = Place.from_id(found[2]) if found else None
        return cls(found[1], place) if found and place else None

    def __str__(self) -> str:
        return f"{self.kind} {self.place}"


class EventLog:
    """The newest events, oldest first, as far as this replica has read them."""

    def __init__(self) -> None:
        """Empty, and not `known` until `extend` is called for the first time."""
        self.known = False
        self._events: list[Event] = []

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)

    @property
    def end(self) -> Place:
        """The place of a reader who has read everything."""
        return self._events[-1].place if self._events else NOWHERE

    @property
    def begins(self) -> date:
        """The earliest sheet in the log, date.max if it is empty. Sheets before it get no events."""
        return min((event.place.effective_date for event in self._events), default=date.max)

    def extend(self, events: Iterable[Event]) -> None:
        """Append the events that are later than the end."""
        end = self.end.seq
        self._events += [event for event in events if event.place.seq > end]
        del self._events[:-MOST_EVENTS]
        self.known = True

    def follow(self, stored: Sequence[Event]) -> None:
        """Become the log in Redis. `stored` is all of it, or all from our end on.

        While Redis holds only a part of this log nothing is forgotten, because the rest will be written again.
        """
        is_another = stored and self.since(stored[-1].place) is None
        if is_another and self.end not in {event.place for event in stored}:
            self._events.clear()
        self.extend(stored)

    def since(self, place: Place) -> list[Event] | None:
        """The events after `place`; None if the log does not hold it, or has forgotten what followed it."""
        if place == NOWHERE and (not self._events or self._events[0].place.seq == 1):
            return list(self._events)
        index = bisect_left(self._events, place.seq, key=lambda event: event.place.seq)
        is_here = index < len(self._events) and self._events[index].place == place
        return self._events[index + 1 :] if is_here else None

    def knows(self, place: Place | None) -> bool:
        """Whether the log can say which events follow `place`."""
        return place is not None and self.since(place) is not None

    def after(self, place: Place | None) -> list[Event]:
        """The events after `place`, or a single `reset` if the log does not know the place."""
        found = self.since(place) if place else None
        return [Event(RESET, self.end)] if found is None else found


def new_events(log: EventLog, held: Iterable[Revision], in_force: Revision, current: date) -> list[Event]:
    """The events that the log lacks.

    `held` are the latest revisions from `log.begins` or `current` on, oldest first. `in_force` is today's sheet,
    `current` the effective date that it should have. An older sheet that becomes known is history and gets no event.
    A correction gets one if the log reaches back that far.
    """
    logged: dict[date, int] = {}
    newest = dict.fromkeys((SHEET, IN_FORCE), date.min)
    for event in log:
        day, number = event.place.key
        logged[day] = max(logged.get(day, 0), number)
        newest[event.kind] = max(newest.get(event.kind, date.min), day)

    def kind_of(revision: Revision) -> str | None:
        """The event that this revision lacks, if any."""
        day = revision.effective_date
        if day in logged or day < current:
            return REVISION if revision.number > max(logged.get(day, 0), 1) else None
        return SHEET if day > newest[SHEET] else None

    found = [(kind, revision) for revision in held if (kind := kind_of(revision))]
    # A replica whose clock is behind must not go back to the sheet that was in force yesterday.
    if in_force.effective_date > newest[IN_FORCE]:
        found.append((IN_FORCE, in_force))
    return list(_numbered(found, log.end))


def _numbered(found: Iterable[tuple[str, Revision]], place: Place) -> Iterator[Event]:
    """These as the events that follow `place`."""
    for kind, revision in found:
        text = f"{place} {kind} {revision.number} {revision.sheet.checksum}"
        place = Place(place.seq + 1, *revision.key, hashlib.sha256(text.encode()).hexdigest()[:8])
        yield Event(kind, place)
