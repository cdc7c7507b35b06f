"""The one door for sheets: what enters memory or the store was admitted here, whichever way it came. Pure.

A sheet without findings is admitted. One with findings needs a second document of the Bank that says the same to the
last digit. A finding that asks for quarantine, such as a slipped decimal point, waits for a person however many
documents agree; for a settled day two documents are enough, since money abroad is really redenominated.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from ratesvc.bank.verdict import Decision, Verdict, judge
from ratesvc.domain.columns import Column, Coverage
from ratesvc.domain.history import History
from ratesvc.domain.rates import Revision, Sheet
from ratesvc.domain.workdays import WorkCalendar

SETTLED = timedelta(days=7)
"""A sheet older than this is settled: what the Bank now says of it, it has said for a week."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """A sheet that may be served; `flags` are the kinds of its findings."""

    sheet: Sheet
    flags: tuple[str, ...] = ()

    def revision(self, number: int, fetched_at: datetime, raw: bytes) -> Revision:
        """The sheet with its provenance: `raw` is the Bank's document, `fetched_at` is UTC."""
        return Revision(self.sheet, number, fetched_at, self.flags, zlib.compress(raw, 9))


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A sheet that waits for a person, and why."""

    sheet: Sheet
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """A sheet that needs a second document, and why."""

    sheet: Sheet
    verdict: Verdict

    def beside(self, second: Sheet) -> Admitted | Quarantined:
        """What becomes of it beside a second document of the same day."""
        if second.says_the_same_as(self.sheet):
            return Admitted(self.sheet, self.verdict.flags)
        return self.refused()

    def refused(self) -> Quarantined:
        """What becomes of it when no second document can be had, or the first one changes."""
        return Quarantined(self.sheet, self.verdict)


Admission = Admitted | Unconfirmed | Quarantined


def admit(
    sheet: Sheet, predecessor: Sheet | None, held: Sheet | None = None, *, settled: bool = False, released: bool = False
) -> Admission:
    """Decide about one sheet beside the one before it and what is held of its own day.

    `settled` says that its day is long past, `released` that a person vouches for it.
    """
    verdict = judge(sheet, predecessor, held)
    if released:
        return Admitted(sheet, (*verdict.flags, "released"))
    if verdict.decision is Decision.ACCEPT:
        return Admitted(sheet, verdict.flags)
    if verdict.decision is Decision.QUARANTINE and not settled:
        return Quarantined(sheet, verdict)
    return Unconfirmed(sheet, verdict)


def is_settled(effective: date, today: date, newest: date | None) -> bool:
    """Whether the sheet is long past: a week old, and not the `newest` that is held."""
    return newest is not None and effective < min(today - SETTLED, newest)


def admit_from_history(history: History, effective: date, *, settled: bool = True) -> Admission | None:
    """Decide about a sheet that is composed from columns; None for a day without one, or with a document of its own."""
    found = history.of_date(effective)
    if found is None or history.has_document(effective):
        return None
    before = history.nearest_before(effective)
    return admit(found.sheet, before.sheet if before else None, settled=settled)


def suspect_days(history: History, days: Iterable[date]) -> list[date]:
    """The days whose composed sheets have findings beside the ones before them; 7,000 sheets take about two seconds."""
    return [day for day in days if isinstance(admit_from_history(history, day), Unconfirmed)]


# What an older version stored


@dataclass(frozen=True, slots=True)
class Reassessed:
    """What is left of a store that a version without this door has written.

    `kept` are the revisions that are admitted, `refused` the others with their reasons; `coverage` lists the days whose
    composed sheets are not admitted, and is None where no sheet is.
    """

    kept: tuple[Revision, ...] = ()
    refused: tuple[tuple[Revision, Verdict], ...] = ()
    coverage: Coverage | None = None


def reassess(
    calendar: WorkCalendar,
    admitted: Iterable[Revision],
    stored: Iterable[Revision],
    columns: Iterable[Column],
    coverage: Coverage | None,
) -> Reassessed:
    """Assess once what was stored without admission, beside what was `admitted`.

    A revision that was confirmed or released has its findings among its flags. `columns` are the reader's own copies.
    """
    scratch = History(calendar)
    if coverage:
        scratch.fill([column.copy() for column in columns], coverage)
        for day in [] if coverage.assessed else [day for day in scratch.days if day in coverage]:
            # Each beside what is left of those before it: a mistake may last for days, and the day after it is right.
            if suspect_days(scratch, [day]):
                scratch.hold_back(day)
    for revision in admitted:
        scratch.add(revision)
    kept, refused = [], []
    for revision in sorted(stored, key=lambda one: one.key):
        verdict = _unexplained(scratch, revision)
        if verdict.decision is Decision.ACCEPT:
            scratch.add(revision)
            kept.append(revision)
        else:
            refused.append((revision, verdict))
            _hold_back_the_same(scratch, revision)
    left = scratch.coverage
    if left and not any(day in left for day in scratch.days):
        left = None
    return Reassessed(tuple(kept), tuple(refused), left and replace(left, assessed=True))


def _hold_back_the_same(history: History, refused: Revision) -> None:
    """Columns that say what was refused are not admitted on that day either."""
    day = refused.effective_date
    composed = None if history.has_document(day) else history.of_date(day)
    if composed and composed.sheet.says_the_same_as(refused.sheet):
        history.hold_back(day)


def _unexplained(history: History, revision: Revision) -> Verdict:
    """The findings of a stored revision that nobody has confirmed or released."""
    if "released" in revision.flags:
        return Verdict()
    before = history.nearest_before(revision.effective_date)
    verdict = judge(revision.sheet, before.sheet if before else None)
    return Verdict(tuple(remark for remark in verdict.remarks if remark.kind not in revision.flags))
