"""The values in Redis as bytes. Pure.

A value is an envelope: a magic word, a checksum of the field's name and the payload, and the payload in msgpack. With
a wrong checksum or payload it counts as missing. New fields go to the end of a record and
have a default, so that an older and a newer version can read it.
"""

from __future__ import annotations

import hashlib
import zlib
from array import array
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal

import msgspec

from ratesvc.domain.columns import Column, Currency
from ratesvc.domain.rates import Quote, Revision, Sheet
from ratesvc.domain.settled import Settled, Silence
from ratesvc.domain.workdays import LONG_AGO

NAME_LENGTH = 12
_MAGIC = b"ratesvc1" if array("H", [1]).tobytes() == b"\1\0" else b"ratesvcB"
"""Columns have this machine's byte order. A machine of the other order has another word, and takes them for damaged."""
HEAD_BYTES = len(_MAGIC) + 16
"""The beginning of an envelope, which differs if anything in it differs."""
_COVERAGE = "coverage"
Waiting = dict[tuple[str, date], tuple[Decimal, date]]
"""By series and day: a value that waits until the Bank repeats it, and the day on which the Bank first said it."""


class _Revision(msgspec.Struct, array_like=True):
    effective_date: date
    number: int
    fetched_at: datetime
    flags: tuple[str, ...]
    rows: list[tuple[str, str, str, int, Decimal, str]]
    raw: bytes


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
    english_name: str
    others: dict[int, tuple[str, str, str]] = {}
    digest: str = ""


class _Coverage(msgspec.Struct, array_like=True):
    since: date
    until: date
    open_days: tuple[date, ...]
    columns: int
    fetched_at: datetime = LONG_AGO
    digest: str = ""
    looked_until: date = date.min
    without_a_sheet: tuple[date, ...] = ()
    silence: Silence | None = None


class _Figures(msgspec.Struct, array_like=True):
    changed_at: datetime
    columns: dict[str, bytes]
    waiting: list[tuple[str, date, Decimal, date]]


class Case(msgspec.Struct, array_like=True, frozen=True):
    """A document that waits for a person; it is stored as it is here, with compressed bytes.

    `reasons` are sentences, `effective_date` is None if the document has none, `seen_at` is UTC.
    """

    effective_date: date | None
    seen_at: datetime
    reasons: tuple[str, ...]
    raw: bytes

    @property
    def name(self) -> str:
        """The name of the document."""
        return name_of(self.raw)


def name_of(raw: bytes) -> str:
    """The name of a document: the same for the same bytes, on every replica."""
    return hashlib.sha256(raw).hexdigest()[:NAME_LENGTH]


def seal(field: str, payload: bytes) -> bytes:
    """The envelope of this payload for a field of this name."""
    return _MAGIC + hashlib.blake2b(field.encode() + b"\0" + payload, digest_size=16).digest() + payload


def unseal(field: str, envelope: bytes | str | None) -> bytes | None:
    """The payload, or None for anything but an undamaged envelope of this field."""
    payload = envelope[HEAD_BYTES:] if isinstance(envelope, bytes) else b""
    return payload if envelope == seal(field, payload) else None


def field_of(effective: date, number: int) -> str:
    """The field of a revision in the hash of sheets: `2026-04-25.1`."""
    return f"{effective}.{number}"


def encode_revision(revision: Revision) -> bytes:
    """A revision, with the Bank's own bytes, as bytes for Redis."""
    day, quotes = revision.sheet.effective_date, revision.sheet.quotes
    rows = [(q.code, q.numeric_code, q.cbr_id, q.nominal, q.value, q.name) for q in quotes]
    record = _Revision(day, revision.number, revision.fetched_at, revision.flags, rows, revision.document)
    return seal(field_of(*revision.key), msgspec.msgpack.encode(record))


def decode_revision(field: str, envelope: bytes | str | None) -> Revision | None:
    """The revision in the bytes of this field, or None if they are missing or damaged."""
    try:
        record = msgspec.msgpack.decode(unseal(field, envelope) or b"", type=_Revision)
    except msgspec.MsgspecError:
        return None
    sheet = Sheet(record.effective_date, tuple(Quote(*row) for row in record.rows))
    revision = Revision(sheet, record.number, record.fetched_at, record.flags, record.raw)
    return revision if field_of(*revision.key) == field else None


def encode_column(column: Column, settled: Settled) -> bytes:
    """The history of one currency id, and the settled days that it belongs to, as bytes for Redis."""
    c = column.currency
    figures = column.fetched_at, column.days.tobytes(), column.values.tobytes(), column.nominals.tobytes()
    names = c.cbr_id, c.parent_id, c.code, c.numeric_code, c.name
    others = {day: (other.code, other.numeric_code, other.name) for day, other in column.others.items()}
    record = _Column(*names, settled.since, settled.until, *figures, c.english_name, others, settled.digest)
    return seal(c.cbr_id, msgspec.msgpack.encode(record))


def decode_column(field: str, envelope: bytes | str | None) -> tuple[Column, Settled] | None:
    """The history and the settled days in the bytes of one currency id, or None if they are missing or damaged."""
    try:
        record = msgspec.msgpack.decode(unseal(field, envelope) or b"", type=_Column)
        days, values, nominals = array("i", record.days), array("q", record.values), array("b", record.nominals)
    except (msgspec.MsgspecError, ValueError):
        return None
    ids = record.cbr_id, record.parent_id, record.code, record.numeric_code
    currency = Currency(*ids, record.name, record.english_name)
    others = {day: Currency(record.cbr_id, record.parent_id, *names) for day, names in record.others.items()}
    column = Column(currency, record.fetched_at, days, values, nominals, others)
    return column, Settled(record.since, record.until, digest=record.digest)


def encode_coverage(settled: Settled, columns: int) -> bytes:
    """The settled days, and how many columns belong to them, as bytes for Redis."""
    silence = settled.silence if settled.silence != Silence() else None
    absent = tuple(sorted(settled.without_a_sheet))
    learned = settled.fetched_at, settled.digest, settled.looked_until, absent, silence
    record = _Coverage(settled.since, settled.until, tuple(sorted(settled.open_days)), columns, *learned)
    return seal(_COVERAGE, msgspec.msgpack.encode(record))


def decode_coverage(envelope: bytes | str | None) -> tuple[Settled, int] | None:
    """The settled days in these bytes and their number of columns, or None if they are missing or damaged."""
    try:
        record = msgspec.msgpack.decode(unseal(_COVERAGE, envelope) or b"", type=_Coverage)
    except msgspec.MsgspecError:
        return None
    learned = record.fetched_at, record.digest, record.looked_until
    days = frozenset(record.without_a_sheet), frozenset(record.open_days), record.silence or Silence()
    return Settled(record.since, record.until, *learned, *days), record.columns


def encode_figures(name: str, changed_at: datetime, columns: Mapping[str, Column], waiting: Waiting) -> bytes:
    """The figures of a feature as bytes for Redis."""
    parts = {key: encode_column(column, Settled(column.first_day, column.last_day)) for key, column in columns.items()}
    held_back = [(*key, *said) for key, said in waiting.items()]
    return seal(name, msgspec.msgpack.encode(_Figures(changed_at, parts, held_back)))


def decode_figures(name: str, envelope: bytes) -> tuple[datetime, dict[str, Column], Waiting] | None:
    """The figures of the feature of this name, or None if the bytes are missing or damaged."""
    try:
        record = msgspec.msgpack.decode(unseal(name, envelope) or b"", type=_Figures)
    except msgspec.MsgspecError:
        return None
    columns = {key: found[0] for key, part in record.columns.items() if (found := decode_column(key, part))}
    return record.changed_at, columns, {(key, day): (value, first) for key, day, value, first in record.waiting}


def encode_case(case: Case) -> bytes:
    """A document in quarantine as bytes for Redis."""
    return seal(case.name, msgspec.msgpack.encode(msgspec.structs.replace(case, raw=zlib.compress(case.raw, 9))))


def decode_case(name: str, envelope: bytes | str | None) -> Case | None:
    """The document in these bytes, or None if they are damaged."""
    try:
        record = msgspec.msgpack.decode(unseal(name, envelope) or b"", type=Case)
        return msgspec.structs.replace(record, raw=zlib.decompress(record.raw))
    except (msgspec.MsgspecError, zlib.error):
        return None
