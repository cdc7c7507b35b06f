"""The rule for typed amounts. tests/browser/test_converter.py holds the converter to the same table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ratesvc.features.site.amounts import read_amount
from ratesvc.features.site.language import language_or_default

TABLE = json.loads((Path(__file__).parents[2] / "amounts.json").read_text("utf-8"))
"""Language, currency, text, and the amount, or null where none can be read for certain."""


@pytest.mark.parametrize(("tag", "code", "text", "amount"), TABLE)
def test_an_amount_is_read_as_people_type_it(tag: str, code: str, text: str, amount: str | None) -> None:
    found = read_amount(text, code, language_or_default(tag))
    assert (None if found is None else str(found)) == amount
