"""Which sheets are held, and which of them is in force on a day. Pure: callers say what day it is."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from operator import attrgetter

from ratesvc.domain.columns import Column, Coverage, Days, composed, sheet_days, with_revision
from ratesvc.domain.rates import FIRST_DAY, InForce, Revision, Snapshot
from ratesvc.domain.workdays import LONG_AGO, ONE_DAY, WorkCalendar, due_at, moscow_day, overdue_at
from ratesvc.errors import BeforeHistory, HistoryLoading, NoSheet, NotYetSet, UnknownRevision

MOST_COMPOSED = 500
NEAR = timedelta(days=31)
SETTLED_AFTER = timedelta(days=7)
"""The Bank has had time to correct a sheet that is older than this."""

Held = tuple[Mapping[str, Column], list[date], Coverage | None]
"""Columns by id, the days of the sheets in them, and the coverage."""


class History:
    """Every held sheet: those fetched as daily documents with all revisions, and all of them as columns."""

    def __init__(self, calendar: WorkCalendar, revisions: Iterable[Revision] = ()) -> None:
        """Outside of the coverage `calendar` decides whether a sheet may be missing between two days."""
        self.calendar = calendar
        self.recorded_from: date | None = None
        """The first day of a recording, which is all that the service can have."""
        self.version = 0
        self.fetched_at = LONG_AGO
        """When the latest of the revisions and columns was fetched."""
        self.days: list[date] = []
        self.coverage: Coverage | None = None
        self.on_change: Callable[[list[Revision]], None] | None = None
        """Gets the revisions that were not held, after each change."""
        self._revisions: dict[date, dict[int, Revision]] = {}
        self._columns: Mapping[str, Column] = {}
        self._by_code: tuple[Mapping[str, Column], list[Column]] = {}, []
        self._forget_composed()
        self.hold(revisions)

    def _forget_composed(self) -> None:
        """Begin a new cache. A thread that still composes a sheet of the old columns keeps it in the old one."""
        self._composed = lru_cache(MOST_COMPOSED)(lambda day: composed(self._columns.values(), day))

    # What is held

    def hold(
        self, revisions: Iterable[Revision], columns: Iterable[Column] = (), coverage: Coverage | None = None
    ) -> list[Revision]:
        """Hold what was admitted here or by another replica; returns the revisions that were not held.

        The columns of a `coverage` are taken if it has every day that is complete here.
        """
        before = self.version
        if coverage and (self.coverage is None or coverage.covers(self.coverage)):
            self._hold_columns(columns, coverage)
        # In order, because a column that the backfill has not made is called as in the first sheet with that currency.
        new = sorted(
            (one for one in revisions if self._revisions.get(one.effective_date, {}).get(one.number) != one),
            key=attrgetter("key"),
        )
        for revision in new:
            self._add(revision)
        # Once for all revisions of a day, because the last may withdraw the others.
        for day in sorted({revision.effective_date for revision in new}):
            held = _updated(self._columns, self.days, self.coverage, self.latest_or_withdrawal(day))
            # Threads that write answers look for the figures of every day that they see: a day comes last, goes first.
            if len(held[1]) < len(self.days):
                self.days = held[1]
            self._columns, self.days, self.coverage = held
            self.version += 1
        if self.on_change and self.version != before:
            self.on_change(new)
        return new

    def _add(self, revision: Revision) -> None:
        """Add a revision. If this replica began without Redis, it may hold other figures under the same number.

        Where ours are later than all that is stored, they become the next revision.
        """
        day, number = revision.effective_date, revision.number
        corrected = self.of_date(day) if number > 1 else None
        numbers = dict(self._revisions.get(day, {}))
        ours = numbers.get(number)
        if corrected and not corrected.sheet.says_the_same_as(revision.sheet):
            # It may have been composed from the columns, which are about to get the new figures.
            numbers[corrected.number] = corrected
        numbers[number] = revision
        self._revisions[day] = numbers
        self.fetched_at = max(self.fetched_at, revision.fetched_at)
        latest = numbers[max(numbers)]
        if ours is None or any(ours.sheet.says_the_same_as(other.sheet) for other in (revision, latest)):
            return
        if ours.fetched_at >= latest.fetched_at:
            self._add(replace(ours, number=latest.number + 1))

    def _hold_columns(self, columns: Iterable[Column], coverage: Coverage) -> None:
        """Hold a complete backfill: every sheet of `coverage`, except those of its open days.

        Daily documents take precedence. A day that is held stays, even if it is open now. A sheet that a person
        withdrew does not come back; its day is open as long as the columns have it.
        """
        filled = {column.currency.cbr_id: column.copy() for column in columns}
        kept = [self.latest_or_withdrawal(day) for day in sorted({*self._revisions, *coverage.open_days})]
        # Days outside of the coverage are no sheets yet: one was published while the columns were fetched, or an
        # unfinished backfill left it.
        days = [day for day in sheet_days(filled.values()) if day in coverage and day not in coverage.open_days]
        ordinals = frozenset(day.toordinal() for day in days)
        for column in filled.values():
            column.keep_only(ordinals)
        held: Held = filled, days, coverage
        for revision in kept:
            held = _updated(*held, revision)
        self.fetched_at = max(self.fetched_at, *(column.fetched_at for column in held[0].values()))
        self._columns, self.days, self.coverage = held
        self._forget_composed()
        self.version += 1

    def documents(self) -> list[Revision]:
        """Every revision that was fetched as a daily document, by day and number."""
        return [numbers[number] for _, numbers in sorted(self._revisions.items()) for number in sorted(numbers)]

    def document(self, effective: date) -> Revision | None:
        """The latest revision of a day's sheet if it was fetched as a daily document, and not only in columns."""
        return self.of_date(effective) if effective in self._revisions else None

    @property
    def newest(self) -> Revision | None:
        """The sheet with the latest effective date; it may be tomorrow's."""
        return self.of_date(self.days[-1]) if self.days else None

    def of_date(self, effective: date) -> Revision | None:
        """The sheet with exactly this effective date, in its latest revision."""
        latest = self.latest_or_withdrawal(effective)
        return latest if latest and latest.sheet.quotes else None

    def next_number(self, day: date) -> int:
        """The number of that day's next revision."""
        latest = self.latest_or_withdrawal(day)
        return latest.number + 1 if latest else 1

    def latest_or_withdrawal(self, day: date) -> Revision | None:
        """The latest revision of a day, also if it says that the day has no sheet any more."""
        numbers = self._revisions.get(day)
        return numbers[max(numbers)] if numbers else self._composed(day)

    def standing(self, day: date) -> tuple[list[Revision], list[Revision]]:
        """The revisions of a day that stand, and those that a person withdrew and nobody released since; oldest first.

        The last that stands holds.
        """
        numbers = self._revisions.get(day, {})
        composed = None if numbers else self._composed(day)
        standing, withdrawn = [composed] if composed else [], list[Revision]()
        for number in sorted(numbers):
            if not numbers[number].is_withdrawal:
                standing.append(numbers[number])
            elif standing:
                withdrawn.append(standing.pop())
        gone = (one for one in withdrawn if not any(one.sheet.says_the_same_as(other.sheet) for other in standing))
        return standing, list(gone)

    @property
    def without_a_sheet(self) -> list[date]:
        """The days whose only sheet a person withdrew, oldest first."""
        return sorted(day for day, numbers in self._revisions.items() if not numbers[max(numbers)].sheet.quotes)

    def revision(self, effective: date, number: int) -> Revision:
        """One revision of a sheet. Raises UnknownRevision."""
        found = self._revisions.get(effective, {}).get(number)
        if number == 1 and effective not in self._revisions:
            found = self.of_date(effective)
        if found is None or not found.sheet.quotes:
            raise UnknownRevision(f"The sheet of {effective} has no revision {number}.")
        return found

    def in_revision(self, answer: InForce, number: int) -> InForce:
        """The same answer in another revision of its sheet. Raises UnknownRevision.

        The previous sheet is shown as it was known when the revision was fetched, whatever was corrected later.
        """
        revision, previous = self.revision(answer.revision.effective_date, number), answer.previous
        if previous:
            numbers = self._revisions.get(previous.effective_date, {previous.number: previous})
            known = [n for n, held in numbers.items() if held.fetched_at <= revision.fetched_at]
            then = numbers[max(known, default=min(numbers))]
            # None if it was withdrawn at that time.
            previous = then if then.sheet.quotes else None
        return replace(answer, revision=revision, previous=previous)

    # What is in force

    @property
    def begins(self) -> date:
        """The first day that can have rates."""
        return self.recorded_from or FIRST_DAY

    def in_force(self, day: date, today: date) -> Revision:
        """The sheet that the law applies on `day`, seen from `today`.

        Once any sheet up to today is held, today has an answer. Raises NoSheet, BeforeHistory, NotYetSet for a day
        to come and HistoryLoading for a past day.
        """
        if day < self.begins:
            raise BeforeHistory(day, self.recorded_from)
        if certain := self.certain_on(day):
            return certain
        if not self.days:
            raise NoSheet("No sheet of the Bank of Russia has been fetched yet.")
        if day > today:
            raise NotYetSet(day, due_at(self.calendar.effective_date_on_or_before(day)))
        index = bisect_right(self.days, day)
        found = self.of_date(self.days[index - 1]) if index and day == today else None
        if found is None:
            since = self.days[index - 1] if index else self.begins
            raise HistoryLoading(day, next(reversed(self.missing_days(Days(since, day), today)), None))
        return found

    def certain_on(self, day: date) -> Revision | None:
        """The sheet in force on `day`, or None if a sheet may be missing before it."""
        found = certain_date(self.days, self.calendar, self.coverage, day)
        return self.of_date(found) if found else None

    def before(self, effective: date) -> Revision | None:
        """The sheet in force on the day before this one began, if that is certain."""
        return self.certain_on(effective - ONE_DAY)

    def month_before(self, effective: date) -> list[Revision]:
        """The sheets of the month before that are held, oldest first; others may be missing between them."""
        first, last = bisect_left(self.days, effective - NEAR), bisect_left(self.days, effective)
        return [revision for day in self.days[first:last] if (revision := self.of_date(day))]

    def nearest_before(self, effective: date) -> Revision | None:
        """The last sheet of the month before that is held."""
        return next(reversed(self.month_before(effective)), None)

    def after(self, effective: date) -> Revision | None:
        """The held sheet that followed this one, if none can be missing between the two."""
        index = bisect_right(self.days, effective)
        if index == len(self.days):
            return None
        last = self.days[index] - ONE_DAY
        is_certain = certain_date([effective], self.calendar, self.coverage, last)
        return self.of_date(self.days[index]) if is_certain else None

    def is_settled(self, effective: date, today: date) -> bool:
        """Whether a sheet is more than a week old and earlier than the newest one that is held."""
        return bool(self.days) and effective < min(today - SETTLED_AFTER, self.days[-1])

    def settled_before(self, today: date) -> date:
        """The sheets in force before this day no longer change: the day of the newest sheet older than a week."""
        index = bisect_left(self.days, today - SETTLED_AFTER)
        return self.days[index - 1] if index else date.min

    # What is missing. All of history is fetched in one backfill; after it sheets are missing one by one.

    @property
    def open_days(self) -> tuple[date, ...]:
        """The days of the coverage whose sheets exist, or may exist, and are not admitted; oldest first."""
        return self.coverage.open_days if self.coverage else ()

    @property
    def awaited_after(self) -> date:
        """The next sheet comes after this day: that of the newest, or a later one without any. Raises IndexError."""
        return max(self.days[-1], self.coverage.until if self.coverage else date.min)

    @property
    def _loading_until(self) -> date:
        """The last day that the backfill of all of history fetches, or has fetched."""
        if not self.days:
            return date.max - NEAR
        return max(self.coverage.until, self.days[-1] - NEAR) if self.coverage else self.days[-1]

    @property
    def is_loading(self) -> bool:
        """Whether all of history has not been fetched yet."""
        return self.coverage is None or self.first_loading(Days(FIRST_DAY, date.max)) is not None

    def first_loading(self, days: Days) -> date | None:
        """The first of these days that has to wait until all of history is fetched."""
        return self.first_uncertain(Days(days.since, min(days.until, self._loading_until)))

    def first_uncertain(self, days: Days) -> date | None:
        """The first of these days whose sheet in force is not certain."""
        day = max(days.since, self.begins)
        while day <= days.until:
            if self.coverage and day in self.coverage:
                day = self.coverage.until + ONE_DAY
                continue
            found = certain_date(self.days, self.calendar, self.coverage, day)
            if found is None:
                return day
            day = self.calendar.may_end(_complete_until(found, self.coverage))
        return None

    def missing_days(self, days: Days, today: date) -> list[date]:
        """The days of a range that are open, or whose sheets are expected up to today and not held; oldest first."""
        until = min(days.until, max([today, *self.days[-1:]]))
        found = {day for day in self.open_days if day in days}
        day = self.calendar.effective_date_after(self._loading_until)
        while day <= until:
            if day >= days.since and self.days[bisect_left(self.days, day) :][:1] != [day]:
                found.add(day)
            day = self.calendar.effective_date_after(day)
        return sorted(found)

    def asked_until(self, today: date) -> date:
        """The last day for which a backfill asks the Bank: yesterday, or today if its sheet was withdrawn."""
        return today if today in self.without_a_sheet else today - ONE_DAY

    def days_to_backfill(self, now: datetime) -> list[date]:
        """The missing days for which a backfill asks: up to the newest sheet, or up to yesterday."""
        return self.missing_days(Days(date.min, date.max), self.asked_until(moscow_day(now)))

    def needs_backfill(self, now: datetime) -> bool:
        """Whether a sheet that a backfill asks for is not held."""
        return self.is_loading or bool(self.days_to_backfill(now))

    # Series

    def columns(self, code: str | None = None) -> list[Column]:
        """The columns of a currency, or all, earliest first; empty ones are left out.

        An id that had several codes has a column for each.
        """
        columns = self._columns
        if self._by_code[0] is not columns:
            parts = [part for column in columns.values() if column.days for part in column.by_code()]
            self._by_code = columns, sorted(parts, key=attrgetter("age"))
        return [column for column in self._by_code[1] if code in (None, column.currency.code)]

    def every_column(self) -> list[Column]:
        """The one column of each id, also the empty ones of ids for which the Bank has no records."""
        return list(self._columns.values())

    def codes(self) -> set[str]:
        """Every currency of every held sheet."""
        return {column.currency.code for column in self.columns()}


def _updated(
    columns: Mapping[str, Column], days: list[date], coverage: Coverage | None, latest: Revision | None
) -> Held:
    """Columns, days and coverage with what the latest revision of a day says."""
    if latest is None:
        return columns, days, coverage
    day, columns = latest.effective_date, with_revision(columns, latest)
    index = bisect_left(days, day)
    is_held = days[index : index + 1] == [day]
    if latest.sheet.quotes:
        days = days if is_held else [*days[:index], day, *days[index:]]
        coverage = coverage and coverage.without_open_day(day)
    elif is_held:
        # The Bank may have another sheet of that day: a backfill asks.
        days = [*days[:index], *days[index + 1 :]]
        coverage = coverage and coverage.with_open_day(day)
    return columns, days, coverage


def certain_date(days: Sequence[date], calendar: WorkCalendar, coverage: Coverage | None, day: date) -> date | None:
    """The effective date of the sheet in force on `day`, or None if a sheet may be missing before it.

    `days` are the effective dates that are held. The newest of them up to `day` is certain if the calendar knows of
    no later one, or if the coverage has none, and if no sheet that is not admitted lies between.
    """
    index = bisect_right(days, day)
    found = days[index - 1] if index else None
    if found is None or (coverage and any(found < open_day <= day for open_day in coverage.open_days)):
        return None
    return found if day < calendar.may_end(_complete_until(found, coverage)) else None


def _complete_until(found: date, coverage: Coverage | None) -> date:
    """The last day on which a later sheet would be held, if there were one."""
    return max(found, coverage.until) if coverage and found in coverage else found


def snapshot(history: History, now: datetime) -> Snapshot:
    """What to show at `now`. Raises NoSheet while no sheet up to today is held."""
    today, calendar = moscow_day(now), history.calendar
    try:
        in_force = history.in_force(today, today)
    except (HistoryLoading, BeforeHistory):
        raise NoSheet("Only a sheet for a later day is held; today's is being fetched.") from None
    newest = history.newest or in_force
    next_due_at, missed, since, until = calendar.awaited(history.awaited_after, now)
    return Snapshot(
        today=today,
        in_force=in_force,
        previous=history.before(in_force.effective_date),
        announced=newest if newest.effective_date > today else None,
        next_due_at=next_due_at,
        next_late=next_due_at <= now,
        publications_missed=missed,
        stale=history.certain_on(today) is None,
        changed_at=max(since, history.fetched_at),
        # Each request compares the two with the clock, which takes ten times as long in another time zone.
        since=since.astimezone(UTC),
        until=until.astimezone(UTC),
    )


def on_day(history: History, day: date, now: datetime) -> InForce:
    """What applies on any day. Raises what History.in_force raises."""
    seen = snapshot(history, now)
    if day == seen.today:
        return seen.for_today()
    try:
        revision = history.in_force(day, seen.today)
    except NotYetSet as error:
        is_overdue = overdue_at(history.calendar.effective_date_on_or_before(day)) <= now
        raise NotYetSet(day, error.due_at, overdue=is_overdue) from None
    previous = history.before(revision.effective_date)
    if day < seen.today:
        return InForce(day, revision, previous, history.after(revision.effective_date))
    return InForce(day, revision, previous, None, seen.next_due_at, seen.next_overdue)


def day_to_fetch(days: Sequence[date], history: History, now: datetime) -> date | None:
    """The day whose sheet a snapshot still lacks: first the sheet in force today, then the sheet before it.

    `days` are the effective dates that are held, with those that were just accepted and are not yet in `history`.
    """
    today = moscow_day(now)
    current = certain_date(days, history.calendar, history.coverage, today)
    if current is None:
        if not days or days[-1] > today:
            return today
        # The Bank's newest sheet is stale. It has no other sheet for today, so only the one before can be lacking.
        current = days[-1]
    day_before = current - ONE_DAY
    is_certain = certain_date(days, history.calendar, history.coverage, day_before)
    return None if is_certain or day_before < history.begins else day_before
