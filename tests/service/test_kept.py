"""What is kept is given only to those who ask for the same, stays true, and is not kept for good."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import tracemalloc
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from importlib import import_module
from itertools import count, pairwise
from typing import Any

import pytest
from conftest import Clock, Serve, Served, eventually, patience_s
from kit.bank import Bank, sheet, workdays
from kit.dates import DAYS, FRIDAY, MIDNIGHT, NOON, SATURDAY, THURSDAY, TUESDAY
from kit.http import reading
from kit.sheets import without

from ratesvc.domain.rates import FIRST_DAY, InForce, Revision
from ratesvc.domain.workdays import ONE_DAY
from ratesvc.features import dialects
from ratesvc.installed import DIALECTS
from ratesvc.service.publication import Body
from ratesvc.web.caching import RATES, SETTLED, caching_of

WIDGET = "/widget/rows.json?codes=USD&lang=en"
DATED = (
    "/v1/rates/2026-04-26",
    "/v1/rates/2026-04-26?revision=1",
    "/v1/rates/2026-04-26/USD.txt",
    "/v1/convert?amount=5&from=USD&to=EUR&date=2026-04-26",
    "/v1/series?codes=USD&since=2026-04-23&until=2026-04-26",
    "/rate?date=2026-04-26&code=USD&lang=en",
    "/chart.svg?codes=USD&since=2026-04-23&until=2026-04-26",
    "/scripts/XML_daily.asp?date_req=26/04/2026",
    "/frankfurter/v1/2026-04-26?base=USD",
)


@pytest.fixture
async def served(served: Served) -> Served:
    """It knows that Thursday's sheet is the one before Friday's."""
    await eventually(lambda: served.service.publication and served.service.publication.snapshot.previous)
    return served


async def announced(bank: Bank, served: Served, clock: Clock, day: date) -> None:
    """It is evening, and the Bank has published the sheet of the next day."""
    bank.publish(sheet(day))
    clock.moment = datetime.combine(day - ONE_DAY, time(14), UTC)
    await served.service.refresh()
    await eventually(lambda: served.service.history.of_date(day))


async def on_saturday(bank: Bank, served: Served, clock: Clock) -> None:
    """Saturday's sheet is in force, so Friday is over."""
    await announced(bank, served, clock, SATURDAY)
    clock.moment = datetime(2026, 4, 25, 6, 0, tzinfo=UTC)
    served.service.publish()


async def test_a_publication_is_replaced_only_by_news(served: Served, clock: Clock) -> None:
    """One more sheet, another hour and another day make a new publication; the same knowledge does not."""
    service = served.service
    first = service.publication
    service.publish()
    assert service.publication is first
    service.history.add(Revision(sheet(SATURDAY), 1, clock()))
    service.publish()
    with_saturday = service.publication
    assert with_saturday is not first
    assert with_saturday
    assert with_saturday.snapshot.announced
    clock.moment = MIDNIGHT
    service.publish()
    assert service.publication is not with_saturday


async def test_a_widget_of_a_day_is_not_the_widget_of_today(served: Served, clock: Clock) -> None:
    """Both show Friday's sheet, but today's says that it is stale, whichever of them was asked for first."""
    clock.moment = datetime(2026, 4, 24, 21, 1, tzinfo=UTC)
    served.service.publish()
    dated, undated = [json.loads((await served.get(path))[2]) for path in (f"{WIDGET}&date=2026-04-24", WIDGET)]
    assert (dated["stale"], undated["stale"]) == (False, True)
    assert (dated.get("note", ""), "April 24, 2026" in undated["note"]) == ("", True)


@pytest.mark.parametrize("first", ["/v1/rates", "/v1/rates/2026-04-24"])
async def test_a_sheet_is_overdue_from_that_second_on_whatever_was_asked_first(
    first: str, served: Served, clock: Clock
) -> None:
    """At 21:00:00, before the schedule has run. A day is answered by the clock, and today by the publication."""
    clock.moment = datetime(2026, 4, 24, 18, tzinfo=UTC) - timedelta(seconds=1)
    paths = [first, "/v1/rates", "/v1/rates/2026-04-24", "/v1/rates/today", "/v1/rates/2026-04-24?codes=USD"]
    for overdue in (False, True):
        said = [json.loads((await served.get(path))[2])["next_overdue"] for path in paths]
        assert said == [overdue] * len(paths)
        clock.advance(seconds=1)


async def test_a_clock_that_is_set_back_over_midnight_leaves_no_yesterday_behind(served: Served, clock: Clock) -> None:
    """An answer that was made in that second called Friday today, and would be kept with those of Saturday."""
    clock.moment = MIDNIGHT
    await served.get("/v1/rates")
    for seconds, today in ((-1, "2026-04-24"), (0, "2026-04-25")):
        clock.moment = MIDNIGHT + timedelta(seconds=seconds)
        assert json.loads((await served.get("/v1/convert?amount=1&from=USD&to=RUB"))[2])["date"] == today


async def test_a_sparkline_composes_no_sheet(bank: Bank, serve_whole: Serve) -> None:
    """Its points are read from a column. Only the sheet of the shown day is composed."""
    days = DAYS
    bank.publish(*map(sheet, days))
    async with serve_whole() as served:
        status, _, body = await served.get(f"{WIDGET}&spark=7&date={days[8]}")
        assert (status, bool(json.loads(body)["rows"][0]["points"])) == (200, True)
        assert served.service.history._composed.cache_info().currsize <= 3  # noqa: SLF001 -- what it costs is to be seen


async def test_a_sparkline_does_not_cross_the_redenomination(bank: Bank, serve_whole: Serve) -> None:
    """In January 1998 it begins at New Year, because a thousandth of the number is no fall."""
    old = [date(1997, 12, day) for day in (24, 25, 26, 27, 30, 31)]
    new = [date(1998, 1, day) for day in (1, 6, 7, 8)]
    bank.publish(*map(sheet, [*old, *new, THURSDAY, FRIDAY]))
    bank.series["R01235"] |= {day: (1, Decimal(5960)) for day in old}
    async with serve_whole() as served:
        _, _, body = await served.get(f"{WIDGET}&spark=30&date=1998-01-08")
        first, last = (sheet(day).by_code["USD"].value for day in (new[0], new[-1]))
        assert json.loads(body)["rows"][0]["cells"][0] == f"from {first:.4f} to {last:.4f}"
        _, _, body = await served.get(f"{WIDGET}&spark=30&date=1998-01-06")
        assert "points" not in json.loads(body)["rows"][0]
        _, _, body = await served.get(f"{WIDGET}&spark=30&date=1997-12-31")
        assert json.loads(body)["rows"][0]["cells"][0] == "from 5,960.0000 to 5,960.0000"


async def test_a_revision_never_changes(bank: Bank, served: Served, clock: Clock) -> None:
    """Not even when the sheet before it is corrected afterwards. It is not immutable: a lost store counts anew."""
    await on_saturday(bank, served, clock)
    path = "/v1/rates/2026-04-24?revision=1"
    _, headers, said = await served.get(path)
    assert "immutable" not in headers["Cache-Control"]
    assert json.loads(said)["rates"]["USD"]["change"] is not None
    clock.advance(hours=1)
    served.service.history.add(Revision(sheet(THURSDAY, shift=7), 2, clock()))
    served.service.publish()
    assert (await served.get(path))[2] == said
    latest = json.loads((await served.get("/v1/rates/2026-04-24"))[2])
    assert latest["rates"]["USD"]["change"] != json.loads(said)["rates"]["USD"]["change"]


@pytest.mark.parametrize(
    ("days_later", "changed", "is_settled"),
    [
        (8, {}, False),
        (9, {}, True),
        (9, {"following": None}, False),
        (9, {"previous": None}, False),
        (9, {"previous": None, "revision": Revision(sheet(FIRST_DAY), 1, NOON)}, True),
    ],
)
async def test_an_answer_is_settled_a_week_after_the_following_sheet(
    days_later: int, changed: dict[str, Any], bank: Bank, served: Served, clock: Clock, *, is_settled: bool
) -> None:
    """The Bank may correct a sheet for a week, and set one between two others. The sheets around it must be known."""
    await announced(bank, served, clock, SATURDAY)
    clock.moment = NOON + timedelta(days=days_later)
    before, shown, after = (Revision(sheet(one), 1, NOON) for one in (THURSDAY, FRIDAY, SATURDAY))
    answer = replace(InForce(FRIDAY, shown, before, after), **changed)
    assert caching_of(served.service, answer) is (SETTLED if is_settled else RATES)


async def test_answers_about_a_day_are_kept_long_once_its_sheet_is_settled(
    bank: Bank, served: Served, clock: Clock
) -> None:
    """On Monday morning Sunday is past and Tuesday's sheet is not set. A week later nothing can change any more."""
    await on_saturday(bank, served, clock)
    clock.moment = datetime(2026, 4, 27, 6, 0, tzinfo=UTC)
    served.service.publish()
    assert [path for path in DATED if await seconds(served, path) >= 86400] == []
    await announced(bank, served, clock, TUESDAY)
    assert [path for path in DATED if await seconds(served, path) >= 86400] == []
    await announced(bank, served, clock, date(2026, 5, 7))
    assert [path for path in DATED if await seconds(served, path) < 86400] == []


async def seconds(served: Served, path: str) -> int:
    """How long an answer may be kept."""
    status, headers, _ = await served.get(path)
    assert status == 200, path
    return int(headers["Cache-Control"].partition("max-age=")[2].partition(",")[0])


@pytest.mark.parametrize("name", DIALECTS)
def test_no_dialect_keeps_an_exception(name: str) -> None:
    """An exception that is raised again and again keeps the frames of every request."""
    room = import_module(f"ratesvc.features.dialects.{name.replace('-', '_')}")
    assert not [key for key, kept in {**vars(room), **vars(dialects)}.items() if isinstance(kept, BaseException)]


async def test_a_body_rendered_during_a_change_belongs_to_its_publication(
    bank: Bank, served: Served, clock: Clock
) -> None:
    """Another sheet is published while a request waits for a long table. The table is not kept under the new sheet."""
    service, release = served.service, threading.Event()
    old = service.publication
    assert old
    # Both threads that render are busy until the sheet has changed.
    busy = [
        asyncio.create_task(old.body_in_thread(("busy", n), lambda: _waiting(release), service.workers))
        for n in range(2)
    ]
    asked = asyncio.create_task(served.get("/cbr-xml-daily/latest.js"))
    await eventually(lambda: len(old.render_locks) == 3)
    await announced(bank, served, clock, SATURDAY)
    assert service.publication is not old
    release.set()
    assert json.loads((await asked)[2])["date"] == "2026-04-24"
    assert json.loads((await served.get("/cbr-xml-daily/latest.js"))[2])["date"] == "2026-04-25"
    await asyncio.gather(*busy)


def _waiting(release: threading.Event) -> Body:
    release.wait(patience_s())
    return Body(b"", "text/plain")


async def test_simultaneous_requests_draw_a_picture_once(served: Served) -> None:
    """The first request draws, and the others wait."""
    current, drawn = served.service.publication, []
    assert current

    def draw() -> Body:
        drawn.append(1)
        return Body(b"picture", "image/png")

    found = await asyncio.gather(*(current.body_in_thread("picture", draw, served.service.workers) for _ in range(20)))
    assert ({one.content for one in found}, len(drawn)) == ({b"picture"}, 1)


async def test_a_currency_that_a_sheet_lacks_is_not_called_unknown(served: Served, clock: Clock) -> None:
    """Another sheet has it. The text names the sheet that lacks it."""
    served.service.history.add(Revision(without(sheet(THURSDAY), "CNY"), 2, clock()))
    for path in ("?quote_currency=CNY", "/CNY.txt"):
        status, _, body = await served.get(f"/v1/rates/2026-04-23{path}")
        assert (status, json.loads(body)["detail"]) == (404, "The sheet of 2026-04-23 has no CNY.")


PUBLISHED = (
    *("/v1/rates", "/v1/rates/2026-04-23", "/v1/rates?quote_currency=USD&lang=ru", "/v1/currencies", "/", "/rate"),
    *("/v1/series?codes=USD", "/widget", "/widget/frame?lang=ru", "/widget/rows.json", "/widget/card.svg"),
    *("/cbr-xml-daily/daily_json.js", "/scripts/XML_daily.asp", "/prebid/currency.json", "/ecb/eurofxref-daily.xml"),
    *("/chart.svg?codes=USD", "/chart?codes=USD&lang=ru"),
)


async def test_a_published_answer_needs_no_work(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Redis and the Bank, unable to render or to compress: 200, 304, HEAD, gzip and br send the same bytes."""
    await served.filled()
    packings = ("identity", "gzip", "br")
    before = {(path, how): await served.get(path, Accept_Encoding=how) for path in PUBLISHED for how in packings}

    def rigged(*_: object, **__: object) -> None:
        raise AssertionError("there was something to do")

    for name in ("brotli.compress", "gzip.compress", "Publication.keep"):
        monkeypatch.setattr(f"ratesvc.service.publication.{name}", rigged)
    for name in (
        "storage.redis.RedisConnection.call",
        "bank.client.BankClient.daily",
        "bank.client.BankClient.dynamic",
    ):
        monkeypatch.setattr(f"ratesvc.{name}", rigged)
    for (path, how), (status, headers, body) in before.items():
        assert status == 200, path
        assert (await served.get(path, Accept_Encoding=how))[2] == body, path
        again = await served.get(path, Accept_Encoding=how, If_None_Match=headers["ETag"])
        assert (again[0], again[2]) == (304, b""), path
        async with served.http.head(served.url + path, headers={"Accept-Encoding": how}) as head:
            assert (head.status, head.headers["ETag"]) == (200, headers["ETag"]), path


ROUNDS, WARM = 6, 3
TARGETS, STREAMS = 200, 10
MOST_GROWTH = 150_000
"""Bytes in three rounds, of which three more sheets in history are some thirty thousand."""


def targets(round_: int) -> list[str]:
    """New request targets for each round."""
    kinds = (
        "/v1/convert?amount={}&from=USD&to=CNY",
        "/widget/rows.json?codes=USD&heading={}",
        "/v1/series?codes=USD&since=2026-04-01&_={}",
        "/nowhere/{}",
    )
    return [kinds[number % 4].format(round_ * TARGETS + number + 1) for number in range(TARGETS)]


@pytest.mark.nightly
async def test_memory_does_not_grow(served: Served, bank: Bank, clock: Clock) -> None:
    """Each round has a new sheet, two hundred new targets, streams that come and go, and the next day."""
    used = []
    tracemalloc.start()
    for number, day in zip(count(), workdays(SATURDAY, ROUNDS), strict=False):
        bank.publish(sheet(day))
        clock.moment = datetime.combine(day, time(9), UTC)
        await served.service.refresh()
        await eventually(lambda day=day: served.service.history.of_date(day))  # type: ignore[misc]
        for target in targets(number):
            assert (await served.get(target))[0] in (200, 404), target
        for _ in range(STREAMS):
            async with reading(served.url):
                pass
        bank.asked.clear()
        gc.collect()
        used.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    print([f"{after - before:+}" for before, after in pairwise(used)])  # noqa: T201 -- figures
    assert used[-1] - used[WARM - 1] <= MOST_GROWTH, used
