"""Sheets in Redis: the only storage path. All keys are named here.

| key | type | holds |
|---|---|---|
| `{namespace}:v1:sheets` | hash | `2026-04-25.1` → envelope of one revision with the Bank's raw bytes |
| `{namespace}:v1:columns` | hash | `R01235` → envelope of one currency id's backfilled history |
| `{namespace}:v1:span` | string | envelope of the closed range of days in which every sheet is held |
| `{namespace}:v1:plan` | string | envelope of the range that an unfinished backfill asks for |
| `{namespace}:v1:quarantine` | hash | `1f0c…` → envelope of a document that a person is to judge; the newest fifty |
| `{namespace}:v1:events` | stream | `17-0` → envelope of event 17; the newest thousand |
| `{namespace}:v1:lease:{name}` | string | the replica whose turn it is to poll, or to backfill |
| `{namespace}:v1:announce` | channel | a day: something about it is new; `heard …`: the Bank answered a poll |
| `{namespace}:v1:nothing` | – | never exists: `SET … XX` on it changes nothing and tells whether Redis takes writes |

The braces keep all keys in one slot of a Cluster. Sheets and events are only added, so any order and any repetition
gives the same; columns and ranges are written over. The columns alone bear out the coverage: whoever sets it wrote
columns that reach as far. What does not verify is never used, and is written again by whoever holds it (`restore`), or
else dropped.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, TypeVar
from uuid import uuid4

from redis.asyncio import Redis

from ratesvc.domain.columns import Column, Coverage, sheet_days
from ratesvc.domain.events import MOST_EVENTS, NOWHERE, Event
from ratesvc.domain.rates import Revision
from ratesvc.errors import StoreUnavailable
from ratesvc.storage.records import (
    as_text,
    column_record,
    field_of,
    opened_column,
    opened_event,
    opened_range,
    opened_revision,
    revision_record,
    seal,
    seems_damaged,
    unseal,
)
from ratesvc.storage.redis import Lease, Link, shaped
from ratesvc.storage.stored import Glance, Loaded, StoredRange

T = TypeVar("T")

SCHEMA = "v1"
LISTEN_S = 1.0
HEARD = b"heard "
SHEETS_AT_ONCE = 200
COLUMNS_AT_ONCE = 10

# One script, as locks are in redis-py: between a reading and a writing another replica could have begun another log.
_TELL = """
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if (last and last[1] or '0-0') ~= ARGV[1] then return 0 end
for i = 3, #ARGV, 2 do
    redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], ARGV[i], 'event', ARGV[i + 1])
end
return 1
"""

_FIELD = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\.[1-9][0-9]{0,3}")


class Store:
    """Sheets in one Redis namespace. Every method raises StoreUnavailable.

    `coverage` is the range in which every sheet is held; `plan` what an unfinished backfill asks for.
    """

    def __init__(self, link: Link, namespace: str) -> None:
        """Takes over the link and closes it."""
        self.link = link
        prefix = f"{{{namespace}}}:{SCHEMA}:"
        self._sheets = prefix + "sheets"
        self._events = prefix + "events"
        self._channel = prefix + "announce"
        self._columns = prefix + "columns"
        self.coverage = StoredRange(link, prefix + "span", "span")
        self.plan = StoredRange(link, prefix + "plan", "plan")
        self._backfill_turn = prefix + "lease:backfill"
        self.poll_lease = Lease(link, prefix + "lease:poll")
        self.backfill_lease = Lease(link, self._backfill_turn)
        self.quarantine_key = prefix + "quarantine"
        self._nothing = prefix + "nothing"
        self._held: set[tuple[date, int]] = set()
        self._name = uuid4().hex.encode()
        self._seen_coverage: Coverage | None = None

    @property
    def up(self) -> bool:
        """Whether Redis answered the last question."""
        return self.link.up

    async def close(self) -> None:
        """Give up the leases and the connections."""
        await self.give_up_leases()
        await self.link.close()

    async def give_up_leases(self) -> None:
        """Let other replicas have their turn."""
        await self.poll_lease.release()
        await self.backfill_lease.release()

    async def end_backfill_lease(self) -> None:
        """Whoever holds it finds at his next step that it is another's turn."""
        async with self.link.answering("lease") as redis:
            await redis.delete(self._backfill_turn)

    async def ping(self) -> None:
        """Whether Redis answers."""
        async with self.link.answering("ping") as redis:
            await redis.ping()

    def holds(self, key: tuple[date, int]) -> bool:
        """Whether this revision was seen in Redis by this replica."""
        return key in self._held

    @property
    def seen_coverage(self) -> Coverage | None:
        """The coverage that Redis held when this replica last loaded."""
        return self._seen_coverage

    def forget(self) -> None:
        """Forget which sheets were seen in Redis, because it has lost some: `load` reads all again."""
        self._held.clear()

    def unload(self) -> None:
        """What was loaded last was not taken: `load` reads it again."""
        self._held.clear()
        self._seen_coverage = None

    async def glance(self) -> Glance:
        """Counts, the coverage and the last event. The plan is looked at only to notice another type of value."""
        async with self.link.answering("glance") as redis:
            pipeline = redis.pipeline(transaction=False)
            for key in (self._sheets, self._columns, self.quarantine_key):
                pipeline.hlen(key)
            pipeline.get(self.coverage.key)
            pipeline.xrevrange(self._events, count=1)
            pipeline.strlen(self.plan.key)
            # With raise_on_error redis-py would put words of its own before WRONGTYPE.
            answers = await pipeline.execute(raise_on_error=False)
            for error in answers:
                if isinstance(error, Exception):
                    raise error
            sheets, columns, quarantined = (shaped(count, int) for count in answers[:3])
        newest = answers[4]
        event = opened_event(*newest[0]) if newest else None
        end = event.place if event else None if newest else NOWHERE
        return Glance(sheets, columns, quarantined, opened_range("span", answers[3]), end)

    async def check_writes(self) -> None:
        """If Redis refused a command, try a write that changes nothing. Raises StoreUnavailable if it refuses again."""
        if self.link.refusing:
            async with self.link.answering("check_writes") as redis:
                await redis.set(self._nothing, b"", xx=True, px=1)
                self.link.refusing = False

    async def load(self) -> Loaded:
        """Every revision that this replica has not seen yet, and the backfilled history when its coverage changed."""
        revisions, broken = await self._load_revisions()
        coverage = await self.coverage.get()
        columns: tuple[Column, ...] = ()
        if coverage != self._seen_coverage:
            columns = await self.columns() if coverage else ()
            if coverage is None or coverage.until not in sheet_days(columns):
                await self.coverage.drop()
                coverage, columns = None, ()
        # What fails before this is loaded again: seen is only what is handed over.
        self._held |= {revision.key for revision in revisions}
        self._seen_coverage = coverage
        return Loaded(revisions, columns, coverage if columns else None, broken)

    async def columns(self) -> tuple[Column, ...]:
        """Every backfilled column, or none where one does not verify: a part would answer wrongly.

        Deletes those, so that replicas that hold them see a smaller count and write them again.
        """
        async with self.link.answering("load") as redis:
            stored = shaped(await redis.hgetall(self._columns), dict)
            opened = {field: opened_column(as_text(field), envelope) for field, envelope in stored.items()}
            broken = [field for field, found in opened.items() if found is None]
            if broken:
                # On their way only, perhaps; without one of them all are to be fetched from the Bank again.
                again = shaped(await redis.hmget(self._columns, broken), list, len(broken))
                opened |= {field: opened_column(as_text(field), e) for field, e in zip(broken, again, strict=True)}
                await self._drop_columns(redis, [field for field in broken if opened[field] is None])
        columns = tuple(found[0] for found in opened.values() if found)
        return columns if len(columns) == len(opened) else ()

    async def _load_revisions(self) -> tuple[tuple[Revision, ...], tuple[str, ...]]:
        """Those that were not seen, and the fields under which something else stands."""
        found: list[Revision] = []
        async with self.link.answering("load") as redis:
            fields = [as_text(field) for field in shaped(await redis.hkeys(self._sheets), list)]
            known = {field_of(*key) for key in self._held}
            broken = [field for field in fields if not _FIELD.fullmatch(field)]
            for chunk in _chunks([f for f in fields if f not in known and _FIELD.fullmatch(f)], SHEETS_AT_ONCE):
                opened = await self._revisions(redis, chunk)
                found += filter(None, opened.values())
                broken += [field for field, revision in opened.items() if revision is None]
        return tuple(found), tuple(broken)

    async def _revisions(self, redis: Redis, fields: Sequence[str]) -> dict[str, Revision | None]:
        """What stands in these fields, None where it does not verify; one that holds nothing is left out.

        What seems damaged is read again, since another would be written in its place.
        """
        values = shaped(await redis.hmget(self._sheets, list(fields)), list, len(fields))
        stored = dict(zip(fields, values, strict=True))
        opened = {field: opened_revision(field, envelope) for field, envelope in stored.items() if envelope is not None}
        damaged = [field for field, found in opened.items() if found is None and seems_damaged(stored[field])]
        if damaged:
            again = shaped(await redis.hmget(self._sheets, damaged), list, len(damaged))
            opened |= dict(zip(damaged, map(opened_revision, damaged, again), strict=True))
        return opened

    async def put(self, candidate: Revision) -> Revision:
        """Keep a sheet; the same figures as the latest revision's are that revision, others become the next one.

        Returns the revision as it stands in Redis, which may be another replica's.
        """
        async with self.link.answering("put") as redis:
            while True:
                latest, free, broken = await self._latest(redis, candidate.effective_date, candidate.number)
                if latest and latest.sheet.says_the_same_as(candidate.sheet):
                    break
                latest = replace(candidate, number=free)
                field = field_of(*latest.key)
                envelope = seal(field, revision_record(latest))
                # One that does not verify is put right; otherwise whoever was first is right.
                if broken:
                    await redis.hset(self._sheets, field, envelope)
                    break
                if await redis.hsetnx(self._sheets, field, envelope):
                    break
        return replace(latest, admitted=True)

    async def _latest(self, redis: Redis, effective: date, at_least: int) -> tuple[Revision | None, int, bool]:
        """The last revision of a day, the next free number, and whether something unreadable stands there.

        What Redis lost of the revisions before `at_least` leaves no number free: whoever holds it gives it back.
        """
        latest: Revision | None = None
        number = 1
        while True:
            field = field_of(effective, number)
            found = await self._revisions(redis, [field])
            revision = found.get(field)
            if revision is None and number >= at_least:
                return latest, number, field in found
            latest, number = revision or latest, number + 1

    # Giving back what Redis lost

    async def restore(self, revisions: Sequence[Revision]) -> int:
        """Write again those that Redis lacks or does not hold whole; how many that were. Others stay as they are.

        One that stands there and was not seen may be another replica's, in other words: it is still to be loaded.
        """
        count = 0
        async with self.link.answering("restore") as redis:
            for chunk in _chunks(revisions, SHEETS_AT_ONCE):
                fields = {field_of(*revision.key): revision for revision in chunk}
                values = shaped(await redis.hmget(self._sheets, list(fields)), list, len(fields))
                lost = {field: value for field, value in zip(fields, values, strict=True) if not unseal(field, value)}
                pipeline = redis.pipeline(transaction=False)
                for field, value in lost.items():
                    # Where nothing stood, whoever was first is right.
                    write = pipeline.hsetnx if value is None else pipeline.hset
                    write(self._sheets, field, seal(field, revision_record(fields[field])))
                answers = zip(lost.items(), await pipeline.execute() if lost else (), strict=True)
                written = [field for (field, value), is_new in answers if is_new or value is not None]
                self._held |= {fields[field].key for field in written}
                count += len(written)
        return count

    async def readmit(self, kept: Sequence[Revision], refused: Sequence[Revision]) -> None:
        """Write again what an older version stored, as admitted, and forget what is not admitted."""
        async with self.link.answering("restore") as redis:
            for chunk in _chunks(kept, SHEETS_AT_ONCE):
                fields = {field_of(*one.key): replace(one, admitted=True) for one in chunk}
                records: dict[Any, Any] = {name: seal(name, revision_record(one)) for name, one in fields.items()}
                await redis.hset(self._sheets, mapping=records)
        if refused:
            await self.drop([field_of(*revision.key) for revision in refused])
            self._held -= {revision.key for revision in refused}

    async def drop(self, fields: Iterable[str]) -> None:
        """Forget what stands under these fields of sheets."""
        async with self.link.answering("drop") as redis:
            await redis.hdel(self._sheets, *fields)

    async def broken_columns(self, columns: Sequence[Column]) -> list[Column]:
        """Those of these columns that Redis lacks or does not hold whole."""
        broken: list[Column] = []
        async with self.link.answering("broken_columns") as redis:
            for chunk in _chunks(columns, COLUMNS_AT_ONCE):
                fields = [column.currency.cbr_id for column in chunk]
                values = shaped(await redis.hmget(self._columns, fields), list, len(fields))
                broken += [c for c, value in zip(chunk, values, strict=True) if not unseal(c.currency.cbr_id, value)]
        return broken

    async def drop_strange_columns(self, known: Iterable[str]) -> int:
        """Delete columns under other ids than `known` that do not verify; returns how many."""
        async with self.link.answering("drop") as redis:
            fields = shaped(await redis.hkeys(self._columns), list)
            others = [field for field in fields if as_text(field) not in set(known)]
            values = shaped(await redis.hmget(self._columns, others), list, len(others)) if others else []
            strange = [f for f, value in zip(others, values, strict=True) if not unseal(as_text(f), value)]
            await self._drop_columns(redis, strange)
        return len(strange)

    async def _drop_columns(self, redis: Redis, fields: Sequence[Any]) -> None:
        if fields:
            await redis.hdel(self._columns, *fields)

    async def put_history(self, columns: Sequence[Column], coverage: Coverage) -> None:
        """Write these columns over what is there, and then say that every sheet of the coverage is held."""
        async with self.link.answering("put_history") as redis:
            for chunk in _chunks(columns, COLUMNS_AT_ONCE):
                records: dict[Any, Any] = {column.currency.cbr_id: column_record(column, coverage) for column in chunk}
                await redis.hset(self._columns, mapping=records)
        await self.coverage.put(coverage)

    async def drop_misplaced(self) -> list[str]:
        """Delete what stands under a key of ours and is of another type; returns the keys."""
        types = dict.fromkeys((self._sheets, self._columns, self.quarantine_key), "hash")
        types |= {self._events: "stream", self.coverage.key: "string", self.plan.key: "string"}
        async with self.link.answering("drop_misplaced") as redis:
            found = {key: as_text(await redis.type(key)) for key in types}
            wrong = [key for key, kind in found.items() if kind not in (types[key], "none")]
            for key in wrong:
                await redis.unlink(key)
        return wrong

    # Events

    async def events(self, since: int) -> list[Event]:
        """What was told, from event number `since` on, that one included."""
        async with self.link.answering("events") as redis:
            found = await redis.xrange(self._events, min=str(since))
        return [event for number, fields in found or () if (event := opened_event(number, fields))]

    async def tell(self, events: Iterable[Event], after: int) -> None:
        """Add events under their own numbers, all or none: none unless number `after` is the last in Redis, 0 for none.

        That is no error: another replica was first, and is heard by everyone. A part would mix two logs.
        """
        numbered = [(f"{event.seq}-0", str(event).encode()) for event in events]
        sealed = [part for number, text in numbered for part in (number, seal(number, text))]
        async with self.link.answering("tell") as redis:
            await redis.eval(_TELL, 1, self._events, f"{after}-0", MOST_EVENTS, *sealed)

    async def drop_foreign_events(self) -> None:
        """Forget all events if the last entry is not ours; each replica writes again those that it has read."""
        async with self.link.answering("drop") as redis:
            for number, fields in await redis.xrevrange(self._events, count=1) or ():
                if not unseal(as_text(number), (fields or {}).get(b"event")):
                    await redis.unlink(self._events)

    async def announce(self, effective: date) -> None:
        """Tell every replica, this one too, to look again. It may be lost; a `glance` finds out anyway."""
        async with self.link.answering("announce") as redis:
            await redis.publish(self._channel, effective.isoformat())

    async def announce_heard(self) -> None:
        """Tell the other replicas that the Bank has answered a poll. It may be lost; the next poll says it again."""
        async with self.link.answering("announce") as redis:
            await redis.publish(self._channel, HEARD + self._name)

    def is_heard_elsewhere(self, text: bytes | None) -> bool:
        """Whether an announcement says so; our own comes late and says nothing new."""
        return text is not None and text.startswith(HEARD) and text != HEARD + self._name

    async def announcements(self) -> AsyncIterator[bytes | None]:
        """The text of each announcement; None for each (re)connection, since some may have been lost before it."""
        async with self.link.answering("listen") as redis, redis.pubsub() as listener:
            await listener.subscribe(self._channel)
            while True:
                message = await listener.get_message(timeout=LISTEN_S)
                if message is not None:
                    yield message["data"] if message["type"] == "message" else None
                elif not self.link.up:
                    # Silence says nothing about a connection; another question has failed, so begin anew.
                    raise StoreUnavailable("Redis stopped answering", "open")

    # Backfilled history

    async def column(self, cbr_id: str) -> tuple[Column, Coverage] | None:
        """The backfilled history of one currency id, and the range of days that was asked for."""
        async with self.link.answering("column") as redis:
            return opened_column(cbr_id, await redis.hget(self._columns, cbr_id))

    async def put_column(self, column: Column, asked: Coverage) -> None:
        """Keep one currency id's history; it is used once the coverage says that all are there."""
        envelope = column_record(column, asked)
        async with self.link.answering("put_column") as redis:
            await redis.hset(self._columns, column.currency.cbr_id, envelope)


def _chunks(things: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(things), size):
        yield things[start : start + size]
