"""For readers that keep a copy: all of history at once, and /v1/sheets, which says what is new since then."""

from __future__ import annotations

import hashlib
import sys
import zlib
from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import Self

from aiohttp import web

from ratesvc.features.archive import formats
from ratesvc.features.archive.changes import Cursor
from ratesvc.features.ranges.requests import days_of, long_answer, newest_day
from ratesvc.features.ranges.unit_rates import SeriesParams, lacking, revisions, sheets_of
from ratesvc.features.rendering import Queue
from ratesvc.render import csv
from ratesvc.render.json import JSON
from ratesvc.render.openapi import Site
from ratesvc.service.app import Service
from ratesvc.service.publication import BODY_BYTES, GZIP_LEVEL, Body, Headers
from ratesvc.web.caching import RATES
from ratesvc.web.features import Feature, Features
from ratesvc.web.params import StrictParams, require_known
from ratesvc.web.responses import Answer, Handler

GZIP_STREAM = 16 + zlib.MAX_WBITS
ARCHIVE_STEP = 8 * 1024
"""The packed bytes of one piece: some 64 kB of plain ones."""


def routes(service: Service, _site: Site, _: Features) -> dict[str, Handler]:
    """Path → handler."""
    return {
        "/v1/history.csv": partial(_history, service),
        "/v1/sheets": partial(_sheets, service),
    }


@dataclass(frozen=True, eq=False)
class Archive(Body):
    """A body of many megabytes, kept as gzip in `packed`. Nobody ever holds its plain bytes at once."""

    packed: bytes = b""
    plain_length: int = 0
    tag: str = ""

    @classmethod
    def of(cls, parts: Iterable[bytes], content_type: str, headers: Headers) -> Self:
        """Compress the parts, each of which may be made when it is asked for."""
        tag, length = hashlib.sha256(content_type.encode() + b"\0"), 0
        stream, packed = zlib.compressobj(GZIP_LEVEL, wbits=GZIP_STREAM), bytearray()
        for part in parts:
            tag.update(part)
            length += len(part)
            packed += stream.compress(part)
        packed += stream.flush()
        return cls(b"", content_type, headers, bytes(packed), length, tag.hexdigest()[:24])

    @property
    def encodings(self) -> dict[str, bytes]:
        """Compressing all of it once more, for brotli, would take seconds. The plain bytes come in `pieces`."""
        return {"gzip": self.packed, "identity": b""}

    @property
    def is_long(self) -> bool:
        """Always. It needs more than one write, so nobody remembers it as the answer to a target."""
        return True

    @property
    def most_bytes(self) -> int:
        """Its memory."""
        return BODY_BYTES + len(self.packed)

    def length(self, encoding: str) -> int:
        """The number of bytes in one encoding."""
        return self.plain_length if encoding == "identity" else len(self.packed)

    def pieces(self) -> Iterator[bytes]:
        """The plain bytes, a little at a time."""
        stream = zlib.decompressobj(GZIP_STREAM)
        for begins in range(0, len(self.packed), ARCHIVE_STEP):
            yield stream.decompress(memoryview(self.packed)[begins : begins + ARCHIVE_STEP])


async def _history(service: Service, request: web.Request) -> Answer:
    params, history = StrictParams(request, "/v1/history.csv"), service.history
    service.require_publication()
    codes = sorted(require_known(code, service) for code in params.codes() or ())
    days, all_new = days_of(params, service, history.begins), params.text("roubles") == "new"
    names, locale, has_all = params.language(), params.given_language("locale"), params.text("revisions") == "all"

    def render() -> Body:
        columns = [column for column in history.columns() if not codes or column.currency.code in codes]
        sheets, latest = sheets_of(history, days), revisions(history)
        lacking(history, SeriesParams(tuple(codes), days, named=bool(codes)), sheets)
        earlier = [one for _, numbers in sorted(history.earlier_own.items()) for one in numbers.values() if has_all]
        shown = [(day, latest.get(day, 1)) for day in sheets] + [one.key for one in earlier if one.sheet.quotes]
        rows = [(*key, code) for key in sorted(shown) for code in codes]
        tables = formats.tables(columns, days, latest, earlier, rows, all_new=all_new)
        lines = csv.lines((csv.for_readers(part, names, "RUB", all_new=all_new) for part in tables), locale)
        return Archive.of(lines, csv.MEDIA, (("Content-Disposition", 'attachment; filename="history.csv"'),))

    key = ("history", tuple(codes), days, names.tag, locale and locale.tag, all_new, has_all)
    queue = Queue.of((days.until - days.since).days * len(codes or history.codes()))
    return replace(await long_answer(service, key, days, render, queue), caching=RATES)


async def _sheets(service: Service, request: web.Request) -> Answer:
    params, history = StrictParams(request, "/v1/sheets"), service.history
    today = service.require_publication().snapshot.today
    after = Cursor.from_text(params.text("after"))
    if params.has("after") and after is None:
        raise params.malformed("after")
    days = days_of(params, service, after.days.since if after else None)
    withdrawn = {day: gone for day in history.withdrawn_days if (gone := history.latest_or_withdrawal(day))}
    until = max([newest_day(service), *withdrawn])
    # In a cursor with days to come this month's sheets would have one checksum for all.
    days = replace(days, until=max(days.since, min(days.until if params.has("until") else until, until)))

    most = params.number("limit") if params.has("limit") else sys.maxsize
    # A copy, so that the cursor never counts a sheet as known that is admitted while the thread writes the others.
    held = copy(history)

    def render() -> Body:
        missing = held.missing_days(days, today)
        shown = formats.sheets(held, days, after, withdrawn, most=most, unconfirmed=missing, demo=service.demo)
        return Body(shown, JSON)

    key, queue = ("sheets", days, after, most), Queue.of((days.until - days.since).days)
    return replace(await long_answer(service, key, days, render, queue), caching=RATES)


FEATURE = Feature("archive", routes)
