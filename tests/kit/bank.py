"""The tests' Bank on port 0: documents from figures in any of the Bank's layouts. It can misbehave."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from csv import DictReader
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from email.utils import formatdate
from pathlib import Path

from aiohttp import web

from kit.documents import ONE_LINE, Document, Layout, Row, catalogue_document, day_of, series_document
from kit.http import answering
from ratesvc.domain.rates import Quote, Sheet
from ratesvc.domain.workdays import ONE_DAY, WorkCalendar, moscow_day, utc_now

Misbehaviour = Callable[[web.Request], Awaitable[web.StreamResponse]]

with Path(__file__).with_name("currencies.csv").open(encoding="utf-8", newline="") as file:
    CURRENCIES = list(DictReader(file))
"""Made up, but plausible: `per_dollar` is for kit.sheets, `place` in a table, `nominal` and `name` are for `sheet`."""
TABLE = [
    (one["code"], one["number"], one["id"], int(one["nominal"]), one["name"])
    for one in sorted((one for one in CURRENCIES if one["place"]), key=lambda one: int(one["place"]))
]


def sheet(effective: date, shift: int = 0) -> Sheet:
    """A plausible sheet. Its values follow from the day: they differ by day and are the same in each run."""
    step = (effective - date(2000, 1, 1)).days % 997 + shift
    quotes = (
        Quote(code, number, cbr_id, nominal, Decimal(120000 + 7919 * place + 131 * step).scaleb(-4), name)
        for place, (code, number, cbr_id, nominal, name) in enumerate(TABLE)
    )
    return Sheet(effective, tuple(quotes))


def daily_xml(shown: Sheet, layout: Layout = ONE_LINE) -> bytes:
    """XML_daily as the Bank would send it."""
    rows = (
        Row(one.code, one.numeric_code, one.cbr_id, str(one.nominal), printed_value(one.value), one.name)
        for one in shown.quotes
    )
    return bytes(Document(tuple(rows), shown.effective_date, layout))


def printed_value(value: Decimal) -> str:
    """With a decimal comma, and a no-break space for thousands as in the 1990s."""
    return f"{value:,.4f}".replace(",", "\u00a0").replace(".", ",")


@dataclass
class Bank:
    """The documents of the stand-in, its behaviour, and the requests so far.

    A test that lets the Bank err writes to `documents`, and to `english` for the second address, or changes what it
    answers by `edit`, or answers instead of it by `misbehave`.
    """

    url: str = ""
    documents: dict[date, bytes] = field(default_factory=dict)
    truth: dict[date, list[Sheet]] = field(default_factory=dict)
    series: dict[str, dict[date, tuple[int, Decimal]]] = field(default_factory=dict)
    currencies: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    parents: dict[str, str] = field(default_factory=dict)
    english: bytes | None = None
    misbehave: Misbehaviour | None = None
    edit: Callable[[web.Request, web.Response], None] | None = None
    others: dict[str, Callable[[web.Request], Awaitable[bytes]]] = field(default_factory=dict)
    """What it answers at other addresses than those of the rates of currencies."""
    asked: list[web.Request] = field(default_factory=list)
    now: Callable[[], datetime] = utc_now
    """The clock of its Date headers."""
    asked_for_date: int = 0

    def publish(self, *sheets: Sheet, layout: Layout = ONE_LINE) -> None:
        """Publish these sheets. `truth` has every revision of every published sheet."""
        for shown in sheets:
            self.truth.setdefault(shown.effective_date, []).append(shown)
            self.documents[shown.effective_date] = daily_xml(shown, layout)
            for quote in shown.quotes:
                self.currencies[quote.cbr_id] = (quote.code, quote.numeric_code, quote.name)
                self.series.setdefault(quote.cbr_id, {})[shown.effective_date] = (quote.nominal, quote.value)

    def takes_back(self, day: date) -> None:
        """It has no sheet of that day any more, neither as a document nor in its series."""
        self.documents.pop(day, None)
        for records in self.series.values():
            records.pop(day, None)

    @property
    def queries(self) -> list[str]:
        """The query strings of all requests for daily sheets so far."""
        return [request.query_string for request in self.asked if request.path.endswith("XML_daily.asp")]

    @property
    def series_asked(self) -> list[str]:
        """The currency ids whose series were asked for."""
        return [request.query["VAL_NM_RQ"] for request in self.asked if request.path.endswith("XML_dynamic.asp")]

    @property
    def asked_in_english(self) -> int:
        """How often the second address was asked, which confirms a sheet."""
        return sum(request.path.endswith("XML_daily_eng.asp") for request in self.asked)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Any of the endpoints that a client of daily rates needs."""
        if request.method == "HEAD":
            self.asked_for_date += 1
        else:
            self.asked.append(request)
        if request.path not in self.others and not request.path.startswith("/scripts/XML_"):
            raise web.HTTPNotFound
        answer = await (self.misbehave or self.honest)(request)
        answer.headers["Date"] = formatdate(self.now().timestamp(), usegmt=True)
        return answer

    async def honest(self, request: web.Request) -> web.StreamResponse:
        """The answer to a request that a test lets pass."""
        if other := self.others.get(request.path):
            return web.Response(body=await other(request), content_type="text/xml")
        body = {
            "XML_daily.asp": self._daily,
            "XML_daily_eng.asp": lambda _: self._daily(request) if self.english is None else self.english,
            "XML_dynamic.asp": self._dynamic,
            "XML_valFull.asp": self._catalogue,
        }[request.path.removeprefix("/scripts/")](request)
        answer = web.Response(body=body, headers={"Content-Type": "text/xml; charset=windows-1251"})
        if self.edit:
            self.edit(request, answer)
        return answer

    def hangs(self, script: str = "") -> asyncio.Event:
        """It answers nobody, or nobody who asks for this script, until the event is set."""
        over = asyncio.Event()

        async def answer_late(request: web.Request) -> web.StreamResponse:
            if request.path.endswith(script):
                await over.wait()
            return await self.honest(request)

        self.misbehave = answer_late
        return over

    def refuses(self, *days: date) -> None:
        """It answers 500 to whoever asks for these days."""
        refused = {f"{day:%d/%m/%Y}" for day in days}

        async def answer(request: web.Request) -> web.StreamResponse:
            if request.query.get("date_req") in refused:
                raise web.HTTPInternalServerError
            return await self.honest(request)

        self.misbehave = answer

    def _daily(self, request: web.Request) -> bytes:
        """The last sheet up to the requested day, or the newest one. Without a document it comes from the series."""
        text = request.query.get("date_req")
        day = day_of(text) if text else date.max
        days = {*self.documents, *self.series.get("R01235", ())}
        held = max((effective for effective in days if effective <= day), default=None)
        if held is None:
            return b"<?xml version='1.0' encoding='windows-1251'?><ValCurs/>"
        return self.documents.get(held) or daily_xml(self._composed(held))

    def _composed(self, day: date) -> Sheet:
        return Sheet(
            day,
            tuple(
                Quote(code, number, cbr_id, *self.series[cbr_id][day], name)
                for cbr_id, (code, number, name) in self.currencies.items()
                if day in self.series.get(cbr_id, ())
            ),
        )

    def _dynamic(self, request: web.Request) -> bytes:
        """Every record of one id in the closed range."""
        held = self.series.get(request.query["VAL_NM_RQ"], {}).items()
        return series_document(request.query, {day: (nominal, printed_value(value)) for day, (nominal, value) in held})

    def _catalogue(self, _: web.Request) -> bytes:
        return catalogue_document(
            (cbr_id, self.parents.get(cbr_id, cbr_id[:6]), number, code, name)
            for cbr_id, (code, number, name) in self.currencies.items()
        )


def around_today(bank: Bank, back: int = 2) -> list[date]:
    """Publish the last sheets up to the real today. Returns their dates; the first is in force."""
    calendar, today = WorkCalendar(), moscow_day(utc_now())
    days = (day for day in (today - n * ONE_DAY for n in itertools.count()) if calendar.is_effective_date(day))
    found = list(itertools.islice(days, back))
    bank.publish(*map(sheet, found))
    return found


async def unavailable(_: web.Request) -> web.StreamResponse:
    """A misbehaviour: 503."""
    return web.Response(status=503)


@asynccontextmanager
async def bank_running(bank: Bank | None = None, port: int = 0, host: str = "127.0.0.1") -> AsyncIterator[Bank]:
    """A stand-in that listens while the context lasts."""
    bank = bank or Bank()
    async with answering(bank.answer, port, host) as bank.url:
        yield bank


def workdays(since: date, count: int) -> Iterator[date]:
    """Effective dates from Tuesday to Saturday, without regard to holidays."""
    days = (since + n * ONE_DAY for n in itertools.count())
    return itertools.islice((day for day in days if day.weekday() in range(1, 6)), count)


def silence(*sheets: date) -> tuple[date, ...]:
    """The days off of a Bank that has these sheets only: without them its dollar lacks most of what is expected."""
    gaps = itertools.pairwise(sorted(sheets))
    return tuple(day for since, until in gaps for n in range((until - since).days - 1) if (day := since + n * ONE_DAY))


async def main() -> None:
    """Answer on this port of all addresses, for containers."""
    async with bank_running(port=int(sys.argv[1]), host="0.0.0.0") as bank:  # noqa: S104 -- for containers
        around_today(bank, back=9)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
