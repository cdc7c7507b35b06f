"""Which sheets a reader of /v1/sheets does not know yet, computed from what it knows. No list of changes is kept."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Self

from ratesvc.domain.columns import Column, Days
from ratesvc.domain.history import History
from ratesvc.domain.rates import FIRST_DAY
from ratesvc.domain.workdays import ONE_DAY, iso_day

_MONTH = timedelta(days=31)
_CHECK_BYTES = 3


@dataclass(frozen=True, slots=True)
class Holdings:
    """The days and columns of one moment, for a thread that reads while sheets are added.

    So a cursor never counts a sheet as known that the answer with the cursor lacks.
    """

    days: list[date]
    columns: list[Column]

    @classmethod
    def of(cls, history: History) -> Self:
        """What is held now. Call it where sheets are added, on the event loop."""
        return cls(history.days, history.columns())

    def sheets(self, days: Days) -> list[date]:
        """The effective dates of the sheets of these days, oldest first."""
        return self.days[bisect_left(self.days, days.since) : bisect_right(self.days, days.until)]

    def check(self, days: Days) -> bytes:
        """A checksum of the records of these days by id and code, equal on every replica where the figures are.

        Columns have got later sheets since, which do not count.
        """
        days, found = Days(days.since, min(days.until, self.days[-1])), hashlib.blake2b(digest_size=16)
        for column in sorted(self.columns, key=lambda column: (column.currency.cbr_id, column.currency.codes)):
            first, last = column.places(days)
            if first < last:
                found.update(f"{column.currency.cbr_id} {column.currency.code} {last - first} ".encode())
                for records in (column.days, column.values, column.nominals):
                    found.update(records[first:last].tobytes())
        return found.digest()[:_CHECK_BYTES]


@dataclass(frozen=True, slots=True)
class Cursor:
    """What a reader knows: a checksum of the figures of each of the last 31 days, and one of each year before them.

    It names neither moments nor revisions, so it does not matter when, in which order and by which replica a sheet was
    admitted, nor whether Redis was lost since. Where one figure of a year is new, all sheets of that year count as new.
    As text: `2025-11-28_2026-11-28_` and the checksums in base64.
    """

    days: Days
    checks: bytes

    @classmethod
    def at(cls, held: Holdings, days: Days) -> Self:
        """What a reader knows that was told of every sheet of these days. A day without one has a checksum, too."""
        return cls(days, b"".join(map(held.check, _parts(days))))

    @classmethod
    def from_text(cls, text: str) -> Self | None:
        """The cursor that `str` wrote so, or None."""
        since, until, checks = [*text.split("_", 2), "", ""][:3]
        first, last = iso_day(since), iso_day(until)
        if first is None or last is None or first < FIRST_DAY or last < first:
            return None
        try:
            cursor = cls(Days(first, last), urlsafe_b64decode(checks))
        except ValueError:
            return None
        return cursor if len(cursor.checks) == _CHECK_BYTES * len(list(_parts(cursor.days))) else None

    def __str__(self) -> str:
        return f"{self.days.since}_{self.days.until}_{urlsafe_b64encode(self.checks).decode()}"

    def unknown(self, held: Holdings, days: Days) -> list[date]:
        """The effective dates of these days whose sheets are new to the reader, or have other figures; oldest first."""
        known: set[date] = set()
        for place, part in enumerate(_parts(self.days)):
            if self.checks[_CHECK_BYTES * place :][:_CHECK_BYTES] == held.check(part):
                known.update(held.sheets(part))
        return [day for day in held.sheets(days) if day not in known]


def _parts(days: Days) -> Iterator[Days]:
    """What has a checksum of its own: each year, and each of the last days."""
    recent = max(days.since, days.until - _MONTH + ONE_DAY)
    for year in range(days.since.year, recent.year + 1):
        part = Days(max(days.since, date(year, 1, 1)), min(date(year, 12, 31), recent - ONE_DAY))
        if part.since <= part.until:
            yield part
    for ordinal in range(recent.toordinal(), days.until.toordinal() + 1):
        day = date.fromordinal(ordinal)
        yield Days(day, day)
