"""The independent reader itself: it must see every violation."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime
from typing import Any

import pytest
from claims import READERS
from conftest import Served
from fake_bank import Bank
from invariant import Invariant
from sheets import truth_of

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
    """Today's sheet, both revisions of tomorrow's, a problem document before a sheet is held."""
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
        ([rates()[:-9]], "unreadable: JSONDecodeError"),
        ([rates().replace(b'"nominal"', b'"nominals"')], "unreadable: KeyError"),
        ([rates().replace(b"75.0", b'"seventy"')], "unreadable: "),
    ],
)
def test_wrong_answers_are_seen(bodies: list[bytes], words: str) -> None:
    """A wrong digit, another day, a step back, an empty success, an unreadable answer."""
    assert any(words in violation for violation in seen(*bodies))


def test_an_older_sheet_must_be_flagged() -> None:
    """Friday's for Saturday, on which another was set."""
    body = rates(requested_date=str(SATURDAY))
    path = f"/v1/rates/{SATURDAY}"
    assert seen(body, path=path) == ["2026-04-24 shown for 2026-04-25, set was 2026-04-25"]
    assert seen(rates(requested_date=str(SATURDAY), stale=True), path=path) == []


def test_a_day_once_accepted_stays() -> None:
    """It may not disappear, change under the same revision, or go back to an earlier revision."""
    path = f"/v1/rates/{SATURDAY}"
    shown = rates(SATURDAY, 76.0, requested_date=str(SATURDAY))
    for status, kind in ((404, "not_yet_set"), (503, "history_loading")):
        one = reader()
        problem = json.dumps({"type": f"urn:ratesvc:{kind}"}).encode()
        one.check(path, status, "application/problem+json", problem)
        assert one.violations == []
        one.check(path, 200, "application/json", shown)
        one.check(path, status, "application/problem+json", problem)
        assert [text for text in one.violations if "was answered before" in text] == one.violations != []
    corrected = {"requested_date": str(SATURDAY), "revision": 2}
    assert seen(shown, rates(SATURDAY, 76.5, **corrected), path=path) == []
    (silently,) = seen(shown, rates(SATURDAY, 76.5, requested_date=str(SATURDAY)), path=path)
    assert silently == "revision 1 of 2026-04-25 was another before"
    (back,) = seen(rates(SATURDAY, 76.5, **corrected), shown, path=path)
    assert back == "a later revision of 2026-04-25 was there before revision 1"


def test_no_5xx_once_a_sheet_is_held() -> None:
    """Before the first sheet 503 is right, afterwards it is not; a page of HTML never is."""
    one = reader()
    one.check("/v1/rates", 200, "application/json", rates())
    one.check("/v1/rates", 503, "application/problem+json", b'{"type": "urn:ratesvc:no_sheet"}')
    one.check("/v1/rates", 500, "text/html", b"oops")
    assert len(one.violations) == 2


@pytest.mark.parametrize("path", READERS)
async def test_every_reader_reads_its_shape(path: str, served: Served, bank: Bank) -> None:
    """It accepts the service's answer, and sees a wrong digit, another day, and a cut, empty or refused answer."""

    def read(body: bytes, status: int = 200) -> list[str]:
        one = Invariant(truth_of(bank), served.service.clock, holds_a_sheet=True)
        one.check(path, status, "text/html", body)
        return one.violations

    right = (await served.get(path))[2]
    assert read(right) == []
    for _, _, _, value in READERS[path](right):
        wrong_digit = re.sub(rb"\b%d([.,])" % value, rb"%d\1" % (value + 1), right)
        assert read(wrong_digit) != [], wrong_digit
    other_day = right.replace(b"2026-04-24", b"2026-04-22").replace(b"24.04.2026", b"22.04.2026")
    for body in (other_day, right[: len(right) // 2], b"", b"oops"):
        assert read(body) != [], body
    for status in (404, 503):
        assert read(right, status) != []


def test_a_series_loses_no_day() -> None:
    """It may grow, never shrink."""
    path = "/v1/series?codes=USD&since=2026-01-01"
    one = reader()
    for days in ([FRIDAY], [FRIDAY, SATURDAY], [SATURDAY]):
        rows = [[str(day), {FRIDAY: 75.0, SATURDAY: 76.5}[day]] for day in days]
        assert one.violations == []
        one.check(path, 200, "application/json", json.dumps({"series": {"USD": rows}}).encode())
    assert len(one.violations) == 1
