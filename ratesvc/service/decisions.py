"""What a person decides about a sheet: to release a document from quarantine, or to withdraw a sheet."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from ratesvc.bank.admission import assess_beside
from ratesvc.bank.xml import parse_daily, with_document
from ratesvc.domain.rates import WITHDRAWAL, Revision, Sheet
from ratesvc.errors import RatesvcError
from ratesvc.service.refresh import Refresher
from ratesvc.storage.records import Case


async def release(refresher: Refresher, case: Case) -> Revision:
    """Publish a document in quarantine, because a person vouches for it.

    Raises BadDocument if it is no sheet, and what `publish` raises.
    """
    sheet, history = parse_daily(case.raw), refresher.history
    revision = history.of_date(sheet.effective_date)
    if not (revision and revision.sheet.says_the_same_as(sheet)):
        flags = (*assess_beside(history, sheet).flags, "released")
        admitted = Revision(sheet, history.next_number(sheet.effective_date), refresher.moment(), flags)
        revision = with_document(admitted, case.raw)
        await publish(refresher, revision)
    # Last, because a poll of a replica that does not hold the sheet puts it into quarantine again.
    await refresher.store.quarantine.drop([case.name])
    return revision


def withdrawal(refresher: Refresher, day: date, *flags: str) -> Revision:
    """What takes the place of a day's sheet that is withdrawn: the revision before it, or no sheet.

    Raises RatesvcError.
    """
    history = refresher.history
    standing = history.standing_revisions(day)
    if not standing:
        raise RatesvcError(f"no sheet of {day} is held")
    if len(standing) == 1 and day == history.days[0]:
        raise RatesvcError(f"no sheet before that of {day} is held, so nothing would be in force")
    before = standing[-2] if len(standing) > 1 else Revision(Sheet(day, ()), 0, refresher.moment())
    number, moment = history.next_number(day), refresher.moment()
    return replace(before, number=number, fetched_at=moment, flags=(*before.flags, WITHDRAWAL, *flags))


async def publish(refresher: Refresher, decided: Revision) -> None:
    """Store and hold a revision.

    Raises StoreUnavailable, and RatesvcError if another revision has come since the person looked.
    """
    stored = await refresher.store.put(decided, refresher.history.of_date(decided.effective_date))
    if stored != [decided]:
        day, number = stored[-1].key
        raise RatesvcError(f"revision {number} of the sheet of {day} has come meanwhile: nothing was changed")
    refresher.history.hold([decided])
