"""Table B, ids and codes: every form of a rate is compared with the sheet, on two replicas and after a restart."""

from __future__ import annotations

import csv
import re
from contextlib import AsyncExitStack
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest
from conftest import eventually
from kit.bank import Bank, last_month
from kit.http import reading, says
from kit.replicas import shared_by
from kit.service import Program, serving
from kit.sheets import plausible

from ratesvc.domain.rates import Sheet
from ratesvc.features.ranges.conversion import per_unit

pytestmark = pytest.mark.nightly

NUMBER = r"(\d+(?:[.,]\d+)?)"
OF_ANY_DAY = r"""
/v1/rates/{day}?codes={code} -> "{code}":.*"unit_rate":#,
/v1/rates/{day}.csv?codes={code} -> {code},{day},1,1,.*?,#,
/v1/rates/{day}/{code}.txt -> #
/v1/series?codes={code}&since={day}&until={day} -> "{code}","unit_rate":#,
/v1/series.csv?codes={code}&since={day}&until={day} -> {day},{code},#,
/v1/series?codes={code}&last=9&group=month&until={day} -> "last_rate":#,[^}]*}\]
/v1/history.csv?codes={code}&since={day} -> {day},{code},1,.*?,#,
/v1/convert?amount=1&from={code}&to=RUB&date={day} -> "result":"#"
/chart.svg?codes={code}&until={day} -> last # on
/rate?date={day}&code={code} -> 1.{code} = #
/cbr/scripts/XML_daily.asp?date_req={dmy} -> {id}"><NumCode>{number}<.{10,20}>{code}<.*?<Value>#<
/cbr/scripts/XML_daily_eng.asp?date_req={dmy} -> {code}</CharCode><Nominal>1</Nominal><Name>{code}<.*?>#<
/cbr/scripts/XML_dynamic.asp?VAL_NM_RQ={id}&date_req1={dmy}&date_req2={dmy} -> <Value>#<
/cbr-xml-daily/archive/{ymd}/daily_json.js -> "{id}","NumCode":"{number}",[^,]*"{code}".*?"Value":#,
/frankfurter/v1/{day}?base={code}&symbols=RUB -> "RUB":#
/frankfurter/v2/rates?date={day}&base={code}&quotes=RUB -> "rate":#
/openexchangerates/api/historical/{day}.json?base={code}&symbols=RUB -> "RUB":#
/rbc/tsv/{number}/{ymd}.tsv -> 1\t#
/rbc/tsv/cb/{number}.tsv -> {plain}\t1\t#
"""
OF_TODAY = r"""
/widget?codes={code} -> cbr-code">{code}<.*?cbr-value">#<
/widget/rows.json?codes={code} -> "{code}".*?"cells":."#"
/widget/card.svg?codes={code} -> {code}<.*?>#</text>
/chart?codes={code} -> <td>#</td>
/prebid/currency.json -> "{code}":{[^}]*"RUB":#
"""
"""An address, and what surrounds the price of one unit in roubles in its answer."""


def swapped(sheet: Sheet, one: str, other: str) -> Sheet:
    """The same figures, and the ids of two currencies exchanged."""
    ids = {one: sheet.by_code[other].cbr_id, other: sheet.by_code[one].cbr_id}
    return replace(sheet, quotes=tuple(replace(q, cbr_id=ids.get(q.code, q.cbr_id)) for q in sheet.quotes))


def renamed(sheet: Sheet, code: str, new: str) -> Sheet:
    """The same figures, and one code renamed under its id."""
    return replace(sheet, quotes=tuple(replace(q, code=new) if q.code == code else q for q in sheet.quotes))


def _filled(line: str, names: dict[str, str]) -> str:
    return re.sub(r"{(\w+)}|#", lambda name: names[name[1] or "#"], line)


async def check_forms(replica: Program, forms: str, sheet: Sheet, *codes: str) -> None:
    """Every form has the figure of the sheet."""
    day = sheet.effective_date
    for quote in map(sheet.by_code.__getitem__, codes):
        names = {"code": quote.code, "id": quote.cbr_id, "number": quote.numeric_code, "day": str(day), "#": NUMBER}
        names |= {"dmy": f"{day:%d/%m/%Y}", "ymd": f"{day:%Y/%m/%d}", "plain": f"{day:%Y%m%d}"}
        for line in filter(None, forms.splitlines()):
            address, _, pattern = _filled(line, names).partition(" -> ")
            _, _, body = await replica.get(address)
            found = re.search(pattern, body.decode(errors="replace"), re.DOTALL)
            assert found, (line, quote, body)
            assert Decimal(found[1].replace(",", ".")) == quote.unit_rate, (address, quote, body)
    heads, *lines = csv.reader((await replica.get("/ecb/eurofxref-hist.csv"))[2].decode().splitlines())
    euros = next(dict(zip(heads, line, strict=True)) for line in lines if line[0] == str(day))
    assert {code: Decimal(euros[code]) for code in codes} == {code: per_unit(sheet, "EUR")[code] for code in codes}


async def test_B21_ids_are_exchanged_and_a_code_is_renamed(bank: Bank, redis_url: str, tmp_path: Path) -> None:
    """Ids of two currencies are exchanged, a code is renamed: published once confirmed, and all forms agree."""
    newest, eve, *earlier = last_month(Bank())
    before, sheets = plausible(eve), [plausible(day) for day in earlier]
    bank.publish(before, *sheets)
    named = bank.currencies.copy()
    now = renamed(swapped(plausible(newest), "GBP", "CHF"), "CAD", "CAX")
    async with AsyncExitStack() as stack:
        for empty in (False, True):
            shared = shared_by(bank, redis_url, RATESVC_POLL_SECONDS="0.5")
            two = [await stack.enter_async_context(serving(tmp_path, **shared)) for _ in range(2)]
            for replica in two:
                await eventually(partial(says, replica, "/v1/currencies", b'"complete":true'))
            if not empty:
                reader = await stack.enter_async_context(reading(two[1].url))
                bank.publish(now)
                bank.currencies = named
                await reader.receives(2)
                assert reader.received == [("sheet", str(newest), 1), ("in_force", str(newest), 1)]
            for replica in two:
                await eventually(partial(says, replica, f"/v1/rates/{newest}?codes=CAX", b'"CAX":{'))
                assert b'"flags":["renamed"]' in (await replica.get("/v1/rates"))[2]
                await check_forms(replica, OF_ANY_DAY + OF_TODAY, now, "GBP", "CHF", "CAX")
                await check_forms(replica, OF_ANY_DAY, before, "GBP", "CHF", "CAD")
                await check_forms(replica, OF_ANY_DAY, sheets[5], "GBP", "CHF", "CAD")
                for days in (f"codes=CAD&since={newest}", f"codes=CAX&until={eve}"):
                    assert len((await replica.get(f"/v1/series.csv?{days}"))[2].splitlines()) == 1  # the heads
                await replica.stops()
