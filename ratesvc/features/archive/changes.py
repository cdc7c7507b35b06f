"""Which sheets a reader of /v1/sheets does not know yet, computed from what it knows. No list of changes is kept."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Self

from ratesvc.domain.columns import Days
from ratesvc.domain.history import History
from ratesvc.domain.rates import FIRST_DAY
from ratesvc.domain.workdays import ONE_DAY, iso_day
from ratesvc.features.ranges.unit_rates import sheets_of

_MONTH = timedelta(days=31)
_CHECK_BYTES = 3


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
    def at(cls, history: History, days: Days) -> Self:
        """What a reader knows that was told of every sheet of these days. A day without one has a checksum, too."""
        return cls(days, b"".join(_check(history, part) for part in _parts(days)))

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

    def unknown(self, history: History, days: Days, withdrawn: Collection[date] = ()) -> list[date]:
        """The effective dates of these days whose sheets are new to the reader, or have other figures; oldest first.

        Among them are those of the `withdrawn` days that may have had a sheet when the reader asked.
        """
        known: set[date] = set()
        for place, part in enumerate(_parts(self.days)):
            if self.checks[_CHECK_BYTES * place :][:_CHECK_BYTES] == _check(history, part):
                known.update(sheets_of(history, part), (day for day in withdrawn if day in part))
        told = {*sheets_of(history, days), *(day for day in withdrawn if day in days)}
        return sorted(told - known)


def page(
    history: History, days: Days, after: Cursor | None, withdrawn: Collection[date], most: int
) -> tuple[list[date], Days, bool]:
    """The first days of which a reader is told, at most so many; what it knows then; and whether more are left.

    After a page that is cut the reader's next cursor ends with it, so later sheets that it knows come again.
    """
    shown = after.unknown(history, days, withdrawn) if after else sheets_of(history, days)
    if len(shown) <= most:
        return shown, days, False
    return shown[:most], Days(days.since, shown[most - 1]), True


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


def _check(history: History, days: Days) -> bytes:
    """A checksum of the records of these days by id and code, equal on every replica where the figures are.

    Columns have records of sheets that came after a copy of the history was made, and these do not count.
    """
    found = hashlib.blake2b(digest_size=16)
    # A replica that never had a sheet must not pass for one where it is withdrawn.
    found.update(" ".join(str(day) for day in history.withdrawn_days if day in days).encode())
    days = Days(days.since, min(days.until, history.days[-1]))
    for column in sorted(history.columns(), key=lambda column: (column.currency.cbr_id, column.currency.codes)):
        first, last = column.places(days)
        if first < last:
            found.update(f"{column.currency.cbr_id} {column.currency.code} {last - first} ".encode())
            for records in (column.days, column.values, column.nominals):
                found.update(records[first:last].tobytes())
    return found.digest()[:_CHECK_BYTES]
