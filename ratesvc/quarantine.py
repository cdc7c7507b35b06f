"""Documents that were not published and wait for a person's decision, with the reasons; the newest fifty, in Redis."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import msgspec

from ratesvc.errors import RatesvcError
from ratesvc.store import Shelf

MOST_CASES = 50
NAME_LENGTH = 12


def name_of(raw: bytes) -> str:
    """What a document is called: the same for the same bytes, on every replica."""
    return hashlib.sha256(raw).hexdigest()[:NAME_LENGTH]


@dataclass(frozen=True, slots=True)
class Case:
    """One document: `reasons` in words, `effective_date` None where the document does not tell; `seen_at` is UTC."""

    effective_date: date | None
    seen_at: datetime
    reasons: tuple[str, ...]
    raw: bytes

    @property
    def name(self) -> str:
        """What it is called."""
        return name_of(self.raw)


class _Record(msgspec.Struct, array_like=True):
    effective_date: date | None
    seen_at: datetime
    reasons: tuple[str, ...]
    raw: bytes


class Quarantine:
    """Every method raises StoreUnavailable."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    async def count(self) -> int:
        """How many documents wait."""
        return await self._shelf.count()

    async def add(self, case: Case) -> None:
        """Keep a document; what is there already stays as it is, and the oldest make room."""
        record = _Record(case.effective_date, case.seen_at, case.reasons, zlib.compress(case.raw, 9))
        added = await self._shelf.add(case.name, msgspec.msgpack.encode(record))
        if added and await self._shelf.count() > MOST_CASES:
            await self.drop([old.name for old in (await self.cases())[MOST_CASES:]])

    async def cases(self) -> list[Case]:
        """Every one, the newest first."""
        found = [_case(payload) for payload in (await self._shelf.all()).values()]
        return sorted(found, key=lambda case: (case.seen_at, case.name), reverse=True)

    async def case(self, name: str) -> Case:
        """The one of that name, or of the only name that begins so. Raises RatesvcError."""
        found = [case for case in await self.cases() if name and case.name.startswith(name)]
        if len(found) != 1:
            raise RatesvcError(f"{len(found) or 'no'} documents in quarantine have a name that begins with {name!r}")
        return found[0]

    async def drop(self, names: Sequence[str]) -> None:
        """Forget these."""
        if names:
            await self._shelf.drop(*names)


def _case(payload: bytes) -> Case:
    record = msgspec.msgpack.decode(payload, type=_Record)
    return Case(record.effective_date, record.seen_at, record.reasons, zlib.decompress(record.raw))
