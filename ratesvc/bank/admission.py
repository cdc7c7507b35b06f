"""The one door for sheets: what enters memory or the store was admitted here, whichever way it came. Pure.

A sheet without findings is admitted. One with findings needs a second document of the Bank that says the same to the
last digit. A finding that asks for quarantine, such as a slipped decimal point, waits for a person however many
documents agree; for a settled day two documents are enough, since money abroad is really redenominated.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from ratesvc.domain.columns import Column, Coverage
from ratesvc.domain.history import History
from ratesvc.domain.rates import EXACT, FIRST_DAY, OLD_IN_NEW, ONE, REDENOMINATION, Revision, Sheet, rounded, unrounded
from ratesvc.domain.workdays import WorkCalendar
from ratesvc.errors import BadDocument

LARGEST_MOVE = Decimal("0.15")
FEWEST_LOST = 2

PEGS = {
    ("USD", "AED"): (Decimal("3.6725"), Decimal("0.005")),
    ("USD", "SAR"): (Decimal("3.75"), Decimal("0.005")),
    ("USD", "QAR"): (Decimal("3.64"), Decimal("0.005")),
    ("USD", "OMR"): (Decimal("0.3845"), Decimal("0.005")),
    ("USD", "BHD"): (Decimal("0.376"), Decimal("0.005")),
    ("USD", "HKD"): (Decimal("7.82"), Decimal("0.01")),
    ("EUR", "DKK"): (Decimal("7.46"), Decimal("0.04")),
}
"""Neighbours that are tied to each other: what one costs in the other, and the relative distance that is usual.

Seen are 0.02 % in the Gulf, −0.9 to +0.4 % in Hong Kong. The Bank's euro and krone came from different markets in
2022 and later: up to 2.4 % apart on 99 days of 100.
"""


MOVES = frozenset({"power_of_ten", "large_move"})
"""The kinds of findings about one currency beside itself; others are about two beside each other."""


class Decision(StrEnum):
    """What is to happen to a sheet."""

    ACCEPT = "accept"
    CONFIRM = "confirm"
    QUARANTINE = "quarantine"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule noticed: its `kind`, which is also the flag of the sheet, a text, and whose rows it is about."""

    kind: str
    decision: Decision
    text: str
    codes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Assessment:
    """What all rules together say."""

    findings: tuple[Finding, ...] = ()

    @property
    def decision(self) -> Decision:
        """The strictest of the findings' decisions."""
        found = {finding.decision for finding in self.findings}
        return next((one for one in (Decision.QUARANTINE, Decision.CONFIRM) if one in found), Decision.ACCEPT)

    @property
    def reason(self) -> str:
        """The kind of the first finding that decided; empty without one."""
        return next((finding.kind for finding in self.findings if finding.decision is self.decision), "")

    @property
    def flags(self) -> tuple[str, ...]:
        """Each kind once."""
        return tuple(dict.fromkeys(finding.kind for finding in self.findings))

    @property
    def suspects(self) -> frozenset[str]:
        """The currencies that moved strangely; where none did, both of each strange pair: nothing tells which."""
        moved = (finding for finding in self.findings if finding.kind in MOVES)
        by_themselves = frozenset(code for finding in moved for code in finding.codes)
        return by_themselves or frozenset(code for finding in self.findings for code in finding.codes)


def assess(sheet: Sheet, before: Sheet | None, held: Sheet | None = None) -> Assessment:
    """Apply every rule. `before` is an earlier sheet not far away, `held` what is held of the same effective date.

    Where there is no earlier one, a correction is compared with what it corrects.
    """
    findings = [*_off_peg(sheet)]
    if held and not held.says_the_same_as(sheet):
        findings.append(Finding("corrected", Decision.CONFIRM, "other figures than those held for the same date"))
    if earlier := before or held:
        ratios = _ratios(sheet, earlier)
        findings += [*_lost(sheet, earlier), *_moved(ratios), *_equal(sheet, earlier)]
    if before and before.says_the_same_as(sheet):
        findings.append(Finding("frozen", Decision.ACCEPT, f"the very figures of {before.effective_date}"))
    return Assessment(tuple(findings))


def _ratios(sheet: Sheet, before: Sheet) -> dict[str, Decimal]:
    """How many times its earlier unit rate each common currency costs, in the same roubles."""
    redenominated = before.effective_date < REDENOMINATION <= sheet.effective_date
    roubles = Decimal(OLD_IN_NEW) if redenominated else ONE
    return {
        quote.code: unrounded(EXACT.multiply(quote.unit_rate, roubles), before.by_code[quote.code].unit_rate)
        for quote in sheet.quotes
        if quote.code in before.by_code
    }


def _lost(sheet: Sheet, before: Sheet) -> Iterator[Finding]:
    lost = tuple(sorted(before.by_code.keys() - sheet.by_code.keys()))
    if len(lost) > max(FEWEST_LOST, len(before.quotes) // 10):
        text = f"{len(lost)} of {len(before.quotes)} currencies are gone: {_listed(lost)}"
        yield Finding("shrunk", Decision.QUARANTINE, text)


def _moved(ratios: dict[str, Decimal]) -> Iterator[Finding]:
    shifted = {code: zeros for code, ratio in ratios.items() if (zeros := _zeros(ratio))}
    if shifted:
        text = "; ".join(f"{code} ×10^{zeros}" for code, zeros in sorted(shifted.items())[:8])
        yield Finding("power_of_ten", Decision.QUARANTINE, text, tuple(shifted))
    if not ratios:
        return
    median = sorted(ratios.values())[len(ratios) // 2]
    if not _is_near(median, ONE, LARGEST_MOVE):
        yield Finding("large_move", Decision.CONFIRM, f"all currencies moved by {_percent(median)}")
    alone = tuple(
        code
        for code, ratio in sorted(ratios.items())
        if not _is_near(ratio, ONE, LARGEST_MOVE) and not _is_near(ratio, median, LARGEST_MOVE)
    )
    if alone:
        text = "; ".join(f"{code} alone moved by {_percent(ratios[code])}" for code in alone[:8])
        yield Finding("large_move", Decision.CONFIRM, text, alone)


def _zeros(ratio: Decimal) -> int:
    """The k of a move by about 10^k, which no market makes; 0 for any other."""
    below = ratio.adjusted()
    return next((k for k in (below, below + 1) if _is_near(ratio, ONE.scaleb(k), LARGEST_MOVE)), 0)


def _equal(sheet: Sheet, before: Sheet) -> Iterator[Finding]:
    """Currencies that suddenly cost the same: a row was copied over another."""
    seen: dict[Decimal, str] = {}
    for quote in sheet.quotes:
        other = seen.setdefault(quote.unit_rate, quote.code)
        if other != quote.code and not _cost_the_same(before, quote.code, other):
            text = f"{other} and {quote.code} cost the same"
            yield Finding("equal_rates", Decision.CONFIRM, text, (other, quote.code))


def _cost_the_same(sheet: Sheet, one: str, other: str) -> bool:
    rows = sheet.by_code
    return one in rows and other in rows and rows[one].unit_rate == rows[other].unit_rate


def _off_peg(sheet: Sheet) -> Iterator[Finding]:
    rows = sheet.by_code
    for (base, pegged), (usual, distance) in PEGS.items():
        if base in rows and pegged in rows:
            rate = rounded(rows[base].unit_rate, rows[pegged].unit_rate, significant=6)
            if not _is_near(rate, usual, distance):
                text = f"{base} costs {rate} {pegged}, usually {usual}"
                yield Finding("off_peg", Decision.CONFIRM, text, (base, pegged))


def _is_near(ratio: Decimal, usual: Decimal, distance: Decimal) -> bool:
    return abs(EXACT.subtract(ratio, usual)) <= EXACT.multiply(usual, distance)


def _percent(ratio: Decimal) -> str:
    return f"{rounded(EXACT.multiply(EXACT.subtract(ratio, ONE), Decimal(100)), places=1):+f} %"


def _listed(codes: tuple[str, ...]) -> str:
    return ", ".join(codes[:12]) + (" …" if len(codes) > 12 else "")


EURO_STARTS = date(1999, 1, 1)
FEWEST_ROWS = 10


def check_sheet(sheet: Sheet, today: date, *, fewest_rows: int = FEWEST_ROWS) -> None:
    """The rules that need no other sheet. `today` is Moscow's. Raises BadDocument."""
    if sheet.effective_date > today + timedelta(days=1):
        raise BadDocument("date", f"effective {sheet.effective_date}, later than tomorrow")
    if sheet.effective_date < FIRST_DAY:
        raise BadDocument("date", f"effective {sheet.effective_date}, before the first official rate")
    if len(sheet.quotes) < fewest_rows:
        raise BadDocument("rows", f"{len(sheet.quotes)} rows, fewer than {fewest_rows}")
    for name in ("code", "numeric_code", "cbr_id"):
        _check_unique(name, (getattr(quote, name) for quote in sheet.quotes))
    core = {"USD", "EUR"} if sheet.effective_date >= EURO_STARTS else {"USD"}
    if missing := core - sheet.by_code.keys():
        raise BadDocument("core", f"{', '.join(sorted(missing))} is missing")


def _check_unique(name: str, found: Iterable[str]) -> None:
    for what, count in Counter(found).items():
        if count > 1:
            raise BadDocument("duplicate", f"{name} {what} stands {count} times")


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
    assessment: Assessment


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """A sheet that needs a second document, and why."""

    sheet: Sheet
    assessment: Assessment

    def beside(self, second: Sheet) -> Admitted | Quarantined:
        """What becomes of it beside a second document of the same day."""
        if second.says_the_same_as(self.sheet):
            return Admitted(self.sheet, self.assessment.flags)
        return self.refused()

    def refused(self) -> Quarantined:
        """What becomes of it when no second document can be had, or the first one changes."""
        return Quarantined(self.sheet, self.assessment)


Admission = Admitted | Unconfirmed | Quarantined


def admit(
    sheet: Sheet, predecessor: Sheet | None, held: Sheet | None = None, *, settled: bool = False, released: bool = False
) -> Admission:
    """Decide about one sheet beside the one before it and what is held of its own day.

    `settled` says that its day is long past, `released` that a person vouches for it.
    """
    assessment = assess(sheet, predecessor, held)
    if released:
        return Admitted(sheet, (*assessment.flags, "released"))
    if assessment.decision is Decision.ACCEPT:
        return Admitted(sheet, assessment.flags)
    if assessment.decision is Decision.QUARANTINE and not settled:
        return Quarantined(sheet, assessment)
    return Unconfirmed(sheet, assessment)


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
    refused: tuple[tuple[Revision, Assessment], ...] = ()
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
        assessment = _unexplained(scratch, revision)
        if assessment.decision is Decision.ACCEPT:
            scratch.add(revision)
            kept.append(revision)
        else:
            refused.append((revision, assessment))
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


def _unexplained(history: History, revision: Revision) -> Assessment:
    """The findings of a stored revision that nobody has confirmed or released."""
    if "released" in revision.flags:
        return Assessment()
    before = history.nearest_before(revision.effective_date)
    assessment = assess(revision.sheet, before.sheet if before else None)
    return Assessment(tuple(finding for finding in assessment.findings if finding.kind not in revision.flags))
