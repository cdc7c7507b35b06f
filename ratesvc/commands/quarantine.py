"""`ratesvc quarantine`: read the documents that were not published, and decide about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from ratesvc.bank.admission import assess
from ratesvc.bank.xml import parse_daily
from ratesvc.commands.running import opened, require_data
from ratesvc.config import Settings
from ratesvc.domain.rates import Quote, plain
from ratesvc.errors import BadDocument
from ratesvc.render.json import encode, literal
from ratesvc.service.app import Service
from ratesvc.storage.quarantine import Case

Report = tuple[Any, str | bytes]
"""The same as JSON for a program and as text for a person."""


async def decide(settings: Settings, action: str, name: str | None, *, as_json: bool) -> None:
    """Do one action on the quarantine and print a report. A service may run meanwhile. Raises RatesvcError."""
    require_data(settings, demo=False)
    async with opened(settings, demo=False) as service:
        case = await service.quarantine.case(name) if name is not None else None
        document, text = await (_ACTIONS[action](service, case) if case else _list(service))
        click.echo(encode(document) if as_json else text, nl=as_json)


async def _list(service: Service) -> Report:
    """One line for each document, the newest first."""
    records = list(map(_record, await service.quarantine.cases()))
    if not records:
        click.echo("Nothing waits.", err=True)
    return records, "".join(map(_line, records))


async def _show(service: Service, case: Case) -> Report:
    """The reasons, and the figures with those of the sheet before it; suspect currencies are marked."""
    record = _record(case)
    try:
        sheet = parse_daily(case.raw)
    except BadDocument as error:
        return {**record, "refused": str(error)}, f"{_line(record)}It cannot be released: {error}\n"
    before, held = service.history.nearest_before(sheet.effective_date), service.history.of_date(sheet.effective_date)
    suspects = assess(sheet, before.sheet if before else None, held.sheet if held else None).suspects
    pairs = [(quote, before.sheet.by_code.get(quote.code) if before else None) for quote in sheet.quotes]
    rates = {quote.code: {"now": _figures(quote), "before": _figures(earlier)} for quote, earlier in pairs}
    rows = "".join(_row(*pair, is_suspect=pair[0].code in suspects) for pair in pairs)
    return {**record, "suspects": sorted(suspects), "rates": rates}, _line(record) + rows


async def _raw(_: Service, case: Case) -> Report:
    """The Bank's own bytes."""
    return None, case.raw


async def _release(service: Service, case: Case) -> Report:
    """Publish it."""
    revision = await service.release(case.name)
    day, number = revision.key
    return {"effective_date": day, "revision": number}, f"Published: the sheet of {day}, revision {number}.\n"


async def _drop(service: Service, case: Case) -> Report:
    """Remove it from the quarantine."""
    await service.quarantine.drop([case.name])
    return {"dropped": case.name}, f"Dropped: {case.name}.\n"


_ACTIONS = {"show": _show, "raw": _raw, "release": _release, "drop": _drop}


def _record(case: Case) -> dict[str, Any]:
    """A document in the list, as JSON."""
    return {
        "name": case.name,
        "effective_date": case.effective_date,
        "seen_at": f"{case.seen_at:%Y-%m-%dT%H:%M:%SZ}",
        "reasons": case.reasons,
    }


def _line(record: Mapping[str, Any]) -> str:
    effective = record["effective_date"] or "no date   "
    seen = record["seen_at"].replace("T", " ")
    return f"{record['name']}  {effective}  seen {seen}  {'; '.join(record['reasons'])}\n"


def _figures(quote: Quote | None) -> dict[str, Any] | None:
    return {"nominal": quote.nominal, "value": literal(quote.value)} if quote else None


def _row(quote: Quote, earlier: Quote | None, *, is_suspect: bool) -> str:
    was = f"{earlier.nominal:>9} {plain(earlier.value):>14}" if earlier else f"{'new':>24}"
    return f"{'!' if is_suspect else ' '} {quote.code} {quote.nominal:>9} {plain(quote.value):>14}   before {was}\n"
