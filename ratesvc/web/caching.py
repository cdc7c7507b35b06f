"""How long caches keep each kind of answer."""

from __future__ import annotations

import sys
from bisect import bisect_left
from dataclasses import dataclass
from datetime import date, datetime, time

from ratesvc.domain.columns import Days
from ratesvc.domain.history import History
from ratesvc.domain.rates import FIRST_DAY, InForce
from ratesvc.domain.settled import WEEK
from ratesvc.domain.workdays import ONE_DAY, at, moscow_day
from ratesvc.service.app import Service


@dataclass(frozen=True, slots=True)
class Caching:
    """How long caches keep an answer: fresh, then stale while they ask again, then stale while the service is down.

    An answer that `follows_rates` is never fresh across the next change of today's rates, and never shown after
    midnight, because it says "today".
    """

    max_age_s: int
    stale_while_revalidate_s: int
    stale_if_error_s: int
    follows_rates: bool = False
    immutable: bool = False

    def header(self, now: datetime, until: datetime | None, scope: str = "public") -> str:
        """Cache-Control that ends in time: fresh and revalidated before `until`, in case of errors before midnight."""
        midnight = at(moscow_day(now) + ONE_DAY, time.min)
        left, today = (_left(now, until), _left(now, midnight)) if until else (sys.maxsize, sys.maxsize)
        max_age = min(self.max_age_s, left)
        if self.immutable:
            return f"{scope}, max-age={max_age}, immutable"
        stale = min(self.stale_while_revalidate_s, left - max_age)
        if_error = min(self.stale_if_error_s, today - max_age)
        return f"{scope}, max-age={max_age}, stale-while-revalidate={stale}, stale-if-error={if_error}"


RATES = Caching(60, 600, 86400, follows_rates=True)
WIDGET = Caching(300, 3600, 86400, follows_rates=True)
CARD = Caching(900, 3600, 86400, follows_rates=True)
SETTLED = Caching(86400, 600, 86400)
"""Past days whose sheets the Bank no longer corrects; `caching_until` says which."""
HOURLY = Caching(3600, 86400, 604800)
REFERENCE = Caching(300, 0, 86400)
MANIFEST = Caching(300, 3600, 604800)
ICON = Caching(604800, 0, 604800)
FOR_EVER = Caching(31536000, 0, 31536000, immutable=True)
NO_STORE = None
DATED = (RATES, WIDGET, CARD, SETTLED)
"""They have a Last-Modified: that of the publication, with which alone their bytes change."""


def caching_of(service: Service, answer: InForce) -> Caching:
    """SETTLED where nothing can be added any more, else RATES. The sheet before must be known, too."""
    begins = answer.revision.effective_date == FIRST_DAY
    has_neighbours = answer.following is not None and (begins or answer.previous is not None)
    return caching_until(service, answer.requested_date) if has_neighbours else RATES


def caching_until(service: Service, until: date) -> Caching:
    """SETTLED if every sheet from the first day to `until` is settled and admitted, else RATES."""
    history, today = service.history, moscow_day(service.clock())
    is_settled = until < unchanging_before(history, today) and not history.missing_days(Days(FIRST_DAY, until), today)
    return SETTLED if is_settled else RATES


def unchanging_before(history: History, today: date) -> date:
    """The sheets in force before this day no longer change: the newest sheet that is older than a week.

    A settled day may change until it had its look.
    """
    index = bisect_left(history.days, today - WEEK)
    last = history.days[index - 1] if index else date.min
    return min(last, history.settled.looked_until) if history.settled and not history.settled.is_looked_at else last


def _left(now: datetime, until: datetime) -> int:
    """Whole seconds less one: nginx keeps an answer up to a second longer than it is told."""
    return max(0, int((until - now).total_seconds()) - 1)
