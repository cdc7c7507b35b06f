"""daily_json.js over the days that lie beside the project."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

from ratesvc.domain.history import History, snapshot
from ratesvc.domain.rates import Quote, Revision, Sheet
from ratesvc.domain.workdays import ONE_DAY, WorkCalendar
from ratesvc.features.dialects import Request
from ratesvc.features.dialects.cbr_xml_daily import DIALECT

CALENDAR = WorkCalendar()


def test_daily_json_is_what_its_original_said(recordings: Path) -> None:
    """The same keys in the same order, types and values, from the figures of the two sheets that it was made of."""
    for path in sorted(recordings.glob("mirror_json/*.js")):
        original = json.loads(path.read_text("utf-8-sig"), parse_float=Decimal)
        day, before = (datetime.fromisoformat(original[name]).date() for name in ("Date", "PreviousDate"))
        learned = datetime.fromisoformat(original["Timestamp"])
        calendar = WorkCalendar(extra_work=(before - ONE_DAY, day - ONE_DAY))
        pair = [(before, "Previous"), (day, "Value")]
        history = History(calendar, [Revision(mirrored(original, on, key), 1, learned) for on, key in pair])
        now = datetime.combine(day, time(9), UTC)
        answer = DIALECT.routes["/daily_json.js"](Request(history, snapshot(history, now), "https://x.example", {}))
        ours = json.loads(answer.write(), parse_float=Decimal)
        assert ours.pop("PreviousURL") == f"//x.example/cbr-xml-daily/archive/{before:%Y/%m/%d}/daily_json.js"
        assert original.pop("PreviousURL") == f"//www.cbr-xml-daily.ru/archive/{before:%Y/%m/%d}/daily_json.js"
        assert (ours, flat(ours)) == (original, flat(original)), path
        dollar = ours["Valute"]["USD"]
        assert (dollar["Value"], dollar["Previous"]) == tuple(exported_dollar(recordings, on) for on in (day, before))


def exported_dollar(recordings: Path, day: date) -> Decimal:
    """From the Bank's own export, which knows nothing of cbr-xml-daily.ru."""
    text = (recordings / "history" / "usd.csv").read_text("utf-8")
    found = re.search(rf"^{day},1,([0-9.]+),", text, re.MULTILINE)
    assert found
    return Decimal(found[1])


def mirrored(original: dict[str, Any], day: date, key: str) -> Sheet:
    rows = original["Valute"].values()
    values = [Decimal(row[key]).quantize(Decimal("0.0001")) for row in rows]
    return Sheet(
        day,
        tuple(
            Quote(row["CharCode"], row["NumCode"], row["ID"], row["Nominal"], value, row["Name"])
            for row, value in zip(rows, values, strict=True)
        ),
    )


def flat(tree: Any) -> list[Any]:
    """Keys and types in their order."""
    return [(key, flat(value)) for key, value in tree.items()] if isinstance(tree, dict) else [isinstance(tree, str)]
