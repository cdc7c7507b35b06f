"""Sheets in Redis, and the documents that wait for a person: names every key, and sends every command but leases'.

| key | type | value |
|---|---|---|
| `{namespace}:v2:sheets` | hash | `2026-04-25.1` → envelope of one revision with the Bank's raw bytes |
| `{namespace}:v2:columns` | hash | `R01235` → envelope of the backfilled history of one currency id |
| `{namespace}:v2:coverage` | string | envelope of the coverage, and how many columns belong to it |
| `{namespace}:v2:written` | string | the version: a random word, another one after each write of sheets or history |
| `{namespace}:v2:quarantine` | hash | `1f0c…` → envelope of a document that waits for a person; the newest fifty |
| `{namespace}:v2:figures:{name}` | string | envelope of the figures that a feature has beside the sheets |
| `{namespace}:v2:lease:{name}` | string | the replica that may poll, or backfill |
| `{namespace}:v2:nothing` | – | never exists: `SET … XX` on it changes nothing and tells whether Redis accepts writes |

The braces keep all keys in one slot of a Cluster. Sheets are only added, so every order of writes, repeated or not,
gives the same result. Columns and the coverage are overwritten. A coverage is valid only while all its columns are
there and were requested for all its days, so `put_history` writes them first. A value that cannot be read counts as
missing: it is deleted, and a replica that holds it adds it again. One that is too long to be ours is deleted unread.
A key of another type is left alone: Redis refuses the command, and the log names the key.
The version changes with every write, so that replicas compare only counts while nothing happens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice, starmap
from typing import Any, TypeVar

from redis.asyncio.client import Redis

from ratesvc.domain.columns import Column
from ratesvc.domain.rates import Revision
from ratesvc.domain.settled import Settled
from ratesvc.errors import RatesvcError, StoreUnavailable
from ratesvc.storage import records
from ratesvc.storage.records import Case, field_of
from ratesvc.storage.redis import Lease, RedisConnection, checked

T = TypeVar("T")

SCHEMA = "v2"
MOST_CASES = 50
AT_ONCE = 10  # values a command: a column takes up to 100 kB, and a command may take 0.4 s
LARGEST = 2**20
"""Bytes of a value. Ours are shorter: a document has at most 512 KiB."""


@dataclass(frozen=True, slots=True)
class Glance:
    """How much Redis holds, read in one round trip of a few hundred bytes.

    `settled` is None if the coverage is damaged, or if it or one of its columns is missing.
    """

    sheets: int
    columns: int
    settled: Settled | None
    version: bytes


class Quarantine:
    """Documents that wait for a person; the newest fifty. Every method raises StoreUnavailable."""

    def __init__(self, store: Store, key: str) -> None:
        """`count` is how many documents were there at the store's last glance, and those added since."""
        self.key = key
        self.count = 0
        self._store = store

    async def add(self, case: Case) -> bool:
        """Store a document, unless it is there, and delete the oldest above the limit; returns whether it is new."""
        async with self._store.connection.call("quarantine") as redis:
            is_new = bool(await redis.hsetnx(self.key, case.name, records.encode_case(case)))
        if is_new:
            cases = await self.cases()
            self.count = min(len(cases), MOST_CASES)
            await self.drop([old.name for old in cases[MOST_CASES:]])
        return is_new

    async def cases(self) -> list[Case]:
        """Every document, the newest first."""
        found = await self._store.read(self.key, await self._store.names(self.key), records.decode_case)
        return sorted(found.values(), key=lambda case: (case.seen_at, case.name), reverse=True)

    async def case(self, name: str) -> Case:
        """The document whose name begins so. Raises RatesvcError if none or several do."""
        cases = [case for case in await self.cases() if name and case.name.startswith(name)]
        if len(cases) != 1:
            raise RatesvcError(f"{len(cases) or 'no'} documents in quarantine have a name that begins with {name!r}")
        return cases[0]

    async def drop(self, names: Sequence[str]) -> None:
        """Delete those of these documents that are there."""
        if names:
            async with self._store.connection.call("quarantine") as redis:
                await redis.hdel(self.key, *names)


class Store:
    """What Redis holds for all replicas of a service. Every method raises StoreUnavailable."""

    def __init__(self, connection: RedisConnection, namespace: str, token: Callable[[], str]) -> None:
        """The store closes the connection. `token` gives 32 other hexadecimal digits each time."""
        prefix = f"{{{namespace}}}:{SCHEMA}:"
        self.connection = connection
        self.poll_lease = Lease(connection, prefix + "lease:poll", token())
        self.backfill_lease = Lease(connection, prefix + "lease:backfill", token())
        self.quarantine = Quarantine(self, prefix + "quarantine")
        self.dropped = 0
        """How many values were deleted because they could not be read."""
        self._coverage = prefix + "coverage"
        self._sheets = prefix + "sheets"
        self._columns = prefix + "columns"
        self._written = prefix + "written"
        self._nothing = prefix + "nothing"
        self._token = token
        self._figures = prefix + "figures:"

    async def close(self) -> None:
        """Release the leases and close the connection."""
        await self.release_leases()
        await self.connection.close()

    async def release_leases(self) -> None:
        """Leave the leases to other replicas."""
        await self.poll_lease.release()
        await self.backfill_lease.release()

    # Reading

    async def glance(self) -> Glance:
        """Counts, the coverage and the version. A coverage that cannot be ours is deleted.

        If Redis refused a command, a write is tried that changes nothing.
        """
        async with self.connection.call("glance") as redis:
            pipeline = redis.pipeline(transaction=False)
            for key in (self._sheets, self._columns, self.quarantine.key):
                pipeline.hlen(key)
            pipeline.getrange(self._coverage, 0, LARGEST)
            pipeline.getrange(self._written, 0, 31)  # a word has 32 letters, a foreign value may have more
            if is_refusing := self.connection.refusing:
                pipeline.set(self._nothing, b"", xx=True, px=1)
            answers = await pipeline.execute()
            sheets, columns, self.quarantine.count = (checked(count, int) for count in answers[:3])
            version = checked(answers[4], bytes)
            if is_refusing:
                self.connection.refusing = False
        settled, count = records.decode_coverage(answers[3]) or (None, 0)
        if answers[3] and settled is None:
            await self._drop("UNLINK", self._coverage)
        return Glance(sheets, columns, settled if columns >= count else None, version)

    async def _drop(self, *command: str) -> None:
        """Delete values that cannot be ours: a replica that holds them writes them again."""
        # A Redis that accepts no writes keeps them. They are never used.
        with suppress(StoreUnavailable):
            self.dropped += sum(await self._write("drop", [command]))

    async def fields(self) -> set[str]:
        """The fields of all revisions: `2026-04-25.1`."""
        return await self.names(self._sheets)

    async def revisions(
        self, fields: Collection[str], known: Mapping[str, int]
    ) -> dict[str, tuple[int, Revision | None]]:
        """The hashes of the bytes in these fields, and the revisions: None, not decoded, if the hash is `known`."""

        def decode(field: str, envelope: bytes | None) -> tuple[int, Revision | None] | None:
            revision, found = None, hash(envelope)
            if found != known.get(field) and not (revision := records.decode_revision(field, envelope)):
                return None
            return found, revision

        return await self.read(self._sheets, fields, decode)

    async def history(self) -> tuple[Settled, list[Column]] | None:
        """The coverage and its columns, or None if one is lost or damaged: a part of them would give wrong answers.

        The coverage is then deleted, so that no replica takes the other columns for all of history.
        """
        async with self.connection.call("coverage") as redis:
            envelope = await redis.getrange(self._coverage, 0, LARGEST)
        stored = await self.read(self._columns, await self.names(self._columns), records.decode_column)
        settled, count = records.decode_coverage(envelope) or (None, 0)
        if settled is None:
            return None
        # A run that was cut off has left columns of other days, and another replica those of other figures.
        columns = [
            column for column, theirs in stored.values() if theirs.covers(settled) and not theirs.contradicts(settled)
        ]
        if columns and len(columns) >= count:
            return settled, columns
        await self._drop("UNLINK", self._coverage)
        return None

    async def names(self, key: str) -> set[str]:
        """The names of all fields of a hash."""
        async with self.connection.call("fields") as redis:
            return {name.decode("utf-8", "replace") for name in checked(await redis.hkeys(key), list)}

    async def read(
        self, key: str, fields: Collection[str], decode: Callable[[str, bytes | None], T | None]
    ) -> dict[str, T]:
        """The values of these fields. What cannot be read is deleted: a replica that holds it writes it again."""
        values, damaged = dict[str, T](), list[str]()
        for chunk in _chunks(sorted(fields)):
            async with self.connection.call("load") as redis:
                envelopes = await _values(redis, key, chunk)
            decoded = await asyncio.to_thread(list, starmap(decode, envelopes.items()))
            for (field, envelope), value in zip(envelopes.items(), decoded, strict=True):
                if value is not None:
                    values[field] = value
                # A missing value is not deleted: another replica may have written it by now.
                elif envelope is not None:
                    damaged.append(field)
        if damaged:
            await self._drop("HDEL", key, *damaged)
        return values

    # Writing

    async def put(self, candidate: Revision, current: Revision | None = None) -> list[Revision]:
        """Store a revision under its number, and return it.

        It may correct the `current` one, which Redis may have as columns only, and which is stored first. If another
        replica has stored one under this number, that one and those after it are returned instead, in order.
        """
        if current and current.number < candidate.number:
            await self.add([current])
        field = field_of(*candidate.key)
        for _ in range(2):  # a damaged value in its place is deleted by the first attempt
            if await self.add([candidate]):
                return [candidate]
            fields = [other for other in await self.fields() if other.startswith(f"{candidate.effective_date}.")]
            stored = (await self.revisions(fields, {})).values()
            if later := [revision for _, revision in stored if revision and revision.number >= candidate.number]:
                return sorted(later, key=lambda revision: revision.number)
        raise StoreUnavailable(f"Redis keeps a damaged value in {field}")

    async def add(self, revisions: Iterable[Revision]) -> int:
        """Write revisions that Redis lacks, and return how many. One that another replica writes first stays."""
        written = 0
        for chunk in _chunks(revisions):
            envelopes = {field_of(*revision.key): records.encode_revision(revision) for revision in chunk}
            commands = [("HSETNX", self._sheets, field, envelope) for field, envelope in envelopes.items()]
            written += sum(await self._write("add", commands))
        return written

    async def put_history(self, columns: Collection[Column], settled: Settled) -> None:
        """Overwrite these columns, and then the coverage."""
        envelopes = {column.currency.cbr_id: records.encode_column(column, settled) for column in columns}
        async with self.connection.call("put_history") as redis:
            for chunk in _chunks(envelopes):
                await redis.hset(self._columns, mapping={field: envelopes[field] for field in chunk})
        await self._put_coverage(settled, len(columns))

    async def put_settled(self, settled: Settled) -> None:
        """Overwrite what was learned about these settled days, if Redis has them with the same figures."""
        async with self.connection.call("coverage") as redis:
            envelope = await redis.getrange(self._coverage, 0, LARGEST)
        stored, count = records.decode_coverage(envelope) or (None, 0)
        if stored and stored != (merged := stored.merged(settled)):
            await self._put_coverage(merged, count)

    async def _put_coverage(self, settled: Settled, columns: int) -> None:
        await self._write("put_history", [("SET", self._coverage, records.encode_coverage(settled, columns))])

    # Figures of features

    async def figures(self, name: str, most_bytes: int = LARGEST) -> bytes:
        """The envelope of a feature's figures, or so much of it; empty without one."""
        async with self.connection.call("figures") as redis:
            return checked(await redis.getrange(self._figures + name, 0, most_bytes - 1), bytes)

    async def put_figures(self, name: str, envelope: bytes) -> None:
        """Overwrite the envelope."""
        await self._write("figures", [("SET", self._figures + name, envelope)])

    async def _write(self, operation: str, commands: Iterable[tuple[str | bytes, ...]]) -> list[Any]:
        """The answers to these commands. The version changes with them: replicas may lack something."""
        async with self.connection.call(operation) as redis:
            pipeline = redis.pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            pipeline.set(self._written, self._token())
            return (await pipeline.execute())[:-1]


async def _values(redis: Redis, key: str, fields: list[str]) -> dict[str, bytes | None]:
    """The values of a few fields. One that is too long to be ours is not read; it is empty here."""
    pipeline = redis.pipeline(transaction=False)
    for field in fields:
        pipeline.hstrlen(key, field)
    lengths = checked(await pipeline.execute(), list, len(fields))
    short = [field for field, length in zip(fields, lengths, strict=True) if length <= LARGEST]
    values = checked(await redis.hmget(key, short), list, len(short)) if short else []
    return {**dict.fromkeys(fields, b""), **dict(zip(short, values, strict=True))}


def _chunks(values: Iterable[T]) -> Iterator[list[T]]:
    left = iter(values)
    while chunk := list(islice(left, AT_ONCE)):
        yield chunk
