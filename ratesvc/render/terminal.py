"""Rates in a terminal: a table for rich, whose changes can be read without colour."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ratesvc.domain.rates import REDENOMINATION, InForce, unit_rates
from ratesvc.render.language import NOTHING, OLD_ROUBLES, PLACES, Language


def rates(answer: InForce, language: Language, codes: Sequence[str], *, demo: bool) -> RenderableType:
    """The sheet in force on the requested day, `codes` in that order. A narrow terminal folds names, and no figure."""
    say, sheet = language.say, answer.revision.sheet
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(say("Code"), no_wrap=True)
    table.add_column(say("Currency"), overflow="fold")
    for head in (say("Nominal"), say("Value, RUB"), say("Change")):
        table.add_column(head, no_wrap=True, justify="right")
    units = unit_rates(sheet, answer.previous.sheet if answer.previous else None)
    for code in codes:
        quote, figures = sheet.by_code.get(code), [Text(NOTHING)] * 3
        if quote:
            change = units[code].change
            moved = _percent(change.percent(PLACES), language) if change else Text(NOTHING)
            figures = [Text(language.whole(quote.nominal)), Text(language.number(quote.value, PLACES)), moved]
        table.add_row(code, language.currency(code, quote.nominal if quote else None), *figures)
    return Group(Text(title(answer, language, "RUB", demo=demo), style="bold"), table)


def _percent(percent: Decimal, language: Language) -> Text:
    sign, colour = ("▲", "green") if percent > 0 else ("▼", "red") if percent < 0 else (" ", "")
    return Text(f"{sign} {language.signed(percent, PLACES)} %", style=colour)


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
