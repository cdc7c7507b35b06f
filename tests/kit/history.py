"""Invented figures since 1992, and what follows from them by an independent calculation."""

from __future__ import annotations

from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction
from functools import cached_property
from random import Random

from kit.bank import TABLE
from ratesvc.domain.workdays import WorkCalendar

SPAN = date(1992, 7, 1), date(2024, 8, 2)
NEW_ROUBLE = date(1998, 1, 1)
LATER = {"EUR": date(1999, 1, 1), "UZS": date(1994, 7, 6)}


def rounded(exact: Fraction, digits: int) -> Decimal:
    """Half-even to so many significant digits, by integers alone."""
    with localcontext() as context:
        context.prec, context.rounding = 200, ROUND_HALF_EVEN
        quotient = Decimal(exact.numerator) / Decimal(exact.denominator)
        # 200 digits are far more than any tie of ten or 28 digits can hide behind.
        context.prec = digits
        return +quotient


class LongHistory:
    """Series as an independent answerer sees them: code → day → nominal and value; code → the Bank's id and number."""

    def __init__(self, ids: dict[str, tuple[str, str]]) -> None:
        self.ids = ids
        self.series: dict[str, dict[date, tuple[int, Decimal]]] = {}

    @classmethod
    def invented(cls) -> LongHistory:
        """They move by up to 0.4 % a day, and are the same in each run. Two currencies come later."""
        history = cls({code: (cbr_id, number) for code, number, cbr_id, _, _ in TABLE})
        chance = Random(1992)  # noqa: S311 -- a seed
        first, last = (day.toordinal() for day in SPAN)
        days = list(filter(WorkCalendar().is_effective_date, map(date.fromordinal, range(first, last + 1))))
        for place, (code, _, _, nominal, _) in enumerate(TABLE):
            figure = 120_000 + 79_190 * place
            for day in days:
                figure += figure * chance.randint(-40, 40) // 10_000
                if day >= LATER.get(code, day):
                    history.put(code, day, nominal, Decimal(figure * (1 if day >= NEW_ROUBLE else 1000)).scaleb(-4))
        return history

    @cached_property
    def days(self) -> list[date]:
        """Those of the dollar."""
        return sorted(self.series["USD"])

    def put(self, code: str, day: date, nominal: int, value: Decimal) -> None:
        self.series.setdefault(code, {})[day] = (nominal, value)

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
