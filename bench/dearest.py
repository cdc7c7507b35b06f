"""The dearest question of every route and dialect: processor time, memory, and how long small questions wait meanwhile.

PYTHONPATH=.:tests .venv/bin/python bench/dearest.py [WORD ...]; with words only the rows that contain one of them.

The store holds the recorded figures of ../shared/cbr, moved so that they end today, and made-up currencies up to the
number that the Bank publishes. Every row has a server of its own, so that nothing is remembered.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from multiprocessing import Pipe, Process
from multiprocessing.connection import Connection
from pathlib import Path

import aiohttp
import measure
import servers
import stored
from fake_bank import bank_running
from long_history import LongHistory
from servers import Server

from ratesvc.domain.columns import Column, Coverage, Currency
from ratesvc.domain.rates import FIRST_DAY
from ratesvc.domain.workdays import ONE_DAY, utc_now
from ratesvc.storage.redis import RedisConnection
from ratesvc.storage.store import Store

RECORDED = servers.HERE.parents[1] / "shared" / "cbr"
AT_ONCE = 10
WIDGETS = 2000
ENCODINGS = {"Accept-Encoding": "br, gzip"}
PAUSE_S = 0.002
SETTLED_S, LEAST_S = 0.5, 0.5
# Written here too, so that an older version can be asked the same.
MOST_POINTS = 75_000

HEADING = f"{'answers':>14} wall s  CPU s grown MB peak MB slowest small ms sent MB"

Ask = Callable[[int], str]
"""The dearest question's address; other numbers give others that cost the same."""


@dataclass(frozen=True)
class Cost:
    """What some questions cost a server: statuses, seconds, processor seconds, MB, ms of small questions meanwhile."""

    statuses: str
    wall_s: float
    cpu_s: float
    grown_mb: float
    peak_mb: float
    slowest_ms: float
    sent_mb: float

    def __str__(self) -> str:
        """Below HEADING."""
        return (
            f"{self.statuses:>14} {self.wall_s:6.2f} {self.cpu_s:6.2f} {self.grown_mb:8.1f} {self.peak_mb:7.1f} "
            f"{self.slowest_ms:16.1f} {self.sent_mb:7.2f}"
        )


def questions(codes: list[str]) -> dict[str, Ask]:
    """A name for each row of the table."""
    return {
        "nothing": lambda n: f"/livez?n={n}",
        **_series(codes),
        **_pictures(codes),
        **_dialects(codes),
        **_others(codes),
    }


def _series(codes: list[str]) -> dict[str, Ask]:
    """As many points as one answer may have: many currencies for some years, or some for all years; and too many."""

    def ask(count: int, more: str) -> Ask:
        days = MOST_POINTS // count - AT_ONCE
        first = max(FIRST_DAY, stored.TODAY - timedelta(days=days if "daily" in more else days * 7 // 5))
        wanted = ",".join(codes[-count:])
        path, _, rest = more.rpartition("?")
        return lambda n: f"/v1/series{path}?codes={wanted}&quote_currency={codes[n]}&since={first + n * ONE_DAY}{rest}"

    some, all_of_them = 5, len(codes) - AT_ONCE - 1
    found = {
        f"series, {count}, {name}": ask(count, more)
        for count in (some, all_of_them)
        for name, more in {
            "as set": "",
            "as set, csv": ".csv?",
            "daily": "&fill=daily",
            "daily, csv": ".csv?&fill=daily",
            "by month": "&group=month",
        }.items()
    }
    too_many = f"/v1/series?codes={','.join(codes)}&since={FIRST_DAY}&fill=daily&quote_currency="
    return {**found, "series, too many": lambda n: too_many + codes[n]}


def _pictures(codes: list[str]) -> dict[str, Ask]:
    chart = f"codes={','.join(codes[-6:])}&since={FIRST_DAY}&scale=indexed&width="
    card = f"codes={','.join(codes[:20])}"
    return {
        "chart.svg": lambda n: f"/chart.svg?{chart}1600&height=1000&quote_currency={codes[n]}",
        "chart.png": lambda n: f"/chart.png?{chart}720&height=400&quote_currency={codes[n]}&density=2",
        "card.svg": lambda n: f"/widget/card.svg?{card}&heading={n}",
        "card.png": lambda n: f"/widget/card.png?{card}&scale=2&heading={n}",
    }


def _dialects(codes: list[str]) -> dict[str, Ask]:
    last, some = stored.TODAY, ",".join(codes[-5:])
    days = MOST_POINTS // (len(codes) + 1) - AT_ONCE

    def day(n: int) -> date:
        return FIRST_DAY + n * ONE_DAY

    def late(n: int, part: int = 5) -> date:
        return last - timedelta(days=days * part // 5 - AT_ONCE) + n * ONE_DAY

    series, range_ = f"/openexchangerates/api/time-series.json?end={last}&start=", "/frankfurter/v1/"
    xml = "/scripts/XML_dynamic.asp?VAL_NM_RQ=R00000&date_req2=01/01/2030&date_req1="
    return {
        "openexchangerates, 5": lambda n: f"{series}{day(n)}&base={codes[n]}&symbols={some}",
        "openexchangerates, all": lambda n: f"{series}{late(n)}&base={codes[n]}",
        "openexchangerates, too many": lambda n: f"{series}{day(n)}&base={codes[n]}",
        "frankfurter, 5": lambda n: f"{range_}{day(n)}..?base={codes[n]}&amount=1.37&to={some}",
        "frankfurter, all": lambda n: f"{range_}{late(n, 7)}..?base={codes[n]}&amount=1.37",
        "frankfurter v2, all": lambda n: f"/frankfurter/v2/rates?from={late(n, 7)}&base={codes[n]}&expand=providers",
        "frankfurter v2, means": lambda n: f"/frankfurter/v2/rates.csv?from={late(n, 7)}&base={codes[n]}&group=week",
        "frankfurter, too many": lambda n: f"{range_}{day(n)}..?base={codes[n]}",
        "ecb csv": lambda n: f"/ecb/eurofxref-hist.csv?base={codes[n]}",
        "ecb xml": lambda n: f"/ecb/eurofxref-hist.xml?base={codes[n]}",
        "ecb zip": lambda n: f"/ecb/eurofxref-hist.zip?base={codes[n]}",
        "cbr dynamic": lambda n: f"{xml}{n + 1:02}/07/1992",
        "rbc": lambda n: f"/tsv/cb/{n:03}.tsv",
        "cbr valFull": lambda n: f"/scripts/XML_valFull.asp?d=0&n={n}",
        "cbr daily": lambda n: f"/scripts/XML_daily_eng.asp?date_req={n + 1:02}/09/2000",
        "prebid": lambda n: f"/prebid/currency.json?n={n}",
        "cbr-xml-daily": lambda n: f"/cbr-xml-daily/archive/2000/09/{n + 1:02}/daily_json.js",
    }


def _others(codes: list[str]) -> dict[str, Ask]:
    widget = f"codes={','.join(codes[:20])}&spark=30"
    languages = ["en", "ru", "de", "fr", "ar", "ja", "fa", "he", "hi", "th", "tr"]
    return {
        "rates": lambda n: f"/v1/rates/{FIRST_DAY + timedelta(days=9000 + n)}?quote_currency={codes[n]}",
        "convert": lambda n: f"/v1/convert?amount={n + 1}&from=USD&to={codes[-1]}",
        "history csv": lambda n: f"/v1/history.csv?_={n}",
        "history jsonl": lambda n: f"/v1/history.jsonl?_={n}",
        "history csv, ten others": lambda n: f"/v1/history.csv?codes={','.join(codes[:n] + codes[n + 1 :])}",
        "sheets": lambda n: f"/v1/sheets?since={FIRST_DAY + n * ONE_DAY}",
        "currencies": lambda n: f"/v1/currencies?lang={languages[n]}",
        "rate page": lambda n: f"/rate?date={FIRST_DAY + timedelta(days=9000 + n)}&code=USD",
        "widget": lambda n: f"/widget?{widget}&heading={n}",
        "frame": lambda n: f"/widget/frame?{widget}&heading={n}",
        "rows": lambda n: f"/widget/rows.json?{widget}&heading={n}",
        "builder": lambda n: f"/?{widget}&heading={n}",
        "docs": lambda n: f"/docs?n={n}",
        "pictures, files and pages": lambda n: (
            *(f"/widget/card.png?{widget}&scale=2&heading={n}", f"/ecb/eurofxref-hist.csv?base={codes[n]}"),
            *(f"/?{widget}&heading={n}", f"/widget?{widget}&heading={n}"),
        )[n % 4],
    }


def small(number: int) -> str:
    """A small question that nobody asked before."""
    day = FIRST_DAY + timedelta(days=1000 + number % 9000)
    asked = (
        f"/v1/rates/{day}/USD.txt?_={number}",
        f"/v1/series?codes=USD&since={day}&until={day + timedelta(days=30)}&_={number}",
        f"/widget/rows.json?codes=USD,EUR&heading={number}",
        f"/frankfurter/v1/{day}?to=USD&_={number}",
    )
    return asked[number % len(asked)]


def probe(port: int, begin: int, told: Connection) -> None:
    """Ask small questions one after another until told to stop; tells the milliseconds that each took."""
    taken = []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for number in itertools.count(begin):
            begun = time.perf_counter()
            measure.ask(connection, small(number))
            taken.append((time.perf_counter() - begun) * 1000)
            if told.poll(PAUSE_S):
                break
    told.send(taken)


def columns(days: list[date]) -> Iterator[Column]:
    """The recorded figures, the last of them today's; each made-up currency has a recorded one's."""
    recorded = sorted(
        (list(one.values()) for one in LongHistory.recorded(RECORDED).series.values()), key=len, reverse=True
    )
    dollar_first = sorted(stored.table(stored.CURRENCIES), key=lambda row: row[0] != "USD")
    for place, (code, number, cbr_id, _, name) in enumerate(dollar_first):
        figures = recorded[place if place < len(recorded) else place % 10]
        column = Column(Currency(cbr_id, cbr_id, code, number, name), utc_now())
        held = len(days) * len(figures) // len(recorded[0])
        for day, (nominal, value) in zip(days[-held:], itertools.cycle(figures), strict=False):
            column.put(day, nominal, value)
        yield column


async def fill(socket_path: str, namespace: str) -> list[str]:
    """Put them into the store; the codes."""
    days = stored.sheet_days()
    store, coverage = Store(RedisConnection(f"unix://{socket_path}"), namespace), Coverage(days[0], stored.TODAY)
    codes = []
    for column in columns(days):
        await store.put_columns([column], coverage)
        codes.append(column.currency.code)
    await store.put_coverage(coverage)
    await store.close()
    return codes


def peak_mb(pid: int, *, reset: bool = False) -> float:
    """The most memory that a process had at once since the last reset."""
    if reset:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


async def cost(server: Server, ask: Ask, numbers: range) -> Cost:
    """All of these questions at once, with small ones in turn beside them, which a process of its own asks."""
    ours, theirs = Pipe()
    prober = Process(target=probe, args=(server.port, 100_000 * numbers.start, theirs))
    prober.start()
    await asyncio.sleep(SETTLED_S)
    before, cpu, begun = peak_mb(server.pid, reset=True), measure.cpu_s(server.pid) or 0, time.perf_counter()
    async with aiohttp.ClientSession(auto_decompress=False) as http:
        found = await asyncio.gather(*(answer(http, server.url + ask(number)) for number in numbers))
    wall = time.perf_counter() - begun
    used = (measure.cpu_s(server.pid) or 0) - cpu
    await asyncio.sleep(max(0, LEAST_S - wall))
    peak = peak_mb(server.pid)
    ours.send(None)
    taken = await asyncio.to_thread(ours.recv)
    prober.join()
    statuses = [status for status, _ in found]
    shown = " ".join(f"{statuses.count(status)}×{status}" for status in sorted(set(statuses)))
    return Cost(shown, wall, used, peak - before, peak, max(taken), sum(length for _, length in found) / 1e6)


async def answer(http: aiohttp.ClientSession, url: str) -> tuple[int, int]:
    """Its status, and how many bytes were sent."""
    async with http.get(url, headers=ENCODINGS) as found:
        return found.status, len(await found.read())


async def main(words: list[str]) -> None:
    """Print the table."""
    servers.pin(0, servers.CLIENT_CORE)
    with tempfile.TemporaryDirectory(prefix="ratesvc-bench-") as name:
        os.environ["BENCH_FOLDER"] = name
        async with servers.redis_running(Path(name)) as redis, bank_running() as bank:
            bank.publish(*(stored.sheet(day) for day in stored.sheet_days()[-2:]))
            codes = await fill(redis, "dearest")
            variables = stored.environment(redis, "dearest", bank, RATESVC_POLL_SECONDS="86400")
            print(f"{'question':30} {'':8} {HEADING}")
            every = questions(codes)
            rows = {row: ask for row, ask in every.items() if not words or any(word in row for word in words)}
            for row, ask in rows.items():
                async with servers.ours("ours", variables) as server:
                    measure.cold(server, [small(-number) for number in range(1, 9)])  # templates are read once
                    for how, numbers in (("alone", range(1)), ("at once", range(1, 1 + AT_ONCE))):
                        print(f"{row:30} {how:8} {await cost(server, ask, numbers)}", flush=True)
            async with servers.ours("ours", variables) as server:
                peak = await peak_of_all(server, codes, rows)
                print(f"All of them at one server, ten at once: {peak:.1f} MB at most")


async def peak_of_all(server: Server, codes: list[str], rows: dict[str, Ask]) -> float:
    """The most memory after all that can be kept was asked for: a series of every currency, more widgets than fit."""
    kept = [f"/v1/series?codes={code}&since={FIRST_DAY}" for code in codes]
    kept += [f"/widget?heading={number}" for number in range(WIDGETS)]
    async with aiohttp.ClientSession(auto_decompress=False) as http:
        for path in kept:
            await answer(http, server.url + path)
    return max([(await cost(server, ask, range(1, 1 + AT_ONCE))).peak_mb for ask in rows.values()])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
