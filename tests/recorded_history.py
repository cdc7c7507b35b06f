"""The recorded figures of 1992 to 2024, and what follows from them by an independent calculation."""

from __future__ import annotations

import csv
import json
from bisect import bisect_right
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction
from pathlib import Path

EURO_STARTS = date(1999, 1, 1)


def rounded(exact: Fraction, digits: int) -> Decimal:
    """Half-even to so many significant digits, by integers alone."""
    with localcontext() as context:
        context.prec, context.rounding = 200, ROUND_HALF_EVEN
        quotient = Decimal(exact.numerator) / Decimal(exact.denominator)
        # 200 digits are far more than any tie of ten or 28 digits can hide behind.
        context.prec = digits
        return +quotient


class Recorded:
    """The recorded figures as an independent answerer sees them."""

    def __init__(self, recordings: Path) -> None:
        nominals = json.loads((recordings / "history" / "fixed_nominals.json").read_text())
        catalogue = (recordings / "catalog" / "XML_valFull_d0_2025.xml").read_text("windows-1251")
        self.ids: dict[str, tuple[str, str]] = {}
        for part in catalogue.split("<Item ID=")[1:]:
            code = part.partition("<ISO_Char_Code>")[2].partition("<")[0]
            number = part.partition("<ISO_Num_Code>")[2].partition("<")[0]
            if code:
                self.ids.setdefault(code, (part.partition('"')[2].partition('"')[0], number.zfill(3)))
        self.series: dict[str, dict[date, tuple[int, Decimal]]] = {}
        with (recordings / "history" / "usd.csv").open() as lines:
            for row in csv.DictReader(lines):
                self._put("USD", row["date"], int(row["nominal"]), Decimal(row["value"]))
        self.days = sorted(self.series["USD"])
        known = set(self.days)
        with (recordings / "history" / "unit_rates.csv").open() as lines:
            for row in csv.DictReader(lines):
                code, day = row["currency"], date.fromisoformat(row["date"])
                if code != "USD" and code in self.ids and day in known:
                    nominal = int(next(iter(nominals.get(code, {"1": []}))))
                    value = Decimal(row["rub_per_unit_6_significant_digits"]) * nominal
                    shown = value.quantize(Decimal("0.0001"))
                    if 0 < shown < 10**9:
                        self._put(code, row["date"], nominal, shown)
        # From 2022-11-22 on the recording has the dollar alone, which is no table of the Bank's.
        self.days = [day for day in self.days if day < EURO_STARTS or day in self.series["EUR"]]
        for code, records in self.series.items():
            self.series[code] = {day: records[day] for day in self.days if day in records}

    def _put(self, code: str, day: str, nominal: int, value: Decimal) -> None:
        self.series.setdefault(code, {})[date.fromisoformat(day)] = (nominal, value)

    def effective(self, day: date) -> date:
        return self.days[bisect_right(self.days, day) - 1]

    def unit(self, code: str, effective: date) -> Fraction | None:
        if code == "RUB":
            return Fraction(1)
        found = self.series[code].get(effective)
        return Fraction(found[1]) / found[0] if found else None

    def rate(self, code: str, quote: str, effective: date) -> Decimal | None:
        base, divisor = self.unit(code, effective), self.unit(quote, effective)
        if base is None or divisor is None:
            return None
        if quote == "RUB":
            return Decimal(base.numerator) / Decimal(base.denominator)
        return rounded(base / divisor, 10)
