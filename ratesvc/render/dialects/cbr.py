"""The Bank's own XML in its present layout: one line, windows-1251, a decimal comma, VunitRate without trailing zeros.

https://www.cbr.ru/development/sxml/
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from xml.sax.saxutils import escape

from ratesvc.columns import Currency
from ratesvc.rates import Quote, Sheet, plain

ENCODING = "cp1251"
QUOTED = {'"': "&quot;"}
DECLARATION = '<?xml version="1.0" encoding="windows-1251"?>'
ERROR = f"{DECLARATION}<ValCurs>Error in parameters</ValCurs>".encode(ENCODING)


def daily(sheet: Sheet) -> bytes:
    """XML_daily of one sheet, its rows in the sheet's order."""
    rows = "".join(map(_row, sheet.quotes))
    text = (
        f'{DECLARATION}<ValCurs Date="{sheet.effective_date:%d.%m.%Y}" name="Foreign Currency Market">{rows}</ValCurs>'
    )
    return text.encode(ENCODING, "xmlcharrefreplace")


def dynamic(cbr_id: str, since: date, until: date, quotes: Iterable[tuple[date, Quote]]) -> bytes:
    """XML_dynamic of one currency id over a closed range; no record at all is legal."""
    records = "".join(
        f'<Record Date="{day:%d.%m.%Y}" Id="{cbr_id}"><Nominal>{quote.nominal}</Nominal>{_value(quote)}</Record>'
        for day, quote in quotes
    )
    span = f'DateRange1="{since:%d.%m.%Y}" DateRange2="{until:%d.%m.%Y}"'
    head = f'<ValCurs ID="{escape(cbr_id, QUOTED)}" {span} name="Foreign Currency Market Dynamic">'
    return f"{DECLARATION}{head}{records}</ValCurs>".encode(ENCODING, "xmlcharrefreplace")


def catalogue(currencies: Iterable[tuple[Currency, int]]) -> bytes:
    """XML_valFull: each currency id with its nominal; our names serve as English ones too."""
    items = "".join(
        f'<Item ID="{c.cbr_id}"><Name>{escape(c.name)}</Name><EngName>{escape(c.name)}</EngName>'
        f"<Nominal>{nominal}</Nominal><ParentCode>{c.parent_id:<10}</ParentCode>"
        f"<ISO_Num_Code>{int(c.numeric_code)}</ISO_Num_Code><ISO_Char_Code>{c.code}</ISO_Char_Code></Item>"
        for c, nominal in currencies
    )
    text = f'{DECLARATION}<Valuta name="Foreign Currency Market Lib">{items}</Valuta>'
    return text.encode(ENCODING, "xmlcharrefreplace")


def _row(quote: Quote) -> str:
    return (
        f'<Valute ID="{quote.cbr_id}"><NumCode>{quote.numeric_code}</NumCode><CharCode>{quote.code}</CharCode>'
        f"<Nominal>{quote.nominal}</Nominal><Name>{escape(quote.name)}</Name>{_value(quote)}</Valute>"
    )


def _value(quote: Quote) -> str:
    return f"<Value>{plain(quote.value).replace('.', ',')}</Value><VunitRate>{unit(quote.unit_rate)}</VunitRate>"


def unit(rate: Decimal) -> str:
    """As the Bank prints a unit rate: below 0.0001 in scientific notation (5,39256E-05)."""
    if rate >= Decimal("0.0001"):
        return plain(rate).replace(".", ",")
    exponent = rate.adjusted()
    return f"{plain(rate.scaleb(-exponent))}E-{-exponent:02d}".replace(".", ",")
