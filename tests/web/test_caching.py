"""How long answers are kept."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import Clock, Serve
from kit import cases
from kit.bank import Bank, sheet, workdays
from kit.dates import FRIDAY, NOON

from ratesvc.domain.history import History
from ratesvc.domain.in_force import on_day
from ratesvc.domain.rates import FIRST_DAY, Revision
from ratesvc.domain.settled import WEEK, Settled
from ratesvc.domain.workdays import ONE_DAY, WorkCalendar
from ratesvc.features.widget.releases import RELEASE
from ratesvc.web import caching
from ratesvc.web.caching import FOR_EVER, RATES, Caching, caching_of, caching_until, unchanging_before


@pytest.mark.parametrize(
    ("left_s", "max_age", "swr"),
    [
        *((None, 60, 600), (661, 60, 600), (660, 60, 599), (61, 60, 0), (60, 59, 0), (1, 0, 0), (0, 0, 0)),
    ],
)
def test_no_answer_is_kept_across_its_next_change(left_s: int | None, max_age: int, swr: int) -> None:
    """max-age and stale-while-revalidate together end one second before the change, stale-if-error before midnight."""
    until = None if left_s is None else NOON + timedelta(seconds=left_s)
    if_error = 86400 if until is None else 12 * 3600 - 1 - max_age
    expected = f"public, max-age={max_age}, stale-while-revalidate={swr}, stale-if-error={if_error}"
    assert RATES.header(NOON, until) == expected
    assert RATES.header(NOON, NOON - timedelta(seconds=5)).startswith("public, max-age=0, stale-while-revalidate=0,")


def test_seconds_are_rounded_down_and_what_never_changes_is_immutable() -> None:
    """An immutable answer ends after a year, or earlier if a change is known."""
    assert RATES.header(NOON, NOON + timedelta(seconds=59.9)).startswith("public, max-age=58, ")
    assert FOR_EVER.header(NOON, None) == "public, max-age=31536000, immutable"
    assert Caching(5, 0, 0, immutable=True).header(NOON, NOON + timedelta(seconds=3)) == "public, max-age=2, immutable"


async def test_each_kind_of_answer_is_kept_as_docs_scale_says(bank: Bank, serve_whole: Serve, clock: Clock) -> None:
    """golden/caching.txt: what may change until a week after its sheet, and what is over at midnight or never."""
    bank.publish(*map(sheet, (FIRST_DAY, date(1992, 7, 3), *workdays(date(2026, 3, 10), 35))))
    clock.advance(hours=5)
    asked = [line.split() for line in cases.questions("caching.txt")]
    kept = {}
    async with serve_whole() as served:
        for moment, path in asked:
            clock.moment = datetime.fromisoformat(f"{moment}+03:00")
            headers = (await served.get(path.format(release=RELEASE)))[1]
            kept[f"{moment} {path}"] = headers["Cache-Control"] + ", dated" * ("Last-Modified" in headers)
    cases.check("caching.txt", kept)


def test_a_day_is_settled_once_the_sheets_around_it_are_known_and_those_before_it_admitted() -> None:
    """Otherwise its `change`, or the days to which it applies, may still come. The first sheet has none before it."""
    wrong = date(2026, 3, 18)
    days = [day for day in workdays(date(2026, 3, 10), 33) if day != wrong]
    history = History(WorkCalendar(), (Revision(sheet(day), 1, NOON) for day in days))
    history.known = replace(history.known, settled=Settled(days[0], days[-1], looked_until=days[-1]))
    service: Any = SimpleNamespace(history=history, clock=lambda: NOON)
    whole = on_day(history, date(2026, 3, 20), NOON)
    first = replace(whole, revision=Revision(sheet(FIRST_DAY), 1, NOON), previous=None)
    for answer, kept in (
        *((whole, caching.SETTLED), (first, caching.SETTLED)),
        *((replace(whole, previous=None), RATES), (replace(whole, following=None), RATES)),
    ):
        assert caching_of(service, answer) == kept
    last = unchanging_before(history, FRIDAY)
    # A sheet may be corrected for a week, and on its last day still.
    assert last == FRIDAY - WEEK - ONE_DAY
    whole_until = ((until, until, ends) for until, ends in ((days[-1], last), (wrong - ONE_DAY, wrong), (wrong, last)))
    # A day that had no look yet may still change.
    for until, looked_until, ends in (*whole_until, (days[-1], days[7], days[7])):
        history.known = replace(history.known, settled=Settled(days[0], until, looked_until=looked_until))
        assert [caching_until(service, day) == RATES for day in (ends - ONE_DAY, ends)] == [False, True]
