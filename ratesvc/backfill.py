"""All of history: one request per currency id, resumable, then kept whole by filling gaps. Yields its progress."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from itertools import takewhile

from ratesvc.cbr.client import BankClient
from ratesvc.cbr.documents import Listing
from ratesvc.codes import MOST_USED
from ratesvc.columns import Column, Currency, Span
from ratesvc.errors import RatesvcError, StoreUnavailable
from ratesvc.history import History
from ratesvc.rates import FIRST_DAY
from ratesvc.store import Store
from ratesvc.workdays import ONE_DAY, moscow_day

USD = "R01235"
MOST_DAILY_DOCUMENTS = 20
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
class Difference:
    """A day on which what is held is not what the Bank says; None where one of them has no record."""

    code: str
    day: date
    held: str | None
    bank: str | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a run that nobody asked for: whether it did anything, why it ended early, when to try again."""

    has_begun: bool = False
    failure: RatesvcError | None = None
    again_s: float | None = None


class NotOurTurn(RatesvcError):
    """History is being fetched elsewhere; what is fetched there is kept for all."""


class Backfill:
    """Fetches the Bank's series into the store: one run at a time in this process, and one over all replicas."""

    def __init__(
        self,
        client: BankClient,
        store: Store,
        clock: Callable[[], datetime],
        gap_s: float,
        fetch_day: Callable[[date], Awaitable[object]],
    ) -> None:
        """`gap_s` is the pause between two requests; `fetch_day` fetches, guards and stores one daily document."""
        self._client = client
        self._store = store
        self._clock = clock
        self._gap_s = gap_s
        self._fetch_day = fetch_day
        self._running = asyncio.Lock()
        self.progress: Progress | None = None
        """What is being done just now."""

    async def if_needed(self, history: History, begun: Callable[[], None]) -> Outcome:
        """Load history at the first start, and fill the gap after a pause; `begun` hears of the first step."""
        has_begun = False
        if self._running.locked() or not history.days or not self._lacks(history):
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

    def _lacks(self, history: History) -> bool:
        span, yesterday = history.span, moscow_day(self._clock()) - ONE_DAY
        return span is None or span.since > FIRST_DAY or history.first_gap(span.until, yesterday) is not None

    async def run(
        self, history: History, since: date = FIRST_DAY, until: date | None = None, *, at_once: bool = False
    ) -> AsyncIterator[Progress]:
        """Fetch what of the closed range is not held, by default all there is, and what joins it to what is held.

        Raises FetchFailed, StoreUnavailable, NotOurTurn, and RatesvcError where the Bank has no sheet in it.
        Cut off anywhere, the next run asks only for what is lacking. What was published since the range that is held
        ended is found by one request, and fetched as daily documents while it is little. `at_once` is for a person,
        who does not wait for his turn: a run that goes on elsewhere ends at its next step.
        """
        tomorrow = moscow_day(self._clock()) + ONE_DAY
        wanted = Span(max(since, FIRST_DAY), min(until or tomorrow, tomorrow))
        if wanted.since > wanted.until:
            refusal = _nothing_in(Span(since, until or tomorrow))
            raise RatesvcError(f"{refusal}; those from {FIRST_DAY} to {tomorrow} can be asked for")
        async with self._running:
            try:
                while at_once and not await self._store.backfill_lease.take(TURN_S):
                    await self._store.end_backfill_lease()
                await self._keep_turn()
                async for progress in self._steps(history, wanted):
                    self.progress = progress
                    yield progress
                    await self._keep_turn()
            finally:
                self.progress = None
                await self._store.backfill_lease.release()

    async def _keep_turn(self) -> None:
        if not await self._store.backfill_lease.take(TURN_S):
            raise NotOurTurn("history is being fetched by another replica, or by a command")

    async def _steps(self, history: History, wanted: Span) -> AsyncIterator[Progress]:
        held, plan = await self._store.span.get(), await self._store.plan.get()
        if held and held.until < wanted.until:
            async for progress in self._catch_up(held, wanted.until, history):
                yield progress
        # What another run left unfinished comes first, then what it was not to fetch.
        for span in (plan, wanted):
            if span and (asked := _before(held, span)):
                await self._store.plan.put(asked)
                async for progress in self._ask_all(asked):
                    yield progress
                held = await self._store.span.get()

    async def _catch_up(self, held: Span, until: date, history: History) -> AsyncIterator[Progress]:
        since = held.until + ONE_DAY
        records = await self._client.dynamic(USD, since, until)
        days = [record.effective_date for record in records]
        missing = sorted(set(days).difference(history.days))
        if len(missing) > MOST_DAILY_DOCUMENTS:
            async for progress in self._ask_all(Span(since, until)):
                yield progress
            return
        for number, day in enumerate(missing):
            yield Progress(number, len(missing), f"the sheet of {day}")
            await asyncio.sleep(self._gap_s)
            await self._fetch_day(day)
        # One that could not be fetched, or is held back, ends what is known without a gap.
        unbroken = list(takewhile(set(history.days).__contains__, days))
        if unbroken and history.span and history.span.covers(held):
            # The columns alone must bear out the span, so they are written again with these days in them.
            await self._store.put_history(history.columns(), Span(held.since, unbroken[-1]))
            await self._store.announce(unbroken[-1])

    async def _ask_all(self, asked: Span) -> AsyncIterator[Progress]:
        yield Progress(0, 1, "the catalogue")
        listings = sorted(
            (listing for listing in await self._client.catalogue() if listing.code and listing.numeric_code),
            key=_most_used_first,
        )
        newest: date | None = None
        held = await self._store.span.get()
        for number, listing in enumerate(listings):
            yield Progress(number, len(listings), f"{listing.code} ({listing.cbr_id})")
            column = await self._column(listing, asked, held)
            if listing.cbr_id == USD:
                newest = column.last_within(asked)
        if newest is None:
            await self._store.plan.drop()
            raise _nothing_in(asked)
        await self._check_kept(listings, asked.hull(held) if held else asked)
        found = Span(asked.since, newest)
        await self._store.span.put(found.hull(held) if held else found)
        await self._store.plan.drop()
        await self._store.announce(newest)
        yield Progress(len(listings), len(listings), "nothing more")

    async def _check_kept(self, listings: Iterable[Listing], whole: Span) -> None:
        """Redis may have lost a column since it was written, by a failover or FLUSHALL: the next run asks for it.

        Raises StoreUnavailable: a span over what is not there would never be asked for again.
        """
        for listing in listings:
            stored = await self._store.column(listing.cbr_id)
            if not (stored and stored[1].covers(whole)):
                raise StoreUnavailable(f"Redis lost {listing.cbr_id} while the others were fetched")

    async def _column(self, listing: Listing, asked: Span, held: Span | None) -> Column:
        """The column of one id over the range and what is held, from the store or from the Bank."""
        stored = await self._store.column(listing.cbr_id)
        whole = asked.hull(held) if held else asked
        if stored and stored[1].covers(whole):
            return stored[0]
        if held and not (stored and stored[1].covers(held)):
            # It was lost, or is new: without the days that are held it would not bear them out.
            stored, asked = None, whole
        await asyncio.sleep(self._gap_s)
        records = await self._client.dynamic(listing.cbr_id, asked.since, asked.until)
        fetched_at = self._clock().replace(microsecond=0)
        if listing.cbr_id == USD and not records:
            # It has been in every sheet. What is kept of such a range, or planned, would be all that is ever asked for.
            await self._store.plan.drop()
            raise _nothing_in(asked)
        column, covered = _empty(listing, fetched_at), asked
        if stored and stored[1].joins(asked):
            column, covered = stored[0], stored[1].hull(asked)
        for record in records:
            column.put(record.effective_date, record.nominal, record.value)
        await self._store.put_column(column, covered)
        return column

    async def look_up(
        self, history: History, codes: Iterable[str], since: date, until: date
    ) -> AsyncIterator[Progress]:
        """Ask for these currencies in the closed range, into the memory of who looks at them now: nothing is stored."""
        columns = [column for code in codes for column in history.columns(code)]
        for number, column in enumerate(columns):
            yield Progress(number, len(columns), f"{column.currency.code} ({column.currency.cbr_id})")
            await asyncio.sleep(self._gap_s if number else 0)
            for record in await self._client.dynamic(column.currency.cbr_id, since, until):
                column.put(record.effective_date, record.nominal, record.value)

    async def verify(self, history: History) -> AsyncIterator[Progress | Difference]:
        """Ask for everything in the span again and report what differs; nothing is changed."""
        if history.span is None:
            raise RatesvcError("there is no complete history to verify yet; run a backfill first")
        columns = sorted(history.columns(), key=lambda column: column.currency.code)
        for number, column in enumerate(columns):
            currency = column.currency
            yield Progress(number, len(columns), f"{currency.code} ({currency.cbr_id})")
            await asyncio.sleep(self._gap_s)
            records = await self._client.dynamic(currency.cbr_id, history.span.since, history.span.until)
            bank = {record.effective_date: f"{record.value} for {record.nominal}" for record in records}
            for difference in _differences(column, bank, history.span):
                yield difference
        yield Progress(len(columns), len(columns), "nothing more")


def _differences(column: Column, bank: dict[date, str], span: Span) -> Iterator[Difference]:
    held = {}
    for ordinal in column.days:
        day = date.fromordinal(ordinal)
        quote = column.quote(day)
        if quote and day in span:
            held[day] = f"{quote.value} for {quote.nominal}"
    for day in sorted(held.keys() | bank.keys()):
        if held.get(day) != bank.get(day):
            yield Difference(column.currency.code, day, held.get(day), bank.get(day))


def _before(held: Span | None, wanted: Span) -> Span | None:
    """What of `wanted` lies before what is held, joined to it without a gap; all of it when nothing is held."""
    if held is None:
        return wanted
    return Span(wanted.since, held.since - ONE_DAY) if wanted.since < held.since else None


def _nothing_in(asked: Span) -> RatesvcError:
    return RatesvcError(f"the Bank has no sheets from {asked.since} to {asked.until}")


def _empty(listing: Listing, fetched_at: datetime) -> Column:
    assert listing.code and listing.numeric_code  # noqa: S101, PT018 -- only such listings are asked for
    names = listing.name, listing.english_name
    return Column(Currency(listing.cbr_id, listing.parent_id, listing.code, listing.numeric_code, *names), fetched_at)


def _most_used_first(listing: Listing) -> tuple[int, str]:
    place = MOST_USED.index(listing.code) if listing.code in MOST_USED else len(MOST_USED)
    return place, listing.cbr_id
