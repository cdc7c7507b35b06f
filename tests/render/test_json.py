"""Our JSON, field by field: exact literals, in the order of the documentation, and null for an unknown fact."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from conftest import golden
from kit.dates import FRIDAY, SATURDAY, THURSDAY

from ratesvc.domain.columns import Column, Currency
from ratesvc.domain.history import History
from ratesvc.domain.rates import InForce, Quote, Revision, Sheet
from ratesvc.domain.settled import Settled
from ratesvc.domain.workdays import WorkCalendar
from ratesvc.features.convert.conversion import to_json
from ratesvc.render.json import bank_page, currencies, encode, literal, rates, source_url, unit_rate
from ratesvc.render.language import language_or_default

FETCHED = datetime(2026, 4, 23, 13, 20, 5, 999999, tzinfo=UTC)
EN, RU = language_or_default("en"), language_or_default("ru")


def revision(day: date, *rows: tuple[str, int, str], number: int = 1, flags: tuple[str, ...] = ()) -> Revision:
    quotes = [
        Quote(code, "036", f"R0{n:04}", nominal, Decimal(value), "Имя") for n, (code, nominal, value) in enumerate(rows)
    ]
    return Revision(Sheet(day, tuple(quotes)), number, FETCHED, flags)


BEFORE = revision(THURSDAY, ("USD", 1, "80.0000"), ("EUR", 1, "97.0000"), ("IRR", 1000000, "53.9256"))
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


OLD = revision(date(1997, 12, 31), ("USD", 1, "5960.0000"), ("DEM", 1, "3351.0000"))
OLD_ANSWER = InForce(date(1997, 12, 31), OLD, None, None)
NEW_ANSWER = InForce(
    date(1998, 1, 1), replace(OLD, sheet=replace(OLD.sheet, effective_date=date(1998, 1, 1))), None, None
)
COINED = InForce(
    FRIDAY, revision(FRIDAY, ("USD", 1, "84.0000"), ("JPY", 100, "50.0000"), ("BHD", 1, "220.0000")), None, None
)


def column(cbr_id: str, parent_id: str, code: str, number: str, *days: date) -> Column:
    made = Column(Currency(cbr_id, parent_id, code, number, code), FETCHED)
    for day in days:
        made.put(day, 1, Decimal(1))
    return made


def succession() -> History:
    """A currency that stayed, one with a successor, one with two numbers on a day, and two that overlap for a day."""
    days = [date(2004, 12, 30), date(2004, 12, 31), date(2005, 1, 1), date(2005, 1, 2)]
    history = History(WorkCalendar())
    columns = [
        column("R01235", "R01235", "USD", "840", *days),
        column("R01020", "R01020", "AZM", "031", *days[:3]),
        column("R01020A", "R01020", "AZN", "944", *days[2:]),
        column("R01700", "R01700", "TRL", "792", *days[:2]),
        column("R01700J", "R01700", "TRY", "949", *days[2:]),
        column("R01090", "R01090", "BYN", "974", *days),
        column("R01090B", "R01090", "BYN", "933", days[2]),
    ]
    history.settle(Settled(days[0], days[-1]), columns)
    return history


DOCUMENTS: dict[str, list[bytes]] = {
    "A table has every field in order, and literals with every digit and no exponent. An unchanged rate has a "
    "change of 0, a new rate has null.": [rates(ANSWER, EN)],
    "Until the next sheet is set: when it usually comes, and by when it is due. Names are in the reader's language.": [
        rates(replace(ANSWER, following=None), RU, codes=["USD"])
    ],
    "Unknown facts are null: no sheet before or after it, and no next one is expected, as at a first start.": [
        rates(InForce(SATURDAY, NOW, None, None), EN, codes=["USD", "AED"])
    ],
    "Codes that the sheet lacks are missing; an empty list gives no rows.": [
        rates(ANSWER, EN, codes=codes) for codes in (["USD", "XXX"], ["EUR", "AED"], [])
    ],
    "In another quote a row has the same fields. The rouble has one, too. The Bank's figures are null there.": [
        rates(ANSWER, EN, quote="EUR"),
        rates(ANSWER, EN, quote="EUR", codes=["RUB"]),
    ],
    "Old roubles are named if a rouble is among the shown currencies: not in the third.": [
        rates(OLD_ANSWER, EN, quote=quote, codes=codes)
        for quote, codes in (("RUB", None), ("USD", None), ("USD", ["DEM"]), ("USD", ["RUB"]), ("RUB", ["DEM"]))
    ],
    "The same in conversions, and not from 1998 on.": [
        *(to_json(OLD_ANSWER, "1", *pair) for pair in (("USD", ["RUB"]), ("RUB", ["DEM"]), ("USD", ["DEM"]))),
        rates(NEW_ANSWER, EN, codes=["USD"]),
    ],
    "Demo figures are marked.": [
        rates(ANSWER, EN, codes=["USD"], demo=True),
        to_json(ANSWER, "1", "USD", ["RUB"], demo=True),
        currencies(History(WorkCalendar(), [BEFORE]), EN, demo=True),
    ],
    "One number alone, for a cell of a spreadsheet.": [
        unit_rate(ANSWER, *pair)
        for pair in (("USD", "RUB"), ("IRR", "RUB"), ("RUB", "USD"), ("EUR", "USD"), ("RUB", "RUB"))
    ],
    "Amounts of a conversion are strings, rounded to the minor unit: none of yen, three of dinars. Zero has no sign.": [
        to_json(replace(ANSWER, requested_date=SATURDAY), "100.50", "USD", ["RUB"]),
        to_json(COINED, "1", "USD", ["JPY", "BHD", "RUB"]),
        *(to_json(COINED, amount, "RUB", ["USD"]) for amount in ("-0.00001", "-0", "000")),
    ],
    "Currencies are listed by code, with the days of all ids. A successor has the same parent, another code, and "
    "begins later.": [currencies(succession(), EN)],
    "An incomplete history is marked.": [
        currencies(History(WorkCalendar()), EN),
        currencies(History(WorkCalendar(), [NOW]), EN),
    ],
}


def test_golden() -> None:
    """The bytes of every document, with each row on a line of its own, as the sentence above says."""
    texts = {why: "\n".join(body.decode() for body in bodies) for why, bodies in DOCUMENTS.items()}
    text = "\n".join(f"# {why}\n{text}\n" for why, text in texts.items())
    text = f"# A line: an answer, with each row on a line of its own.\n{text}"
    golden("documents.txt", re.sub(r'"[A-Z]{3}":\{', r"\n\g<0>", text))


@pytest.mark.parametrize(("code", "quote"), [("GBP", "RUB"), ("USD", "GBP"), ("GBP", "USD")])
def test_a_currency_that_the_sheet_lacks_has_no_number(code: str, quote: str) -> None:
    """Callers name it in their error."""
    with pytest.raises(KeyError):
        unit_rate(ANSWER, code, quote)
    with pytest.raises(KeyError):
        rates(ANSWER, EN, quote="GBP")


def test_the_banks_page_is_russian_for_readers_of_russian() -> None:
    english, russian = (f"https://www.cbr.ru/{folder}currency_base/daily/" for folder in ("eng/", ""))
    for language, page in ((None, english), (EN, english), (RU, russian)):
        assert bank_page(language) == page
        assert source_url(FRIDAY, language) == f"{page}?UniDbQuery.Posted=True&UniDbQuery.To=24.04.2026"


def test_a_literal_is_a_number_of_json() -> None:
    """It has no exponent, no sign at zero and no quotes."""
    numbers = [Decimal("1E+3"), Decimal("-0.00"), Decimal("5.39256E-5"), None]
    assert encode(list(map(literal, numbers))) == b"[1000,0.00,0.0000539256,null]"
