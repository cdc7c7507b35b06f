"""Our JSON, field by field: exact literals, in the order of the documentation, and null for an unknown fact."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from ratesvc.domain.columns import Column, Coverage, Currency
from ratesvc.domain.history import History
from ratesvc.domain.rates import InForce, Quote, Revision, Sheet
from ratesvc.domain.workdays import WorkCalendar
from ratesvc.render.json import bank_page, conversion, currencies, encode, literal, rates, source_url, unit_rate
from ratesvc.render.language import language_or_default

THURSDAY, FRIDAY, SATURDAY = (date(2026, 4, day) for day in (23, 24, 25))
FETCHED = datetime(2026, 4, 23, 13, 20, 5, 999999, tzinfo=UTC)
EN, RU = language_or_default("en"), language_or_default("ru")


def revision(day: date, *rows: tuple[str, int, str], number: int = 1, flags: tuple[str, ...] = ()) -> Revision:
    quotes = [
        Quote(code, "036", f"R0{n:04}", nominal, Decimal(value), "Имя") for n, (code, nominal, value) in enumerate(rows)
    ]
    return Revision(Sheet(day, tuple(quotes)), number, FETCHED, flags)


BEFORE = revision(THURSDAY, ("USD", 1, "80.0000"), ("EUR", 1, "100.0000"), ("IRR", 1000000, "53.9256"))
TODAY = (("USD", 1, "84.0000"), ("EUR", 1, "100.0000"), ("IRR", 1000000, "53.9256"), ("AED", 1, "20.5000"))
NOW = revision(FRIDAY, *TODAY, number=2, flags=("corrected",))
ANSWER = InForce(
    requested_date=FRIDAY,
    revision=NOW,
    previous=BEFORE,
    following=revision(SATURDAY, ("USD", 1, "85.0000")),
    next_due_at=datetime(2026, 4, 27, 15, tzinfo=UTC),
    stale=True,
)


def read(body: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(body, parse_float=Decimal)
    return found


def test_a_table_has_every_field_in_order() -> None:
    """It has every field, in the order of the documentation."""
    document = read(rates(ANSWER, EN))
    rows = document.pop("rates")
    assert list(document.items()) == [
        ("date", "2026-04-24"),
        ("effective_date", "2026-04-24"),
        ("revision", 2),
        ("previous_effective_date", "2026-04-23"),
        ("next_effective_date", "2026-04-25"),
        ("next_expected_at", None),
        ("next_due_at", None),
        ("next_overdue", False),
        ("stale", True),
        ("flags", ["corrected"]),
        ("quote_currency", "RUB"),
        ("published_by", "Bank of Russia"),
        ("source_url", source_url(FRIDAY)),
        ("fetched_at", "2026-04-23T13:20:05Z"),
    ]
    assert list(rows) == ["AED", "EUR", "IRR", "USD"]


def test_what_is_next_is_one_sheet() -> None:
    """Until it is set, when it usually comes and by when it is due; once it is set, only its day."""
    for answer, said in (
        (ANSWER, ["2026-04-25", None, None]),
        (replace(ANSWER, following=None), [None, "2026-04-27T16:00:00+03:00", "2026-04-27T18:00:00+03:00"]),
    ):
        document = read(rates(answer, EN))
        assert [document[f"next_{name}"] for name in ("effective_date", "expected_at", "due_at")] == said


def test_unknown_facts_are_null() -> None:
    """No sheet is known before or after it, and no next one is expected, as at a first start."""
    alone = InForce(SATURDAY, NOW, None, None)
    document = read(rates(alone, EN))
    unknown = ("previous_effective_date", "next_effective_date", "next_expected_at", "next_due_at")
    assert [document[name] for name in unknown] == [None] * 4
    assert (document["date"], document["effective_date"]) == ("2026-04-25", "2026-04-24")
    assert (document["stale"], document["next_overdue"], "demo" in document) == (False, False, False)
    assert {row["change"] for row in document["rates"].values()} == {None}
    assert {row["change_percent"] for row in document["rates"].values()} == {None}


def test_a_row_has_the_banks_figures_and_how_one_unit_moved() -> None:
    """As literals with every digit and no exponent. An unchanged rate has a change of 0, a new rate has null."""
    body = rates(ANSWER, EN)
    row = read(body)["rates"]["USD"]
    fields = ["name", "numeric_code", "cbr_id", "nominal", "value", "unit_rate", "change", "change_percent"]
    assert list(row) == fields
    assert (row["name"], row["numeric_code"], row["cbr_id"], row["nominal"]) == ("US Dollar", "036", "R00000", 1)
    assert read(rates(ANSWER, RU))["rates"]["USD"]["name"] == "доллар США"
    assert b'"nominal":1,"value":84.0000,"unit_rate":84,"change":4,"change_percent":5}' in body
    assert b'"nominal":1000000,"value":53.9256,"unit_rate":0.0000539256,"change":0,"change_percent":0}' in body
    assert b'"nominal":1,"value":20.5000,"unit_rate":20.5,"change":null,"change_percent":null}' in body


@pytest.mark.parametrize(
    ("codes", "found"), [(["USD", "XXX"], ["USD"]), (["EUR", "AED"], ["AED", "EUR"]), ([], []), (None, 4)]
)
def test_a_table_has_only_the_given_codes(codes: list[str] | None, found: list[str] | int) -> None:
    """Codes that the sheet lacks are left out; an empty list gives no rows, None gives all."""
    rows = read(rates(ANSWER, EN, codes=codes))["rates"]
    assert (len(rows) if isinstance(found, int) else list(rows)) == found


def test_in_another_quote_a_row_has_the_same_fields() -> None:
    """The rouble has a row, too. The Bank's figures are in roubles, so they are null."""
    document = read(rates(ANSWER, EN, quote="EUR"))
    assert document["quote_currency"] == "EUR"
    assert list(document["rates"]) == ["AED", "IRR", "RUB", "USD"]
    usd = document["rates"]["USD"]
    assert list(usd) == list(read(rates(ANSWER, EN))["rates"]["USD"])
    assert [usd[name] for name in ("name", "numeric_code", "cbr_id")] == ["US Dollar", "036", "R00000"]
    assert [usd[name] for name in ("nominal", "value", "unit_rate")] == [None, None, Decimal("0.84")]
    assert (usd["change"], usd["change_percent"]) == (Decimal("0.04"), 5)
    rouble = document["rates"]["RUB"]
    assert [rouble[name] for name in ("name", "numeric_code", "cbr_id")] == ["Russian Ruble", "643", None]
    assert list(read(rates(ANSWER, EN, quote="EUR", codes=["RUB"]))["rates"]) == ["RUB"]
    with pytest.raises(KeyError):
        rates(ANSWER, EN, quote="XXX")


OLD = revision(date(1997, 12, 31), ("USD", 1, "5960.0000"), ("DEM", 1, "3351.0000"))


@pytest.mark.parametrize(
    ("quote", "codes", "said"),
    [("RUB", None, True), ("USD", None, True), ("USD", ["DEM"], False), ("USD", ["RUB"], True), ("RUB", ["DEM"], True)],
)
def test_old_roubles_are_named(quote: str, codes: list[str] | None, said: bool) -> None:
    """If a rouble is among the shown currencies and old roubles were in force."""
    old = read(rates(InForce(date(1997, 12, 31), OLD, None, None), EN, quote=quote, codes=codes))
    unit = {"before": "1998-01-01", "unit": "old rouble", "per_new_rouble": 1000}
    assert old.get("denomination") == (unit if said else None)
    for base, other, is_old in (("USD", "RUB", True), ("RUB", "DEM", True), ("USD", "DEM", False)):
        converted = read(conversion(InForce(date(1997, 12, 31), OLD, None, None), "1", base, other))
        assert ("denomination" in converted) is is_old
    new = replace(OLD, sheet=replace(OLD.sheet, effective_date=date(1998, 1, 1)))
    assert "denomination" not in read(rates(InForce(date(1998, 1, 1), new, None, None), EN, quote=quote))


def test_demo_figures_are_marked() -> None:
    history = History(WorkCalendar(), [NOW])
    for demo in (True, False):
        converted = conversion(ANSWER, "1", "USD", "RUB", demo=demo)
        documents = rates(ANSWER, EN, demo=demo), converted, currencies(history, EN, demo=demo)
        assert [read(body).get("demo") for body in documents] == [demo or None] * 3


def test_one_number_alone() -> None:
    """For a cell of a spreadsheet."""
    assert unit_rate(ANSWER, "USD", "RUB") == b"84"
    assert unit_rate(ANSWER, "IRR", "RUB") == b"0.0000539256"
    assert unit_rate(ANSWER, "RUB", "USD") == b"0.0119047619"
    assert unit_rate(ANSWER, "EUR", "USD") == b"1.19047619"
    assert unit_rate(ANSWER, "RUB", "RUB") == b"1"
    for code, quote in (("GBP", "RUB"), ("USD", "GBP"), ("GBP", "USD")):
        with pytest.raises(KeyError):
            unit_rate(ANSWER, code, quote)


def test_a_conversion_has_strings_rounded_to_the_minor_unit() -> None:
    """Results have as many places as the currency: yen have none, dinars three."""
    assert list(read(conversion(ANSWER, "100.50", "USD", "RUB")).items()) == [
        ("amount", "100.50"),
        ("from", "USD"),
        ("to", "RUB"),
        ("date", "2026-04-24"),
        ("effective_date", "2026-04-24"),
        ("revision", 2),
        ("stale", True),
        ("unit_rate", Decimal(84)),
        ("result", "8442"),
        ("result_rounded", "8442.00"),
    ]
    coined = revision(FRIDAY, ("USD", 1, "84.0000"), ("JPY", 100, "50.0000"), ("BHD", 1, "220.0000"))
    answer = InForce(FRIDAY, coined, None, None)
    for code, rounded in (("JPY", "168"), ("BHD", "0.382"), ("RUB", "84.00")):
        assert read(conversion(answer, "1", "USD", code))["result_rounded"] == rounded
    for amount in ("-0.00001", "-0", "000"):
        found = read(conversion(answer, amount, "RUB", "USD"))
        assert (found["amount"], found["result_rounded"]) == (amount, "0.00")
    with pytest.raises(KeyError):
        conversion(ANSWER, "1", "USD", "GBP")


def column(cbr_id: str, parent_id: str, code: str, number: str, *days: date) -> Column:
    made = Column(Currency(cbr_id, parent_id, code, number, code), FETCHED)
    for day in days:
        made.put(day, 1, Decimal(1))
    return made


def test_currencies_are_listed_with_their_successors() -> None:
    """By code, with the days of all ids. A successor has the same parent, another code, and begins later."""
    days = [date(2004, 12, 30), date(2004, 12, 31), date(2005, 1, 1), date(2005, 1, 2)]
    history = History(WorkCalendar())
    columns = [
        column("R01235", "R01235", "USD", "840", *days),
        column("R01700", "R01700", "TRL", "792", *days[:2]),
        column("R01700J", "R01700", "TRY", "949", *days[2:]),
        column("R01090", "R01090", "BYN", "974", *days[:2]),
        column("R01090B", "R01090", "BYN", "933", *days[2:]),
        column("R01020", "R01020", "AZM", "031", *days[:3]),
        column("R01020A", "R01020", "AZN", "944", *days[2:]),
    ]
    history.fill(columns, Coverage(days[0], days[-1]))
    document = read(currencies(history, EN))
    assert (list(document), document["complete"]) == (["complete", "currencies"], True)
    found = document["currencies"]
    assert list(found) == ["AZM", "AZN", "BYN", "TRL", "TRY", "USD"]
    assert found["TRL"] == {
        "name": EN.currency("TRL"),
        "numeric_code": "792",
        "minor_units": 0,
        "cbr_ids": ["R01700"],
        "first_effective_date": "2004-12-30",
        "last_effective_date": "2004-12-31",
        "in_newest_sheet": False,
        "successor": "TRY",
    }
    assert (found["TRY"]["successor"], found["TRY"]["in_newest_sheet"]) == (None, True)
    assert (found["BYN"]["cbr_ids"], found["BYN"]["successor"]) == (["R01090", "R01090B"], None)
    assert (found["BYN"]["first_effective_date"], found["BYN"]["last_effective_date"]) == ("2004-12-30", "2005-01-02")
    assert found["BYN"]["numeric_code"] == "933"
    assert found["AZM"]["successor"] is None


def test_incomplete_history_is_marked() -> None:
    assert read(currencies(History(WorkCalendar()), EN)) == {"complete": False, "currencies": {}}
    held = read(currencies(History(WorkCalendar(), [NOW]), EN))
    assert (held["complete"], list(held["currencies"])) == (False, ["AED", "EUR", "IRR", "USD"])


def test_the_banks_page_is_russian_for_readers_of_russian() -> None:
    english, russian = (f"https://www.cbr.ru/{folder}currency_base/daily/" for folder in ("eng/", ""))
    for language, page in ((None, english), (EN, english), (RU, russian)):
        assert bank_page(language) == page
        assert source_url(FRIDAY, language) == f"{page}?UniDbQuery.Posted=True&UniDbQuery.To=24.04.2026"


def test_a_literal_is_a_number_of_json() -> None:
    """It has no exponent, no sign at zero and no quotes."""
    numbers = [Decimal("1E+3"), Decimal("-0.00"), Decimal("5.39256E-5"), None]
    assert encode(list(map(literal, numbers))) == b"[1000,0.00,0.0000539256,null]"
