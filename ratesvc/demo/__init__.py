"""The demo's Bank, with recorded figures, so that everything can be tried without the network.

It has forty consecutive sheets with the Bank's exact values. The clock stands still, at 17:00 in Moscow on the day
before the last sheet.
"""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cache
from importlib.resources import files

from aiohttp import web

from ratesvc.bank import xml
from ratesvc.domain.columns import Currency
from ratesvc.domain.rates import Quote, Sheet
from ratesvc.domain.workdays import ONE_DAY, at
from ratesvc.render.language import language_or_default

RECORDED_FROM, RECORDED_UNTIL = date(2022, 9, 24), date(2022, 11, 19)
"""The first and the last effective date of the recording."""


@cache
def recorded_sheets() -> tuple[Sheet, ...]:
    """The recording, oldest first."""
    text = files("ratesvc.demo").joinpath("figures.csv").read_text("utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    days = [name for name in rows[0] if name[0].isdigit()]
    return tuple(Sheet(date.fromisoformat(day), tuple(_quote(row, day) for row in rows)) for day in days)


def _quote(row: dict[str, str], day: str) -> Quote:
    value, nominal = Decimal(row[day]), int(row["nominal"])
    return Quote(row["code"], row["numeric_code"], row["cbr_id"], nominal, value, row["name"])


def _currency(quote: Quote) -> Currency:
    return replace(Currency.of(quote), english_name=language_or_default(None).currency(quote.code))


def stopped_clock() -> datetime:
    """17:00 in Moscow on the day before the last recorded sheet, in UTC."""
    return at(RECORDED_UNTIL - ONE_DAY, time(17)).astimezone(UTC)


@asynccontextmanager
async def recorded_bank() -> AsyncIterator[str]:
    """Start a server that answers as the Bank did; yields its base address."""
    sheets = recorded_sheets()

    async def daily(request: web.Request) -> web.Response:
        day = _day(request, "date_req", date.max)
        held = [sheet for sheet in sheets if sheet.effective_date <= day]
        return _xml(xml.write_daily(held[-1]) if held else xml.write_refusal())

    async def dynamic(request: web.Request) -> web.Response:
        cbr_id = request.query.get("VAL_NM_RQ", "")
        since, until = _day(request, "date_req1", date.min), _day(request, "date_req2", date.max)
        within = (sheet for sheet in sheets if since <= sheet.effective_date <= until)
        quotes = [(s.effective_date, quote) for s in within for quote in s.quotes if quote.cbr_id == cbr_id]
        return _xml(xml.write_dynamic(cbr_id, since, until, quotes))

    async def catalogue(_: web.Request) -> web.Response:
        return _xml(xml.write_catalogue((_currency(quote), quote.nominal) for quote in sheets[-1].quotes))

    app = web.Application()
    app.router.add_get("/scripts/XML_daily.asp", daily)
    app.router.add_get("/scripts/XML_dynamic.asp", dynamic)
    app.router.add_get("/scripts/XML_valFull.asp", catalogue)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _day(request: web.Request, name: str, default: date) -> date:
    text = request.query.get(name)
    return datetime.strptime(text, "%d/%m/%Y").date() if text else default  # noqa: DTZ007 -- a day, not a time


def _xml(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="text/xml", charset="windows-1251")
