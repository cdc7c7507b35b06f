"""Query strings, strictly: unknown, repeated and malformed parameters are refused, and the text names the way out."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import date
from decimal import Decimal
from difflib import get_close_matches

from aiohttp import web

from ratesvc.errors import BadRequest
from ratesvc.render.language import DEFAULT, Language, language
from ratesvc.render.openapi import parameters

_TOLERATED = re.compile(r"_|utm_[a-z_]{1,30}")
_CODE = re.compile(parameters.CODE)
_CODES = re.compile(parameters.CODES)
_TAG = re.compile(parameters.TAG)
_DAY = re.compile(parameters.DAY)
_AMOUNT = re.compile(parameters.AMOUNT)
_COUNT = re.compile(parameters.COUNT)


class Query:
    """The parameters of one request, each at most once."""

    def __init__(self, request: web.Request, known: Collection[str]) -> None:
        """Raises BadRequest for a parameter that is not `known`, and for a repeated one."""
        self._values: dict[str, str] = {}
        for name, value in request.query.items():
            if _TOLERATED.fullmatch(name):
                continue
            if name not in known:
                raise BadRequest(_unknown(name, known))
            if name in self._values:
                raise BadRequest(f"{name} stands more than once.")
            self._values[name] = value

    def codes(self) -> tuple[str, ...] | None:
        """`codes=USD,EUR`: upper-cased, in the order asked for, each once; None when not given."""
        text = self._values.get("codes")
        if text is None:
            return None
        if len(text) > parameters.MOST_CODES_LENGTH or not _CODES.fullmatch(text):
            raise BadRequest("codes takes ISO 4217 codes separated by commas, such as USD,EUR.")
        return tuple(dict.fromkeys(part.strip().upper() for part in text.split(",")))

    def code(self, name: str, default: str) -> str:
        """One ISO 4217 code."""
        text = self._values.get(name, default)
        if not _CODE.fullmatch(text):
            raise BadRequest(f"{name} takes one ISO 4217 code, such as {default}.")
        return text.upper()

    def day(self, name: str, default: date) -> date:
        """One day, YYYY-MM-DD."""
        text = self._values.get(name)
        return default if text is None else day(text)

    def choice(self, name: str, choices: Collection[str], default: str) -> str:
        """One of a few words, or the default when not given."""
        text = self._values.get(name)
        if text is None:
            return default
        if text not in choices:
            raise BadRequest(f"{name} takes one of {', '.join(choices)}.")
        return text

    def has(self, name: str) -> bool:
        """Whether it was given."""
        return name in self._values

    def language(self, name: str = "lang") -> Language:
        """`lang=ru`; English when not given. Raises BadRequest for one that CLDR does not know."""
        text = self._values.get(name, DEFAULT)
        found = language(text) if _TAG.fullmatch(text) else None
        if found is None:
            raise BadRequest(f"{name} takes a language tag such as en, ru or pt-BR.")
        return found

    def amount(self) -> Decimal:
        """`amount=100.50`: up to 15 digits before the point and 10 after it; 1 when not given."""
        text = self._values.get("amount", "1")
        if not _AMOUNT.fullmatch(text):
            raise BadRequest(f"amount takes {parameters.AMOUNT_IN_WORDS}.")
        return Decimal(text)

    def within(self, name: str, bounds: range, default: int) -> int:
        """A whole number within bounds."""
        number = self.count(name)
        if number is None:
            return default
        if number not in bounds:
            raise BadRequest(f"{name} takes a number from {bounds.start} to {bounds.stop - 1}.")
        return number

    def count(self, name: str) -> int | None:
        """A number from 1 to 9999."""
        text = self._values.get(name)
        if text is None:
            return None
        if not _COUNT.fullmatch(text):
            raise BadRequest(f"{name} takes a number from 1 to 9999.")
        return int(text)


def one_code(text: str) -> str:
    """USD, in a path. Raises BadRequest."""
    if not _CODE.fullmatch(text):
        raise BadRequest("A currency is written as its ISO 4217 code, such as USD.")
    return text.upper()


def day(text: str) -> date:
    """YYYY-MM-DD. Raises BadRequest."""
    try:
        if _DAY.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise BadRequest("A day is written YYYY-MM-DD and must exist.")


def _unknown(name: str, known: Collection[str]) -> str:
    near = get_close_matches(name[:40], known, n=1)
    hint = f" Did you mean {near[0]}?" if near else f" Known: {', '.join(known)}." if known else ""
    return f"There is no parameter {name[:40]!r}.{hint}"
