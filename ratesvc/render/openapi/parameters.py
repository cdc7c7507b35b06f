"""Parameters: the patterns that `web.query` enforces, and what is said about every parameter. One entry each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ratesvc.render.chart import HEIGHTS, THEMES, WIDTHS

MOST_CODES = 200
MOST_CODES_LENGTH = 4 * MOST_CODES
MOST_REVISIONS = 9999

CODE = r"[A-Za-z]{3}"
CODES = rf" *{CODE} *(?:, *{CODE} *)*"
TAG = r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8}){0,3}"
DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
AMOUNT = r"-?[0-9]{1,15}(?:\.[0-9]{1,10})?"
COUNT = r"[1-9][0-9]{0,3}"

FILLS = ("none", "daily")
GROUPS = ("month", "year")
FORMATS = ("json", "csv")
SCALES = ("absolute", "indexed")

Schema = dict[str, Any]


def _text(pattern: str, **more: Any) -> Schema:
    return {"type": "string", "pattern": f"^(?:{pattern})$", **more}


def _words(words: Sequence[str], **more: Any) -> Schema:
    return {"type": "string", "enum": list(words), **more}


def _whole(bounds: range, default: int) -> Schema:
    return {"type": "integer", "minimum": bounds.start, "maximum": bounds.stop - 1, "default": default}


def _parameter(text: str, schema: Schema, example: Any = None, *, place: str = "query", needed: bool = False) -> Schema:
    shown = {} if example is None else {"example": example}
    return {"in": place, "required": needed, "description": text, "schema": schema, **shown}


_CODES = _text(CODES, maxLength=MOST_CODES_LENGTH)
_DAY = _text(DAY, format="date")
_TAG = _text(TAG, format="language-tag")
_LANGUAGE = "Language of names, a BCP 47 tag that CLDR knows, such as `en`, `ru` or `pt-BR`."

# A name, or after a colon the same name with another meaning: `series:codes` is called `codes`.
_PARAMETERS: dict[str, Schema] = {
    "codes": _parameter("ISO 4217 codes separated by commas, in any case; all when not given.", _CODES, "USD,EUR"),
    "series:codes": _parameter("Which currencies: ISO 4217 codes separated by commas.", _CODES, "USD", needed=True),
    "quote": _parameter("The quote currency: what one unit is measured in.", _text(CODE, default="RUB"), "RUB"),
    "lang": _parameter(_LANGUAGE, {**_TAG, "default": "en"}, "en"),
    "revision": _parameter(
        "The first, second, … wording of a sheet that was corrected; the latest when not given.",
        {"type": "integer", "minimum": 1, "maximum": MOST_REVISIONS},
        1,
    ),
    "path:day": _parameter("Any day from 1992-07-01 on, YYYY-MM-DD.", _DAY, place="path", needed=True),
    "path:code": _parameter("The base currency's ISO 4217 code.", _text(CODE), "USD", place="path", needed=True),
    "since": _parameter("First day; a year before `until` when not given. It must not be later.", _DAY),
    "until": _parameter("Last day; today in Moscow when not given.", _DAY),
    "fill": _parameter(
        "`daily` gives every day up to today, with the effective date that it is carried from.",
        _words(FILLS, default="none"),
        "none",
    ),
    "group": _parameter(
        "The mean of the published rates of each month or year, and their count. Not together with `fill=daily`.",
        _words(GROUPS),
    ),
    "format": _parameter("JSON, or CSV for a table.", _words(FORMATS, default="json"), "json"),
    "locale": _parameter("CSV as a spreadsheet in this language reads it: its decimal mark, its separator.", _TAG),
    "amount": _parameter(
        "Up to 15 digits before the point and 10 after it.", _text(AMOUNT, default="1"), "100", needed=False
    ),
    "from": _parameter("What the amount is in.", _text(CODE, default="USD"), "USD"),
    "to": _parameter("What is wanted.", _text(CODE, default="RUB"), "CNY"),
    "date": _parameter("At the rates in force on this day; today in Moscow when not given.", _DAY),
    "theme": _parameter("`auto` follows the reader's system.", _words(THEMES, default="auto"), "light"),
    "scale": _parameter("`indexed` starts every line at 100.", _words(SCALES, default="absolute"), "indexed"),
    "width": _parameter("Pixels.", _whole(WIDTHS, 720), 720),
    "height": _parameter("Pixels; it grows where the words need more.", _whole(HEIGHTS, 400), 400),
}


def wire_name(key: str) -> str:
    """What stands in the address."""
    return key.rpartition(":")[2]


def component(key: str) -> str:
    """What it is called among the document's components."""
    return key.replace(":", "-")


def components(day: str) -> dict[str, Schema]:
    """Every parameter by its component's name; `day` is an example of a day that can be asked for."""
    return {component(key): {"name": wire_name(key), **_with_day(_PARAMETERS[key], day)} for key in _PARAMETERS}


def _with_day(parameter: Schema, day: str) -> Schema:
    return {**parameter, "example": day} if parameter["schema"] is _DAY else parameter
