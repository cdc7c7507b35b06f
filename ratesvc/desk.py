"""What a person reads, and decides, about the documents in quarantine."""

from __future__ import annotations

from ratesvc.cbr.documents import parse_daily
from ratesvc.errors import BadDocument
from ratesvc.quarantine import Case
from ratesvc.rates import plain
from ratesvc.service import Service


async def listed(service: Service) -> str:
    """One line for each, the newest first."""
    return "".join(map(_line, await service.quarantine.cases()))


async def shown(service: Service, name: str) -> str:
    """The reasons, and the figures beside those of the sheet before it."""
    case = await service.quarantine.case(name)
    try:
        sheet = parse_daily(case.raw)
    except BadDocument as error:
        return f"{_line(case)}It cannot be released: {error}\n"
    before = service.history.before_near(sheet.effective_date)
    rows = []
    for quote in sheet.quotes:
        earlier = before.sheet.by_code.get(quote.code) if before else None
        was = f"{earlier.nominal:>9} {plain(earlier.value):>14}" if earlier else f"{'new':>24}"
        rows.append(f"  {quote.code} {quote.nominal:>9} {plain(quote.value):>14}   before {was}\n")
    return _line(case) + "".join(rows)


async def raw(service: Service, name: str) -> bytes:
    """The Bank's own bytes."""
    return (await service.quarantine.case(name)).raw


async def released(service: Service, name: str) -> str:
    """Publish it."""
    revision = await service.release(name)
    return f"Published: the sheet of {revision.effective_date}, revision {revision.number}.\n"


async def dropped(service: Service, name: str) -> str:
    """Forget it."""
    case = await service.quarantine.case(name)
    await service.quarantine.drop([case.name])
    return f"Dropped: {case.name}.\n"


def _line(case: Case) -> str:
    effective = case.effective_date or "no date   "
    return f"{case.name}  {effective}  seen {case.seen_at:%Y-%m-%d %H:%M:%S}Z  {'; '.join(case.reasons)}\n"
