"""Documents that were not published and wait for a person's decision, with the reasons; the newest fifty, in Redis."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import msgspec

from ratesvc.errors import RatesvcError
from ratesvc.storage.records import as_text, seal, unseal
from ratesvc.storage.redis import Link, shaped

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
    """Envelopes by name under one key. Every method raises StoreUnavailable."""

    def __init__(self, link: Link, key: str) -> None:
        """Both are the store's."""
        self._link = link
        self._key = key
        self._counted = 0

    async def count(self, stored: int | None = None) -> int:
        """How many documents wait; `stored` is how many fields the key was just seen to have."""
        count = await self._stored() if stored is None else stored
        if count != self._counted:
            self._counted = count and len(await self.cases())
        return self._counted

    async def _stored(self) -> int:
        async with self._link.answering("quarantine") as redis:
            return shaped(await redis.hlen(self._key), int)

    async def add(self, case: Case) -> bool:
        """Keep a document, and whether it is new; what is there already stays as it is, and the oldest make room."""
        record = _Record(case.effective_date, case.seen_at, case.reasons, zlib.compress(case.raw, 9))
        async with self._link.answering("put_aside") as redis:
            envelope = seal(case.name, msgspec.msgpack.encode(record))
            is_new = bool(await redis.hsetnx(self._key, case.name, envelope))
        if is_new:
            await self.drop([old.name for old in (await self.cases())[MOST_CASES:]])
        return is_new

    async def cases(self) -> list[Case]:
        """Every one, the newest first. What cannot be read, by nobody then, is dropped."""
        async with self._link.answering("quarantine") as redis:
            found = _opened(shaped(await redis.hgetall(self._key), dict))
            broken = [name for name, case in found.items() if case is None]
            if broken:
                # It may have been damaged on its way only.
                again = shaped(await redis.hmget(self._key, broken), list, len(broken))
                found |= _opened(dict(zip(broken, again, strict=True)))
        await self.drop([name for name, case in found.items() if case is None])
        return sorted(filter(None, found.values()), key=lambda case: (case.seen_at, case.name), reverse=True)

    async def case(self, name: str) -> Case:
        """The one of that name, or of the only name that begins so. Raises RatesvcError."""
        found = [case for case in await self.cases() if name and case.name.startswith(name)]
        if len(found) != 1:
            raise RatesvcError(f"{len(found) or 'no'} documents in quarantine have a name that begins with {name!r}")
        return found[0]

    async def drop(self, names: Sequence[str]) -> None:
        """Forget these; those that are not there are no matter."""
        if names:
            async with self._link.answering("put_aside") as redis:
                await redis.hdel(self._key, *names)


def _opened(envelopes: Mapping[Any, Any]) -> dict[str, Case | None]:
    return {as_text(name): _case(unseal(as_text(name), envelope)) for name, envelope in envelopes.items()}


def _case(payload: bytes | None) -> Case | None:
    try:
        record = msgspec.msgpack.decode(payload or b"", type=_Record)
        return Case(record.effective_date, record.seen_at, record.reasons, zlib.decompress(record.raw))
    except (msgspec.MsgspecError, zlib.error):
        return None
