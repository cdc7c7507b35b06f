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
| `{namespace}:v1:announce` | channel | an effective date: something about it is new |

The braces keep all keys in one slot of a Cluster. Writes only add, so any order and any repetition gives the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal

import msgspec
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.lock import Lock
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import LockError, RedisError

from ratesvc.columns import Column, Currency, Span
from ratesvc.errors import StoreUnavailable
from ratesvc.events import MOST_EVENTS, Event
from ratesvc.rates import Quote, Revision, Sheet

SCHEMA = "v1"
_MAGIC = b"ratesvc1"
_CHECKSUM_BYTES = 16
ANSWER_TIMEOUT_S = 0.4
LISTEN_S = 5.0
CHUNK = 200


class _Row(msgspec.Struct, array_like=True):
    code: str
    numeric_code: str
    cbr_id: str
    nominal: int
    value: str
    name: str


class _Record(msgspec.Struct, array_like=True):
    effective_date: date
    number: int
    fetched_at: datetime
    flags: tuple[str, ...]
    rows: list[_Row]
    raw: bytes
    sha256: str


class _Column(msgspec.Struct, array_like=True):
    cbr_id: str
    parent_id: str
    code: str
    numeric_code: str
    name: str
    since: date
    until: date
    fetched_at: datetime
    days: bytes
    values: bytes
    nominals: bytes
    english_name: str = ""


class _Range(msgspec.Struct, array_like=True):
    since: date
    until: date


@dataclass(frozen=True, slots=True)
class Loaded:
    """What Redis holds and this replica had not seen; `columns` only together with the `span` that they complete."""

    revisions: tuple[Revision, ...] = ()
    columns: tuple[Column, ...] = ()
    span: Span | None = None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Record)


def seal(field: str, payload: bytes) -> bytes:
    """The envelope: schema, checksum over the field's name and the payload, payload."""
    return _MAGIC + _checksum(field, payload) + payload


def unseal(field: str, envelope: bytes | str | None) -> bytes | None:
    """The payload, or None for anything that is not our envelope of this field."""
    if not isinstance(envelope, bytes) or not envelope.startswith(_MAGIC):
        return None
    start = len(_MAGIC) + _CHECKSUM_BYTES
    payload = envelope[start:]
    return payload if envelope[len(_MAGIC) : start] == _checksum(field, payload) else None


def _checksum(field: str, payload: bytes) -> bytes:
    return hashlib.blake2b(field.encode() + b"\0" + payload, digest_size=_CHECKSUM_BYTES).digest()


def _field(effective: date, number: int) -> str:
    return f"{effective.isoformat()}.{number}"


def _record(revision: Revision) -> bytes:
    rows = [_Row(q.code, q.numeric_code, q.cbr_id, q.nominal, str(q.value), q.name) for q in revision.sheet.quotes]
    record = _Record(
        *(revision.effective_date, revision.number, revision.fetched_at, revision.flags, rows),
        raw=revision.document,
        sha256=hashlib.sha256(revision.raw).hexdigest(),
    )
    return _encoder.encode(record)


def _revision(payload: bytes | None) -> Revision | None:
    if payload is None:
        return None
    try:
        record = _decoder.decode(payload)
    except msgspec.MsgspecError:
        return None
    quotes = tuple(Quote(r.code, r.numeric_code, r.cbr_id, r.nominal, Decimal(r.value), r.name) for r in record.rows)
    return Revision(Sheet(record.effective_date, quotes), record.number, record.fetched_at, record.flags, record.raw)


def connect(url: str) -> Redis:
    """A client that fails fast: no retries of its own, short timeouts, a bounded pool that waits a moment."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=8,
        timeout=ANSWER_TIMEOUT_S,
        socket_timeout=ANSWER_TIMEOUT_S,
        socket_connect_timeout=ANSWER_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        client_name="ratesvc",
    )
    return Redis.from_pool(pool)


@contextmanager
def _answering() -> Iterator[None]:
    # redis-py's TimeoutError is not its ConnectionError, and sockets raise OSError: all mean the same to us.
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise StoreUnavailable(f"Redis: {type(error).__name__}: {error}") from error


class Store:
    """Revisions of sheets in one Redis namespace. Every method raises StoreUnavailable."""

    def __init__(self, client: Redis, namespace: str) -> None:
        """Takes over the client and closes it."""
        self._client = client
        prefix = f"{{{namespace}}}:{SCHEMA}:"
        self._sheets = prefix + "sheets"
        self._events = prefix + "events"
        self._channel = prefix + "announce"
        self._columns = prefix + "columns"
        self._span = prefix + "span"
        self._plan = prefix + "plan"
        self.poll_lease = Lease(client, prefix + "lease:poll")
        self.backfill_lease = Lease(client, prefix + "lease:backfill")
        self.quarantine = Shelf(client, prefix + "quarantine")
        self._held: set[tuple[date, int]] = set()
        self._seen_span: bytes | str | None = None

    async def close(self) -> None:
        """Give up the leases and the connections."""
        await self.poll_lease.release()
        await self.backfill_lease.release()
        await self._client.aclose()

    async def ping(self) -> None:
        """Whether Redis answers."""
        with _answering():
            await self._client.ping()

    def holds(self, key: tuple[date, int]) -> bool:
        """Whether this revision was seen in Redis by this replica."""
        return key in self._held

    async def changed(self) -> bool:
        """Whether Redis holds more, or fewer, revisions than this replica has seen, or another span."""
        with _answering():
            count = int(await self._client.hlen(self._sheets))
            span = await self._client.get(self._span)
        seen = len(self._held)
        if count < seen:
            self._held.clear()
        return count != seen or span != self._seen_span

    async def load(self) -> Loaded:
        """Every revision that this replica has not seen yet, and the backfilled history when its span is another."""
        revisions = await self._load_revisions()
        with _answering():
            stored = await self._client.get(self._span)
        span = _opened_range("span", stored)
        if stored == self._seen_span or span is None:
            return Loaded(revisions)
        columns = await self._load_columns()
        self._seen_span = stored
        return Loaded(revisions, columns, span)

    async def _load_columns(self) -> tuple[Column, ...]:
        with _answering():
            stored = await self._client.hgetall(self._columns)
        opened = (_opened_column(_text(field), envelope) for field, envelope in stored.items())
        return tuple(column for column, _ in filter(None, opened))

    async def _load_revisions(self) -> tuple[Revision, ...]:
        with _answering():
            fields = [_text(field) for field in await self._client.hkeys(self._sheets)]
            known = {_field(*key) for key in self._held}
            found: list[Revision] = []
            for chunk in _chunks([field for field in fields if field not in known]):
                values = await self._client.hmget(self._sheets, chunk)
                found += filter(None, map(_opened, chunk, values))
        self._held |= {revision.key for revision in found}
        return tuple(found)

    async def put(self, candidate: Revision) -> Revision:
        """Keep a sheet; the same figures as the latest revision's are that revision, others become the next one.

        Returns the revision as it stands in Redis, which may be another replica's.
        """
        with _answering():
            while True:
                latest, free, broken = await self._latest(candidate.effective_date)
                if latest and latest.sheet.says_the_same_as(candidate.sheet):
                    break
                latest = replace(candidate, number=free)
                field = _field(*latest.key)
                if await self._write(field, seal(field, _record(latest)), repair=broken):
                    break
        return latest

    async def _latest(self, effective: date) -> tuple[Revision | None, int, bool]:
        """The last revision of a day, the next free number, and whether something unreadable stands there."""
        latest: Revision | None = None
        number = 1
        while True:
            field = _field(effective, number)
            found = await self._client.hget(self._sheets, field)
            revision = _opened(field, found)
            if revision is None:
                return latest, number, found is not None
            latest, number = revision, number + 1

    async def _write(self, field: str, envelope: bytes, *, repair: bool) -> bool:
        """Add a field, or put right one that did not verify. False when another replica was first."""
        if repair:
            await self._client.hset(self._sheets, field, envelope)
            return True
        return bool(await self._client.hsetnx(self._sheets, field, envelope))

    async def events(self, since: int) -> list[Event]:
        """What was told, from event number `since` on, that one included."""
        with _answering():
            found = await self._client.xrange(self._events, min=str(since))
        return [event for number, fields in found or () if (event := _event(number, fields))]

    async def tell(self, events: Iterable[Event]) -> None:
        """Add events under their own numbers; Redis refuses one that is not later than all it holds."""
        pipeline = self._client.pipeline(transaction=False)
        for event in events:
            number = f"{event.seq}-0"
            pipeline.xadd(self._events, {"event": seal(number, str(event).encode())}, id=number, maxlen=MOST_EVENTS)
        with _answering():
            # What was refused is no error: another replica was first, and is heard by everyone.
            await pipeline.execute(raise_on_error=False)

    async def announce(self, effective: date) -> None:
        """Tell every replica, this one too, to look again. It may be lost; `changed` finds out anyway."""
        with _answering():
            await self._client.publish(self._channel, effective.isoformat())

    async def announcements(self) -> AsyncIterator[None]:
        """One item for each announcement, and for each (re)connection, since some may have been lost before it."""
        with _answering():
            async with self._client.pubsub() as listener:
                await listener.subscribe(self._channel)
                while True:
                    message = await listener.get_message(timeout=LISTEN_S)
                    if message is not None:
                        yield

    async def column(self, cbr_id: str) -> tuple[Column, Span] | None:
        """The backfilled history of one currency id, and the range of days that was asked for."""
        with _answering():
            return _opened_column(cbr_id, await self._client.hget(self._columns, cbr_id))

    async def put_column(self, column: Column, asked: Span) -> None:
        """Keep one currency id's history; it is used once the span says that all are there."""
        currency = column.currency
        record = _Column(
            *(currency.cbr_id, currency.parent_id, currency.code, currency.numeric_code, currency.name),
            *(asked.since, asked.until, column.fetched_at),
            *(column.days.tobytes(), column.values.tobytes(), column.nominals.tobytes()),
            currency.english_name,
        )
        envelope = seal(currency.cbr_id, _encoder.encode(record))
        with _answering():
            await self._client.hset(self._columns, currency.cbr_id, envelope)

    async def span(self) -> Span | None:
        """The range of days in which every sheet is held."""
        with _answering():
            return _opened_range("span", await self._client.get(self._span))

    async def put_span(self, span: Span) -> None:
        """Say that every sheet of this range is held; an unfinished plan is finished by it."""
        with _answering():
            await self._client.set(self._span, seal("span", _encoder.encode(_Range(span.since, span.until))))
            await self._client.delete(self._plan)

    async def plan(self) -> Span | None:
        """The range that an interrupted backfill was asking for."""
        with _answering():
            return _opened_range("plan", await self._client.get(self._plan))

    async def put_plan(self, asked: Span) -> None:
        """Remember it, so that a later run goes on where this one was cut off."""
        with _answering():
            await self._client.set(self._plan, seal("plan", _encoder.encode(_Range(asked.since, asked.until))))


class Lease:
    """Whose turn it is. Saves downloads; never needed for correctness, since every write is idempotent."""

    def __init__(self, client: Redis, key: str) -> None:
        self._lock = Lock(client, key, thread_local=False)

    @property
    def _held(self) -> bool:
        return self._lock.local.token is not None

    async def take(self, ttl_s: float) -> bool:
        """Whether it is this replica's turn, for so long. Raises StoreUnavailable."""
        with _answering():
            if self._held:
                try:
                    return bool(await self._lock.extend(ttl_s, replace_ttl=True))
                except LockError:
                    self._lock.local.token = None
            self._lock.timeout = ttl_s
            return bool(await self._lock.acquire(blocking=False))

    async def keep(self, ttl_s: float) -> None:
        """Prolong it if it is held, so that no other replica asks in between. Raises StoreUnavailable."""
        if self._held:
            await self.take(ttl_s)

    async def release(self) -> None:
        """Let another replica have its turn; silent when Redis is gone, since it expires anyway."""
        try:
            if self._held:
                await self._lock.release()
        except (RedisError, OSError, TimeoutError):
            self._lock.local.token = None


class Shelf:
    """Envelopes by name under one key. Every method raises StoreUnavailable."""

    def __init__(self, client: Redis, key: str) -> None:
        self._client = client
        self._key = key

    async def count(self) -> int:
        """How many there are."""
        with _answering():
            return int(await self._client.hlen(self._key))

    async def all(self) -> dict[str, bytes]:
        """What is in every envelope that verifies."""
        with _answering():
            found = await self._client.hgetall(self._key)
        opened = {_text(name): unseal(_text(name), envelope) for name, envelope in found.items()}
        return {name: payload for name, payload in opened.items() if payload is not None}

    async def add(self, name: str, payload: bytes) -> bool:
        """Put one there; False when that name is taken."""
        with _answering():
            return bool(await self._client.hsetnx(self._key, name, seal(name, payload)))

    async def drop(self, *names: str) -> None:
        """Take some away; those that are not there are no matter."""
        with _answering():
            await self._client.hdel(self._key, *names)


def _opened_range(field: str, envelope: bytes | str | None) -> Span | None:
    payload = unseal(field, envelope)
    if payload is None:
        return None
    found = msgspec.msgpack.decode(payload, type=_Range)
    return Span(found.since, found.until)


def _opened_column(field: str, envelope: bytes | str | None) -> tuple[Column, Span] | None:
    payload = unseal(field, envelope)
    if payload is None:
        return None
    record = msgspec.msgpack.decode(payload, type=_Column)
    names = record.name, record.english_name
    currency = Currency(record.cbr_id, record.parent_id, record.code, record.numeric_code, *names)
    column = Column(currency, record.fetched_at)
    column.days.frombytes(record.days)
    column.values.frombytes(record.values)
    column.nominals.frombytes(record.nominals)
    return column, Span(record.since, record.until)


def _opened(field: str, envelope: bytes | str | None) -> Revision | None:
    revision = _revision(unseal(field, envelope))
    return revision if revision and _field(*revision.key) == field else None


def _event(number: bytes | str | None, fields: Mapping[bytes | str, bytes | str] | None) -> Event | None:
    name = _text(number or b"")
    payload = unseal(name, (fields or {}).get(b"event"))
    event = Event.from_text(payload.decode("utf-8", "replace")) if payload else None
    return event if event and name == f"{event.seq}-0" else None


def _text(field: bytes | str) -> str:
    return field if isinstance(field, str) else field.decode("utf-8", "replace")


def _chunks(fields: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(fields), CHUNK):
        yield fields[start : start + CHUNK]
