"""Which of the Bank's mirrors lag, or give other figures than those held."""

from __future__ import annotations

from contextlib import suppress
from datetime import date, datetime

from ratesvc.bank.client import BankClient, Read
from ratesvc.domain.history import History
from ratesvc.domain.rates import Sheet
from ratesvc.domain.workdays import ONE_DAY
from ratesvc.errors import FetchFailed


async def compare_mirrors(client: BankClient, history: History, began: datetime, read: Read) -> None:
    """Ask the mirrors that no poll of the last day needed. Note what is strange about those asked since `began`.

    `read` makes a sheet of the newest document. A mirror lags if another one has the sheet that was due at `began`.
    """
    due = history.calendar.due_by(began)
    for mirror in client.mirrors:
        if not mirror.asked_at or mirror.asked_at <= began - ONE_DAY:
            with suppress(FetchFailed):
                await client.daily(None, due, read, of=[mirror])
    has_due = any(mirror.has(due) for mirror in client.mirrors)
    for mirror in client.mirrors if len(client.mirrors) > 1 else ():
        if mirror.newest and mirror.asked_at and mirror.asked_at >= began:
            mirror.finding = _finding(mirror.newest, history, due if has_due else date.min)


def _finding(newest: Sheet, history: History, due: date) -> str:
    """What is strange about a mirror's newest sheet; empty if nothing is."""
    day, held = newest.effective_date, history.of_date(newest.effective_date)
    if held and not held.sheet.says_the_same_as(newest):
        return f"differs: other figures for {day} than those held"
    return f"lags: its newest sheet is that of {day}" if day < due else ""
