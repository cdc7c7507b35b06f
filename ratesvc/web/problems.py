"""Errors as problem documents (RFC 9457), and the other answers that no cache keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import hdrs, web

from ratesvc import errors
from ratesvc.errors import STATUSES, RatesvcError
from ratesvc.render.json import PROBLEM_JSON, encode, expected_by

RETRY_AFTER = "30"
"""Seconds until a client that got 503 should ask again."""
LONGEST_GIVEN = 100
"""Characters of a parameter's name and value that a problem repeats."""
METHODS = "GET, HEAD, OPTIONS"

# On every answer of every status; a browser of any site may read all of it.
COMMON = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Server": "ratesvc",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One kind of problem; `urn:ratesvc:` and its slug never change."""

    status: int
    slug: str
    title: str

    def body(self, detail: str, extra: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The document: `detail` is for people, `extra` helps to correct the request."""
        head = {"type": f"urn:ratesvc:{self.slug}", "title": self.title, "status": self.status}
        return {**head, "detail": detail, **(extra or {})}


INTERNAL = Problem(500, "internal", "Internal error")
WRONG_METHOD = Problem(405, "method_not_allowed", "Method not allowed")
MALFORMED = Problem(400, "malformed", "Not HTTP")
TOO_LARGE = Problem(413, "no_body", "Requests have no body")
EXPECTATION = Problem(417, "expectation_failed", "Expectation failed")
NOT_FOUND = Problem(404, "not_found", "Not found")
MISDIRECTED = Problem(421, "misdirected", "Misdirected request")

PROBLEMS: Mapping[type[RatesvcError], Problem] = {
    kind: Problem(STATUSES[kind], slug, title)
    for kind, slug, title in (
        (errors.BadRequest, "bad_request", "The request cannot be understood"),
        (errors.TooManyPoints, "too_many_points", "Too many points for one answer"),
        (errors.UnknownCurrency, "unknown_currency", "Unknown currency"),
        (errors.UnknownRevision, "unknown_revision", "Unknown revision"),
        (errors.NotYetSet, "not_yet_set", "Not yet set"),
        (errors.BeforeHistory, "before_history", "Before the first official rate"),
        (errors.NotEmbeddable, "not_embeddable", "Nothing to embed there"),
        (errors.NotSupported, "not_supported", "Not supported here"),
        (errors.HistoryLoading, "history_loading", "History is loading"),
        (errors.Busy, "busy", "Too many long answers at once"),
        (errors.NoSheet, "no_sheet", "No rates yet"),
    )
}
EVERY_PROBLEM = (*PROBLEMS.values(), NOT_FOUND, WRONG_METHOD, MALFORMED, TOO_LARGE, EXPECTATION, MISDIRECTED, INTERNAL)


def problem_of(error: RatesvcError) -> Problem:
    """Which problem an error is to a client."""
    return PROBLEMS.get(type(error), INTERNAL)


def problem(error: RatesvcError) -> web.Response:
    """A stable `type`, a sentence, and facts that help to correct the request."""
    extra: dict[str, Any] = {}
    if error.parameter:
        extra = {"parameter": error.parameter[:LONGEST_GIVEN], "given": error.given and error.given[:LONGEST_GIVEN]}
    if isinstance(error, errors.NotYetSet):
        extra |= {**expected_by(error.due_at), "overdue": error.overdue}
    elif isinstance(error, errors.UnknownCurrency):
        extra["code"] = error.code
    elif isinstance(error, errors.TooManyPoints):
        extra |= {"points": error.points, "most": error.most}
    return refusal(problem_of(error), str(error), extra)


def refusal(kind: Problem, detail: str, extra: Mapping[str, Any] | None = None) -> web.Response:
    """A problem document, which no cache keeps."""
    return uncached(kind.status, encode(kind.body(detail, extra)), PROBLEM_JSON)


def uncached(status: int, content: bytes, media: str) -> web.Response:
    """An answer that no cache keeps."""
    headers = {**COMMON, "Cache-Control": "no-store", "Content-Type": media}
    if status == 503:
        headers["Retry-After"] = RETRY_AFTER
    return web.Response(status=status, body=content, headers=headers)


def other_method(method: str) -> web.Response:
    """OPTIONS, for browsers that ask first; 405 for every method that would write."""
    if method != hdrs.METH_OPTIONS:
        response = refusal(WRONG_METHOD, f"Use {METHODS}.")
        response.headers["Allow"] = METHODS
        return response
    headers = {"Allow": METHODS, "Access-Control-Allow-Methods": METHODS, "Access-Control-Allow-Headers": "*"}
    return web.Response(status=204, headers={**COMMON, **headers, "Access-Control-Max-Age": "86400"})


async def not_found(_: web.BaseRequest, hint: str = "") -> web.Response:
    """404 for every other address."""
    return refusal(NOT_FOUND, f"There is nothing at this address. {hint}".strip())
