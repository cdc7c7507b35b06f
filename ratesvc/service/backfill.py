"""All of history: one request per currency id, resumable, then kept whole by filling gaps. Yields its progress.

What the series say is assessed like any other sheet before a coverage says that it is held: a composed sheet with
findings is compared with the day's own daily document.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from itertools import takewhile
from typing import Protocol

from ratesvc.bank.admission import Decision, assess, suspect_days
from ratesvc.bank.client import BankClient
from ratesvc.bank.xml import Listing, Record, is_cbr_id
from ratesvc.domain.columns import Column, Coverage, Currency, composed, sheet_days
from ratesvc.domain.history import NEAR, History
from ratesvc.domain.rates import FIRST_DAY, MOST_USED, Revision, Sheet
from ratesvc.domain.workdays import ONE_DAY, moscow_day
from ratesvc.errors import BadDocument, FetchFailed, RatesvcError, StoreUnavailable
from ratesvc.storage.store import Store

USD = "R01235"
MOST_DAILY_DOCUMENTS = 20
MOST_ASKED_AGAIN = 5
"""So many of the days that stay unconfirmed are asked for at each run; the others wait for theirs."""
MOST_UNANSWERED = 5
"""After so many documents in a row that do not come, it is the Bank that is away, and not a document."""
TURN_S = 120.0
STORE_AGAIN_S = 10.0
BANK_AGAIN_S = 600.0


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` steps; `asking` says what is asked for next."""

    done: int
    total: int
    asking: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a run that nobody asked for: whether it did anything, why it ended early, when to try again."""

    has_begun: bool = False
    failure: RatesvcError | None = None
    again_s: float | None = None


class NotOurTurn(RatesvcError):
    """History is being fetched elsewhere; what is fetched there is kept for all."""


class Documents(Protocol):
    """Fetches, admits and stores daily documents. `at_once` does not wait for the next poll to confirm one."""

    async def fetch_day(self, day: date, *, at_once: bool) -> object:
        """The document of one day, by the steps of a poll."""

    async def confirm(
        self, history: History, day: date, from_columns: Sheet | None, *, at_once: bool
    ) -> Revision | None:
        """The document of a day of this history, whose composed sheet has findings; None where it is held back.

        Raises FetchFailed and StoreUnavailable.
        """


class Backfill:
    """Fetches the Bank's series into the store: one run at a time in this process, and one over all replicas."""

    def __init__(
        self, client: BankClient, store: Store, clock: Callable[[], datetime], gap_s: float, documents: Documents
    ) -> None:
        """`gap_s` is the pause between two requests; `clock` gives UTC."""
        self._client = client
        self._store = store
        self._clock = clock
        self._gap_s = gap_s
        self._documents = documents
        self._running = asyncio.Lock()
        self._tried: list[date] = []
        self._unanswered = 0
        self.ids_are_due = False
        """After an upgrade: an older version asked for fewer ids."""
        self.progress: Progress | None = None
        """What is being done just now."""

    async def if_needed(self, history: History, begun: Callable[[], None]) -> Outcome:
        """Load history at the first start, and fill the gap after a pause; `begun` hears of the first step."""
        has_begun = False
        if self._running.locked() or not history.days or not self.lacks(history):
            return Outcome()
        try:
            async for _ in self.run(history):
                if not has_begun:
                    has_begun = True
                    begun()
        except NotOurTurn:
            return Outcome(again_s=TURN_S)
        except RatesvcError as failure:
            again_s = STORE_AGAIN_S if isinstance(failure, StoreUnavailable) else BANK_AGAIN_S
            return Outcome(has_begun, failure, again_s)
        return Outcome(has_begun)

    def lacks(self, history: History) -> bool:
        """Whether a sheet up to yesterday is not held."""
        coverage, yesterday = history.coverage, moscow_day(self._clock()) - ONE_DAY
        if coverage is None or coverage.since > FIRST_DAY or coverage.unconfirmed or self.ids_are_due:
            return True
        return history.first_gap(coverage.until, yesterday) is not None

    async def run(
        self, history: History, since: date = FIRST_DAY, until: date | None = None, *, at_once: bool = False
    ) -> AsyncIterator[Progress]:
        """Fetch what of the closed range is not held, by default all there is, and what joins it to what is held.

        Nothing is asked for beyond the newest sheet that is held, for that one alone is known to be admitted. Raises
        FetchFailed, StoreUnavailable, NotOurTurn, and RatesvcError where the Bank has no sheet in the range.
        Cut off anywhere, the next run asks only for what is lacking. What was published since the range that is held
        ended is found by one request, and fetched as daily documents while it is little. `at_once` is for a person,
        who does not wait for his turn: a run that goes on elsewhere ends at its next step.
        """
        wanted = self._wanted(history, since, until)
        async with self._running:
            try:
                while at_once and not await self._store.backfill_lease.take(TURN_S):
                    await self._store.backfill_lease.revoke()
                await self._keep_turn()
                async for progress in self._steps(history, wanted, at_once=at_once):
                    self.progress = progress
                    yield progress
                    await self._keep_turn()
            finally:
                self.progress = None
                await self._store.backfill_lease.release()

    def _wanted(self, history: History, since: date, until: date | None) -> Coverage:
        tomorrow = moscow_day(self._clock()) + ONE_DAY
        wanted = Coverage(max(since, FIRST_DAY), min(until or tomorrow, tomorrow))
        if wanted.since > wanted.until:
            refusal = _nothing_in(Coverage(since, until or tomorrow))
            raise RatesvcError(f"{refusal}; those from {FIRST_DAY} to {tomorrow} can be asked for")
        if not history.days:
            raise RatesvcError("no sheet of the Bank is admitted yet, and history ends with the newest one that is")
        if wanted.since > history.days[-1]:
            raise _nothing_in(wanted)
        return replace(wanted, until=min(wanted.until, history.days[-1]))

    async def _keep_turn(self) -> None:
        if not await self._store.backfill_lease.take(TURN_S):
            raise NotOurTurn("history is being fetched by another replica, or by a command")

    async def _steps(self, history: History, wanted: Coverage, *, at_once: bool) -> AsyncIterator[Progress]:
        held, plan = await self._store.coverage.get(), await self._store.plan.get()
        if held and held.until < wanted.until:
            async for progress in self._catch_up(held, wanted.until, history, at_once=at_once):
                yield progress
        history_is_new = False
        # What another run left unfinished comes first, then what it was not to fetch.
        for coverage in (plan, wanted):
            within = coverage and replace(coverage, until=min(coverage.until, history.days[-1]))
            if within and (asked := _before(held, within)):
                await self._store.plan.put(asked)
                async for progress in self._ask_all(asked, history, at_once=at_once):
                    yield progress
                held = await self._store.coverage.get()
                history_is_new = True
        if held and not history_is_new and (self.ids_are_due or at_once) and await self._misses_an_id(history):
            async for progress in self._ask_all(Coverage(held.since, held.until), history, at_once=at_once):
                yield progress
            # The coverage is the same, so that nobody would read the new columns.
            self._store.unload()
            history_is_new = True
        self.ids_are_due = False
        if held and held.unconfirmed and not history_is_new:
            async for progress in self._ask_again(held, history, at_once=at_once):
                yield progress

    async def _catch_up(
        self, held: Coverage, until: date, history: History, *, at_once: bool
    ) -> AsyncIterator[Progress]:
        since = held.until + ONE_DAY
        records = await self._client.dynamic(USD, since, until)
        days = [record.effective_date for record in records]
        missing = sorted(set(days).difference(history.days))
        if len(missing) > MOST_DAILY_DOCUMENTS:
            async for progress in self._ask_all(Coverage(since, until), history, at_once=at_once):
                yield progress
            return
        for number, day in enumerate(missing):
            yield Progress(number, len(missing), f"the sheet of {day}")
            await asyncio.sleep(self._gap_s)
            await self._documents.fetch_day(day, at_once=at_once)
        # One that could not be fetched, or is held back, ends what is known without a gap.
        unbroken = list(takewhile(set(history.days).__contains__, days))
        if unbroken and history.coverage and history.coverage.covers(held):
            # The columns alone must bear out the coverage, so they are written again with these days in them.
            await self._store.put_history(history.every_column(), replace(history.coverage, until=unbroken[-1]))
            await self._store.announce(unbroken[-1])

    async def _ask_all(self, asked: Coverage, history: History, *, at_once: bool) -> AsyncIterator[Progress]:
        yield Progress(0, 1, "the catalogue")
        currencies = await self._currencies(history)
        newest: date | None = None
        held = await self._store.coverage.get()
        for number, currency in enumerate(currencies):
            yield Progress(number, len(currencies), f"{currency.code} ({currency.cbr_id})".lstrip())
            column = await self._column(currency, asked, held)
            if currency.cbr_id == USD:
                newest = column.last_within(asked)
        if newest is None:
            await self._store.plan.drop()
            raise _nothing_in(asked)
        whole = asked.hull(held) if held else asked
        await self._check_kept(currencies, whole)
        # Without them, a coverage that Redis lost alone would come back as if these days had no sheets.
        usd = await self._store.column(USD)
        found = Coverage(asked.since, newest, tuple(day for day in usd[1].unconfirmed if day < newest) if usd else ())
        scratch = await self._scratch(history, await self._store.columns(), found.hull(held) if held else found)
        number = len(currencies)
        async for progress in self._assess(scratch, scratch.days, at_once=at_once):
            yield replace(progress, done=number, total=progress.total + len(currencies))
            number += 1
        # First: where nothing is admitted the next run is not to begin with the same again.
        await self._store.plan.drop()
        await self._keep(scratch)
        yield Progress(number, number, "nothing more")

    async def _currencies(self, history: History) -> list[Currency]:
        """Whose series are asked for: every id of the catalogue, their parents', and those of held documents.

        The most used come first, and last those without a code, which only a daily document can tell.
        """
        listings = await self._client.catalogue()
        named = {one.cbr_id: _currency(one) for one in listings if one.code and one.numeric_code}
        for revision in history:
            for quote in revision.sheet.quotes:
                named.setdefault(
                    quote.cbr_id, Currency(quote.cbr_id, quote.cbr_id, quote.code, quote.numeric_code, quote.name)
                )
        ids = {cbr_id for one in listings for cbr_id in (one.cbr_id, one.parent_id) if is_cbr_id(cbr_id)}
        others = ids.difference(named)
        unnamed = [Currency(cbr_id, cbr_id, "", "", "") for cbr_id in sorted(others)]
        return [*sorted(named.values(), key=_most_used_first), *unnamed]

    async def _misses_an_id(self, history: History) -> bool:
        """Whether an id is named, in the catalogue or a document, that nobody has asked for."""
        stored = {column.currency.cbr_id for column in await self._store.columns()}
        return any(currency.cbr_id not in stored for currency in await self._currencies(history))

    async def _check_kept(self, currencies: Iterable[Currency], whole: Coverage) -> None:
        """Redis may have lost a column since it was written, by a failover or FLUSHALL: the next run asks for it.

        Raises StoreUnavailable: a coverage over what is not there would never be asked for again.
        """
        for currency in currencies:
            stored = await self._store.column(currency.cbr_id)
            if not (stored and stored[1].covers(whole)):
                raise StoreUnavailable(f"Redis lost {currency.cbr_id} while the others were fetched")

    async def _column(self, currency: Currency, asked: Coverage, held: Coverage | None) -> Column:
        """The column of one id over the range and what is held, from the store or from the Bank."""
        stored = await self._store.column(currency.cbr_id)
        whole = asked.hull(held) if held else asked
        if stored and stored[1].covers(whole):
            return stored[0]
        if held and not (stored and stored[1].covers(held)):
            # It was lost, or is new: without the days that are held it would not bear them out.
            stored, asked = None, whole
        await asyncio.sleep(self._gap_s)
        records = await self._client.dynamic(currency.cbr_id, asked.since, asked.until)
        fetched_at = self._clock().replace(microsecond=0)
        if currency.cbr_id == USD and not records:
            # USD is in every sheet. Storing this range, or planning it, would stop every later backfill at it.
            await self._store.plan.drop()
            raise _nothing_in(asked)
        if records and not currency.code:
            currency = await self._named(currency, records[-1])
        column, covered = Column(currency, fetched_at), asked
        if stored and stored[1].joins(asked):
            column, covered = stored[0], stored[1].hull(asked)
            # What the Bank no longer says of these days must not stay.
            column.forget(asked.since, asked.until)
        # Without a code a record belongs to no sheet.
        for record in records if currency.code else ():
            column.put(record.effective_date, record.nominal, record.value)
        await self._store.put_column(column, covered)
        return column

    async def _named(self, currency: Currency, record: Record) -> Currency:
        """An id without a code, as the daily document of its last day calls it; unreadable, it leaves the id nameless.

        Raises FetchFailed where a mirror gives no document.
        """
        await asyncio.sleep(self._gap_s)
        try:
            document = (await self._client.daily(record.effective_date, _any_sheet, paced=False)).document
        except FetchFailed as failure:
            if any(not isinstance(error, BadDocument) for _, error in failure.failures):
                raise
            return currency
        row = {quote.cbr_id: quote for quote in document.quotes}.get(currency.cbr_id)
        return replace(currency, code=row.code, numeric_code=row.numeric_code, name=row.name) if row else currency

    # Admission

    async def _scratch(self, history: History, columns: Iterable[Column], coverage: Coverage) -> History:
        """Stored columns over a range, with the documents that are held, apart from what is served."""
        scratch = History(history.calendar)
        scratch.fill(columns, coverage)
        for revision in history:
            scratch.add(revision)
        return scratch

    async def _assess(self, scratch: History, days: Sequence[date], *, at_once: bool) -> AsyncIterator[Progress]:
        """Confirm the composed sheets that have findings by their documents, the oldest first; hold back the others."""
        suspects = await asyncio.to_thread(suspect_days, scratch, days)
        number = 0
        while suspects:
            day = suspects.pop(0)
            found = scratch.of_date(day)
            if found is None or not suspect_days(scratch, [day]):
                continue  # the sheet before it was corrected
            yield Progress(number, number + len(suspects) + 1, f"the sheet of {day}")
            number += 1
            if await self._confirm(scratch, day, found.sheet, at_once=at_once):
                continue
            scratch.hold_back(day)
            # The next one must now be assessed beside another sheet.
            following = scratch.days[bisect_right(scratch.days, day) :][:1]
            suspects = [*(other for other in following if other not in suspects[:1]), *suspects]

    async def _confirm(self, scratch: History, day: date, from_columns: Sheet | None, *, at_once: bool) -> bool:
        """Whether the document of a day is admitted; the scratch history has it then.

        One that does not come waits like one that is held back. Raises FetchFailed where many in a row do not.
        """
        await asyncio.sleep(self._gap_s)
        try:
            revision = await self._documents.confirm(scratch, day, from_columns, at_once=at_once)
            self._unanswered = 0
        except FetchFailed:
            self._unanswered += 1
            if self._unanswered >= MOST_UNANSWERED:
                self._unanswered = 0
                raise
            revision = None
        self._tried = [tried for tried in self._tried if tried != day]
        if revision is None:
            self._tried.append(day)
            return False
        scratch.add(revision)
        return True

    async def _ask_again(self, held: Coverage, history: History, *, at_once: bool) -> AsyncIterator[Progress]:
        """Ask for days that are held back; first those whose figures an older version left in the columns."""
        columns = await self._store.columns()
        stored = set(sheet_days(columns)).intersection(held.unconfirmed)
        scratch = await self._scratch(
            history, columns, replace(held, unconfirmed=tuple(day for day in held.unconfirmed if day not in stored))
        )
        number = 0
        async for progress in self._assess(scratch, sorted(stored), at_once=at_once):
            yield progress
            number = progress.done + 1
        lacking = [day for day in (scratch.coverage.unconfirmed if scratch.coverage else ()) if day not in stored]
        tried = [day for day in self._tried if day in lacking]
        days = [*(day for day in lacking if day not in tried), *tried[:MOST_ASKED_AGAIN]]
        for place, day in enumerate(days):
            yield Progress(number + place, number + len(days), f"the sheet of {day}")
            if not await self._confirm(scratch, day, None, at_once=at_once) and await self._is_none(day):
                assert scratch.coverage  # noqa: S101 -- it has the day
                scratch.coverage = scratch.coverage.with_sheet(day)
        if scratch.coverage != held:
            await self._keep(scratch)

    async def _is_none(self, day: date) -> bool:
        """Whether the Bank has no sheet of a day that its series had: neither there any more nor as a document."""
        await asyncio.sleep(self._gap_s)
        if await self._client.dynamic(USD, day, day):
            return False
        return (await self._client.daily(day, _any_sheet, paced=False)).document.effective_date < day

    async def _keep(self, scratch: History) -> None:
        """Write the admitted columns, then the coverage that they bear out, and tell the other replicas."""
        if (coverage := scratch.coverage) is None or not any(day in coverage for day in scratch.days):
            raise RatesvcError("no sheet of that range is admitted: see ratesvc quarantine list")
        await self._store.put_history(scratch.every_column(), coverage)
        await self._store.announce(coverage.until)


def _any_sheet(_: Sheet) -> None:
    """A document that only tells what an id is called."""


def _before(held: Coverage | None, wanted: Coverage) -> Coverage | None:
    """What of `wanted` lies before what is held, joined to it without a gap; all of it when nothing is held."""
    if held is None:
        return Coverage(wanted.since, wanted.until) if wanted.since <= wanted.until else None
    return Coverage(wanted.since, held.since - ONE_DAY) if wanted.since < held.since else None


def _nothing_in(asked: Coverage) -> RatesvcError:
    return RatesvcError(f"the Bank has no sheets from {asked.since} to {asked.until}")


def _currency(listing: Listing) -> Currency:
    assert listing.code and listing.numeric_code  # noqa: S101, PT018 -- only such listings are asked for
    names = listing.name, listing.english_name
    return Currency(listing.cbr_id, listing.parent_id, listing.code, listing.numeric_code, *names)


def _most_used_first(currency: Currency) -> tuple[int, str]:
    place = MOST_USED.index(currency.code) if currency.code in MOST_USED else len(MOST_USED)
    return place, currency.cbr_id


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
        if found and day not in waiting and (is_held or assess(found.sheet, near).decision is Decision.ACCEPT):
            before = found.sheet
            continue
        for column in columns:
            column.forget(day, day)
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
