"""The Bank of Russia itself, for what reads its XML: https://www.cbr.ru/development/sxml/.

A day without a sheet is answered with the earlier one under its own date, a day to come with what is set so far, and
a wrong parameter with 200 and «Error in parameters», all as the Bank does. The obsolete monthly list (d=1) is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date

from ratesvc.bank import xml
from ratesvc.dialects import Answer, Dialect, Question, Refusal, Refused, status
from ratesvc.domain.columns import Column
from ratesvc.domain.rates import FIRST_DAY, Quote, Revision
from ratesvc.errors import BeforeHistory, HistoryLoading, RatesvcError

DAILY = "text/xml; charset="
DYNAMIC = "application/xml; charset=windows-1251"
_DAY = re.compile(r"([0-9]{2})[./]([0-9]{2})[./]([0-9]{4})")
_CBR_ID = re.compile(r"[A-Za-z0-9]{1,12}")


def in_russian(asked: Question) -> Answer:
    """XML_daily: the Bank's own bytes of a sheet that was fetched."""
    revision, until = _asked_for(asked)
    document = xml.document_of(revision)
    return Answer(("daily", revision.key), DAILY + xml.charset_of(document), lambda: document, until)


def in_english(asked: Question) -> Answer:
    """XML_daily_eng: always written here, with the names of the Bank's catalogue."""
    revision, until = _asked_for(asked)

    def write() -> bytes:
        return xml.write_daily(revision.sheet, asked.english_names())

    return Answer(("english", revision.key), DAILY + xml.ENCODING, write, until)


def _asked_for(asked: Question) -> tuple[Revision, date]:
    _refuse_monthly(asked)
    text = asked.text("date_req")
    if text is None:
        return asked.newest, date.max
    day = _day(text)
    if day <= asked.snapshot.today:
        return asked.on(day), day
    return (asked.newest if asked.newest.effective_date <= day else asked.snapshot.in_force), day


def dynamic(asked: Question) -> Answer:
    """XML_dynamic: the records of one id, none for an unknown one. Raises HistoryLoading rather than leave a gap."""
    _refuse_monthly(asked)
    cbr_id = asked.text("VAL_NM_RQ") or ""
    since, until = _day(asked.text("date_req1") or ""), _day(asked.text("date_req2") or "")
    if not _CBR_ID.fullmatch(cbr_id):
        raise Refused(200, xml.ERROR)
    gap = asked.history.first_gap(since, min(until, asked.snapshot.in_force.effective_date))
    held = asked.history.coverage
    # Who reads a range takes what is missing for what never was.
    if gap := gap or next((day for day in (held.unconfirmed if held else ()) if since <= day <= until), None):
        raise HistoryLoading(gap)

    columns = _columns(asked, cbr_id)

    def write() -> bytes:
        return xml.write_dynamic(cbr_id, since, until, _records(columns, since, until))

    points = sum(last - first for first, last in (column.places(since, until) for column in columns))
    return Answer(("dynamic", cbr_id, since, until), DYNAMIC, write, until, points)


def _columns(asked: Question, cbr_id: str) -> list[Column]:
    return [column for column in asked.history.columns() if column.currency.cbr_id == cbr_id]


def _records(columns: list[Column], since: date, until: date) -> Iterator[tuple[date, Quote]]:
    for column in columns:
        first, last = column.places(since, until)
        for day in map(date.fromordinal, column.days[first:last]):
            quote = column.quote(day)
            if quote:
                yield day, quote


def short_catalogue(asked: Question) -> Answer:
    """XML_val."""
    return _catalogue(asked, full=False)


def full_catalogue(asked: Question) -> Answer:
    """XML_valFull."""
    return _catalogue(asked, full=True)


def _catalogue(asked: Question, *, full: bool) -> Answer:
    """Every id that is held. Raises HistoryLoading before all of them are: a mirror would take a part for the whole."""
    _refuse_monthly(asked)
    if asked.history.coverage is None:
        raise HistoryLoading(FIRST_DAY)
    columns = sorted(asked.history.columns(), key=lambda column: column.currency.cbr_id)
    names = asked.english_names()
    rows = [(replace(c.currency, english_name=names[c.currency.cbr_id]), _last(c).nominal) for c in columns]
    return Answer(("catalogue", full), DAILY + xml.ENCODING, lambda: xml.write_catalogue(rows, full=full))


def _last(column: Column) -> Quote:
    quote = column.quote(column.last_day)
    assert quote  # noqa: S101 -- it is the column's own day
    return quote


def _refuse_monthly(asked: Question) -> None:
    if asked.text("d") == "1":
        raise Refused(200, xml.ERROR)


def _day(text: str) -> date:
    found = _DAY.fullmatch(text)
    try:
        if found:
            return date(int(found[3]), int(found[2]), int(found[1]))
    except ValueError:
        pass
    raise Refused(200, xml.ERROR)


def refuse(error: RatesvcError) -> Refusal:
    """The Bank's own words for what it refuses, ours in its XML for the rest."""
    media = DAILY + xml.ENCODING
    if isinstance(error, BeforeHistory):
        return Refusal(200, media, xml.write_refusal())
    return Refusal(status(error), media, xml.write_refusal(str(error)))


_SCRIPTS = {
    "/scripts/XML_daily.asp": in_russian,
    "/scripts/XML_daily_eng.asp": in_english,
    "/scripts/XML_dynamic.asp": dynamic,
    "/scripts/XML_val.asp": short_catalogue,
    "/scripts/XML_valFull.asp": full_catalogue,
}
# The Bank's server does not tell capitals from small letters, and many scripts ask for xml_daily.asp.
DIALECT = Dialect({**_SCRIPTS, **{path.lower(): answer for path, answer in _SCRIPTS.items()}}, refuse, at_root=True)
