"""Rates in a terminal: a table that rich draws, with a change that reads without colour."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from ratesvc.rates import Change, InForce, plain, unit_rates
from ratesvc.render.language import Language

_SIGNS = {1: ("▲", "green"), -1: ("▼", "red"), 0: (" ", "")}


def rates(answer: InForce, language: Language, codes: Sequence[str], *, demo: bool) -> Group:
    """The sheet in force on the requested day, all of it or `codes` in that order."""
    sheet = answer.revision.sheet
    moves = unit_rates(sheet, answer.previous.sheet if answer.previous else None)
    table = Table(title=_title(answer, language, demo=demo), title_justify="left", box=None, pad_edge=False)
    table.add_column("Code")
    table.add_column("Currency", overflow="fold")
    table.add_column("Nominal", justify="right")
    table.add_column("Value, RUB", justify="right")
    table.add_column("Change", justify="right")
    for code in codes or sorted(sheet.by_code):
        row = sheet.by_code[code]
        name = language.currency(code, row.nominal)
        table.add_row(code, name, str(row.nominal), plain(row.value), _change(moves[code].change))
    if not answer.stale:
        return Group(table)
    return Group(table, Text(f"Not updated since {sheet.effective_date}: a newer sheet is missing.", style="bold"))


def _title(answer: InForce, language: Language, *, demo: bool) -> str:
    effective = answer.revision.effective_date
    held = "" if effective == answer.requested_date else f", in force on {language.day(answer.requested_date)}"
    return f"Bank of Russia, {language.day(effective)}{held}{' (demo)' if demo else ''}"


def _change(change: Change | None) -> Text:
    if change is None:
        return Text("—")
    sign, colour = _SIGNS[int(change.absolute.compare(change.absolute * 0))]
    return Text(f"{sign} {change.percent:+.4f} %", style=colour)
