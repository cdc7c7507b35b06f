"""The numbered revisions of one day: how a stored one is added to those held, and which of them stand. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ratesvc.domain.rates import Revision


def add(numbers: dict[int, Revision], stored: Revision) -> None:
    """Add a stored revision to those of its day, under its number.

    A replica that was without Redis may hold another one of that number. Ours becomes the next then: of our 2 and the
    stored 2 the stored one stays 2, and ours is 3. It goes if the stored ones say the same, or were fetched after it.
    """
    ours = numbers.get(stored.number)
    numbers[stored.number] = stored
    if ours is None:
        return
    last = numbers[max(numbers)]
    is_said = ours.sheet.says_the_same_as(stored.sheet) or ours.sheet.says_the_same_as(last.sheet)
    if not is_said and ours.fetched_at >= last.fetched_at:
        numbers[last.number + 1] = replace(ours, number=last.number + 1)


def standing_and_withdrawn(revisions: Iterable[Revision]) -> tuple[list[Revision], list[Revision]]:
    """The revisions of a day that stand, and those that were withdrawn and not released since; oldest first.

    Each withdrawal takes back the last revision that stands.
    """
    standing, withdrawn = list[Revision](), list[Revision]()
    for revision in sorted(revisions, key=lambda one: one.number):
        if not revision.is_withdrawal:
            # With the same figures it only has other flags: a withdrawal must not bring them back.
            if standing and standing[-1].sheet.says_the_same_as(revision.sheet):
                standing.pop()
            standing.append(revision)
        elif standing:
            withdrawn.append(standing.pop())
    released = [one.sheet for one in standing]
    return standing, [one for one in withdrawn if not any(one.sheet.says_the_same_as(sheet) for sheet in released)]
