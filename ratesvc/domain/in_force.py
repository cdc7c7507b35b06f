"""What applies on a day, seen from a moment: the sheet in force, how certain it is, and what comes next. Pure."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace
from datetime import UTC, date, datetime

from ratesvc.domain.columns import Days
from ratesvc.domain.history import History
from ratesvc.domain.rates import InForce, Revision, Snapshot
from ratesvc.domain.workdays import due_at, moscow_day, overdue_at
from ratesvc.errors import BeforeHistory, HistoryLoading, NoSheet, NotYetSet


def in_force(history: History, day: date, today: date) -> Revision:
    """The sheet that the law applies on `day`, seen from `today`.

    Once any sheet up to today is held, today has an answer. Raises NoSheet, BeforeHistory, NotYetSet for a day to come
    and HistoryLoading for a past day.
    """
    if day < history.begins:
        raise BeforeHistory(day, history.recorded_from)
    if certain := history.certain_on(day):
        return certain
    if not history.days:
        raise NoSheet("No sheet of the Bank of Russia has been fetched yet.")
    if day > today:
        raise NotYetSet(day, due_at(history.calendar.effective_date_on_or_before(day)))
    index = bisect_right(history.days, day)
    found = history.of_date(history.days[index - 1]) if index and day == today else None
    if found is None:
        since = history.days[index - 1] if index else history.begins
        raise HistoryLoading(day, next(reversed(history.missing_days(Days(since, day), today)), None))
    return found


def snapshot(history: History, now: datetime) -> Snapshot:
    """What to show at `now`. Raises NoSheet while no sheet up to today is held."""
    today, calendar = moscow_day(now), history.calendar
    try:
        current = in_force(history, today, today)
    except (HistoryLoading, BeforeHistory):
        raise NoSheet("Only a sheet for a later day is held; today's is being fetched.") from None
    newest = history.newest or current
    next_due_at, missed, since, until = calendar.awaited(history.known.awaited_after, now)
    return Snapshot(
        today=today,
        in_force=current,
        previous=history.before(current.effective_date),
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
    """What applies on any day. Raises what `in_force` raises."""
    seen = snapshot(history, now)
    if day == seen.today:
        return seen.for_today()
    try:
        revision = in_force(history, day, seen.today)
    except NotYetSet as error:
        is_overdue = overdue_at(history.calendar.effective_date_on_or_before(day)) <= now
        raise NotYetSet(day, error.due_at, overdue=is_overdue) from None
    previous = history.before(revision.effective_date)
    if day < seen.today:
        return InForce(day, revision, previous, history.after(revision.effective_date))
    return InForce(day, revision, previous, None, seen.next_due_at, seen.next_overdue)


def in_revision(history: History, answer: InForce, number: int) -> InForce:
    """The same answer in another revision of its sheet. Raises UnknownRevision.

    The previous sheet is shown as it was known when the revision was fetched, whatever was corrected later.
    """
    revision, previous = history.revision(answer.revision.effective_date, number), answer.previous
    if previous:
        numbers = history.own_revisions(previous.effective_date) or {previous.number: previous}
        known = [n for n, held in numbers.items() if held.fetched_at <= revision.fetched_at]
        then = numbers[max(known, default=min(numbers))]
        # None if it was withdrawn at that time.
        previous = then if then.sheet.quotes else None
    return replace(answer, revision=revision, previous=previous)
