"""What the store reads at once: what is new, how much there is; and a range of days under a key of its own."""

from __future__ import annotations

from dataclasses import dataclass

from ratesvc.domain.columns import Column, Coverage
from ratesvc.domain.events import Place
from ratesvc.domain.rates import Revision
from ratesvc.storage.records import opened_range, range_record, seems_damaged
from ratesvc.storage.redis import Link


@dataclass(frozen=True, slots=True)
class Loaded:
    """What Redis holds and this replica had not seen; `columns` only together with the `coverage` that they complete.

    `broken` are the fields of sheets under which something stands that does not verify.
    """

    revisions: tuple[Revision, ...] = ()
    columns: tuple[Column, ...] = ()
    coverage: Coverage | None = None
    broken: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Glance:
    """How much Redis holds, read in one round trip of a few hundred bytes.

    `coverage` is None if none is stored that verifies, `end` the place of the last event or None if it does not verify.
    """

    sheets: int
    columns: int
    quarantined: int
    coverage: Coverage | None
    end: Place | None


class StoredRange:
    """A closed range of days under one key. Every method raises StoreUnavailable."""

    def __init__(self, link: Link, key: str, field: str) -> None:
        """`field` is what it is called in its envelope, and in what is counted."""
        self._link = link
        self.key = key
        self._field = field

    async def get(self) -> Coverage | None:
        """The range, or None where none stands there that verifies."""
        async with self._link.answering(self._field) as redis:
            stored = await redis.get(self.key)
            if seems_damaged(stored) and opened_range(self._field, stored) is None:
                # On its way only, perhaps.
                stored = await redis.get(self.key)
        return opened_range(self._field, stored)

    async def put(self, coverage: Coverage) -> None:
        """Write it over what is there."""
        async with self._link.answering(f"put_{self._field}") as redis:
            await redis.set(self.key, range_record(self._field, coverage))

    async def drop(self) -> None:
        """Forget it."""
        async with self._link.answering(f"drop_{self._field}") as redis:
            await redis.delete(self.key)
