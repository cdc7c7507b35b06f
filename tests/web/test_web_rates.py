"""/v1/rates over HTTP: the path of a number from the Bank's document to an answer."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from conftest import Clock, Served, eventually
from kit.bank import Bank, sheet
from kit.dates import FRIDAY, MIDNIGHT, SATURDAY, THURSDAY
from kit.http import ask, get

from ratesvc.domain.columns import Coverage, Days
from ratesvc.domain.history import History
from ratesvc.domain.rates import Quote
from ratesvc.domain.workdays import WorkCalendar
from ratesvc.features.ranges.requests import unconfirmed_days

XDR = Quote("XDR", "960", "R01589", 1, Decimal("103.3893"), "СДР")
AWAITED = ("2026-04-24T16:00:00+03:00", "2026-04-24T18:00:00+03:00")
"""When Saturday's sheet usually comes, and by when it is due."""


def read(body: bytes) -> Any:
    """JSON with its numbers as Decimals: what a careful client sees."""
    return json.loads(body, parse_float=Decimal, parse_int=Decimal)


async def test_today_is_the_sheet_in_force_with_its_change(served: Served) -> None:
    """On Friday noon Friday's own sheet applies, and change is per unit against Thursday's."""
    status, headers, body = await served.get("/v1/rates")
    document = read(body)
    assert status == 200
    assert headers["Content-Type"] == "application/json"
    assert document["date"] == document["effective_date"] == "2026-04-24"
    assert document["previous_effective_date"] == "2026-04-23"
    assert document["next_effective_date"] is None
    assert (document["next_expected_at"], document["next_due_at"]) == AWAITED
    assert document["fetched_at"] == "2026-04-24T09:00:00Z"
    assert (document["stale"], document["next_overdue"], document["revision"]) == (False, False, 1)
    now, before = sheet(FRIDAY).by_code["TRY"], sheet(THURSDAY).by_code["TRY"]
    assert document["rates"]["TRY"]["change"] == now.unit_rate - before.unit_rate
    for same in ("/v1/rates/today", "/v1/rates?utm_source=mail&_=1"):
        assert (await served.get(same))[2] == body
    assert (await served.get("/v1/rates/2026-04-24"))[2] == body


async def test_next_is_not_yet_set_until_the_bank_has_set_it(bank: Bank, served: Served, clock: Clock) -> None:
    """The Bank announces tomorrow's rates in the afternoon. Before that the answer is 404, not an older rate."""
    status, headers, body = await served.get("/v1/rates/next")
    assert (status, read(body)["expected_at"], read(body)["due_at"]) == (404, *AWAITED)
    assert headers["Cache-Control"] == "no-store"
    assert "2026-04-25" in read(body)["detail"]
    for path in ("/v1/rates/next.csv", "/v1/rates/next/USD.txt"):
        status, _, body = await served.get(path)
        assert (status, read(body)["expected_at"], read(body)["due_at"]) == (404, *AWAITED)
    for hour, is_overdue in ((17, False), (18, True)):
        clock.moment = datetime(2026, 4, 24, hour, tzinfo=UTC)
        await served.service.tick()
        assert read((await served.get("/v1/rates/next"))[2])["overdue"] == is_overdue
    bank.publish(sheet(SATURDAY))
    clock.moment = datetime(2026, 4, 24, 13, 30, tzinfo=UTC)
    await served.service.refresh()
    await eventually(lambda: served.service.history.of_date(SATURDAY))
    document = read((await served.get("/v1/rates/next"))[2])
    assert (document["date"], document["effective_date"]) == ("2026-04-25", "2026-04-25")
    for rest in (".csv?codes=USD", "/USD.txt"):
        named, dated = [await served.get(f"/v1/rates/{day}{rest}") for day in ("next", SATURDAY)]
        assert (named[0], named[2]) == (200, dated[2])
    today, tomorrow = [read((await served.get(f"/v1/rates{path}"))[2]) for path in ("", "/next")]
    said = [[one[f"next_{name}"] for name in ("effective_date", "expected_at", "due_at")] for one in (today, tomorrow)]
    assert said == [["2026-04-25", None, None], [None, "2026-04-27T16:00:00+03:00", "2026-04-27T18:00:00+03:00"]]


async def test_a_service_whose_sheet_is_missing_goes_on_and_says_so(served: Served, clock: Clock) -> None:
    """It stays ready. Saturday has begun without its own sheet, so Friday's numbers are stale."""
    clock.moment = MIDNIGHT
    served.service.publish()
    document = read((await served.get("/v1/rates"))[2])
    assert (document["effective_date"], document["next_overdue"], document["stale"]) == ("2026-04-24", True, True)
    assert (await served.get("/readyz"))[0] == 200


async def test_a_clock_that_is_set_back_years_takes_nobodys_rates_away(served: Served, clock: Clock) -> None:
    """Today is the day of the last publication then."""
    clock.moment = clock.moment.replace(year=1990)
    served.service.publish()
    status, _, body = await served.get("/v1/rates?codes=USD")
    assert (status, read(body)["effective_date"]) == (200, "2026-04-24")


def test_a_range_names_thirty_days_that_it_lacks() -> None:
    """Proxies refuse long headers. The last word says how many more there are."""
    days = tuple(FRIDAY - timedelta(days=number) for number in range(31, 0, -1))
    history = History(WorkCalendar())
    for lacking, words in ((days[1:], str(days[-1])), (days, "1 more")):
        history.coverage = Coverage(days[0], FRIDAY, lacking)
        ((name, named),) = unconfirmed_days(history, Days(days[0], FRIDAY), FRIDAY)
        assert (name, len(named.split(", ")), named.split(", ")[-1]) == ("Unconfirmed-Days", len(lacking), words)


async def test_codes_select_rows_and_quote_gives_cross_rates(served: Served) -> None:
    """Codes in any case; `lang` names the currencies. RUB is a row in another quote, which is left out."""
    document = read((await served.get("/v1/rates?codes=eur,USD&lang=ru"))[2])
    assert [(code, row["name"]) for code, row in document["rates"].items()] == [("EUR", "евро"), ("USD", "доллар США")]
    document = read((await served.get("/v1/rates?quote_currency=USD"))[2])
    assert (document["quote_currency"], "USD" in document["rates"]) == ("USD", False)
    assert abs(document["rates"]["RUB"]["unit_rate"] * sheet(FRIDAY).by_code["USD"].value - 1) < Decimal("1e-9")


async def test_a_sheet_as_csv_has_the_figures_of_the_json(served: Served) -> None:
    """Each figure with every digit; with `locale` as that language's Excel reads it; for today and for a day."""
    rates = read((await served.get("/v1/rates?codes=USD,JPY,TRY"))[2])["rates"]
    names = ("nominal", "value", "unit_rate", "change", "change_percent")
    expected = [
        f"{code},2026-04-24,1,{','.join(str(row[name]) for name in names)},new,{row['name']}"
        for code, row in rates.items()
    ]
    for path in ("/v1/rates.csv", "/v1/rates/today.csv", "/v1/rates/2026-04-24.csv"):
        status, headers, body = await served.get(f"{path}?codes=USD,JPY,TRY")
        assert (status, headers["Content-Type"]) == (200, "text/csv; charset=utf-8")
        assert headers["Content-Disposition"] == 'attachment; filename="rates-2026-04-24.csv"'
        assert body.decode().splitlines() == [f"code,effective_date,revision,{','.join(names)},roubles,name", *expected]
    russian = (await served.get("/v1/rates.csv?codes=USD,JPY,TRY&locale=ru"))[2].decode("utf-8-sig")
    assert russian.splitlines()[1:] == [line.replace(",", ";").replace(".", ",") for line in expected]
    crossed = (await served.get("/v1/rates.csv?codes=RUB,USD&quote_currency=USD"))[2].decode().splitlines()
    unit = read((await served.get("/v1/rates?quote_currency=USD"))[2])["rates"]["RUB"]["unit_rate"]
    assert crossed[1].startswith(f"RUB,2026-04-24,1,,,{unit},")
    assert len(crossed) == 2


async def test_two_lines_of_a_header_are_one_list(served: Served) -> None:
    """A proxy may split a list into lines, whose order means nothing (RFC 9110, 5.3). Both paths join them."""
    tag = (await served.get("/v1/rates"))[1]["ETag"]
    for number, (name, *lines, status, encoding) in enumerate(
        (
            ("If-None-Match", '"other"', tag, 304, None),
            ("If-None-Match", tag, '"other"', 304, None),
            ("Accept-Encoding", "identity;q=0.1", "gzip", 200, "gzip"),
            ("Accept-Encoding", "gzip", "br", 200, "br"),
            ("Accept-Encoding", "br;q=0.5", "gzip;q=0.1, *;q=0", 200, "br"),
            ("Accept-Encoding", "deflate", "zstd", 200, None),
            ("Accept-Encoding", "*", "br;q=0, gzip;q=0", 200, None),
        )
    ):
        request = get(f"/v1/rates?_={number}", *(f"{name}: {line}" for line in lines))
        for _ in ("first", "remembered"):
            answered = await ask(served.url, request)
            assert (answered.status, answered["Content-Encoding"]) == (status, encoding), lines
    for _ in ("first", "remembered"):
        request = get("/v1/rates?_=last", "Connection: x-mine", "Connection: close")
        assert (await ask(served.url, request, closes=True))["Connection"] == "close"


async def test_head_options_and_writing_methods(served: Served) -> None:
    """HEAD has GET's headers without a body, OPTIONS names the methods, and writing methods get 405."""
    async with served.http.head(served.url + "/v1/rates") as answer:
        assert (answer.status, await answer.read()) == (200, b"")
        assert int(answer.headers["Content-Length"]) == len((await served.get("/v1/rates"))[2])
    async with served.http.options(served.url + "/v1/rates") as answer:
        assert (answer.status, answer.headers["Access-Control-Allow-Methods"]) == (204, "GET, HEAD, OPTIONS")
        assert answer.headers["Access-Control-Max-Age"] == "86400", "a browser asks once a day"
    async with served.http.delete(served.url + "/v1/rates") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
