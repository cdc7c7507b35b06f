"""`ratesvc backfill`, `quarantine` and `withdraw`: fetch history, compare it with the Bank, decide about sheets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from operator import attrgetter
from typing import Any

import click
import msgspec

from ratesvc.bank.admission import Recent, assess
from ratesvc.bank.xml import parse_daily
from ratesvc.commands.running import follow, opened, require_data
from ratesvc.config import Settings
from ratesvc.domain.rates import FIRST_DAY, Quote, plain
from ratesvc.errors import BadDocument, RatesvcError
from ratesvc.render.json import encode, literal
from ratesvc.service.app import Service
from ratesvc.service.backfill import Progress
from ratesvc.service.refresh import Cycle
from ratesvc.storage.records import Case

Report = tuple[Any, str | bytes]
"""The same as JSON for a program and as text for a person."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A day on which the held figures differ from the Bank's. None means no record, `held_back` not admitted."""

    code: str
    day: date
    held: str | None
    bank: str | None
    held_back: bool = False


async def backfill(settings: Settings, since: date | None, until: date | None, *, as_json: bool, demo: bool) -> None:
    """Fetch what is missing and print what is held. Raises RatesvcError."""
    async with opened(settings, demo=demo, creates=True) as service:
        place = f" in {service.engine.folder.path.resolve()}" if service.engine else ""
        await follow(service.backfill(since or FIRST_DAY, until), as_json=as_json)
        coverage, count = service.history.coverage, len(service.history.days)
    if coverage is None:
        raise RatesvcError("the Bank has no sheets in that range")
    held = {"sheets": count, "since": coverage.since, "until": coverage.until, "unconfirmed": coverage.unconfirmed}
    waiting = len(coverage.unconfirmed)
    which = f"all but {waiting} that wait (ratesvc quarantine list)" if waiting else "every one"
    words = f"Held{place}: {count} sheets, {which} from {coverage.since} to {coverage.until}."
    click.echo(msgspec.json.encode(held) if as_json else words)


async def verify(settings: Settings, *, repair: bool, as_json: bool, demo: bool) -> None:
    """Print what differs from the Bank; `repair` takes the Bank's sheets of these days, as far as they are admitted.

    Raises RatesvcError if anything differs in the end.
    """
    unrepaired: dict[date, str] = {}
    require_data(settings, demo=demo)
    async with opened(settings, demo=demo) as service:
        found = differences = await follow(differences_of(service), as_json=as_json)
        if repair:
            for day in sorted({difference.day for difference in found}):
                cycle = await service.fetch(day)
                differences = [one for one in found if one.day == day and _is_left(one, service)]
                if differences:
                    unrepaired[day] = _why_left(differences, cycle)
            differences = [difference for difference in found if _is_left(difference, service)]
    for difference in differences:
        click.echo(msgspec.json.encode(difference) if as_json else _in_words(difference))
    for day, why in unrepaired.items():
        click.echo(msgspec.json.encode({"unrepaired": day, "why": why}) if as_json else f"{day} is not repaired: {why}")
    if as_json:
        click.echo(msgspec.json.encode({"differences": len(differences)}))
    elif not differences:
        click.echo(f"{_counted(found)} repaired." if found else "No difference.")
    if differences:
        raise RatesvcError(_counted(differences))


def _counted(differences: Sequence[Difference]) -> str:
    return f"{len(differences)} difference{'s' if len(differences) > 1 else ''}"


async def differences_of(service: Service) -> AsyncIterator[Progress | Difference]:
    """Ask for everything in the coverage again and report what differs. Nothing is changed."""
    coverage = service.history.coverage
    if coverage is None:
        raise RatesvcError("there is no complete history to verify yet; run a backfill first")
    columns = sorted(filter(attrgetter("days"), service.history.every_column()), key=attrgetter("currency.code"))
    for number, column in enumerate(columns):
        currency = column.currency
        yield Progress(number, len(columns), f"{currency.code} ({currency.cbr_id})")
        await asyncio.sleep(service.settings.cbr.backfill_gap_seconds)
        records = await service.client.dynamic(currency.cbr_id, coverage.since, coverage.until)
        bank = {record.effective_date: _figure(record.nominal, record.value) for record in records}
        days = [day for ordinal in column.days if (day := date.fromordinal(ordinal)) in coverage]
        held = {day: _figure(*record) for day in days if (record := column.record(day))}
        for day in sorted(held.keys() | bank.keys()):
            if held.get(day) != bank.get(day):
                yield Difference(column.named(day).code, day, held.get(day), bank.get(day), day in coverage.unconfirmed)
    yield Progress(len(columns), len(columns), "nothing more")


def _is_left(difference: Difference, service: Service) -> bool:
    records = (column.record(difference.day) for column in service.history.columns(difference.code))
    return difference.bank != next((_figure(*record) for record in records if record), None)


def _why_left(differences: Sequence[Difference], cycle: Cycle) -> str:
    """Why the document of a day did not end its differences."""
    if cycle.failure:
        return str(cycle.failure)
    if held_back := next(iter(cycle.held_back), None):
        return f"its document is held back: {held_back}"
    day = differences[0].day
    if all(difference.bank is None for difference in differences):
        return f"the Bank has no sheet of that day any more; ratesvc withdraw {day} takes ours back"
    return "the Bank's document says what is held, and its series do not"


def _figure(nominal: int, value: Decimal) -> str:
    return f"{value} for {nominal}"


def _in_words(difference: Difference) -> str:
    held = f"held {difference.held or 'nothing'}"
    held = "not admitted (ratesvc quarantine list)" if difference.held_back else held
    return f"{difference.code} {difference.day}: {held}, the Bank has {difference.bank or 'nothing'}"


# Quarantine


async def decide(settings: Settings, action: str, name: str | None, *, yes: bool, as_json: bool) -> None:
    """Do one action on the quarantine and print a report. A service may run meanwhile. Raises RatesvcError."""
    require_data(settings, demo=False)
    async with opened(settings, demo=False) as service:
        document, text = await _done(service, action, name, yes=yes, as_json=as_json)
        click.echo(encode(document) if as_json else text, nl=as_json)


async def _done(service: Service, action: str, name: str | None, *, yes: bool, as_json: bool) -> Report:
    if name is None:
        records = list(map(_record, await service.quarantine.cases()))
        if not records:
            click.echo("Nothing waits.", err=True)
        return records, "".join(map(_line, records))
    case = await service.quarantine.case(name)
    if action == "show":
        return _shown(service, case)
    if action == "raw":
        return None, case.raw
    if action == "release":
        shown, text = _shown(service, case)
        if "refused" not in shown:
            _ask("Publish it?", text, yes=yes, as_json=as_json)
        day, number = (await service.release(case.name)).key
        return {"effective_date": day, "revision": number}, f"Published: the sheet of {day}, revision {number}.\n"
    await service.quarantine.drop([case.name])
    return {"dropped": case.name}, f"Dropped: {case.name}.\n"


def _ask(question: str, text: str, *, yes: bool, as_json: bool) -> None:
    """Show what is about to happen, and go on only if a person says yes. A report in JSON shows it at the end."""
    if not as_json:
        click.echo(text, nl=False)
    if not yes:
        click.confirm(question, abort=True, err=True)


async def withdraw(settings: Settings, day: date, *, yes: bool, as_json: bool) -> None:
    """Withdraw the published sheet of a day and print a report. A service may run meanwhile. Raises RatesvcError."""
    require_data(settings, demo=False)
    async with opened(settings, demo=False) as service:
        withdrawal, now = service.withdrawal(day), service.history.of_date(day)
        assert now  # noqa: S101 -- otherwise there is nothing to withdraw
        has_before = bool(withdrawal.sheet.quotes)
        then = withdrawal if has_before else service.history.nearest_before(day)
        outcome = (
            "The revision before it holds again" if has_before else "The day has no sheet then, that before goes on"
        )
        pairs = [(quote, then.sheet.by_code.get(quote.code) if then else None) for quote in now.sheet.quotes]
        rows = "".join(_row(*pair, "then", is_suspect=False) for pair in pairs)
        _ask(
            "Withdraw it?",
            f"Revision {now.number} of the sheet of {day} goes. {outcome}:\n{rows}",
            yes=yes,
            as_json=as_json,
        )
        await service.withdraw(withdrawal)
    document = {"effective_date": day, "withdrawn": now.number, "revision": withdrawal.number}
    click.echo(encode(document) if as_json else f"Withdrawn: the sheet of {day}, revision {now.number}.")


def _shown(service: Service, case: Case) -> tuple[dict[str, Any], str]:
    """The reasons, and the figures with those of the sheet before it; suspect currencies are marked."""
    record = _record(case)
    try:
        sheet = parse_daily(case.raw)
    except BadDocument as error:
        return {**record, "refused": str(error)}, f"{_line(record)}It cannot be released: {error}\n"
    history, day = service.history, sheet.effective_date
    before, held = history.nearest_before(day), history.of_date(day)
    withdrawn = [revision.sheet for revision in history.standing(day)[1]]
    suspects = assess(sheet, Recent.before(history, day), held.sheet if held else None, withdrawn).suspects
    pairs = [(quote, before.sheet.by_code.get(quote.code) if before else None) for quote in sheet.quotes]
    rates = {quote.code: {"now": _figures(quote), "before": _figures(earlier)} for quote, earlier in pairs}
    rows = "".join(_row(*pair, "before", is_suspect=pair[0].code in suspects) for pair in pairs)
    return {**record, "suspects": sorted(suspects), "rates": rates}, _line(record) + rows


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


def _row(quote: Quote, other: Quote | None, when: str, *, is_suspect: bool) -> str:
    """A row of a sheet beside that of another one, which was `before` or will be `then`."""
    beside = f"{other.nominal:>9} {plain(other.value):>14}" if other else f"{'new' if when == 'before' else 'none':>24}"
    return f"{'!' if is_suspect else ' '} {quote.code} {quote.nominal:>9} {plain(quote.value):>14}   {when} {beside}\n"
