"""No question costs more than a bound, and long answers never stand before small ones."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import date
from typing import Any

import brotli
import jinja2
import pytest
from conftest import Serve, Served, eventually, patience_s
from kit.bank import TABLE, Bank, sheet

from ratesvc.domain.rates import FIRST_DAY
from ratesvc.features.builder import builder_page as builder
from ratesvc.features.ranges.unit_rates import MOST_POINTS, SeriesParams
from ratesvc.features.rate import rate_page as rate
from ratesvc.features.series import tables
from ratesvc.features.site import png
from ratesvc.features.widget import rows
from ratesvc.service.publication import MOST_WAITING, Body, Queue

EVERY = ",".join(row[0] for row in TABLE)
DAILY = "/v1/series?fill=daily&since=1992-07-01&codes="
SMALL = "/v1/series?codes=USD&since=2026-04-"
TIME_SERIES = "/openexchangerates/api/time-series.json?start=1992-07-01&end=2026-04-24"


@pytest.fixture
async def whole(bank: Bank, serve_whole: Serve) -> AsyncIterator[Served]:
    """All of history is held: one sheet of 1992 and a few of today."""
    bank.publish(*map(sheet, (FIRST_DAY, date(2026, 4, 23), date(2026, 4, 24))))
    async with serve_whole() as running:
        yield running


async def test_a_series_of_too_many_points_is_refused_before_it_is_rendered(
    whole: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The problem names the limit and the alternatives. A few currencies on every day since 1992 are within it."""
    with monkeypatch.context() as patch:
        patch.setattr(tables, "to_json", None)
        status, headers, body = await whole.get(DAILY + EVERY)
    problem = json.loads(body)
    assert (status, headers["Content-Type"]) == (400, "application/problem+json")
    assert (problem["type"], problem["most"]) == ("urn:ratesvc:too_many_points", MOST_POINTS)
    assert problem["points"] > MOST_POINTS
    for way in ("75,000", "fewer currencies", "shorter range", "ratesvc export"):
        assert way in problem["detail"]
    status, _, body = await whole.get(DAILY + "USD,EUR,CNY,GBP,JPY")
    assert status == 200
    assert len(json.loads(body)["rows"]) > 50_000


async def test_the_limit_holds_for_every_form_of_a_series(whole: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts the rates of an answer, not its lines."""
    monkeypatch.setattr("ratesvc.features.ranges.unit_rates.MOST_POINTS", 5)
    for query in (
        *("?", ".csv?", "?group=month", "?quote_currency=EUR", ".csv?locale=ru"),
        *("?fill=daily", ".csv?fill=daily", "?fill=daily&quote_currency=EUR"),
    ):
        path = f"/v1/series{query}&since=2026-04-23&until=2026-04-24&codes="
        assert (await whole.get(f"{path}USD,CHF"))[0] == 200, query
        assert (await whole.get(f"{path}USD,CHF,GBP"))[0] == 400, query


async def test_dialects_refuse_too_many_points_in_their_own_shape(
    whole: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Open Exchange Rates with a word that its clients know, Frankfurter with a message; both name the alternatives."""
    monkeypatch.setattr("ratesvc.features.ranges.unit_rates.MOST_POINTS", 20)
    status, _, body = await whole.get(f"{TIME_SERIES}&symbols=EUR")
    said = json.loads(body)
    assert (status, said["error"], said["status"], said["message"]) == (400, True, 400, "invalid_date_range")
    assert "at most 20" in said["description"]
    for path in ("v1/2026-04-23..", "v2/rates?from=2026-04-23"):
        status, _, body = await whole.get(f"/frankfurter/{path}")
        assert (status, "at most 20" in json.loads(body)["message"]) == (422, True)
    assert (await whole.get("/frankfurter/v1/2026-04-23..?symbols=USD,GBP"))[0] == 200


async def test_files_of_all_history_have_no_limit(whole: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ECB's clients know one file, all or nothing. One currency of the Bank's is within any limit."""
    monkeypatch.setattr("ratesvc.features.ranges.unit_rates.MOST_POINTS", 1)
    assert (await whole.get("/ecb/eurofxref-hist.csv"))[0] == 200
    bank = "/scripts/XML_dynamic.asp?VAL_NM_RQ=R01235&date_req1=01/07/1992&date_req2=24/04/2026"
    assert (await whole.get(bank))[0] == 200


@pytest.fixture
def held_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Lets no rendering of daily points end before this is set."""
    release, about = threading.Event(), tables.about

    def slow(asked: SeriesParams, *given: Any, **more: Any) -> dict[str, Any]:
        if asked.fill == "daily":
            assert release.wait(patience_s())
        return about(asked, *given, **more)

    monkeypatch.setattr(tables, "about", slow)
    yield release
    release.set()


def bounded(monkeypatch: pytest.MonkeyPatch, bounds: Mapping[Queue, int]) -> None:
    for queue, most in bounds.items():
        monkeypatch.setitem(MOST_WAITING, queue, most)


async def test_too_many_long_answers_are_refused(
    whole: Served, held_up: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each route answers in its own shape, with a time to retry. Small answers wait for no long one."""
    bounded(monkeypatch, {Queue.LONG: 2, Queue.PICTURES: 0})
    monkeypatch.setattr("ratesvc.features.dialects.Request.check_size", lambda *_, **__: 2000)
    long = [asyncio.create_task(whole.get(DAILY + code)) for code in ("USD", "EUR")]
    await eventually(lambda: whole.service.workers.waiting[Queue.LONG] == 2)
    shapes = {
        f"{DAILY}CNY": ("type", "urn:ratesvc:busy"),
        f"{TIME_SERIES}&symbols=USD": ("message", "not_available"),
        "/frankfurter/v1/2026-04-23..": ("message", "Too many long answers are being rendered."),
    }
    for path, (name, value) in shapes.items():
        status, headers, body = await whole.get(path)
        assert (status, headers["Retry-After"], headers["Cache-Control"]) == (503, "30", "no-store"), path
        assert json.loads(body)[name].startswith(value)
    status, _, body = await whole.get("/chart?period=all")
    assert (status, b"Too many readers want long answers right now." in body) == (503, True)
    assert (await whole.get(f"{SMALL}10"))[0] == 200
    held_up.set()
    assert [status for status, _, _ in await asyncio.gather(*long)] == [200, 200]
    assert whole.service.workers.waiting[Queue.LONG] == 0
    assert (await whole.get(f"{DAILY}CNY"))[0] == 200


@pytest.mark.parametrize(
    ("queue", "path"),
    [
        (Queue.SMALL, f"{SMALL}13"),
        (Queue.WIDGETS, "/widget?heading=13"),
        (Queue.PAGES, "/rate?amount=13"),
        (Queue.BUILDER, "/?heading=13"),
        (Queue.LONG, f"{DAILY}USD"),
        (Queue.PICTURES, "/chart?period=month"),
    ],
)
async def test_every_queue_has_a_bound(queue: Queue, path: str, whole: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond it an answer is refused with a time to retry; no other queue is."""
    assert MOST_WAITING.keys() == {*Queue}
    monkeypatch.setattr("ratesvc.service.publication.LONG_POINTS", 20)
    bounded(monkeypatch, {queue: 0})
    status, headers, _ = await whole.get(path)
    assert (status, headers["Retry-After"]) == (503, "30")
    bounded(monkeypatch, dict.fromkeys(Queue, 0) | {queue: 1})
    assert (await whole.get(path))[0] == 200


async def test_a_client_that_leaves_gives_up_its_place_in_the_queue(whole: Served, held_up: threading.Event) -> None:
    """Its long answer keeps no other client waiting."""
    first, second = (asyncio.create_task(whole.get(DAILY + code)) for code in ("USD", "EUR"))
    await eventually(lambda: whole.service.workers.waiting[Queue.LONG] == 2)
    second.cancel()
    await eventually(lambda: whole.service.workers.waiting[Queue.LONG] == 1)
    held_up.set()
    assert (await first)[0] == 200


async def test_pictures_have_a_queue_of_their_own(
    whole: Served, held_up: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty wait at once although the queue of long answers is full, and take turns with those. Nothing else waits."""
    done: list[str] = []
    finish = Body.finish

    def picture(*_: Any) -> bytes:
        done.append("picture")
        return b""

    def finished(body: Body) -> Body:
        done.extend(["long"] * body.is_long)
        return finish(body)

    monkeypatch.setattr(png, "png", picture)
    monkeypatch.setattr(Body, "finish", finished)
    bounded(monkeypatch, {Queue.LONG: 3, Queue.PICTURES: 40})
    waiting = whole.service.workers.waiting
    long = [asyncio.create_task(whole.get(DAILY + code)) for code in ("USD", "EUR", "CNY")]
    cards = [asyncio.create_task(whole.get(f"/widget/card.png?heading={n}")) for n in range(39)]
    cards.append(asyncio.create_task(whole.get("/chart.png?codes=USD&since=2026-04-01")))
    await eventually(lambda: waiting[Queue.PICTURES] == 40)
    for path in ("/widget/card.png?heading=more", f"{DAILY}GBP"):
        assert (await whole.get(path))[0] == 503
    for path in (f"{SMALL}11", "/widget?heading=small", "/?heading=small"):
        assert (await whole.get(path))[0] == 200
    held_up.set()
    assert {status for status, _, _ in await asyncio.gather(*long, *cards)} == {200}
    assert done[:6] == ["long", "picture"] * 3


EMBEDDED = "/oembed?url={url}/embed%3Fheading=H"
PAGES = (
    *("/?heading=H", "/widget?heading=H", "/widget/frame?heading=H", "/widget/rows.json?heading=H", "/embed?heading=H"),
    *("/widget/card.svg?heading=H", EMBEDDED, "/rate?amount=7", "/chart?since=2026-04-23"),
)


@pytest.mark.parametrize("path", PAGES)
async def test_no_page_is_rendered_on_the_event_loop(path: str, whole: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither its rows nor its template, nor is it compressed there: anybody may ask for any number of headings."""
    threads = set()

    def noting(made: Any) -> Any:
        def wrapped(*given: Any, **more: Any) -> Any:
            threads.add(threading.current_thread())
            return made(*given, **more)

        return wrapped

    monkeypatch.setattr(rows, "table", noting(rows.table))
    monkeypatch.setattr(jinja2.Template, "render", noting(jinja2.Template.render))
    monkeypatch.setattr(brotli, "compress", noting(brotli.compress))
    assert (await whole.get(path.format(url=whole.url.replace("127.0.0.1", "localhost"))))[0] == 200
    assert threads
    assert threading.main_thread() not in threads


def holding_up(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> threading.Event:
    """No call of this function begins before the event is set."""
    release, made = threading.Event(), getattr(owner, name)

    def slow(*given: Any, **more: Any) -> Any:
        assert release.wait(patience_s())
        return made(*given, **more)

    monkeypatch.setattr(owner, name, slow)
    return release


async def test_a_page_that_is_rendered_keeps_no_small_answer_waiting(
    whole: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small answers have threads of their own."""
    release = holding_up(monkeypatch, rows, "table")
    pages = [asyncio.create_task(whole.get(f"/widget?heading={n}")) for n in range(20)]
    await eventually(lambda: whole.service.workers.waiting[Queue.WIDGETS] == 20)
    assert (await whole.get(f"{SMALL}12"))[0] == 200
    assert (await whole.get("/frankfurter/v1/latest"))[0] == 200
    release.set()
    assert {status for status, _, _ in await asyncio.gather(*pages)} == {200}


@pytest.mark.parametrize(
    ("owner", "name", "path", "other"),
    [(builder, "builder", "/?heading={}", "/rate?amount=7"), (rate, "answered", "/rate?amount={}", "/?heading=other")],
)
async def test_a_page_keeps_no_widget_waiting(
    owner: Any, name: str, path: str, other: str, whole: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It costs as much as several widgets, and anybody may ask for any number. Nor does a page of another kind wait."""
    release = holding_up(monkeypatch, owner, name)
    pages = [asyncio.create_task(whole.get(path.format(n + 10))) for n in range(20)]
    await eventually(lambda: sum(whole.service.workers.waiting.values()) == 20)
    try:
        async with asyncio.timeout(patience_s()):
            for widget in ("/widget?heading=small", "/embed?heading=small", EMBEDDED, other):
                assert (await whole.get(widget.format(url=whole.url.replace("127.0.0.1", "localhost"))))[0] == 200
        assert not any(page.done() for page in pages)
    finally:
        release.set()
    assert {status for status, _, _ in await asyncio.gather(*pages)} == {200}


@pytest.mark.parametrize("path", ["/ecb/eurofxref-hist.csv", "/ecb/eurofxref-hist.zip", TIME_SERIES])
async def test_long_answers_of_dialects_wait_among_the_long_ones(
    path: str, whole: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They know their number of points before they are rendered."""
    queues: list[Queue] = []
    monkeypatch.setattr("ratesvc.features.ranges.unit_rates.MOST_POINTS", 10**9)
    run = whole.service.workers.run

    async def noting(work: Any, queue: Queue) -> Any:
        queues.append(queue)
        return await run(work, queue)

    monkeypatch.setattr("ratesvc.service.publication.LONG_POINTS", len(whole.service.history.codes()) * 3)
    monkeypatch.setattr(whole.service.workers, "run", noting)
    assert (await whole.get(path))[0] == 200
    assert queues == [Queue.LONG]


async def test_a_page_with_a_chart_waits_among_the_pictures(whole: Served, held_up: threading.Event) -> None:
    """It draws its lines in three sizes. No widget and no other page waits for it."""
    asked = (f"{DAILY}USD", "/chart?period=month", "/chart/frame?since=2026-04-23")
    slow = [asyncio.create_task(whole.get(path)) for path in asked]
    await eventually(lambda: whole.service.workers.waiting == {Queue.LONG: 1, Queue.PICTURES: 2})
    for path in ("/widget?heading=small", "/?heading=small"):
        assert (await whole.get(path))[0] == 200
    held_up.set()
    assert [status for status, _, _ in await asyncio.gather(*slow)] == [200, 200, 200]


async def test_a_thread_that_renders_gives_way_soon(serve: Serve) -> None:
    """Five times as soon as with Python's own interval, which is restored at the end."""
    python = sys.getswitchinterval()
    try:
        sys.setswitchinterval(0.004)
        async with serve():
            assert sys.getswitchinterval() == pytest.approx(0.001)
        assert sys.getswitchinterval() == pytest.approx(0.004)
    finally:
        sys.setswitchinterval(python)
