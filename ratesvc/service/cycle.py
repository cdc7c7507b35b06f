"""One refresh: what it has brought so far, and its outcome; how far a long job has come."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date

from ratesvc.bank.admission import Admission, Decision
from ratesvc.bank.xml import UNKNOWN_PART, unknown_parts, with_document
from ratesvc.domain.rates import Revision
from ratesvc.errors import FetchFailed, StoreUnavailable


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` steps; `asking` names the next request."""

    done: int
    total: int
    asking: str


OnStep = Callable[[Progress], Awaitable[None]]
"""Takes the next step of a long job before it is done."""


@dataclass(slots=True)
class Cycle:
    """One refresh, and its outcome.

    `outcome` is new, unchanged, confirming, quarantined, failed, crashed or skipped (another replica holds the lease).
    `accepted` are the revisions that this replica did not hold; if no call to Redis failed (`stored`), they are safe
    there. `held_back` are sheets by effective date. `newly_quarantined` has the reason, in one word, of each document
    that is new in quarantine and not counted yet. `unknown` are the elements and attributes of admitted documents that
    this program does not know.
    """

    outcome: str = "unchanged"
    accepted: list[Revision] = field(default_factory=list)
    stored: bool = True
    failure: FetchFailed | None = None
    held_back: dict[date, Admission] = field(default_factory=dict)
    newly_quarantined: list[str] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)

    @property
    def has_failed(self) -> bool:
        """Whether the Bank was asked and this replica learned nothing."""
        return self.outcome in ("failed", "crashed")

    @contextmanager
    def storing(self) -> Iterator[None]:
        """For a call to Redis. If it fails, `stored` says to try no other: each would wait for Redis as long again."""
        try:
            yield
        except StoreUnavailable:
            self.stored = False


@dataclass(slots=True)
class Draft:
    """A cycle in the making."""

    cycle: Cycle = field(default_factory=Cycle)
    newest: date | None = None
    """The day of the sheet that the Bank gave as its newest."""
    admitted: dict[date, Revision] = field(default_factory=dict)
    """The sheets that are not stored and held yet, by effective date."""
    has_answer: bool = False
    """Whether the newest sheet came, nothing had failed yet, or a new sheet came instead.

    Later failures are of other days: they neither fail the poll nor release its lease.
    """

    async def take(self, revision: Revision, raw: bytes) -> None:
        """Take an admitted sheet."""
        revision = await asyncio.to_thread(with_document, revision, raw)
        if UNKNOWN_PART in revision.flags:
            self.cycle.unknown.update(await asyncio.to_thread(unknown_parts, raw))
        self.admitted[revision.effective_date] = revision

    def conclude(self) -> None:
        """Note the outcome so far."""
        self.has_answer = self.has_answer or not self.cycle.failure or bool(self.cycle.accepted)
        self.cycle.outcome = self._outcome()

    def _outcome(self) -> str:
        cycle = self.cycle
        if cycle.failure and not self.has_answer:
            return "failed"
        if any(sheet.decision is Decision.QUARANTINE for sheet in cycle.held_back.values()):
            return "quarantined"
        if cycle.held_back:
            return "confirming"
        return "new" if cycle.accepted else "unchanged"
