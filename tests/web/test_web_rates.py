"""/v1/rates over HTTP: the path of a number from the Bank's document to an answer."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import aiohttp
import brotli
import pytest
from conftest import Clock, Serve, Served, eventually
from fake_bank import Bank, sheet
from figures import LAYOUTS, Layout
from yarl import URL

from ratesvc.config import Settings

THURSDAY, FRIDAY, SATURDAY = date(2026, 4, 23), date(2026, 4, 24), date(2026, 4, 25)


def read(body: bytes) -> Any:
    """JSON with its numbers as Decimals: what a careful client sees."""
    return json.loads(body, parse_float=Decimal, parse_int=Decimal)


@pytest.fixture
async def served(bank: Bank, settings: Settings, serve: Serve) -> AsyncIterator[Served]:
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    async with serve(settings) as running:
        await running.ready()
        await eventually(
            lambda: running.service.publisher.current and running.service.publisher.current.snapshot.previous
        )
        yield running


@pytest.mark.parametrize("layout", LAYOUTS[:4], ids=["one line", "indented", "slashes", "utf-8"])
async def test_every_layout_of_the_bank_gives_the_same_exact_numbers(
    bank: Bank, settings: Settings, serve: Serve, layout: Layout
) -> None:
    """The Bank changed line breaks, charset and date separators over the years; the numbers are the same."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY), layout=layout)
    async with serve(settings) as running:
        await running.ready()
        _, _, body = await running.get("/v1/rates")
    rates = read(body)["rates"]
    for quote in sheet(FRIDAY).quotes:
        row = rates[quote.code]
        assert (row["nominal"], row["value"], row["cbr_id"]) == (quote.nominal, quote.value, quote.cbr_id)
        assert row["unit_rate"] * quote.nominal == quote.value
    assert b"E-" not in body


async def test_today_is_the_sheet_in_force_with_its_change(served: Served) -> None:
    """On Friday noon Friday's own sheet applies, and change is per unit against Thursday's."""
    status, headers, body = await served.get("/v1/rates")
    document = read(body)
    assert status == 200
    assert headers["Content-Type"] == "application/json"
    assert document["requested_date"] == document["effective_date"] == "2026-04-24"
    assert document["previous_effective_date"] == "2026-04-23"
    assert document["next_effective_date"] is None
    assert document["next_expected_at"] == "2026-04-24T18:00:00+03:00"
    assert (document["stale"], document["next_overdue"], document["revision"]) == (False, False, 1)
    now, before = sheet(FRIDAY).by_code["TRY"], sheet(THURSDAY).by_code["TRY"]
    assert document["rates"]["TRY"]["change"] == now.unit_rate - before.unit_rate
    for same in ("/v1/rates/today", "/v1/rates?utm_source=mail&_=1"):
        assert (await served.get(same))[2] == body
    assert (await served.get("/v1/rates/2026-04-24"))[2] == body


async def test_saturday_sunday_and_monday_have_saturdays_sheet(bank: Bank, served: Served, clock: Clock) -> None:
    """The sheet that the Bank sets on Friday is in force from Saturday to Monday."""
    bank.publish(sheet(SATURDAY))
    clock.moment = datetime(2026, 4, 24, 14, 0, tzinfo=UTC)
    await served.service.refresh()
    await eventually(lambda: served.service.history.of_date(SATURDAY))
    for day in ("2026-04-25", "2026-04-26", "2026-04-27"):
        document = read((await served.get(f"/v1/rates/{day}"))[2])
        assert (document["requested_date"], document["effective_date"]) == (day, "2026-04-25")
        assert document["rates"]["USD"]["value"] == sheet(SATURDAY).by_code["USD"].value
    status, _, body = await served.get("/v1/rates/2026-04-28")
    problem = read(body)
    assert (status, problem["type"]) == (404, "urn:ratesvc:not_yet_set")
    assert problem["expected_at"] == "2026-04-27T18:00:00+03:00"


async def test_next_is_not_yet_set_until_the_bank_has_set_it(bank: Bank, served: Served, clock: Clock) -> None:
    """The Bank announces tomorrow's rates in the afternoon. Before that the answer is 404, not an older rate."""
    status, headers, body = await served.get("/v1/rates/next")
    assert (status, read(body)["expected_at"]) == (404, "2026-04-24T18:00:00+03:00")
    assert headers["Cache-Control"] == "no-store"
    bank.publish(sheet(SATURDAY))
    clock.moment = datetime(2026, 4, 24, 13, 30, tzinfo=UTC)
    await served.service.refresh()
    await eventually(lambda: served.service.history.of_date(SATURDAY))
    document = read((await served.get("/v1/rates/next"))[2])
    assert (document["requested_date"], document["effective_date"]) == ("2026-04-25", "2026-04-25")
    assert read((await served.get("/v1/rates"))[2])["next_effective_date"] == "2026-04-25"


async def test_midnight_brings_tomorrows_sheet_into_force_without_a_request(
    bank: Bank, served: Served, clock: Clock
) -> None:
    """The sheet in force changes at Moscow midnight, 21:00 UTC, without a request to the Bank."""
    bank.publish(sheet(SATURDAY))
    clock.moment = datetime(2026, 4, 24, 14, 0, tzinfo=UTC)
    await served.service.refresh()
    await eventually(lambda: served.service.history.of_date(SATURDAY))
    asked = len(bank.queries)
    for moment, effective in (
        (datetime(2026, 4, 24, 20, 59, 59, tzinfo=UTC), "2026-04-24"),
        (datetime(2026, 4, 24, 21, 0, 0, tzinfo=UTC), "2026-04-25"),
    ):
        clock.moment = moment
        served.service.publish()
        assert read((await served.get("/v1/rates"))[2])["effective_date"] == effective
    assert len(bank.queries) == asked


async def test_a_missed_publication_is_overdue_at_nine_and_stale_at_midnight(served: Served, clock: Clock) -> None:
    """At 21:00 today's rate is still the law; only when Saturday begins without its own sheet are numbers stale."""
    for moment, health, overdue, stale in (
        (datetime(2026, 4, 24, 14, 59, tzinfo=UTC), "pass", False, False),
        (datetime(2026, 4, 24, 15, 0, tzinfo=UTC), "warn", False, False),
        (datetime(2026, 4, 24, 18, 0, tzinfo=UTC), "warn", True, False),
        (datetime(2026, 4, 24, 21, 0, tzinfo=UTC), "fail", True, True),
    ):
        clock.moment = moment
        served.service.publish()
        document = read((await served.get("/v1/rates"))[2])
        assert (document["next_overdue"], document["stale"]) == (overdue, stale)
        assert document["effective_date"] == "2026-04-24"
        assert served.service.health()["cbr:sheet"]["status"] == health
        assert (await served.get("/readyz"))[0] == 200
    assert "Not updated since April 24, 2026." in (await served.get("/widget"))[2].decode()


async def test_a_past_day_that_is_not_held_is_loading_and_one_before_1992_does_not_exist(served: Served) -> None:
    """The service never silently returns an older sheet."""
    status, headers, body = await served.get("/v1/rates/2026-04-15")
    assert (status, read(body)["type"]) == (503, "urn:ratesvc:history_loading")
    assert int(headers["Retry-After"]) > 0
    status, _, body = await served.get("/v1/rates/1992-06-30")
    assert (status, read(body)["type"]) == (404, "urn:ratesvc:before_history")


async def test_codes_select_rows_and_quote_gives_cross_rates(served: Served) -> None:
    """`quote=USD` gives cross rates to 10 significant digits, RUB as a row, and leaves USD out."""
    document = read((await served.get("/v1/rates?codes=eur,USD"))[2])
    assert list(document["rates"]) == ["EUR", "USD"]
    document = read((await served.get("/v1/rates?quote=USD"))[2])
    assert document["quote"] == "USD"
    assert "USD" not in document["rates"]
    assert set(document["rates"]["EUR"]) == {"unit_rate", "change", "change_percent"}
    usd = sheet(FRIDAY).by_code["USD"].value
    assert abs(document["rates"]["RUB"]["unit_rate"] * usd - 1) < Decimal("1e-9")
    named = read((await served.get("/v1/rates?lang=ru&codes=USD"))[2])
    assert named["rates"]["USD"]["name"] == "доллар США"


async def test_a_wrong_request_gets_a_clear_answer(served: Served) -> None:
    """Errors are RFC 9457 problems with a stable type; any site's script may read them, and no cache keeps them."""
    for path, status, kind, words in (
        ("/v1/rates?code=USD", 400, "bad_request", "Did you mean codes?"),
        ("/v1/rates?codes=USD&codes=EUR", 400, "bad_request", "given twice"),
        ("/v1/rates?codes=US", 400, "bad_request", "ISO 4217"),
        ("/v1/rates?codes=", 400, "bad_request", "ISO 4217"),
        ("/v1/rates?codes=USD,XQZ", 404, "unknown_currency", "XQZ"),
        ("/v1/rates?quote=XQZ", 404, "unknown_currency", "XQZ"),
        ("/v1/rates?lang=klingon", 400, "bad_request", "language tag"),
        ("/v1/rates/2026-02-30", 400, "bad_request", "YYYY-MM-DD"),
        ("/v1/rates/24.04.2026", 400, "bad_request", "YYYY-MM-DD"),
        ("/v1/rates/2026-04-24?revision=0", 400, "bad_request", "1 to 9999"),
        ("/v1/series", 400, "bad_request", "codes is missing"),
        ("/v1/series?codes=USD&since=2026-04-24&until=2026-04-23", 400, "bad_request", "later than until"),
        ("/v1/series?codes=USD&group=week", 400, "bad_request", "month, year"),
        ("/v1/series?codes=USD&group=month&fill=daily", 400, "bad_request", "cannot be combined"),
        ("/v1/convert?amount=1e5", 400, "bad_request", "decimal number"),
        ("/v1/convert?amount=1_000", 400, "bad_request", "decimal number"),
        ("/v1/convert?amount=100&from=US", 400, "bad_request", "ISO 4217"),
        ("/v1/currencies?lng=ru", 400, "bad_request", "Did you mean lang?"),
        ("/v1/rats", 404, "not_found", "nothing at this address"),
    ):
        got, headers, body = await served.get(path)
        assert (got, read(body)["type"]) == (status, f"urn:ratesvc:{kind}"), path
        assert words in read(body)["detail"], path
        assert headers["Content-Type"] == "application/problem+json"
        assert (headers["Access-Control-Allow-Origin"], headers["Cache-Control"]) == ("*", "no-store")


async def test_every_encoding_has_the_same_content_and_its_own_strong_tag(served: Served) -> None:
    """A strong ETag names exact bytes, so gzip and br have their own, and 304 compares weakly."""
    plain, tags = (await served.get("/v1/rates"))[2], set()
    for encoding, unpack in (("gzip", gzip.decompress), ("br", brotli.decompress)):
        _, headers, body = await served.get("/v1/rates", Accept_Encoding=encoding)
        assert headers["Content-Encoding"] == encoding
        assert headers["Vary"] == "Accept-Encoding"
        assert unpack(body) == plain
        tags.add(headers["ETag"])
    assert len(tags) == 2
    for tag in tags:
        status, headers, body = await served.get("/v1/rates", If_None_Match=f'"other", W/{tag}')
        assert (status, body) == (304, b"")
        assert headers["Cache-Control"].startswith("public, max-age=")


async def test_two_lines_of_tags_are_one_list(served: Served) -> None:
    """A proxy may split If-None-Match into lines, whose order means nothing (RFC 9110, 5.3)."""
    tag = (await served.get("/v1/rates"))[1]["ETag"]
    for tags in (['"other"', tag], [tag, '"other"']):
        lines = [("If-None-Match", one) for one in tags]
        for _ in ("first", "remembered"):
            async with served.http.get(served.url + "/v1/rates", headers=lines) as answer:
                assert (answer.status, await answer.read()) == (304, b"")


@pytest.mark.parametrize(
    ("lines", "encoding"),
    [
        (("identity;q=0.1", "gzip"), "gzip"),
        (("gzip", "br"), "br"),
        (("br;q=0.5", "gzip;q=0.1, *;q=0"), "br"),
        (("deflate", "zstd"), None),
        (("*", "br;q=0", "gzip;q=0"), None),
    ],
)
async def test_two_lines_of_encodings_are_one_list(served: Served, lines: Sequence[str], encoding: str | None) -> None:
    """A proxy may split Accept-Encoding into lines too (RFC 9110, 5.3)."""
    headers = [("Accept-Encoding", line) for line in lines]
    async with aiohttp.ClientSession(auto_decompress=False, skip_auto_headers=["Accept-Encoding"]) as http:
        for _ in ("first", "remembered"):
            async with http.get(served.url + "/v1/rates", headers=headers) as answer:
                assert (answer.status, answer.headers.get("Content-Encoding")) == (200, encoding)


async def test_two_lines_of_connection_are_one_list(served: Served) -> None:
    """The service hangs up on `close` in the second line, too."""
    address = URL(served.url)
    for _ in ("first", "remembered"):
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(b"GET /v1/rates HTTP/1.1\r\nHost: x\r\nConnection: x-mine\r\nConnection: close\r\n\r\n")
        async with asyncio.timeout(60):
            assert b"\r\nConnection: close\r\n" in await reader.read()
        writer.close()


async def test_head_options_and_writing_methods(served: Served) -> None:
    """HEAD has GET's headers without a body, OPTIONS names the methods, and writing methods get 405."""
    async with served.http.head(served.url + "/v1/rates") as answer:
        assert (answer.status, await answer.read()) == (200, b"")
        assert int(answer.headers["Content-Length"]) == len((await served.get("/v1/rates"))[2])
    async with served.http.options(served.url + "/v1/rates") as answer:
        assert (answer.status, answer.headers["Access-Control-Allow-Methods"]) == (204, "GET, HEAD, OPTIONS")
    async with served.http.delete(served.url + "/v1/rates") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


async def test_no_cache_keeps_an_answer_across_its_next_change(served: Served, clock: Clock) -> None:
    """max-age and stale-while-revalidate end before the publication that is due and before Moscow midnight."""
    for hour, minute, second, max_age, stale in (
        (9, 0, 0, 60, 600),
        (14, 55, 0, 60, 240),
        (14, 59, 30, 30, 0),
        (20, 59, 10, 50, 0),
    ):
        clock.moment = datetime(2026, 4, 24, hour, minute, second, tzinfo=UTC)
        expected = f"public, max-age={max_age}, stale-while-revalidate={stale}, stale-if-error=86400"
        assert (await served.get("/v1/rates"))[1]["Cache-Control"] == expected


async def test_the_widget_is_a_real_table_in_the_readers_language(served: Served) -> None:
    """A fragment for server-side includes and a page for frames. Unknown parameters are dropped, never an error."""
    status, headers, body = await served.get("/widget?lang=ru&codes=USD,XQZ,AMD&wrong=1")
    text = body.decode()
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "Официальные курсы иностранных валют Банка России" in text
    assert text.count('<th scope="row">') == 2
    assert "100\u00a0AMD" in text.replace("&nbsp;", "\u00a0")
    assert "армянских драмов" in text
    _, headers, body = await served.get("/widget/frame?theme=dark&lang=xx")
    assert b'lang="en"' in body
    assert "frame-ancestors *" in headers["Content-Security-Policy"]


async def test_a_refused_document_changes_no_answer(bank: Bank, served: Served) -> None:
    """The Bank sends a web page instead of rates: the service keeps serving the last good sheet."""
    before = await served.get("/v1/rates")
    bank.documents = {FRIDAY: b"<!DOCTYPE html><html>Checking your browser</html>"}
    cycle = await served.service.refresh()
    assert cycle.failure
    assert cycle.failure.kind == "invalid:html"
    assert (await served.get("/v1/rates"))[2] == before[2]
    checks = served.service.health()
    assert (checks["cbr:fetch"]["status"], checks["cbr:sheet"]["status"]) == ("warn", "pass")
