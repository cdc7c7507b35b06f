"""Currency codes as people write them: which are used most, which a shell completes, and which one was meant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

MOST_USED = ("USD", "EUR", "CNY", "GBP", "JPY", "CHF", "KZT", "BYN", "TRY", "UAH", "AED", "INR")

COMPLETED = (
    *("AED", "AMD", "AUD", "AZN", "BDT", "BHD", "BOB", "BRL", "BYN", "CAD", "CHF"),
    *("CNY", "CUP", "CZK", "DKK", "DZD", "EGP", "ETB", "EUR", "GBP", "GEL", "HKD"),
    *("HUF", "IDR", "INR", "IRR", "JPY", "KGS", "KRW", "KZT", "MDL", "MMK", "MNT"),
    *("NGN", "NOK", "NZD", "OMR", "PLN", "QAR", "RON", "RSD", "RUB", "SAR", "SEK"),
    *("SGD", "THB", "TJS", "TMT", "TRY", "UAH", "USD", "UZS", "VND", "XDR", "ZAR"),
)
"""The rouble and the sheet of 25 April 2026. A shell must not wait for more; what is known, only the sheets say."""

_ENOUGH = 3


def nearest(code: str, known: Iterable[str]) -> str | None:
    """The known code that was probably meant: USE → USD, UDS → USD. None where too little agrees."""
    agreed = {one: _agreement(code, one) for one in known if abs(len(one) - len(code)) <= 1}
    # Whoever slips, slips later than in the first letter.
    found = min(agreed, key=lambda one: (-agreed[one], one[:1] != code[:1], _place(one), one), default=None)
    return found if found and agreed[found] >= _ENOUGH else None


def _agreement(one: str, other: str) -> int:
    """The letters in the same places, and those in common anywhere."""
    return sum(map(str.__eq__, one, other)) + (Counter(one) & Counter(other)).total()


def _place(code: str) -> int:
    return MOST_USED.index(code) if code in MOST_USED else len(MOST_USED)
