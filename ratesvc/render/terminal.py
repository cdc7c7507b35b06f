"""Rates in a terminal: a table whose changes can be read without colour, and whose figures no width cuts."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from ratesvc.domain.rates import REDENOMINATION, ROUBLE, InForce, unit_rates
from ratesvc.render.language import NOTHING, OLD_ROUBLES, PLACES, Language

_BOLD, _GREEN, _RED, _PLAIN = (f"\x1b[{number}m" for number in (1, 32, 31, 0))


def rates(answer: InForce, language: Language, codes: Sequence[str], width: int, *, demo: bool) -> str:
    """The sheet in force on the requested day, `codes` in that order, with ANSI colours.

    Where the table does not fit into `width` cells, each name stands above its figures.
    """
    say, sheet = language.say, answer.revision.sheet
    units = unit_rates(sheet, answer.previous.sheet if answer.previous else None)
    rows = [(say("Code"), say("Currency"), say("Nominal"), say("Value, RUB"), say("Change"))]
    for code in codes:
        quote = ROUBLE if code == "RUB" else sheet.by_code.get(code)
        figures = NOTHING, NOTHING, NOTHING
        if quote:
            change = units[code].change
            percent = change.percent(PLACES) if change else None
            sign = "▲" if percent and percent > 0 else "▼" if percent else " "
            moved = NOTHING if percent is None else f"{sign} {language.signed(percent, PLACES)} %"
            figures = (language.whole(quote.nominal), language.number(quote.value, PLACES), moved)
        rows.append((code, language.currency(code, quote.nominal if quote else None), *figures))
    head, *lines = _aligned(rows, left=2)
    if _cells(head) > width:
        figures_only = _aligned([row[2:] for row in rows[1:]], left=0)
        lines = [f"{row[0]} {row[1]}\n{line}" for row, line in zip(rows[1:], figures_only, strict=True)]
        head = ""
    heading = "\n".join(filter(None, (title(answer, language, "RUB", demo=demo), head)))
    return "\n".join([f"{_BOLD}{heading}{_PLAIN}", *map(_coloured, lines)])


def _coloured(line: str) -> str:
    """With the change, which is last, in its colour."""
    return re.sub("▲.*", f"{_GREEN}\\g<0>{_PLAIN}", re.sub("▼.*", f"{_RED}\\g<0>{_PLAIN}", line))


def _aligned(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Lines of columns, of which the first `left` are aligned to the left."""
    widths = [max(map(_cells, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        blanks = [" " * (width - _cells(text)) for text, width in zip(row, widths, strict=True)]
        cells = [text + blank for text, blank in zip(row[:left], blanks, strict=False)]
        cells += [blank + text for text, blank in zip(row[left:], blanks[left:], strict=True)]
        lines.append("  ".join(cells))
    return lines


def _cells(text: str) -> int:
    """How many cells of a terminal a text takes: Chinese characters take two; marks and signs of direction, none."""
    seen = (character for character in text if unicodedata.category(character) not in ("Mn", "Me", "Cf"))
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in seen)


def title(answer: InForce, language: Language, *codes: str, demo: bool) -> str:
    """The name of the sheet; a second line if a newer sheet is missing, or if a rouble among `codes` is an old one."""
    effective, requested = language.day(answer.revision.effective_date), language.day(answer.requested_date)
    title = language.say("Bank of Russia, {day}", day=effective)
    if effective != requested:
        title = language.say("Bank of Russia, {day}, in force on {asked}", day=effective, asked=requested)
    badge = f" ({language.say('demo')})" if demo else ""
    stale = "\n" + language.say("Not updated since {day}.", day=effective) if answer.stale else ""
    is_old = "RUB" in codes and answer.revision.effective_date < REDENOMINATION
    return title + badge + stale + ("\n" + language.say(OLD_ROUBLES) if is_old else "")
