"""Every address of this service: the one place to add a route to the document. A test compares it with the router.

But those of the dialects: they are other people's contracts, which their owners describe.
"""

from __future__ import annotations

from ratesvc.errors import BadRequest, NotSupported, NotYetSet, TooManyPoints, UnknownRevision
from ratesvc.render.openapi.route import KNOWN, LONG, PAGE, PAST, STREAM, STRICT, Answer, Route
from ratesvc.render.openapi.widget_routes import WIDGET
from ratesvc.render.png import MOST_PIXELS
from ratesvc.render.series import MOST_POINTS

TAGS = {
    "Rates": "The sheet in force on a day. An answer is never an older sheet in silence.",
    "History": "Every rate since 1 July 1992, from memory.",
    "Widget": "What is embedded in other pages. What is unknown in a query is dropped: no error page in others' sites.",
    "Service": "Probes, health and this description.",
}

_RATES = Answer("application/json", "Rates")
_LINE = "text/plain"
_EVENT = (
    "retry: 3000\nid: 6-2026-04-24.1-5b0e92d1\n\nevent: sheet\nid: 7-2026-04-25.1-399595d2\n"
    'data: {"effective_date":"2026-04-25","revision":1,"url":"…/v1/rates/2026-04-25?revision=1"}\n\n'
)
_SHEET = ("codes", "quote", "lang")

ROUTES = (
    Route(
        *("Rates", "/v1/rates", "rates", "Rates in force today"),
        "The sheet that applies today in Moscow: all of it, or the currencies asked for. A code that no sheet ever had "
        "is 404; one that this sheet lacks is left out.",
        (_RATES,),
        "/v1/rates?codes=USD,EUR",
        _SHEET,
        KNOWN,
    ),
    Route(
        *("Rates", "/v1/rates/today", "ratesToday", "The same under a name of its own"),
        "The same answer as `/v1/rates`.",
        (_RATES,),
        "/v1/rates/today?codes=USD&quote=EUR",
        _SHEET,
        KNOWN,
    ),
    Route(
        *("Rates", "/v1/rates/next", "ratesNext", "Rates announced and not yet in force"),
        "From about 16:00 in Moscow on a working day the next day's sheet; until then 404 `not_yet_set` with the "
        "moment at which it is due.",
        (_RATES,),
        "/v1/rates/next?codes=USD",
        _SHEET,
        (*KNOWN, NotYetSet),
    ),
    Route(
        *("Rates", "/v1/rates/{day}", "ratesOnDay", "Rates in force on a day"),
        "Friday's sheet is set for Saturday and holds to Monday; each day has one right answer. A day that is not set "
        "yet is 404, a past day whose sheet is still being loaded 503.",
        (_RATES,),
        "/v1/rates/{day}?codes=USD,CNY&lang=ru",
        ("path:day", *_SHEET, "revision"),
        (*PAST, UnknownRevision),
    ),
    Route(
        *("Rates", "/v1/rates/{day}/{code}.txt", "unitRate", "One number alone"),
        "The unit rate as text, for the cell of a spreadsheet.",
        (Answer(_LINE, example="75.5273"),),
        "/v1/rates/{day}/USD.txt",
        ("number:day", "path:code", "quote"),
        PAST,
    ),
    Route(
        *("History", "/v1/series", "series", "Rates over a range of days"),
        "The unit rates of several currencies: as they were set, carried through every day, or as means. One answer "
        f"has at most {MOST_POINTS:,} points, currencies × days: those of sheets, or all of them with `fill=daily`.",
        (
            Answer("application/json", "Series"),
            Answer("text/csv", example="date,USD\r\n2025-04-01,83.6813\r\n2025-04-02,84.9323\r\n"),
        ),
        "/v1/series?codes=USD,EUR&since={day}&until={day}",
        ("series:codes", "since", "until", "quote", "fill", "group", "format", "locale"),
        (*LONG, TooManyPoints),
    ),
    Route(
        *("History", "/v1/convert", "convert", "Convert an amount"),
        "At the rates in force on a day, with the rate and the effective date used.",
        (Answer("application/json", "Conversion"),),
        "/v1/convert?amount=100&from=USD&to=CNY",
        ("amount", "from", "to", "date"),
        PAST,
    ),
    Route(
        *("History", "/v1/currencies", "currencies", "Every currency there ever was"),
        "Names, numbers, the Bank's ids, first and last effective date, and what came after a defunct currency.",
        (Answer("application/json", "Currencies"),),
        "/v1/currencies?lang=en",
        ("lang",),
        STRICT,
    ),
    Route(
        *("History", "/chart.svg", "chart", "A line chart"),
        "Up to six currencies for a page or a mail: readable without colour, with a text alternative.",
        (Answer("image/svg+xml", example='<svg xmlns="http://www.w3.org/2000/svg">…</svg>'),),
        "/chart.svg?codes=USD,EUR&since={day}&until={day}",
        ("series:codes", "since", "until", "quote", "lang", "theme", "scale", "width", "height"),
        LONG,
    ),
    Route(
        *("History", "/chart.png", "chartPixels", "The same for mail"),
        "With the extra `png`; 501 without it. In English where our fonts lack the language's script: they have Latin, "
        f"Greek and Cyrillic, and Chinese. Width × height × density² is at most {MOST_PIXELS:,}.",
        (Answer("image/png"),),
        "/chart.png?codes=USD,EUR&since={day}&until={day}",
        ("series:codes", "since", "until", "quote", "lang", "png:theme", "scale", "width", "height", "density"),
        (*LONG, NotSupported),
    ),
    Route(
        *("History", "/rate", "ratePage", "Which rate applies to a document dated …?"),
        "A page for people, in English, Russian and Chinese: the rate with the reason in words, or why there is none.",
        (Answer(PAGE, example="<!doctype html>…"),),
        "/rate?date={day}&currency=USD",
        ("rate:date", "currency", "lang"),
        PAST,
        refusal=PAGE,
    ),
    Route(
        *("History", "/v1/events", "events", "What happens, as it happens"),
        "Server-Sent Events: `sheet` when one is published, `revision` when one is corrected, `in_force` at Moscow "
        "midnight; `reset` when what a reader has missed cannot be known, so that it asks again for all that it shows. "
        "The stream stays open; a comment every 15 seconds keeps it so. A replica that is full or stopping ends it at "
        "once, and a browser comes back.",
        (Answer(STREAM, example=_EVENT),),
        "/v1/events",
        ("header:Last-Event-ID",),
        (BadRequest,),
        kept=False,
    ),
    *WIDGET,
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
        (Answer(PAGE, example="<!doctype html>…"),),
        "/docs",
    ),
    Route(
        *("Service", "/favicon.ico", "favicon", "The icon"),
        "SVG, in spite of the name that browsers ask for.",
        (Answer("image/svg+xml", example='<svg xmlns="http://www.w3.org/2000/svg">…</svg>'),),
        "/favicon.ico",
    ),
)
