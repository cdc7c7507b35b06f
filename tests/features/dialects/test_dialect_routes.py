"""The dialects over HTTP: a mirror of the Bank, a proxy for its clients, and the same caching as in the API."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import AsyncIterator, Mapping
from datetime import date
from typing import Any

import aiohttp
import brotli
import pytest
from conftest import Clock, Serve, Served, eventually
from kit import http as wire
from kit.bank import Bank, daily_xml, sheet, workdays
from kit.dialects import MONDAY_NOON, addresses, line, refused
from kit.documents import INDENTED, UTF_8

from ratesvc.bank.xml import parse_daily, parse_dynamic
from ratesvc.config import Cbr, Settings
from ratesvc.domain.workdays import ONE_DAY
from ratesvc.features.dialects import JSON

SATURDAY, FRIDAY = date(2026, 4, 18), date(2026, 4, 24)
DAYS = list(workdays(date(2026, 3, 10), 34))

ALIASES = (
    *("/scripts/XML_daily.asp", "/cbr/scripts/XML_daily.asp?date_req=18/04/2026", "/cbr/Scripts/xml_daily_eng.asp"),
    *("/SCRIPTS/Xml_Daily.ASP?DATE_REQ=20.04.2026", "/openexchangerates/api/convert/100/USD/RUB", "/frankfurter"),
    *("/openexchangerates/api/usage.json?callback=oxr.done", "/prebid/currency.json?date=20260424"),
    *("/ecb/eurofxref-hist.zip?base=USD", "/stats/eurofxref/eurofxref-hist.xml", "/stats/eurofxref/eurofxref.zip"),
    *("/tsv/840/2026/04/19.tsv", "/rbc/tsv/cb/840.tsv", "/exchangerate/v1/tsv/840/2026/04/19.tsv"),
)
"""Addresses at the root, for clients that have only a host, and other forms of an address."""
NOWHERE = (
    *("/cbr/nothing", "/frankfurter/v1/2026-05-30", "/prebid/latest.json", "/rbc/tsv/840.tsv", "/ecb/nothing"),
    "/tsv/840/2026/05/30.tsv",
)


@pytest.fixture
def settings(settings: Settings, bank: Bank) -> Settings:
    """All of history, without pauses; Friday's sheet was sent in the layout of 2017."""
    bank.publish(*map(sheet, DAYS))
    bank.documents[FRIDAY] = daily_xml(sheet(FRIDAY), INDENTED)
    return settings


@pytest.fixture
async def served(serve_whole: Serve) -> AsyncIterator[Served]:
    async with serve_whole() as running:
        yield running


def sandboxed(headers: Mapping[str, str]) -> str | None:
    """No browser may run a script in our XML, should the Bank's document hold one after all."""
    return "default-src 'none'; sandbox" if "xml" in headers["Content-Type"] else None


async def test_everything_is_cached_and_compressed_like_our_own_answers(
    bank: Bank, served: Served, clock: Clock
) -> None:
    """ETag, 304, HEAD, brotli, gzip, Cache-Control and CORS, whatever the dialect; golden files have the bodies."""
    bank.publish(sheet(FRIDAY + ONE_DAY))
    clock.moment = MONDAY_NOON
    await served.service.refresh()
    await eventually(lambda: served.service.history.of_date(FRIDAY + ONE_DAY))
    for path, media in (*addresses(), *((alias, "") for alias in ALIASES)):
        status, headers, body = await served.get(path)
        assert (status, headers["Access-Control-Allow-Origin"]) == (200, "*"), path
        assert media in ("", headers["Content-Type"]), path
        assert headers["Cache-Control"].startswith(("public, max-age=", "private, max-age=")), path
        assert headers.get("Content-Security-Policy") == sandboxed(headers), path
        again, also, nothing = await served.get(path, If_None_Match=headers["ETag"])
        assert (again, nothing, also["Access-Control-Allow-Origin"]) == (304, b"", "*"), path
        async with served.http.head(served.url + path) as head:
            assert (head.status, head.headers["ETag"], await head.read()) == (200, headers["ETag"], b"")
        _, packed, small = await served.get(path, Accept_Encoding="br")
        packing = None if headers["Content-Type"] == "application/zip" or len(body) < 256 else "br"
        assert packed.get("Content-Encoding") == packing, path
        assert packed["Vary"].partition(",")[0] == "Accept-Encoding", path
        assert (brotli.decompress(small) if packing else small) == body


async def test_the_header_accept_chooses_the_form_of_v2(served: Served) -> None:
    """No shared cache may give that answer to another client."""
    for path, accept, expected in (
        ("rates", "text/csv", ("text/csv", "Accept-Encoding, Accept", "private")),
        ("rates", "*/*", (JSON, "Accept-Encoding, Accept", "private")),
        ("rates.csv", "*/*", ("text/csv", "Accept-Encoding", "public")),
    ):
        _, headers, _ = await served.get(f"/frankfurter/v2/{path}", Accept=accept)
        assert (headers["Content-Type"], headers["Vary"], headers["Cache-Control"].partition(",")[0]) == expected


async def test_any_site_may_read_refusals_and_no_cache_keeps_them(served: Served) -> None:
    """CORS holds for errors, too, and their Cache-Control is no-store."""
    for path, expected in (*refused(), *((path, 404) for path in NOWHERE)):
        status, headers, body = await served.get(path)
        assert (status, headers["Access-Control-Allow-Origin"]) == (expected, "*"), path
        assert headers["Cache-Control"] == "no-store", path
        assert headers.get("Content-Security-Policy") == sandboxed(headers), path
        assert body, path


@pytest.mark.parametrize("layout", [INDENTED, UTF_8], ids=["2017", "UTF-8"])
async def test_a_fetched_document_is_served_byte_for_byte(
    layout: Any, bank: Bank, serve: Serve, serve_whole: Serve
) -> None:
    """In any layout, with the charset that it declares, and after a restart without the Bank."""
    raw = bank.documents[FRIDAY] = daily_xml(sheet(FRIDAY), layout)
    media = f"text/xml; charset={layout.encoding}"
    async with serve_whole() as running:
        _, headers, body = await running.get("/scripts/XML_daily.asp?date_req=24/04/2026")
        assert (headers["Content-Type"], body) == (media, raw)
    bank.documents.clear()
    bank.series.clear()
    async with serve() as running:
        await running.ready()
        assert (await running.get("/scripts/XML_daily.asp"))[2] == raw


async def test_a_client_of_the_bank_reaches_us_as_its_proxy(serve: Serve) -> None:
    """Some clients only accept http_proxy. The service answers for the hosts of `cbr.host_names`, and no others.

    And there for paths of dialects only. RBC's host is one, if the setting names it.
    """
    async with serve(cbr={"host_names": (*Cbr().host_names, "cbrates.rbc.ru")}) as running:
        await running.ready()
        for url, expected in (
            ("http://www.cbr.ru/scripts/XML_daily.asp", 200),
            ("http://WWW.CBR.RU:80/scripts/xml_daily.asp", 200),
            ("http://cbr.ru/scripts/XML_daily.asp", 200),
            ("http://cbrates.rbc.ru/tsv/840/2026/04/24.tsv", 200),
            ("http://cbrates.rbc.ru/rbc/tsv/840/2026/04/24.tsv", 421),
            ("http://www.cbr.ru/v1/rates", 421),
            ("http://evil.example/scripts/XML_daily.asp", 421),
            ("http://evil.example/cbr/x", 421),
        ):
            async with running.http.get(url, proxy=running.url) as answer:
                assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (expected, "*"), url
                body = await answer.read()
            assert expected == 200 or json.loads(body)["type"] == "urn:ratesvc:misdirected"


async def test_each_spelling_of_a_script_is_remembered_with_its_own_answer(served: Served) -> None:
    """Two requests each: the second comes from the fast path and has the same day."""
    for script in ("XML_daily.asp", "xml_DAILY.asp"):
        for query, day in (
            ("?DATE_REQ=18/04/2026", b"18.04.2026"),
            ("?date_req=&date_req=18/04/2026", b"18.04.2026"),
            ("?date_req=17/04/2026", b"17.04.2026"),
            ("", b"24.04.2026"),
        ):
            for _ in range(2):
                assert b'Date="%b"' % day in (await served.get(f"/SCRIPTS/{script}{query}"))[2]


async def test_a_dialect_that_is_switched_off_is_not_found(serve: Serve) -> None:
    """Neither under its name nor at the root, and no other dialect names it; the others answer."""
    async with serve(features=("frankfurter",)) as running:
        await running.ready()
        assert (await running.get("/frankfurter/v1/latest"))[0] == 200
        assert [*json.loads((await running.get("/frankfurter"))[2])["versions"]] == ["v1"]
        for path in ("/scripts/XML_daily.asp", "/cbr/scripts/XML_daily.asp", "/prebid/currency.json"):
            status, headers, _ = await running.get(path)
            assert (status, headers["Content-Type"]) == (404, "application/problem+json")


async def test_a_service_is_a_mirror_for_another_service(bank: Bank, served: Served, serve: Serve) -> None:
    """Bank → ratesvc → ratesvc: both services answer with the same bytes and series."""
    asked, mirror = len(bank.asked), line("ratesvc", served.url).partition("=")[2]
    async with serve(cbr={"mirrors": (mirror,)}, redis={"namespace": "far"}) as far:
        await far.filled()
        assert len(bank.asked) == asked
        since_until = f"date_req1={DAYS[0]:%d/%m/%Y}&date_req2={FRIDAY:%d/%m/%Y}"
        for path in (
            *(f"/scripts/XML_daily.asp?date_req={day:%d/%m/%Y}" for day in DAYS),
            *(f"/scripts/XML_dynamic.asp?VAL_NM_RQ={cbr_id}&{since_until}" for cbr_id in ("R01235", "R01300")),
            "/scripts/XML_valFull.asp?d=0",
        ):
            assert (await served.get(path))[2] == (await far.get(path))[2], path
        body = (await far.get(f"/scripts/XML_dynamic.asp?VAL_NM_RQ=R01235&{since_until}"))[2]
        records = parse_dynamic(body, "R01235", DAYS[0], FRIDAY)
        assert [(one.effective_date, one.value) for one in records] == [
            (day, sheet(day).by_code["USD"].value) for day in DAYS
        ]


async def test_erpnext_reads_a_rate_with_its_template(served: Served) -> None:
    """ERPNext's custom provider has an address and parameters with {placeholders}, and the keys of the rate."""
    document = {"transaction_date": "2026-04-19", "from_currency": "USD", "to_currency": "RUB"}
    url, parameters, keys = re.findall(r"(?:^|; )[^:]+: ([^;\s]+)", line("ERPNext", served.url))
    query = {name: text.format(**document) for name, text in (pair.split("=") for pair in parameters.split("&"))}
    async with aiohttp.ClientSession() as http, http.get(url.format(**document), params=query) as answer:
        found = json.loads(await answer.text(), parse_float=str)
    for key in keys.split(","):
        found = found[key.format(**document)]
    assert found == str(sheet(date(2026, 4, 18)).by_code["USD"].unit_rate)


GO = b"GET http://www.cbr.ru/scripts/XML_daily_eng.asp?date_req=19/04/2026 HTTP/1.1\r\nHost: www.cbr.ru\r\n"
PHP = b"GET http://www.cbr.ru/scripts/XML_daily.asp%b HTTP/1.1\r\nHost: www.cbr.ru\r\nProxy-Connection: Keep-Alive\r\n"
BITRIX = b"GET /scripts/XML_daily.asp?date_req=%b HTTP/1.0\r\nConnection: close\r\nUser-Agent: BitrixSM CHTTP class\r\n"
BITRIX += b"Accept: */*\r\nHost: www.cbr.ru\r\nAccept-Language: en\r\n\r\n"
RECORDED = [
    (GO + b"User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64)\r\nAccept-Encoding: gzip\r\n\r\n", SATURDAY),
    (PHP % b"?date_req=19.04.2026" + b"User-Agent: Swap\r\n\r\n", SATURDAY),
    (PHP % b"" + b"User-Agent: Swap\r\n\r\n", FRIDAY),
    (BITRIX % b"19.04.2026", SATURDAY),
    (BITRIX % b"24.04.2026", FRIDAY),
]
"""What clients send for a Sunday's rate and for the latest: go-cbr-client 1.0.4 and exchanger 2.9 to their proxy, and
bitrix:currency.rates, by the sources of the modules currency 19.0.0 and main, where the Bank's name leads here."""


async def test_a_recorded_request_of_a_client_gets_its_sheet(served: Served) -> None:
    """With the charset in the declaration, because they ignore the header; compressed only where that is asked for.

    Bitrix knows no chunks, reads until the connection ends, and takes windows-1251 for granted.
    """
    (proxy,) = {line(client, served.url).partition("=")[2] for client in ("go-cbr-client", "exchanger")}
    for request, day in RECORDED:
        answered = await wire.ask(proxy, request, closes=b"Connection: close" in request)
        packed = answered["Content-Encoding"] == "gzip"
        document = gzip.decompress(answered.body) if packed else answered.body
        assert (answered.status, packed, answered["Transfer-Encoding"]) == (200, b"gzip" in request, None)
        assert b'encoding="windows-1251"' in document.partition(b"?>")[0]
        assert parse_daily(document).says_the_same_as(sheet(day))
