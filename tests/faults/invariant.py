"""The invariant I, checked by a reader that shares nothing with ratesvc.

An answer's numbers are that day's as the Bank really published them, or it is a problem document, or it is flagged
stale; what is served as today's never goes backwards; no 5xx while a replica holds a sheet; a day of history once
accepted never disappears and never changes silently.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from claims import READERS, Claim

MOSCOW = timezone(timedelta(hours=3))
TODAY = re.compile(r"/v1/rates(?:/today)?(?:\?.*)?")
NEXT = re.compile(r"/v1/rates/next(?:\?.*)?")
DAY = re.compile(r"/v1/rates/[0-9]{4}-[0-9]{2}-[0-9]{2}(?:\?.*)?")

# Code → nominal and value in roubles, as digits with a decimal point.
Figures = Mapping[str, tuple[int, str]]
Published = Mapping[date, Sequence[Figures]]
Shown = Mapping[str, tuple[int, Decimal]]

HONEST_503 = {"urn:ratesvc:history_loading"}


@dataclass
class Invariant:
    """Reads the answers of one replica. `published` gives every wording that the Bank set, by effective date."""

    published: Callable[[], Published]
    now: Callable[[], datetime]
    checked: int = 0
    holds_a_sheet: bool = False
    violations: list[str] = field(default_factory=list)
    _last: tuple[date, int] = (date.min, 0)
    _given: set[str] = field(default_factory=set)
    _series: set[tuple[date, str]] = field(default_factory=set)
    _accepted: dict[tuple[date, int], Shown] = field(default_factory=dict)

    def check(self, path: str, status: int, content_type: str, body: bytes) -> None:
        """Look at one answer to a GET without `quote` or `codes`; what is wrong is added to `violations`."""
        self.checked += 1
        try:
            problems = self._problems(path, status, content_type, body)
        except Exception as error:  # noqa: BLE001 -- whatever a reader stumbles over, another would too
            problems = [f"unreadable: {error!r}"]
        for problem in problems:
            self.violations.append(f"{self.now():%Y-%m-%d %H:%M} {path} {status}: {problem}")

    def _problems(self, path: str, status: int, content_type: str, body: bytes) -> list[str]:
        if status == 304:
            return []
        if path in READERS:
            return self._claims(path, status, body)
        document = json.loads(body, parse_float=Decimal, parse_int=int) if "json" in content_type else None
        if status != 200:
            gone = ["was answered before"] if path in self._given else []
            return [*gone, *self._refusal(status, content_type, document)]
        if not isinstance(document, dict) or "rates" not in document:
            return ["200 without rates"]
        self.holds_a_sheet = True
        if DAY.fullmatch(path):
            self._given.add(path)
        return [*self._numbers(document), *self._day(path, document)]

    def _claims(self, path: str, status: int, body: bytes) -> list[str]:
        if status != 200:
            is_loading = any(kind.encode() in body for kind in HONEST_503) and path not in self._given
            is_honest = status >= 500 and (is_loading or not self.holds_a_sheet)
            return [] if is_honest else [f"{body[:80]!r} though this replica holds a sheet"]
        self._given.add(path)
        claims, published = list(READERS[path](body)), self.published()
        wrong = [claim for claim in claims if not any(_agrees(claim, one) for one in published.get(claim[0], ()))]
        if path.startswith("/v1/series"):
            lost = self._series - {claim[:2] for claim in claims}
            self._series |= {claim[:2] for claim in claims}
            if lost:
                return [f"no longer in the series: {sorted(lost)}"]
        return [f"not what the Bank set: {wrong}"] if wrong or not claims else []

    def _refusal(self, status: int, content_type: str, document: Any) -> list[str]:
        kind = document.get("type") if isinstance(document, dict) else None
        if not content_type.startswith("application/problem+json") or not str(kind).startswith("urn:ratesvc:"):
            return [f"neither rates nor a problem document: {content_type}"]
        if status >= 500 and self.holds_a_sheet and kind not in HONEST_503:
            return [f"{kind} though this replica holds a sheet"]
        return []

    def _numbers(self, document: Mapping[str, Any]) -> list[str]:
        effective = date.fromisoformat(document["effective_date"])
        shown = {code: (row["nominal"], Decimal(row["value"])) for code, row in document["rates"].items()}
        wordings = [
            {code: (nominal, Decimal(value)) for code, (nominal, value) in figures.items()}
            for figures in self.published().get(effective, ())
        ]
        wrong = [] if shown in wordings else [f"not the figures that the Bank set for {effective}"]
        revision = document["revision"]
        if any(day == effective and number > revision for day, number in self._accepted):
            wrong.append(f"a later revision of {effective} was there before revision {revision}")
        if self._accepted.setdefault((effective, revision), shown) != shown:
            wrong.append(f"revision {revision} of {effective} was another before")
        for code, row in document["rates"].items():
            if Decimal(row["unit_rate"]) * row["nominal"] != row["value"]:
                wrong.append(f"{code}: unit rate × nominal is not the value")
        return wrong

    def _day(self, path: str, document: Mapping[str, Any]) -> list[str]:
        effective, requested = (date.fromisoformat(document[name]) for name in ("effective_date", "requested_date"))
        set_by_then = [day for day in self.published() if day <= requested]
        right = max(set_by_then, default=None)
        wrong = (
            [] if effective == right or document["stale"] else [f"{effective} shown for {requested}, set was {right}"]
        )
        if TODAY.fullmatch(path):
            if requested != self.now().astimezone(MOSCOW).date():
                wrong.append(f"today is not {requested}")
            shown = (effective, document["revision"])
            if shown < self._last:
                wrong.append(f"went back from {self._last} to {shown}")
            self._last = max(self._last, shown)
        if NEXT.fullmatch(path) and effective <= self.now().astimezone(MOSCOW).date():
            wrong.append(f"{effective} is not to come")
        return wrong


def _agrees(claim: Claim, figures: Figures) -> bool:
    _, code, nominal, value = claim
    return code in figures and (nominal, value) == (figures[code][0], Decimal(figures[code][1]))
