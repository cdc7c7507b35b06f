"""The European Central Bank's reference rates, as files: https://www.ecb.europa.eu/stats/eurofxref/.

Units for one euro, or for one of `base`. The history holds every sheet up to the one in force today, newest first.
Days without a sheet have no line, as at the ECB. Roubles before 1998 are old roubles.
"""

from __future__ import annotations

from functools import partial
from io import BytesIO
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from ratesvc.dialects import Content, Dialect, Refusal, Request, status
from ratesvc.domain.columns import Coverage
from ratesvc.domain.rates import FIRST_DAY, per_unit, plain
from ratesvc.errors import HistoryLoading, RatesvcError
from ratesvc.render.series import head

CSV = "text/csv; charset=utf-8"
ZIP = "application/zip"
XML = "text/xml; charset=utf-8"
TEXT = "text/plain; charset=utf-8"
MISSING = "N/A"
NO_BASE = "There is no such base currency."
_ENVELOPE = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<gesmes:Envelope xmlns:gesmes="http://www.gesmes.org/xml/2002-08-01" '
    'xmlns="http://www.ecb.int/vocabulary/2002-08-01/eurofxref">\n<gesmes:subject>Reference rates</gesmes:subject>\n'
    "<gesmes:Sender><gesmes:name>Bank of Russia</gesmes:name></gesmes:Sender>\n"
)


def history(request: Request, *, zipped: bool) -> Content:
    """eurofxref-hist.csv, or the same table in eurofxref-hist.zip. Raises HistoryLoading while a sheet is missing."""
    base = request.base("EUR", request.known(), NO_BASE, 404)
    held, last = request.history.coverage, request.snapshot.in_force.effective_date
    gap = request.history.first_gap(held.since, last) if held else FIRST_DAY
    if held is None or gap:
        raise HistoryLoading(gap or FIRST_DAY)
    days = Coverage(held.since, last)
    # At most: the file always has all of history.
    points = len(request.known()) * len(request.history.days)
    if zipped:
        return Content(("zip", base), ZIP, lambda: _zipped(_table(request, base, days)), points=points)
    return Content(("csv", base), CSV, lambda: _table(request, base, days), points=points)


def _zipped(table: bytes) -> bytes:
    packed = BytesIO()
    with ZipFile(packed, "w", ZIP_DEFLATED) as archive:
        # ZipInfo's own time is 1980, so the bytes are the same on every replica.
        archive.writestr(ZipInfo("eurofxref-hist.csv"), table, ZIP_DEFLATED)
    return packed.getvalue()


def _table(request: Request, base: str, days: Coverage) -> bytes:
    """USD and JPY first, because some clients take these two columns by their place; then by code."""
    codes = tuple(sorted(request.known() - {base}, key=lambda code: (code != "USD", code != "JPY", code)))
    rows = request.per_base(base, codes, days, missing=MISSING)
    lines = [",".join([head(day)[2:12], *texts, ""]).encode() for day, texts in rows]
    return b"\n".join([",".join(["Date", *codes, ""]).encode(), *reversed(lines), b""])


def daily_xml(request: Request) -> Content:
    """eurofxref-daily.xml: in force today."""
    sheet = request.snapshot.in_force.sheet
    base = request.base("EUR", {"RUB", *sheet.by_code}, NO_BASE, 404)

    def write() -> bytes:
        cubes = "".join(
            f"<Cube currency='{code}' rate='{plain(rate)}'/>\n" for code, rate in per_unit(sheet, base).items()
        )
        day = f"<Cube>\n<Cube time='{sheet.effective_date}'>\n{cubes}</Cube>\n</Cube>\n</gesmes:Envelope>\n"
        return (_ENVELOPE + day).encode()

    return Content(("xml", base), XML, write)


def refuse(error: RatesvcError) -> Refusal:
    """One line of text; the ECB has a web page for errors."""
    return Refusal(status(error), TEXT, f"{error}\n".encode())


DIALECT = Dialect(
    {
        "/eurofxref-hist.csv": partial(history, zipped=False),
        "/eurofxref-hist.zip": partial(history, zipped=True),
        "/eurofxref-daily.xml": daily_xml,
    },
    refuse,
)
