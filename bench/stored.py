"""What the store and the replica of the Bank hold: thirty-four years up to today."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from kit.bank import TABLE, Bank
from kit.redis import token

from ratesvc.domain.columns import Column, Currency
from ratesvc.domain.rates import FIRST_DAY, Quote, Sheet
from ratesvc.domain.settled import Settled
from ratesvc.domain.workdays import WorkCalendar, moscow_day, utc_now
from ratesvc.storage.redis import RedisConnection
from ratesvc.storage.store import Store

CURRENCIES = 55
NAMESPACE = "bench"
TODAY = WorkCalendar().effective_date_on_or_before(moscow_day(utc_now()))


MADE_UP = [
    (f"{chr(65 + n // 26)}{chr(65 + n % 26)}X", f"{500 + n}", f"R09{n:03}", 10, f"Единиц {n}")
    for n in range(CURRENCIES)
]
TABLE_OF_ALL = (TABLE + MADE_UP)[:CURRENCIES]
"""The Bank's table, continued with made-up currencies."""


def value(place: int, day: date) -> Decimal:
    """A made-up figure of a currency, another one for each day."""
    return Decimal(120000 + 7919 * place + 131 * (day.toordinal() % 997)).scaleb(-4)


def sheet(day: date) -> Sheet:
    """All of that day's figures."""
    quotes = (
        Quote(code, number, cbr_id, nominal, value(place, day), name)
        for place, (code, number, cbr_id, nominal, name) in enumerate(TABLE_OF_ALL)
    )
    return Sheet(day, tuple(quotes))


def columns(days: list[date]) -> list[Column]:
    """Each currency later than the one before it, as it was: 340,000 quotes in thirty-four years."""
    made = []
    for place, (code, number, cbr_id, nominal, name) in enumerate(TABLE_OF_ALL):
        column = Column(Currency(cbr_id, cbr_id, code, number, name), utc_now())
        for day in days[len(days) * place // (2 * CURRENCIES) :]:
            column.put(day, nominal, value(place, day))
        made.append(column)
    return made


def sheet_days() -> list[date]:
    """The effective dates up to today's, according to the calendar."""
    days = map(date.fromordinal, range(FIRST_DAY.toordinal(), TODAY.toordinal() + 1))
    return [*filter(WorkCalendar().is_effective_date, days)]


async def fill(url: str, bank: Bank) -> None:
    """Store history up to today, and give the Bank the same figures."""
    days = sheet_days()
    bank.publish(*map(sheet, days[-2:]))
    store = Store(RedisConnection(url), NAMESPACE, token)
    coverage = Settled(days[0], TODAY)
    await store.put_history(columns(days), coverage)
    await store.close()


def environment(url: str, bank: Bank) -> dict[str, str]:
    """The settings of a service over that store."""
    return {
        "RATESVC_REDIS_URL": url,
        "RATESVC_REDIS_NAMESPACE": NAMESPACE,
        "RATESVC_CBR_MIRRORS": bank.url,
        "RATESVC_DRAIN_SECONDS": "0",
    }
