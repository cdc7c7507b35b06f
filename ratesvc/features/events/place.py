"""Events about sheets, computed from what a reader knows and what this replica holds. No list of events is kept."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple, Self

from ratesvc.domain.history import History
from ratesvc.domain.rates import Revision, Sheet, Snapshot
from ratesvc.domain.workdays import ONE_DAY, iso_day
from ratesvc.features.ranges.unit_rates import revisions

SHEET = "sheet"
REVISION = "revision"
IN_FORCE = "in_force"
RESET = "reset"
"""The reader fetches everything again, because this replica cannot tell what it missed."""

MOST_SHEETS = 50
"""Ten weeks. A reader that missed more gets a reset."""
MOST_CORRECTED = 20
"""An id lists so many corrected sheets, the latest by their day. Corrections of earlier sheets get no event then."""

_STAMP = re.compile(r"([0-9-]{10})(?:\.([1-9][0-9]{0,3})-([0-9a-f]{8}))?")


class Stamp(NamedTuple):
    """A revision in short; `check` is a checksum of its figures, or empty if they are not known."""

    day: date
    number: int = 1
    check: str = ""

    @classmethod
    def of(cls, revision: Revision) -> Self:
        """The stamp of a revision that is held."""
        return cls(*revision.key, revision.sheet.checksum[:8])

    @property
    def is_withdrawal(self) -> bool:
        """Whether the revision says that the day has no sheet any more."""
        return self.check == Sheet(self.day, ()).checksum[:8]

    @classmethod
    def from_text(cls, text: str) -> Self | None:
        """The stamp that `str` wrote so, or None."""
        if (match := _STAMP.fullmatch(text)) and (day := iso_day(match[1])):
            return cls(day, int(match[2] or 1), match[3] or "")
        return None

    def __str__(self) -> str:
        return f"{self.day}.{self.number}-{self.check}" if self.check else f"{self.day}"


@dataclass(frozen=True, slots=True)
class Place:
    """What a reader knows: the sheet in force, the newest, each corrected one, and of all others the first revision.

    As text it is an event's id, the sheet in force first: `2026-04-24.1-7fe99e88_2026-04-25.2-300b3baa`. A day alone
    is an id, too: it stands for a reader that knows the first revision of every sheet up to that day.
    """

    in_force: date
    sheets: tuple[Stamp, ...]
    """The oldest first."""

    @classmethod
    def of(cls, in_force: date, sheets: Iterable[Stamp]) -> Self:
        """The place of a reader that was told of these revisions. Of each sheet the highest number counts."""
        latest = {stamp.day: stamp for stamp in sorted(sheets)}
        corrected = [stamp for stamp in latest.values() if stamp.number > 1][-MOST_CORRECTED:]
        return cls(in_force, tuple(sorted({latest[in_force], latest[max(latest)], *corrected})))

    @classmethod
    def at(cls, history: History, snapshot: Snapshot) -> Self:
        """The place of a reader that knows everything."""
        current = map(Stamp.of, (snapshot.in_force, snapshot.announced or snapshot.in_force))
        return cls.of(snapshot.in_force.effective_date, [*current, *_stamps(history, sorted(revisions(history)))])

    @classmethod
    def from_id(cls, text: str) -> Self | None:
        """The place that an id stands for, or None if the text is no id of ours."""
        parts = [Stamp.from_text(part) for part in text.split("_")]
        stamps = [stamp for stamp in parts if stamp]
        return cls.of(stamps[0].day, stamps) if len(stamps) == len(parts) <= MOST_CORRECTED + 2 else None

    def __str__(self) -> str:
        return "_".join(map(str, sorted(self.sheets, key=lambda stamp: stamp.day != self.in_force)))

    @property
    def newest(self) -> date:
        """The effective date of the newest sheet that the reader knows."""
        return self.sheets[-1].day

    @property
    def corrected_since(self) -> date:
        """The day from which on the reader knows every correction."""
        corrected = [stamp.day for stamp in self.sheets if stamp.number > 1]
        return corrected[0] if len(corrected) >= MOST_CORRECTED else date.min

    def stamp(self, day: date) -> Stamp:
        """The revision that the reader knows of the sheet of this day, which is not later than the newest."""
        return next((stamp for stamp in self.sheets if stamp.day == day), Stamp(day))


@dataclass(frozen=True, slots=True)
class Event:
    """What a reader is told: the kind, the sheet (None for `reset`), and the reader's place from then on."""

    kind: str
    sheet: Stamp | None
    place: Place


def can_go_on(place: Place, history: History, snapshot: Snapshot) -> bool:
    """Whether this replica can tell what a reader at this place missed.

    It cannot if it does not hold the reader's newest sheet and another sheet may be missing after it. Nor can it if it
    holds other figures under the same number, because caches may keep the old ones for ever under that address. Nor is
    there an event for a sheet that the reader knows and that was withdrawn.
    """
    newest = place.newest
    # Another replica may have told of tomorrow's sheet already.
    is_ahead = history.days[-1] < newest <= snapshot.today + ONE_DAY
    is_followed = is_ahead or history.of_date(newest) is not None or history.after(newest) is not None
    ours = {stamp[:2]: stamp for stamp in _stamps(history, (theirs.day for theirs in place.sheets))}
    is_foreign = any(theirs.check and ours.get(theirs[:2], theirs) != theirs for theirs in place.sheets)
    is_withdrawn = any(
        place.corrected_since <= day <= newest and place.stamp(day).number < number
        for day, number, _ in _stamps(history, history.withdrawn_days)
    )
    return is_followed and not is_foreign and not is_withdrawn and len(_days_after(history, newest)) <= MOST_SHEETS


def missed(place: Place, history: History, snapshot: Snapshot) -> Iterator[Event]:
    """The events for a reader at this place. A replica that knows less than the reader has none.

    They follow the days of the sheets, so that a reader that leaves in between has missed only later ones.
    """
    newest, since = place.newest, place.corrected_since
    days = [day for day in revisions(history) if since <= day]
    for ours in _stamps(history, sorted({*days, *_days_after(history, newest)})):
        theirs = place.stamp(ours.day)
        if ours.day > newest or (ours.number > theirs.number and ours.check != theirs.check):
            place = Place.of(place.in_force, (*place.sheets, ours))
            if not ours.is_withdrawal:
                yield Event(SHEET if ours.day > newest else REVISION, ours, place)
    ours = Stamp.of(snapshot.in_force)
    theirs = place.stamp(ours.day)
    if ours.day > place.in_force and (ours.number >= theirs.number or ours.check == theirs.check):
        yield Event(IN_FORCE, ours, Place.of(ours.day, (*place.sheets, ours)))


def _days_after(history: History, day: date) -> list[date]:
    return history.days[bisect_right(history.days, day) :]


def _stamps(history: History, days: Iterable[date]) -> Iterator[Stamp]:
    """The stamps of these days' revisions, as far as they are held."""
    return map(Stamp.of, filter(None, map(history.latest_or_withdrawal, days)))
