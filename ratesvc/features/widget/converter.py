"""What the converter of a widget computes with in the browser."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ratesvc.domain.rates import InForce, minor_places, plain
from ratesvc.features.site.amounts import signs
from ratesvc.features.site.language import Language
from ratesvc.render.json import encode


def converter_data(shown: Sequence[InForce], codes: Iterable[str], language: Language) -> str:
    """JSON for the attribute `data` of <cbr-converter>: value, nominal, decimals of amounts and signs of each currency.

    The roubles come last. `lang` is the language of our sentences if it is not the reader's. Of two sheets the first is
    today's, and the words of the result name its day, because the rows show tomorrow's, too.
    """
    answer = shown[0]
    quotes = [quote for code in codes if (quote := answer.revision.sheet.by_code.get(code))]
    prices = {**{quote.code: (plain(quote.value), quote.nominal) for quote in quotes}, "RUB": ("1", 1)}
    rates = {code: [*price, minor_places(code), signs(code, language)] for code, price in prices.items()}
    words = {"swap": language.say("Swap the currencies"), "number": language.say("Enter a number")}
    if not language.foreign:
        words |= {"amount": language.say("Amount"), "result": language.say("Result")}
        words |= {"from": language.say("From currency"), "to": language.say("To currency")}
    if len(shown) > 1:
        day = language.shortest_day(answer.revision.effective_date)
        said = f"{words['result']} {language.say('as of {day}', day=day)}" if "result" in words else day
        words["result"] = said
    document = {
        "rates": rates,
        "names": {code: language.currency(code) for code in rates},
        "words": words,
        "lang": language.foreign,
        "group": language.group_mark,
        "mark": language.decimal_mark,
    }
    return encode(document).decode()
