"""The sheets that are held, and which of them the law applies on a day. Pure: it is told what day it is."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta

from ratesvc.errors import BeforeHistory, HistoryLoading, NoSheet, NotYetSet, UnknownRevision
from ratesvc.rates import FIRST_DAY, InForce, Revision, Snapshot
from ratesvc.workdays import ONE_DAY, WorkCalendar, moscow_day


class History:
    """Every held revision by effective date."""

    def __init__(self, calendar: WorkCalendar, revisions: Iterable[Revision] = ()) -> None:
        """`calendar` decides whether a sheet may be missing between two days."""
        self.calendar = calendar
        self.version = 0
        self._days: list[date] = []
        self._revisions: dict[date, dict[int, Revision]] = {}
        for revision in revisions:
            self.add(revision)

    def add(self, revision: Revision) -> None:
        """Hold one more revision, in place of one with the same number."""
        of_day = self._revisions.setdefault(revision.effective_date, {})
        if not of_day:
            insort(self._days, revision.effective_date)
        of_day[revision.number] = revision
        self.version += 1

    def __iter__(self) -> Iterator[Revision]:
        """Every revision, by day and number."""
        for day in self._days:
            yield from (self._revisions[day][number] for number in sorted(self._revisions[day]))

    def __len__(self) -> int:
        """How many revisions are held."""
        return sum(len(of_day) for of_day in self._revisions.values())

    @property
    def newest(self) -> Revision | None:
        """The sheet with the latest effective date; it may be tomorrow's."""
        return self._latest(self._days[-1]) if self._days else None

    def _latest(self, day: date) -> Revision:
        of_day = self._revisions[day]
        return of_day[max(of_day)]

    def of_date(self, effective: date) -> Revision | None:
        """The latest revision of the sheet with exactly this effective date."""
        return self._latest(effective) if effective in self._revisions else None

    def revision(self, effective: date, number: int) -> Revision:
        """One wording of a sheet. Raises UnknownRevision."""
        try:
            return self._revisions[effective][number]
        except KeyError:
            raise UnknownRevision(f"The sheet of {effective} has no revision {number}.") from None

    def _at_or_before(self, day: date) -> Revision | None:
        index = bisect_right(self._days, day)
        return self._latest(self._days[index - 1]) if index else None

    def certain_on(self, day: date) -> Revision | None:
        """The sheet in force on `day`, or None where one may be missing between."""
        found = self._at_or_before(day)
        return found if found and self.calendar.holds(found.effective_date, day) else None

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
        if not self._days:
            raise NoSheet("No sheet of the Bank of Russia has been fetched yet.")
        if day > today:
            expected = self.calendar.effective_date_on_or_before(day)
            raise NotYetSet(day, self.calendar.due_after(expected - ONE_DAY).by)
        found = self._at_or_before(day) if day == today else None
        if found is None:
            raise HistoryLoading(day)
        return found

    def before(self, effective: date) -> Revision | None:
        """The sheet in force the day before this one began, if that is certain."""
        return self.certain_on(effective - ONE_DAY)

    def after(self, effective: date) -> Revision | None:
        """The held sheet that followed this one, if none can be missing between."""
        index = bisect_right(self._days, effective)
        if index == len(self._days):
            return None
        following = self._days[index]
        return self._latest(following) if self.calendar.holds(effective, following - ONE_DAY) else None

    def knows(self, code: str) -> bool:
        """Whether any held sheet has this currency."""
        return any(code in self._latest(day).sheet.by_code for day in reversed(self._days))

    def codes(self) -> set[str]:
        """Every currency of every held sheet."""
        return {code for day in self._days for code in self._latest(day).sheet.by_code}

    def since(self, day: date) -> list[Revision]:
        """The latest revisions with an effective date from `day` on."""
        return [self._latest(held) for held in self._days[bisect_left(self._days, day) :]]


def snapshot(history: History, now: datetime) -> Snapshot:
    """What to show at `now`. Raises NoSheet while no sheet up to today is held."""
    today = moscow_day(now)
    newest = history.newest
    if newest is None:
        raise NoSheet("No sheet of the Bank of Russia has been fetched yet.")
    calendar = history.calendar
    try:
        in_force = history.in_force(today, today)
    except HistoryLoading:
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
    revision = history.in_force(day, seen.today)
    previous = history.before(revision.effective_date)
    if day < seen.today:
        return InForce(day, revision, previous, history.after(revision.effective_date))
    return InForce(day, revision, previous, None, seen.next_expected_at, seen.next_overdue)


def wanted_day(history: History, now: datetime) -> date | None:
    """The day whose sheet a snapshot still lacks: the one in force today, then the one before it."""
    today = moscow_day(now)
    current = history.certain_on(today)
    if current is None:
        # A stale sheet is all the Bank has: asking for today again would only return it once more.
        newest = history.newest
        if newest is not None and newest.effective_date <= today:
            current = newest
        else:
            return today
    day_before = current.effective_date - timedelta(days=1)
    return None if day_before < FIRST_DAY or history.certain_on(day_before) else day_before
