"""Sheets and series as CSV: a table is a row of field names, then a row for each rate."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from ratesvc.domain.rates import REDENOMINATION, InForce
from ratesvc.render.json import FIGURES, figures
from ratesvc.render.language import Language

MEDIA = "text/csv; charset=utf-8"
BOM = "\ufeff"
_DAYS = ("date", "since", "until", *(f"{which}effective_date" for which in ("", "first_", "last_", "previous_")))
SEMICOLON = ("-CH", "-LI")
"""Regions whose spreadsheets separate columns so although their decimals follow a point."""
TEXTS = frozenset((*_DAYS, "code", "name", "roubles"))
"""The fields that are texts; all others are numbers, or true and false."""

Columns = Mapping[str, Sequence[str]]
"""Rows by their columns: field → text of each row, which is empty where a number is unknown."""


def rows_of_sheet(answer: InForce, quote: str, codes: Collection[str] | None) -> Columns:
    """The rows of one sheet; a currency that it lacks has empty cells. Raises what `figures` raises."""
    found = figures(answer, quote, codes)
    rows = {code: found.get(code, {}) for code in sorted({*found, *(codes or ())})}
    columns = {name: [row.get(name, "") for row in rows.values()] for name in FIGURES}
    day, number = ([str(part)] * len(rows) for part in answer.revision.key)
    return {"code": list(rows), "effective_date": day, "revision": number, **columns}


def for_readers(columns: Columns, language: Language, quote: str, *, all_new: bool = False) -> Columns:
    """With two columns more: `roubles`, old or new and empty where there are none, and names of the currencies."""
    codes, days = columns["code"], columns["effective_date" if "effective_date" in columns else "until"]
    names = {code: _quoted(language.currency(code)) for code in {*codes}}
    first_new = "" if all_new else str(REDENOMINATION)
    roubles = [
        "" if "RUB" not in (code, quote) else "old" if day < first_new else "new"
        for code, day in zip(codes, days, strict=True)
    ]
    return {**columns, "roubles": roubles, "name": [names[code] for code in codes]}


def _quoted(text: str) -> str:
    """A cell of CSV with either separator (RFC 4180)."""
    doubled = text.replace('"', '""')
    return f'"{doubled}"' if {*text} & {*',;"'} else text


def lines(parts: Iterable[Columns], locale: Language | None) -> Iterator[bytes]:
    """A heading with the fields, and a line for each row, a part at a time; with a language, as its Excel reads it."""
    decimal = locale.decimal_mark if locale else "."
    separator = ";" if decimal == "," or (locale and locale.tag.endswith(SEMICOLON)) else ","
    for number, part in enumerate(parts):
        heading = "" if number else f"{BOM if locale else ''}{separator.join(part)}\r\n"
        numbers = part.keys() - TEXTS if decimal != "." else ()
        cells = {name: [text.replace(".", decimal) for text in part[name]] for name in numbers}
        rows = map(separator.join, zip(*{**part, **cells}.values(), strict=True))
        yield (heading + "".join(f"{row}\r\n" for row in rows)).encode()
