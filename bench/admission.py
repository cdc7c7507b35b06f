"""Counts the findings of each rule of bank/admission.py in thirty years of the Bank's rates.

PYTHONPATH=. .venv/bin/python bench/admission.py FOLDER [-v]

FOLDER holds unit_rates.csv (date, currency, roubles per unit) and usd.csv (date, …), whose dates tell the Bank's
effective dates from filled ones.
"""

from __future__ import annotations

import csv
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

from ratesvc.bank.admission import Assessment, Decision, Recent, assess
from ratesvc.domain.rates import Quote, Sheet

T = TypeVar("T")


def sheets(folder: Path) -> Iterator[Sheet]:
    """Every real sheet, oldest first: a day that the Bank's own export of the dollar does not have is a filled one."""
    with (folder / "usd.csv").open() as file:
        real = {date.fromisoformat(row["date"]) for row in csv.DictReader(file)}
    series: dict[str, list[tuple[date, Quote]]] = defaultdict(list)
    with (folder / "unit_rates.csv").open() as file:
        for text, code, rate in list(csv.reader(file))[1:]:
            if (day := date.fromisoformat(text)) in real:
                series[code].append((day, Quote(code, "000", code, 1, Decimal(rate), code)))
    days: dict[date, list[Quote]] = defaultdict(list)
    for records in series.values():
        for day, quote in records:
            days[day].append(quote)
    for day in sorted(days):
        yield Sheet(day, tuple(days[day]))


def assessments(folder: Path) -> Iterator[tuple[Sheet, Assessment]]:
    """What would have been said on each day."""
    recent = Recent()
    for sheet in sheets(folder):
        yield sheet, assess(sheet, recent)
        recent.add(sheet)


def main() -> None:
    """Print the counts, then each day with what was remarked."""
    found = list(assessments(Path(sys.argv[1])))
    count = Counter(kind for _, assessment in found for kind in {(r.decision, r.kind) for r in assessment.findings})
    decisions = Counter(assessment.decision for _, assessment in found)
    print(f"{len(found)} sheets, {found[0][0].effective_date} to {found[-1][0].effective_date}")
    for decision in Decision:
        print(f"  {decision:<12}{decisions[decision]:>6}")
    for (decision, kind), times in sorted(count.items()):
        print(f"  {decision:<12}{kind:<14}{times:>6}")
    if "-v" in sys.argv:
        for sheet, assessment in found:
            for finding in assessment.findings:
                print(sheet.effective_date, finding.decision, finding.kind, finding.text)


if __name__ == "__main__":
    main()
