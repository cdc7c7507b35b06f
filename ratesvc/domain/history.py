"""Every held sheet: revisions over columns, one way to hold them and one to read a day. Pure."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import lru_cache, partial
from itertools import groupby, pairwise
from operator import attrgetter

from ratesvc.domain.columns import Column, Days, bare, differing, latest_with_figures, sheet_days, updated
from ratesvc.domain.expected import Known
from ratesvc.domain.rates import FIRST_DAY, Revision
from ratesvc.domain.revisions import add, standing_and_withdrawn
from ratesvc.domain.settled import Settled
from ratesvc.domain.workdays import LONG_AGO, ONE_DAY, RULE_SINCE, WorkCalendar
from ratesvc.errors import UnknownRevision

MOST_COMPOSED = 100
NEAR = timedelta(days=31)
"""A month: sheets are compared with those so near, and so many days at least are settled at once."""


class History:
    """Every held sheet, in columns. Some days also have revisions of their own, which the series alone do not say.

    These are daily documents, withdrawals, and figures of the series with flags. What is given for a day with

    | | series only | own revisions | its only sheet withdrawn |
    |---|---|---|---|
    | `days`, `of_date` | number 1 | the latest | no; it is one of the `withdrawn_days` |
    | `latest_or_withdrawal` | number 1 | the latest | the withdrawal, which has no quotes |
    | `own_revisions`, `own_keys` | nothing | all | all, also the withdrawal |

    Threads: the loop's thread writes. Those that render, the Look's and the client's parser (`Refresher._parsed`) read
    meanwhile. So what they read is replaced, never changed. `known` is one value: a settled day that is neither held
    nor open has no sheet, and a thread that saw new settled days beside old `days` would give readers the sheet before.
    """

    def __init__(self, calendar: WorkCalendar, revisions: Iterable[Revision] = ()) -> None:
        """Outside of the settled days `calendar` says which sheets are expected."""
        self.calendar = calendar
        self.recorded_from: date | None = None
        """The first day of a recording, which is all that the service can have."""
        self.version, self.fetched_at = 0, LONG_AGO
        """A number that grows with each change; when the latest of the revisions and columns was fetched."""
        self.known = Known([], (), None, calendar)
        """Which sheets are held and which are expected."""
        self.latest_own: dict[date, Revision] = {}
        """By day, the latest of its own revisions; its figures are in the columns."""
        self.earlier_own: dict[date, dict[int, Revision]] = {}
        """By day and number, those before it, with their figures."""
        self.on_change: Callable[[list[Revision]], None] | None = None
        """Gets the revisions that were not held, after each change."""
        self._by_code: tuple[Mapping[str, Column], list[Column]] = {}, []
        self._replace({}, {}, self.known)
        self.hold(revisions)

    @property
    def days(self) -> list[date]:
        """The effective dates of held sheets, oldest first."""
        return self.known.days

    @property
    def withdrawn_days(self) -> tuple[date, ...]:
        """The days whose only sheet was withdrawn, oldest first."""
        return self.known.withdrawn

    @property
    def settled(self) -> Settled | None:
        """The settled days, if there are any."""
        return self.known.settled

    # What is held

    def hold(self, revisions: Iterable[Revision]) -> list[Revision]:
        """Hold what was admitted here or by another replica; returns the revisions that were not held.

        Threads may read between any two steps. So a day that loses its sheet is known to be missing first. Then what
        was the latest revision becomes an earlier one, because they may ask for its number meanwhile. Then the figures
        change, and at last a day that comes is known.
        """
        new = [one for one in revisions if self.own_revisions(one.effective_date).get(one.number) != one]
        if not new:
            return new
        # By day, and the oldest first: a column that the backfill has not made is called as in the first of its sheets.
        new.sort(key=attrgetter("key"))
        by_day = groupby(new, attrgetter("effective_date"))
        numbered = {day: self._own_revisions_with(given, day) for day, given in by_day}
        # Only the last of a day's revisions is in the columns: it may withdraw the others, which have their figures.
        latest = {day: numbers[max(numbers)] for day, numbers in numbered.items()}
        others = {day: {n: one for n, one in numbers.items() if n < max(numbers)} for day, numbers in numbered.items()}
        columns, days = updated(self._columns, self.days, latest.values())
        lost = {day for day, revision in latest.items() if not revision.sheet.quotes and self.known.has(day)}
        if lost:
            self.known = self.known.without(lost)
        self.earlier_own = self.earlier_own | {day: numbers for day, numbers in others.items() if numbers}
        latest_own = self.latest_own | {day: bare(revision) for day, revision in latest.items()}
        withdrawn = tuple(sorted(day for day, one in latest_own.items() if not one.sheet.quotes))
        self._replace(columns, latest_own, replace(self.known, days=days, withdrawn=withdrawn))
        self._changed(new, (one.fetched_at for one in new))
        return new

    def forget(self) -> list[Revision]:
        """Hold nothing any more, before anything is settled; returns every own revision that was held.

        Nobody is told: the caller holds others at once.
        """
        forgotten = [one for key in self.own_keys if (one := self.revision_or_withdrawal(*key))]
        self.earlier_own = {}
        self._replace({}, {}, Known([], (), None, self.calendar))
        return forgotten

    def settle(self, settled: Settled, columns: Iterable[Column] = ()) -> None:
        """Hold the series of the settled days, if they outrank those that are settled here; else only learn from them.

        A day's own revisions take precedence.
        """
        if not settled.outranks(self.settled):
            # That the Bank has no sheet of a day is true beside any figures.
            self.learn(settled)
            return
        merged, days = self._series_below_own(columns, settled)
        settled = settled.merged(self.settled) if self.settled else settled
        self._replace(merged, self.latest_own, replace(self.known, days=days, settled=settled))
        self._changed([], (column.fetched_at for column in merged.values()))

    def _series_below_own(self, columns: Iterable[Column], settled: Settled) -> tuple[Mapping[str, Column], list[date]]:
        """Columns by id, and the days of their sheets: the series of the settled days, and what takes precedence."""
        columns = [*columns]
        # Records outside of the settled days make no sheet: a backfill that was cut off may have left them.
        days = [day for day in sheet_days(columns, settled) if day not in settled.open_days]
        ordinals = array("i", map(date.toordinal, days))
        series = {column.currency.cbr_id: column.with_only(ordinals) for column in columns}
        own = sorted(self.latest_own)
        first, last = bisect_left(own, settled.since), bisect_right(own, settled.until)
        # What the series must not decide: open days, own revisions outside of their range, and those inside that say
        # something else. Most say the same, and to put them all would block the event loop.
        different = differing(self._columns, series, own[first:last])
        on_top = {*settled.open_days, *own[:first], *different, *own[last:]}
        return updated(series, days, filter(None, map(self.latest_or_withdrawal, sorted(on_top))))

    def learn(self, settled: Settled) -> None:
        """Take what was learned about the settled days: their figures stay."""
        before = self.settled
        self.known = replace(self.known, settled=before and before.merged(settled))
        if self.settled != before:
            self._changed([], ())

    def _replace(self, columns: Mapping[str, Column], latest_own: dict[date, Revision], known: Known) -> None:
        """Replace all that is held: figures first, so that each day that is known has them.

        The cache is a new one: a thread may still compose an old sheet for the old one.
        """
        self._latest = lru_cache(MOST_COMPOSED)(partial(latest_with_figures, columns, latest_own))
        self._columns, self.latest_own = columns, latest_own
        self.known = known

    def _changed(self, new: list[Revision], fetched: Iterable[datetime]) -> None:
        self.version += 1
        self.fetched_at = max([self.fetched_at, *fetched])
        if self.on_change:
            self.on_change(new)

    def _own_revisions_with(self, given: Iterable[Revision], day: date) -> dict[int, Revision]:
        """A day's own revisions by number, with the given ones."""
        numbers, first = self.own_revisions(day), next(given := iter(given))
        series = self.of_date(day) if first.number > 1 and not numbers else None
        if series and not series.sheet.says_the_same_as(first.sheet):
            # The series were number 1. Only the columns have their figures, and are about to change.
            numbers[series.number] = series
        for revision in (first, *given):
            add(numbers, revision)
        return numbers

    @property
    def own_keys(self) -> list[tuple[date, int]]:
        """Day and number of every own revision of any day, in order."""
        earlier = [(day, number) for day, numbers in self.earlier_own.items() for number in numbers]
        return sorted([*earlier, *(latest.key for latest in self.latest_own.values())])

    def own_revisions(self, day: date) -> dict[int, Revision]:
        """A day's own revisions by number."""
        latest = self.latest_or_withdrawal(day) if day in self.latest_own else None
        return {**self.earlier_own.get(day, {}), **({latest.number: latest} if latest else {})}

    @property
    def newest(self) -> Revision | None:
        """The sheet with the latest effective date; it may be tomorrow's."""
        return self.of_date(self.days[-1]) if self.days else None

    def latest_or_withdrawal(self, day: date) -> Revision | None:
        """The latest revision of a day, also if it says that the day has no sheet any more."""
        return self._latest(day)

    def of_date(self, effective: date) -> Revision | None:
        """The sheet with exactly this effective date, in its latest revision."""
        latest = self.latest_or_withdrawal(effective)
        return latest if latest and latest.sheet.quotes else None

    def next_number(self, day: date) -> int:
        """The number of that day's next revision."""
        latest = self.latest_or_withdrawal(day)
        return latest.number + 1 if latest else 1

    def revision_or_withdrawal(self, day: date, number: int) -> Revision | None:
        """One revision of a day, also if it says that the day has no sheet any more."""
        latest = self.latest_or_withdrawal(day)
        return latest if latest and latest.number == number else self.earlier_own.get(day, {}).get(number)

    def standing_revisions(self, day: date) -> list[Revision]:
        """The revisions of a day that were not withdrawn, oldest first. The last one counts."""
        return standing_and_withdrawn(self._revisions(day))[0]

    def withdrawn_revisions(self, day: date) -> list[Revision]:
        """The revisions of a day that were withdrawn and not released since."""
        return standing_and_withdrawn(self._revisions(day))[1]

    def _revisions(self, day: date) -> Iterable[Revision]:
        return self.own_revisions(day).values() or filter(None, [self.of_date(day)])

    def revision(self, effective: date, number: int) -> Revision:
        """One revision of a sheet. Raises UnknownRevision."""
        found = self.revision_or_withdrawal(effective, number)
        if found is None or not found.sheet.quotes:
            raise UnknownRevision(f"The sheet of {effective} has no revision {number}.")
        return found

    # What is in force, and what is missing

    @property
    def begins(self) -> date:
        """The first day that can have rates."""
        return self.recorded_from or FIRST_DAY

    def certain_on(self, day: date) -> Revision | None:
        """The sheet in force on `day`, or None if a sheet may be missing before it."""
        found = self.known.in_force_on(day)
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
        following = next(iter(self.days[bisect_right(self.days, effective) :]), None)
        is_next = following and self.known.is_complete(Days(effective + ONE_DAY, following - ONE_DAY))
        return self.of_date(following) if following and is_next else None

    @property
    def _loaded_from(self) -> date:
        """The first day that need not wait for the series: the first settled one.

        While nothing is settled it is the first sheet after the last gap of a month: those before it came one by one.
        """
        if self.settled:
            return self.settled.since
        gaps = (late for early, late in pairwise(self.days) if late - early > NEAR)
        return max(gaps, default=next(iter(self.days), date.max))

    def first_loading(self, days: Days) -> date | None:
        """The first of these days whose sheets only the series can bring; None if all may be read now."""
        since = max(days.since, self.begins)
        return since if since < self._loaded_from and since <= days.until else None

    def missing_days(self, days: Days, today: date) -> list[date]:
        """The days of a range whose sheets are expected up to today and not held; oldest first."""
        since = max(days.since, self._loaded_from)
        if not self.settled:
            # Of the days before the calendar's rule only the series can say which had a sheet.
            since = max(since, RULE_SINCE)
        until = min(days.until, max([today, *self.days[-1:]]))
        return list(self.known.missing(Days(since, until)))

    # Series

    def columns(self, code: str | None = None) -> list[Column]:
        """The columns of a currency, or all, earliest first; empty ones are left out.

        An id that had several codes has a column for each.
        """
        of, parts = self._by_code
        if of is not self._columns:
            # Other threads may do the same for the columns before these, so what is returned is not read from there.
            of = self._columns
            found = [part for column in of.values() if column.days for part in column.by_code()]
            parts = sorted(found, key=attrgetter("age"))
            self._by_code = of, parts
        return [column for column in parts if code in (None, column.currency.code)]

    def every_column(self) -> list[Column]:
        """The one column of each id, also the empty ones of ids for which the Bank has no records."""
        return list(self._columns.values())

    def days_with(self, cbr_id: str, days: Days) -> list[date]:
        """The days of a range that have a record of this id."""
        column = self._columns.get(cbr_id)
        return [date.fromordinal(day) for day in column.days[slice(*column.places(days))]] if column else []

    def codes(self) -> set[str]:
        """Every currency of every held sheet."""
        return {column.currency.code for column in self.columns()}
