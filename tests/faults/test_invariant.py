"""The independent reader itself: it must see what it is there for."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
from invariant import Invariant

FRIDAY, SATURDAY = date(2026, 4, 24), date(2026, 4, 25)
BANK = {FRIDAY: [{"USD": (1, "75.0000")}], SATURDAY: [{"USD": (1, "76.0000")}, {"USD": (1, "76.5000")}]}


def reader() -> Invariant:
    return Invariant(lambda: BANK, lambda: datetime(2026, 4, 24, 9, tzinfo=UTC))


def rates(day: date = FRIDAY, value: float = 75.0, **more: Any) -> bytes:
    row = {"nominal": 1, "value": value, "unit_rate": more.pop("unit_rate", value)}
    fields = {"requested_date": str(FRIDAY), "effective_date": str(day), "revision": 1, "stale": False}
    return json.dumps({**fields, "rates": {"USD": row}, **more}).encode()


def seen(*bodies: bytes, path: str = "/v1/rates", status: int = 200, kind: str = "application/json") -> list[str]:
    one = reader()
    for body in bodies:
        one.check(path, status, kind, body)
    return [violation.split(": ", 1)[1] for violation in one.violations]


def test_right_answers_are_right() -> None:
    """Today's, tomorrow's in both wordings, a problem document before anything is held."""
    assert seen(rates(), rates()) == []
    for value in (76.0, 76.5):
        assert seen(rates(SATURDAY, value, requested_date=str(SATURDAY)), path="/v1/rates/next") == []
    problem = json.dumps({"type": "urn:ratesvc:no_sheet"}).encode()
    assert seen(problem, status=503, kind="application/problem+json") == []


@pytest.mark.parametrize(
    ("bodies", "words"),
    [
        ([rates(value=75.0001)], "not the figures"),
        ([rates(unit_rate=7.5)], "unit rate"),
        ([rates(requested_date=str(SATURDAY))], "today is not 2026-04-25"),
        ([rates(revision=2), rates()], "went back"),
        ([b'{"rate": 1}'], "200 without rates"),
    ],
)
def test_wrong_answers_are_seen(bodies: list[bytes], words: str) -> None:
    """A wrong digit, another day's, a step back, an empty success."""
    assert any(words in violation for violation in seen(*bodies))


def test_an_older_sheet_must_be_flagged() -> None:
    """Friday's for Saturday, on which another was set."""
    body = rates(requested_date=str(SATURDAY))
    path = f"/v1/rates/{SATURDAY}"
    assert seen(body, path=path) == ["2026-04-24 shown for 2026-04-25, set was 2026-04-25"]
    assert seen(rates(requested_date=str(SATURDAY), stale=True), path=path) == []


def test_no_5xx_once_a_sheet_is_held() -> None:
    """Before it is honest, afterwards it is not; and a page of HTML never is."""
    one = reader()
    one.check("/v1/rates", 200, "application/json", rates())
    one.check("/v1/rates", 503, "application/problem+json", b'{"type": "urn:ratesvc:no_sheet"}')
    one.check("/v1/rates", 500, "text/html", b"oops")
    assert len(one.violations) == 2
