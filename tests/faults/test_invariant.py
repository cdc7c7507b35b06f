"""The independent reader itself: it must see every violation."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime
from typing import Any

import pytest
from conftest import Served
from kit.bank import Bank
from kit.dates import FRIDAY, SATURDAY
from kit.reader import READERS, Invariant
from kit.sheets import truth_of

BANK = {FRIDAY: [{"USD": (1, "75.0000")}], SATURDAY: [{"USD": (1, "76.0000")}, {"USD": (1, "76.5000")}]}
TODAY, TOMORROW, NEXT = "/v1/rates", f"/v1/rates/{SATURDAY}", "/v1/rates/next"
SERIES = "/v1/series?codes=USD&since=2026-01-01"

Answer = tuple[int, bytes]


def rates(day: date = FRIDAY, value: float = 75.0, **more: Any) -> Answer:
    row = {"nominal": 1, "value": value, "unit_rate": more.pop("unit_rate", value)}
    fields = {"date": str(day), "effective_date": str(day), "revision": 1, "stale": False}
    return 200, json.dumps({**fields, "rates": {"USD": row}, **more}).encode()


def problem(status: int, kind: str) -> Answer:
    return status, json.dumps({"type": f"urn:ratesvc:{kind}"}).encode()


def series(**values: float) -> Answer:
    """The rate of each day, 24 or 25 April."""
    return 200, json.dumps(
        {"rows": [{"date": f"2026-04-{day[1:]}", "code": "USD", "unit_rate": rate} for day, rate in values.items()]}
    ).encode()


def seen(path: str, *answers: Answer, kind: str = "") -> list[str]:
    """The violations in these answers of one replica, one after the other."""
    one = Invariant(lambda: BANK, lambda: datetime(2026, 4, 24, 9, tzinfo=UTC))
    for status, body in answers:
        one.check(path, status, kind or f"application/{'' if status == 200 else 'problem+'}json", body)
    return [violation.split(": ", 1)[1] for violation in one.violations]


NOT_YET, LOADING, NO_SHEET = problem(404, "not_yet_set"), problem(503, "history_loading"), problem(503, "no_sheet")
FIRST, CORRECTED = rates(SATURDAY, 76.0), rates(SATURDAY, 76.5, revision=2)


@pytest.mark.parametrize(
    ("path", "answers"),
    [
        (TODAY, [rates(), rates()]),
        (TODAY, [NO_SHEET, rates()]),
        (NEXT, [rates(SATURDAY, 76.0)]),
        (NEXT, [rates(SATURDAY, 76.5)]),
        (TOMORROW, [NOT_YET, FIRST, CORRECTED]),
        (TOMORROW, [LOADING, FIRST]),
        (TOMORROW, [rates(date=str(SATURDAY), stale=True)]),
        (SERIES, [series(d24=75.0), series(d24=75.0, d25=76.5)]),
    ],
)
def test_right_answers_are_right(path: str, answers: list[Answer]) -> None:
    """Today's sheet, both revisions of tomorrow's, a problem before a sheet is held, an older sheet that says so."""
    assert seen(path, *answers) == []


@pytest.mark.parametrize(
    ("path", "answers", "words"),
    [
        (TODAY, [rates(value=75.0001)], "not the figures that the Bank set for 2026-04-24"),
        (TODAY, [rates(unit_rate=7.5)], "USD: unit rate × nominal is not the value"),
        (TODAY, [rates(date=str(SATURDAY), stale=True)], "today is not 2026-04-25"),
        (TODAY, [rates(revision=2), rates()], "a later revision of 2026-04-24 was there before revision 1"),
        (TODAY, [rates(revision=2), rates()], "went back"),
        (TODAY, [(200, b'{"rate": 1}')], "200 without rates"),
        (TODAY, [(200, rates()[1][:-9])], "unreadable: JSONDecodeError"),
        (TODAY, [(200, rates()[1].replace(b'"nominal"', b'"nominals"'))], "unreadable: KeyError"),
        (TODAY, [(200, rates()[1].replace(b"75.0", b'"seventy"'))], "unreadable: "),
        (TODAY, [rates(), NO_SHEET], "urn:ratesvc:no_sheet though this replica holds a sheet"),
        (NEXT, [rates()], "2026-04-24 is not to come"),
        (TOMORROW, [rates(date=str(SATURDAY))], "2026-04-24 shown for 2026-04-25, set was 2026-04-25"),
        (TOMORROW, [FIRST, NOT_YET], "was answered before"),
        (TOMORROW, [FIRST, LOADING], "was answered before"),
        (TOMORROW, [FIRST, rates(SATURDAY, 76.5)], "revision 1 of 2026-04-25 was another before"),
        (TOMORROW, [CORRECTED, FIRST], "a later revision of 2026-04-25 was there before revision 1"),
        (SERIES, [series(d24=75.0, d25=76.5), series(d25=76.5)], "no longer in the series: "),
    ],
)
def test_wrong_answers_are_seen(path: str, answers: list[Answer], words: str) -> None:
    """All answers but the last are right."""
    assert seen(path, *answers[:-1]) == []
    assert any(violation.startswith(words) for violation in seen(path, *answers))


def test_a_page_of_html_is_never_right() -> None:
    """Another program's 500, even before a sheet is held."""
    assert seen(TODAY, (500, b"oops"), kind="text/html") == ["neither rates nor a problem document: text/html"]


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
