"""Fuzzing with atheris, guided by coverage: `make fuzz SECONDS=60`, in a venv of its own.

`fuzz.py documents` feeds bytes to the parser of the Bank's documents, `fuzz.py query` strings to every reader of
parameters. Whatever is not refused by name is a find.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

import atheris  # noqa: E402 -- found beside the paths above

with atheris.instrument_imports(include=["ratesvc", "xmltodict"]):
    from multidict import MultiDict

    from ratesvc.cbr.documents import parse_daily
    from ratesvc.errors import BadDocument, BadRequest
    from ratesvc.web.query import Query
    from ratesvc.web.wanted import Asked

from bank import LAYOUTS, daily_xml, sheet  # noqa: E402 -- made from figures, after what is watched

CORPUS = Path(__file__).parent / "corpus"
KNOWN = ("codes", "quote", "lang", "day", "amount", "revision", "width", "theme", "date")


def documents(content: bytes) -> None:
    """A document gives a sheet of positive rates, or BadDocument."""
    with suppress(BadDocument):
        found = parse_daily(content)
        assert all(quote.value > 0 and quote.nominal > 0 for quote in found.quotes)


def query(content: bytes) -> None:
    """Parameters give values, or BadRequest; the lenient reader never refuses."""
    values = MultiDict(parse_qsl(content.decode("utf-8", "replace"), keep_blank_values=True))
    asked: Any = SimpleNamespace(query=values)
    with suppress(BadRequest):
        strict = Query(asked, KNOWN)
        strict.codes(), strict.code("quote", "RUB"), strict.language(), strict.day("day", date.min)
        strict.amount(), strict.count("revision"), strict.within("width", range(1, 9), 1)
        strict.choice("theme", ("light", "dark"), "light")
    lenient = Asked(values)
    lenient.view({"USD", "EUR"}), lenient.language(), lenient.look(), lenient.packing(), lenient.day()
    assert lenient.number("width", 5, range(9)) in range(9)


def seeds(name: str) -> None:
    """Good beginnings, made from figures, beside what is kept."""
    folder = CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    if name == "documents":
        for number, layout in enumerate(LAYOUTS):
            (folder / f"layout-{number}").write_bytes(daily_xml(sheet(date(2026, 4, 24)), layout))


if __name__ == "__main__":
    target = sys.argv.pop(1)
    seeds(target)
    atheris.Setup([*sys.argv, str(CORPUS / target)], {"documents": documents, "query": query}[target])
    atheris.Fuzz()
