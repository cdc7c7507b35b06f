"""What `st run` has to be told: rules between parameters, which no schema can say, and a fault of its own."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import schemathesis
from schemathesis import Case, HookContext

from ratesvc.domain.workdays import iso_day
from ratesvc.render.language import language

LONGEST_QUERY = 8000
EXCLUDED = ("since", "until", "last", "fill", "group")
"""What `dates` excludes."""


@schemathesis.hook
def before_load_schema(_: HookContext, raw_schema: dict[str, Any]) -> None:
    """Our format of days is unknown to `st`, and its pattern has days that do not exist: say it otherwise."""
    _with_real_days(raw_schema)


def _with_real_days(part: Any) -> None:
    for value in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        _with_real_days(value)
    if isinstance(part, dict) and part.get("format") == "day":
        part.clear()
        part["anyOf"] = [{"type": "string", "format": "date"}, {"enum": ["today", "next"]}]


@schemathesis.hook
def filter_case(_: HookContext, case: Case[Any]) -> bool:
    """No request line over 8190 bytes: the HTTP parser refuses it before any of our code sees it.

    And no other format of oEmbed than JSON: 501 is what its specification prescribes, and a fault for `st`.
    """
    query = case.query or {}
    supported = case.path != "/oembed" or query.get("format", "json") == "json"
    return supported and len(urlencode(query, doseq=True)) < LONGEST_QUERY


@schemathesis.hook
def map_case(_: HookContext, case: Case[Any]) -> Case[Any]:
    """A question that fits the schema, made one that makes sense; those that are meant to be wrong stay so."""
    query = case.query
    if not query or case.meta is None or case.meta.generation.mode.is_negative:
        return case
    for name in query.keys() & {"lang", "locale"}:
        if language(str(query[name])) is None:
            query[name] = "pt-BR"
    _make_days_fit(query)
    if case.path == "/oembed":
        query["url"] = case.operation.schema.raw_schema["components"]["parameters"]["url"]["example"]
    if case.path == "/rate" and "amount" in query:
        # No schema can say what people type.
        query["amount"] = "1 234,50"
    usual = "USD" if case.path.startswith("/chart") else ""
    if query.get("quote_currency", "RUB").upper() in query.get("codes", usual).upper():
        # A currency has no rate in itself.
        query.pop("quote_currency", None)
        query["codes"] = "USD"
    if case.path == "/chart.png":
        # The number of pixels has a bound, too.
        query |= {
            name: str(min(int(query[name]), most)) for name, most in (("width", 720), ("height", 400)) if name in query
        }
    if query.get("fill") == "daily":
        query.pop("group", None)
        if "last" in query:
            # This service has few sheets, so more of them are all days since 1992, and most currencies too many points.
            query["codes"] = "USD"
    return case


def _make_days_fit(query: dict[str, Any]) -> None:
    """Without until it is that of the newest sheet, which a day to come is later than; no schema makes a cursor."""
    if "since" in query:
        days = query["since"], query.get("until", query["since"])
        query["since"], query["until"] = sorted(days) if "today" not in days and "next" not in days else days[:1] * 2
    if "dates" in query:
        query["dates"] = ",".join(day for day in query["dates"].split(",") if iso_day(day)) or "today"
    for name in EXCLUDED if "dates" in query else ["since"] if "last" in query else []:
        query.pop(name, None)
    for name in ("since", "until") if "period" in query else ():
        query.pop(name, None)
    if "after" in query:
        query["after"] = "1992-07-01_1992-07-01_AAAA"
