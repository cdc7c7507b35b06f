"""The European Central Bank's reference rates, as files: https://www.ecb.europa.eu/stats/eurofxref/.

Units for one euro, or for one of `base`. The files of history hold every sheet up to the one in force today, newest
first; those of 90 days only the newest. Days without a sheet are left out, as at the ECB. Roubles before 1998 are old
roubles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import date, timedelta
from functools import partial
from io import BytesIO
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from ratesvc.domain.columns import Days
from ratesvc.domain.rates import plain
from ratesvc.features.dialects import TEXT, Content, Dialect, Request, in_one_line
from ratesvc.features.ranges.conversion import per_unit
from ratesvc.features.ranges.unit_rates import iso, sheets_of

CSV = "text/csv; charset=utf-8"
ZIP = "application/zip"
XML = "text/xml; charset=utf-8"
MISSING = "N/A"
NO_BASE = "There is no such base currency."
RECENT = timedelta(days=90)
# Qalculate finds the Cubes only if white space follows gesmes:name.
_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<gesmes:Envelope xmlns:gesmes="http://www.gesmes.org/xml/2002-08-01" '
    'xmlns="http://www.ecb.int/vocabulary/2002-08-01/eurofxref">\n<gesmes:subject>Reference rates</gesmes:subject>\n'
    "<gesmes:Sender>\n<gesmes:name>Bank of Russia</gesmes:name>\n</gesmes:Sender>\n<Cube>\n"
)
_TAIL = "</Cube>\n</gesmes:Envelope>\n"

Lines = Callable[[Request, str, Days], Iterator[str]]
"""The lines of a file of history for a base and a range of days."""


def history(request: Request, media: str, lines: Lines, *, recent: bool = False) -> Content:
    """A file of all of history, or of the last 90 days. Raises HistoryLoading while a sheet is missing."""
    base = request.base("EUR", request.known(), NO_BASE, 404)
    begins, today = request.history.begins, request.snapshot.today
    days = Days(max(begins, today - RECENT) if recent else begins, request.snapshot.in_force.effective_date)
    request.check_no_gap(days)
    # At most: the file always has all of its days.
    points = len(request.known()) * len(sheets_of(request.history, days))

    def write() -> bytes:
        # In one buffer, because a list of lines would take the megabytes of the file twice.
        file = BytesIO()
        file.writelines(line.encode() for line in lines(request, base, days))
        return _zipped("eurofxref-hist.csv", file.getvalue()) if media == ZIP else file.getvalue()

    return Content((media, base, recent), media, write, points=points, since=days.since)


def _csv(request: Request, base: str, days: Days) -> Iterator[str]:
    codes = _in_order(request.known() - {base})
    yield ",".join(["Date", *codes, ""]) + "\n"
    for day, texts in request.per_base(base, codes, days, newest_first=True):
        yield ",".join([iso(day), *(text or MISSING for text in texts), ""]) + "\n"


def _xml(request: Request, base: str, days: Days) -> Iterator[str]:
    """A currency that a day lacks has no element there."""
    codes = _in_order(request.known() - {base})
    yield _HEAD
    for day, texts in request.per_base(base, codes, days, newest_first=True):
        pairs = zip(codes, texts, strict=True)
        rates = "".join([f'<Cube currency="{code}" rate="{text}"/>' for code, text in pairs if text])
        yield f'<Cube time="{iso(day)}">{rates}</Cube>\n'
    yield _TAIL


def _zipped(name: str, content: bytes) -> bytes:
    packed = BytesIO()
    with ZipFile(packed, "w", ZIP_DEFLATED) as archive:
        # ZipInfo's own time is 1980, so the bytes are the same on every replica.
        archive.writestr(ZipInfo(name), content, ZIP_DEFLATED)
    return packed.getvalue()


def _in_order(codes: Iterable[str]) -> tuple[str, ...]:
    """USD and JPY first, because some clients take these two columns by their place; then by code."""
    return tuple(sorted(codes, key=lambda code: (code != "USD", code != "JPY", code)))


def today(request: Request, media: str, write: Callable[[date, dict[str, str]], bytes]) -> Content:
    """A file with the rates in force today."""
    sheet = request.snapshot.in_force.sheet
    base = request.base("EUR", sheet.costs, NO_BASE, 404)

    def file() -> bytes:
        rates = per_unit(sheet, base)
        return write(sheet.effective_date, {code: plain(rates[code]) for code in _in_order(rates)})

    return Content(("today", media, base), media, file)


def _today_xml(day: date, rates: dict[str, str]) -> bytes:
    """eurofxref-daily.xml has apostrophes and line breaks, which the files of history do not have."""
    cubes = "".join(f"<Cube currency='{code}' rate='{text}'/>\n" for code, text in rates.items())
    return f"{_HEAD}<Cube time='{day}'>\n{cubes}</Cube>\n{_TAIL}".encode()


def _today_zip(day: date, rates: dict[str, str]) -> bytes:
    """eurofxref.csv: two lines, with blanks and the day in words."""
    lines = ["Date", *rates, ""], [f"{day:%d %B %Y}", *rates.values(), ""]
    return _zipped("eurofxref.csv", "".join(", ".join(line) + "\n" for line in lines).encode())


DIALECT = Dialect(
    {
        "/eurofxref-hist.csv": partial(history, media=CSV, lines=_csv),
        "/eurofxref-hist.zip": partial(history, media=ZIP, lines=_csv),
        "/eurofxref-hist.xml": partial(history, media=XML, lines=_xml),
        "/eurofxref-hist-90d.xml": partial(history, media=XML, lines=_xml, recent=True),
        "/eurofxref-daily.xml": partial(today, media=XML, write=_today_xml),
        "/eurofxref.zip": partial(today, media=ZIP, write=_today_zip),
    },
    in_one_line,
    TEXT,
    root="/stats/eurofxref",
)
