"""The page /chart over HTTP: its addresses, what it refuses, and the frames that other pages get."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from html import unescape
from urllib.parse import quote

import pytest
from conftest import Clock, Serve, Served
from kit import cases
from kit.bank import Bank, sheet, workdays

from ratesvc.domain.rates import FIRST_DAY
from ratesvc.domain.settled import Settled
from ratesvc.features.chart.chart_page import frame_height


def ours(served: Served) -> str:
    """The address with which links begin."""
    return served.url.replace("127.0.0.1", "localhost")


async def page(served: Served, address: str, status: int = 200) -> str:
    found, headers, body = await served.get(address)
    assert (found, headers["Content-Type"]) == (status, "text/html; charset=utf-8"), address
    return unescape(body.decode())


async def test_every_answer_is_a_page(served: Served) -> None:
    """It has a form, or in a frame none; and the figures, or the reason why there are none. Only figures are kept."""
    words = {}
    for asked in cases.questions("chart/pages.txt"):
        for path in ("/chart", "/chart/frame"):
            status, headers, body = await served.get(path + asked.removeprefix("-"))
            text = unescape(body.decode())
            assert ("<script" in text) == (status == 200)
            assert ("<form" in text, "<table" in text) == (path == "/chart", status == 200)
            assert "<script>alert" not in text
            assert ("no-store" in headers["Cache-Control"]) == (status != 200)
            ancestors = "'none'" if path == "/chart" else "*"
            assert f"frame-ancestors {ancestors}" in headers["Content-Security-Policy"]
        shown = re.sub("<(script|style|title).*?</\\1>|<.*?>", " ", text, flags=re.DOTALL).split()
        words[asked] = f"{status} {' '.join(shown)}"
    assert "<script" in await page(served, "/chart/frame?since=2026-04-23&theme=dark")
    cases.check("chart/pages.txt", words)


async def test_history_that_is_not_loaded_is_not_drawn(serve: Serve) -> None:
    """Without a sheet there is nothing, and later the period must be complete."""
    async with serve() as running:
        text = await page(running, "/chart", 503)
        assert "No rates have been received yet." in text
        assert "<form" in text


@pytest.mark.parametrize(("count", "said"), [(1, "Without April 14, 2026: "), (6, "April 18, 2026, …: ")])
async def test_a_page_names_the_days_that_it_lacks(held: Served, count: int, said: str) -> None:
    """Their sheets are not admitted, so their rates are missing in figures, picture and table. Five stand for more."""
    history, lacking = held.service.history, list(workdays(date(2026, 4, 14), count))
    days, settled = [day for day in history.days if day not in lacking], Settled(FIRST_DAY, date(2026, 4, 13))
    history.known = replace(history.known, days=days, settled=settled)
    for path in ("/chart", "/chart/frame"):
        assert f"{said}the rates are not confirmed yet." in await page(held, f"{path}?period=month")
        assert "Without" not in await page(held, f"{path}?since=2026-04-23")


@pytest.mark.parametrize("asked", ["period=week", "since=2026-01-05&until=2026-01-08", "since=today&until=today"])
async def test_on_a_holiday_there_is_the_rate_in_force(
    bank: Bank, serve_whole: Serve, clock: Clock, asked: str
) -> None:
    """From 31 December to 12 January the Bank sets none. Figure, line, table and CSV have that of December."""
    clock.moment = datetime(2026, 1, 8, 9, 0, tzinfo=UTC)
    last = date(2025, 12, 31)
    bank.publish(sheet(last - timedelta(days=1)), sheet(last))
    async with serve_whole() as running:
        text = await page(running, f"/chart?codes=USD&{asked}")
        rate = f"{running.held(last).sheet.by_code['USD'].unit_rate:.4f}"
        assert f"₽{rate}" in text
        assert re.findall("<time.*?<td>(.*?)</td>", text) == [rate]
        assert "for these days" not in text
        (link,) = re.findall(r'href="([^"]+csv[^"]+)"', text)
        assert f"{last},USD" in (await running.get(link.removeprefix(ours(running))))[2].decode()


async def test_the_form_stays_as_it_was_where_something_is_wrong(served: Served) -> None:
    """What is right of the request is kept, so that only the rest must be chosen again."""
    text = await page(served, "/chart?codes=EUR,XQZ,CNY&since=2026-04-23&until=2026-13-01", 400)
    assert '<input type="hidden" name="codes" value="EUR,CNY">' in text
    assert '<option value="EUR,CNY,USD">' in text
    assert 'name="since" value="2026-04-23"' in text
    assert '<details class="own chosen" open>' in text
    text = await page(served, "/chart?codes=EUR&since=2026-04-24&until=2026-04-23&lang=ru", 400)
    assert "Первый день не может быть позже последнего." in text
    text = await page(served, "/chart?codes=XQZ&period=5years", 404)
    assert re.findall(r'period=(\w+)&lang=en" aria-current', text) == ["5years"]


async def test_the_form_adds_a_currency_to_those_that_are_shown(served: Served) -> None:
    """While there are fewer than six; each of several can be taken away."""
    text = await page(served, "/chart?codes=USD,EUR&period=month")
    assert re.findall(r'<option value="(USD,EUR,\w+)">', text)[:2] == ["USD,EUR,CNY", "USD,EUR,GBP"]
    assert re.findall('class="away" href="[^"]*codes=([A-Z,]+)&.*?aria-label="(.*?)"', text, re.DOTALL) == [
        ("EUR", "Remove USD"),
        ("USD", "Remove EUR"),
    ]
    assert 'class="away"' not in await page(served, "/chart?codes=USD")
    assert "USD,EUR,CNY,GBP,JPY,TRY," not in await page(served, "/chart?codes=USD,EUR,CNY,GBP,JPY,TRY")


async def test_every_link_of_the_page_leads_somewhere(served: Served) -> None:
    """Periods, languages, single currencies, pictures, CSV, and the same days for ever; all with the public address."""
    text = (await page(served, "/chart?codes=USD,EUR&period=month&lang=ru")).replace("&amp;", "&")
    links = re.findall(r'(?:href|src|srcset)="([^"]+)"', text)
    assert len(links) > 15
    for link in links:
        assert link.startswith(f"{ours(served)}/"), link
        assert (await served.get(link.removeprefix(ours(served))))[0] == 200, link
    assert f"{ours(served)}/chart?codes=USD,EUR&since=2026-03-24&until=2026-04-24&lang=ru" in links


@pytest.mark.parametrize(
    ("asked", "limits", "width"),
    [
        ("/chart?codes=USD,EUR&period=month&lang=ru", "", 720),
        ("/chart?codes=USD,EUR&period=month&lang=ru", "&maxwidth=400&maxheight=300", 400),
        ("/chart/?codes=USD,EUR&period=month&lang=ru", "", 720),
        ("/chart/frame?codes=USD,EUR&period=month&lang=ru&theme=dark", "", 720),
        ("/chart/frame?codes=USD,EUR&period=month&lang=ru&theme=light", "", 720),
    ],
)
async def test_oembed_has_the_code_of_the_frame(served: Served, asked: str, limits: str, width: int) -> None:
    """As the page has it, within the limits, and with the old attribute that WordPress leaves."""
    target = quote(ours(served) + asked, safe="")
    answer = json.loads((await served.get(f"/oembed?url={target}{limits}"))[2])
    (source,) = re.findall('src="(.*?)"', unescape(answer["html"]))
    assert source == ours(served) + re.sub("/chart/?[?]", "/chart/frame?", asked).removesuffix("&theme=light")
    assert (answer["type"], answer["title"]) == ("rich", "График курсов Банка России")
    height = 300 if limits else frame_height(("USD", "EUR"))
    assert (answer["width"], answer["height"]) == (width, height)
    assert f'width="{width}" height="{height}" frameborder="0"' in answer["html"]
    if "/chart?" in asked:
        text = unescape(await page(served, asked))
        assert f'<iframe src="{source}" width="720" height="{frame_height(("USD", "EUR"))}"' in text
        assert f'href="{ours(served)}/oembed?format=json&url={quote(ours(served) + asked)}"' in text
    assert (await served.get(f"/oembed?url={quote(ours(served), safe='')}/chart%3Fcodes=XQZ"))[0] == 404
