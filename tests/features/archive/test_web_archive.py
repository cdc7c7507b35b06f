"""/v1/history.csv: all of history in one answer, compressed once and never whole in memory; /v1/sheets: what is new."""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
import itertools
import json
import tracemalloc
import uuid
import zlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from conftest import Clock, Serve, Served, eventually, patience_s
from kit.bank import TABLE, Bank
from kit.dates import DAYS, EVENING, FRIDAY, SATURDAY, TUESDAY
from kit.sheets import changed, plausible, times

from ratesvc.domain.columns import Column, Currency, Days
from ratesvc.domain.workdays import ONE_DAY, WorkCalendar
from ratesvc.features.archive.formats import tables
from ratesvc.features.archive.routes import Archive
from ratesvc.service import decisions
from ratesvc.service.publication import MOST_LONG_BYTES, Body

pytestmark = pytest.mark.usefixtures("every_sheet")
ADDRESS = "/v1/history.csv"
NEW = date(1998, 1, 1)


def rows(text: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text.decode())))


async def test_gzip_and_plain_bytes_are_one_answer(held: Served) -> None:
    """With a strong tag for each, 304 for both, and no body for HEAD. No client gets brotli."""
    _, headers, plain = await held.get(ADDRESS)
    assert int(headers["Content-Length"]) == len(plain)
    _, packed_headers, packed = await held.get(ADDRESS, Accept_Encoding="gzip, br")
    assert packed_headers["Content-Encoding"] == "gzip"
    assert int(packed_headers["Content-Length"]) == len(packed)
    assert headers["Content-Disposition"] == 'attachment; filename="history.csv"'
    assert gzip.decompress(packed) == plain
    assert zlib.decompressobj(31).decompress(packed) == plain, "one member, because some clients read no other"
    assert packed_headers["ETag"] == headers["ETag"][:-1] + '-gzip"'
    for tag in (headers["ETag"], packed_headers["ETag"]):
        assert (await held.get(ADDRESS, If_None_Match=tag))[0] == 304
    async with held.http.head(held.url + ADDRESS) as answer:
        assert (answer.headers["Content-Length"], await answer.read()) == (str(len(plain)), b"")


async def test_others_are_answered_between_the_pieces_of_a_long_answer(
    held: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each piece takes the event loop some milliseconds."""
    made, turns, met = Archive.pieces, itertools.count(), list[int]()

    def pieces(archive: Archive) -> Iterator[bytes]:
        for piece in (b"", b"", *made(archive)):
            met.append(next(turns))
            yield piece

    async def others() -> None:
        while True:
            next(turns)
            await asyncio.sleep(0)

    monkeypatch.setattr(Archive, "pieces", pieces)
    task = asyncio.create_task(others())
    await held.get(ADDRESS)
    task.cancel()
    assert all(later > earlier + 1 for earlier, later in pairwise(met))


async def test_two_answers_with_the_same_bytes_are_forgotten_one_after_the_other(held: Served) -> None:
    """One is asked for with earlier revisions, and there are none."""
    publication = held.service.require_publication()
    assert (await held.get(ADDRESS))[2] == (await held.get(f"{ADDRESS}?revisions=all"))[2]
    long = publication.keep("long", Body(bytes(MOST_LONG_BYTES // 2), "text/plain"))
    assert publication.find("long") is long


async def test_a_line_has_the_revision_of_its_sheet(bank: Bank, held: Served, clock: Clock) -> None:
    """Lines of other sheets stay as they are, and a new sheet's are the last. Earlier revisions come if asked for."""
    before = rows((await held.get(ADDRESS))[2])
    [was] = [row["value"] for row in before if (row["effective_date"], row["code"]) == (str(FRIDAY), "PLN")]
    # The second correction takes the first one back.
    for wording in (changed(plausible(FRIDAY), PLN=times("1.01")), plausible(FRIDAY)):
        bank.publish(wording)
        for _ in range(3):
            await held.service.poll()
    after = rows((await held.get(ADDRESS))[2])
    assert [row for row in after if row not in before] == [row for row in after if row["effective_date"] == str(FRIDAY)]
    assert {row["revision"] for row in after if row["effective_date"] == str(FRIDAY)} == {"3"}
    every = rows((await held.get(f"{ADDRESS}?revisions=all"))[2])
    assert [row for row in every if row["revision"] in "12" and row["effective_date"] == str(FRIDAY)] == [
        {**row, "revision": number, **({"value": zloty, "unit_rate": zloty} if row["code"] == "PLN" else {})}
        for number, zloty in (("1", was), ("2", f"{Decimal(was) * Decimal('1.01'):.4f}"))
        for row in before
        if row["effective_date"] == str(FRIDAY)
    ]
    assert [row for row in every if row["revision"] == "3" or row["effective_date"] != str(FRIDAY)] == after
    zlotys = rows((await held.get(f"{ADDRESS}?revisions=all&codes=PLN"))[2])
    assert zlotys == [row for row in every if row["code"] == "PLN"]
    bank.publish(plausible(FRIDAY + ONE_DAY))
    clock.advance(hours=5)
    await held.service.poll()
    assert rows((await held.get(ADDRESS))[2])[-1]["effective_date"] == str(FRIDAY + ONE_DAY)


def test_of_two_ids_the_earlier_counts() -> None:
    """As in /v1/series."""
    columns = []
    for value in ("1", "2"):
        column = Column(Currency(value, value, "TRY", "949", "x"), datetime(2026, 1, 1, tzinfo=UTC))
        column.put(NEW, 10, Decimal(value))
        columns.append(column)
    [table] = tables(columns, Days(NEW, NEW), {}, (), (), all_new=False)
    assert [*zip(*table.values(), strict=True)] == [("1998-01-01", "TRY", "10", "1.0000", "0.1", "1")]


@pytest.mark.nightly
async def test_thirty_years_agree_and_ten_clients_hold_nobody_up(bank: Bank, serve: Serve, clock: Clock) -> None:
    """Thirteen currencies since 1992, two of them later. One of ten builds it, never with all plain bytes in memory."""
    calendar, (first, last) = WorkCalendar(), (date(1992, 7, 1).toordinal(), date(2024, 8, 2).toordinal())
    days = list(filter(calendar.is_effective_date, map(date.fromordinal, range(first, last + 1))))
    known: dict[str, dict[date, tuple[int, Decimal]]] = {}
    for place, (code, number, cbr_id, nominal, _) in enumerate(TABLE):
        since = {"EUR": date(1999, 1, 1), "UZS": date(1994, 7, 6)}.get(code, days[0])
        known[code] = {
            day: (nominal, Decimal(120_000 + 79_190 * place + day.toordinal() % 9973).scaleb(-4 if day >= NEW else -1))
            for day in days
            if day >= since
        }
        bank.currencies[cbr_id], bank.series[cbr_id] = (code, number, code), known[code]
    clock.moment = datetime.combine(days[-1], time(9), UTC)
    async with serve() as served:
        history, service = served.service.history, served.service
        await eventually(lambda: history.settled and not service.backfilling, within_s=6 * patience_s())
        await ten_clients_hold_nobody_up(served)
        table = rows((await served.get(ADDRESS))[2])
        assert len(table) == sum(map(len, known.values()))
        for row in table[:: len(table) // 500]:
            nominal, value = known[row["code"]][date.fromisoformat(row["effective_date"])]
            assert (int(row["nominal"]), Decimal(row["value"])) == (nominal, value)
            assert Fraction(row["unit_rate"]) == Fraction(value) / nominal


async def ten_clients_hold_nobody_up(served: Served) -> None:
    """Small answers go on meanwhile."""
    tracemalloc.start()
    tracemalloc.reset_peak()
    begun, _ = tracemalloc.get_traced_memory()

    async def read(encoding: str) -> int:
        """Its length; the bytes themselves are dropped, because this process is also the client."""
        length = 0
        async with served.http.get(served.url + ADDRESS, headers={"Accept-Encoding": encoding}) as answer:
            assert answer.status == 200
            async for piece in answer.content.iter_any():
                length += len(piece)
        return length

    asked = [asyncio.create_task(read(encoding)) for encoding in ("identity", "gzip") * 5]
    answered = 0
    while not all(task.done() for task in asked):
        assert (await served.get("/livez"))[0] == 200
        answered += 1
    plain, packed = {task.result() for task in asked[::2]}, {task.result() for task in asked[1::2]}
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (len(plain), len(packed), answered > 10) == (1, 1, True)
    assert max(plain) > 5_000_000
    assert max(plain) > 4 * max(packed)
    assert peak - begun < 2 * max(plain), "what two of the ten readers get"


# /v1/sheets: a nightly import asks what has changed, and never misses it.


async def listed(served: Served, query: str = "") -> dict[str, Any]:
    status, _, body = await served.get(f"/v1/sheets{query}")
    assert status == 200, body
    document: dict[str, Any] = json.loads(body)
    return document


def days(document: dict[str, Any]) -> list[str]:
    return [row["effective_date"] for row in document["rows"]]


async def corrects(bank: Bank, served: Served, day: date) -> None:
    """The Bank corrects its newest sheet or today's, and a later poll confirms it."""
    bank.publish(changed(plausible(day), PLN=times("1.01")))
    for _ in range(3):
        await served.service.poll()


async def agree_with_rates(served: Served, document: dict[str, Any]) -> None:
    for row in document["rows"]:
        answer = json.loads((await served.get(f"/v1/rates/{row['effective_date']}"))[2])
        assert row == {name: answer[name] for name in row}


async def test_a_nightly_import_is_told_of_new_and_corrected_sheets_and_of_no_others(
    bank: Bank, held: Served, clock: Clock
) -> None:
    """Saturday's sheet is new, and Friday's is corrected."""
    cursor = (await listed(held))["cursor"]
    nothing = await listed(held, f"?after={cursor}")
    assert (nothing["rows"], nothing["cursor"]) == ([], cursor)
    clock.moment = EVENING
    bank.publish(plausible(SATURDAY))
    await corrects(bank, held, FRIDAY)
    news = await listed(held, f"?after={cursor}")
    assert [(row["effective_date"], row["revision"]) for row in news["rows"]] == [(str(FRIDAY), 2), (str(SATURDAY), 1)]
    assert news["since"] == "2025-04-24"
    assert (await listed(held, f"?after={news['cursor']}"))["rows"] == []
    await agree_with_rates(held, news)


async def test_a_day_that_is_not_admitted_is_named_and_told_once_a_person_releases_it(
    bank: Bank, held: Served, clock: Clock
) -> None:
    """Every later sheet is told of meanwhile. The document of the day waits in quarantine for a week."""
    cursor = (await listed(held))["cursor"]
    clock.moment = EVENING
    bank.publish(changed(plausible(SATURDAY), **dict.fromkeys(("USD", "EUR", "CNY"), times("10"))))
    for _ in range(3):
        await held.service.poll()
    later = TUESDAY
    clock.moment = datetime(2026, 4, 27, 14, tzinfo=UTC)
    bank.publish(plausible(later))
    await held.service.poll()
    await eventually(lambda: held.lacking == [SATURDAY] and not held.service.backfilling)
    news = await listed(held, f"?after={cursor}")
    assert (days(news), news["unconfirmed"]) == ([str(later)], [str(SATURDAY)])
    assert b'"complete":false' in (await held.get("/v1/currencies"))[2]
    assert news["rows"][0]["previous_effective_date"] is None
    [case] = [case for case in await held.service.quarantine.cases() if case.effective_date == SATURDAY]
    await decisions.release(held.service.refresher, case)
    released = await listed(held, f"?after={news['cursor']}")
    assert [(row["effective_date"], row["flags"][-1:]) for row in released["rows"]] == [(str(SATURDAY), ["released"])]
    assert "unconfirmed" not in released


async def test_a_nightly_import_is_told_that_a_sheet_was_withdrawn(
    bank: Bank, held: Served, clock: Clock, serve_whole: Serve
) -> None:
    """Also by a replica that starts later, and also of the day to come. If it is released later, it comes again."""
    clock.moment = EVENING
    bank.publish(plausible(SATURDAY))
    await held.service.poll()
    cursor, refresher = (await listed(held))["cursor"], held.service.refresher
    for day in (FRIDAY, SATURDAY):
        await decisions.publish(refresher, decisions.withdrawal(refresher, day))
    async with serve_whole() as other:
        for replica in (held, other):
            news = await listed(replica, f"?after={cursor}")
            told = [(row["effective_date"], row["revision"], row["withdrawn"], row["flags"]) for row in news["rows"]]
            assert told == [(str(day), 2, True, ["withdrawal"]) for day in (FRIDAY, SATURDAY)]
            assert (await listed(replica, f"?after={news['cursor']}"))["rows"] == []
            assert days(await listed(replica)) == [str(day) for day in DAYS[:-1]], "who knows nothing need not forget"
    await decisions.publish(refresher, replace(refresher.history.revision(SATURDAY, 1), number=3))
    again = await listed(held, f"?after={news['cursor']}")
    assert days(again) == [str(SATURDAY)]
    assert "withdrawn" not in again["rows"][0]


async def test_another_replica_without_redis_and_a_restart_understand_a_cursor(
    bank: Bank, serve_whole: Serve, clock: Clock
) -> None:
    """The corrected sheet is its first revision there, fetched later: nothing is new. Later news is told."""
    clock.moment = EVENING
    bank.publish(plausible(SATURDAY))
    async with serve_whole() as first:
        await corrects(bank, first, FRIDAY)
        assert first.held(FRIDAY).number == 2
        cursor = (await listed(first))["cursor"]
    clock.advance(minutes=5)
    async with serve_whole(redis={"namespace": uuid.uuid4().hex}) as other:
        await eventually(lambda: other.service.history.of_date(SATURDAY))
        assert other.held(FRIDAY).number == 1
        assert (await listed(other, f"?after={cursor}"))["rows"] == []
        await corrects(bank, other, SATURDAY)
        assert days(await listed(other, f"?after={cursor}")) == [str(SATURDAY)]
    async with serve_whole() as again:
        await corrects(bank, again, SATURDAY)
        assert days(await listed(again, f"?after={cursor}")) == [str(SATURDAY)]


async def test_the_list_waits_until_history_is_loaded(bank: Bank, serve: Serve) -> None:
    """An incomplete one would pass for all that there is."""
    bank.series.clear()
    bank.documents = {FRIDAY: bank.documents[FRIDAY]}
    async with serve() as loading:
        await loading.ready()
        for path in ("/v1/sheets", "/v1/history.csv"):
            status, _, body = await loading.get(path)
            assert (status, json.loads(body)["type"]) == (503, "urn:ratesvc:history_loading")
        assert (await loading.get(f"/v1/sheets?since={FRIDAY}"))[0] == 200
