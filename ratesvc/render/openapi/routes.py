"""Every address of this service: the one place to add a route to the document. A test compares it with the router."""

from __future__ import annotations

from dataclasses import dataclass

from ratesvc.errors import (
    BadRequest,
    BeforeHistory,
    HistoryLoading,
    NoSheet,
    NotYetSet,
    RatesvcError,
    UnknownCurrency,
    UnknownRevision,
)

Kind = type[RatesvcError]


@dataclass(frozen=True, slots=True)
class Answer:
    """A 200: its media type, and the component schema of its JSON or an example of its text."""

    media: str
    schema: str = ""
    example: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """One address that is read by GET.

    `example` is what curl asks for, `{day}` in it the day in force; `parameters` are keys of `parameters.py`. What is
    `kept` has an ETag and answers 304; `down` is the media type of a 503 that is no problem document.
    """

    tag: str
    path: str
    name: str
    summary: str
    text: str
    answers: tuple[Answer, ...]
    example: str
    parameters: tuple[str, ...] = ()
    problems: tuple[Kind, ...] = ()
    kept: bool = True
    down: str = ""


TAGS = {
    "Rates": "The sheet in force on a day. An answer is never an older sheet in silence.",
    "History": "Every rate since 1 July 1992, from memory.",
    "Service": "Probes, health and this description.",
}

_RATES = Answer("application/json", "Rates")
_PAGE = Answer("text/html", example="<!doctype html>…")
_LINE = "text/plain"
_SHEET = ("codes", "quote", "lang")
_STRICT: tuple[Kind, ...] = (BadRequest, NoSheet)
_KNOWN: tuple[Kind, ...] = (*_STRICT, UnknownCurrency)
_PAST: tuple[Kind, ...] = (*_KNOWN, NotYetSet, BeforeHistory, HistoryLoading)

# Pages, what is made to be embedded (docs/widget.md) and the stream of events: not described yet.
UNDESCRIBED = (
    *("/", "/rate", "/v1/events", "/embed", "/oembed"),
    *("/widget", "/widget/frame", "/widget/rows.json", "/widget/card.svg", "/widget/manifest.json"),
)

# Dialects speak other people's contracts, which their owners describe: nothing that begins so is described here.
FOREIGN = ("/scripts/", "/cbr/", "/cbr-xml-daily/", "/ecb/", "/frankfurter/", "/openexchangerates/", "/prebid/")

ROUTES = (
    Route(
        *("Rates", "/v1/rates", "rates", "Rates in force today"),
        "The sheet that applies today in Moscow: all of it, or the currencies asked for. A code that no sheet ever had "
        "is 404; one that this sheet lacks is left out.",
        (_RATES,),
        "/v1/rates?codes=USD,EUR",
        _SHEET,
        _KNOWN,
    ),
    Route(
        *("Rates", "/v1/rates/today", "ratesToday", "The same under a name of its own"),
        "The same answer as `/v1/rates`.",
        (_RATES,),
        "/v1/rates/today?codes=USD&quote=EUR",
        _SHEET,
        _KNOWN,
    ),
    Route(
        *("Rates", "/v1/rates/next", "ratesNext", "Rates announced and not yet in force"),
        "From about 16:00 in Moscow on a working day the next day's sheet; until then 404 `not_yet_set` with the "
        "moment at which it is due.",
        (_RATES,),
        "/v1/rates/next?codes=USD",
        _SHEET,
        (*_KNOWN, NotYetSet),
    ),
    Route(
        *("Rates", "/v1/rates/{day}", "ratesOnDay", "Rates in force on a day"),
        "Friday's sheet is set for Saturday and holds to Monday; each day has one right answer. A day that is not set "
        "yet is 404, a past day whose sheet is still being loaded 503.",
        (_RATES,),
        "/v1/rates/{day}?codes=USD,CNY&lang=ru",
        ("path:day", *_SHEET, "revision"),
        (*_PAST, UnknownRevision),
    ),
    Route(
        *("Rates", "/v1/rates/{day}/{code}.txt", "unitRate", "One number alone"),
        "The unit rate as text, for the cell of a spreadsheet.",
        (Answer(_LINE, example="75.5273"),),
        "/v1/rates/{day}/USD.txt",
        ("path:day", "path:code", "quote"),
        _PAST,
    ),
    Route(
        *("History", "/v1/series", "series", "Rates over a range of days"),
        "The unit rates of several currencies: as they were set, carried through every day, or as means.",
        (
            Answer("application/json", "Series"),
            Answer("text/csv", example="date,USD\r\n2025-04-01,83.6813\r\n2025-04-02,84.9323\r\n"),
        ),
        "/v1/series?codes=USD,EUR&since={day}&until={day}",
        ("series:codes", "since", "until", "quote", "fill", "group", "format", "locale"),
        (*_KNOWN, BeforeHistory, HistoryLoading),
    ),
    Route(
        *("History", "/v1/convert", "convert", "Convert an amount"),
        "At the rates in force on a day, with the rate and the effective date used.",
        (Answer("application/json", "Conversion"),),
        "/v1/convert?amount=100&from=USD&to=CNY",
        ("amount", "from", "to", "date"),
        _PAST,
    ),
    Route(
        *("History", "/v1/currencies", "currencies", "Every currency there ever was"),
        "Names, numbers, the Bank's ids, first and last effective date, and what came after a defunct currency.",
        (Answer("application/json", "Currencies"),),
        "/v1/currencies?lang=en",
        ("lang",),
        _STRICT,
    ),
    Route(
        *("History", "/chart.svg", "chart", "A line chart"),
        "Up to six currencies for a page or a mail: readable without colour, with a text alternative.",
        (Answer("image/svg+xml", example='<svg xmlns="http://www.w3.org/2000/svg">…</svg>'),),
        "/chart.svg?codes=USD,EUR&since={day}&until={day}",
        ("series:codes", "since", "until", "quote", "lang", "theme", "scale", "width", "height"),
        (*_KNOWN, BeforeHistory, HistoryLoading),
    ),
    Route(
        *("Service", "/health", "health", "What a person on call should know"),
        "Each check passes, warns or fails, and the worst of them decides.",
        (Answer("application/health+json", "Health"),),
        "/health",
        kept=False,
        down="application/health+json",
    ),
    Route(
        *("Service", "/livez", "livez", "Is the process alive?"),
        "200 when it answers at all; 503 right after the event loop has stood still for more than ten seconds.",
        (Answer(_LINE, example="ok\n"),),
        "/livez",
        kept=False,
    ),
    Route(
        *("Service", "/metrics", "metrics", "What there is to count"),
        "For Prometheus; docs/metrics.md says what each is.",
        (Answer(_LINE, example="ratesvc_publications_missed 0.0\n"),),
        "/metrics",
        kept=False,
    ),
    Route(
        *("Service", "/readyz", "readyz", "Can this replica answer?"),
        "503 before the first sheet is held and while the service is being stopped.",
        (Answer(_LINE, example="ready\n"),),
        "/readyz",
        kept=False,
        down=_LINE,
    ),
    Route(
        *("Service", "/openapi.json", "openapi", "This description for programs"),
        "OpenAPI 3.1. Its examples name the day in force, so that they work.",
        (Answer("application/json", "Document"),),
        "/openapi.json",
    ),
    Route(
        *("Service", "/docs", "docs", "This description for people"),
        "One page without scripts.",
        (_PAGE,),
        "/docs",
    ),
    Route(
        *("Service", "/favicon.ico", "favicon", "The icon"),
        "SVG, in spite of the name that browsers ask for.",
        (Answer("image/svg+xml", example='<svg xmlns="http://www.w3.org/2000/svg">…</svg>'),),
        "/favicon.ico",
    ),
)
