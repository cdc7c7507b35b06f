"""What the Bank's stand-in says of metals and of the key rate, written without the product."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from xml.sax.saxutils import escape

import pytest
from aiohttp import web

from kit.bank import Bank
from kit.cases import questions

METALS, KEY_RATE = "/scripts/xml_metall.asp", "/DailyInfoWebServ/DailyInfo.asmx"


def with_metals(bank: Bank, rows: Mapping[date, Mapping[int, str]]) -> None:
    """It answers with these prices, by day and the Bank's number of the metal, as the Bank prints them."""

    async def answer(request: web.Request) -> bytes:
        since, until = (
            datetime.strptime(request.query[name], "%d/%m/%Y").date()  # noqa: DTZ007 -- a day, not a time
            for name in ("date_req1", "date_req2")
        )
        return metals_document(rows, since, until)

    bank.others[METALS] = answer


def metals_document(rows: Mapping[date, Mapping[int, str]], since: date, until: date) -> bytes:
    """xml_metall.asp of a closed range."""
    records = "".join(
        f'<Record Date="{day:%d.%m.%Y}" Code="{metal}"><Buy>{price}</Buy><Sell>{price}</Sell></Record>'
        for day, prices in sorted(rows.items())
        for metal, price in sorted(prices.items())
        if since <= day <= until
    )
    return (
        f'<?xml version="1.0" encoding="windows-1251"?><Metall FromDate="{since:%Y%m%d}" ToDate="{until:%Y%m%d}" '
        f'name="Precious metals quotations">{records}</Metall>'
    ).encode("windows-1251")


def with_key_rate(bank: Bank, rows: Mapping[date, str]) -> None:
    """It answers with these rates, the newest first."""

    async def answer(request: web.Request) -> bytes:
        assert request.headers["SOAPAction"] == '"http://web.cbr.ru/KeyRateXML"'
        return key_rate_document(rows, await request.read())

    bank.others[KEY_RATE] = answer


def key_rate_document(rows: Mapping[date, str], question: bytes, *, escaped: bool = False) -> bytes:
    """The answer to a question of the SOAP service."""
    since, until = re.findall(r"<(?:fromDate|ToDate)>([0-9-]{10})T00:00:00<", question.decode())
    found = (rate_row(day, rows[day]) for day in sorted(rows, reverse=True) if since <= str(day) <= until)
    return soap("".join(found), escaped=escaped)


def soap(rows: str, *, escaped: bool = False) -> bytes:
    """An answer of the Bank's SOAP service."""
    table = f'<KeyRate xmlns="">{rows}</KeyRate>'
    return (
        '<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/">'
        '<soap:Body><KeyRateXMLResponse xmlns="http://web.cbr.ru/"><KeyRateXMLResult>'
        f"{escape(table) if escaped else table}</KeyRateXMLResult></KeyRateXMLResponse></soap:Body></soap:Envelope>"
    ).encode()


def rate_row(day: date, rate: str) -> str:
    """A row of that answer."""
    return f"<KR><DT>{day}T00:00:00+03:00</DT><Rate>{rate}</Rate></KR>"


def wrong(kind: str) -> list[Any]:
    """Lines of golden/wrong_figures.txt about these figures: what is replaced, by what, and why it is refused."""
    found = [line.split(" | ") for line in questions("wrong_figures.txt") if line.startswith(kind)]
    return [pytest.param(pattern, by, why, id=what) for _, what, pattern, by, why in found]


def spoil(bank: Bank, path: str, pattern: str, by: str) -> None:
    """The Bank's answers there are wrong from now on."""
    honest = bank.others[path]

    async def answer(request: web.Request) -> bytes:
        return re.sub(pattern.encode(), by.encode(), await honest(request), flags=re.DOTALL)

    bank.others[path] = answer
