"""Amounts as people type them. `read` in converter.js has the same rule, and tests/amounts.json holds both to it.

Blanks and apostrophes stand between thousands. Of two different marks the last stands before the decimals. A mark that
stands more than once groups thousands. A single one does so only where a group ends and if the language groups with it;
otherwise it stands before the decimals. The currency may stand on either side, as a code, a sign or a word; any other
word could be a thousand or another currency, so such an amount is refused.
"""

from __future__ import annotations

import re
from decimal import Decimal

from ratesvc.render.language import Language

MOST_DIGITS = 15
LONGEST = 200
"""Characters; nobody types more."""
_BLANK = r"[\s'\u2019\u2018\u02bc`\u00b4]"
_TYPED = re.compile(
    rf"([^0-9.,]*[^\W\d_]\.?\s*|[^0-9.,]*)([.,]?[0-9](?:(?:[0-9.,]|{_BLANK})*[0-9])?[.,]?)((?:[^0-9.,][^0-9]*)?)"
)
_PLAIN = re.compile(rf"([0-9]*|[0-9]{{1,3}}(?:{_BLANK}[0-9]{{3}})+)(?:[.,]([0-9]{{0,10}}))?")
_OTHER_SIGNS = {"RUB": ("\u20bd", "р")}


def read_amount(text: str, code: str, language: Language) -> Decimal | None:
    """The amount of a currency in a text of the language, or None if it cannot be read for certain."""
    typed = _TYPED.fullmatch(text.strip()) if len(text) <= LONGEST else None
    if not typed or not all(_names(word, code, language) for word in re.findall(r"[^\s.,]+", f"{typed[1]} {typed[3]}")):
        return None
    plain = _PLAIN.fullmatch(_ungrouped(typed[2], language.group_mark))
    whole = re.sub(_BLANK, "", plain[1]) if plain else ""
    return Decimal(f"{whole}.{plain[2] or ''}") if plain and len(whole) <= MOST_DIGITS else None


def _ungrouped(number: str, group_mark: str) -> str:
    """The number without the points or commas that group its thousands."""
    for group, mark in (",.", ".,"):
        if re.fullmatch(rf"[1-9][0-9]{{0,2}}(\{group}[0-9]{{3}})+(\{mark}[0-9]*)?", number):
            is_certain = mark in number or number.count(group) > 1
            return number.replace(group, "") if is_certain or group == group_mark else number
    return number


def _names(word: str, code: str, language: Language) -> bool:
    """Whether a word is the currency's code or sign, or a form or the beginning of a word of its name."""
    word = word.lower()
    return word in {code.lower(), *signs(code, language)} or any(
        (len(word) > 1 and name.startswith(word)) or word.startswith(name[: max(2, len(name) - 1)])
        for name in re.findall(r"[^\s()-]+", language.currency(code).lower())
    )


def signs(code: str, language: Language) -> tuple[str, ...]:
    """The signs of a currency: CLDR's, also without its letters, such as CA$ and $; of the rouble, the usual two."""
    symbol = language.symbol(code).lower()
    return tuple(dict.fromkeys((symbol, re.sub("[a-z]", "", symbol) or symbol, *_OTHER_SIGNS.get(code, ()))))
