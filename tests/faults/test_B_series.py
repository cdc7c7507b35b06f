"""Table B, all of history: a series or a catalogue that the service did not ask for. It never serves any of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date

import pytest
from aiohttp import web
from conftest import Serve, Served
from fake_bank import Bank, workdays
from ledger import Fault
from sheets import plausible
from watched import polling

from ratesvc.config import Settings
from ratesvc.errors import FetchFailed

EUR, CNY = "R01239", "R01375"
DAYS = list(workdays(date(2026, 4, 7), 14))
PAST = DAYS[5]
DECLARATION = b'<?xml version="1.0" encoding="windows-1251"?>'

Change = Callable[[bytes], bytes]


def with_another(old: str, new: str) -> Change:
    """The document with something else wherever that matches."""
    return lambda body: re.sub(old.encode(), new.encode(), body)


UNIT = r"\g<0><VunitRate>1,0000</VunitRate>"
SERIES, CATALOGUE = "XML_dynamic.asp", "XML_valFull.asp"
CASES: dict[str, tuple[str, Change, str]] = {
    "another currency's": (SERIES, with_another("R01239", CNY), "structure"),
    "another end": (SERIES, with_another(r'DateRange2="\S+"', 'DateRange2="23.04.2026"'), "structure"),
    "text": (SERIES, lambda _: DECLARATION + b"<ValCurs>no data</ValCurs>", "structure"),
    "a day twice": (SERIES, lambda body: re.sub(b"(<Record .*?</Record>)", rb"\1\1", body), "duplicate"),
    "a unit rate that contradicts": (SERIES, with_another("<Value>[0-9]+,[0-9]+</Value>", UNIT), "unit"),
    "an empty catalogue": (CATALOGUE, lambda _: DECLARATION + b"<Valuta></Valuta>", "structure"),
    "no catalogue": (CATALOGUE, lambda _: DECLARATION + b"<Valuta>no data</Valuta>", "structure"),
}


async def backfilled(served: Served) -> None:
    async for _ in served.service.backfill():
        pass


@pytest.mark.parametrize("case", CASES)
async def test_B21_history_that_was_not_asked_for(
    case: str, bank: Bank, settings: Settings, serve: Serve, fault: Fault
) -> None:
    """The series is of another currency or range, or has a day twice, or the catalogue is empty: history waits.

    tests/bank/test_xml_series.py has all others.
    """
    document, change, kind = CASES[case]
    bank.publish(*map(plausible, DAYS))

    def edit(request: web.Request, answer: web.Response) -> None:
        if request.path.endswith(document) and request.query.get("VAL_NM_RQ", EUR) == EUR:
            assert isinstance(answer.body, bytes)
            answer.body = change(answer.body)

    bank.edit = edit
    async with serve(polling(settings, bank.url, every_s=3600)) as served:
        await served.ready()
        with pytest.raises(FetchFailed) as caught:
            await backfilled(served)
        assert caught.value.kind == f"invalid:{kind}"
        await served.service.tick()  # -- what was stored by mistake would be taken now
        for path in (f"/v1/rates/{PAST}", f"/v1/series?codes=EUR&since={PAST}&until={PAST}"):
            assert (await served.get(path))[0] == 503, path
        assert (await served.get("/v1/rates"))[0] == 200
        bank.edit = None
        await backfilled(served)
        await fault.recovers(lambda: served.service.history.coverage)
        assert served.held(PAST).sheet.says_the_same_as(plausible(PAST))
        assert (await served.get(f"/v1/rates/{PAST}"))[0] == 200
