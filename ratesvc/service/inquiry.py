"""Asks the Bank about history and keeps nothing: comparing what is held with it, and looking at a few currencies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import date

from ratesvc.bank.client import BankClient
from ratesvc.bank.verdict import Decision, judge
from ratesvc.domain.columns import Column, Coverage, composed
from ratesvc.domain.history import NEAR, History
from ratesvc.domain.rates import Sheet
from ratesvc.errors import RatesvcError
from ratesvc.service.backfill import Progress


@dataclass(frozen=True, slots=True)
class Difference:
    """A day on which what is held is not what the Bank says; None where one of them has no record.

    `held_back` says that the sheet of the day is not admitted, so that nothing is held of it.
    """

    code: str
    day: date
    held: str | None
    bank: str | None
    held_back: bool = False


class Inquiry:
    """Asks for series one at a time, `gap_s` seconds apart."""

    def __init__(self, client: BankClient, gap_s: float) -> None:
        self._client = client
        self._gap_s = gap_s

    async def look_up(
        self, history: History, codes: Iterable[str], since: date, until: date
    ) -> AsyncIterator[Progress | History]:
        """Ask for these currencies in the closed range. Comes last: a history of them alone.

        A day that is held keeps its figures; one that waits, or whose figures have findings, is left out as `lacking`.
        """
        newest, held = max(history.days, default=until), frozenset(history.days)
        columns = [column.copy() for code in codes for column in history.columns(code)]
        for number, column in enumerate(columns):
            yield Progress(number, len(columns), f"{column.currency.code} ({column.currency.cbr_id})")
            await asyncio.sleep(self._gap_s if number else 0)
            for record in await self._client.dynamic(column.currency.cbr_id, since, until):
                if record.effective_date not in held and record.effective_date <= newest:
                    column.put(record.effective_date, record.nominal, record.value)
        lacking = tuple(_held_back(columns, Coverage(since, until), held, history.coverage))
        yield History.of_columns(history.calendar, columns, Coverage(since, until, lacking))

    async def verify(self, history: History) -> AsyncIterator[Progress | Difference]:
        """Ask for everything in the coverage again and report what differs; nothing is changed."""
        if history.coverage is None:
            raise RatesvcError("there is no complete history to verify yet; run a backfill first")
        columns = sorted(history.columns(), key=lambda column: column.currency.code)
        for number, column in enumerate(columns):
            currency = column.currency
            yield Progress(number, len(columns), f"{currency.code} ({currency.cbr_id})")
            await asyncio.sleep(self._gap_s)
            records = await self._client.dynamic(currency.cbr_id, history.coverage.since, history.coverage.until)
            bank = {record.effective_date: f"{record.value} for {record.nominal}" for record in records}
            for difference in _differences(column, bank, history.coverage):
                yield difference
        yield Progress(len(columns), len(columns), "nothing more")


def _held_back(
    columns: Iterable[Column], asked: Coverage, held: Collection[date], complete: Coverage | None
) -> Iterator[date]:
    """Take the days of the range out of the columns that are not admitted, or not held and have findings."""
    waiting = complete.unconfirmed if complete else ()
    before: Sheet | None = None
    for day in sorted({date.fromordinal(ordinal) for column in columns for ordinal in column.days}):
        found = composed(columns, day)
        near = before if before and day - before.effective_date <= NEAR else None
        is_held = day in held or day not in asked
        if found and day not in waiting and (is_held or judge(found.sheet, near).decision is Decision.ACCEPT):
            before = found.sheet
            continue
        for column in columns:
            column.drop(day)
        yield day


def _differences(column: Column, bank: dict[date, str], coverage: Coverage) -> Iterator[Difference]:
    held = {}
    for ordinal in column.days:
        day = date.fromordinal(ordinal)
        quote = column.quote(day)
        if quote and day in coverage:
            held[day] = f"{quote.value} for {quote.nominal}"
    for day in sorted(held.keys() | bank.keys()):
        if held.get(day) != bank.get(day):
            is_held_back = day in coverage.unconfirmed
            yield Difference(column.currency.code, day, held.get(day), bank.get(day), is_held_back)
