"""Schemas of our JSON, with an example each. An object may gain fields; none is renamed or removed under /v1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ratesvc.domain.rates import OLD_IN_NEW
from ratesvc.render.json import EVERY_PROBLEM
from ratesvc.render.openapi.parameters import CODE, DAY

Schema = dict[str, Any]


def component(name: str) -> Schema:
    """A reference to a schema of this document."""
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: Mapping[str, Schema], *optional: str, text: str = "") -> Schema:
    required = [name for name in properties if name not in optional]
    said = {"description": text} if text else {}
    return {"type": "object", **said, "required": required, "properties": dict(properties)}


def _described(schema: Schema, text: str) -> Schema:
    return {**schema, "description": text}


def _or_null(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


_STRING: Schema = {"type": "string"}
_TRUTH: Schema = {"type": "boolean"}
_NUMBER: Schema = {"type": "number"}
_COUNT: Schema = {"type": "integer", "minimum": 1}
_DAY: Schema = {"type": "string", "format": "date", "pattern": f"^{DAY}$"}
_MOMENT: Schema = {"type": "string", "format": "date-time"}
_CODE: Schema = {"type": "string", "pattern": f"^{CODE}$"}
_AMOUNT: Schema = {"type": "string", "pattern": r"^-?[0-9]+(?:\.[0-9]+)?$"}
_DEMO = _described({"const": True}, "Only in demo mode: recorded figures.")
_STATUS: Schema = {"type": "string", "enum": ["pass", "warn", "fail"]}

_MOVE = {
    "unit_rate": _described(_NUMBER, "For one unit, exact; a cross rate is rounded once to 10 significant digits."),
    "change": _described(_or_null(_NUMBER), "Per unit against the previous sheet; null where there is none."),
    "change_percent": _described(_or_null(_NUMBER), "The same in per cent, to 4 places."),
}
_OFFICIAL = {
    "name": _described(_STRING, "In the language asked for."),
    "numeric_code": _described({"type": "string", "pattern": "^[0-9]{3}$"}, "ISO 4217."),
    "cbr_id": _described(_STRING, "The Bank's own id."),
    "nominal": _described(_COUNT, "How many units the value is for."),
    "value": _described(_NUMBER, "Roubles for `nominal` units, as published."),
}
_OLD_ROUBLES = _object({"before": _DAY, "unit": {"const": "old rouble"}, "per_new_rouble": {"const": OLD_IN_NEW}})
_IN_OLD_ROUBLES = {"denomination": _described(_OLD_ROUBLES, "Only of days before 1998-01-01: what is in roubles.")}
_IN_FORCE = {
    "requested_date": _described(_DAY, "The day that the answer is for."),
    "effective_date": _described(_DAY, "The day from which its sheet is in force."),
    "revision": _described(_COUNT, "1, unless the Bank corrected the sheet."),
}
_STALE = {"stale": _described(_TRUTH, "True when today's own sheet is missing after midnight.")}
_RATES = {
    **_IN_FORCE,
    "previous_effective_date": _described(_or_null(_DAY), "The sheet before; null where it is not certain."),
    "next_effective_date": _described(_or_null(_DAY), "The sheet after, once it is set."),
    "next_expected_at": _described(_or_null(_MOMENT), "When the next sheet is due; null for a past day."),
    "next_overdue": _described(_TRUTH, "A publication is being missed."),
    **_STALE,
    "flags": _described(
        {"type": "array", "items": _STRING},
        "What was unusual about the sheet, such as large_move or corrected; mostly nothing.",
    ),
    "quote": _described(_CODE, "What the rates are in."),
    "published_by": {"const": "Bank of Russia"},
    "source_url": _described({"type": "string", "format": "uri"}, "The Bank's own page for the sheet."),
    "fetched_at": _described(_MOMENT, "When the sheet was fetched, UTC."),
    "demo": _DEMO,
    **_IN_OLD_ROUBLES,
    "rates": _described(
        {
            "type": "object",
            "propertyNames": {"pattern": f"^{CODE}$"},
            "additionalProperties": {"anyOf": [component("OfficialRate"), component("CrossRate")]},
        },
        "By code. Official rates in roubles; cross rates in any other quote currency.",
    ),
}
_ROW = {
    "type": "array",
    "prefixItems": [_described(_STRING, "Day, month or year."), _NUMBER, {"type": ["string", "integer"]}],
    "minItems": 2,
    "maxItems": 3,
}
_SERIES = {
    "quote": _CODE,
    "since": _DAY,
    "until": _DAY,
    "fill": {"type": "string", "enum": ["none", "daily"]},
    "group": _described({"type": "string", "enum": ["month", "year"]}, "Only when asked for."),
    "demo": _DEMO,
    "unconfirmed": _described(
        {"type": "array", "items": _DAY, "minItems": 1},
        "Only if there are any: effective dates in the range whose sheets are not admitted, so that rates are missing.",
    ),
    "series": _described(
        {
            "type": "object",
            "propertyNames": {"pattern": f"^{CODE}$"},
            "additionalProperties": {"type": "array", "items": _ROW},
        },
        "By code, rows of day and unit rate; with `fill` the effective date, with `group` the count comes third.",
    ),
    "denomination": _described(_or_null(_OLD_ROUBLES), "What to know of values before 1998-01-01; null without any."),
}
_CONVERSION = {
    "amount": _described(_AMOUNT, "As asked. Amounts are strings: a reader's float would lose digits."),
    "from": _CODE,
    "to": _CODE,
    **_IN_FORCE,
    **_STALE,
    "unit_rate": _described(_NUMBER, "What one unit of `from` costs in `to`."),
    "result": _described(_AMOUNT, "From unrounded rates, rounded once to 28 significant digits."),
    "result_rounded": _described(_AMOUNT, "To the smallest coin of `to`."),
    **_IN_OLD_ROUBLES,
    "demo": _DEMO,
}
_CURRENCY = {
    "name": _STRING,
    "numeric_code": {"type": "string", "pattern": "^[0-9]{3}$"},
    "cbr_ids": _described({"type": "array", "items": _STRING, "minItems": 1}, "The Bank's ids, the earliest first."),
    "first_effective_date": _DAY,
    "last_effective_date": _DAY,
    "in_newest_sheet": _TRUTH,
    "successor": _described(_or_null(_CODE), "The currency that took its place."),
}
_CURRENCIES = {
    "demo": _DEMO,
    "complete": _described(_TRUTH, "Whether all of history is loaded."),
    "currencies": {"type": "object", "additionalProperties": component("Currency")},
}
_CHECK = {
    "status": _STATUS,
    "observedValue": {"type": ["string", "integer", "null"]},
    "observedUnit": _STRING,
    "failuresInARow": {"type": "integer", "minimum": 1},
    "expectedAt": _MOMENT,
    "publicationsMissed": {"type": "integer", "minimum": 0},
    "output": _described(_STRING, "What failed."),
}
_HEALTH = {
    "status": _described(_STATUS, "The worst of all checks; `fail` is answered with 503."),
    "checks": {
        "type": "object",
        "additionalProperties": {"type": "array", "items": _object(_CHECK, *(set(_CHECK) - {"status"}))},
    },
}
_COLUMN = {
    "kind": _described(_STRING, "name, trend, today, value (the newest), change or percent."),
    "text": _STRING,
    "label": _described(_STRING, "Today or tomorrow, where both are shown."),
    "date": _described(_DAY, "The sheet's effective date."),
}
_FINISHED_ROW = {
    "code": _described(_CODE, "Not with `style=inline`."),
    "unit": _described(_STRING, "The code, with the nominal where it is not 1."),
    "name": _STRING,
    "move": _described({"type": "string", "enum": ["up", "down", "same"]}, "None where nothing came before."),
    "mark": _described(_STRING, "The arrow."),
    "words": _described(_STRING, "The same aloud."),
    "points": _described(_STRING, "A polyline in a box of 60 by 18."),
    "cells": _described({"type": "array", "items": _STRING}, "The texts of every column but the name."),
}
_ROWS = {
    "lang": _STRING,
    "dir": {"type": "string", "enum": ["ltr", "rtl"]},
    "title": _STRING,
    "titled": _described(_TRUTH, "False where the heading is to be heard only."),
    "stale": _TRUTH,
    "columns": {"type": "array", "items": _object(_COLUMN, "label", "date")},
    "rows": {"type": "array", "items": _object(_FINISHED_ROW, "code", "name", "move", "mark", "words", "points")},
    "source_url": {"type": "string", "format": "uri"},
    "words_lang": _described(_STRING, "The language of our sentences, where it is not the reader's."),
    "title_lang": _described(_STRING, "The same of the title, where that is ours."),
    "badge": _described(_STRING, "Only in demo mode."),
    "note": _described(_STRING, "What to know before reading on: not updated since …"),
    "style": _described(_STRING, "The style sheet, when asked for."),
}
_INTEGRITY: Schema = {"type": "string", "pattern": "^sha(?:256|384)-"}
_MANIFEST = {
    "version": _described(_STRING, "The newest release."),
    "releases": _described(
        {"type": "object", "additionalProperties": {"type": "object", "additionalProperties": _INTEGRITY}},
        "By version and file: what goes into `integrity`.",
    ),
    "style": _described(_INTEGRITY, "Of the inline style of `/widget?shadow=1`, for `style-src`."),
    "sizes": _described({"type": "object", "additionalProperties": _COUNT}, "Bytes, uncompressed."),
}
_OEMBED = {
    "version": {"const": "1.0"},
    "type": {"const": "rich"},
    "provider_name": _STRING,
    "provider_url": {"type": "string", "format": "uri"},
    "title": _STRING,
    "html": _described(_STRING, "A frame of exactly this size."),
    "width": _COUNT,
    "height": _COUNT,
    "cache_age": _COUNT,
}
_KINDS = sorted(problem.type for problem in EVERY_PROBLEM)
_PROBLEM = {
    "type": _described({"type": "string", "enum": _KINDS}, "What a program may compare with; it never changes."),
    "title": _STRING,
    "status": {"type": "integer", "minimum": 400, "maximum": 599},
    "detail": _described(_STRING, "What went wrong and what to do about it, for people."),
    "expected_at": _described(
        _MOMENT, "With `not_yet_set`: when the rates are due; once that has passed they may come any minute."
    ),
    "overdue": _described(_TRUTH, "With `not_yet_set`: three hours too late, so a publication is being missed."),
    "code": _described(_STRING, "With `unknown_currency`: which one."),
    "points": _described({"type": "integer", "minimum": 1}, "With `too_many_points`: how many were asked for."),
    "most": _described({"type": "integer", "minimum": 1}, "With `too_many_points`: how many one answer has at most."),
}
_SOMETIMES = ("expected_at", "overdue", "code", "points", "most")


def schemas(examples: Mapping[str, msgspec.Raw]) -> dict[str, Schema]:
    """Every schema by name, each with its example."""
    shapes = {
        "Rates": _object(_RATES, "demo", "denomination", text="The sheet in force on a day."),
        "OfficialRate": _object({**_OFFICIAL, **_MOVE}, text="In roubles, as published."),
        "CrossRate": _object(_MOVE, text="In another quote currency."),
        "Series": _object(_SERIES, "demo", "group", "unconfirmed", text="Unit rates over a range of days."),
        "Conversion": _object(_CONVERSION, "demo", "denomination", text="An amount at the rates in force on a day."),
        "Currencies": _object(_CURRENCIES, "demo", text="Every currency of every held sheet."),
        "Currency": _object(_CURRENCY, text="One currency, possibly defunct."),
        "Rows": _object(
            _ROWS, "words_lang", "title_lang", "badge", "note", "style", text="The widget's texts, finished."
        ),
        "Manifest": _object(_MANIFEST, text="Released files and what pins them."),
        "OEmbed": _object(_OEMBED, text="oEmbed 1.0."),
        "Health": _object(_HEALTH, text="What a person on call should know."),
        "Problem": _object(
            _PROBLEM, "expected_at", "overdue", "code", "points", "most", text="RFC 9457: what went wrong."
        ),
    }
    return {name: {**shape, **_example(examples, name)} for name, shape in shapes.items()}


def _example(examples: Mapping[str, msgspec.Raw], name: str) -> Schema:
    return {"examples": [examples[name]]} if name in examples else {}
