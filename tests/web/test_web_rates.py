"""/v1/rates over HTTP: the path of a number from the Bank's document to an answer."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime

import pytest
from conftest import Clock, Served, announced
from kit import cases
from kit.bank import Bank
from kit.dates import DAYS, FRIDAY
from kit.http import Answered, ask, get

from ratesvc.domain.columns import Days
from ratesvc.domain.history import History
from ratesvc.domain.settled import Settled
from ratesvc.domain.workdays import ONE_DAY, WorkCalendar
from ratesvc.features.ranges.requests import unconfirmed_days

SHOWN = (
    *("Content-Type", "Content-Disposition", "Content-Encoding", "Connection", "Retry-After", "Allow"),
    *("Access-Control-Allow-Methods", "Access-Control-Max-Age"),
)


async def answer_to(request: str, url: str) -> Answered:
    """`HEAD /path | Header: value`; `{tag}` is the tag of that answer. A remembered answer is the same as the first."""
    address, *lines = request.split(" | ")
    method, _, path = address.rpartition(" ")
    plain = await ask(url, get(path))
    asked = get(path, *(line.replace("{tag}", str(plain["ETag"])) for line in lines), method=method or "GET")
    first, again = [await ask(url, asked) for _ in ("first", "remembered")]
    assert (again.status, again.body) == (first.status, first.body)
    assert method != "HEAD" or first["Content-Length"] == str(len(plain.body))
    return first


async def told(step: str, served: Served, bank: Bank, clock: Clock) -> list[str]:
    """Status, headers and text of an answer; or what time it is then, or which sheet the Bank sets."""
    match step.split():
        case "at", moment:
            clock.moment = datetime.fromisoformat(f"{moment}+03:00")
            await served.service.tick()
            served.service.publish()
        case "announces", day:
            await announced(bank, served, clock, date.fromisoformat(day))
        case _:
            found = await answer_to(step, served.url)
            headers = [f"{name}: {found[name]}" for name in SHOWN if found[name]]
            text = "" if found["Content-Encoding"] else found.body.decode("utf-8-sig")
            return [f"{found.status}, {', '.join(headers)}", *text.splitlines()]
    return []


@pytest.mark.parametrize("question", cases.questions("rates.txt"))
async def test_what_a_reader_is_told(question: str, served: Served, bank: Bank, clock: Clock) -> None:
    """golden/rates.txt has requests on Friday at noon, or later, and why each is answered so."""
    noted = [line for step in question.split("; ") for line in await told(step, served, bank, clock)]
    cases.check_one("rates.txt", question, "\n".join(noted))


def test_a_range_names_thirty_days_that_it_lacks() -> None:
    """Proxies refuse long headers. The last word says how many more there are."""
    days = DAYS[-32:-1]
    history = History(WorkCalendar())
    for lacking, words in ((days[1:], str(days[-1])), (days, "1 more")):
        settled = Settled(days[0] - ONE_DAY, lacking[0] - ONE_DAY)
        history.known = replace(history.known, days=[FRIDAY], settled=settled)
        ((name, named),) = unconfirmed_days(history, Days(days[0], FRIDAY), FRIDAY)
        assert (name, len(named.split(", ")), named.split(", ")[-1]) == ("Unconfirmed-Days", len(lacking), words)
