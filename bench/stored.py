"""What the store and the replica of the Bank hold: thirty-four years up to today."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from fake_bank import TABLE, Bank

from ratesvc.domain.columns import Column, Coverage, Currency
from ratesvc.domain.rates import FIRST_DAY, Quote, Sheet
from ratesvc.domain.workdays import ONE_DAY, WorkCalendar, moscow_day, utc_now
from ratesvc.storage.redis import RedisConnection
from ratesvc.storage.store import Store

CURRENCIES = 55
TODAY = WorkCalendar().effective_date_on_or_before(moscow_day(utc_now()))


def table(count: int) -> list[tuple[str, str, str, int, str]]:
    """So many currencies of the Bank's table, continued with made-up ones."""
    made = [
        (f"{chr(65 + n // 26)}{chr(65 + n % 26)}X", f"{500 + n}", f"R09{n:03}", 10, f"Единиц {n}") for n in range(count)
    ]
    return (TABLE + made)[:count]


def sheet(day: date, count: int = CURRENCIES, shift: int = 0) -> Sheet:
    """Made-up figures, every day's its own."""
    step = day.toordinal() % 997 + shift
    rows = enumerate(table(count))
    return Sheet(
        day,
        tuple(
            Quote(code, number, cbr_id, nominal, Decimal(120000 + 7919 * place + 131 * step).scaleb(-4), name)
            for place, (code, number, cbr_id, nominal, name) in rows
        ),
    )


def columns(days: list[date], count: int = CURRENCIES) -> list[Column]:
    """Each currency later than the one before it, as it was: 340,000 quotes in thirty-four years."""
    made = []
    for place, (code, number, cbr_id, nominal, name) in enumerate(table(count)):
        column = Column(Currency(cbr_id, cbr_id, code, number, name), utc_now())
        for day in days[len(days) * place // (2 * count) :]:
            step = day.toordinal() % 997
            column.put(day, nominal, Decimal(120000 + 7919 * place + 131 * step).scaleb(-4))
        made.append(column)
    return made


def sheet_days(since: date = FIRST_DAY) -> list[date]:
    """Effective dates up to today's, as the calendar has them."""
    calendar, found, day = WorkCalendar(), [], TODAY
    while day >= since:
        found.append(day)
        day = calendar.effective_date_on_or_before(day - ONE_DAY)
    return found[::-1]


async def fill(socket_path: str, namespace: str, bank: Bank, count: int = CURRENCIES, since: date = FIRST_DAY) -> None:
    """History up to today in a namespace, and the same figures at the Bank."""
    days = sheet_days(since)
    bank.documents.clear()
    bank.publish(*(sheet(day, count) for day in days[-2:]))
    store = Store(RedisConnection(f"unix://{socket_path}"), namespace)
    coverage = Coverage(days[0], TODAY)
    for column in columns(days, count):
        await store.put_columns([column], coverage)
    await store.put_coverage(coverage)
    await store.close()


def environment(socket_path: str, namespace: str, bank: Bank, **more: str) -> dict[str, str]:
    """Settings of ours over that store."""
    return {
        "RATESVC_REDIS_URL": f"unix://{socket_path}",
        "RATESVC_REDIS_NAMESPACE": namespace,
        "RATESVC_CBR_MIRRORS": bank.url,
        "RATESVC_DRAIN_SECONDS": "0",
        **more,
    }
