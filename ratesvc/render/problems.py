"""Problems (RFC 9457): the status, type and title of every error that a caller can meet, and the shape of its body."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ratesvc.errors import (
    BadRequest,
    BeforeHistory,
    Busy,
    HistoryLoading,
    NoSheet,
    NotEmbeddable,
    NotSupported,
    NotYetSet,
    RatesvcError,
    TooManyPoints,
    UnknownCurrency,
    UnknownRevision,
)

CONTENT_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Problem:
    """One kind of problem; `urn:ratesvc:` and its slug never change."""

    status: int
    slug: str
    title: str

    @property
    def type(self) -> str:
        """What a program may compare with."""
        return f"urn:ratesvc:{self.slug}"

    def body(self, detail: str, extra: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The document; `detail` is for people, `extra` what helps to ask better."""
        return {"type": self.type, "title": self.title, "status": self.status, "detail": detail, **(extra or {})}


INTERNAL = Problem(500, "internal", "Internal error")
WRONG_METHOD = Problem(405, "method_not_allowed", "Method not allowed")
MALFORMED = Problem(400, "malformed", "Not HTTP")
TOO_LARGE = Problem(413, "no_body", "Requests have no body")
EXPECTATION = Problem(417, "expectation_failed", "Expectation failed")
NOT_FOUND = Problem(404, "not_found", "Not found")
MISDIRECTED = Problem(421, "misdirected", "Misdirected request")

PROBLEMS: Mapping[type[RatesvcError], Problem] = {
    BadRequest: Problem(400, "bad_request", "The request cannot be understood"),
    TooManyPoints: Problem(400, "too_many_points", "Too many points for one answer"),
    UnknownCurrency: Problem(404, "unknown_currency", "Unknown currency"),
    UnknownRevision: Problem(404, "unknown_revision", "Unknown revision"),
    NotYetSet: Problem(404, "not_yet_set", "Not yet set"),
    BeforeHistory: Problem(404, "before_history", "Before the first official rate"),
    NotEmbeddable: Problem(404, "not_embeddable", "Nothing to embed there"),
    NotSupported: Problem(501, "not_supported", "Not supported here"),
    HistoryLoading: Problem(503, "history_loading", "History is loading"),
    Busy: Problem(503, "busy", "Too many long answers at once"),
    NoSheet: Problem(503, "no_sheet", "No rates yet"),
}
EVERY = (*PROBLEMS.values(), NOT_FOUND, WRONG_METHOD, MALFORMED, TOO_LARGE, EXPECTATION, MISDIRECTED, INTERNAL)
