"""Parameters: the patterns that `web.query` enforces, and what is said about every parameter. One entry each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ratesvc.render import builder, card, png, rows, widget
from ratesvc.render.builder import UI
from ratesvc.render.chart import HEIGHT, HEIGHTS, THEMES, WIDTH, WIDTHS

MOST_CODES = 200
MOST_CODES_LENGTH = 4 * MOST_CODES
MOST_REVISIONS = 9999

CODE = r"[A-Za-z]{3}"
CODES = rf" *{CODE} *(?:, *{CODE} *)*"
TAG = r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8}){0,3}"
DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
AMOUNT = r"-?[0-9]{1,15}(?:\.[0-9]{1,10})?"
AMOUNT_IN_WORDS = "a decimal number such as 100 or 0.5, with a point, up to 15 digits before it and 10 after it"
TODAY = "today"
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


def _pixels(bounds: range) -> Schema:
    return {"type": "integer", "minimum": bounds.start, "maximum": bounds.stop - 1}


def _parameter(text: str, schema: Schema, example: Any = None, *, place: str = "query", needed: bool = False) -> Schema:
    shown = {} if example is None else {"example": example}
    return {"in": place, "required": needed, "description": text, "schema": schema, **shown}


def _shown(text: str, schema: Schema, example: Any, *, needed: bool = False) -> Schema:
    """A parameter of what is embedded: anything is taken, what fits the first of its schemas is obeyed."""
    return _parameter(text, {"anyOf": [schema, {"type": "string"}]}, example, needed=needed)


def _list(words: Sequence[str]) -> Schema:
    one = "|".join(words)
    return _text(rf"(?:{one})(?:,(?:{one}))*")


_CODES = _text(CODES, maxLength=MOST_CODES_LENGTH)
_DAY = _text(DAY, format="date")
_URL: Schema = {"type": "string", "format": "uri"}
_TAG = _text(TAG, format="language-tag")
_LANGUAGE = "Language of names, a BCP 47 tag that CLDR knows, such as `en`, `ru` or `pt-BR`."

# A name, or after a colon the same name with another meaning: `series:codes` is called `codes`.
_PARAMETERS: dict[str, Schema] = {
    "codes": _parameter("ISO 4217 codes separated by commas, in any case; all when not given.", _CODES, "USD,EUR"),
    "series:codes": _parameter("Which currencies: ISO 4217 codes separated by commas.", _CODES, "USD", needed=True),
    "quote": _parameter("The quote currency: what one unit is measured in.", _text(CODE, default="RUB"), "RUB"),
    "lang": _parameter(_LANGUAGE, {**_TAG, "default": "en"}, "en"),
    "revision": _parameter(
        "The first, second, … wording of a sheet that was corrected; the latest when not given. The answer is "
        "`immutable` once the day is past and the next sheet is known.",
        {"type": "integer", "minimum": 1, "maximum": MOST_REVISIONS},
        1,
    ),
    "path:day": _parameter("Any day from 1992-07-01 on, YYYY-MM-DD.", _DAY, place="path", needed=True),
    "number:day": _parameter(
        "A day, YYYY-MM-DD, or `today`.", {"anyOf": [_DAY, {"const": TODAY}]}, place="path", needed=True
    ),
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
    "width": _parameter("Pixels.", _whole(WIDTHS, WIDTH), WIDTH),
    "height": _parameter("Pixels; it grows where the words need more.", _whole(HEIGHTS, HEIGHT), HEIGHT),
    "png:theme": _parameter("Its ground.", _words(("light", "dark"), default="light"), "dark"),
    "density": _parameter(
        "Pixels of the picture for each of `width` and `height`.", _words(png.SCALES, default="1"), "2"
    ),
    "rate:date": _parameter("The day of the document; today in Moscow when not given.", _DAY),
    "currency": _parameter("ISO 4217 code.", _text(CODE, default="USD"), "EUR"),
    "header:Last-Event-ID": _parameter(
        "The id of the last event that was heard: what came after it is told first, or `reset` if the id is not known. "
        "Browsers send it by themselves.",
        {"type": "string", "maxLength": 100},
        "6-2026-04-24.1-5b0e92d1",
        place="header",
    ),
    "shown:codes": _shown("1 to 20 ISO 4217 codes, in the order wanted.", _text(CODES), "EUR,USD"),
    "columns": _shown("Columns, in our order.", _list(rows.COLUMNS), "name,today,percent"),
    "heading": _shown(
        "A heading of your own, or `none`.", {"type": "string", "maxLength": rows.LONGEST_HEADING}, "Rates"
    ),
    "shown:lang": _shown("BCP 47 tag; the nearest language that CLDR knows, else English.", _TAG, "ru"),
    "spark": _shown("Days of a small line of recent rates.", _words([str(days) for days in rows.SPARKS]), "30"),
    "shown:date": _shown("The rates in force on this day instead of today's.", _DAY, None),
    "shown:theme": _shown("Its ground.", _words(widget.THEMES), "dark"),
    "frame:theme": _shown("Its ground; `auto` follows the reader's system.", _words(widget.FRAME_THEMES), "dark"),
    "card:theme": _shown("Its ground.", _words(card.THEMES), "dark"),
    "card:scale": _shown("Pixels of the picture for each of its own.", _words(png.SCALES), "2"),
    "updown": _shown("Colours of a change up and down.", _words(widget.UPDOWNS), "blue-orange"),
    "style": _shown("How the style comes along.", _words(widget.STYLES), "link"),
    "shadow": _shown("`1`: in a shadow root, where the page's style does not reach.", _words(("0", "1")), "1"),
    "rows:style": _shown("`inline` brings what the element needs of its style.", _words(("none", "inline")), "none"),
    "shown:width": _shown("Pixels.", _pixels(builder.WIDTHS), "400"),
    "shown:height": _shown("Pixels.", _pixels(builder.HEIGHTS), "300"),
    "csp": _shown("`1`: the site sends a Content-Security-Policy.", _words(("0", "1")), "1"),
    "ui": _shown("The language of the page itself.", _words(UI), "ru"),
    "first": _shown("The code to put first.", _text(CODE), "EUR"),
    "url": _parameter("An address of this service.", _URL, needed=True),
    "maxwidth": _shown("The room there is, in pixels.", _pixels(builder.ROOM), "200"),
    "maxheight": _shown("The room there is, in pixels.", _pixels(builder.ROOM), "150"),
    "oembed:format": _parameter("`json`; another one is 501.", {"type": "string", "default": "json"}, "json"),
}


def wire_name(key: str) -> str:
    """What stands in the address."""
    return key.rpartition(":")[2]


def component(key: str) -> str:
    """What it is called among the document's components."""
    return key.replace(":", "-")


def components(day: str, base: str) -> dict[str, Schema]:
    """Every parameter by its component's name; `day` and `base`, our own address, make examples that work."""
    return {component(key): {"name": wire_name(key), **_asked_here(_PARAMETERS[key], day, base)} for key in _PARAMETERS}


def _asked_here(parameter: Schema, day: str, base: str) -> Schema:
    schema = parameter["schema"]
    if schema is _URL:
        return {**parameter, "example": f"{base}/embed?codes=USD"}
    return {**parameter, "example": day} if _DAY in (schema, *schema.get("anyOf", ())) else parameter
