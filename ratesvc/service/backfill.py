"""Fetches all of history, one request for each currency id, and later fills its gaps. It yields its progress.

A run that was cut off resumes. The sheets composed from the series are assessed like any other: a sheet with findings
is compared with the daily document of its day before the coverage says that it is held.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import takewhile

from ratesvc.bank.admission import suspect_days
from ratesvc.bank.xml import is_cbr_id
from ratesvc.domain.columns import Column, Coverage, Currency, sheet_days
from ratesvc.domain.history import History
from ratesvc.domain.rates import FIRST_DAY, MOST_USED, Revision, Sheet
from ratesvc.domain.workdays import ONE_DAY, moscow_day
from ratesvc.errors import BadDocument, FetchFailed, RatesvcError, StoreUnavailable
from ratesvc.service.refresh import Cycle, Refresher

USD = "R01235"
MOST_DAILY_DOCUMENTS = 20
MOST_ASKED_AGAIN = 5
"""A run asks for so many of the days that were unconfirmed before."""
MOST_UNANSWERED = 5
"""After so many failed requests in a row, a run takes the Bank for unreachable and ends."""
TURN_S = 120.0


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` steps; `asking` names the next request."""

    done: int
    total: int
    asking: str


class NotOurTurn(RatesvcError):
    """Another process is fetching history, for every replica."""


class Backfill:
    """Fetches the Bank's series into the store: one run at a time in this process, and one over all replicas."""

    def __init__(self, refresher: Refresher, gap_s: float, accept: Callable[[Cycle], Cycle]) -> None:
        """`gap_s` is the pause between two requests; `accept` holds the sheets of a daily document's cycle."""
        self._refresher = refresher
        self._client, self._store, self._history = refresher.client, refresher.store, refresher.history
        self._gap_s = gap_s
        self._accept = accept
        self._running = asyncio.Lock()
        self._at_once = False
        self._tried: dict[date, None] = {}
        self._unanswered = 0
        self.progress: Progress | None = None
        """The current step, while a run goes on."""

    def is_needed(self) -> bool:
        """Whether a sheet up to yesterday is not held, and nobody in this process fetches it."""
        return bool(self._history.days) and not self._running.locked() and not self.is_complete()

    def is_complete(self) -> bool:
        """Whether every sheet up to yesterday is held."""
        coverage, yesterday = self._history.coverage, self._today() - ONE_DAY
        if coverage is None or coverage.since > FIRST_DAY or coverage.unconfirmed:
            return False
        return self._history.first_gap(coverage.until, yesterday) is None

    async def run(
        self, since: date = FIRST_DAY, until: date | None = None, *, at_once: bool = False
    ) -> AsyncIterator[Progress]:
        """Fetch the missing part of the closed range, and the gap between it and the held range.

        Nothing is asked for beyond the newest sheet that is held, because later ones are not admitted yet. A run that
        was cut off has stored the columns that it fetched, and the next one asks for the others. `at_once` is for a
        person, who does not wait: a run of another process ends at its next step.

        Raises FetchFailed, StoreUnavailable, NotOurTurn, and RatesvcError if the Bank has no sheet in the range.
        """
        requested = self._checked(since, until)
        async with self._running:
            self._at_once = at_once
            try:
                while at_once and not await self._store.backfill_lease.take(TURN_S):
                    await self._store.backfill_lease.revoke()
                await self._keep_lease()
                async for progress in self._steps(requested):
                    self.progress = progress
                    yield progress
                    await self._keep_lease()
            finally:
                self.progress = None
                await self._store.backfill_lease.release()

    def _checked(self, since: date, until: date | None) -> Coverage:
        tomorrow = self._today() + ONE_DAY
        requested = Coverage(max(since, FIRST_DAY), min(until or tomorrow, tomorrow))
        if requested.since > requested.until:
            refusal = _nothing_in(Coverage(since, until or tomorrow))
            raise RatesvcError(f"{refusal}; those from {FIRST_DAY} to {tomorrow} can be asked for")
        if not self._history.days:
            raise RatesvcError("no sheet of the Bank is admitted yet, and a backfill ends at the newest admitted sheet")
        newest = self._history.days[-1]
        if requested.since > newest:
            raise _nothing_in(requested)
        return replace(requested, until=min(requested.until, newest))

    def _today(self) -> date:
        return moscow_day(self._refresher.clock())

    async def _keep_lease(self) -> None:
        if not await self._store.backfill_lease.take(TURN_S):
            raise NotOurTurn("history is being fetched by another replica, or by a command")

    async def _steps(self, requested: Coverage) -> AsyncIterator[Progress]:
        held = await self._store.coverage()
        if held is None or requested.since < held.since:
            async for progress in self._fetch_series(requested.hull(held) if held else requested):
                yield progress
        else:
            if held.until < requested.until:
                async for progress in self._catch_up(held, requested.until):
                    yield progress
            held = await self._store.coverage() or held
            if self._at_once and await self._misses_an_id():
                async for progress in self._fetch_series(held):
                    yield progress
                # The coverage is the same, so that nobody would read the new columns.
                self._store.unload()
            elif held.unconfirmed:
                columns = await self._store.columns()
                if held.until not in sheet_days(columns):
                    raise StoreUnavailable("Redis lost columns of history", "answer")
                async for progress in self._admit(columns, held, 0, everything=False):
                    yield progress

    async def _catch_up(self, held: Coverage, until: date) -> AsyncIterator[Progress]:
        """Fetch the sheets after those that are held, as daily documents if they are few."""
        days = [record.effective_date for record in await self._client.dynamic(USD, held.until + ONE_DAY, until)]
        missing = sorted(set(days).difference(self._history.days))
        if len(missing) > MOST_DAILY_DOCUMENTS:
            async for progress in self._fetch_series(replace(held, until=until)):
                yield progress
            return
        for number, day in enumerate(missing):
            yield Progress(number, len(missing), f"the sheet of {day}")
            await asyncio.sleep(self._gap_s)
            self._accept(await self._refresher.ask(day, at_once=self._at_once))
        # The coverage ends before a sheet that could not be fetched, or is held back.
        unbroken = list(takewhile(set(self._history.days).__contains__, days))
        coverage = self._history.coverage
        if unbroken and coverage and coverage.covers(held):
            # The columns alone must bear out the coverage, so they are written again with these days.
            await self._store.put_history(self._history.every_column(), replace(coverage, until=unbroken[-1]))
            await self._store.announce(unbroken[-1])

    async def _fetch_series(self, whole: Coverage) -> AsyncIterator[Progress]:
        """Complete the columns of all ids over a range that covers what is held, then admit their sheets."""
        yield Progress(0, 1, "the catalogue")
        currencies, in_use = await self._currencies(), await self._store.coverage()
        fetched: dict[str, Column] = {}
        for number, currency in enumerate(currencies):
            yield Progress(number, len(currencies), f"{currency.code} ({currency.cbr_id})".lstrip())
            column, covered = await self._column(currency, whole, in_use)
            fetched[currency.cbr_id] = column
            if currency.cbr_id == USD:
                newest = column.last_within(whole)
                if newest is None:
                    raise _nothing_in(whole)
                # Redis may have lost the coverage alone: USD's column remembers the unconfirmed days, too.
                unconfirmed = sorted({*whole.unconfirmed, *covered.unconfirmed})
                whole = Coverage(whole.since, newest, tuple(day for day in unconfirmed if day < newest))
        # Redis may have lost columns meanwhile; those of ids that nobody names any more are only there.
        stored = {column.currency.cbr_id: column for column in await self._store.columns()}
        async for progress in self._admit((stored | fetched).values(), whole, len(currencies), everything=True):
            yield progress

    async def _currencies(self) -> list[Currency]:
        """The ids of the catalogue, of parents and of held documents: the most used first, the nameless last."""
        listed = await self._client.catalogue()
        named = {one.cbr_id: one for one in listed if one.code and one.numeric_code}
        for revision in self._history:
            for quote in revision.sheet.quotes:
                currency = Currency(quote.cbr_id, quote.cbr_id, quote.code, quote.numeric_code, quote.name)
                named.setdefault(quote.cbr_id, currency)
        ids = {cbr_id for one in listed for cbr_id in (one.cbr_id, one.parent_id) if is_cbr_id(cbr_id)}
        unnamed = [Currency(cbr_id, cbr_id, "", "", "") for cbr_id in sorted(ids.difference(named))]
        most_used = {code: place for place, code in enumerate(MOST_USED)}
        by_use = sorted(named.values(), key=lambda one: (most_used.get(one.code, len(most_used)), one.cbr_id))
        return [*by_use, *unnamed]

    async def _misses_an_id(self) -> bool:
        """Whether the catalogue or a document names an id without a column."""
        stored = {column.currency.cbr_id for column in await self._store.columns()}
        return any(currency.cbr_id not in stored for currency in await self._currencies())

    async def _column(self, currency: Currency, whole: Coverage, in_use: Coverage | None) -> tuple[Column, Coverage]:
        """The column of one id over a range, and its own range. Missing records are requested.

        They are stored at once, so that a run that is cut off keeps them; but records of days that replicas read from
        the store (`in_use`) are stored once their sheets are admitted.
        """
        stored = await self._store.column(currency.cbr_id)
        lacking = _lacking(stored[1] if stored else None, whole)
        if stored and lacking is None:
            return stored
        requested = lacking or whole
        await asyncio.sleep(self._gap_s)
        records = await self._client.dynamic(currency.cbr_id, requested.since, requested.until)
        if stored and stored[1].joins(requested):
            column, covered = stored[0], stored[1].hull(requested)
        else:
            column, covered = Column(currency, self._refresher.clock().replace(microsecond=0)), requested
        if currency.code:
            column.currency = currency
        elif records and not column.currency.code:
            column.currency = await self._named(currency, records[-1].effective_date)
        # Old records of these days must not stay if the Bank has dropped them. Without a code they belong to no sheet.
        column.forget(requested.since, requested.until)
        for record in records if column.currency.code else ():
            column.put(record.effective_date, record.nominal, record.value)
        if in_use is None or not in_use.overlaps(requested):
            await self._store.put_columns([column], covered)
        return column, covered

    async def _named(self, currency: Currency, day: date) -> Currency:
        """The names of an id in the daily document of its last day; if that is unreadable, the id stays without.

        Raises FetchFailed if a mirror gives no document.
        """
        await asyncio.sleep(self._gap_s)
        try:
            document, _ = await self._client.daily(day, paced=False)
        except FetchFailed as failure:
            if any(not isinstance(error, BadDocument) for _, error in failure.failures):
                raise
            return currency
        row = {quote.cbr_id: quote for quote in document.quotes}.get(currency.cbr_id)
        return replace(currency, code=row.code, numeric_code=row.numeric_code, name=row.name) if row else currency

    async def _admit(
        self, columns: Iterable[Column], coverage: Coverage, done: int, *, everything: bool
    ) -> AsyncIterator[Progress]:
        """Confirm sheets with findings, ask again for unconfirmed days, then store and announce the admitted columns.

        Without `everything` it assesses only unconfirmed days whose figures an older version left in the columns.
        """
        columns = list(columns)
        figures = set(sheet_days(columns)).intersection(coverage.unconfirmed)
        scratch = History(self._history.calendar)
        scratch.fill(columns, replace(coverage, unconfirmed=tuple(sorted(set(coverage.unconfirmed) - figures))))
        for revision in self._history:
            scratch.add(revision)
        known = list(scratch.unconfirmed)
        async for progress in self._confirm_suspects(scratch, scratch.days if everything else sorted(figures), done):
            yield progress
            done = progress.done + 1
        if everything and _holds_sheets(scratch):
            # Whatever becomes of the unconfirmed days, what was fetched is kept.
            await self._keep(scratch)
            coverage = scratch.coverage or coverage
        tried = [day for day in self._tried if day in known]
        days = [*(day for day in known if day not in tried), *tried[:MOST_ASKED_AGAIN]]
        for number, day in enumerate(days):
            yield Progress(done + number, done + len(days), f"the sheet of {day}")
            if not await self._confirm(scratch, day, None) and scratch.coverage and await self._is_none(day):
                scratch.coverage = scratch.coverage.with_sheet(day)
        if not _holds_sheets(scratch):
            raise RatesvcError("no sheet of that range is admitted: see ratesvc quarantine list")
        if scratch.coverage != coverage:
            await self._keep(scratch)
        yield Progress(done + len(days), done + len(days), "nothing more")

    async def _keep(self, scratch: History) -> None:
        """Store the admitted columns, then their coverage, and tell the other replicas."""
        if scratch.coverage:
            await self._store.put_history(scratch.every_column(), scratch.coverage)
            await self._store.announce(scratch.coverage.until)

    async def _confirm_suspects(self, scratch: History, days: Sequence[date], done: int) -> AsyncIterator[Progress]:
        """Confirm the composed sheets that have findings by their documents, the oldest first; hold back the others."""
        suspects = await asyncio.to_thread(suspect_days, scratch, days)
        while suspects:
            day = suspects.pop(0)
            found = scratch.of_date(day)
            if found is None or not suspect_days(scratch, [day]):
                continue  # the sheet before it was corrected
            yield Progress(done, done + len(suspects) + 1, f"the sheet of {day}")
            done += 1
            if not await self._confirm(scratch, day, found.sheet):
                scratch.hold_back(day)
                # The next one must now be compared with another sheet.
                following = scratch.days[bisect_right(scratch.days, day) :][:1]
                suspects = sorted({*following, *suspects})

    async def _confirm(self, scratch: History, day: date, from_columns: Sheet | None) -> bool:
        """Whether the document of a day is admitted; the scratch history then has it.

        One that does not come counts as held back. Raises FetchFailed if many in a row do not come.
        """
        await asyncio.sleep(self._gap_s)
        self._tried.pop(day, None)
        admitted: tuple[Revision, ...] = ()
        try:
            cycle = await self._refresher.confirm(scratch, day, from_columns, at_once=self._at_once)
            admitted = self._accept(cycle).accepted
            self._unanswered = 0
        except FetchFailed:
            self._unanswered = (self._unanswered + 1) % MOST_UNANSWERED
            if not self._unanswered:
                raise
        for revision in admitted:
            scratch.add(revision)
        if not admitted:
            self._tried[day] = None
        return bool(admitted)

    async def _is_none(self, day: date) -> bool:
        """Whether the Bank has no sheet of a day that its series had, neither there any more nor as a document."""
        await asyncio.sleep(self._gap_s)
        if await self._client.dynamic(USD, day, day):
            return False
        return (await self._client.daily(day, paced=False))[0].effective_date < day


def _holds_sheets(history: History) -> bool:
    """Whether a sheet of the coverage is held."""
    return history.coverage is not None and any(day in history.coverage for day in history.days)


def _lacking(stored: Coverage | None, whole: Coverage) -> Coverage | None:
    """The part of a range that a column lacks; all of it unless the column lies at one of its ends."""
    if stored is None or not stored.joins(whole):
        return whole
    if stored.covers(whole):
        return None
    if stored.since <= whole.since:
        return Coverage(stored.until + ONE_DAY, whole.until)
    return Coverage(whole.since, stored.since - ONE_DAY) if whole.until <= stored.until else whole


def _nothing_in(days: Coverage) -> RatesvcError:
    return RatesvcError(f"the Bank has no sheets from {days.since} to {days.until}")
