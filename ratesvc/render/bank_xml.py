"""The Bank's own XML in its present layout: one line, windows-1251, a decimal comma, VunitRate without trailing zeros.

https://www.cbr.ru/development/sxml/
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from xml.sax.saxutils import escape

from ratesvc.domain.columns import Currency
from ratesvc.domain.history import History
from ratesvc.domain.rates import Quote, Revision, Sheet, plain
from ratesvc.render.language import language_or_default

ENCODING = "windows-1251"
QUOTED = {'"': "&quot;"}
ERROR = "Error in parameters"

_CHARSET = re.compile(rb'encoding="([A-Za-z0-9-]{1,20})"')
_ENGLISH = language_or_default(None)


def sent(revision: Revision) -> bytes:
    """XML_daily of a revision: the Bank's own bytes, or written here where its figures were backfilled."""
    return revision.raw or daily(revision.sheet)


def charset(document: bytes) -> str:
    """What a document declares: the Bank served UTF-8 for some days of 2018."""
    declared = _CHARSET.search(document[:100])
    return declared[1].decode() if declared else ENCODING


def daily(sheet: Sheet, names: Mapping[str, str] | None = None, encoding: str = ENCODING) -> bytes:
    """XML_daily of one sheet, its rows in the sheet's order; `names` by currency id replace those of the sheet."""
    rows = "".join(_row(quote, (names or {}).get(quote.cbr_id, quote.name)) for quote in sheet.quotes)
    head = f'<ValCurs Date="{sheet.effective_date:%d.%m.%Y}" name="Foreign Currency Market">'
    return _document(f"{head}{rows}</ValCurs>", encoding)


def dynamic(cbr_id: str, since: date, until: date, quotes: Iterable[tuple[date, Quote]]) -> bytes:
    """XML_dynamic of one currency id over a closed range; no record at all is legal."""
    records = "".join(
        f'<Record Date="{day:%d.%m.%Y}" Id="{cbr_id}"><Nominal>{quote.nominal}</Nominal>{_value(quote)}</Record>'
        for day, quote in quotes
    )
    span = f'DateRange1="{since:%d.%m.%Y}" DateRange2="{until:%d.%m.%Y}"'
    head = f'<ValCurs ID="{escape(cbr_id, QUOTED)}" {span} name="Foreign Currency Market Dynamic">'
    return _document(f"{head}{records}</ValCurs>")


def catalogue(currencies: Iterable[tuple[Currency, int]], *, full: bool = True) -> bytes:
    """Each currency id with its nominal: XML_valFull, or XML_val, which lacks the ISO codes."""
    items = "".join(
        f'<Item ID="{c.cbr_id}"><Name>{escape(c.name)}</Name><EngName>{escape(_english(c))}</EngName>'
        f"<Nominal>{nominal}</Nominal><ParentCode>{c.parent_id:<10}</ParentCode>{_iso(c) if full else ''}</Item>"
        for c, nominal in currencies
    )
    return _document(f'<Valuta name="Foreign Currency Market Lib">{items}</Valuta>')


def refusal(text: str = ERROR) -> bytes:
    """What the Bank answers to what it does not understand, with 200."""
    return _document(f"<ValCurs>{escape(text)}</ValCurs>")


def english_names(history: History, sheet: Sheet) -> dict[str, str]:
    """By currency id: as the Bank's catalogue has them, and as CLDR has them where the catalogue was not asked for."""
    found = {quote.cbr_id: _ENGLISH.currency(quote.code) for quote in sheet.quotes}
    known = (column.currency for column in history.columns())
    return found | {currency.cbr_id: currency.english_name for currency in known if currency.english_name}


def unit(rate: Decimal) -> str:
    """As the Bank prints a unit rate: below 0.0001 in scientific notation (5,39256E-05)."""
    if rate >= Decimal("0.0001"):
        return plain(rate).replace(".", ",")
    exponent = rate.adjusted()
    return f"{plain(rate.scaleb(-exponent))}E-{-exponent:02d}".replace(".", ",")


def _document(content: str, encoding: str = ENCODING) -> bytes:
    return f'<?xml version="1.0" encoding="{encoding}"?>{content}'.encode(encoding, "xmlcharrefreplace")


def _row(quote: Quote, name: str) -> str:
    return (
        f'<Valute ID="{quote.cbr_id}"><NumCode>{quote.numeric_code}</NumCode><CharCode>{quote.code}</CharCode>'
        f"<Nominal>{quote.nominal}</Nominal><Name>{escape(name)}</Name>{_value(quote)}</Valute>"
    )


def _value(quote: Quote) -> str:
    return f"<Value>{plain(quote.value).replace('.', ',')}</Value><VunitRate>{unit(quote.unit_rate)}</VunitRate>"


def _english(currency: Currency) -> str:
    return currency.english_name or _ENGLISH.currency(currency.code)


def _iso(currency: Currency) -> str:
    number = f"<ISO_Num_Code>{int(currency.numeric_code)}</ISO_Num_Code>"
    return f"{number}<ISO_Char_Code>{currency.code}</ISO_Char_Code>"
