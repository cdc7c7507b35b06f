"""The invariant I, checked by a reader that shares no code with ratesvc.

An answer has that day's numbers as the Bank published them, or is a problem document, or is flagged stale. Today's
sheet never goes backwards. A replica that holds a sheet answers no 5xx. A day of history never disappears and never
changes without a new revision.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from xml.etree import ElementTree as ET

MOSCOW = timezone(timedelta(hours=3))
TODAY = re.compile(r"/v1/rates(?:/today)?(?:\?.*)?")
NEXT = re.compile(r"/v1/rates/next(?:\?.*)?")
DAY = re.compile(r"/v1/rates/[0-9]{4}-[0-9]{2}-[0-9]{2}(?:\?.*)?")

# Code → nominal and value in roubles, as digits with a decimal point.
Figures = Mapping[str, tuple[int, str]]
Published = Mapping[date, Sequence[Figures]]
Rates = Mapping[str, tuple[int, Decimal]]

HONEST_503 = {"urn:ratesvc:history_loading"}


@dataclass(frozen=True)
class Shown:
    """The answers of a replica up to the moment of a request. The answer to that request must not fall behind them.

    Concurrent requests may be answered in any order.
    """

    today: tuple[date, int] = (date.min, 0)
    revisions: Mapping[date, int] = field(default_factory=dict)
    series: int = 0


@dataclass
class Invariant:
    """Checks the answers of one replica. `published` returns every revision of the Bank by effective date."""

    published: Callable[[], Published]
    now: Callable[[], datetime]
    checked: int = 0
    holds_a_sheet: bool = False
    violations: list[str] = field(default_factory=list)
    _today: tuple[date, int] = (date.min, 0)
    _given: set[str] = field(default_factory=set)
    _series: dict[tuple[date, str], None] = field(default_factory=dict)
    _accepted: dict[tuple[date, int], Rates] = field(default_factory=dict)

    @property
    def shown(self) -> Shown:
        """Take it before a request that runs beside others."""
        return Shown(self._today, dict(sorted(self._accepted)), len(self._series))

    def must_show(self, effective: date, revision: int) -> None:
        """Requests from now on may not get an older sheet as today's."""
        self._today = max(self._today, (effective, revision))

    def check(self, path: str, status: int, content_type: str, body: bytes, before: Shown | None = None) -> None:
        """Check one answer to a GET without `quote` or `codes`, and add what is wrong to `violations`."""
        self.checked += 1
        try:
            problems = self._problems(path, status, content_type, body, before or self.shown)
        except Exception as error:  # noqa: BLE001 -- other readers would fail on it too
            problems = [f"unreadable: {error!r}"]
        for problem in problems:
            self.violations.append(f"{self.now():%Y-%m-%d %H:%M} {path} {status}: {problem}")

    def _problems(self, path: str, status: int, content_type: str, body: bytes, before: Shown) -> list[str]:
        if status == 304:
            return []
        if path in READERS:
            return self._claims(path, status, body, before)
        document = json.loads(body, parse_float=Decimal, parse_int=int) if "json" in content_type else None
        if status != 200:
            gone = ["was answered before"] if path in self._given else []
            return [*gone, *self._refusal(status, content_type, document)]
        if not isinstance(document, dict) or "rates" not in document:
            return ["200 without rates"]
        self.holds_a_sheet = True
        if DAY.fullmatch(path):
            self._given.add(path)
        return [*self._numbers(document, before), *self._day(path, document, before)]

    def _claims(self, path: str, status: int, body: bytes, before: Shown) -> list[str]:
        if status != 200:
            is_loading = any(kind.encode() in body for kind in HONEST_503) and path not in self._given
            is_honest = status >= 500 and (is_loading or not self.holds_a_sheet)
            return [] if is_honest else [f"{body[:80]!r} though this replica holds a sheet"]
        self._given.add(path)
        claims, published = list(READERS[path](body)), self.published()
        wrong = [claim for claim in claims if not any(_agrees(claim, one) for one in published.get(claim[0], ()))]
        if path.startswith("/v1/series"):
            lost = set(list(self._series)[: before.series]) - {claim[:2] for claim in claims}
            self._series |= dict.fromkeys(claim[:2] for claim in claims)
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

    def _numbers(self, document: Mapping[str, Any], before: Shown) -> list[str]:
        effective = date.fromisoformat(document["effective_date"])
        shown = {code: (row["nominal"], Decimal(row["value"])) for code, row in document["rates"].items()}
        wordings = [
            {code: (nominal, Decimal(value)) for code, (nominal, value) in figures.items()}
            for figures in self.published().get(effective, ())
        ]
        wrong = [] if shown in wordings else [f"not the figures that the Bank set for {effective}"]
        revision = document["revision"]
        if before.revisions.get(effective, 0) > revision:
            wrong.append(f"a later revision of {effective} was there before revision {revision}")
        if self._accepted.setdefault((effective, revision), shown) != shown:
            wrong.append(f"revision {revision} of {effective} was another before")
        for code, row in document["rates"].items():
            if Decimal(row["unit_rate"]) * row["nominal"] != row["value"]:
                wrong.append(f"{code}: unit rate × nominal is not the value")
        return wrong

    def _day(self, path: str, document: Mapping[str, Any], before: Shown) -> list[str]:
        effective, requested = (date.fromisoformat(document[name]) for name in ("effective_date", "date"))
        set_by_then = [day for day in self.published() if day <= requested]
        right = max(set_by_then, default=None)
        wrong = (
            [] if effective == right or document["stale"] else [f"{effective} shown for {requested}, set was {right}"]
        )
        if TODAY.fullmatch(path):
            if requested != self.now().astimezone(MOSCOW).date():
                wrong.append(f"today is not {requested}")
            shown = (effective, document["revision"])
            if shown < before.today:
                wrong.append(f"went back from {before.today} to {shown}")
            self._today = max(self._today, shown)
        if NEXT.fullmatch(path) and effective <= self.now().astimezone(MOSCOW).date():
            wrong.append(f"{effective} is not to come")
        return wrong


def _agrees(claim: Claim, figures: Figures) -> bool:
    _, code, nominal, value = claim
    return code in figures and (nominal, value) == (figures[code][0], Decimal(figures[code][1]))


Claim = tuple[date, str, int, Decimal]


def of_the_bank(body: bytes) -> Iterator[Claim]:
    root = ET.fromstring(body)  # noqa: S314 -- our own service's answer
    day = datetime.strptime(root.attrib["Date"], "%d.%m.%Y").date()  # noqa: DTZ007 -- a day, not a time
    for row in root:
        code, nominal, value = (row.findtext(name, "") for name in ("CharCode", "Nominal", "Value"))
        yield day, code, int(nominal), Decimal(value.replace(",", "."))


def of_frankfurter(body: bytes) -> Iterator[Claim]:
    document = json.loads(body, parse_float=Decimal)
    yield date.fromisoformat(document["date"]), "EUR", 1, Decimal(document["rates"]["RUB"])


def of_the_widget(body: bytes) -> Iterator[Claim]:
    text = body.decode()
    days = re.findall(r'<time datetime="([0-9-]+)"', text)
    _head, *rows = re.findall(r"<tr\b.*?</tr>", text)
    for row in rows:
        (code,) = re.findall(r'cbr-code"[^>]*>([A-Z]{3})<', row)
        cells = re.findall(r'<td class="cbr-(?:today|value)">([0-9.]+)<', row)
        for day, cell in zip(days, cells, strict=True):
            yield date.fromisoformat(day), code, 1, Decimal(cell)


def of_a_series(body: bytes) -> Iterator[Claim]:
    for row in json.loads(body, parse_float=Decimal)["rows"]:
        yield date.fromisoformat(row["date"]), row["code"], 1, Decimal(row["unit_rate"])


READERS: dict[str, Callable[[bytes], Iterator[Claim]]] = {
    "/scripts/XML_daily.asp": of_the_bank,
    "/frankfurter/v1/latest": of_frankfurter,
    "/widget?codes=USD,EUR": of_the_widget,
    "/v1/series?codes=USD&since=2026-01-01": of_a_series,
}
