"""What one address is, for `routes.py` and `widget_routes.py`: the words of their tables."""

from __future__ import annotations

from dataclasses import dataclass

from ratesvc.errors import (
    BadRequest,
    BeforeHistory,
    Busy,
    HistoryLoading,
    NoSheet,
    NotYetSet,
    RatesvcError,
    UnknownCurrency,
)
from ratesvc.render.json import PROBLEM_JSON

Kind = type[RatesvcError]

PROBLEM = PROBLEM_JSON
PAGE = "text/html"
EMPTY = ""
STREAM = "text/event-stream"


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
    `kept` has an ETag and answers 304; `down` is the media type of a 503 that has no error behind it. `refusal` is
    what comes with its errors: a problem document, a page for people, or nothing. Where a good answer stands in for
    rates that are not there, it is `neutral`, and has no ETag.
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
    refusal: str = PROBLEM
    neutral: bool = False


STRICT: tuple[Kind, ...] = (BadRequest, NoSheet)
KNOWN: tuple[Kind, ...] = (*STRICT, UnknownCurrency)
PAST: tuple[Kind, ...] = (*KNOWN, NotYetSet, BeforeHistory, HistoryLoading)
LONG: tuple[Kind, ...] = (*KNOWN, BeforeHistory, HistoryLoading, Busy)
SHOWN: tuple[Kind, ...] = (NoSheet, NotYetSet, BeforeHistory, HistoryLoading)
