"""Fetches all of history, one request for each currency id, and later fills its gaps.

A run first stores what the series say. Days that are not certain stay open, so replicas serve the others at once.
Then it confirms these days, each by its document. The next run goes on with those that are left.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from itertools import pairwise

from ratesvc.bank.admission import Decision, assess_beside, suspect_days
from ratesvc.bank.xml import Record
from ratesvc.domain.columns import Column, Coverage, Currency, Days, composed, sheet_days, with_revision
from ratesvc.domain.history import NEAR, History
from ratesvc.domain.rates import FIRST_DAY, MOST_USED, Revision
from ratesvc.domain.workdays import ONE_DAY, RULE_SINCE, moscow_day
from ratesvc.errors import FetchFailed, RatesvcError, StoreUnavailable
from ratesvc.service.refresh import Refresher

USD = "R01235"
MOST_DAILY_DOCUMENTS = 20
MOST_ASKED_AGAIN = 5
"""A run asks again for at most so many open days."""
MOST_UNANSWERED = 5
"""After so many failed requests in a row, a run takes the Bank for unreachable and ends."""


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` requests for series, and then for documents; `asking` names the next one."""

    done: int
    total: int
    asking: str


OnStep = Callable[[Progress], Awaitable[None]]
"""Takes the next step of a long job before it is done."""


class NotOurTurn(RatesvcError):
    """Another process is fetching history, for every replica."""


@dataclass(slots=True)
class _Figures:
    """What the series say, by currency id, and which days are open: their figures are here, too."""

    columns: dict[str, Column]
    coverage: Coverage

    def take(self, revision: Revision) -> None:
        """Take the figures of an admitted sheet."""
        self.columns = with_revision(self.columns, revision)
        self.coverage = self.coverage.without_open_day(revision.effective_date)

    def forget(self, day: date) -> None:
        """There is no sheet of that day."""
        self.columns = {cbr_id: column.without(day) for cbr_id, column in self.columns.items()}
        self.coverage = self.coverage.without_open_day(day)

    def withdraw(self, day: date) -> None:
        """A person withdrew the sheet of that day. It is open if the series have it."""
        if any(column.record(day) for column in self.columns.values()):
            self.forget(day)
            self.coverage = self.coverage.with_open_day(day)

    def complete(self) -> Coverage | None:
        """The complete days; None if no sheet is admitted. They end before the first open day after the last."""
        open_days = self.coverage.open_days
        admitted = (day for day in sheet_days(self.columns.values()) if day in self.coverage and day not in open_days)
        newest = max(admitted, default=None)
        if newest is None:
            return None
        until = next((day - ONE_DAY for day in open_days if day > newest), self.coverage.until)
        return Coverage(self.coverage.since, until, tuple(day for day in open_days if day < newest))

    def history(self, memory: History) -> History:
        """A history of the admitted days, and of every document in memory."""
        history = History(memory.calendar)
        history.hold(memory.documents(), self.columns.values(), self.coverage)
        return history


class Backfill:
    """Fetches the Bank's series into the store: one run at a time over all replicas."""

    def __init__(self, refresher: Refresher, gap_s: float) -> None:
        """`gap_s` is the pause between two requests."""
        self._refresher = refresher
        self._client, self._store, self._history = refresher.client, refresher.store, refresher.history
        self._gap_s = gap_s
        self._asked: Counter[date] = Counter()
        """How often the document of each open day was asked for."""
        self.progress: Progress | None = None
        """The current step, while a run goes on."""

    async def run(self, on_step: OnStep, since: date = FIRST_DAY, until: date | None = None) -> None:
        """Fetch the missing part of the closed range, and the days between it and the coverage.

        Nothing is asked for beyond the newest sheet in memory, because later ones are not admitted yet, or yesterday,
        for which the Bank may have no sheet. A run that is cut off while it asks for the series begins anew.

        Raises FetchFailed, StoreUnavailable, NotOurTurn, and RatesvcError if the Bank has no sheet in the range.
        """
        requested = self._checked(since, until)

        async def step(progress: Progress) -> None:
            await on_step(progress)
            self.progress = progress
            # A moment without Redis ends no run, because the next one would begin anew.
            with suppress(StoreUnavailable):
                await self._check_turn()

        try:
            await self._check_turn()
            await step(Progress(0, 1, "which days are missing"))
            await self._fetch_missing(requested, step)
        finally:
            self.progress = None
            await self._store.backfill_lease.release()

    def _checked(self, since: date, until: date | None) -> Days:
        if not self._history.days:
            raise RatesvcError("no sheet of the Bank is admitted yet, and a backfill ends at the newest admitted sheet")
        newest = max(self._history.days[-1], self._history.asked_until(moscow_day(self._refresher.clock())))
        requested = Days(max(since, FIRST_DAY), min(until or newest, newest))
        if requested.since > requested.until:
            raise _nothing_in(Days(since, until or newest))
        return requested

    async def _check_turn(self) -> None:
        if not await self._store.backfill_lease.take():
            raise NotOurTurn("history is being fetched by another replica, or by a command")

    async def _fetch_missing(self, requested: Days, step: OnStep) -> None:
        stored = await self._store.history()
        before = stored[0] if stored else None
        ends = before or requested
        whole = Days(min(requested.since, ends.since), max(requested.until, ends.until))
        figures = await self._continued(*stored, whole) if stored and stored[0].since <= requested.since else None
        is_stored = figures is not None
        if figures is None:
            # The columns of ids that nobody names any more are only in the store.
            columns = {column.currency.cbr_id: column for column in stored[1]} if stored else {}
            await self._fetch_series(whole, columns, step)
            figures = await self._assessed(columns, whole, before)
        for day in figures.coverage.open_days:
            if document := self._history.document(day):
                figures.take(document)
        for day in self._history.without_a_sheet:
            figures.withdraw(day)
        if not is_stored or figures.coverage != before:
            await self._save(figures)
        await self._decide_open_days(figures, step)

    async def _continued(self, before: Coverage, stored: Iterable[Column], whole: Days) -> _Figures | None:
        """What the store holds, with the days of the sheets after that; None if the series must be asked for."""
        later: tuple[Record, ...] = ()
        if before.until < whole.until:
            later = await self._client.dynamic(USD, before.until + ONE_DAY, whole.until)
        not_held = [record for record in later if record.effective_date not in self._history.days]
        if len(not_held) > MOST_DAILY_DOCUMENTS:
            return None
        columns = {column.currency.cbr_id: column for column in stored}
        for record in later:
            if revision := self._history.of_date(record.effective_date):
                columns = with_revision(columns, revision)
        open_days = {*before.open_days, *(record.effective_date for record in not_held)}
        sheets = sorted({*sheet_days(columns.values()), *open_days})
        open_days |= self._expected_but_absent(sheets, Days(before.until + ONE_DAY, whole.until))
        until = max([before.until, *(record.effective_date for record in later), *open_days])
        return _Figures(columns, Coverage(before.since, until, tuple(sorted(open_days))))

    async def _assessed(self, columns: dict[str, Column], whole: Days, before: Coverage | None) -> _Figures:
        """The figures of all series. Days with findings are open, as are those that were open before."""
        newest = max((day for day in sheet_days([columns[USD]]) if day in whole), default=None)
        if newest is None:
            raise _nothing_in(whole)
        figures = _Figures(columns, Coverage(whole.since, newest))
        suspects = await asyncio.to_thread(suspect_days, figures.history(self._history))
        open_days = {*suspects, *(before.open_days if before else ())}
        sheets = sheet_days(columns.values())
        open_days |= self._expected_but_absent(sheets, figures.coverage)
        open_days |= {day for day in sheets if day > self._history.days[-1]}
        within = tuple(sorted(day for day in open_days if day in figures.coverage))
        figures.coverage = replace(figures.coverage, open_days=within)
        return figures

    def _expected_but_absent(self, sheets: Sequence[date], days: Days) -> set[date]:
        """The days without a sheet on which the calendar expects one: the Bank must say that there is none.

        Sheets that are more than a month apart are another recording, in which nothing is expected.
        """
        calendar, without = self._history.calendar, set()
        for sheet, following in pairwise([*(day for day in sheets if day <= days.until), days.until + ONE_DAY]):
            day = calendar.may_end(sheet)
            while sheet >= RULE_SINCE and day < following <= sheet + NEAR:
                if day in days:
                    without.add(day)
                day = calendar.effective_date_after(day)
        return without

    async def _fetch_series(self, whole: Days, columns: dict[str, Column], step: OnStep) -> None:
        """Fetch the columns of all ids over a range that covers the stored one."""
        await step(Progress(0, 1, "the catalogue"))
        currencies = await self._currencies()
        for number, currency in enumerate(currencies):
            await step(Progress(number, len(currencies), f"{currency.code} ({currency.cbr_id})".lstrip()))
            columns[currency.cbr_id] = await self._column(currency, whole, columns.get(currency.cbr_id))

    async def _currencies(self) -> list[Currency]:
        """The ids of the catalogue, of parents and of documents in memory: the most used first, the nameless last."""
        catalogue = await self._client.catalogue()
        named = {currency.cbr_id: currency for currency in catalogue if currency.code and currency.numeric_code}
        for revision in self._history.documents():
            for quote in revision.sheet.quotes:
                named.setdefault(quote.cbr_id, Currency.of(quote))
        ids = {cbr_id for currency in catalogue for cbr_id in (currency.cbr_id, currency.parent_id)}
        unnamed = [Currency(cbr_id, cbr_id, "", "", "") for cbr_id in sorted(ids.difference(named))]
        places = {code: place for place, code in enumerate(MOST_USED)}
        by_use = sorted(named.values(), key=lambda named: (places.get(named.code, len(places)), named.cbr_id))
        return [*by_use, *unnamed]

    async def _column(self, currency: Currency, whole: Days, stored: Column | None) -> Column:
        """The column of an id over a range. The `stored` one knows which codes the id had when."""
        await asyncio.sleep(self._gap_s)
        records = await self._client.dynamic(currency.cbr_id, whole.since, whole.until)
        now = self._refresher.clock().replace(microsecond=0)
        column = replace(stored, fetched_at=now) if stored else Column(currency, now)
        if currency.code:
            column.rename(currency)
        elif records and not column.currency.code:
            column.rename(await self._named(currency, records[-1].effective_date))
        # Old records of these days must not stay if the Bank has dropped them. Without a code they belong to no sheet.
        column.forget(whole)
        for record in records if column.currency.code else ():
            day = record.effective_date
            column.put(day, record.nominal, record.value, column.named(day))
        return column

    async def _named(self, currency: Currency, day: date) -> Currency:
        """The names of an id in the daily document of its last day; if that is unreadable, the id stays without.

        Raises FetchFailed if a mirror gives no document.
        """
        await asyncio.sleep(self._gap_s)
        try:
            document, _ = await self._client.daily(day, day)
        except FetchFailed as failure:
            if not failure.is_answered:
                raise
            return currency
        row = {quote.cbr_id: quote for quote in document.quotes}.get(currency.cbr_id)
        return replace(currency, code=row.code, numeric_code=row.numeric_code, name=row.name) if row else currency

    async def _decide_open_days(self, figures: _Figures, step: OnStep) -> None:
        """Decide about the open days, the oldest first, and store what is admitted.

        A day that only waited for the days before it needs no document, and one whose document does not come stays
        open. Each admitted document is stored at once. The columns are stored once, at the end, because all are
        written.
        """
        open_days = figures.coverage.open_days
        scratch, newest = figures.history(self._history), self._history.days[-1]
        again = sorted(filter(self._asked.__getitem__, open_days), key=self._asked.__getitem__)
        days = [*(day for day in open_days if day not in again), *again[:MOST_ASKED_AGAIN]]
        before, unanswered = figures.coverage, 0
        try:
            for number, day in enumerate(days):
                # A poll may have admitted it meanwhile.
                revision = self._history.document(day)
                # The series name no codes, so a day after the newest admitted sheet needs its document.
                if revision is None and day <= newest and (found := composed(figures.columns.values(), day)):
                    revision = found if assess_beside(scratch, found.sheet).decision is Decision.ACCEPT else None
                if revision is None:
                    await step(Progress(number, len(days), f"the sheet of {day}"))
                    try:
                        revision = await self._ask_for_open_day(scratch, day, figures)
                        unanswered = 0
                    except FetchFailed:
                        unanswered += 1
                        if unanswered >= MOST_UNANSWERED:
                            raise
                if revision:
                    scratch.hold([revision])
                    figures.take(revision)
        finally:
            if figures.coverage != before:
                await self._save(figures)
        if figures.complete() is None:
            raise RatesvcError("no sheet of that range is admitted: see ratesvc quarantine list")
        await step(Progress(len(days), len(days), "nothing more"))

    async def _save(self, figures: _Figures) -> None:
        """Store the figures, and take them into memory. Raises NotOurTurn: then another process writes history."""
        if coverage := figures.complete():
            await self._check_turn()
            await self._store.put_history(figures.columns.values(), coverage)
            self._history.hold((), figures.columns.values(), coverage)

    async def _ask_for_open_day(self, scratch: History, day: date, figures: _Figures) -> Revision | None:
        """Ask for the document of an open day, and return it if it is admitted. Raises FetchFailed."""
        await asyncio.sleep(self._gap_s)
        self._asked[day] += 1
        given = composed(figures.columns.values(), day)
        cycle = await self._refresher.decide_open_day(scratch, day, given.sheet if given else None)
        if cycle is None:
            await asyncio.sleep(self._gap_s)
            if not await self._client.dynamic(USD, day, day):
                # The series have no sheet of that day any more.
                figures.forget(day)
        return cycle.accepted[0] if cycle and cycle.accepted else None


def _nothing_in(days: Days) -> RatesvcError:
    return RatesvcError(f"the Bank has no sheets from {days.since} to {days.until}")
