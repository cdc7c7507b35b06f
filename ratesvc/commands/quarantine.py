"""`ratesvc quarantine` and `ratesvc withdraw`: what a person decides about sheets."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import click

from ratesvc.bank.admission import assess_beside
from ratesvc.bank.xml import parse_daily
from ratesvc.commands.running import opened
from ratesvc.config import Settings
from ratesvc.domain.rates import Quote, plain
from ratesvc.errors import BadDocument, RatesvcError
from ratesvc.render.json import encode, literal
from ratesvc.service import decisions
from ratesvc.service.app import Service
from ratesvc.storage.records import Case

Output = tuple[Any, str | bytes]
"""The same as JSON for a program and as text for a person."""


async def decide(settings: Settings, action: str, name: str | None, *, yes: bool, as_json: bool) -> None:
    """Do one action on the quarantine and print a report. A service may run meanwhile. Raises RatesvcError."""
    async with opened(settings, demo=False, requires=True) as service:
        document, text = await _done(service, action, name, yes=yes, as_json=as_json)
        click.echo(encode(document) if as_json else text, nl=as_json)


async def _done(service: Service, action: str, name: str | None, *, yes: bool, as_json: bool) -> Output:
    if name is None:
        records = list(map(_record, await service.quarantine.cases()))
        if not records:
            click.echo("Nothing waits.", err=True)
        return records, "".join(map(_lines, records))
    case = await service.quarantine.case(name)
    if action == "show":
        return _shown(service, case)
    if action == "raw":
        return None, case.raw
    if action == "release":
        shown, text = _shown(service, case)
        if "refused" in shown:
            raise RatesvcError(f"{case.name} is no sheet and cannot be released: {shown['refused']}")
        _ask("Publish it?", text, yes=yes, as_json=as_json)
        # Somebody else may have dropped it while this person looked.
        case = await service.quarantine.case(case.name)
        day, number = (await decisions.release(service.refresher, case)).key
        return {"effective_date": day, "revision": number}, f"Published: the sheet of {day}, revision {number}.\n"
    await service.quarantine.drop([case.name])
    return {"dropped": case.name}, f"Dropped: {case.name}.\n"


def _ask(question: str, text: str, *, yes: bool, as_json: bool) -> None:
    """Show what is about to happen, and go on only if a person says yes. A program says --yes, and reads JSON."""
    if not (as_json and yes):
        click.echo(text, nl=False, err=as_json)
    if not yes:
        click.confirm(question, abort=True, err=True)


async def withdraw(settings: Settings, day: date, *, yes: bool, as_json: bool) -> None:
    """Withdraw the published sheet of a day and print a report. A service may run meanwhile. Raises RatesvcError."""
    async with opened(settings, demo=False, requires=True) as service:
        withdrawal, now = decisions.withdrawal(service.refresher, day), service.history.of_date(day)
        assert now  # noqa: S101 -- otherwise there is nothing to withdraw
        has_before = bool(withdrawal.sheet.quotes)
        then = withdrawal if has_before else service.history.nearest_before(day)
        none = "the day has no sheet: today is answered with the sheet before it, a past day with an error"
        outcome = "the revision before it is in force again" if has_before else none
        pairs = [(quote, then.sheet.by_code.get(quote.code) if then else None) for quote in now.sheet.quotes]
        rows = "".join(_row(*pair, "then", is_suspect=False) for pair in pairs)
        text = f"This withdraws revision {now.number} of the sheet of {day}. Then {outcome}:\n{rows}"
        _ask("Withdraw it?", text, yes=yes, as_json=as_json)
        await decisions.publish(service.refresher, withdrawal)
    document = {"effective_date": day, "withdrawn": now.number, "revision": withdrawal.number}
    click.echo(encode(document) if as_json else f"Withdrawn: the sheet of {day}, revision {now.number}.")


def _shown(service: Service, case: Case) -> tuple[dict[str, Any], str]:
    """The reasons, the figures beside those of the sheet before it, and what a release would replace."""
    record = _record(case)
    try:
        sheet = parse_daily(case.raw)
    except BadDocument as error:
        return {**record, "refused": str(error)}, f"{_lines(record)}It cannot be released: {error}\n"
    history, day = service.history, sheet.effective_date
    before, held = history.nearest_before(day), history.of_date(day)
    suspects = assess_beside(history, sheet).suspects
    pairs = [(quote, before.sheet.by_code.get(quote.code) if before else None) for quote in sheet.quotes]
    rates = {quote.code: {"now": _figures(quote), "before": _figures(earlier)} for quote, earlier in pairs}
    rows = "".join(_row(*pair, "before", is_suspect=pair[0].code in suspects) for pair in pairs)
    text = f"Revision {held.number} of the sheet of {day} is published now. A release replaces it.\n" if held else ""
    document = {**record, "published": held.number if held else None, "suspects": sorted(suspects), "rates": rates}
    return document, _lines(record) + rows + text


def _record(case: Case) -> dict[str, Any]:
    """A document in the list, as JSON."""
    return {
        "name": case.name,
        "effective_date": case.effective_date,
        "seen_at": f"{case.seen_at:%Y-%m-%dT%H:%M:%SZ}",
        "reasons": case.reasons,
    }


def _lines(record: Mapping[str, Any]) -> str:
    """Name, day and time of a document, then each reason below."""
    seen = record["seen_at"].replace("T", " ")
    head = f"{record['name']}  {record['effective_date'] or 'no date   '}  seen {seen}"
    reasons = (click.wrap_text(text, 78, "  ", "    ") for text in record["reasons"])
    return "".join(f"{line}\n" for line in (head, *reasons))


def _figures(quote: Quote | None) -> dict[str, Any] | None:
    return {"nominal": quote.nominal, "value": literal(quote.value)} if quote else None


def _row(quote: Quote, other: Quote | None, when: str, *, is_suspect: bool) -> str:
    """A row of a sheet beside that of another one, which was `before` or will be `then`."""
    beside = f"{other.nominal:>9} {plain(other.value):>14}" if other else f"{'new' if when == 'before' else 'none':>24}"
    return f"{'!' if is_suspect else ' '} {quote.code} {quote.nominal:>9} {plain(quote.value):>14}   {when} {beside}\n"
