"""The sheets that are held, and which of them the law applies on a day. Pure: it is told what day it is."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal

from ratesvc.domain.columns import Column, Coverage, composed, sheet_days, with_revision
from ratesvc.domain.rates import FIRST_DAY, InForce, Revision, Snapshot
from ratesvc.domain.workdays import ONE_DAY, Due, WorkCalendar, moscow_day
from ratesvc.errors import BeforeHistory, HistoryLoading, NoSheet, NotYetSet, UnknownRevision

MOST_COMPOSED = 500
NEAR = timedelta(days=31)


class History:
    """Every held sheet: those fetched as daily documents whole, and all of them as columns."""

    def __init__(self, calendar: WorkCalendar, revisions: Iterable[Revision] = ()) -> None:
        """`calendar` decides whether a sheet may be missing between two days outside of the coverage."""
        self.calendar = calendar
        self.version = 0
        self.days: list[date] = []
        self.coverage: Coverage | None = None
        self._revisions: dict[date, dict[int, Revision]] = {}
        self._columns: Mapping[str, Column] = {}
        self._composed: dict[date, Revision] = {}
        for revision in revisions:
            self.add(revision)

    @classmethod
    def of_columns(cls, calendar: WorkCalendar, columns: Iterable[Column], coverage: Coverage | None = None) -> History:
        """Columns alone, to be looked at and never to be served; `coverage` tells what is left out of them."""
        history = cls(calendar)
        history.coverage = coverage
        history._columns = {column.currency.cbr_id: column for column in columns}
        return history

    def add(self, revision: Revision) -> None:
        """Hold one more revision, in place of one with the same number."""
        day = revision.effective_date
        corrected = self.of_date(day) if revision.number > 1 and day not in self._revisions else None
        of_day = self._revisions.setdefault(day, {})
        if corrected and not corrected.sheet.says_the_same_as(revision.sheet):
            # The columns are about to forget how it read.
            of_day[corrected.number] = corrected
        of_day[revision.number] = revision
        index = bisect_left(self.days, day)
        if self.days[index : index + 1] != [day]:
            self.days = [*self.days[:index], day, *self.days[index:]]
        self._columns = with_revision(self._columns, self._latest(day))
        if self.coverage:
            self.coverage = self.coverage.with_sheet(day)
        self.version += 1

    def merge(self, revision: Revision) -> None:
        """Hold what every replica knows; a later wording that only we knew under its number gets the next one.

        So it was when this replica began without Redis, which had an earlier wording.
        """
        ours = self._revisions.get(revision.effective_date, {}).get(revision.number)
        self.add(revision)
        latest = self._latest(revision.effective_date)
        is_later = ours is not None and ours.fetched_at >= latest.fetched_at
        if ours and is_later and not any(ours.sheet.says_the_same_as(one.sheet) for one in (revision, latest)):
            self.add(replace(ours, number=latest.number + 1))

    def fill(self, columns: Iterable[Column], coverage: Coverage) -> None:
        """Take a complete backfill: every sheet of `coverage`. What was fetched as a daily document stays above it."""
        filled = {column.currency.cbr_id: column for column in columns}
        # A sheet set while the columns were being fetched is in some of them only: it is not a sheet yet. Nor is one
        # outside of the coverage, which a backfill that goes on, or was cut off, has written to some of them.
        days = [day for day in sheet_days(filled.values()) if day in coverage and day not in coverage.unconfirmed]
        sheets = frozenset(day.toordinal() for day in days)
        for column in filled.values():
            column.keep_only(sheets)
        for day in self._revisions:
            filled = with_revision(filled, self._latest(day))
            coverage = coverage.with_sheet(day)
        self._columns, self.days, self.coverage = filled, sorted({*days, *self._revisions}), coverage
        self._composed.clear()
        self.version += 1

    def hold_back(self, day: date) -> None:
        """Forget the figures of a covered day that is not admitted: the sheet in force is then not certain.

        At the end of the coverage it ends earlier instead.
        """
        assert self.coverage and day not in self._revisions  # noqa: S101, PT018 -- only composed sheets are held back
        self._columns = {cbr_id: column.without(day) for cbr_id, column in self._columns.items()}
        self.days = [held for held in self.days if held != day]
        self._composed.pop(day, None)
        if any(day < held <= self.coverage.until for held in self.days):
            self.coverage = self.coverage.without_sheet(day)
        else:
            until = max((held for held in self.days if held in self.coverage), default=day - ONE_DAY)
            self.coverage = Coverage(
                self.coverage.since, until, tuple(d for d in self.coverage.unconfirmed if d < until)
            )
        self.version += 1

    def __iter__(self) -> Iterator[Revision]:
        """Every revision that was fetched as a daily document, by day and number."""
        for day in sorted(self._revisions):
            yield from (self._revisions[day][number] for number in sorted(self._revisions[day]))

    def __len__(self) -> int:
        """How many of them are held."""
        return sum(len(of_day) for of_day in self._revisions.values())

    @property
    def newest(self) -> Revision | None:
        """The sheet with the latest effective date; it may be tomorrow's."""
        return self.of_date(self.days[-1]) if self.days else None

    def _latest(self, day: date) -> Revision:
        of_day = self._revisions[day]
        return of_day[max(of_day)]

    def has_document(self, effective: date) -> bool:
        """Whether the sheet of this day is held as a daily document, not only as columns."""
        return effective in self._revisions

    def of_date(self, effective: date) -> Revision | None:
        """The latest revision of the sheet with exactly this effective date."""
        if effective in self._revisions:
            return self._latest(effective)
        found = self._composed.get(effective) or composed(self._columns.values(), effective)
        if found:
            if len(self._composed) >= MOST_COMPOSED:
                del self._composed[next(iter(self._composed))]
            self._composed[effective] = found
        return found

    def revision(self, effective: date, number: int) -> Revision:
        """One wording of a sheet. Raises UnknownRevision."""
        found = self._revisions.get(effective, {}).get(number)
        if found is None and number == 1 and effective not in self._revisions:
            found = self.of_date(effective)
        if found is None:
            raise UnknownRevision(f"The sheet of {effective} has no revision {number}.")
        return found

    def in_revision(self, answer: InForce, number: int) -> InForce:
        """The same answer in another revision of its sheet, whose words never change. Raises UnknownRevision."""
        revision = self.revision(answer.revision.effective_date, number)
        previous = answer.previous and self._known_at(revision.fetched_at, answer.previous)
        return InForce(answer.requested_date, revision, previous, None, stale=answer.stale)

    def _known_at(self, moment: datetime, latest: Revision) -> Revision:
        """How a sheet read at that moment: what was corrected later must not change what was said of the next one."""
        of_day = self._revisions.get(latest.effective_date, {latest.number: latest})
        return of_day[max((n for n, held in of_day.items() if held.fetched_at <= moment), default=min(of_day))]

    def certain_on(self, day: date) -> Revision | None:
        """The sheet in force on `day`, or None where one may be missing between."""
        found = certain_date(self.days, self.calendar, self.coverage, day)
        return self.of_date(found) if found else None

    def in_force(self, day: date, today: date) -> Revision:
        """The sheet that the law applies on `day`, seen from `today`.

        Today is always answered once any sheet up to today is held. Raises NoSheet, BeforeHistory,
        NotYetSet for a day to come and HistoryLoading for a past one.
        """
        if day < FIRST_DAY:
            raise BeforeHistory(day)
        certain = self.certain_on(day)
        if certain:
            return certain
        if not self.days:
            raise NoSheet("No sheet of the Bank of Russia has been fetched yet.")
        if day > today:
            raise NotYetSet(day, Due(self.calendar.effective_date_on_or_before(day)).by)
        index = bisect_right(self.days, day)
        found = self.of_date(self.days[index - 1]) if index and day == today else None
        if found is None:
            raise HistoryLoading(day)
        return found

    def before(self, effective: date) -> Revision | None:
        """The sheet in force the day before this one began, if that is certain."""
        return self.certain_on(effective - ONE_DAY)

    def nearest_before(self, effective: date) -> Revision | None:
        """The nearest earlier sheet that is held, a month away at most; others may be missing between."""
        index = bisect_left(self.days, effective)
        if index and effective - self.days[index - 1] <= NEAR:
            return self.of_date(self.days[index - 1])
        return None

    def after(self, effective: date) -> Revision | None:
        """The held sheet that followed this one, if none can be missing between."""
        index = bisect_right(self.days, effective)
        if index == len(self.days) or self._may_miss(effective, self.days[index]):
            return None
        return self.of_date(self.days[index])

    def _may_miss(self, effective: date, following: date) -> bool:
        """Whether a sheet may lie between two neighbours that are held."""
        last = following - ONE_DAY
        return certain_date([effective], self.calendar, self.coverage, last) is None

    def first_gap(self, since: date, until: date) -> date | None:
        """The first day of the closed range of which it is not certain which sheet was in force."""
        day = max(since, FIRST_DAY)
        while day <= until:
            if self.coverage and day in self.coverage:
                day = self.coverage.until + ONE_DAY
                continue
            found = certain_date(self.days, self.calendar, self.coverage, day)
            if found is None:
                return day
            day = self.calendar.may_end(found)
        return None

    # Series

    def knows(self, code: str) -> bool:
        """Whether any held sheet has this currency."""
        return any(column.currency.code == code and column.days for column in self._columns.values())

    def codes(self) -> set[str]:
        """Every currency of every held sheet."""
        return {column.currency.code for column in self.columns()}

    def columns(self, code: str | None = None) -> list[Column]:
        """The columns of a currency, or all, earliest first; an empty one is left out."""
        held = [c for c in self._columns.values() if c.days and code in (None, c.currency.code)]
        return sorted(held, key=lambda column: column.days[0])

    def every_column(self) -> list[Column]:
        """All columns, also the empty ones of ids for which the Bank has no records."""
        return list(self._columns.values())

    def series(self, code: str, since: date, until: date) -> list[tuple[date, Decimal]]:
        """Effective date and exact unit rate in roubles of every sheet in the closed range that has the currency."""
        columns = self.columns(code)
        if len(columns) == 1:
            return list(columns[0].unit_rates(since, until))
        merged = {day: rate for column in reversed(columns) for day, rate in column.unit_rates(since, until)}
        return sorted(merged.items())


def certain_date(days: Sequence[date], calendar: WorkCalendar, coverage: Coverage | None, day: date) -> date | None:
    """The effective date of the sheet in force on `day`, or None where a sheet may be missing before it.

    Certain is a day in a coverage that holds every sheet, and one before which the calendar knows of no other sheet.
    """
    index = bisect_right(days, day)
    found = days[index - 1] if index else None
    if found and coverage and coverage.has_unconfirmed(found, day):
        return None
    if found and (calendar.holds(found, day) or (coverage and day in coverage and found in coverage)):
        return found
    return None


def snapshot(history: History, now: datetime) -> Snapshot:
    """What to show at `now`. Raises NoSheet while no sheet up to today is held."""
    today = moscow_day(now)
    newest = history.newest
    if newest is None:
        raise NoSheet("No sheet of the Bank of Russia has been fetched yet.")
    calendar = history.calendar
    try:
        in_force = history.in_force(today, today)
    except (HistoryLoading, BeforeHistory):
        raise NoSheet("Only sheets to come are held; today's is being fetched.") from None
    due = calendar.due_after(newest.effective_date)
    return Snapshot(
        today=today,
        in_force=in_force,
        previous=history.before(in_force.effective_date),
        announced=newest if newest.effective_date > today else None,
        next_expected_at=due.by,
        next_late=due.by <= now,
        publications_missed=calendar.missed_since(newest.effective_date, now),
        stale=not calendar.holds(in_force.effective_date, today),
    )


def on_day(history: History, day: date, now: datetime) -> InForce:
    """What applies on any day. Raises what History.in_force raises."""
    seen = snapshot(history, now)
    if day == seen.today:
        return seen.for_today()
    try:
        revision = history.in_force(day, seen.today)
    except NotYetSet as error:
        due = Due(history.calendar.effective_date_on_or_before(day))
        raise NotYetSet(day, error.expected_at, overdue=due.overdue_from <= now) from None
    previous = history.before(revision.effective_date)
    if day < seen.today:
        return InForce(day, revision, previous, history.after(revision.effective_date))
    return InForce(day, revision, previous, None, seen.next_expected_at, seen.next_overdue)


def day_to_fetch(days: Sequence[date], history: History, now: datetime) -> date | None:
    """The day whose sheet a snapshot still lacks: the one in force today, then the one before it.

    `days` are the effective dates held, among them those just accepted and not yet in `history`.
    """
    today = moscow_day(now)
    known = [day for day in days if day <= today]
    current = certain_date(known, history.calendar, history.coverage, today)
    if current is None:
        # A stale sheet is all the Bank has: asking for today again would only return it once more.
        if not known or days[-1] > today:
            return today
        current = known[-1]
    day_before = current - ONE_DAY
    held = certain_date(known, history.calendar, history.coverage, day_before)
    return None if held or day_before < FIRST_DAY else day_before
