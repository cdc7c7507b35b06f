"""What dialects are asked in tests, a history that answers it, and the lines that docs/dialects.md tells clients."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from kit import cases
from kit.bank import sheet, workdays
from kit.dates import FRIDAY, SATURDAY
from kit.documents import TABLE, Document, Row
from ratesvc.bank.xml import parse_daily
from ratesvc.domain.columns import Column, Currency, composed
from ratesvc.domain.history import History
from ratesvc.domain.in_force import snapshot
from ratesvc.domain.rates import Quote, Revision
from ratesvc.domain.settled import Settled
from ratesvc.domain.workdays import ONE_DAY, WorkCalendar
from ratesvc.features.dialects import Content, Dialect, Request
from ratesvc.installed import DIALECTS
from ratesvc.render.openapi import Site

FETCHED = datetime(2026, 4, 24, 13, 20, 5, tzinfo=UTC)
MONDAY_NOON = datetime(2026, 4, 27, 9, tzinfo=UTC)
FRIDAYS = (
    Row("USD", "840", "R01235", "1", "75,6494", "Доллар США"),
    Row("EUR", "978", "R01239", "1", "88,6138", "Евро"),
    Row("IRR", "364", "R01300", "1000000", "54,0128", "Иранских риалов"),
    Row("CNY", "156", "R01375", "10", "110,3410", "Юаней"),
)
ENGLISH = {"R01235": "US Dollar", "R01239": "Euro", "R01375": "Yuan Renminbi"}

FILES = dict(line.partition(" ")[::2] for line in cases.body("dialects/files.txt").splitlines())


def dialect(name: str) -> Dialect:
    found: Dialect = import_module(f"ratesvc.features.dialects.{name.replace('-', '_')}").DIALECT
    return found


def history(*unconfirmed: date) -> History:
    """Real sheets of Friday and Saturday, after five weeks. From the first unconfirmed day on no day is settled."""
    held = History(WorkCalendar())
    held.recorded_from = date(2026, 3, 17)
    days = [date(2026, 3, 17) + timedelta(n) for n in range(38)]
    columns = []
    for row in FRIDAYS:
        names = row.name or "", ENGLISH.get(row.cbr_id or "", "")
        column = Column(Currency(row.cbr_id or "", row.cbr_id or "", row.code, row.numeric_code or "", *names), FETCHED)
        for day in days:
            if held.calendar.is_effective_date(day):
                value = Decimal(500000 + day.toordinal() * len(row.code) * int(row.numeric_code or 0) % 9973)
                column.put(day, int(row.nominal or 1), value.scaleb(-4))
        columns.append(column)
    settled = Settled(days[0], min(unconfirmed, default=days[-1] + ONE_DAY) - ONE_DAY)
    held.settle(settled, columns)
    for day in days:
        sheet = composed(columns, day)
        if day > settled.until and day not in unconfirmed and sheet:
            held.hold([sheet])
    for number, document in enumerate((Document(FRIDAYS, FRIDAY), Document(TABLE, SATURDAY))):
        held.hold([Revision(parse_daily(bytes(document)), 1, FETCHED - timedelta(days=1 - number))])
    return held


def since_1992() -> History:
    """All of history: three old sheets, and those of seven weeks. Only the newest has the special drawing right."""
    days = [date(1992, 7, 1), date(1997, 12, 30), date(1998, 1, 1), *workdays(date(2026, 3, 10), 35)]
    *sheets, newest = map(sheet, days)
    more = Quote("XDR", "960", "R01589", 1, Decimal("103.3893"), "СДР")
    sheets.append(replace(newest, quotes=(*newest.quotes, more)))
    held = History(WorkCalendar(), (Revision(one, 1, FETCHED) for one in sheets))
    held.settle(Settled(days[0], days[-1]))
    return held


def addresses() -> Iterator[tuple[str, str]]:
    """All of FILES, as a service has them, and their media types."""
    for file, address in FILES.items():
        name = file.partition("/")[0]
        yield (dialect(name).prefix or f"/{name}") + address, answer(name, address).media


def refused() -> Iterator[tuple[str, int]]:
    """Each address that cases.txt of a dialect shows to be refused with a status of its own, and the status."""
    for name in DIALECTS:
        shown = cases.text(f"dialects/{name}/cases.txt")
        for address, status in re.findall(r"^GET (\S+)\n  ([34]\d\d) ", shown, re.MULTILINE):
            yield (dialect(name).prefix or f"/{name}") + address, int(status)


HISTORY = history()


def answer(name: str, address: str, now: datetime = MONDAY_NOON, held: History = HISTORY, accept: str = "") -> Content:
    """What a dialect answers at an address below it. Raises its errors."""
    path, _, query = address.partition("?")
    for route, ask in dialect(name).routes.items():
        if found := re.fullmatch(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(route)), path):
            given = {**dict(parse_qsl(query, keep_blank_values=True)), **found.groupdict()}
            state = snapshot(held, now)
            return ask(Request(held, state, Site("https://rates.example/base"), given, accept))
    raise LookupError(f"{name} has no route for {address}")


def content(name: str, address: str, now: datetime = MONDAY_NOON, held: History = HISTORY) -> bytes:
    """The bytes of that answer."""
    return answer(name, address, now, held).write()


def exact(body: bytes) -> Any:
    """JSON with its numbers as texts."""
    return json.loads(body, parse_float=str, parse_int=str)


def line(client: str, url: str) -> str:
    """The client's one line in docs/dialects.md, with `url` instead of http://localhost:8080."""
    page = (Path(__file__).parents[2] / "docs" / "dialects.md").read_text("utf-8")
    [found] = re.findall(rf"^\| \[?{re.escape(client)}[\], ][^|]*\| `([^`]*localhost:8080[^`]*)`", page, re.MULTILINE)
    return str(found).replace("localhost:8080", url.removeprefix("http://"))
