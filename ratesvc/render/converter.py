"""The data of <cbr-converter>: the rates of one sheet as printed, and how their reader writes numbers."""

from __future__ import annotations

from collections.abc import Iterable

from babel.numbers import get_currency_precision

from ratesvc.domain.rates import InForce, plain
from ratesvc.render.json import encode
from ratesvc.render.language import Language

NARROW = 230
"""Below this width each field has a line of its own."""


def height(width: int) -> int:
    """Pixels of the fields in a frame of this width."""
    return 140 if width >= NARROW else 236


def data(answer: InForce, codes: Iterable[str], language: Language) -> str:
    """JSON for the attribute `data`: for each currency its value, its nominal and the decimals of its amounts.

    The roubles come last. `lang` is the language of our sentences if it is not the reader's.
    """
    quotes = [quote for code in codes if (quote := answer.revision.sheet.by_code.get(code))]
    rates = {quote.code: [plain(quote.value), quote.nominal, get_currency_precision(quote.code)] for quote in quotes}
    rates["RUB"] = ["1", 1, get_currency_precision("RUB")]
    day = language.day(answer.revision.effective_date)
    ours = {} if language.foreign else {"amount": language.say("Amount"), "result": language.say("Result")}
    document = {
        "rates": rates,
        "names": {code: language.currency(code) for code in rates},
        "words": {
            **ours,
            "swap": language.say("Swap the currencies"),
            "day": language.say("Bank of Russia, {day}", day=day),
        },
        "lang": language.foreign,
        "group": language.group_mark,
        "mark": language.decimal_mark,
    }
    return encode(document).decode()
