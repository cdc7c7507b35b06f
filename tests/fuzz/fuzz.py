"""Fuzzing with atheris, guided by coverage: `make nightly ARGS=fuzzing SECONDS=60`, in a venv of its own.

`fuzz.py documents` feeds bytes to the parser of the Bank's daily documents, `fuzz.py dynamic` and `fuzz.py catalogue`
to those of its series and its catalogue, `fuzz.py query` strings to every reader of parameters. Whatever is not refused
by name is a find.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from datetime import date
from itertools import pairwise
from pathlib import Path
from urllib.parse import parse_qsl

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

import atheris  # noqa: E402 -- found beside the paths above

with atheris.instrument_imports(include=["ratesvc", "xmltodict"]):
    from multidict import MultiDict

    from ratesvc.bank.xml import parse_catalogue, parse_daily, parse_dynamic
    from ratesvc.errors import BadDocument, BadRequest
    from ratesvc.features.rate.routes import typed_amount
    from ratesvc.features.widget.routes import WidgetParams
    from ratesvc.web.params import StrictParams

CORPUS = Path(__file__).parent / "corpus"
ASKED = "R01235"
SINCE, UNTIL = date(2026, 4, 1), date(2026, 4, 25)


def documents(content: bytes) -> None:
    """A document gives a sheet of positive rates, or BadDocument."""
    with suppress(BadDocument):
        found = parse_daily(content)
        assert all(quote.value > 0 and quote.nominal > 0 for quote in found.quotes)


def dynamic(content: bytes) -> None:
    """A series has the days that were asked for, in order and each once; or BadDocument."""
    with suppress(BadDocument):
        days = [record.effective_date for record in parse_dynamic(content, ASKED, SINCE, UNTIL)]
        assert all(one < other for one, other in pairwise(days))
        assert all(SINCE <= day <= UNTIL for day in days)


def catalogue(content: bytes) -> None:
    """A catalogue has items with ids, or BadDocument."""
    with suppress(BadDocument):
        found = parse_catalogue(content)
        assert found
        assert all(one.cbr_id and one.parent_id for one in found)


def query(content: bytes) -> None:
    """Parameters give values, or BadRequest; the lenient reader never refuses."""
    values = MultiDict(parse_qsl(content.decode("utf-8", "replace"), keep_blank_values=True))
    with suppress(BadRequest):
        strict = StrictParams(values, "/v1/rates/{date}")
        strict.codes(), strict.code("quote_currency"), strict.language()
    with suppress(BadRequest):
        StrictParams(values, "/v1/convert").text("amount"), StrictParams(values, "/v1/convert").text("date")
    with suppress(BadRequest):
        typed = StrictParams(values, "/rate")
        typed_amount(typed, typed.code("currency"), typed.language())
    with suppress(BadRequest):
        chart = StrictParams(values, "/chart.svg")
        assert chart.number("width") in range(320, 1601)
        assert chart.text("theme") in ("light", "dark", "auto")
    lenient = WidgetParams(values)
    lenient.view({"USD", "EUR"}), lenient.language(), lenient.look(), lenient.day()
    assert lenient.number("width", 5, range(9)) in range(9)


TARGETS = {"documents": documents, "dynamic": dynamic, "catalogue": catalogue, "query": query}

if __name__ == "__main__":
    target = sys.argv.pop(1)
    atheris.Setup([*sys.argv, str(CORPUS / target)], TARGETS[target])
    atheris.Fuzz()
