"""The few errors that cross a floor. Each says in its text what a person can do about it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime


class RatesvcError(Exception):
    """Anything this service knows how to explain."""


class ConfigError(RatesvcError):
    """A setting is wrong: the text names its key and never repeats a secret."""


class EngineError(RatesvcError):
    """The embedded Redis engine could not be found, started or reached."""


class EngineNotReady(EngineError):
    """It lives and does not answer, or another process is about to start or end it: trying again later may do."""


class StoreUnavailable(RatesvcError):
    """Redis did not answer, or not as it should; memory goes on serving.

    `kind` is one of auth, loading, memory, readonly, timeout, connection, type (another type of value under our key),
    refused, answer (one that makes no sense), open (it was not asked, having failed a moment ago).
    """

    def __init__(self, text: str, kind: str = "refused") -> None:
        super().__init__(text)
        self.kind = kind


class SourceError(RatesvcError):
    """One mirror of the Bank did not give a document.

    `kind` is one of connect, dns, tls, timeout, http, status, redirect, demo, encoded, oversize;
    `retry_after_s` is what the mirror asked for, if it did.
    """

    def __init__(self, kind: str, text: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind
        self.retry_after_s = retry_after_s


class FetchFailed(RatesvcError):
    """No mirror gave a document: `failures` holds each mirror's host and its SourceError or BadDocument, in order."""

    def __init__(self, failures: Sequence[tuple[str, SourceError | BadDocument]]) -> None:
        super().__init__("; ".join(f"{host}: {error}" for host, error in failures))
        self.failures = tuple(failures)

    @property
    def kind(self) -> str:
        """The class of the first mirror's failure."""
        first = self.failures[0][1]
        return first.kind if isinstance(first, SourceError) else f"invalid:{first.reason}"

    @property
    def retry_after_s(self) -> float:
        """The longest pause that a mirror asked for."""
        return max((e.retry_after_s or 0.0 for _, e in self.failures if isinstance(e, SourceError)), default=0.0)


class BadDocument(RatesvcError):
    """The bytes are not a document of the Bank that we may trust.

    `reason` is one of html, parameters, encoding, malformed, structure, row, date, rows, core, duplicate, unit.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(f"{reason}: {text}")
        self.reason = reason
        self.raw = b""
        """The bytes themselves, where they are known."""


class NoSheet(RatesvcError):
    """Nothing is stored yet."""


class NotYetSet(RatesvcError):
    """The Bank has not set the rates of this day; `expected_at` is when they are due, even where that has passed.

    They are `overdue` when a publication is being missed: three hours later.
    """

    def __init__(self, day: date, expected_at: datetime, *, overdue: bool = False) -> None:
        super().__init__(f"The Bank of Russia has not yet set its rates for {day}.")
        self.day = day
        self.expected_at = expected_at
        self.overdue = overdue


class HistoryLoading(RatesvcError):
    """The sheet of this past day has not been fetched yet, so which one was in force is not certain."""

    def __init__(self, day: date) -> None:
        super().__init__(f"The sheet in force on {day} has not been loaded yet.")
        self.day = day


class BeforeHistory(RatesvcError):
    """The Bank published no such rates before 1 July 1992."""

    def __init__(self, day: date) -> None:
        super().__init__(f"The Bank of Russia's official rates begin on 1992-07-01; {day} is earlier.")
        self.day = day


class UnknownCurrency(RatesvcError):
    """No held sheet has ever had this code, or that of one `effective` date has not.

    `meant` is the one that was probably meant.
    """

    def __init__(self, code: str, meant: str | None = None, *, effective: date | None = None) -> None:
        if effective:
            text = f"The sheet of {effective} has no {code}."
        else:
            text = f"There is no currency {code}. Did you mean {meant}?" if meant else f"No currency {code} is known."
        super().__init__(text)
        self.code = code


class UnknownRevision(RatesvcError):
    """This sheet exists, but not in that revision."""


class TooManyPoints(RatesvcError):
    """An answer of so many currencies on so many days would be longer than `most` points."""

    def __init__(self, currencies: int, days: int, most: int) -> None:
        super().__init__(
            f"{currencies} currencies on {days:,} days are {currencies * days:,} points, and one answer has at most "
            f"{most:,}. Ask for fewer currencies or a shorter range; `ratesvc export` writes all of history to files."
        )
        self.points = currencies * days
        self.most = most


class Busy(RatesvcError):
    """Too many long answers wait to be rendered."""


class NotSupported(RatesvcError):
    """What this service, or its installation, does not do; the text says what would."""


class NotEmbeddable(RatesvcError):
    """An address that is not ours to embed."""


class BadRequest(RatesvcError):
    """A query that cannot be answered; the text says which parameter and what it takes."""
