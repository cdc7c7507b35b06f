"""Sheets in Redis: every key is named here, and every command but those of leases and the quarantine is sent here.

| key | type | value |
|---|---|---|
| `{namespace}:v1:sheets` | hash | `2026-04-25.1` → envelope of one revision with the Bank's raw bytes |
| `{namespace}:v1:columns` | hash | `R01235` → envelope of the backfilled history of one currency id |
| `{namespace}:v1:span` | string | envelope of the coverage: the closed range of days in which every sheet is held |
| `{namespace}:v1:quarantine` | hash | `1f0c…` → envelope of a document that waits for a person; the newest fifty |
| `{namespace}:v1:events` | stream | `17-0` → envelope of event 17; the newest thousand |
| `{namespace}:v1:lease:{name}` | string | the replica whose turn it is to poll, or to backfill |
| `{namespace}:v1:announce` | channel | a day: something about it is new; `heard …`: the Bank answered a poll |
| `{namespace}:v1:nothing` | – | never exists: `SET … XX` on it changes nothing and tells whether Redis accepts writes |

The braces keep all keys in one slot of a Cluster. Sheets and events are only added, so any order and any repetition
of writes gives the same; columns and ranges are overwritten. A coverage is valid only while the columns reach as far:
`put_history` writes them first. A damaged value is never used; a replica that holds it writes it again, and a damaged
value that no replica holds is deleted.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import compress
from typing import Any, Literal, TypeVar
from uuid import uuid4

from redis.asyncio import Redis

from ratesvc.domain.columns import Column, Coverage, sheet_days
from ratesvc.domain.events import MOST_EVENTS, NOWHERE, Event, Place
from ratesvc.domain.rates import Revision
from ratesvc.storage.quarantine import Quarantine
from ratesvc.storage.records import (
    as_text,
    decode_column,
    decode_event,
    decode_range,
    decode_revision,
    encode_column,
    encode_range,
    encode_revision,
    field_of,
    seal,
    unseal,
)
from ratesvc.storage.redis import Lease, RedisConnection, checked

T = TypeVar("T")

SCHEMA = "v1"
LISTEN_S = 1.0
SHEETS_AT_ONCE = 200
COLUMNS_AT_ONCE = 10
_BANK_ANSWERED = b"heard "

# A script, because another replica could begin another log between our read and our write.
_APPEND = """
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if (last and last[1] or '0-0') ~= ARGV[1] then return 0 end
for i = 3, #ARGV, 2 do
    redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], ARGV[i], 'event', ARGV[i + 1])
end
return 1
"""

Announcement = Literal["connected", "changed", "bank answered"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """New to this replica; `columns` come only together with the `coverage` that they complete."""

    revisions: tuple[Revision, ...] = ()
    columns: tuple[Column, ...] = ()
    coverage: Coverage | None = None


@dataclass(frozen=True, slots=True)
class Glance:
    """How much Redis holds, read in one round trip of a few hundred bytes.

    `coverage` is None if none or a damaged one is stored, `end` is the place of the last event, None if it is damaged.
    """

    sheets: int
    columns: int
    quarantined: int
    coverage: Coverage | None
    end: Place | None


class StoredRange:
    """A closed range of days under a key of its own. Every method raises StoreUnavailable."""

    def __init__(self, connection: RedisConnection, key: str) -> None:
        self.key = key
        self._connection = connection
        self._name = key.rpartition(":")[2]

    async def get(self) -> Coverage | None:
        """The range, or None if it is missing or damaged."""
        async with self._connection.call(self._name) as redis:
            return decode_range(self._name, await redis.get(self.key))

    async def put(self, coverage: Coverage) -> None:
        """Overwrite it."""
        async with self._connection.call(f"put_{self._name}") as redis:
            await redis.set(self.key, encode_range(self._name, coverage))

    async def drop(self) -> None:
        """Delete it."""
        async with self._connection.call(f"drop_{self._name}") as redis:
            await redis.delete(self.key)


class Store:
    """All that one Redis namespace holds. Every method raises StoreUnavailable.

    `coverage` is the range in which every sheet is held; `seen_coverage` is the one that the last `load` found.
    """

    def __init__(self, connection: RedisConnection, namespace: str) -> None:
        """The store closes the connection."""
        prefix = f"{{{namespace}}}:{SCHEMA}:"
        self.connection = connection
        self.coverage = StoredRange(connection, prefix + "span")
        self.poll_lease = Lease(connection, prefix + "lease:poll")
        self.backfill_lease = Lease(connection, prefix + "lease:backfill")
        self.quarantine = Quarantine(connection, prefix + "quarantine")
        self.seen_coverage: Coverage | None = None
        self._sheets = prefix + "sheets"
        self._columns = prefix + "columns"
        self._events = prefix + "events"
        self._channel = prefix + "announce"
        self._nothing = prefix + "nothing"
        self._seen: set[str] = set()
        self._name = uuid4().hex.encode()

    async def close(self) -> None:
        """Release the leases and close the connection."""
        await self.release_leases()
        await self.connection.close()

    async def release_leases(self) -> None:
        """Leave the leases to other replicas."""
        await self.poll_lease.release()
        await self.backfill_lease.release()

    @property
    def up(self) -> bool:
        """Whether Redis answered the last call."""
        return self.connection.up

    async def ping(self) -> None:
        """Check that Redis answers."""
        async with self.connection.call("ping") as redis:
            await redis.ping()

    async def check_writes(self) -> None:
        """If Redis refused a command, try a write that changes nothing."""
        if self.connection.refusing:
            async with self.connection.call("check_writes") as redis:
                await redis.set(self._nothing, b"", xx=True, px=1)
                self.connection.refusing = False

    # Reading

    async def glance(self) -> Glance:
        """Counts, the coverage and the last event."""
        async with self.connection.call("glance") as redis:
            pipeline = redis.pipeline(transaction=False)
            for key in (self._sheets, self._columns, self.quarantine.key):
                pipeline.hlen(key)
            pipeline.get(self.coverage.key)
            pipeline.xrevrange(self._events, count=1)
            # With raise_on_error redis-py would put words of its own before WRONGTYPE.
            answers = await pipeline.execute(raise_on_error=False)
            for error in answers:
                if isinstance(error, Exception):
                    raise error
            sheets, columns, quarantined = (checked(count, int) for count in answers[:3])
        newest = answers[4]
        event = decode_event(*newest[0]) if newest else None
        end = event.place if event else None if newest else NOWHERE
        return Glance(sheets, columns, quarantined, decode_range("span", answers[3]), end)

    def holds(self, key: tuple[date, int]) -> bool:
        """Whether this replica has seen this revision in Redis."""
        return field_of(*key) in self._seen

    @property
    def sheets_seen(self) -> int:
        """How many sheets this replica has seen in Redis."""
        return len(self._seen)

    def unload(self) -> None:
        """Make the next `load` read everything again."""
        self._seen.clear()
        self.seen_coverage = None

    async def load(self, part: int = 0, parts: int = 0) -> Loaded:
        """Every revision that this replica has not seen, and the backfilled history if its coverage changed.

        Of the revisions that it has seen, one of `parts` is read again: all for 1, none for 0.
        """
        async with self.connection.call("load") as redis:
            fields = sorted(await self._fields(redis, self._sheets))
            again = set(fields[part % parts :: parts]) if parts else set()
            new = [field for field in fields if field not in self._seen or field in again]
            stored = await self._read(redis, self._sheets, new, SHEETS_AT_ONCE)
        revisions = [found for field, envelope in stored.items() if (found := decode_revision(field, envelope))]
        coverage = await self.coverage.get()
        columns: tuple[Column, ...] = ()
        if coverage != self.seen_coverage:
            columns = await self.columns() if coverage else ()
            if coverage is None or coverage.until not in sheet_days(columns):
                await self.coverage.drop()
                coverage, columns = None, ()
        # Last: if Redis fails before this, the next `load` reads the same again.
        self._seen = self._seen.intersection(fields).difference(new)
        self._seen.update(field_of(*revision.key) for revision in revisions)
        self.seen_coverage = coverage
        return Loaded(tuple(revisions), columns, coverage if columns else None)

    async def columns(self) -> tuple[Column, ...]:
        """Every backfilled column, or none if one is damaged, because a part of them would give wrong answers.

        Deletes damaged columns, so that replicas that hold them notice a smaller count and write them again.
        """
        async with self.connection.call("load") as redis:
            stored = checked(await redis.hgetall(self._columns), dict)
            decoded = {field: decode_column(as_text(field), envelope) for field, envelope in stored.items()}
            damaged = [field for field, found in decoded.items() if found is None]
            if damaged:
                await redis.hdel(self._columns, *damaged)
                return ()
        return tuple(found[0] for found in decoded.values() if found)

    async def column(self, cbr_id: str) -> tuple[Column, Coverage] | None:
        """The backfilled history of one currency id, and the range of days that was asked for."""
        async with self.connection.call("column") as redis:
            return decode_column(cbr_id, await redis.hget(self._columns, cbr_id))

    @staticmethod
    async def _fields(redis: Redis, key: str) -> list[str]:
        return [as_text(field) for field in checked(await redis.hkeys(key), list)]

    @staticmethod
    async def _read(redis: Redis, key: str, fields: Sequence[str], at_once: int) -> dict[str, Any]:
        """What is in these fields of a hash, None for a field that does not exist."""
        found: dict[str, Any] = {}
        for chunk in _chunks(fields, at_once):
            values = checked(await redis.hmget(key, list(chunk)), list, len(chunk))
            found.update(zip(chunk, values, strict=True))
        return found

    # Writing

    async def put(self, candidate: Revision) -> Revision:
        """Store a sheet: the latest revision if it has the same figures, else the next one.

        Returns the revision as Redis holds it, which may be another replica's.
        """
        async with self.connection.call("put") as redis:
            while True:
                latest, number = await self._latest(redis, candidate)
                if latest and latest.sheet.says_the_same_as(candidate.sheet):
                    return replace(latest, admitted=True)
                revision = replace(candidate, number=number)
                if await redis.hsetnx(self._sheets, field_of(*revision.key), encode_revision(revision)):
                    return replace(revision, admitted=True)

    async def _latest(self, redis: Redis, candidate: Revision) -> tuple[Revision | None, int]:
        """The latest revision of the candidate's day, and the next free number; a damaged value is deleted.

        A number below the candidate's is not free even if Redis lost it, because a replica still holds that revision.
        """
        latest: Revision | None = None
        number = 1
        while True:
            field = field_of(candidate.effective_date, number)
            envelope = await redis.hget(self._sheets, field)
            revision = decode_revision(field, envelope)
            if revision is None and number >= candidate.number:
                if envelope is not None:
                    await redis.hdel(self._sheets, field)
                return latest, number
            latest, number = revision or latest, number + 1

    async def readmit(self, kept: Sequence[Revision], refused: Sequence[Revision]) -> None:
        """Rewrite as admitted what an older version stored, and delete what is not admitted."""
        async with self.connection.call("repair") as redis:
            for chunk in _chunks(kept, SHEETS_AT_ONCE):
                records: dict[Any, Any] = {
                    field_of(*one.key): encode_revision(replace(one, admitted=True)) for one in chunk
                }
                await redis.hset(self._sheets, mapping=records)
            if refused:
                fields = {field_of(*revision.key) for revision in refused}
                await redis.hdel(self._sheets, *fields)
                self._seen -= fields

    async def put_column(self, column: Column, asked: Coverage) -> None:
        """Store the history of one currency id. It is used once the coverage says that all are stored."""
        async with self.connection.call("put_column") as redis:
            await redis.hset(self._columns, column.currency.cbr_id, encode_column(column, asked))

    async def put_history(self, columns: Sequence[Column], coverage: Coverage) -> None:
        """Overwrite these columns, and then the coverage."""
        async with self.connection.call("put_history") as redis:
            for chunk in _chunks(columns, COLUMNS_AT_ONCE):
                records: dict[Any, Any] = {column.currency.cbr_id: encode_column(column, coverage) for column in chunk}
                await redis.hset(self._columns, mapping=records)
        await self.coverage.put(coverage)

    # Repair

    async def repair_sheets(self, revisions: Iterable[Revision]) -> int:
        """Write those that Redis lacks or holds damaged; returns how many."""
        wanted = {field_of(*revision.key): revision for revision in revisions}
        written = await self._repair(self._sheets, wanted, encode_revision, SHEETS_AT_ONCE)
        self._seen.update(written)
        return len(written)

    async def repair_columns(self, columns: Iterable[Column], coverage: Coverage) -> int:
        """Write those that Redis lacks or holds damaged; returns how many."""
        wanted = {column.currency.cbr_id: column for column in columns}
        return len(
            await self._repair(self._columns, wanted, lambda column: encode_column(column, coverage), COLUMNS_AT_ONCE)
        )

    async def _repair(self, key: str, wanted: Mapping[str, T], encode: Callable[[T], bytes], at_once: int) -> list[str]:
        """The fields that were written. If another replica writes one at the same time, the first write stays."""
        written: list[str] = []
        if not wanted:
            return written
        async with self.connection.call("repair") as redis:
            for chunk in _chunks(list(wanted), at_once):
                stored = await self._read(redis, key, chunk, at_once)
                lost = [field for field, envelope in stored.items() if unseal(field, envelope) is None]
                if damaged := [field for field in lost if stored[field] is not None]:
                    await redis.hdel(key, *damaged)
                pipeline = redis.pipeline(transaction=False)
                for field in lost:
                    pipeline.hsetnx(key, field, encode(wanted[field]))
                written += compress(lost, await pipeline.execute())
        return written

    async def drop_damaged(self, known_columns: Collection[str] | None) -> int:
        """Delete damaged values in unknown fields of sheets and columns; returns how many.

        Columns are left alone if None are known, because a first backfill may be writing them.
        """
        known: dict[str, tuple[Collection[str], Callable[[str, bytes | None], object]]] = {}
        known[self._sheets] = self._seen, decode_revision
        if known_columns is not None:
            known[self._columns] = known_columns, decode_column
        count = 0
        async with self.connection.call("drop") as redis:
            for key, (fields, decode) in known.items():
                unknown = [field for field in await self._fields(redis, key) if field not in fields]
                stored = await self._read(redis, key, unknown, COLUMNS_AT_ONCE)
                if damaged := [field for field, envelope in stored.items() if decode(field, envelope) is None]:
                    count += await redis.hdel(key, *damaged)
        return count

    async def drop_misplaced(self) -> list[str]:
        """Delete each key of ours that holds a value of another type; returns the keys."""
        types = dict.fromkeys((self._sheets, self._columns, self.quarantine.key), "hash")
        types |= {self._events: "stream", self.coverage.key: "string"}
        async with self.connection.call("drop") as redis:
            found = {key: as_text(await redis.type(key)) for key in types}
            wrong = [key for key, kind in found.items() if kind not in (types[key], "none")]
            for key in wrong:
                await redis.unlink(key)
        return wrong

    # Events and announcements

    async def events(self, since: int) -> list[Event]:
        """The log from event number `since` on, that one included."""
        async with self.connection.call("events") as redis:
            found = await redis.xrange(self._events, min=str(since))
        return [event for number, fields in found or () if (event := decode_event(number, fields))]

    async def append_events(self, events: Iterable[Event], after: int) -> None:
        """Append events under their own numbers, if `after` is the last number in Redis, 0 for none; else nothing.

        Nothing means that another replica was first. It is all or nothing, because a part would mix two logs.
        """
        numbered = [(f"{event.seq}-0", str(event).encode()) for event in events]
        sealed = [part for number, text in numbered for part in (number, seal(number, text))]
        async with self.connection.call("append_events") as redis:
            await redis.eval(_APPEND, 1, self._events, f"{after}-0", MOST_EVENTS, *sealed)

    async def drop_foreign_events(self) -> None:
        """Delete all events if the last entry is not ours; each replica appends again those that it has read."""
        async with self.connection.call("drop") as redis:
            for number, fields in await redis.xrevrange(self._events, count=1) or ():
                if not unseal(as_text(number), (fields or {}).get(b"event")):
                    await redis.unlink(self._events)

    async def announce(self, effective: date) -> None:
        """Make every replica, this one too, load what is new. A lost announcement does no harm: `glance` finds out."""
        async with self.connection.call("announce") as redis:
            await redis.publish(self._channel, effective.isoformat())

    async def announce_answer(self) -> None:
        """Tell the other replicas that the Bank has answered a poll."""
        async with self.connection.call("announce") as redis:
            await redis.publish(self._channel, _BANK_ANSWERED + self._name)

    async def announcements(self) -> AsyncIterator[Announcement]:
        """Every announcement, and "connected" for each (re)connection, since some may have been lost before it."""
        async with self.connection.call("listen") as redis, redis.pubsub() as listener:
            await listener.subscribe(self._channel)
            while True:
                message = await listener.get_message(timeout=LISTEN_S)
                if message is None:
                    # Silence says nothing about a connection. If another call failed, begin anew.
                    if self.connection.trouble:
                        raise self.connection.trouble
                elif message["type"] != "message":
                    yield "connected"
                elif not message["data"].startswith(_BANK_ANSWERED):
                    yield "changed"
                elif message["data"] != _BANK_ANSWERED + self._name:
                    yield "bank answered"


def _chunks(things: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(things), size):
        yield things[start : start + size]
