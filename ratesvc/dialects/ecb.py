"""The European Central Bank's reference rates, as files: https://www.ecb.europa.eu/stats/eurofxref/.

Units for one euro, or for one of `base`. The history holds the sheets that were set, newest first, up to the one in
force today; days without a sheet have no line, as at the ECB. Roubles before 1998 are old ones.
"""

from __future__ import annotations

from io import BytesIO
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from ratesvc.dialects import Answer, Dialect, Question, Refusal, Refused, per_base, status
from ratesvc.domain.columns import Coverage
from ratesvc.domain.rates import FIRST_DAY, per_unit, plain
from ratesvc.errors import HistoryLoading, RatesvcError
from ratesvc.render.series_text import head

CSV = "text/csv; charset=utf-8"
ZIP = "application/zip"
XML = "text/xml; charset=utf-8"
TEXT = "text/plain; charset=utf-8"
MISSING = "N/A"
_ENVELOPE = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<gesmes:Envelope xmlns:gesmes="http://www.gesmes.org/xml/2002-08-01" '
    'xmlns="http://www.ecb.int/vocabulary/2002-08-01/eurofxref">\n<gesmes:subject>Reference rates</gesmes:subject>\n'
    "<gesmes:Sender><gesmes:name>Bank of Russia</gesmes:name></gesmes:Sender>\n"
)


def history_csv(asked: Question) -> Answer:
    """eurofxref-hist.csv."""
    base, span = _base(asked, asked.known()), _whole(asked)
    return Answer(("csv", base), CSV, lambda: _table(asked, base, span), points=_points(asked))


def history_zip(asked: Question) -> Answer:
    """eurofxref-hist.zip, with the same table in it."""
    base, span = _base(asked, asked.known()), _whole(asked)

    def write() -> bytes:
        packed = BytesIO()
        with ZipFile(packed, "w", ZIP_DEFLATED) as archive:
            # ZipInfo's own time is 1980: the bytes are the same on every replica.
            archive.writestr(ZipInfo("eurofxref-hist.csv"), _table(asked, base, span), ZIP_DEFLATED)
        return packed.getvalue()

    return Answer(("zip", base), ZIP, write, points=_points(asked))


def _points(asked: Question) -> int:
    """More than any other answer has: it is the whole file, or none."""
    return len(asked.known()) * len(asked.history.days)


def _base(asked: Question, known: set[str]) -> str:
    base = asked.code("EUR", "base")
    if base not in known:
        raise Refused(404, "There is no such base currency.")
    return base


def _whole(asked: Question) -> Coverage:
    """All of the history that was loaded, up to today. Raises HistoryLoading before it is, and while there is a gap."""
    held, last = asked.history.coverage, asked.snapshot.in_force.effective_date
    gap = asked.history.first_gap(held.since, last) if held else FIRST_DAY
    if held is None or gap:
        raise HistoryLoading(gap or FIRST_DAY)
    return Coverage(held.since, last)


def _table(asked: Question, base: str, span: Coverage) -> bytes:
    """The two columns that some take by their place first, then by code."""
    codes = tuple(sorted(asked.known() - {base}, key=lambda code: (code != "USD", code != "JPY", code)))
    rows = per_base(asked.history, base, codes, span, missing=MISSING)
    lines = [",".join([head(day)[2:12], *texts, ""]).encode() for day, texts in rows]
    return b"\n".join([",".join(["Date", *codes, ""]).encode(), *reversed(lines), b""])


def daily_xml(asked: Question) -> Answer:
    """eurofxref-daily.xml: in force today."""
    revision = asked.snapshot.in_force
    base = _base(asked, {"RUB", *revision.sheet.by_code})

    def write() -> bytes:
        cubes = "".join(
            f"<Cube currency='{code}' rate='{plain(rate)}'/>\n" for code, rate in per_unit(revision.sheet, base).items()
        )
        day = f"<Cube>\n<Cube time='{revision.effective_date}'>\n{cubes}</Cube>\n</Cube>\n</gesmes:Envelope>\n"
        return (_ENVELOPE + day).encode()

    return Answer(("xml", base), XML, write)


def refuse(error: RatesvcError) -> Refusal:
    """The ECB has a web page for this; a line says the same."""
    return Refusal(status(error), TEXT, f"{error}\n".encode())


DIALECT = Dialect(
    {
        "/eurofxref-hist.csv": history_csv,
        "/eurofxref-hist.zip": history_zip,
        "/eurofxref-daily.xml": daily_xml,
    },
    refuse,
)
