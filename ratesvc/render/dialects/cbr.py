"""The Bank's own XML in its present layout: one line, windows-1251, a decimal comma, VunitRate without trailing zeros.

https://www.cbr.ru/development/sxml/
"""

from __future__ import annotations

from decimal import Decimal
from xml.sax.saxutils import escape

from ratesvc.rates import Quote, Sheet, plain

ENCODING = "cp1251"
DECLARATION = '<?xml version="1.0" encoding="windows-1251"?>'
ERROR = f"{DECLARATION}<ValCurs>Error in parameters</ValCurs>".encode(ENCODING)


def daily(sheet: Sheet) -> bytes:
    """XML_daily of one sheet, its rows in the sheet's order."""
    rows = "".join(map(_row, sheet.quotes))
    date = sheet.effective_date.strftime("%d.%m.%Y")
    text = f'{DECLARATION}<ValCurs Date="{date}" name="Foreign Currency Market">{rows}</ValCurs>'
    return text.encode(ENCODING, "xmlcharrefreplace")


def _row(quote: Quote) -> str:
    return (
        f'<Valute ID="{quote.cbr_id}"><NumCode>{quote.numeric_code}</NumCode><CharCode>{quote.code}</CharCode>'
        f"<Nominal>{quote.nominal}</Nominal><Name>{escape(quote.name)}</Name>"
        f"<Value>{plain(quote.value).replace('.', ',')}</Value><VunitRate>{unit(quote.unit_rate)}</VunitRate></Valute>"
    )


def unit(rate: Decimal) -> str:
    """As the Bank prints a unit rate: below 0.0001 in scientific notation (5,39256E-05)."""
    if rate >= Decimal("0.0001"):
        return plain(rate).replace(".", ",")
    exponent = rate.adjusted()
    return f"{plain(rate.scaleb(-exponent))}E-{-exponent:02d}".replace(".", ",")
