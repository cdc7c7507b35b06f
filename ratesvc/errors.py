"""The errors that cross a folder, in families. Each text says in plain words what is wrong and what helps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime


class RatesvcError(Exception):
    """Every error that this program explains; anything else is an internal error.

    If a parameter of a request is refused, `parameter` is its name, and `given` its value or None.
    """

    parameter = ""
    given: str | None = None


# The installation


class ConfigError(RatesvcError):
    """A setting is wrong. The text names its key and never repeats a secret."""


class EngineError(RatesvcError):
    """The embedded Redis engine could not be found, started or reached."""


class EngineNotReady(EngineError):
    """The engine does not answer yet, another process is starting or stopping it, or the disk is full. Retry later."""


class GaveUp(RatesvcError):
    """What was tried again and again has failed for too long. A supervisor sees it, and tries again."""


class StoreUnavailable(RatesvcError):
    """Redis did not answer as it should; the service goes on from memory.

    `kind` is one of auth, loading, memory, readonly, timeout, connection, refused, answer (it makes no sense).
    """

    def __init__(self, text: str, kind: str = "refused") -> None:
        super().__init__(text)
        self.kind = kind


# The Bank


class SourceError(RatesvcError):
    """A mirror of the Bank did not give a document.

    `kind` is one of connect, dns, tls, timeout, http, status, redirect, demo, encoded, oversize;
    `retry_after_s` is the pause that the mirror asked for, if any.
    """

    def __init__(self, kind: str, text: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind
        self.retry_after_s = retry_after_s


class BadDocument(RatesvcError):
    """The bytes are not a document of the Bank that we may trust. `raw` are the bytes, where they are known.

    `reason` is one of html, parameters, encoding, malformed, foreign (not of the Bank's form), root, structure, row,
    date, rows, core, duplicate, unit.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(f"{reason}: {text}")
        self.reason = reason
        self.raw = b""


class FetchFailed(RatesvcError):
    """No mirror gave a document. `failures` holds each mirror's host and its error, in order."""

    def __init__(self, failures: Sequence[tuple[str, SourceError | BadDocument]]) -> None:
        super().__init__("; ".join(dict.fromkeys(f"{host}: {error}" for host, error in failures)))
        self.failures = tuple(failures)

    @property
    def kind(self) -> str:
        """What the first mirror's failure was."""
        first = self.failures[0][1]
        return first.kind if isinstance(first, SourceError) else f"invalid:{first.reason}"

    @property
    def refusals(self) -> list[BadDocument]:
        """Why documents are refused."""
        return [error for _, error in self.failures if isinstance(error, BadDocument)]

    @property
    def is_answered(self) -> bool:
        """Whether each mirror has given a document."""
        return len(self.refusals) == len(self.failures)

    @property
    def hint(self) -> str:
        """What helps, if that is known."""
        if self.kind == "tls":
            return "the authority that signed it, such as a proxy's, must be in the file of RATESVC_CBR_CA_FILE"
        return "--demo works without the network" if self.kind in ("connect", "dns") else ""

    @property
    def retry_after_s(self) -> float:
        """The longest pause that a mirror asked for."""
        return max((e.retry_after_s or 0.0 for _, e in self.failures if isinstance(e, SourceError)), default=0.0)


class NotTaken(RatesvcError):
    """What the Bank gives is not what it can be. Only time or a person helps."""


# No rates for that day


class NoSheet(RatesvcError):
    """Nothing is stored yet."""


class NotYetSet(RatesvcError):
    """The Bank has not set the rates of this day. `due_at` is when they are due, even if that has passed.

    They are `overdue` three hours later.
    """

    def __init__(self, day: date, due_at: datetime, *, overdue: bool = False) -> None:
        super().__init__(f"The Bank of Russia has not yet set its rates for {day}.")
        self.day = day
        self.due_at = due_at
        self.overdue = overdue


class HistoryLoading(RatesvcError):
    """The sheet in force on this past day is not certain: history is being fetched, or one day's sheet is `lacking`."""

    def __init__(self, day: date, lacking: date | None = None) -> None:
        why = f"is not known: that of {lacking} is missing or not confirmed" if lacking else "has not been loaded yet"
        super().__init__(f"The sheet in force on {day} {why}.")
        self.lacking = lacking


class BeforeHistory(RatesvcError):
    """The day is before 1 July 1992, when official rates begin, or before the first day of a demo's recording."""

    def __init__(self, day: date, recorded_from: date | None = None) -> None:
        official = "The Bank of Russia's official rates begin on 1992-07-01"
        begins = f"The recorded rates begin on {recorded_from}" if recorded_from else official
        super().__init__(f"{begins}; {day} is earlier.")
        self.recorded_from = recorded_from


# Requests


class BadRequest(RatesvcError):
    """A request that cannot be understood. The text says which parameter is wrong and what it takes."""

    def __init__(self, text: str, parameter: str = "", given: str | None = None) -> None:
        super().__init__(text)
        self.parameter = parameter
        self.given = given


class UnknownCurrency(RatesvcError):
    """No held sheet has this code; with `effective`, the sheet of that date lacks it, or all of those up to `until`."""

    def __init__(
        self, code: str, *, effective: date | None = None, until: date | None = None, parameter: str = ""
    ) -> None:
        whole = f"No sheet from {effective} to {until} has {code}."
        one = f"The sheet of {effective} has no {code}." if effective else f"No currency {code} is known."
        super().__init__(one if until in (None, effective) else whole)
        self.code = self.given = code
        self.parameter = parameter


class UnknownRevision(RatesvcError):
    """This sheet exists, but not in that revision."""


class TooManyPoints(RatesvcError):
    """The answer would be longer than `most` points: one for each currency on each day."""

    def __init__(self, currencies: int, days: int, most: int, elsewhere: str = "") -> None:
        noun = "currency" if currencies == 1 else "currencies"
        super().__init__(
            f"{currencies} {noun} on {days:,} days are {currencies * days:,} points, and one answer has at most "
            f"{most:,}. Ask for fewer currencies or a shorter range.{elsewhere}"
        )
        self.points = currencies * days
        self.most = most


class Busy(RatesvcError):
    """Too many long answers wait to be rendered."""


class NotSupported(RatesvcError):
    """This service, or its installation, cannot do that. The text says what would help."""


class NotEmbeddable(RatesvcError):
    """The address does not lead to a page of this service that can be embedded."""


STATUSES: Mapping[type[RatesvcError], int] = {
    **dict.fromkeys((BadRequest, TooManyPoints), 400),
    **dict.fromkeys((UnknownCurrency, UnknownRevision, NotYetSet, BeforeHistory, NotEmbeddable), 404),
    NotSupported: 501,
    **dict.fromkeys((HistoryLoading, Busy, NoSheet), 503),
}
"""The HTTP status of each error that a request can meet. Any other error is ours: 500."""
