"""The page «Which rate applies to a document dated X?»: the decision, the words, the answers over HTTP."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from html import unescape
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from kit import cases

from ratesvc.config import Settings
from ratesvc.demo import recorded_sheets
from ratesvc.domain.history import History
from ratesvc.domain.in_force import on_day
from ratesvc.domain.rates import InForce, Quote, Revision, Sheet
from ratesvc.domain.workdays import MOSCOW, WorkCalendar, at
from ratesvc.errors import BeforeHistory, Busy, HistoryLoading, NoSheet, RatesvcError, UnknownCurrency, UnknownRevision
from ratesvc.features.rate import rate_page as rate
from ratesvc.features.rate.rate_page import Question
from ratesvc.features.site.language import language_or_default
from ratesvc.features.site.page import policy, style
from ratesvc.features.site.reasons import reason
from ratesvc.render.openapi import Site
from ratesvc.service.app import Service
from ratesvc.web import server

CALENDAR = WorkCalendar()
SITE = Site("https://rates.example/of")
USD = Quote("USD", "840", "R01235", 1, Decimal("91.3336"), "Доллар США")
JPY = Quote("JPY", "392", "R01820", 100, Decimal("60.9301"), "Иен")

Client = TestClient[web.Request, web.Application]

RUSSIAN = language_or_default("ru")


def moment(day: date, clock: str = "12:00") -> datetime:
    return at(day, time.fromisoformat(clock))


def received(sheet: Sheet) -> Revision:
    """Its first revision, received on its eve."""
    return Revision(sheet, 1, moment(sheet.effective_date - timedelta(days=1), "17:05"))


def held(*days: str) -> History:
    """A history of the second revisions of the sheets of these days."""
    sheets = (Sheet(date.fromisoformat(day), (USD, JPY)) for day in days)
    return History(CALENDAR, (Revision(sheet, 2, moment(date(2024, 3, 4), "17:05")) for sheet in sheets))


def words(outcome: InForce | RatesvcError, day: str, now: datetime, tag: str = "en", code: str = "USD") -> str:
    """The text of the page about this outcome."""
    language, found = language_or_default(tag), outcome if isinstance(outcome, InForce) else None
    why = reason(outcome, code, now, CALENDAR, language)
    page = rate.answered(Question(date.fromisoformat(day), code, {"USD", "JPY"}), why, found, language, SITE)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page[page.index("<section") :])).split())


def check_russian(text: str) -> None:
    """It has no English word except codes and addresses, and no sentence ends with two full stops."""
    latin = set(re.findall("[A-Za-z]+", re.sub(r"https://\S+", "", text)))
    assert not latin - {"USD", "DEM", "ABC", "JSON", "API", "cbr", "ru"}
    assert ".." not in text


def explained(question: str) -> str:
    """The answer for a document of a day, with the sheets of some days held, at a moment in Moscow."""
    found = re.fullmatch(r"(\S+) held (.*) asked (\S+ \S+)(?: in (\S+))?(?: for (\S+))?", question)
    assert found, question
    day, sheets, now, tag, code = found.groups("")
    clock = datetime.fromisoformat(now).replace(tzinfo=MOSCOW)
    outcome: InForce | RatesvcError
    try:
        outcome = on_day(held(*sheets.split()), date.fromisoformat(day), clock)
    except RatesvcError as error:
        outcome = error
    code = code or "USD"
    check_russian(words(outcome, day, clock, "ru", code))
    return words(outcome, day, clock, tag or "en", code).partition(" ←")[0]


def test_the_page_says_which_rate_applies_and_why() -> None:
    """By the sheets that are held, the calendar and the clock: golden/reasons.txt."""
    cases.check("reasons.txt", {question: explained(question) for question in cases.questions("reasons.txt")})


def test_a_day_off_by_decree_has_no_name() -> None:
    """30 March to 3 April 2020 were days off by decree: the calendar knows the days but no name for them."""
    decreed = WorkCalendar([date(2020, 3, 30) + timedelta(days=number) for number in range(5)])
    answer = InForce(date(2020, 4, 1), received(Sheet(date(2020, 3, 28), (USD,))), None, None)
    first, second = reason(answer, "USD", moment(date(2020, 5, 1)), decreed, language_or_default("en")).sentences
    assert first.endswith("March 28, 2020 to April 5, 2020 are days off without new rates.")
    assert second == "It applies until April 6, 2020 inclusive."


def test_before_1998_no_calendar_explains() -> None:
    """The Bank set rates twice a week then: Thursday, 2 July 1992 has the rate of the 1st."""
    answer, now = (
        InForce(date(1992, 7, 2), received(Sheet(date(1992, 7, 1), (USD,))), None, None),
        moment(date(2024, 1, 1)),
    )
    text = words(answer, "1992-07-02", now)
    assert ("in force since July 1, 1992: the Bank has set no other" in text, "Set on" in text) == (True, False)
    check_russian(words(answer, "1992-07-02", now, "ru"))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (HistoryLoading(date(2001, 2, 3)), "still loading"),
        (
            HistoryLoading(date(2001, 2, 3), date(2001, 2, 2)),
            "February 2, 2001 have not been received or confirmed yet",
        ),
        (BeforeHistory(date(1991, 2, 3)), "official rates begin on July 1, 1992"),
        (BeforeHistory(date(1991, 2, 3), date(2022, 9, 24)), "The recorded rates begin on September 24, 2022"),
        (UnknownCurrency("ABC"), "knows no rate of the Bank of Russia for ABC"),
        (Busy("full"), "Too many readers"),
        (NoSheet("none"), "No rates have been received yet"),
    ],
)
def test_every_refusal_has_its_sentence(error: RatesvcError, said: str) -> None:
    now = moment(date(2024, 3, 5))
    assert said in words(error, "2001-02-03", now, code="ABC")
    check_russian(words(error, "2001-02-03", now, "ru", "ABC"))


def test_an_unknown_error_is_not_explained() -> None:
    with pytest.raises(UnknownRevision):
        words(UnknownRevision("none"), "2024-03-05", moment(date(2024, 3, 5)))


async def test_an_amount_on_the_receipt_is_that_of_the_api(client: Client) -> None:
    """The address on the receipt answers with the same amount of roubles."""
    page = unescape(await (await client.get("/rate?date=2022-11-18&code=KZT&amount=1234.567")).text())
    (address,) = re.findall(r'href="https://rates.example/of(/v1/convert[^"]+)"', page)
    answer = await (await client.get(address)).json()
    assert f"1,234.567\xa0KZT = {answer['results']['RUB']['result_rounded']}\xa0RUB" in page


@pytest.mark.parametrize(("tag", "amount"), [("de", "1,234"), ("en", "1.234"), ("ru", "1,234")])
async def test_every_link_of_the_page_means_the_same_amount(client: Client, tag: str, amount: str) -> None:
    """Although 1.234 is 1234 in German: each link is written in the language that it leads to."""
    page = unescape(await (await client.get(f"/rate?date=2022-11-18&amount={amount}&lang={tag}")).text())
    links = re.findall(r'href="https://rates.example/of(/rate[^"]+amount[^"]+)"', page)
    assert len(links) == 5
    for link in links:
        assert "amount=1.234&" in unescape(await (await client.get(link)).text()), link


def test_every_holiday_has_a_russian_name() -> None:
    days = (date(1998, 1, 1) + timedelta(days=number) for number in range(366 * 32))
    names = {name for day in days for name in CALENDAR.holidays_of(day)}
    assert len(names) > 8
    assert all(RUSSIAN.say(name) != name for name in names)


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    """The service in the evening of Friday, 18 November 2022, with forty recorded sheets in memory."""
    now = moment(date(2022, 11, 18), "17:10")
    async with Service(Settings(data_dir=str(tmp_path)), clock=lambda: now, scheduled=False) as service:
        service.history.hold(map(received, recorded_sheets()))
        service.publish()
        async with TestClient(TestServer(server.build(service, SITE.public_url))) as found:
            yield found


PARTS = re.compile(
    r"<html[^>]*>|<a [^>]*hreflang[^>]*>|<(?:input|select) [^>]*>|<option[^>]* selected>[^<]*"
    r"|<section.*?</section>|<p class=.line.*?</p>|<nav class=.days.*?</nav>|<p class=.soft more.*?</p>",
    re.DOTALL,
)


async def test_each_answer_is_a_page(client: Client) -> None:
    """golden/rate.txt shows its form, its sentence, and where it leads. Its policy allows nothing but the style."""
    csp = policy(style("site/top"), style("site/rate"), img_src=f"'self' {SITE.public_url}/", form_action="'self'")
    answers = {}
    for address in cases.questions("rate.txt"):
        response = await client.get(address)
        page = await response.text()
        parts = (" ".join(part.split()) for part in PARTS.findall(page))
        answers[address] = "\n".join([str(response.status), *parts])
        assert "<script" not in page
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        assert response.headers["Content-Security-Policy"] == csp
        assert ("no-store" in response.headers["Cache-Control"]) == (response.status != 200)
        assert ("Retry-After" in response.headers) == (response.status == 503)
    cases.check("rate.txt", answers)
