from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import compress, count, permutations
from types import FrameType
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit import cases
from kit.bank import sheet
from kit.dates import FRIDAY, SATURDAY, SUNDAY, THURSDAY, TUESDAY

from ratesvc.domain import history as history_py
from ratesvc.domain.columns import Column, Currency, Days, composed, digest
from ratesvc.domain.expected import Known
from ratesvc.domain.history import History
from ratesvc.domain.in_force import in_force, in_revision, on_day, snapshot
from ratesvc.domain.rates import FIRST_DAY, WITHDRAWAL, InForce, Quote, Revision, Sheet
from ratesvc.domain.settled import Settled
from ratesvc.domain.workdays import MOSCOW, ONE_DAY, WorkCalendar
from ratesvc.errors import BeforeHistory, HistoryLoading, NoSheet, NotYetSet, RatesvcError, UnknownRevision
from ratesvc.features.ranges.unit_rates import SeriesParams, series

T = TypeVar("T")
CALENDAR = WorkCalendar()
FETCHED = datetime(2026, 1, 1, tzinfo=UTC)
WEDNESDAY_BEFORE = date(2026, 4, 22)
WEDNESDAY = date(2026, 4, 29)
CODES = {"USD": "R01235", "EUR": "R01239", "UZS": "R01717"}


def dollar(day: date, number: int = 1, value: str = "80.0000", hour: int = 0, code: str = "USD") -> Revision:
    """A revision of a day's sheet, fetched at that hour."""
    quote = Quote(code, "000", CODES["USD"], 1, Decimal(value), "USD")
    return Revision(Sheet(day, (quote,)), number, FETCHED + timedelta(hours=hour))


def holding(*days: date) -> History:
    return History(CALENDAR, map(dollar, days))


def column(code: str, *days: date, nominal: int = 1, cbr_id: str | None = None) -> Column:
    """Backfilled: the value is the number of the day in its month."""
    made = Column(Currency(cbr_id or CODES[code], CODES[code], code, "000", code), FETCHED)
    for day in days:
        made.put(day, nominal, Decimal(day.day))
    return made


def filled(*days: date) -> History:
    """A backfill of dollars from the first to the last of these days."""
    held = History(CALENDAR)
    held.settle(Settled(days[0], days[-1]), [column("USD", *days)])
    return held


def rates(held: History, code: str = "USD") -> dict[date, Decimal]:
    return dict(series(held, code, SeriesParams((code,), Days(WEDNESDAY_BEFORE, WEDNESDAY))))


def seen_meanwhile(look: Callable[[], T], change: Callable[[], object]) -> list[T]:
    """What a thread finds that looks at each step of a change. Answers are written in threads."""
    found, before = list[T](), sys.gettrace()

    def traced(frame: FrameType, *_: object) -> Any:
        if frame.f_code.co_filename == history_py.__file__:
            frame.f_trace_opcodes = True
            found.append(look())
        return traced

    sys.settrace(traced)
    try:
        change()
    finally:
        sys.settrace(before)
    return [*found, look()]


@pytest.mark.parametrize("new", [Revision(sheet(SATURDAY), 1, FETCHED), Revision(Sheet(FRIDAY, ()), 2, FETCHED)])
def test_a_thread_sees_a_day_only_while_all_its_figures_are_there(new: Revision) -> None:
    """When it comes, and when it goes: one with the half of a sheet would be served."""
    held = History(CALENDAR, [Revision(sheet(day), 1, FETCHED) for day in (THURSDAY, FRIDAY)])

    def whole() -> bool:
        return all(column.record(day) for day in held.days for column in held.columns())

    assert set(seen_meanwhile(whole, lambda: held.hold([new]))) == {True}
    assert FRIDAY in held.days or held.days == [THURSDAY]


def test_a_thread_finds_each_revision_with_its_own_figures() -> None:
    """Those of the latest stand in columns, which a correction replaces. A known one is never gone, which is a 404."""
    held = holding(THURSDAY, FRIDAY, SATURDAY)

    def figures() -> tuple[Decimal | None, ...]:
        found = held.of_date(FRIDAY), held.revision_or_withdrawal(FRIDAY, 1), held.revision_or_withdrawal(FRIDAY, 2)
        return tuple(one.sheet.quotes[0].value if one else None for one in found)

    seen: list[object] = [*seen_meanwhile(figures, lambda: held.hold([dollar(FRIDAY, 2, "81")]))]
    assert list(dict.fromkeys(seen)) == [(80, 80, None), (81, 80, 81)]


@pytest.mark.parametrize(("held", "day"), [(filled(THURSDAY, FRIDAY), FRIDAY), (holding(SATURDAY, SUNDAY), SUNDAY)])
def test_a_thread_never_takes_the_sheet_before_a_withdrawn_one_for_certain(held: History, day: date) -> None:
    """A cache would keep that answer for a day. One day is settled, on the other the calendar expects no sheet."""

    def certain() -> date | None:
        found = held.certain_on(day)
        return found.effective_date if found else None

    withdrawal = Revision(Sheet(day, ()), 2, FETCHED, (WITHDRAWAL,))
    assert list(dict.fromkeys(seen_meanwhile(certain, lambda: held.hold([withdrawal])))) == [day, None]


def test_a_withdrawn_day_is_open_whether_its_sheet_was_held_here_or_not() -> None:
    """The series of the settled days lack it. A replica may get the sheet and its withdrawal at once, or only that."""
    came, gone = dollar(FRIDAY), Revision(Sheet(FRIDAY, ()), 2, FETCHED, (WITHDRAWAL,))
    for turns in ([[came], [gone]], [[came, gone]], [[gone]]):
        held = filled(THURSDAY, SATURDAY)
        for revisions in turns:
            held.hold(revisions)
        assert held.certain_on(FRIDAY) is None, turns
        assert held.known.is_complete(Days(FRIDAY, FRIDAY)) is False, turns


def test_a_revision_is_given_as_it_was_held_whatever_the_series_say_later() -> None:
    """Names, order, nominals and bytes are those of its own document; earlier ones keep their figures."""
    first = Revision(sheet(FRIDAY), 1, FETCHED, ("large_move",), b"1")
    others = tuple(replace(quote, nominal=quote.nominal * 10, name=f"{quote.name}s") for quote in first.sheet.quotes)
    second = replace(first, sheet=Sheet(FRIDAY, others[::-1]), number=2, document=b"2", flags=())
    gone = [Revision(sheet(SATURDAY), 1, FETCHED), Revision(Sheet(SATURDAY, ()), 2, FETCHED, (WITHDRAWAL,))]
    newest = Revision(Sheet(SUNDAY, first.sheet.quotes[:12]), 1, FETCHED, (), b"3")
    held, all_of_them = History(CALENDAR), [first, second, *gone, newest]
    held.hold(all_of_them)
    held.settle(Settled(THURSDAY, SATURDAY), [column(code, THURSDAY, FRIDAY, SATURDAY) for code in ("USD", "EUR")])
    assert [held.revision_or_withdrawal(*key) for key in held.own_keys] == all_of_them
    assert held.days == [THURSDAY, FRIDAY, SUNDAY]


def moscow(day: date, clock: str) -> datetime:
    """A moment by a Moscow clock, in UTC as the service passes it."""
    return datetime.fromisoformat(f"{day}T{clock}+03:00").astimezone(UTC)


# In force


def test_a_recording_has_nothing_before_its_first_day() -> None:
    """A demo never gets an earlier sheet, so the day is no gap, and no reader is told to wait for it."""
    held = holding(FRIDAY)
    held.recorded_from = FRIDAY
    for day in (FIRST_DAY, THURSDAY):
        with pytest.raises(BeforeHistory, match="recorded rates begin on 2026-04-24"):
            in_force(held, day, FRIDAY)
    assert in_force(held, FRIDAY, FRIDAY).effective_date == FRIDAY
    assert held.first_loading(Days(FIRST_DAY, FRIDAY)) is None


NEW_YEAR = [date(2025, 12, 25) + timedelta(days=n) for n in range(30)]
"""Days around the twelve on which one sheet holds, with two weekends."""
EFFECTIVE = [day for day in NEW_YEAR if CALENDAR.is_effective_date(day)]
DAY = st.sampled_from(NEW_YEAR)
HELD = st.tuples(*[st.booleans()] * len(EFFECTIVE)).filter(any).map(lambda kept: {*compress(EFFECTIVE, kept)})
CLOCK = st.sampled_from(["00:00", "12:00", "18:00", "23:59:59"])


def outcome(history: History, day: date, now: datetime) -> InForce | RatesvcError:
    try:
        return on_day(history, day, now)
    except RatesvcError as error:
        return error


def one_of(held: set[date], day: date) -> Revision | None:
    return dollar(day) if day in held else None


@given(HELD, DAY, DAY, CLOCK)
def test_a_day_is_never_answered_with_another_days_sheet(held: set[date], day: date, today: date, clock: str) -> None:
    """Whichever sheets are held: its own sheet, with neighbours that are certain, or an error, or today's newest."""
    history, now = holding(*sorted(held)), moscow(today, clock)
    own = CALENDAR.effective_date_on_or_before(day)
    before, after = CALENDAR.effective_date_on_or_before(own - ONE_DAY), CALENDAR.effective_date_after(own)
    found = outcome(history, day, now)
    if min(held) > today:
        assert isinstance(found, NoSheet)
    elif day == today:
        assert found == snapshot(history, now).for_today()
    elif own in held and day < today:
        assert found == InForce(day, dollar(own), one_of(held, before), one_of(held, after))
    elif own in held:
        seen = snapshot(history, now)
        expected = seen.next_due_at, seen.next_overdue
        assert found == InForce(day, dollar(own), one_of(held, before), None, *expected)
    elif day > today:
        assert isinstance(found, NotYetSet)
        eve = own - ONE_DAY
        assert (found.day, found.due_at, found.overdue) == (day, moscow(eve, "18:00"), moscow(eve, "21:00") <= now)
    else:
        assert isinstance(found, HistoryLoading)
        assert f"in force on {day} " in str(found)


@given(HELD, DAY, CLOCK)
def test_today_has_the_newest_sheet_and_says_whether_it_is_its_own(held: set[date], today: date, clock: str) -> None:
    """At midnight the announced sheet comes into force; one that is missing makes today stale from then on."""
    history, now = holding(*sorted(held)), moscow(today, clock)
    if min(held) > today:
        with pytest.raises(NoSheet):
            snapshot(history, now)
        return
    seen, newest = snapshot(history, now), max(day for day in held if day <= today)
    before = CALENDAR.effective_date_on_or_before(newest - ONE_DAY)
    assert (seen.today, seen.in_force, seen.previous) == (today, dollar(newest), one_of(held, before))
    assert seen.announced == (dollar(max(held)) if max(held) > today else None)
    assert seen.stale is (CALENDAR.effective_date_on_or_before(today) not in held)
    assert seen.next_due_at == moscow(CALENDAR.effective_date_after(max(held)) - ONE_DAY, "18:00")


# Now


def held_of(text: str) -> History:
    """`24 25` are documents. `all to 24, complete to 25, 28` is a backfill, and the document of a later day.

    `all to 24, without 25 28` is one, and days of which the Bank has no sheet.
    """
    if not text.startswith("all to "):
        return holding(*(april(day) for day in text.split() if day != "nothing"))
    text, _, absent = text.partition(", without ")
    last, *more = map(april, text.removeprefix("all to ").replace("complete to ", "").split(", "))
    held = filled(FIRST_DAY, last)
    if "complete" in text:
        held.known = replace(held.known, settled=Settled(FIRST_DAY, more.pop(0)))
    for day in more:
        held.hold([dollar(day)])
    if absent:
        assert held.settled
        settled = replace(held.settled, without_a_sheet=frozenset(map(april, absent.split())))
        held.known = replace(held.known, settled=settled)
    return held


def told(question: str) -> str:
    """The snapshot of that moment, and what is missing."""
    days, _, now = question.partition(" at ")
    held, at = held_of(days), moscow(april(now.split()[0]), now.split()[1])
    try:
        seen = snapshot(held, at)
    except NoSheet as error:
        return str(error)
    sheets = [one and str(one.effective_date) for one in (seen.previous, seen.in_force, seen.announced)]
    is_late = {"late": seen.next_late, "overdue": seen.next_overdue, "stale": seen.stale}
    said = [name for name, holds in is_late.items() if holds] + [f"missed {seen.publications_missed}"]
    moments = {"due": seen.next_due_at, "changed": seen.changed_at, "since": seen.since, "until": seen.until}
    times = [f"{name} {moment.astimezone(MOSCOW):%m-%d %H:%M}" for name, moment in moments.items()]
    noted = [f"{' < '.join(map(str, sheets))}: {', '.join([*said, *times])}"]
    if held.settled:
        lacking = " ".join(map(str, held.missing_days(Days(FIRST_DAY, date.max), seen.today))) or "nothing"
        unfetched = held.first_loading(Days(FIRST_DAY, date.max))
        state = f"loading from {unfetched}" if unfetched else "loaded"
        noted.append(f"lacks {lacking}, {state}")
    return "\n".join(noted)


def april(text: str) -> date:
    return date(2026, 4, int(text)) if len(text) == 2 else date.fromisoformat(text)


def test_what_is_said_follows_from_the_days_held_and_the_time() -> None:
    """Every answer about today has the day in it, so it changes at each midnight, also on days off."""
    cases.check("history.txt", {question: told(question) for question in cases.questions("history.txt")})


def test_answers_change_with_what_was_fetched_last() -> None:
    """A correction of an old sheet counts, and so does a backfill, whose columns say when they were fetched."""
    at = moscow(SUNDAY, "12:00")
    held = holding(THURSDAY, FRIDAY, SATURDAY)
    corrected = replace(dollar(THURSDAY, 2, "81"), fetched_at=at)
    held.hold([corrected, replace(dollar(FRIDAY, 2, "82"), fetched_at=at - ONE_DAY)])
    assert snapshot(held, moscow(SUNDAY, "13:00")).changed_at == at
    later = replace(column("USD", THURSDAY, SATURDAY), fetched_at=at + timedelta(minutes=1))
    held.settle(Settled(THURSDAY, SATURDAY), [later])
    assert snapshot(held, moscow(SUNDAY, "13:00")).changed_at == later.fetched_at


# Certainty


JUNE = [date(1997, 6, 10) + timedelta(days=n) for n in range(10)]
JUNE_DAY, JUNE_DAYS = st.sampled_from(JUNE), st.sets(st.sampled_from(JUNE))


@given(JUNE_DAYS, JUNE_DAY, JUNE_DAY, JUNE_DAY)
def test_before_1998_only_settled_days_are_certain(held: set[date], day: date, since: date, until: date) -> None:
    """The calendar proves nothing then: the sheet and the day must lie in it, and no sheet between."""
    newest = max((one for one in held if one <= day), default=None)
    between = {newest + ONE_DAY * number for number in range(1, (day - newest).days + 1)} if newest else set()
    is_certain = all(since <= one <= until for one in between)
    known = Known(sorted(held), (), Settled(since, until), CALENDAR)
    assert known.in_force_on(day) == (newest if is_certain else None)
    assert replace(known, settled=None).in_force_on(day) == (newest if newest == day else None)


def test_a_sheet_is_compared_with_an_earlier_one_at_most_a_month_away_and_never_with_itself() -> None:
    """Beside the sheet that it corrects, a wrong correction would look like an ordinary move."""
    held = holding(THURSDAY, FRIDAY)
    later = [FRIDAY + timedelta(days=days) for days in (1, 31, 32)]
    nearest = [held.nearest_before(day) for day in (THURSDAY, FRIDAY, *later)]
    assert nearest == [None, dollar(THURSDAY), dollar(FRIDAY), dollar(FRIDAY), None]


# What is held

COUNT = count()
"""Each backfill is fetched later than the one before."""
REVISION = re.compile(
    r"(?P<day>\d\d)(\.(?P<number>\d))?(?P<gone>-)?(=(?P<value>\d+))?(@(?P<hour>\d+))?(:(?P<code>\w+))?"
)


def told_of(word: str) -> Revision:
    """`24` is the sheet of that day; `24.2=81@5:USN` has all that a dollar may have. `24.2-` says that it has none."""
    match = REVISION.fullmatch(word)
    assert match
    day, number = april(match["day"]), int(match["number"] or 1)
    made = dollar(day, number, match["value"] or "80", int(match["hour"] or 0), match["code"] or "USD")
    if not match["gone"]:
        return made
    return replace(made, sheet=made.sheet if match["value"] else Sheet(day, ()), flags=(WITHDRAWAL,))


def backfilled(text: str) -> tuple[Settled, list[Column]]:
    """`23..25 but 24: USD 23 24=99/10 25, EUR#B 23`: a coverage and its columns, some under another id of the code."""
    ends, _, tail = text.partition(": ")
    ends, _, opened = ends.partition(" but ")
    columns = []
    for part in tail.split(", "):
        name, *days = part.split()
        code, _, other = name.partition("#")
        columns.append(column(code, cbr_id=CODES[code] + other))
        for word in days:
            day, _, figure = word.partition("=")
            value, _, nominal = figure.partition("/")
            columns[-1].put(april(day), int(nominal or 1), Decimal(value or day))
    since, until = map(april, ends.split(".."))
    settled = Settled(since, until, FETCHED + timedelta(seconds=next(COUNT)), digest(columns))
    return replace(settled, open_days=frozenset(map(april, opened.split()))), columns


def happens(held: History, step: str) -> str:
    """One step; returns which revisions were new."""
    word, _, text = step.partition(" ")
    if word == "fill":
        held.settle(*backfilled(text))
        return ""
    given, _, backfill = text.partition("+ ")
    revisions = list(map(told_of, given.split()))
    if word == "take":
        found = held.hold(revisions)
        if backfill:
            held.settle(*backfilled(backfill))
        return " ".join(f"{one.effective_date.day}.{one.number}" for one in found)
    assert word == "add"
    for one in revisions:
        held.hold([one])
    return ""


def state(held: History) -> Iterator[str]:
    """Days, series, documents with what is withdrawn of them, and days with the sheet of another day, or none."""

    def numbers(days: Iterable[date]) -> str:
        return " ".join(f"{day.day}" for day in days)

    complete = held.settled and f"{held.settled.since.day}..{held.settled.until.day}"
    if held.settled and held.settled.open_days:
        complete = f"{complete} but {numbers(sorted(held.settled.open_days))}"
    yield f"version {held.version}: {numbers(held.days)}, complete {complete}"
    for code in sorted(held.codes()):
        yield f"{code} {' '.join(f'{day.day}={rate.normalize():f}' for day, rate in rates(held, code).items())}"
    for day in sorted(held.latest_own):
        found = [(n, held.revision(day, n)) for n in range(1, 5) if has_revision(held, day, n)]
        withdrawn = [one.number for one in held.withdrawn_revisions(day)]
        shown = " ".join(f"{number}={one.sheet.quotes[0].value.normalize():f}" for number, one in found)
        yield f"document {day.day}: {shown}{f', withdrawn {withdrawn}' if withdrawn else ''}"
    for day in (held.days[0] + n * ONE_DAY for n in range((held.days[-1] - held.days[0]).days + 1)):
        certain = held.certain_on(day)
        if not certain or certain.effective_date != day:
            yield f"on {day.day} {f'that of {certain.effective_date.day}' if certain else 'nobody knows'}"


def has_revision(held: History, day: date, number: int) -> bool:
    try:
        return bool(held.revision(day, number))
    except UnknownRevision:
        return False


def outcome_of(steps: Iterable[str]) -> str:
    held, noted = History(CALENDAR), list[str]()
    for step in steps:
        noted += [f"new {new}"] if (new := happens(held, step)) else []
    return "\n".join([*noted, *state(held)])


def kept(question: str) -> str:
    """What is held after these steps. Of those behind ` | ` every order, and each of them twice, ends in the same."""
    first, _, others = question.partition(" | ")
    steps = [step for step in others.split("; ") if step]
    found = {
        re.sub("(?m)^new .*\n|version [0-9]+: ", "", outcome_of([*first.split("; "), *order, *order]))
        for order in permutations(steps)
        if steps
    } or {outcome_of(first.split("; "))}
    assert len(found) == 1, found
    return found.pop()


def test_what_is_held_follows_from_what_was_taken() -> None:
    """Documents, corrections, withdrawals and backfills, in whatever order a replica learns of them."""
    cases.check("revisions.txt", {question: kept(question) for question in cases.questions("revisions.txt")})


# Revisions


def test_a_revision_is_shown_beside_what_was_known_then() -> None:
    """The sheet before it as it read when this one was fetched, whatever was corrected later."""
    thursdays = [dollar(THURSDAY, n, f"8{n}.0000", hour=10 * n) for n in (1, 2, 3)]
    held = History(CALENDAR, [*thursdays, dollar(SATURDAY, 1, "91.0000")])
    for hour, number in ((9, 1), (10, 1), (19, 1), (20, 2), (29, 2), (30, 3), (99, 3)):
        held.hold([dollar(FRIDAY, 1, "90.0000", hour=hour)])
        usual = on_day(held, FRIDAY, moscow(FRIDAY, "12:00"))
        answer = in_revision(held, usual, 1)
        assert answer.revision == dollar(FRIDAY, 1, "90.0000", hour=hour)
        assert answer.previous == thursdays[number - 1]
        assert usual.following
        assert replace(usual, revision=answer.revision, previous=answer.previous) == answer, "nothing else changes"


def test_a_revision_is_shown_beside_no_sheet_that_was_withdrawn_then() -> None:
    """Friday's sheet was withdrawn when Saturday's was fetched, and came again."""
    withdrawal = Revision(Sheet(FRIDAY, ()), 2, FETCHED + timedelta(hours=1))
    fridays = [dollar(FRIDAY), withdrawal, dollar(FRIDAY, 3, hour=3)]
    saturdays = [dollar(SATURDAY, hour=2), dollar(SATURDAY, 2, hour=4)]
    held = History(CALENDAR, [dollar(THURSDAY), *fridays, *saturdays])
    usual = on_day(held, SATURDAY, moscow(SATURDAY, "12:00"))
    assert [in_revision(held, usual, number).previous for number in (1, 2)] == [None, fridays[-1]]


def test_a_revision_that_stands_in_for_a_missing_sheet_is_stale() -> None:
    """The day's own sheet is missing; the one before it is unknown."""
    held = holding(FRIDAY)
    saturday, friday = (in_revision(held, on_day(held, day, moscow(day, "12:00")), 1) for day in (SATURDAY, FRIDAY))
    assert (saturday.stale, friday.stale, friday.previous) == (True, False, None)


@pytest.mark.parametrize("order", [1, -1])
def test_a_new_currency_is_called_as_in_its_first_sheet(order: int) -> None:
    """In whatever order Redis gives them. The name follows the nominal, and no backfill has brought the Bank's own."""

    def baht(day: date, nominal: int, name: str) -> Revision:
        first = dollar(day)
        quote = Quote("THB", "764", "R01675", nominal, Decimal(20 * nominal), name)
        return replace(first, sheet=Sheet(day, (*first.sheet.quotes, quote)))

    at_once, one_by_one = History(CALENDAR), History(CALENDAR)
    both = [baht(FRIDAY, 10, "ten"), baht(SATURDAY, 1, "one")][::order]
    at_once.hold(both)
    for each in both:
        one_by_one.hold([each])
    one_by_one.settle(Settled(THURSDAY, THURSDAY), [column("USD", THURSDAY)])
    assert {held.columns("THB")[0].currency.name for held in (at_once, one_by_one)} == {"ten"}


def test_a_thread_that_reads_while_a_sheet_is_added_reads_what_was() -> None:
    """Threads render long series: neither days nor figures change under them, and no record is half there."""
    held = holding(THURSDAY, SATURDAY)
    held.settle(Settled(THURSDAY, SATURDAY), held.columns())
    [one], days = held.columns("USD"), held.days
    first, last = one.places(Days(THURSDAY, TUESDAY))
    held.hold([dollar(FRIDAY, value="99.0000")])
    held.hold([dollar(SATURDAY, 2, "99.0000")])
    held.hold([Revision(Sheet(THURSDAY, ()), 2, FETCHED)])
    assert days == [THURSDAY, SATURDAY]
    assert list(map(date.fromordinal, one.days[first:last])) == days
    assert list(one.values[first:last]) == [800_000] * 2
    assert rates(held) == {FRIDAY: 99, SATURDAY: 99}


def test_a_thread_that_reads_column_after_column_has_a_new_day_in_all_of_them_or_in_none() -> None:
    """A table of all currencies is written while a sheet comes."""
    held = History(CALENDAR, [Revision(sheet(day), 1, FETCHED) for day in (THURSDAY, FRIDAY)])
    reading = iter(held.columns())
    read = [next(reading).record(SATURDAY)]
    held.hold([Revision(sheet(SATURDAY), 1, FETCHED)])
    read += [column.record(SATURDAY) for column in reading]
    assert {*read} == {None}
    assert all(column.record(SATURDAY) for column in held.columns())


def test_a_sheet_that_a_thread_composed_from_old_columns_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backfill replaces the columns while a thread composes a sheet of them."""
    held = filled(THURSDAY, FRIDAY)

    def composed_late(columns: Iterable[Column], day: date) -> Revision | None:
        before = composed(columns, day)
        monkeypatch.undo()
        held.settle(Settled(THURSDAY, FRIDAY, digest="other"), [column("USD", THURSDAY, FRIDAY, nominal=10)])
        return before

    monkeypatch.setattr("ratesvc.domain.columns.composed", composed_late)
    held.of_date(THURSDAY)
    revision = held.of_date(THURSDAY)
    assert revision
    assert revision.sheet.by_code["USD"].nominal == 10
