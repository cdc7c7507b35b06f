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
from ratesvc.domain.columns import Column, Coverage, Currency
from ratesvc.domain.history import History, snapshot
from ratesvc.domain.rates import Quote, Revision
from ratesvc.domain.workdays import WorkCalendar
from ratesvc.features.dialects import Content, Dialect, Request
from ratesvc.installed import DIALECTS

FETCHED = datetime(2026, 4, 24, 13, 20, 5, tzinfo=UTC)
MONDAY_NOON = datetime(2026, 4, 27, 9, tzinfo=UTC)
FRIDAYS = (
    Row("USD", "840", "R01235", "1", "75,6494", "Доллар США"),
    Row("EUR", "978", "R01239", "1", "88,6138", "Евро"),
    Row("IRR", "364", "R01300", "1000000", "54,0128", "Иранских риалов"),
    Row("CNY", "156", "R01375", "10", "110,3410", "Юаней"),
)
ENGLISH = {"R01235": "US Dollar", "R01239": "Euro", "R01375": "Yuan Renminbi"}

# A golden file, and the address below its dialect that it answers.
FILES = dict(
    line.partition(" ")[::2]
    for line in """\
cbr/daily.xml /scripts/XML_daily.asp?date_req=26/04/2026
cbr/daily_eng.xml /scripts/XML_daily_eng.asp?date_req=24.04.2026
cbr/dynamic.xml /scripts/XML_dynamic.asp?VAL_NM_RQ=R01300&date_req1=23/04/2026&date_req2=30/04/2026
cbr/val.xml /scripts/XML_val.asp
cbr/valfull.xml /scripts/XML_valFull.asp?d=0
cbr-xml-daily/daily_json.js /daily_json.js
cbr-xml-daily/daily_jsonp.js /daily_jsonp.js
cbr-xml-daily/archive.js /archive/2026/04/24/daily_json.js
cbr-xml-daily/latest.js /latest.js
cbr-xml-daily/daily.xml /daily.xml
cbr-xml-daily/daily_eng.xml /daily_eng.xml
cbr-xml-daily/daily_utf8.xml /daily_utf8.xml
cbr-xml-daily/daily_eng_utf8.xml /daily_eng_utf8.xml
openexchangerates/latest.json /api/latest.json?app_id=any
openexchangerates/historical.json /api/historical/2026-04-24.json?base=RUB
openexchangerates/currencies.json /api/currencies.json
openexchangerates/time-series.json /api/time-series.json?start=2026-04-23&end=2026-04-27&symbols=RUB,EUR
openexchangerates/convert.json /api/convert.json?amount=100.0&from=USD&to=CNY
openexchangerates/usage.json /api/usage.json
frankfurter/latest.json /v1/latest
frankfurter/day.json /v1/2026-04-24?from=usd&to=RUB,IRR&amount=10
frankfurter/range.json /v1/2026-04-22..2026-04-26?symbols=USD,RUB
frankfurter/since.json /v1/2026-04-23..?base=RUB&symbols=CNY
frankfurter/currencies.json /v1/currencies
frankfurter/root.json /
frankfurter/v1.json /v1
frankfurter-v2/v2.json
frankfurter-v2/rates.json /rates
frankfurter-v2/rates.csv /rates.csv?date=2026-04-26&base=usd&quotes=rub,USD,irr
frankfurter-v2/range.json /rates?from=2026-04-19&to=2026-04-24&quotes=USD,EUR,GBP
frankfurter-v2/week.csv /rates.csv?from=2026-04-01&group=week&base=USD&quotes=RUB
frankfurter-v2/month.json /rates?from=2026-04-15&group=month&quotes=RUB,EUR,CNY
frankfurter-v2/expand.json /providers/cbr/rates?expand=providers
frankfurter-v2/rate.json /rate/usd/rub?date=2026-04-24
frankfurter-v2/currencies.json /currencies
frankfurter-v2/currency.json /currency/usd
frankfurter-v2/providers.json /providers
prebid/currency.json /currency.json
ecb/eurofxref-hist.csv /eurofxref-hist.csv
ecb/eurofxref-hist.rub.csv /eurofxref-hist.csv?base=rub
ecb/eurofxref-hist.xml /eurofxref-hist.xml
ecb/eurofxref-hist-90d.xml /eurofxref-hist-90d.xml?base=CNY
ecb/eurofxref-daily.xml /eurofxref-daily.xml
rbc/day.tsv /tsv/364/2026/04/26.tsv
rbc/days.tsv /tsv/cb/156.tsv
""".splitlines()
)


def dialect(name: str) -> Dialect:
    found: Dialect = import_module(f"ratesvc.features.dialects.{name.replace('-', '_')}").DIALECT
    return found


def history(*unconfirmed: date) -> History:
    """Real sheets of Friday and Saturday, after five weeks of columns."""
    held = History(WorkCalendar())
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
    held.fill(columns, Coverage(days[0], days[-1], unconfirmed))
    for number, document in enumerate((Document(FRIDAYS, FRIDAY), Document(TABLE, SATURDAY))):
        held.add(Revision(parse_daily(bytes(document)), 1, FETCHED - timedelta(days=1 - number)))
    return held


def since_1992() -> History:
    """All of history: three old sheets, and those of seven weeks. Only the newest has the special drawing right."""
    days = [date(1992, 7, 1), date(1997, 12, 30), date(1998, 1, 1), *workdays(date(2026, 3, 10), 35)]
    held = History(WorkCalendar(), (Revision(sheet(day), 1, FETCHED) for day in days))
    newest = sheet(SATURDAY)
    more = Quote("XDR", "960", "R01589", 1, Decimal("103.3893"), "СДР")
    held.add(Revision(replace(newest, quotes=(*newest.quotes, more)), 1, FETCHED))
    held.fill((), Coverage(days[0], days[-1]))
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
        literals, names, patterns = (re.split(r"\{(\w+)(?::([^{}]*))?\}", route)[n::3] for n in range(3))
        variables = [f"(?P<{one}>{how or '[^/]+'})" for one, how in zip(names, patterns, strict=True)]
        parts = [part for pair in zip(map(re.escape, literals), [*variables, ""], strict=True) for part in pair]
        if found := re.fullmatch("".join(parts), path):
            given = {**dict(parse_qsl(query, keep_blank_values=True)), **found.groupdict()}
            state = snapshot(held, now)
            return ask(Request(held, state, "https://rates.example/base", given, accept, DIALECTS))
    raise LookupError(f"{name} has no route for {address}")


def content(name: str, address: str, now: datetime = MONDAY_NOON, held: History = HISTORY) -> bytes:
    """The bytes of that answer."""
    return answer(name, address, now, held).write()


def exact(body: bytes) -> Any:
    """JSON with its numbers as texts."""
    return json.loads(body, parse_float=str, parse_int=str)


_PAGE = (Path(__file__).parents[2] / "docs" / "dialects.md").read_text("utf-8")
_TABLE = _PAGE.partition("\n## Point your client here\n")[2].partition("\n## ")[0]

LINES: dict[str, str] = dict(
    re.findall(r"^\| \[?([A-Za-z][^\]|,]*?)(?:\]\([^)]*\))?(?:,[^|]*)? \| `([^`]+)` \|", _TABLE, re.MULTILINE)
)
"""Client → its one line."""


def line(client: str, url: str) -> str:
    """Return the client's line with `url` instead of http://localhost:8080."""
    found = LINES[client]
    assert "localhost:8080" in found
    return found.replace("localhost:8080", url.removeprefix("http://"))
