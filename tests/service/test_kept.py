"""What is kept is given only to who asked for the same, by the publication that was asked, and stays true."""

from __future__ import annotations

import asyncio
import json
import threading
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib import import_module
from typing import Any

import pytest
from conftest import Clock, Serve, Served, eventually, unhurried
from fake_bank import Bank, sheet, workdays

from ratesvc import dialects
from ratesvc.config import Settings
from ratesvc.render.language import language, language_or_default
from ratesvc.service.publication import Body
from ratesvc.web.rates import rendered_in_thread

THURSDAY, FRIDAY, SATURDAY = date(2026, 4, 23), date(2026, 4, 24), date(2026, 4, 25)
WIDGET = "/widget/rows.json?codes=USD&lang=en"
DATED = (
    "/v1/rates/2026-04-26",
    "/v1/rates/2026-04-26?revision=1",
    "/v1/rates/2026-04-26/USD.txt",
    "/v1/convert?amount=5&from=USD&to=EUR&date=2026-04-26",
    "/v1/series?codes=USD&since=2026-04-23&until=2026-04-26",
    "/rate?date=2026-04-26&currency=USD",
    "/chart.svg?codes=USD&since=2026-04-23&until=2026-04-26",
    "/scripts/XML_daily.asp?date_req=26/04/2026",
    "/frankfurter/v1/2026-04-26?base=USD",
)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Backfill without pauses, so that history is complete soon."""
    return unhurried(settings)


async def both_days(served: Served) -> None:
    await eventually(lambda: served.service.publisher.current and served.service.publisher.current.snapshot.previous)


def on_saturday_without_its_sheet(served: Served, clock: Clock) -> None:
    """Friday's sheet is all there is, a minute after Moscow midnight."""
    clock.moment = datetime(2026, 4, 24, 21, 1, tzinfo=UTC)
    served.service.publish()


async def on_saturday(bank: Bank, served: Served, clock: Clock) -> None:
    """Saturday's sheet is in force, so Friday is over."""
    await both_days(served)
    await announced(bank, served, clock, SATURDAY)
    clock.moment = datetime(2026, 4, 25, 6, 0, tzinfo=UTC)
    served.service.publish()


async def announced(bank: Bank, served: Served, clock: Clock, *days: date, shift: int = 0) -> None:
    """It is evening, and the Bank has published these sheets."""
    bank.publish(*(sheet(day, shift=shift) for day in days))
    clock.moment = datetime(2026, 4, 24, 14, 0, tzinfo=UTC)
    for _ in range(3):
        await served.service.refresh()
    number = len(bank.truth[days[-1]])
    await eventually(lambda: (one := served.service.history.of_date(days[-1])) and one.number == number)


async def test_a_widget_of_a_day_is_not_the_widget_of_today(served: Served, clock: Clock) -> None:
    """Both show Friday's sheet, but today's says that it is stale, whichever of them was asked for first."""
    await both_days(served)
    on_saturday_without_its_sheet(served, clock)
    dated, undated = [json.loads((await served.get(path))[2]) for path in (f"{WIDGET}&date=2026-04-24", WIDGET)]
    assert (dated["stale"], undated["stale"]) == (False, True)
    assert (dated.get("note", ""), "April 24, 2026" in undated["note"]) == ("", True)


async def test_a_sparkline_composes_no_sheet(bank: Bank, settings: Settings, serve: Serve) -> None:
    """Its points are read from a column. Only the sheet of the shown day is composed."""
    days = list(workdays(date(2026, 3, 10), 34))
    bank.publish(*map(sheet, days))
    async with serve(settings) as served:
        await served.filled()
        status, _, body = await served.get(f"{WIDGET}&spark=7&date={days[8]}")
        assert (status, bool(json.loads(body)["rows"][0]["points"])) == (200, True)
        assert served.service.history._composed.cache_info().currsize <= 3  # noqa: SLF001 -- what it costs is to be seen


async def test_a_sparkline_does_not_cross_the_redenomination(bank: Bank, settings: Settings, serve: Serve) -> None:
    """In January 1998 it begins at New Year, because a thousandth of the number is no fall."""
    old = [date(1997, 12, day) for day in (24, 25, 26, 27, 30, 31)]
    new = [date(1998, 1, day) for day in (1, 6, 7, 8)]
    bank.publish(*map(sheet, [*old, *new, THURSDAY, FRIDAY]))
    bank.series["R01235"] |= {day: (1, Decimal(5960)) for day in old}
    async with serve(settings) as served:
        await served.filled()
        _, _, body = await served.get(f"{WIDGET}&spark=30&date=1998-01-08")
        first, last = (sheet(day).by_code["USD"].value for day in (new[0], new[-1]))
        assert json.loads(body)["rows"][0]["cells"][0] == f"from {first:.4f} to {last:.4f}"
        _, _, body = await served.get(f"{WIDGET}&spark=30&date=1998-01-06")
        assert "points" not in json.loads(body)["rows"][0]
        _, _, body = await served.get(f"{WIDGET}&spark=30&date=1997-12-31")
        assert json.loads(body)["rows"][0]["cells"][0] == "from 5,960.0000 to 5,960.0000"


async def test_an_immutable_revision_never_changes(bank: Bank, served: Served, clock: Clock) -> None:
    """Not even when the sheet before it is corrected afterwards."""
    await on_saturday(bank, served, clock)
    path = "/v1/rates/2026-04-24?revision=1"
    _, headers, said = await served.get(path)
    assert "immutable" in headers["Cache-Control"]
    assert json.loads(said)["rates"]["USD"]["change"] is not None
    corrected = served.held(THURSDAY)
    clock.advance(hours=1)
    served.service.history.add(_corrected(corrected, clock))
    served.service.publish()
    assert (await served.get(path))[2] == said
    assert (
        json.loads((await served.get("/v1/rates/2026-04-24"))[2])["rates"]["USD"]["change"]
        != (json.loads(said)["rates"]["USD"]["change"])
    )


def _corrected(revision: Any, clock: Clock) -> Any:
    """The second revision of a sheet, fetched now."""
    return type(revision)(sheet(revision.effective_date, shift=7), 2, clock.moment)


async def test_a_revision_in_place_of_a_missing_sheet_is_stale_and_not_immutable(served: Served, clock: Clock) -> None:
    """Today's own sheet may still come, so an answer for today's date must not be kept for a year."""
    await both_days(served)
    on_saturday_without_its_sheet(served, clock)
    _, headers, body = await served.get("/v1/rates/2026-04-25?revision=1")
    document = json.loads(body)
    assert (document["effective_date"], document["stale"]) == ("2026-04-24", True)
    assert "immutable" not in headers["Cache-Control"]


async def test_a_revision_of_a_day_to_come_is_not_immutable(bank: Bank, served: Served, clock: Clock) -> None:
    """On Friday evening Saturday's sheet covers three days. It may be corrected, or another sheet may come first."""
    await both_days(served)
    await announced(bank, served, clock, SATURDAY)
    for day in ("2026-04-24", "2026-04-25", "2026-04-26", "2026-04-27"):
        status, headers, _ = await served.get(f"/v1/rates/{day}?revision=1")
        assert (status, headers["Cache-Control"][:18]) == (200, "public, max-age=60"), day
    _, headers, _ = await served.get("/v1/rates/2026-04-23?revision=1")
    assert headers["Cache-Control"].startswith("public, max-age=60"), "the sheet before it is not known"


async def test_answers_about_a_day_are_kept_long_once_the_next_sheet_is_known(
    bank: Bank, served: Served, clock: Clock
) -> None:
    """On Monday morning Sunday is past and Tuesday's sheet is not set. In the evening it is."""
    await on_saturday(bank, served, clock)
    for hour, is_long in ((6, False), (15, True)):
        clock.moment = datetime(2026, 4, 27, hour, 0, tzinfo=UTC)
        if is_long:
            bank.publish(sheet(date(2026, 4, 28)))
            for _ in range(3):
                await served.service.refresh()
            await eventually(lambda: served.service.history.of_date(date(2026, 4, 28)))
        served.service.publish()
        for path in DATED:
            status, headers, _ = await served.get(path)
            seconds = int(headers["Cache-Control"].removeprefix("public, max-age=").partition(",")[0])
            assert (status, seconds >= 86400) == (200, is_long), (path, hour, headers["Cache-Control"])


async def test_tomorrows_change_is_unknown_where_todays_sheet_is_missing(
    bank: Bank, served: Served, clock: Clock
) -> None:
    """A move over two sheets would be shown as one; by its date, today and tomorrow, the answer is the same."""
    await both_days(served)
    tuesday, wednesday = date(2026, 4, 28), date(2026, 4, 29)
    bank.publish(sheet(wednesday))
    clock.moment = datetime(2026, 4, 28, 14, 0, tzinfo=UTC)
    for _ in range(3):
        await served.service.refresh()
    await eventually(lambda: served.service.history.of_date(wednesday))
    assert served.service.history.of_date(tuesday) is None
    following, dated = [json.loads((await served.get(f"/v1/rates/{path}"))[2]) for path in ("next", "2026-04-29")]
    assert following["previous_effective_date"] is dated["previous_effective_date"] is None
    assert following["rates"]["USD"]["change"] is None


@pytest.mark.parametrize("name", Settings().dialects)
def test_no_dialect_keeps_an_exception(name: str) -> None:
    """An exception that is raised again and again keeps the frames of every request."""
    room = import_module(f"ratesvc.dialects.{name.replace('-', '_')}")
    assert not [key for key, kept in {**vars(room), **vars(dialects)}.items() if isinstance(kept, BaseException)]


async def test_a_body_rendered_during_a_change_belongs_to_its_publication(
    bank: Bank, served: Served, clock: Clock
) -> None:
    """Another sheet is published while a request waits for a long table. The table is not kept under the new sheet."""
    await both_days(served)
    service, release = served.service, threading.Event()
    old = service.publisher.current
    assert old
    # Both threads that render are busy until the sheet has changed.
    busy = [
        asyncio.create_task(rendered_in_thread(service, old, ("busy", n), lambda: _waiting(release))) for n in range(2)
    ]
    asked = asyncio.create_task(served.get("/cbr-xml-daily/latest.js"))
    await eventually(lambda: len(old.render_locks) == 3)
    await announced(bank, served, clock, SATURDAY)
    assert service.publisher.current is not old
    release.set()
    assert json.loads((await asked)[2])["date"] == "2026-04-24"
    assert json.loads((await served.get("/cbr-xml-daily/latest.js"))[2])["date"] == "2026-04-25"
    await asyncio.gather(*busy)


def _waiting(release: threading.Event) -> Body:
    release.wait(10)
    return Body(b"", "text/plain")


async def test_simultaneous_requests_draw_a_picture_once(served: Served) -> None:
    """The first request draws, and the others wait."""
    await both_days(served)
    current, drawn = served.service.publisher.current, []
    assert current

    def draw() -> Body:
        drawn.append(1)
        return Body(b"picture", "image/png")

    found = await asyncio.gather(*(rendered_in_thread(served.service, current, "picture", draw) for _ in range(20)))
    assert ({one.content for one in found}, len(drawn)) == ({b"picture"}, 1)


async def test_cache_busters_are_remembered_one_by_one(served: Served) -> None:
    """A fixed file under twenty addresses is one body with twenty answers."""
    await both_days(served)
    for number in range(20):
        await served.get(f"/widget/rates.js?v={number}")
    current = served.service.publisher.current
    assert current
    assert sum("rates.js" in target for target in current.answers) == 20


def test_the_same_language_is_the_same_key() -> None:
    """Also if it was made anew."""
    first = language_or_default(None)
    for tag in ("de", "fr", "tr"):
        language(tag)
    assert language_or_default(None) == first == language("en")
    assert hash(language_or_default("xx-nowhere")) == hash(first)
    assert language("de") != first


async def test_a_currency_that_a_sheet_lacks_is_not_called_unknown(served: Served, clock: Clock) -> None:
    """Another sheet has it. The text names the sheet that lacks it."""
    await both_days(served)
    history = served.service.history
    held = history.of_date(THURSDAY)
    assert held
    without = type(held.sheet)(THURSDAY, tuple(quote for quote in held.sheet.quotes if quote.code != "CNY"))
    history.add(type(held)(without, 2, clock.moment))
    for path in ("?quote=CNY", "/CNY.txt"):
        status, _, body = await served.get(f"/v1/rates/2026-04-23{path}")
        assert (status, json.loads(body)["detail"]) == (404, "The sheet of 2026-04-23 has no CNY.")


async def test_zero_has_no_sign(served: Served) -> None:
    """An amount that is zero, and one that is rounded to zero."""
    await both_days(served)
    for amount, shown in (("-0.00001", ("-0.00001", "0.00")), ("-0", ("0", "0.00"))):
        document = json.loads((await served.get(f"/v1/convert?amount={amount}&from=RUB&to=USD"))[2])
        assert (document["amount"], document["result_rounded"]) == shown


@pytest.mark.parametrize("heading", ["Курсы\u00a0валют", "نرخ\u200cها", "Rates \U0001f468\u200d\U0001f4bb"])
async def test_a_heading_may_contain_unusual_blanks_and_joiners(served: Served, heading: str) -> None:
    """No-break spaces, and the joiners of Persian and of emoji."""
    await both_days(served)
    async with served.http.get(f"{served.url}/widget/rows.json", params={"heading": heading}) as answer:
        assert json.loads(await answer.read())["title"] == heading


PUBLISHED = (
    *("/v1/rates", "/v1/rates/2026-04-23", "/v1/rates?quote=USD&lang=ru", "/v1/currencies", "/v1/series?codes=USD"),
    *(
        "/widget",
        "/widget/frame?lang=ru",
        "/widget/rows.json",
        "/widget/card.svg",
        "/chart.svg?codes=USD",
        "/",
        "/rate",
    ),
    *("/cbr-xml-daily/daily_json.js", "/scripts/XML_daily.asp", "/prebid/currency.json", "/ecb/eurofxref-daily.xml"),
)


async def test_a_published_answer_needs_no_work(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Redis and the Bank, unable to render or to compress: 200, 304, HEAD, gzip and br send the same bytes."""
    await both_days(served)
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
