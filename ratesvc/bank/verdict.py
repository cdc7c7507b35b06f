"""A sheet beside the one before it: accept it, have it confirmed, or put it into quarantine. Always per unit.

Nothing is refused for its size alone: the Bank's own days moved by +27 % (1994) and −24 % (1998), and one currency
by −48 % (2017). Limits and tolerances come from the recorded history; docs/guards.md says how often each rule asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from ratesvc.domain.rates import EXACT, OLD_IN_NEW, ONE, REDENOMINATION, Sheet, rounded, unrounded

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
"""The kinds of remarks about one currency beside itself; others are about two beside each other."""


class Decision(StrEnum):
    """What is to happen to a sheet."""

    ACCEPT = "accept"
    CONFIRM = "confirm"
    QUARANTINE = "quarantine"


@dataclass(frozen=True, slots=True)
class Remark:
    """What a rule noticed: its `kind`, which is also the flag of the sheet, a text, and whose rows it is about."""

    kind: str
    decision: Decision
    text: str
    codes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What all rules together say."""

    remarks: tuple[Remark, ...] = ()

    @property
    def decision(self) -> Decision:
        """The strictest of the remarks' decisions."""
        found = {remark.decision for remark in self.remarks}
        return next((one for one in (Decision.QUARANTINE, Decision.CONFIRM) if one in found), Decision.ACCEPT)

    @property
    def reason(self) -> str:
        """The kind of the first remark that decided; empty without one."""
        return next((remark.kind for remark in self.remarks if remark.decision is self.decision), "")

    @property
    def flags(self) -> tuple[str, ...]:
        """Each kind once."""
        return tuple(dict.fromkeys(remark.kind for remark in self.remarks))

    @property
    def suspects(self) -> frozenset[str]:
        """The currencies that moved strangely; where none did, both of each strange pair: nothing tells which."""
        moved = (remark for remark in self.remarks if remark.kind in MOVES)
        by_themselves = frozenset(code for remark in moved for code in remark.codes)
        return by_themselves or frozenset(code for remark in self.remarks for code in remark.codes)


def judge(sheet: Sheet, before: Sheet | None, held: Sheet | None = None) -> Verdict:
    """Apply every rule. `before` is an earlier sheet not far away, `held` what is held of the same effective date.

    Where there is no earlier one, a correction is compared with what it corrects.
    """
    remarks = [*_off_peg(sheet)]
    if held and not held.says_the_same_as(sheet):
        remarks.append(Remark("corrected", Decision.CONFIRM, "other figures than those held for the same date"))
    if earlier := before or held:
        ratios = _ratios(sheet, earlier)
        remarks += [*_lost(sheet, earlier), *_moved(ratios), *_equal(sheet, earlier)]
    if before and before.says_the_same_as(sheet):
        remarks.append(Remark("frozen", Decision.ACCEPT, f"the very figures of {before.effective_date}"))
    return Verdict(tuple(remarks))


def _ratios(sheet: Sheet, before: Sheet) -> dict[str, Decimal]:
    """How many times its earlier unit rate each common currency costs, in the same roubles."""
    redenominated = before.effective_date < REDENOMINATION <= sheet.effective_date
    roubles = Decimal(OLD_IN_NEW) if redenominated else ONE
    return {
        quote.code: unrounded(EXACT.multiply(quote.unit_rate, roubles), before.by_code[quote.code].unit_rate)
        for quote in sheet.quotes
        if quote.code in before.by_code
    }


def _lost(sheet: Sheet, before: Sheet) -> Iterator[Remark]:
    lost = tuple(sorted(before.by_code.keys() - sheet.by_code.keys()))
    if len(lost) > max(FEWEST_LOST, len(before.quotes) // 10):
        text = f"{len(lost)} of {len(before.quotes)} currencies are gone: {_listed(lost)}"
        yield Remark("shrunk", Decision.QUARANTINE, text)


def _moved(ratios: dict[str, Decimal]) -> Iterator[Remark]:
    shifted = {code: zeros for code, ratio in ratios.items() if (zeros := _zeros(ratio))}
    if shifted:
        text = "; ".join(f"{code} ×10^{zeros}" for code, zeros in sorted(shifted.items())[:8])
        yield Remark("power_of_ten", Decision.QUARANTINE, text, tuple(shifted))
    if not ratios:
        return
    median = sorted(ratios.values())[len(ratios) // 2]
    if not _is_near(median, ONE, LARGEST_MOVE):
        yield Remark("large_move", Decision.CONFIRM, f"all currencies moved by {_percent(median)}")
    alone = tuple(
        code
        for code, ratio in sorted(ratios.items())
        if not _is_near(ratio, ONE, LARGEST_MOVE) and not _is_near(ratio, median, LARGEST_MOVE)
    )
    if alone:
        text = "; ".join(f"{code} alone moved by {_percent(ratios[code])}" for code in alone[:8])
        yield Remark("large_move", Decision.CONFIRM, text, alone)


def _zeros(ratio: Decimal) -> int:
    """The k of a move by about 10^k, which no market makes; 0 for any other."""
    below = ratio.adjusted()
    return next((k for k in (below, below + 1) if _is_near(ratio, ONE.scaleb(k), LARGEST_MOVE)), 0)


def _equal(sheet: Sheet, before: Sheet) -> Iterator[Remark]:
    """Currencies that suddenly cost the same: a row was copied over another."""
    seen: dict[Decimal, str] = {}
    for quote in sheet.quotes:
        other = seen.setdefault(quote.unit_rate, quote.code)
        if other != quote.code and not _cost_the_same(before, quote.code, other):
            text = f"{other} and {quote.code} cost the same"
            yield Remark("equal_rates", Decision.CONFIRM, text, (other, quote.code))


def _cost_the_same(sheet: Sheet, one: str, other: str) -> bool:
    rows = sheet.by_code
    return one in rows and other in rows and rows[one].unit_rate == rows[other].unit_rate


def _off_peg(sheet: Sheet) -> Iterator[Remark]:
    rows = sheet.by_code
    for (base, pegged), (usual, distance) in PEGS.items():
        if base in rows and pegged in rows:
            rate = rounded(rows[base].unit_rate, rows[pegged].unit_rate, significant=6)
            if not _is_near(rate, usual, distance):
                text = f"{base} costs {rate} {pegged}, usually {usual}"
                yield Remark("off_peg", Decision.CONFIRM, text, (base, pegged))


def _is_near(ratio: Decimal, usual: Decimal, distance: Decimal) -> bool:
    return abs(EXACT.subtract(ratio, usual)) <= EXACT.multiply(usual, distance)


def _percent(ratio: Decimal) -> str:
    return f"{rounded(EXACT.multiply(EXACT.subtract(ratio, ONE), Decimal(100)), places=1):+f} %"


def _listed(codes: tuple[str, ...]) -> str:
    return ", ".join(codes[:12]) + (" …" if len(codes) > 12 else "")
