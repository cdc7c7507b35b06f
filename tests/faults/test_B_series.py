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


def with_records(change: Callable[[list[bytes]], list[bytes]]) -> Change:
    """The series with other records."""

    def changed(body: bytes) -> bytes:
        head, *records = body.removesuffix(b"</ValCurs>").split(b"<Record ")
        return b"<Record ".join([head, *change(records)]) + b"</ValCurs>"

    return changed


def with_another(old: str, new: str) -> Change:
    """The document with something else wherever that matches."""
    return lambda body: re.sub(old.encode(), new.encode(), body)


UNIT = r"\g<0><VunitRate>1,0000</VunitRate>"
SERIES: dict[str, tuple[Change, str]] = {
    "another currency's": (with_another("R01239", CNY), "structure"),
    "another currency's records": (with_another('Id="R01239"', f'Id="{CNY}"'), "row"),
    "one record of another currency": (with_records(lambda r: [*r[:-1], r[-1].replace(b"R01239", b"R01375")]), "row"),
    "another beginning": (with_another('DateRange1="01.07.1992"', 'DateRange1="01.04.2026"'), "structure"),
    "another end": (with_another(r'DateRange2="\S+"', 'DateRange2="23.04.2026"'), "structure"),
    "text": (lambda _: DECLARATION + b"<ValCurs>no data</ValCurs>", "structure"),
    "the Bank's refusal": (lambda _: DECLARATION + b"<ValCurs>Error in parameters</ValCurs>", "parameters"),
    "a day twice": (with_records(lambda records: [*records, records[-1]]), "duplicate"),
    "days out of order": (with_records(lambda records: records[::-1]), "duplicate"),
    "a day after the range": (with_another(r'Date="24\.04\.2026"', 'Date="24.04.2027"'), "date"),
    "a unit rate that contradicts": (with_another("<Value>[0-9]+,[0-9]+</Value>", UNIT), "unit"),
    "a nominal that is missing": (with_another("<Nominal>1</Nominal>", ""), "row"),
    "a page": (lambda _: b"<!DOCTYPE html><html></html>", "html"),
}
CATALOGUES: dict[str, tuple[Change, str]] = {
    "empty": (lambda _: DECLARATION + b'<Valuta name="Foreign Currency Market Lib"></Valuta>', "structure"),
    "text": (lambda _: DECLARATION + b"<Valuta>no data</Valuta>", "structure"),
    "an item without fields": (with_another("</Valuta>", "<Item>USD</Item></Valuta>"), "row"),
    "an id of another form": (with_another('ID="R01239"', 'ID="EUR"'), "row"),
    "a code of another form": (with_another(">EUR</ISO_Char_Code>", ">euro</ISO_Char_Code>"), "row"),
    "a series": (lambda _: DECLARATION + b'<ValCurs name="Foreign Currency Market Dynamic"/>', "structure"),
}


def erring(bank: Bank, wanted: Callable[[web.Request], bool], change: Change) -> None:
    """Let the Bank answer such requests with something else."""

    def edit(request: web.Request, answer: web.Response) -> None:
        if wanted(request):
            assert isinstance(answer.body, bytes)
            wrong = change(answer.body)
            assert wrong != answer.body
            answer.body = wrong

    bank.edit = edit


async def backfilled(served: Served) -> None:
    async for _ in served.service.backfill():
        pass


async def is_refused_until_right(served: Served, bank: Bank, fault: Fault, kind: str) -> None:
    """Only today is answered while the Bank is wrong; afterwards every day is, with the right figures."""
    with pytest.raises(FetchFailed) as caught:
        await backfilled(served)
    assert caught.value.kind == f"invalid:{kind}"
    await served.service._sync.reread()  # noqa: SLF001 -- what was stored by mistake would be taken now
    for path in (f"/v1/rates/{PAST}", f"/v1/series?codes=EUR&since={PAST}&until={PAST}"):
        assert (await served.get(path))[0] == 503, path
    assert (await served.get("/v1/rates"))[0] == 200
    bank.edit = None
    await backfilled(served)
    await fault.recovers(lambda: served.service.history.coverage)
    held = served.service.history.of_date(PAST)
    assert held
    assert held.sheet.says_the_same_as(plausible(PAST))
    assert (await served.get(f"/v1/rates/{PAST}"))[0] == 200


@pytest.mark.parametrize("series", list(SERIES))
async def test_B21_a_series_that_was_not_asked_for(
    series: str, bank: Bank, settings: Settings, serve: Serve, fault: Fault
) -> None:
    """The series is of another currency or range, has a day twice, or is text: history waits for the right one."""
    change, kind = SERIES[series]
    bank.publish(*map(plausible, DAYS))
    erring(bank, lambda request: request.query.get("VAL_NM_RQ") == EUR, change)
    async with serve(polling(settings, bank.url, every_s=3600)) as served:
        await served.ready()
        await is_refused_until_right(served, bank, fault, kind)


@pytest.mark.parametrize("catalogue", list(CATALOGUES))
async def test_B21_a_catalogue_that_is_none(
    catalogue: str, bank: Bank, settings: Settings, serve: Serve, fault: Fault
) -> None:
    """The catalogue is empty, text, or has wrong ids: history does not count as complete."""
    change, kind = CATALOGUES[catalogue]
    bank.publish(*map(plausible, DAYS))
    erring(bank, lambda request: request.path.endswith("XML_valFull.asp"), change)
    async with serve(polling(settings, bank.url, every_s=3600)) as served:
        await served.ready()
        await is_refused_until_right(served, bank, fault, kind)
