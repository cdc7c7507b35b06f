"""What must never become a rate: rules on a whole sheet. A sheet that breaks one is not published."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import date, timedelta

from ratesvc.domain.rates import FIRST_DAY, Sheet
from ratesvc.errors import BadDocument

EURO_STARTS = date(1999, 1, 1)
FEWEST_ROWS = 10


def check(sheet: Sheet, today: date, *, fewest_rows: int = FEWEST_ROWS) -> None:
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
