"""The rules of admission. Every daily document is assessed by them before memory may use it. Pure.

A sheet without findings is admitted. A sheet with findings needs a second document of the Bank with the same digits.
If a finding asks for quarantine, as a slipped decimal point does, it waits for a person even if two documents agree.
After a week the Bank's series say what the sheet is, because money abroad is really redenominated.

Rules compare unit rates. None refuses a sheet for the size of a move alone: the Bank's own days moved by +27 % (1994)
and −24 % (1998), and one currency by −48 % (2017). Limits come from the recorded history (docs/operating.md).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Self

from ratesvc.domain.history import NEAR, History
from ratesvc.domain.rates import (
    EXACT,
    FIRST_DAY,
    OLD_IN_NEW,
    ONE,
    REDENOMINATION,
    Quote,
    Revision,
    Sheet,
    rounded,
    unrounded,
)
from ratesvc.errors import BadDocument

EURO_STARTS = date(1999, 1, 1)
DAILY_SINCE = date(2010, 1, 1)
"""Until 2009 the Bank set some 17 currencies once a month. Their daily documents lack them; the series have them."""
FEWEST_ROWS = 10
FEWEST_LOST = 2
REGULAR = 3
"""A currency is regular if each of so many sheets before had it."""
LARGEST_MOVE = Decimal("0.15")
MOVES = frozenset({"power_of_ten", "large_move"})
"""Findings that compare one currency with itself. The others compare two currencies."""

PEGS = {
    ("USD", "AED"): (Decimal("3.6725"), Decimal("0.005")),
    ("USD", "SAR"): (Decimal("3.75"), Decimal("0.005")),
    ("USD", "QAR"): (Decimal("3.64"), Decimal("0.005")),
    ("USD", "OMR"): (Decimal("0.3845"), Decimal("0.005")),
    ("USD", "BHD"): (Decimal("0.376"), Decimal("0.005")),
    ("USD", "HKD"): (Decimal("7.82"), Decimal("0.01")),
    ("EUR", "DKK"): (Decimal("7.46"), Decimal("0.04")),
}
"""Currencies that are tied to each other: the usual price of the first in the second, and the usual relative distance.

It was 0.02 % in the Gulf, and −0.9 to +0.4 % in Hong Kong. Since 2022 the Bank's euro and krone come from different
markets: on 99 days of 100 they are up to 2.4 % apart.
"""


def whole(document: Sheet, beside: Sheet | None) -> Sheet:
    """A document with the rows that it lacks, as `beside` has them, if it is from before DAILY_SINCE."""
    if beside is None or document.effective_date >= DAILY_SINCE:
        return document
    given = {quote.cbr_id for quote in document.quotes}
    return replace(document, quotes=(*document.quotes, *(row for row in beside.quotes if row.cbr_id not in given)))


def check_sheet(sheet: Sheet, today: date) -> None:
    """Apply the rules that need no other sheet. `today` is Moscow's. Raises BadDocument."""
    if sheet.effective_date > today + timedelta(days=1):
        raise BadDocument("date", f"effective {sheet.effective_date}, later than tomorrow")
    if sheet.effective_date < FIRST_DAY:
        raise BadDocument("date", f"effective {sheet.effective_date}, before the first official rate")
    if len(sheet.quotes) < FEWEST_ROWS:
        raise BadDocument("rows", f"{len(sheet.quotes)} rows, fewer than {FEWEST_ROWS}")
    for name in ("code", "numeric_code"):
        for value, count in Counter(getattr(quote, name) for quote in sheet.quotes).items():
            if count > 1:
                raise BadDocument("duplicate", f"{name} {value} stands {count} times")
    core = {"USD", "EUR"} if sheet.effective_date >= EURO_STARTS else {"USD"}
    if missing := core - sheet.by_code.keys():
        raise BadDocument("core", f"{', '.join(sorted(missing))} is missing")


class Decision(StrEnum):
    """The consequence of a finding, the strictest first."""

    QUARANTINE = "quarantine"
    CONFIRM = "confirm"
    ACCEPT = "accept"


@dataclass(frozen=True, slots=True)
class Finding:
    """A result of one rule: its `kind` becomes a flag of the sheet, `codes` are the currencies that it is about."""

    kind: str
    decision: Decision
    text: str
    codes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Admission:
    """What is decided about a sheet: it is admitted, needs a second document, or waits for a person.

    The findings are those of all rules, those of the strictest decision first.
    """

    sheet: Sheet
    decision: Decision
    findings: tuple[Finding, ...]

    @property
    def effective_date(self) -> date:
        """The day of the sheet."""
        return self.sheet.effective_date

    @property
    def reason(self) -> str:
        """The kind of the first finding."""
        return self.findings[0].kind

    @property
    def flags(self) -> tuple[str, ...]:
        """The kinds of the findings, each kind once."""
        return tuple(dict.fromkeys(finding.kind for finding in self.findings))

    @property
    def suspects(self) -> frozenset[str]:
        """The currencies that moved strangely. If none did, both currencies of each strange pair."""
        moved = frozenset(code for finding in self.findings if finding.kind in MOVES for code in finding.codes)
        return moved or frozenset(code for finding in self.findings for code in finding.codes)

    def __str__(self) -> str:
        return "; ".join(f"{finding.kind}: {finding.text}" for finding in self.findings)

    def revision(self, number: int, fetched_at: datetime) -> Revision:
        """The admitted sheet under its number; `fetched_at` is UTC. Raises ValueError for a sheet that is held back."""
        if self.decision is not Decision.ACCEPT:
            raise ValueError(f"the sheet of {self.effective_date} is not admitted")
        return Revision(self.sheet, number, fetched_at, self.flags)

    def compared_with(self, second: Sheet) -> Self:
        """Decide with a second document of the same day."""
        return replace(self, decision=Decision.ACCEPT) if second.says_the_same_as(self.sheet) else self.refused()

    def refused(self) -> Self:
        """Decide without a second document, or where the first one changes."""
        return replace(self, decision=Decision.QUARANTINE)


# The rules


class Recent:
    """The last admitted sheets, oldest first: what the next sheet is compared with. None older than a month counts."""

    def __init__(self, sheets: Iterable[Sheet] = ()) -> None:
        self._last: Sheet | None = None
        self._codes: deque[frozenset[str]] = deque(maxlen=REGULAR)
        self._quotes: dict[str, tuple[date, Quote]] = {}
        for sheet in sheets:
            self.add(sheet)

    @classmethod
    def before(cls, history: History, day: date, more: Iterable[Sheet] = ()) -> Self:
        """What a sheet of `day` is compared with: the sheets of the month before in the history and in `more`."""
        sheets = {revision.effective_date: revision.sheet for revision in history.month_before(day)}
        sheets |= {sheet.effective_date: sheet for sheet in more if day - NEAR <= sheet.effective_date < day}
        return cls(sheets[other] for other in sorted(sheets))

    def add(self, sheet: Sheet) -> None:
        """Go on to the next sheet."""
        if self.last(sheet.effective_date) is None:
            self._codes.clear()
        self._last = sheet
        self._codes.append(frozenset(sheet.by_code))
        for quote in sheet.quotes:
            self._quotes[quote.code] = self._quotes[quote.cbr_id] = sheet.effective_date, quote

    def last(self, day: date) -> Sheet | None:
        """The last sheet, unless `day` is more than a month later."""
        return self._last if self._last and day - self._last.effective_date <= NEAR else None

    def regular(self, day: date) -> frozenset[str]:
        """The currencies that each of the last sheets has."""
        return frozenset.intersection(*self._codes) if self.last(day) else frozenset()

    def rates(self, day: date) -> dict[str, Decimal]:
        """The last unit rate of each currency within a month, whichever sheet had it, in the roubles of `day`."""
        return {
            quote.code: EXACT.divide(quote.unit_rate, OLD_IN_NEW) if since < REDENOMINATION <= day else quote.unit_rate
            for key, (since, quote) in self._quotes.items()
            if key == quote.code and day - since <= NEAR
        }

    def other_names(self, quote: Quote, day: date) -> list[Quote]:
        """The last rows of its id and of its code within a month that have another id, code or number than it."""
        last = [self._quotes[key] for key in (quote.cbr_id, quote.code) if key in self._quotes]
        return [held for since, held in last if day - since <= NEAR and _names(held) != _names(quote)]


def assess(
    sheet: Sheet,
    recent: Recent,
    current: Sheet | None = None,
    withdrawn: Collection[Sheet] = (),
) -> Admission:
    """Apply every rule. `current` and the `withdrawn` are sheets of the same effective date in memory.

    Without an earlier sheet, a correction is compared with the sheet that it corrects.
    """
    day = sheet.effective_date
    last = recent.last(day)
    earlier = Recent([current]) if current and last is None else recent
    rates = earlier.rates(day)
    findings = [*_off_peg(sheet)]
    if current and not current.says_the_same_as(sheet):
        findings.append(Finding("corrected", Decision.CONFIRM, "other figures than those held for the same date"))
    if any(other.says_the_same_as(sheet) for other in withdrawn):
        findings.append(Finding("withdrawn", Decision.QUARANTINE, "these figures were withdrawn"))
    elif withdrawn and current is None:
        findings.append(Finding("corrected", Decision.CONFIRM, "other figures than those withdrawn"))
    findings += [*_lost(sheet, earlier.regular(day)), *_moved(_ratios(sheet, rates)), *_equal(sheet, rates)]
    findings += _renamed(sheet, earlier)
    if last and last.says_the_same_as(sheet):
        findings.append(Finding("frozen", Decision.ACCEPT, f"the very figures of {last.effective_date}"))
    findings.sort(key=lambda finding: list(Decision).index(finding.decision))
    return Admission(sheet, findings[0].decision if findings else Decision.ACCEPT, tuple(findings))


def assess_beside(history: History, sheet: Sheet, admitted: Mapping[date, Revision] | None = None) -> Admission:
    """Apply every rule to a sheet, compared with what this history holds, and with what was `admitted` after that."""
    day, more = sheet.effective_date, admitted or {}
    current, withdrawn = more.get(day) or history.of_date(day), history.withdrawn_revisions(day)
    recent = Recent.before(history, day, (revision.sheet for revision in more.values()))
    return assess(sheet, recent, current.sheet if current else None, [revision.sheet for revision in withdrawn])


def _ratios(sheet: Sheet, rates: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """The unit rate of each currency ÷ its last one."""
    return {quote.code: unrounded(quote.unit_rate, rates[quote.code]) for quote in sheet.quotes if quote.code in rates}


def _renamed(sheet: Sheet, earlier: Recent) -> Iterator[Finding]:
    """Ids and codes belong together: an id with another code means another currency to those who read series by id."""
    day = sheet.effective_date
    pairs = {quote: held for quote in sheet.quotes for held in earlier.other_names(quote, day)}
    if pairs:
        texts = [" ".join((*_names(quote), "was", *_names(held))) for quote, held in pairs.items()]
        yield Finding("renamed", Decision.CONFIRM, "; ".join(texts[:8]), tuple(quote.code for quote in pairs))


def _names(quote: Quote) -> tuple[str, str, str]:
    return quote.cbr_id, quote.code, quote.numeric_code


def _lost(sheet: Sheet, regular: Collection[str]) -> Iterator[Finding]:
    lost = sorted(set(regular).difference(sheet.by_code))
    if len(lost) > max(FEWEST_LOST, len(regular) // 10):
        names = ", ".join(lost[:12]) + (" …" if len(lost) > 12 else "")
        yield Finding("shrunk", Decision.QUARANTINE, f"{len(lost)} of {len(regular)} currencies are gone: {names}")


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


def _equal(sheet: Sheet, rates: Mapping[str, Decimal]) -> Iterator[Finding]:
    """Currencies that suddenly cost the same: a row was copied over another."""
    by_rate: dict[Decimal, str] = {}
    for quote in sheet.quotes:
        other = by_rate.setdefault(quote.unit_rate, quote.code)
        if rates and other != quote.code and (other not in rates or rates[other] != rates.get(quote.code)):
            text = f"{other} and {quote.code} cost the same"
            yield Finding("equal_rates", Decision.CONFIRM, text, (other, quote.code))


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
