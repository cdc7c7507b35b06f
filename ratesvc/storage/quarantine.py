"""Documents that are not published and wait for a person, with the reasons; the newest fifty, in Redis."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from datetime import date, datetime

import msgspec

from ratesvc.errors import RatesvcError
from ratesvc.storage.records import as_text, seal, unseal
from ratesvc.storage.redis import RedisConnection, checked

MOST_CASES = 50
NAME_LENGTH = 12


def name_of(raw: bytes) -> str:
    """The name of a document: the same for the same bytes, on every replica."""
    return hashlib.sha256(raw).hexdigest()[:NAME_LENGTH]


class Case(msgspec.Struct, array_like=True, frozen=True):
    """One document: `reasons` are sentences, `effective_date` is None if the document has none, `seen_at` is UTC.

    It is stored as it is here, with compressed bytes.
    """

    effective_date: date | None
    seen_at: datetime
    reasons: tuple[str, ...]
    raw: bytes

    @property
    def name(self) -> str:
        """The name of the document."""
        return name_of(self.raw)


class Quarantine:
    """Envelopes by name in one hash. Every method raises StoreUnavailable."""

    def __init__(self, connection: RedisConnection, key: str) -> None:
        """The store makes it. `count` is how many documents were there at its last glance."""
        self.key = key
        self.count = 0
        self._connection = connection

    async def add(self, case: Case) -> bool:
        """Store a document, unless it is there, and delete the oldest above the limit; returns whether it is new."""
        record = msgspec.msgpack.encode(msgspec.structs.replace(case, raw=zlib.compress(case.raw, 9)))
        async with self._connection.call("quarantine") as redis:
            is_new = bool(await redis.hsetnx(self.key, case.name, seal(case.name, record)))
        if is_new:
            await self.drop([old.name for old in (await self.cases())[MOST_CASES:]])
        return is_new

    async def cases(self) -> list[Case]:
        """Every document, the newest first. Deletes what cannot be read."""
        async with self._connection.call("quarantine") as redis:
            stored = checked(await redis.hgetall(self.key), dict)
        cases = {as_text(name): _case(unseal(as_text(name), envelope)) for name, envelope in stored.items()}
        await self.drop([name for name, case in cases.items() if case is None])
        return sorted(filter(None, cases.values()), key=lambda case: (case.seen_at, case.name), reverse=True)

    async def case(self, name: str) -> Case:
        """The document whose name begins so. Raises RatesvcError if none or several do."""
        cases = [case for case in await self.cases() if name and case.name.startswith(name)]
        if len(cases) != 1:
            raise RatesvcError(f"{len(cases) or 'no'} documents in quarantine have a name that begins with {name!r}")
        return cases[0]

    async def drop(self, names: Sequence[str]) -> None:
        """Delete those of these documents that are there."""
        if names:
            async with self._connection.call("quarantine") as redis:
                await redis.hdel(self.key, *names)


def _case(payload: bytes | None) -> Case | None:
    try:
        record = msgspec.msgpack.decode(payload or b"", type=Case)
        return msgspec.structs.replace(record, raw=zlib.decompress(record.raw))
    except (msgspec.MsgspecError, zlib.error):
        return None
