"""Which sheets are expected, and which of these are not held. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import date
from typing import Self

from ratesvc.domain.columns import Days
from ratesvc.domain.settled import Settled
from ratesvc.domain.workdays import ONE_DAY, RULE_SINCE, WorkCalendar


@dataclass(frozen=True, slots=True)
class Known:
    """What is known about days: the effective dates of held sheets, oldest first, and where none is missing.

    On settled days the Bank's series have said which sheets there are, on others the calendar says it. A day whose only
    sheet was withdrawn, one of `withdrawn`, is expected to get another one, until the Bank says that it has none.
    """

    days: list[date]
    withdrawn: tuple[date, ...]
    settled: Settled | None
    calendar: WorkCalendar

    def __post_init__(self) -> None:
        """Of the settled days the withdrawn ones are open, and those that are held are not: after each `replace`."""
        if self.settled:
            settled = self.settled.opened(self.withdrawn)
            is_open = frozenset(day for day in settled.open_days if not self.has(day))
            object.__setattr__(self, "settled", replace(settled, open_days=is_open))

    def without(self, lost: Collection[date]) -> Self:
        """The same after these days have lost their only sheet."""
        kept = [day for day in self.days if day not in lost]
        return replace(self, days=kept, withdrawn=tuple(sorted({*self.withdrawn, *lost})))

    @property
    def awaited_after(self) -> date:
        """The next sheet comes after this day: the newest, or a later one without any. Raises IndexError."""
        day = max(self.days[-1], self.settled.until if self.settled else date.min)
        while self._is_absent(following := self.calendar.effective_date_after(day)):
            day = following
        return day

    def missing(self, days: Days) -> Iterator[date]:
        """The days of a range whose sheets are expected and not held, oldest first."""
        day, settled = days.since, self.settled
        while day <= days.until:
            if settled and day in settled:
                rest = Days(day, min(days.until, settled.until))
                yield from sorted(one for one in settled.open_days if one in rest and self._is_lacking(one))
                day = settled.until
            elif self._is_lacking(day) and self._is_expected(day):
                yield day
            day += ONE_DAY

    def _is_lacking(self, day: date) -> bool:
        return not self.has(day) and not self._is_absent(day)

    def _is_absent(self, day: date) -> bool:
        """Whether the Bank has said that it has no sheet of this day: for good, or while its newest one is held."""
        if self.settled is None:
            return False
        newest, until = self.settled.silence
        return day in self.settled.without_a_sheet or (newest < day <= until and self.days[-1:] == [newest])

    def _is_expected(self, day: date) -> bool:
        # The calendar proves nothing about days before its rule.
        return day < RULE_SINCE or day in self.withdrawn or self.calendar.is_effective_date(day)

    def has(self, day: date) -> bool:
        """Whether the sheet with exactly this effective date is held."""
        index = bisect_left(self.days, day)
        return index < len(self.days) and self.days[index] == day

    def is_complete(self, days: Days) -> bool:
        """Whether every expected sheet of these days is held."""
        return next(self.missing(days), None) is None

    def in_force_on(self, day: date) -> date | None:
        """The effective date of the sheet in force on `day`, or None if a sheet may be missing before it."""
        index = bisect_right(self.days, day)
        found = self.days[index - 1] if index else None
        return found if found and self.is_complete(Days(found + ONE_DAY, day)) else None
