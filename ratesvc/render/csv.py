"""Sheets and series as CSV: a table is a row of field names, then a row for each rate."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from ratesvc.domain.rates import REDENOMINATION, InForce
from ratesvc.render.json import FIGURES, figures
from ratesvc.render.language import Language

MEDIA = "text/csv; charset=utf-8"
TEXTS = frozenset(("date", "code", "name", "roubles", "effective_date", "first_effective_date"))
"""The fields that are texts; all others are numbers, or true and false."""

Columns = Mapping[str, Sequence[str]]
"""Rows by their columns: field → text of each row, which is empty where a number is unknown."""


def rows_of_sheet(answer: InForce, quote: str, codes: Collection[str] | None) -> Columns:
    """The rows of one sheet. Raises what `figures` raises."""
    rows = figures(answer, quote, codes)
    columns = {name: [row.get(name, "") for row in rows.values()] for name in FIGURES}
    effective = answer.revision.effective_date.isoformat()
    return {"code": list(rows), "effective_date": [effective] * len(rows), **columns}


def for_readers(columns: Columns, language: Language | None, *, has_old_roubles: bool = False) -> Columns:
    """With the names of the currencies, if a language is given, and old and new roubles told apart."""
    names = {code: language.currency(code) for code in {*columns["code"]}} if language else {}
    shown: dict[str, Sequence[str]] = {}
    for field, column in columns.items():
        shown[field] = column
        if field == "code" and language:
            shown["name"] = [names[code] for code in column]
    if has_old_roubles:
        first_new = REDENOMINATION.isoformat()
        shown["roubles"] = ["old" if day < first_new else "new" for day in columns["effective_date"]]
    return shown


def write(parts: Iterable[Columns], language: Language | None) -> bytes:
    """A heading with the fields, and a line for each row; with a language, as its Excel reads it."""
    decimal = language.decimal_mark if language else "."
    separator = ";" if decimal == "," else ","
    lines = bytearray("\ufeff".encode() if language else b"")
    for number, part in enumerate(parts):
        rows = [] if number else [separator.join(part)]
        rows += map(separator.join, _cells(part, separator, decimal))
        lines += "".join(f"{row}\r\n" for row in rows).encode()
    return bytes(lines)


def _cells(columns: Columns, separator: str, decimal: str) -> Iterator[Sequence[str]]:
    """The cells of each row."""
    written = dict(columns)
    for name in columns.keys() - TEXTS if decimal != "." else ():
        written[name] = [text.replace(".", decimal) for text in columns[name]]
    if "name" in columns:
        written["name"] = [_quoted(text, separator) for text in columns["name"]]
    return zip(*written.values(), strict=True)


def _quoted(text: str, separator: str) -> str:
    """A cell of CSV (RFC 4180)."""
    doubled = text.replace('"', '""')
    return f'"{doubled}"' if separator in text or '"' in text else text
