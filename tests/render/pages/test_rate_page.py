"""The page «Which rate applies to a document dated X?»: the decision, the words, the answers over HTTP."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from html import unescape
from pathlib import Path

import cases
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from ratesvc.config import Settings
from ratesvc.demo import recorded_sheets
from ratesvc.domain.history import History, on_day
from ratesvc.domain.rates import InForce, Quote, Revision, Sheet
from ratesvc.domain.workdays import MOSCOW, WorkCalendar, at
from ratesvc.errors import BeforeHistory, HistoryLoading, NoSheet, RatesvcError, UnknownCurrency, UnknownRevision
from ratesvc.render.language import language_or_default
from ratesvc.render.page import Site, policy, style
from ratesvc.render.pages import rate
from ratesvc.render.pages.rate import Kind, Question, Reason, reason
from ratesvc.service.app import Service
from ratesvc.web import server

CALENDAR = WorkCalendar()
SITE = Site("https://rates.example/of")
USD = Quote("USD", "840", "R01235", 1, Decimal("91.3336"), "Доллар США")
JPY = Quote("JPY", "392", "R01820", 100, Decimal("60.9301"), "Иен")

Client = TestClient[web.Request, web.Application]

RUSSIAN = language_or_default("ru")
WITHOUT_SHEET = ("NOT_YET_SET", "LATE", "BEFORE_HISTORY", "BEFORE_RECORDING")


def moment(day: date, clock: str = "12:00") -> datetime:
    return at(day, time.fromisoformat(clock))


def received(sheet: Sheet) -> Revision:
    """Its first revision, received on its eve."""
    return Revision(sheet, 1, moment(sheet.effective_date - timedelta(days=1), "17:05"))


def held(*days: str) -> History:
    """A history of the sheets of these days."""
    return History(CALENDAR, (received(Sheet(date.fromisoformat(day), (USD, JPY))) for day in days))


def words(why: Reason, day: str, tag: str = "en", code: str = "USD", quote: Quote | None = USD) -> str:
    question, found = Question(date.fromisoformat(day), code, {"USD", "JPY"}), None
    if why.effective and why.kind.name not in WITHOUT_SHEET:
        sheet = Sheet(why.effective, (quote,) if quote else ())
        found = InForce(question.day, Revision(sheet, 2, moment(date(2024, 3, 4), "17:05")), None, None)
    page = rate.answered(question, why, found, language_or_default(tag), SITE)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page[page.index("<section") :])).split())


MARCH, APRIL = "2024-03-02 2024-03-05", "2024-04-27 2024-04-28 2024-05-03"
SATURDAYS = (
    "Saturday's rate (March 2, 2024) also applies on Sunday and Monday: the Bank sets no rates at the weekend. "
    "It applies until March 4, 2024 inclusive. Effective date Saturday, March 2, 2024 Set on Friday, March 1, 2024"
)
WORKING_SATURDAYS = (
    "set this rate for that very day. It was set on April 27, 2024, a working day at the weekend. "
    "Effective date Sunday, April 28, 2024 Set on Saturday, April 27, 2024"
)
MAY = (
    "April 28, 2024 to May 1, 2024 are days off (Holiday of Spring and Labor, weekend) without new rates. "
    "It applies until May 2, 2024 inclusive."
)
NEW_YEAR = (
    "Этот курс действует с 29 декабря 2024 г.: с 29 декабря 2024 г. по 8 января 2025 г. — нерабочие дни "
    "(новогодние каникулы, Рождество Христово, выходные), и новых курсов Банк России не устанавливал. "
    "Он действует по 9 января 2025 г. включительно. Дата начала действия воскресенье, 29 декабря 2024 г."
)
RUSSIA_DAY = (
    "с 12 июня 2024 г.: 12 июня 2024 г. — нерабочий день (День России), и новый курс Банк России не устанавливал. "
    "Он действует по 13 июня 2024 г. включительно."
)
ANNOUNCED = (
    "has already set this rate; it comes into force on March 5, 2024. Effective date Tuesday, March 5, 2024 "
    "Set on Monday, March 4, 2024 Revision 2 Received March 4, 2024 at 17:05 Moscow time"
)
EXPECTED = (
    "has not set the rate for this day yet. It usually comes at about 16:00, by 18:00 Moscow time on December 30, 2025."
)


@pytest.mark.parametrize(
    ("sheets", "day", "now", "said"),
    [
        # Set on Friday for Saturday, 2 March; the next is in force on Tuesday. Friday evening already answers Monday.
        (MARCH, "2024-03-03", "2024-03-06 12:00", SATURDAYS),
        (MARCH, "2024-03-04", "2024-03-06 12:00", SATURDAYS),
        ("2024-03-01 2024-03-02", "2024-03-04", "2024-03-01 18:00", SATURDAYS),
        (MARCH, "2024-03-04", "2024-03-06 12:00", "на субботу, 2 марта 2024 г., действует также в воскресенье и пон"),
        # Set on a working Saturday for Sunday, 29 December. Days off last to 8 January, so it also applies to the 9th.
        ("2024-12-29 2025-01-10", "2025-01-01", "2025-01-10 12:00", NEW_YEAR),
        ("2024-12-29 2025-01-10", "2025-01-08", "2025-01-10 12:00", NEW_YEAR),
        ("2024-12-29 2025-01-10", "2025-01-09", "2025-01-10 12:00", NEW_YEAR),
        # Saturday, 27 April was a working day, so Sunday the 28th has its own rate and Monday keeps it.
        (APRIL, "2024-04-28", "2024-05-06 12:00", WORKING_SATURDAYS),
        (APRIL, "2024-04-29", "2024-05-06 12:00", MAY),
        # Russia Day has its own rate, set on the 11th.
        ("2024-06-12 2024-06-14", "2024-06-13", "2024-06-14 12:00", RUSSIA_DAY),
        # Received on the eve, in force from midnight.
        (MARCH, "2024-03-05", "2024-03-04 18:00", ANNOUNCED),
        (MARCH, "2024-03-05", "2024-03-04 23:59:59", ANNOUNCED),
        (MARCH, "2024-03-05", "2024-03-05 00:00", "for that very day. Effective date Tuesday, March 5, 2024 Set on"),
        # The last working day of the year; a day in the holidays waits for the rate before them.
        ("2025-12-30", "2025-12-31", "2025-12-30 12:00", f"{EXPECTED} ←"),
        ("2025-12-30 2025-12-31", "2025-12-31", "2025-12-30 19:00", "it comes into force on December 31, 2025."),
        ("2025-12-30", "2026-01-05", "2025-12-30 12:00", f"{EXPECTED} The rate of December 31, 2025 will apply."),
        ("2024-03-05", "2024-03-06", "2024-03-05 18:30", "is late. It was expected by 18:00 Moscow time on March 5"),
        # Tuesday's sheet never came.
        ("2024-03-02", "2024-03-05", "2024-03-05 12:00", "has not been received. This is the last known rate"),
        ("2024-03-02", "2024-03-05", "2024-03-05 12:00", "Effective date Saturday, March 2, 2024 Revision 2"),
    ],
)
def test_the_page_says_which_rate_applies_and_why(sheets: str, day: str, now: str, said: str) -> None:
    """By the sheets that are held, the calendar and the clock."""
    clock = datetime.fromisoformat(now).replace(tzinfo=MOSCOW)
    outcome: InForce | RatesvcError
    try:
        outcome = on_day(held(*sheets.split()), date.fromisoformat(day), clock)
    except RatesvcError as error:
        outcome = error
    why = reason(outcome, "USD", clock, CALENDAR)
    assert said in words(why, day, "ru" if re.search("[а-я]", said) else "en")


def test_a_currency_that_the_sheet_lacks() -> None:
    """The page names the sheet."""
    day = date(2024, 3, 5)
    why = reason(on_day(held("2024-03-05"), day, moment(day)), "DEM", moment(day), CALENDAR)
    assert why == Reason(Kind.ABSENT, day)
    assert "has no rate for DEM" in words(why, "2024-03-05", code="DEM", quote=None)


def test_a_day_off_by_decree_has_no_name() -> None:
    """30 March to 3 April 2020 were days off by decree: the calendar knows the days but no name for them."""
    decreed = WorkCalendar([date(2020, 3, 30) + timedelta(days=number) for number in range(5)])
    answer = InForce(date(2020, 4, 1), received(Sheet(date(2020, 3, 28), (USD,))), None, None)
    why = reason(answer, "USD", moment(date(2020, 5, 1)), decreed)
    assert (why.kind, why.holidays, why.until) == (Kind.DAYS_OFF, (), date(2020, 4, 6))
    assert "March 28, 2020 to April 5, 2020 are days off without new rates" in words(why, "2020-04-01")


def test_before_1998_no_calendar_explains() -> None:
    """The Bank set rates twice a week then: Thursday, 2 July 1992 has the rate of the 1st."""
    answer = InForce(date(1992, 7, 2), received(Sheet(date(1992, 7, 1), (USD,))), None, None)
    why = reason(answer, "USD", moment(date(2024, 1, 1)), CALENDAR)
    assert why == Reason(Kind.HELD, date(1992, 7, 1))
    assert "has been in force since July 1, 1992" in words(why, "1992-07-02")


def test_old_roubles_are_named() -> None:
    """Otherwise a clerk could take 5,960 roubles of 1997 for new roubles."""
    sentence = "In old roubles: 1,000 old roubles are 1 new rouble."
    assert sentence in words(Reason(Kind.HELD, date(1997, 12, 31)), "1997-12-31")
    assert sentence not in words(Reason(Kind.OWN_DAY, date(1998, 1, 1)), "1998-01-01")
    assert sentence not in words(Reason(Kind.ABSENT, date(1997, 12, 31)), "1997-12-31", quote=None)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (HistoryLoading(date(2001, 2, 3)), "still loading"),
        (BeforeHistory(date(1991, 2, 3)), "official rates begin on July 1, 1992"),
        (BeforeHistory(date(1991, 2, 3), date(2022, 9, 24)), "The recorded rates begin on September 24, 2022"),
        (UnknownCurrency("ABC"), "knows no rate of the Bank of Russia for ABC"),
        (NoSheet("none"), "No rates have been received yet"),
    ],
)
def test_every_refusal_has_its_sentence(error: RatesvcError, said: str) -> None:
    why = reason(error, "ABC", moment(date(2024, 3, 5)), CALENDAR)
    assert said in words(why, "2001-02-03", code="ABC", quote=None)


def test_an_unknown_error_is_not_explained() -> None:
    with pytest.raises(UnknownRevision):
        reason(UnknownRevision("none"), "USD", moment(date(2024, 3, 5)), CALENDAR)


def test_a_rate_is_shown_as_printed_and_for_one() -> None:
    """100 yen as in the Bank's table and one yen exactly, in the reader's numbers."""
    why = Reason(Kind.OWN_DAY, date(2024, 3, 5), date(2024, 3, 4))
    text = words(why, "2024-03-05", "ru", "JPY", JPY)
    assert "вторник, 5 марта 2024" in text
    assert "100 JPY = 60,9301 руб." in text
    assert "1 JPY = 0,609301 руб." in text
    assert "https://www.cbr.ru/currency_base/daily/?UniDbQuery.Posted=True&UniDbQuery.To=05.03.2024" in text
    assert "https://rates.example/of/v1/rates/2024-03-05?codes=JPY" in text


@pytest.mark.parametrize(
    ("effective", "basis"),
    [
        ("2024-12-28", "Bank of Russia Ordinance No. 6956-U of 2 December 2024"),
        ("2024-12-27", "Bank of Russia Ordinance No. 6290-U of 3 October 2022"),
        ("2022-10-31", "Bank of Russia Ordinance No. 5094-U of 14 March 2019"),
        ("2019-12-31", "Federal Law No. 86-FZ of 10 July 2002, Article 53"),
        ("2002-12-31", ""),
    ],
)
def test_a_receipt_names_the_rule_by_which_the_rate_was_set(effective: str, basis: str) -> None:
    """Ordinance 6956-U replaced 6290-U on 27 December 2024. Where we are not sure, the receipt says nothing."""
    text = words(Reason(Kind.OWN_DAY, date.fromisoformat(effective)), effective)
    assert "Revision 2 Received March 4, 2024 at 17:05 Moscow time" in text
    assert (f"Legal basis {basis} Source" if basis else "Moscow time Source") in text


async def test_an_amount_on_the_receipt_is_that_of_the_api(client: Client) -> None:
    """The address on the receipt answers with the same amount of roubles."""
    page = unescape(await (await client.get("/rate?date=2022-11-18&code=KZT&amount=1234.567")).text())
    (address,) = re.findall(r'href="https://rates.example/of(/v1/convert[^"]+)"', page)
    answer = await (await client.get(address)).json()
    assert f"1,234.567\xa0KZT = {answer['result_rounded']}\xa0RUB" in page


@pytest.mark.parametrize(("tag", "amount"), [("de", "1,234"), ("en", "1.234"), ("ru", "1,234")])
async def test_every_link_of_the_page_means_the_same_amount(client: Client, tag: str, amount: str) -> None:
    """Although 1.234 is 1234 in German: each link is written in the language that it leads to."""
    page = unescape(await (await client.get(f"/rate?date=2022-11-18&amount={amount}&lang={tag}")).text())
    links = re.findall(r'href="https://rates.example/of(/rate[^"]+amount[^"]+)"', page)
    assert len(links) == 5
    for link in links:
        assert "amount=1.234&" in unescape(await (await client.get(link)).text()), link


FULL = Reason(
    Kind.OWN_DAY,
    *(date(2024, 4, 28), date(2024, 4, 27), (date(2024, 4, 28), date(2024, 4, 29)), ("Unity Day", "weekend")),
    until=date(2024, 5, 2),
    due_at=moment(date(2024, 4, 27)),
)


@pytest.mark.parametrize("kind", Kind)
def test_a_russian_page_is_russian(kind: Kind) -> None:
    """It has no English word except codes and addresses, and no sentence ends with two full stops."""
    text = words(replace(FULL, kind=kind), "2024-04-30", "ru")
    assert not set(re.findall("[A-Za-z]+", re.sub(r"https://\S+", "", text))) - {"USD", "JSON", "API"}
    assert ".." not in text


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
        for sheet in recorded_sheets():
            service.history.add(received(sheet))
        service.publish()
        async with TestClient(TestServer(server.build(service, SITE))) as found:
            yield found


PARTS = re.compile(
    r"<html[^>]*>|<a [^>]*hreflang[^>]*>|<(?:input|select|img) [^>]*>"
    r"|<option[^>]* selected>[^<]*|<section.*?</section>|<nav class=.days.*?</nav>|<p class=.soft more.*?</p>",
    re.DOTALL,
)


async def test_each_answer_is_a_page(client: Client) -> None:
    """golden/rate.txt shows its form, its sentence, and where it leads. Its policy allows nothing but the style."""
    csp = policy(style("rate"), img_src=f"'self' {SITE.public_url}/", form_action="'self'")
    answers = {}
    for address in cases.questions("rate.txt"):
        response = await client.get(address)
        page = await response.text()
        answers[address] = "\n".join([str(response.status), *(part.replace("\n", "") for part in PARTS.findall(page))])
        assert "<script" not in page
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        assert response.headers["Content-Security-Policy"] == csp
        assert ("no-store" in response.headers["Cache-Control"]) == (response.status != 200)
        assert ("Retry-After" in response.headers) == (response.status == 503)
    cases.check("rate.txt", answers)


async def test_a_question_ends_without_a_full_stop(client: Client) -> None:
    """The reference's summary of this page is a question."""
    reference = await (await client.get("/docs")).text()
    assert "?</strong>" in reference
    assert "?." not in reference


async def test_links_begin_with_the_public_address(client: Client) -> None:
    page = await (await client.get("/rate?date=2022-11-20", headers={"Host": "evil.example"})).text()
    links = re.findall(r'(?:href|src|action)="([^"]+)"', page)
    assert links
    assert all(link.startswith((f"{SITE.public_url}/", "https://www.cbr.ru/")) for link in links)


async def test_a_settled_day_is_kept_for_a_day(client: Client) -> None:
    for query, caching in (("?date=2022-11-08", "max-age=86400"), ("", "max-age=60")):
        assert caching in (await client.get(f"/rate{query}")).headers["Cache-Control"]
