"""What is kept in Redis, as bytes: the envelope, and one record for each kind of thing in it. Pure.

A value is an envelope: a mark with the schema, a checksum over the field's name and the payload, the payload. What
does not verify, or does not decode, is a miss. Fields are added at the end only, so that older versions read a record
too. What an older version wrote lacks `admitted` or `assessed`: it was not held to today's rules for sheets.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal

import msgspec

from ratesvc.domain.columns import Column, Coverage, Currency
from ratesvc.domain.events import Event
from ratesvc.domain.rates import Quote, Revision, Sheet

BIG_ENDIAN = array("H", [1]).tobytes() == b"\0\1"
"""Whether this machine keeps the highest byte of a number first."""

_MAGIC = b"ratesvc1"
_CHECKSUM_BYTES = 16


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
    admitted: bool = False


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
    lacking: tuple[date, ...] = ()


class _Range(msgspec.Struct, array_like=True):
    since: date
    until: date
    lacking: tuple[date, ...] = ()
    assessed: bool = False


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


def seems_damaged(envelope: bytes | str | None) -> bool:
    """Whether something that does not verify begins as ours do: another reading of it may."""
    return isinstance(envelope, bytes) and envelope.startswith(_MAGIC)


def _checksum(field: str, payload: bytes) -> bytes:
    return hashlib.blake2b(field.encode() + b"\0" + payload, digest_size=_CHECKSUM_BYTES).digest()


def field_of(effective: date, number: int) -> str:
    """A revision's name in the hash of sheets: `2026-04-25.1`."""
    return f"{effective.isoformat()}.{number}"


def revision_record(revision: Revision) -> bytes:
    """A revision with the Bank's own bytes, not yet in its envelope."""
    rows = [_Row(q.code, q.numeric_code, q.cbr_id, q.nominal, str(q.value), q.name) for q in revision.sheet.quotes]
    record = _Record(
        effective_date=revision.effective_date,
        number=revision.number,
        fetched_at=revision.fetched_at,
        flags=revision.flags,
        rows=rows,
        raw=revision.document,
        sha256=hashlib.sha256(revision.raw).hexdigest(),
        admitted=revision.admitted,
    )
    return _encoder.encode(record)


def _revision(payload: bytes | None) -> Revision | None:
    try:
        record = _decoder.decode(payload or b"")
        quotes = tuple(
            Quote(r.code, r.numeric_code, r.cbr_id, r.nominal, Decimal(r.value), r.name) for r in record.rows
        )
    except (msgspec.MsgspecError, ArithmeticError):
        return None
    sheet = Sheet(record.effective_date, quotes)
    return Revision(sheet, record.number, record.fetched_at, record.flags, record.raw, record.admitted)


def opened_range(field: str, envelope: bytes | str | None) -> Coverage | None:
    """A closed range of days, or None for a miss."""
    try:
        found = msgspec.msgpack.decode(unseal(field, envelope) or b"", type=_Range)
    except msgspec.MsgspecError:
        return None
    return Coverage(found.since, found.until, found.lacking, found.assessed)


def opened_column(field: str, envelope: bytes | str | None) -> tuple[Column, Coverage] | None:
    """One currency id's history and the range that was asked for, or None for a miss."""
    try:
        record = msgspec.msgpack.decode(unseal(field, envelope) or b"", type=_Column)
        names = record.name, record.english_name
        currency = Currency(record.cbr_id, record.parent_id, record.code, record.numeric_code, *names)
        column = Column(currency, record.fetched_at)
        column.days.extend(_numbers(column.days, record.days))
        column.values.extend(_numbers(column.values, record.values))
        column.nominals.extend(_numbers(column.nominals, record.nominals))
    except (msgspec.MsgspecError, ValueError):
        return None
    return column, Coverage(record.since, record.until, record.lacking)


def opened_revision(field: str, envelope: bytes | str | None) -> Revision | None:
    """The revision of this field, or None for a miss."""
    revision = _revision(unseal(field, envelope))
    return revision if revision and field_of(*revision.key) == field else None


def opened_event(number: bytes | str | None, fields: Mapping[bytes | str, bytes | str] | None) -> Event | None:
    """An entry of the stream of events, or None for a miss."""
    name = as_text(number or b"")
    payload = unseal(name, (fields or {}).get(b"event"))
    event = Event.from_text(payload.decode("utf-8", "replace")) if payload else None
    return event if event and name == f"{event.seq}-0" else None


def as_text(field: object) -> str:
    """A field's name, whichever way redis-py gives it."""
    return field.decode("utf-8", "replace") if isinstance(field, bytes) else str(field)


def column_record(column: Column, asked: Coverage) -> bytes:
    """One currency id's history, and the range of days that was asked for, with those that are held back."""
    currency = column.currency
    record = _Column(
        cbr_id=currency.cbr_id,
        parent_id=currency.parent_id,
        code=currency.code,
        numeric_code=currency.numeric_code,
        name=currency.name,
        since=asked.since,
        until=asked.until,
        fetched_at=column.fetched_at,
        days=_bytes(column.days),
        values=_bytes(column.values),
        nominals=_bytes(column.nominals),
        english_name=currency.english_name,
        lacking=asked.unconfirmed,
    )
    return seal(currency.cbr_id, _encoder.encode(record))


def _bytes(numbers: array[int]) -> bytes:
    """Numbers with their lowest byte first, whichever way this machine keeps them."""
    ordered = numbers[:]
    if BIG_ENDIAN:
        ordered.byteswap()
    return ordered.tobytes()


def _numbers(like: array[int], stored: bytes) -> array[int]:
    """What `_bytes` wrote, as an array of that type. Raises ValueError for bytes that are no whole numbers."""
    found = array(like.typecode, stored)
    if BIG_ENDIAN:
        found.byteswap()
    return found


def range_record(field: str, coverage: Coverage) -> bytes:
    """A closed range of days under this field."""
    return seal(field, _encoder.encode(_Range(coverage.since, coverage.until, coverage.unconfirmed, coverage.assessed)))
