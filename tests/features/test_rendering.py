"""No question costs more than a bound, and long answers never stand before small ones."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import date
from functools import partial
from typing import Any

import brotli
import jinja2
import pytest
from conftest import Serve, Served, eventually, patience_s
from kit import cases
from kit.bank import TABLE, Bank, sheet
from kit.dates import FRIDAY

from ratesvc.domain.rates import FIRST_DAY
from ratesvc.features.ranges.unit_rates import MOST_POINTS, SeriesParams
from ratesvc.features.rendering import Queue, Workers, workers_of
from ratesvc.features.series import tables
from ratesvc.features.widget import rows

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
    whole: Served, serve_whole: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The problem names the limit and the alternatives that are on. A few currencies on every day are within it."""
    with monkeypatch.context() as patch:
        patch.setattr(tables, "to_json", None)
        problem = json.loads((await whole.get(DAILY + EVERY))[2])
    assert (problem["type"], problem["most"]) == ("urn:ratesvc:too_many_points", MOST_POINTS)
    assert (problem["points"] > MOST_POINTS, problem["parameter"], problem["given"]) == (True, "codes", EVERY[:100])
    assert "75,000" in problem["detail"]
    async with serve_whole(features=("series",)) as alone:
        assert b"history.csv" not in (await alone.get(DAILY + EVERY))[2]
    assert len(json.loads((await whole.get(DAILY + "USD,EUR,CNY,GBP,JPY"))[2])["rows"]) > 50_000


async def test_the_limit_holds_for_every_form_and_names_itself(whole: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """golden/limits.txt: at most five rates, not lines. Each dialect refuses in its own shape."""
    monkeypatch.setattr("ratesvc.features.ranges.unit_rates.MOST_POINTS", 5)
    answers = {path: await whole.get(path) for path in cases.questions("limits.txt")}
    refusals = {path: body.decode() if status != 200 else "" for path, (status, _, body) in answers.items()}
    cases.check("limits.txt", {path: f"{answers[path][0]} {refusals[path]}".rstrip() for path in answers})


@pytest.fixture
def held_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Lets no rendering of daily points end before this is set."""
    release, about = threading.Event(), tables.about

    def slow(asked: SeriesParams, *given: Any, **more: Any) -> dict[str, Any]:
        if asked.daily:
            assert release.wait(patience_s())
        return about(asked, *given, **more)

    monkeypatch.setattr(tables, "about", slow)
    yield release
    release.set()


def bounded(monkeypatch: pytest.MonkeyPatch, bounds: Mapping[Queue, int]) -> None:
    for queue, most in bounds.items():
        monkeypatch.setattr(queue, "most", most)


async def test_too_many_long_answers_are_refused(
    whole: Served, held_up: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each route answers in its own shape, with a time to retry. Small answers wait for no long one."""
    bounded(monkeypatch, {Queue.LONG: 2, Queue.PICTURES: 0})
    monkeypatch.setattr("ratesvc.features.dialects.frankfurter.count_points", lambda *_: 2000)
    long = [asyncio.create_task(whole.get(DAILY + code)) for code in ("USD", "EUR")]
    await eventually(lambda: workers_of(whole.service).waiting[Queue.LONG] == 2)
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
    assert workers_of(whole.service).waiting[Queue.LONG] == 0
    assert (await whole.get(f"{DAILY}CNY"))[0] == 200


EMBEDDED = "/oembed?url={url}/embed%3Fheading=H"
QUEUES = {
    Queue.SMALL: (f"{SMALL}13", "/frankfurter/v1/latest"),
    Queue.WIDGETS: (*(f"/{it}?heading=H" for it in ("widget", "widget/frame", "widget/rows.json", "embed")), EMBEDDED),
    Queue.PAGES: ("/rate?amount=13",),
    Queue.BUILDER: ("/?heading=H",),
    Queue.LONG: (f"{DAILY}USD", "/ecb/eurofxref-hist.csv", "/ecb/eurofxref-hist.zip", TIME_SERIES),
    Queue.PICTURES: ("/chart?period=month", "/chart/frame?since=2026-04-23", "/widget/card.png?heading=H"),
}
PAGES = [path for queue in (Queue.WIDGETS, Queue.PAGES, Queue.BUILDER) for path in QUEUES[queue]]


@pytest.mark.parametrize(("queue", "path"), [(queue, path) for queue, paths in QUEUES.items() for path in paths])
async def test_an_answer_waits_in_its_queue_which_has_a_bound(
    queue: Queue, path: str, whole: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond it the answer is refused with a time to retry, and that of no other queue."""
    assert QUEUES.keys() == {*Queue}
    monkeypatch.setattr("ratesvc.features.rendering.LONG_POINTS", 20)
    monkeypatch.setattr("ratesvc.features.ranges.unit_rates.MOST_POINTS", 10**9)
    path = path.format(url=whole.url.replace("127.0.0.1", "localhost"))
    bounded(monkeypatch, {queue: 0})
    status, headers, _ = await whole.get(path)
    assert (status, headers["Retry-After"]) == (503, "30")
    bounded(monkeypatch, dict.fromkeys(Queue, 0) | {queue: 1})
    assert (await whole.get(path))[0] == 200


async def test_only_long_answers_and_pictures_share_a_thread() -> None:
    """Nothing small waits for something slow. A page costs as much as several widgets, one of the builder as a few."""
    workers, release, slow = Workers(), threading.Event(), {Queue.LONG, Queue.PICTURES}
    for queue in Queue:
        others = [one for one in Queue if one is not queue and not {one, queue} <= slow]
        busy = [asyncio.create_task(workers.run(release.wait, one)) for one in others * 3]
        await eventually(workers.waiting.total, becomes=len(busy))
        try:
            async with asyncio.timeout(patience_s()):
                assert await workers.run(lambda: "rendered", queue) == "rendered"
        finally:
            release.set()
        assert all(await asyncio.gather(*busy))
        release.clear()
    workers.close()


async def test_a_client_that_leaves_gives_up_its_place_in_the_queue(whole: Served, held_up: threading.Event) -> None:
    """Its long answer keeps no other client waiting."""
    first, second = (asyncio.create_task(whole.get(DAILY + code)) for code in ("USD", "EUR"))
    await eventually(lambda: workers_of(whole.service).waiting[Queue.LONG] == 2)
    second.cancel()
    await eventually(lambda: workers_of(whole.service).waiting[Queue.LONG] == 1)
    held_up.set()
    assert (await first)[0] == 200


async def test_long_answers_and_pictures_take_turns() -> None:
    """However many of the others were there first."""
    workers, done = Workers(), list[Queue]()
    waiting = [Queue.LONG] * 3 + [Queue.PICTURES] * 3
    await asyncio.gather(*(workers.run(partial(done.append, queue), queue) for queue in waiting))
    assert done == [Queue.LONG, Queue.PICTURES] * 3
    workers.close()


@pytest.mark.parametrize("path", [*PAGES, "/widget/card.svg?heading=H", "/chart?since=2026-04-23"])
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


async def test_the_threads_end_with_the_service(bank: Bank, serve: Serve) -> None:
    """Otherwise a long answer that nobody waits for would delay the end of the process."""
    bank.publish(sheet(FRIDAY))
    async with serve() as served:
        workers = workers_of(served.service)
        assert await workers.run(lambda: "rendered", Queue.SMALL) == "rendered"
    with pytest.raises(RuntimeError, match="after shutdown"):
        await workers.run(lambda: "rendered", Queue.SMALL)
