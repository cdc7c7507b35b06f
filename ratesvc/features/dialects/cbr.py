"""The Bank of Russia's own scripts, for programs that read its XML: https://www.cbr.ru/development/sxml/.

Like the Bank, this dialect answers a day without a sheet with the earlier sheet under its own date, a future day with
the newest sheet, and a wrong parameter with 200 and «Error in parameters». It refuses a day in a parameter that the
Bank does not know: such a client wants that day, not the newest sheet. Names of parameters may have any case, as at the
Bank.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from operator import attrgetter

from ratesvc.bank import xml
from ratesvc.domain.columns import Days
from ratesvc.errors import BadDocument, BeforeHistory
from ratesvc.features.dialects import Content, Dialect, Refused, Request

DAILY = "text/xml; charset="
DYNAMIC = "application/xml; charset=windows-1251"
_CBR_ID = re.compile(r"[A-Za-z0-9]{1,12}")
_ONE_DIGIT = re.compile(r"\b[0-9]\b")
_DAY_NAME = re.compile(r"(?i)(?<!up)dat[ae]")
_DAY_TEXT = re.compile(r"[0-9]{1,2}[./-][0-9]{1,2}[./-][0-9]{4}|[0-9]{4}[./-][0-9]{1,2}[./-][0-9]|(?:19|20)[0-9]{6}$")


def daily(request: Request, *, english: bool) -> Content:
    """XML_daily: the Bank's own bytes of a fetched sheet. XML_daily_eng is written here, with the catalogue's names."""
    text = _text(request, "date_req")
    if not text and _has_misspelt_day(request):
        raise Refused(200, xml.ERROR)
    until = _day(text) if text else date.max
    revision = request.on(until, ahead=timedelta.max)
    if english:
        document = xml.write_daily(revision.sheet, request.english_names())
    else:
        document = revision.raw or xml.write_daily(revision.sheet)
    return Content(("daily", english, revision.key), DAILY + xml.charset_of(document), lambda: document, until)


def dynamic(request: Request) -> Content:
    """XML_dynamic: the records of one id, none for an unknown id. Raises HistoryLoading."""
    cbr_id = _text(request, "val_nm_rq")
    since, until = (_day(_text(request, name)) for name in ("date_req1", "date_req2"))
    if not _CBR_ID.fullmatch(cbr_id):
        raise Refused(200, xml.ERROR)
    days = Days(since, until)
    request.check_no_gap(days)
    columns = [column for column in request.history.every_column() if column.currency.cbr_id == cbr_id]
    points = sum(last - first for first, last in (column.places(days) for column in columns))

    def write() -> bytes:
        held = (
            (column, date.fromordinal(day)) for column in columns for day in column.days[slice(*column.places(days))]
        )
        records = ((day, quote) for column, day in held if (quote := column.quote(day)))
        return xml.write_dynamic(cbr_id, since, until, records)

    return Content(("dynamic", cbr_id, since, until), DYNAMIC, write, until, points, since)


def catalogue(request: Request, *, full: bool) -> Content:
    """XML_val and XML_valFull: every id that is held.

    Raises HistoryLoading until all of history is loaded, because a mirror would take a part of it for the whole.
    """
    request.check_no_gap(Days(request.history.begins, request.newest.effective_date))
    names, columns = request.english_names(), request.history.every_column()
    rows = [
        (replace(column.named(column.last_day), english_name=names[last.code]), last.nominal)
        for column in sorted(columns, key=attrgetter("currency.cbr_id"))
        if column.days and (last := column.quote(column.last_day))
    ]
    return Content(("catalogue", full), DAILY + xml.ENCODING, lambda: xml.write_catalogue(rows, full=full))


def _text(request: Request, name: str) -> str:
    """The parameter with this name in small letters, whatever its case; empty if it is not given."""
    return {given.lower(): text for given, text in request.given.items() if text}.get(name, "")


def _has_misspelt_day(request: Request) -> bool:
    """Whether another parameter than date_req is about a day, by its name or its value."""
    unknown = {name: value for name, value in request.given.items() if name.lower() != "date_req"}
    return any(map(_DAY_NAME.search, unknown)) or any(map(_DAY_TEXT.match, (*unknown, *unknown.values())))


def _day(text: str) -> date:
    """dd/mm/yyyy or dd.mm.yyyy, the day and the month with one digit or two. Raises Refused."""
    try:
        return xml.parse_date(_ONE_DIGIT.sub(r"0\g<0>", text))
    except BadDocument:
        raise Refused(200, xml.ERROR) from None


DIALECT = Dialect(
    {
        "/scripts/XML_daily.asp": partial(daily, english=False),
        "/scripts/XML_daily_eng.asp": partial(daily, english=True),
        "/scripts/XML_dynamic.asp": dynamic,
        "/scripts/XML_val.asp": partial(catalogue, full=False),
        "/scripts/XML_valFull.asp": partial(catalogue, full=True),
    },
    # The Bank's own words if it refuses too, otherwise our words in its XML.
    lambda _, error: xml.write_refusal(xml.ERROR if isinstance(error, BeforeHistory) else str(error)),
    DAILY + xml.ENCODING,
    {BeforeHistory: 200},
    root="",
)
