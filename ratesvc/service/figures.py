"""Figures that a feature has beside the sheets: asked of the Bank, admitted, stored for all replicas, kept in columns.

A feature makes `Figures` and gives them to `Service.add`. From then on they are fetched, stored, and part of the
publication's key and of /health. The core knows none of them by name.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal

from ratesvc.bank.client import BankClient
from ratesvc.domain.columns import SCALE, Column, Currency, Days
from ratesvc.domain.rates import EXACT
from ratesvc.domain.workdays import LONG_AGO, ONE_DAY, WorkCalendar, moscow_day
from ratesvc.errors import FetchFailed
from ratesvc.service.health import Check
from ratesvc.storage.records import HEAD_BYTES, decode_figures, encode_figures
from ratesvc.storage.store import Store

Series = Mapping[str, Mapping[date, Decimal]]
"""The values of each series by their days."""
NEAR = 31 * ONE_DAY
"""The Bank's corrections of so many days are noticed."""


@dataclass(eq=False)
class Figures:
    """One feature's series by their names, the same on every replica.

    `ask` gives what the Bank says from a day on, or of all days; it raises FetchFailed. `expected` is the day of the
    newest value that the Bank should have on a day. `pause_s` are the seconds until the next question. A value that is
    `most` times the one before it, or such a part of it, is absurd: it waits until the Bank repeats it on another day.
    A demo asks nobody and has what is `recorded`.
    """

    name: str
    ask: Callable[[BankClient, date | None], Awaitable[Series]]
    expected: Callable[[WorkCalendar, date], date]
    pause_s: Callable[[WorkCalendar, date, datetime], float]
    most: int
    recorded: Series = field(default_factory=dict)
    columns: dict[str, Column] = field(default_factory=dict)
    waiting: dict[tuple[str, date], tuple[Decimal, date]] = field(default_factory=dict)
    """The absurd values, each with the day on which the Bank first said it."""
    changed_at: datetime = LONG_AGO
    """When the Bank last said something else than before."""
    version: int = 0
    """Another one after each change."""
    failure: FetchFailed | None = None
    """That of the last question."""
    _envelope: bytes = b""
    """All of this as Redis has it."""

    @property
    def newest(self) -> date:
        """The last day that has a value; the first of all days if there is none."""
        return max((column.last_day for column in self.columns.values()), default=date.min)

    def back_from(self, name: str, day: date) -> Iterator[tuple[date, Decimal]]:
        """The values of a series with their days, from the one in force on a day backwards."""
        if column := self.columns.get(name):
            for place in reversed(range(column.places(Days(date.min, day))[1])):
                yield date.fromordinal(column.days[place]), Decimal(column.values[place]).scaleb(-SCALE)

    def is_stale(self, calendar: WorkCalendar, day: date) -> bool:
        """Whether the Bank should have a newer value on this day."""
        return self.newest < self.expected(calendar, day)

    async def fetch(self, client: BankClient, now: datetime) -> None:
        """Ask the Bank, and take what is plausible. Raises FetchFailed."""
        since = min([self.newest - NEAR, *(day for _, day in self.waiting)]) if self.columns else None
        self.admit(await self.ask(client, since), now)

    def admit(self, given: Series, now: datetime) -> None:
        """Take what is plausible of the Bank's answer. What it no longer has stays: a short answer deletes nothing."""
        before = self.version
        for name, values in given.items():
            for day in sorted(values):
                self._take(name, day, values[day], now)
        for name, day in [key for key in self.waiting if key[1] not in given.get(key[0], {})]:
            # The Bank took it back.
            del self.waiting[name, day]
            self.version += 1
        if self.version != before:
            # Whoever knew the change before comes later, although the clock may be set back.
            self.changed_at = max(now, self.changed_at + timedelta(microseconds=1))
            self._envelope = encode_figures(self.name, self.changed_at, self.columns, self.waiting)

    def _take(self, name: str, day: date, value: Decimal, now: datetime) -> None:
        """Take a value, unless it is absurd and the Bank has not said the same on an earlier day."""
        today, earlier = moscow_day(now), next(self.back_from(name, day - ONE_DAY), None)
        said, first = self.waiting.get((name, day), (None, today))
        is_near = earlier is None or self._is_near(value, earlier[1])
        if value <= 0 or not (is_near or (said == value and first < today)):
            if said != value:
                self.waiting[name, day] = value, today
                self.version += 1
            return
        column = self.columns.get(name) or Column(Currency(name, name, name, "", name), now)
        if self.waiting.pop((name, day), None) or column.record(day) != (1, value):
            self.columns[name] = column.with_record(day, 1, value)
            self.version += 1

    def _is_near(self, value: Decimal, other: Decimal) -> bool:
        most = Decimal(self.most)
        return value < EXACT.multiply(other, most) and other < EXACT.multiply(value, most)

    async def exchange(self, store: Store) -> None:
        """If Redis has others, as their head says, take them or store ours. Raises StoreUnavailable.

        Of two changes the later counts, at a tie the greater bytes: so all replicas come to hold the same.
        """
        if await store.figures(self.name, HEAD_BYTES) == self._envelope[:HEAD_BYTES]:
            return
        stored = await store.figures(self.name)
        theirs = decode_figures(self.name, stored)
        if theirs and (theirs[0], stored) > (self.changed_at, self._envelope):
            self.changed_at, columns, self.waiting = theirs
            # Others read this mapping, so it stays the same one.
            for name in self.columns.keys() - columns:
                del self.columns[name]
            self.columns.update(columns)
            self._envelope = stored
            self.version += 1
        else:
            await store.put_figures(self.name, self._envelope)

    def health(self, calendar: WorkCalendar, today: date) -> Check:
        """Whether the newest value is there, and which values wait until the Bank repeats them."""
        output = [f"the Bank says {value} for {name} on {day}" for (name, day), (value, _) in self.waiting.items()]
        if self.is_stale(calendar, today):
            output.append(str(self.failure) if self.failure else "a newer value is missing")
        observed = str(self.newest) if self.columns else "none yet"
        return {"status": "warn" if output else "pass", "observedValue": observed, "output": "; ".join(output)}
