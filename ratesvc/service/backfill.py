"""Settles days: fetches the Bank's series up to the newest sheet that is a week old, one request for each currency id.

What the Bank says of a day for longer than a week is official, so no rule judges it before it is served. A day's own
revisions take precedence over its series.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date

from ratesvc.bank.xml import Record
from ratesvc.domain.columns import Column, Currency, Days, composed, digest
from ratesvc.domain.history import NEAR, History
from ratesvc.domain.rates import FIRST_DAY, MOST_USED, USD, WITHDRAWN_BY_SERVICE
from ratesvc.domain.settled import WEEK, Settled
from ratesvc.domain.workdays import ONE_DAY, RULE_SINCE, WorkCalendar, moscow_day
from ratesvc.errors import FetchFailed, NotTaken, RatesvcError, StoreUnavailable
from ratesvc.service.cycle import OnStep, Progress
from ratesvc.service.look import Look
from ratesvc.service.refresh import Refresher


class NotOurTurn(RatesvcError):
    """Another process is fetching history, for every replica."""


def is_needed(history: History, today: date) -> bool:
    """Whether the settled days begin too late or are none, or a month or a missing day may be settled by now.

    It is needed, too, if settled days had no look, or an older version settled a week too early. The service asks after
    each poll. `Schedule.want` keeps a wish that comes while a run goes on.
    """
    settled, until = history.settled, may_settle_until(history, today)
    if until is None:
        return False
    if settled is None or settled.since > history.begins or until - settled.until >= NEAR:
        return True
    is_missing = bool(history.missing_days(Days(settled.until + ONE_DAY, until), today))
    was_too_early = settled.without_early_week(until) != settled
    return is_missing or not settled.is_looked_at or was_too_early


def may_settle_until(history: History, today: date) -> date | None:
    """The last day that the series may settle by now: that of the newest sheet that is a week old. None without any.

    The sheet of a day after it may wait for a person. So neither holidays nor a silence of the Bank settle a day. At a
    first start, while only sheets of the week are held, it is the day a week ago: the week is judged afterwards.
    """
    if not history.days:
        return None
    week_ago = today - WEEK
    count = bisect_right(history.days, week_ago)
    return history.days[count - 1] if count else week_ago


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
        """Settle these days, and those between them and the settled ones, as far as they may be; then look at them.

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
        """Settle what is not settled of these days, and store and hold it with the days that are.

        Raises NotTaken if the Bank's series are refused.
        """
        newest = may_settle_until(self._history, moscow_day(self._refresher.clock()))
        if newest is None:
            raise RatesvcError("no sheet of the Bank is admitted yet, and a backfill ends at the newest admitted sheet")
        wanted = Days(since, min(until or newest, newest))
        stored, columns = await self._store.history() or (None, [])
        stored = stored and stored.without_early_week(wanted.until)
        asked = stored.unsettled(wanted) if stored else wanted
        if asked.since > asked.until:
            # All that is wanted is stored, perhaps by another replica.
            if stored is None:
                raise RatesvcError(_nothing_in(wanted))
            self._history.settle(stored, columns)
            return
        columns = await self._fetch(asked, columns, stored, step)
        last_sheet = _cut_after_last_sheet(columns)
        fetched_days = Days(asked.since, last_sheet)
        newly_settled = await self._as_settled(fetched_days, columns)
        settled = stored.extended(newly_settled) if stored else newly_settled
        # Another process may write history by now.
        await self._check_turn()
        # Before they are settled: if the process stops in between, the next run does it again.
        await self._release_by_series(columns, fetched_days)
        await self._store.put_history(columns, settled)
        self._history.settle(settled, columns)
        await self._drop_cases(fetched_days)

    async def _release_by_series(self, columns: Collection[Column], days: Days) -> None:
        """Publish what the series say of days whose sheets the service itself withdrew.

        What a person withdrew stays withdrawn.
        """
        for day in sorted(filter(days.__contains__, self._history.latest_own)):
            # Asked now: a person may have decided about this day while the one before was stored.
            latest = self._history.latest_own.get(day)
            series = composed(columns, day) if latest and WITHDRAWN_BY_SERVICE in latest.flags else None
            # Without a dollar it is no sheet.
            if series and "USD" in series.sheet.by_code:
                number, at = self._history.next_number(day), self._refresher.moment()
                self._history.hold(await self._store.put(replace(series, number=number, fetched_at=at)))

    async def _drop_cases(self, days: Days) -> None:
        """Drop the cases of these days, which are settled now. That of a withdrawn day stays, as a person decides."""
        cases = await self._store.quarantine.cases() if self._store.quarantine.count else []
        ended = [one for one in cases if (day := one.effective_date) and day in days and self._history.of_date(day)]
        await self._store.quarantine.drop([case.name for case in ended])

    async def _fetch(self, days: Days, held: Iterable[Column], stored: Settled | None, step: OnStep) -> list[Column]:
        """The `held` columns of the `stored` days with the records of these, as the Bank's series say them now.

        Raises NotTaken.
        """
        columns, dollar_days = {column.currency.cbr_id: column for column in held}, list[date]()
        await step(Progress(0, 1, "the catalogue"))
        currencies = await self._currencies(columns)
        for number, currency in enumerate(currencies):
            cbr_id = currency.cbr_id
            await step(Progress(number, len(currencies), f"{currency.code} ({cbr_id})".lstrip()))
            await asyncio.sleep(self._gap_s)
            records = await self._client.dynamic(cbr_id, days.since, days.until)
            given = [record.effective_date for record in records]
            if cbr_id == USD:
                # Its days are those of all sheets.
                await self._check_dollar(days, given, stored)
                dollar_days = given
            # The dollar comes first, see `_by_use`.
            _check_beginning(cbr_id, given, dollar_days)
            self._check_held(cbr_id, days, given)
            columns[cbr_id] = await self._merged(currency, days, records, columns.get(cbr_id))
        await step(Progress(len(currencies), len(currencies), "nothing more"))
        return list(columns.values())

    async def _as_settled(self, days: Days, columns: Collection[Column]) -> Settled:
        """These days as settled by the columns, which were fetched now."""
        # By the Bank's clock, because ours may be wrong.
        said = self._client.last_date[0] if self._client.last_date else None
        at = said or self._refresher.moment()
        return Settled(days.since, days.until, at, await asyncio.to_thread(digest, columns))

    async def _currencies(self, columns: Mapping[str, Column]) -> list[Currency]:
        """The ids of the catalogue, of parents, documents and columns: the dollar first, the nameless last."""
        catalogue = await self._client.catalogue()
        named = {currency.cbr_id: currency for currency in catalogue if currency.code and currency.numeric_code}
        for column in self._history.every_column():
            if column.currency.code:
                named.setdefault(column.currency.cbr_id, column.currency)
        ids = {cbr_id for currency in catalogue for cbr_id in (currency.cbr_id, currency.parent_id)}
        unnamed = [Currency(cbr_id, cbr_id, "", "", "") for cbr_id in sorted(ids.union(columns).difference(named))]
        return [*sorted(named.values(), key=_by_use), *unnamed]

    async def _merged(self, currency: Currency, days: Days, records: Sequence[Record], held: Column | None) -> Column:
        """The column of an id with the records of a range. The `held` one knows which codes the id had when."""
        now = self._refresher.moment()
        column = replace(held.copy(), fetched_at=now) if held else Column(currency, now)
        # Before any record goes: a day whose record goes and comes back keeps the code that it had.
        if currency.code:
            column.rename(currency)
        elif records and not column.currency.code:
            column.rename(await self._named_by_document(currency, records[-1].effective_date))
        # What follows these days goes, too. A replica that wrote its columns to an empty Redis had the week's documents
        # in them, and these are not settled yet.
        column.forget(Days(days.since, date.max))
        # Without a code they belong to no sheet.
        for record in records if column.currency.code else ():
            day = record.effective_date
            column.put(day, record.nominal, record.value, column.named(day))
        return column

    async def _named_by_document(self, currency: Currency, day: date) -> Currency:
        """The currency with the names in the daily document of its last day; without any if that is unreadable.

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

    async def _check_dollar(self, days: Days, given: Sequence[date], stored: Settled | None) -> None:
        """Refuse a series of the dollar that lacks half of the expected days. Raises NotTaken."""
        if not given:
            raise NotTaken(_nothing_in(days))
        follows = stored is not None and days.since > stored.until
        # After settled days every expected day counts. At a first start those since the first given one do: the series
        # may begin late, and `_check_beginning` notices a cut one. Before RULE_SINCE nobody knows what to expect.
        first = days.since if follows else min((day for day in given if day >= RULE_SINCE), default=RULE_SINCE)
        count = sum(day >= first for day in given)
        expected = await asyncio.to_thread(_count_expected, self._history.calendar, Days(first, days.until))
        if 2 * count < expected:
            raise NotTaken(
                f"the Bank's series of the dollar has {count} of {expected} expected days from {first} to {days.until} "
                "and is asked for again later. If these are days off: calendar.extra_off"
            )

    def _check_held(self, cbr_id: str, days: Days, given: Sequence[date]) -> None:
        """Refuse a series that lacks a day which is held. Raises NotTaken.

        Days with own revisions may be missing: these stay, whatever the series say.
        """
        lost = {*self._history.days_with(cbr_id, days)} - {*given} - self._history.latest_own.keys()
        if lost:
            day = min(lost)
            advice = (
                f"If the Bank took that sheet back: ratesvc withdraw {day}"
                if cbr_id == USD
                else "To take that day's sheet instead: ratesvc verify --repair"
            )
            raise NotTaken(
                f"the Bank's series of {cbr_id} lacks {day}, which is held, and is asked for again later. {advice}"
            )


def _check_beginning(cbr_id: str, given: Sequence[date], dollar_days: Sequence[date]) -> None:
    """Refuse a dollar without its first years: another series begins a month earlier. Raises NotTaken."""
    if given and given[0] < dollar_days[0] - NEAR:
        raise NotTaken(f"the Bank's series of the dollar begins on {dollar_days[0]}, and that of {cbr_id} earlier")


def _by_use(currency: Currency) -> tuple[bool, int, str]:
    """The place of a currency: the dollar, the most used, the others by their ids."""
    place = MOST_USED.index(currency.code) if currency.code in MOST_USED else len(MOST_USED)
    return currency.cbr_id != USD, place, currency.cbr_id


def _cut_after_last_sheet(columns: Collection[Column]) -> date:
    """Forget what follows the last sheet, whose day is returned: the next may come late."""
    until = max(column.last_day for column in columns if column.currency.cbr_id == USD)
    for column in columns:
        column.forget(Days(until + ONE_DAY, date.max))
    return until


def _count_expected(calendar: WorkCalendar, days: Days) -> int:
    """On how many of these days the calendar expects a sheet."""
    ordinals = range(days.since.toordinal(), days.until.toordinal() + 1)
    return sum(map(calendar.is_effective_date, map(date.fromordinal, ordinals)))


def _nothing_in(days: Days) -> str:
    return f"the Bank has no sheets from {days.since} to {days.until}"
