"""The settled days: a range in which the Bank's series say which sheets there are; which of two ranges counts. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import NamedTuple, Self

from ratesvc.domain.columns import Days
from ratesvc.domain.workdays import LONG_AGO, ONE_DAY

WEEK = timedelta(days=7)
"""A sheet is provisional for a week: a daily document that was admitted. After it the Bank's series say what it is."""


class Silence(NamedTuple):
    """The days after the Bank's `newest` sheet up to `until` have none, as long as no newer one is held."""

    newest: date = date.min
    until: date = date.min


@dataclass(frozen=True)
class Settled(Days):
    """The days for which the Bank's series say which sheets there are, and what is in them.

    `fetched_at` is UTC by the Bank's clock, `digest` is that of the columns. Days up to `looked_until` had their look:
    the documents of strange ones were asked for. Days of three kinds, some after the range, have no sheet although one
    was expected:

    - `without_a_sheet`: the Bank has none, though one was expected or withdrawn. Readers get the sheet before.
    - those of the `silence` have none either, until the Bank's next sheet.
    - `open_days`: the Bank may have one that was withdrawn, or that waits for a person. Readers get an error until a
      person releases it, or a document is admitted.
    """

    fetched_at: datetime = LONG_AGO
    digest: str = ""
    looked_until: date = date.min
    without_a_sheet: frozenset[date] = frozenset()
    open_days: frozenset[date] = frozenset()
    silence: Silence = field(default_factory=Silence)

    def __post_init__(self) -> None:
        object.__setattr__(self, "open_days", self.open_days - self.without_a_sheet)

    @property
    def is_looked_at(self) -> bool:
        """Whether every day had its look."""
        return self.looked_until >= self.until

    def unsettled(self, days: Days) -> Days:
        """Those of the days that are not settled, or none. A range that begins before the settled ones covers these."""
        if days.since < self.since:
            return Days(days.since, max(self.until, days.until))
        return Days(self.until + ONE_DAY, days.until)

    def opened(self, days: Iterable[date]) -> Self:
        """These days, of which those in the range are open, too."""
        return replace(self, open_days=self.open_days.union(day for day in days if day in self))

    def extended(self, fetched: Settled) -> Settled:
        """These days and the fetched ones, which follow them, or cover and replace them: other figures had no look."""
        if fetched.since <= self.until:
            absent, silence = self.without_a_sheet, self.silence
            return replace(fetched, open_days=self.open_days, without_a_sheet=absent, silence=silence)
        return replace(self, until=fetched.until, fetched_at=fetched.fetched_at, digest=fetched.digest)

    def outranks(self, other: Settled | None) -> bool:
        """Whether this one replaces the other everywhere: it covers more days, or the same and was fetched later."""
        if other is None:
            return True
        if not other.covers(self):
            return self.covers(other)
        return (self.fetched_at, self.digest) > (other.fetched_at, other.digest)

    def contradicts(self, other: Settled) -> bool:
        """Whether the other has other figures for the same days."""
        return (self.since, self.until) == (other.since, other.until) and self.digest != other.digest

    def merged(self, other: Settled) -> Settled:
        """This one with what was learned about the other. Looks count if it has the same figures for the same days."""
        absent = self.without_a_sheet | other.without_a_sheet
        learned = replace(self, without_a_sheet=absent, silence=max(self.silence, other.silence))
        if (self.since, self.until, self.digest) != (other.since, other.until, other.digest):
            return learned
        return replace(
            learned,
            fetched_at=max(self.fetched_at, other.fetched_at),
            looked_until=max(self.looked_until, other.looked_until),
            open_days=self.open_days | other.open_days,
        )

    def without_early_week(self, until: date) -> Settled:
        """These days up to the first that was held back in their last week, if the series may settle that `until` now.

        Only an older version, which wrote no digest, settled such a week.
        """
        held_back = () if self.digest else (day for day in self.open_days if day > self.until - WEEK)
        first = min(held_back, default=None)
        if first is None or until < self.until:
            return self
        last, older = first - ONE_DAY, frozenset(day for day in self.open_days if day < first)
        return replace(self, until=last, open_days=older, looked_until=min(last, self.looked_until))
