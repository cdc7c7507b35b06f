"""Settles days: fetches the Bank's series of all days that are older than a week, one request for each currency id.

What the Bank says of a day for longer than a week is official, so no rule judges it before it is served.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime

from ratesvc.bank.xml import Record
from ratesvc.domain.columns import Column, Currency, Days, Settled, composed, digest
from ratesvc.domain.history import NEAR, WEEK, History
from ratesvc.domain.rates import FIRST_DAY, HELD_BACK, MOST_USED, USD, Revision
from ratesvc.domain.workdays import ONE_DAY, RULE_SINCE, WorkCalendar, moscow_day
from ratesvc.errors import FetchFailed, RatesvcError, StoreUnavailable
from ratesvc.service.look import Look, NotTaken
from ratesvc.service.progress import OnStep, Progress
from ratesvc.service.refresh import Refresher


class NotOurTurn(RatesvcError):
    """Another process is fetching history, for every replica."""


def is_needed(history: History, today: date) -> bool:
    """Whether days can be settled: all of them, a missing one, or those of a month; or had no look yet."""
    settled, until = history.settled, settles_until(history, today)
    if until is None or settled is None or settled.since > history.begins:
        return until is not None
    is_longer = until - settled.until >= NEAR or bool(history.missing_days(Days(settled.until + ONE_DAY, until), today))
    return not settled.is_looked_at or _resettles(settled, until) or (until > settled.until and is_longer)


def settles_until(history: History, today: date) -> date | None:
    """The last day that the series may settle by now: that of the newest sheet that is a week old. None without any.

    A later one is not admitted, and may wait for a person. So neither holidays nor a silence of the Bank settle a day.
    """
    held = [day for day in history.days if day <= today - WEEK]
    first = min(today - WEEK, history.days[-1]) if history.days else None
    return held[-1] if held else first


class Backfill:
    """Fetches the Bank's series into the store: one run at a time over all replicas."""

    def __init__(self, refresher: Refresher, gap_s: float) -> None:
        """`gap_s` is the pause between two requests."""
        self._refresher = refresher
        self._client, self._store, self._history = refresher.client, refresher.store, refresher.history
        self._gap_s = gap_s
        self.look = Look(refresher, gap_s)
        self.progress: Progress | None = None
        """The current step, while a run goes on."""

    async def run(self, on_step: OnStep, since: date = FIRST_DAY, until: date | None = None) -> None:
        """Settle the closed range, as far as it may be settled, and the days between it and what is settled.

        A run that is cut off while it asks for the series begins anew. Raises FetchFailed, StoreUnavailable,
        NotOurTurn, and RatesvcError if there is nothing to settle.
        """

        async def step(progress: Progress) -> None:
            await on_step(progress)
            self.progress = progress
            # A moment without Redis ends no run, because the next one would begin anew.
            with suppress(StoreUnavailable):
                await self._check_turn()

        try:
            await self._check_turn()
            await self._settle(max(since, FIRST_DAY), until, step)
            await self.look.run(step)
        finally:
            self.progress = None
            await self._store.backfill_lease.release()

    async def _check_turn(self) -> None:
        if not await self._store.backfill_lease.take():
            raise NotOurTurn("history is being fetched by another replica, or by a command")

    async def _settle(self, since: date, until: date | None, step: OnStep) -> None:
        """Fetch the days that are not settled, store them with those that are, and hold them."""
        newest = settles_until(self._history, moscow_day(self._refresher.clock()))
        if newest is None:
            raise RatesvcError("no sheet of the Bank is admitted yet, and a backfill ends at the newest admitted sheet")
        settled, stored = await self._store.history() or (None, [])
        until = min(until or newest, newest)
        if settled and _resettles(settled, until):
            settled = _cut(settled)
        days = _lacking(settled, since, until)
        if days.since <= days.until:
            columns = {column.currency.cbr_id: column for column in stored}
            settled = await self._fetch(settled, days, columns, step)
            stored = list(columns.values())
            # Another process may write history by now.
            await self._check_turn()
            self._history.hold([await self._store.put(one) for one in self._released(stored, days)])
            await self._store.put_history(stored, settled)
        elif settled is None:
            raise RatesvcError(_nothing_in(days))
        self._history.hold((), stored, settled)
        await self._drop_cases(days)

    async def _drop_cases(self, days: Days) -> None:
        """What waited for a person is settled now, but for a day that is withdrawn."""
        cases = await self._store.quarantine.cases() if self._store.quarantine.count else []
        dated = [(case.name, case.effective_date) for case in cases if case.effective_date]
        await self._store.quarantine.drop([name for name, day in dated if day in days and self._history.of_date(day)])

    async def _fetch(self, before: Settled | None, days: Days, columns: dict[str, Column], step: OnStep) -> Settled:
        """Fetch the records of all ids over days that are not settled, or cover what is. Raises NotTaken."""
        await step(Progress(0, 1, "the catalogue"))
        currencies, sheets = await self._currencies(columns), frozenset[date]()
        for number, currency in enumerate(currencies):
            await step(Progress(number, len(currencies), f"{currency.code} ({currency.cbr_id})".lstrip()))
            await asyncio.sleep(self._gap_s)
            records = await self._client.dynamic(currency.cbr_id, days.since, days.until)
            given = [record.effective_date for record in records]
            if currency.cbr_id == USD:
                sheets = frozenset(given)
                await self._check_dollar(days, sheets)
            self._check(currency.cbr_id, days, given, sheets, is_first=before is None)
            columns[currency.cbr_id] = await self._column(currency, days, records, columns.get(currency.cbr_id))
        await step(Progress(len(currencies), len(currencies), "nothing more"))
        # Days after the last sheet are not settled: the next one may come late.
        until = columns[USD].last_day
        for column in columns.values():
            column.forget(Days(until + ONE_DAY, date.max))
        figures = await asyncio.to_thread(digest, columns.values())
        found = Settled(days.since, until, self._bank_time(), figures)
        if before is None:
            return found
        if days.since <= before.until:  # earlier days are settled now, and the others again
            return replace(found, open_days=before.open_days)
        return replace(before, until=until, fetched_at=found.fetched_at, digest=figures)

    def _released(self, columns: Collection[Column], days: Days) -> Iterator[Revision]:
        """The series' figures of days whose sheets the service itself held back. What a person withdrew stays so."""
        for day in sorted(filter(days.__contains__, self._history.documents)):
            # A person may have decided about this day while the one before was stored.
            settled = composed(columns, day) if HELD_BACK in self._history.documents[day].flags else None
            if settled and "USD" in settled.sheet.by_code:
                yield replace(settled, number=self._history.next_number(day), fetched_at=self._refresher.moment())

    def _bank_time(self) -> datetime:
        """The UTC of the Bank's last answer by its own clock."""
        text = self._client.last_date[0] if self._client.last_date else ""
        try:
            return parsedate_to_datetime(text).astimezone(UTC)
        except ValueError:
            return self._refresher.moment()

    async def _currencies(self, columns: Mapping[str, Column]) -> list[Currency]:
        """The ids of the catalogue, of parents, documents and columns: the most used first, the nameless last."""
        catalogue = await self._client.catalogue()
        named = {currency.cbr_id: currency for currency in catalogue if currency.code and currency.numeric_code}
        for column in self._history.every_column():
            if column.currency.code:
                named.setdefault(column.currency.cbr_id, column.currency)
        ids = {cbr_id for currency in catalogue for cbr_id in (currency.cbr_id, currency.parent_id)}
        unnamed = [Currency(cbr_id, cbr_id, "", "", "") for cbr_id in sorted(ids.union(columns).difference(named))]
        places = {code: place for place, code in enumerate(MOST_USED)}
        by_use = sorted(named.values(), key=lambda named: (places.get(named.code, len(places)), named.cbr_id))
        return [*by_use, *unnamed]

    async def _column(self, currency: Currency, days: Days, records: Sequence[Record], stored: Column | None) -> Column:
        """The column of an id with the records of a range. The `stored` one knows which codes the id had when."""
        now = self._refresher.moment()
        column = replace(stored.copy(), fetched_at=now) if stored else Column(currency, now)
        if currency.code:
            column.rename(currency)
        elif records and not column.currency.code:
            column.rename(await self._named(currency, records[-1].effective_date))
        column.forget(days)
        # Without a code they belong to no sheet.
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

    # What is refused

    async def _check_dollar(self, days: Days, given: Collection[date]) -> None:
        """Refuse a series that lacks half of all sheets. Raises NotTaken."""
        settled = self._history.settled
        is_later = settled is not None and days.since > settled.until
        if not given:
            raise NotTaken(_nothing_in(days))
        # Before the first sheet nothing is expected, as in a recording.
        first = days.since if is_later else min((day for day in given if day >= RULE_SINCE), default=date.max)
        count = sum(day >= first for day in given)
        expected = await asyncio.to_thread(_expected, self._history.calendar, Days(first, days.until))
        if 2 * count < expected:
            raise NotTaken(
                f"the Bank's series of the dollar has {count} of {expected} expected days from {first} to {days.until} "
                "and is asked for again later. If these are days off: calendar.extra_off"
            )

    def _check(
        self, cbr_id: str, days: Days, given: Sequence[date], sheets: Collection[date], *, is_first: bool
    ) -> None:
        """Refuse a series that has fewer days than only columns hold. A document stays without it. Raises NotTaken.

        The first time, no currency may begin more than a month before the dollar: that lacks its first years.
        """
        if is_first and given and given[0] < min(sheets) - NEAR:
            raise NotTaken(f"the Bank's series of the dollar begins on {min(sheets)}, and that of {cbr_id} earlier")
        given, held = (
            [day for day in records if day not in self._history.documents]
            for records in (given, self._history.days_with(cbr_id, days))
        )
        if len(given) < len(held):
            lost = min(set(held).difference(given))
            raise NotTaken(
                f"the Bank's series of {cbr_id} lacks {lost}, which is held, and is asked for again later. "
                f"If the Bank took that sheet back: ratesvc withdraw {lost}"
            )


def _held_back(settled: Settled) -> list[date]:
    """The days of the last week that an older version, which wrote no digest, had not admitted."""
    return sorted(day for day in settled.open_days if day > settled.until - WEEK and not settled.digest)


def _resettles(settled: Settled, until: date) -> bool:
    """Whether the series can say now what those days are."""
    return until >= settled.until and bool(_held_back(settled))


def _cut(settled: Settled) -> Settled:
    """The settled days before those."""
    until = _held_back(settled)[0] - ONE_DAY
    older = frozenset(day for day in settled.open_days if day <= until)
    return replace(settled, until=until, open_days=older, looked_until=min(until, settled.looked_until))


def _lacking(settled: Settled | None, since: date, until: date) -> Days:
    """The days to ask for: all of the range that is not settled, or all of it if it begins before what is."""
    if settled is None:
        return Days(since, until)
    return Days(since, max(settled.until, until)) if since < settled.since else Days(settled.until + ONE_DAY, until)


def _expected(calendar: WorkCalendar, days: Days) -> int:
    """On how many of these days the calendar expects a sheet."""
    ordinals = range(days.since.toordinal(), days.until.toordinal() + 1)
    return sum(map(calendar.is_effective_date, map(date.fromordinal, ordinals)))


def _nothing_in(days: Days) -> str:
    return f"the Bank has no sheets from {days.since} to {days.until}"
