"""Answers of all features side by side."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from conftest import Clock, Serve, Served, announced, eventually, patience_s
from kit import cases
from kit.bank import Bank, sheet, silence, workdays
from kit.dates import EVENING, FRIDAY, MIDNIGHT, SATURDAY, TUESDAY

from ratesvc.bank.xml import parse_daily
from ratesvc.domain.rates import Quote, Sheet
from ratesvc.domain.workdays import ONE_DAY
from ratesvc.features.rendering import rendered
from ratesvc.service.publication import Body

XDR = Quote("XDR", "960", "R01589", 1, Decimal("103.3893"), "СДР")


def with_xdr(day: date) -> Sheet:
    """A sheet with one more currency."""
    return replace(sheet(day), quotes=(*sheet(day).quotes, XDR))


def variants() -> Iterator[str]:
    """Those of golden/variants.txt."""
    for line in cases.body("variants.txt").replace("\n  ", " ").splitlines():
        start, *ends = line.split()
        yield from (start + end if end != "-" else start for end in ends)


async def test_no_two_addresses_share_an_answer(bank: Bank, serve_whole: Serve, clock: Clock) -> None:
    """Whatever tells them apart is in the key of the body that is kept, whichever is asked for first.

    A sheet of 1997 has one more currency, so lists of all days and of the last ones differ, too.
    """
    bank.publish(with_xdr(date(1997, 12, 2)), *map(sheet, workdays(date(2026, 3, 10), 35)))
    clock.advance(hours=5)
    for targets in ([*variants()], [*variants()][::-1]):
        async with serve_whole() as served:
            first: dict[tuple[str, bytes], str] = {}
            for target in targets:
                status, headers, body = await served.get(target)
                assert status == 200, target
                assert (other := first.setdefault((headers["Content-Type"], body), target)) == target, other


async def test_the_date_of_an_answer_is_that_of_the_last_change(
    bank: Bank, served: Served, serve_whole: Serve, clock: Clock
) -> None:
    """The acceptance of a sheet or the start of the day, on both paths, and the same on a second replica."""
    clock.moment = datetime(2026, 4, 24, 13, 30, 7, 900_000, tzinfo=UTC)
    bank.publish(sheet(FRIDAY + ONE_DAY))
    await served.service.refresh()
    await eventually(lambda: served.service.history.of_date(FRIDAY + ONE_DAY))
    accepted, midnight = "Fri, 24 Apr 2026 13:30:07 GMT", "Fri, 24 Apr 2026 21:00:00 GMT"
    async with serve_whole() as second:
        for path in ("/v1/rates", "/v1/rates/2026-04-23", "/widget", "/cbr-xml-daily/daily_json.js"):
            for running in (served, second, served, second):
                assert (await running.get(path))[1]["Last-Modified"] == accepted, path
                assert (await running.get(path, If_Modified_Since=accepted))[0] == 304
                assert (await running.get(path, If_Modified_Since=midnight))[0] == 200
        assert "Last-Modified" not in (await served.get("/widget/rates.js"))[1]
        clock.moment = MIDNIGHT
        for running in (served, second):
            status, headers, body = await running.get("/v1/rates", If_Modified_Since=accepted)
            assert (status, headers["Last-Modified"]) == (200, midnight)
            assert json.loads(body)["effective_date"] == "2026-04-25"


async def test_every_answer_of_a_demo_says_so(served: Served) -> None:
    """A program must not take its figures for the Bank's."""
    served.service.demo = True
    for path in ("rates?codes=USD", "series?codes=USD", "convert?from=USD&to=RUB&amount=1", "currencies", "sheets"):
        assert json.loads((await served.get(f"/v1/{path}"))[2])["demo"] is True, path


OLD_AND_NEW, LAST_YEAR = (date(1997, 12, 31), date(1998, 1, 1)), date(2025, 12, 31)


async def test_each_address_has_its_answer(bank: Bank, serve_whole: Serve, clock: Clock) -> None:
    """golden/answers.txt says which, and why: on Friday evening, when Saturday's sheet is announced."""
    clock.moment = EVENING
    days = (*OLD_AND_NEW, LAST_YEAR, *(date(2026, 4, day) for day in range(21, 26)))
    bank.publish(*(with_xdr(day) if day == LAST_YEAR else sheet(day) for day in days))
    async with serve_whole(calendar={"extra_off": silence(*days)}) as served:
        await eventually(lambda: served.service.history.of_date(SATURDAY))
        asked = cases.questions("answers.txt")
        cases.check("answers.txt", {path: shown(*await served.get(path)) for path in asked})


def shown(status: int, headers: Mapping[str, str], body: bytes) -> str:
    """An answer with each row on a line of its own."""
    own = [f"{name}: {headers[name]}" for name in ("Effective-Date", "Revision") if name in headers]
    text = body.decode().replace("\ufeff", "<BOM>").replace("\r\n", "\n")
    head = f"{status} {headers['Content-Type']}, {headers['Cache-Control'].partition(', stale')[0]}"
    return "\n".join([head, *own, re.sub(r"(?<=[\[}])(,?)\{", r"\1\n{", text).rstrip()])


async def test_a_refusal_names_the_parameter_its_value_and_what_it_takes(served: Served) -> None:
    """Also one that is part of the path, and a day of another form. The type is stable."""
    asked = cases.questions("problems.txt")
    answers = {path: await served.get(path) for path in asked}
    cases.check("problems.txt", {path: body.decode() for path, (_, _, body) in answers.items()})
    for status, headers, body in answers.values():
        assert (status, headers["Content-Type"]) == (json.loads(body)["status"], "application/problem+json")


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


async def test_answers_about_a_day_are_kept_long_once_its_sheet_is_settled(
    bank: Bank, served: Served, clock: Clock
) -> None:
    """On Monday morning Sunday is past and Tuesday's sheet is not set. A week later nothing can change any more."""
    await announced(bank, served, clock, SATURDAY)
    clock.moment = datetime(2026, 4, 25, 6, 0, tzinfo=UTC)
    served.service.publish()
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


async def test_a_document_with_an_unknown_part_is_repeated_without_it(
    served: Served, bank: Bank, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is a sheet like any other, and the log names the part once. Known documents come back byte for byte."""
    bank.publish(sheet(SATURDAY))
    whole = bank.documents[SATURDAY]
    bank.documents[SATURDAY] = whole.replace(b"</Valute>", b"<script>alert(1)</script></Valute>", 1)
    for _ in range(2):
        await served.service.poll()
    assert capsys.readouterr().out.count("unknown_part  ") == 1
    body = (await served.get("/scripts/XML_daily.asp?date_req=25/04/2026"))[2]
    assert b"script" not in body
    assert parse_daily(body) == sheet(SATURDAY)
    assert (await served.get("/scripts/XML_daily.asp?date_req=24/04/2026"))[2] == bank.documents[FRIDAY]


async def test_a_body_rendered_during_a_change_belongs_to_its_publication(
    bank: Bank, served: Served, clock: Clock
) -> None:
    """Another sheet is published while a request waits for a long table. The table is not kept under the new sheet."""
    service, release = served.service, threading.Event()
    old = service.publication
    assert old
    # Both threads that render are busy until the sheet has changed.
    busy = [asyncio.create_task(rendered(service, old, ("busy", n), lambda: _waiting(release))) for n in range(2)]
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

    found = await asyncio.gather(*(rendered(served.service, current, "picture", draw) for _ in range(20)))
    assert ({one.content for one in found}, len(drawn)) == ({b"picture"}, 1)
