"""The parameters of a request, checked against the contract."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import date
from difflib import get_close_matches
from typing import Any

from aiohttp import web
from multidict import MultiMapping

from ratesvc.domain.rates import InForce
from ratesvc.domain.workdays import iso_day
from ratesvc.errors import (
    BadRequest,
    BeforeHistory,
    NotEmbeddable,
    NotYetSet,
    TooManyPoints,
    UnknownCurrency,
    UnknownRevision,
)
from ratesvc.render.language import Language, language
from ratesvc.render.openapi import query_parameters
from ratesvc.service.app import Service

DAYS = ("today", "next")
"""Days by name: today in Moscow, and the day from which the announced sheet is in force."""
LATEST = ("latest", "current", "now", "newest")
"""What other APIs call today."""
OTHER_NAMES = {
    **dict.fromkeys(("from", "start", "start_date", "start_at", "startperiod"), ("since",)),
    **dict.fromkeys(("to", "end", "end_date", "end_at", "endperiod"), ("until",)),
    **dict.fromkeys(("symbols", "currencies", "quotes"), ("codes", "to")),
    "currency": ("code", "codes", "from"),
    **dict.fromkeys(("base", "base_currency", "source"), ("from",)),
    **dict.fromkeys(("quote", "target", "quote_currency"), ("quote_currency", "to")),
    "day": ("date",),
}
"""What other APIs call a parameter in small letters, and what it may be called here."""
OF_DIRECTION = ("base", "base_currency", "source", "from", "to", "symbols", "quotes")
DIRECTION = (
    " Here a rate is the price of one unit of a code in quote_currency: what base=USD with EUR is elsewhere, "
    "0.9651 say, is here USD with quote_currency=EUR."
)
"""Other APIs ask for a base and get the prices of one unit of it. A mere change of the name would invert the rate."""

_TOLERATED = re.compile(r"_|utm_[a-z_]{1,30}")
_CODE = re.compile(r"[A-Za-z]{3}")
_NUMBER = re.compile(r"[1-9][0-9]{0,3}")


class StrictParams:
    """The query parameters of one request, each at most once, checked against the contract and with its defaults."""

    def __init__(self, given: web.Request | MultiMapping[str], path: str) -> None:
        """`given` is a request, or the query of an address that a request contains; `path` is one of the contract.

        Raises BadRequest for unknown, repeated and malformed parameters.
        """
        query = given.query if isinstance(given, web.Request) else given
        self._known = query_parameters(path)
        self._values: dict[str, str] = {}
        for name, value in query.items():
            if _TOLERATED.fullmatch(name):
                continue
            if name not in self._known:
                raise BadRequest(f"There is no parameter {name[:40]!r}.{_hint(name, path, self._known)}", name, value)
            if name in self._values:
                raise BadRequest(f"{name} is given twice.", name, value)
            self._values[name] = value
        for name, part in self._known.items():
            if name in self._values:
                _check(part, self._values[name])
            elif part.get("required"):
                raise BadRequest(f"{name} is missing. It takes {part['x-takes']}.", name)

    def has(self, name: str) -> bool:
        """Whether the parameter is given."""
        return name in self._values

    def sets(self, name: str) -> bool:
        """Whether the parameter has another value than its default, which many generated clients send."""
        return self.has(name) and self.text(name) != str(self._known[name]["schema"].get("default", ""))

    def text(self, name: str) -> str:
        """The value or its default; empty without both, and where the address has no such parameter."""
        default = self._known[name]["schema"].get("default", "") if name in self._known else ""
        return self._values.get(name, str(default))

    def code(self, name: str) -> str:
        """One ISO 4217 code, in capital letters."""
        return self.text(name).upper()

    def codes(self) -> tuple[str, ...] | None:
        """`codes=USD,EUR` or its default, in capital letters, in the given order, each once; None without both."""
        return self.code_list("codes") if self.text("codes") else None

    def code_list(self, name: str) -> tuple[str, ...]:
        """The codes of `name=USD,EUR` or its default, as `codes` gives them."""
        return tuple(dict.fromkeys(part.strip().upper() for part in self.text(name).split(",")))

    def number(self, name: str) -> int:
        """A whole number."""
        return int(self.text(name))

    def malformed(self, name: str) -> BadRequest:
        """The refusal of a value that only its handler can read."""
        return _malformed(self._known[name], self.text(name))

    def language(self, name: str = "lang") -> Language:
        """`lang=ru`, English where the address has no such parameter. Raises BadRequest if CLDR does not know it."""
        if spoken := language(self.text(name) or "en"):
            return spoken
        raise self.malformed(name)

    def given_language(self, name: str) -> Language | None:
        """The language of a table's numbers; None when not given. Raises what `language` raises."""
        return self.language(name) if self.has(name) else None


def _check(parameter: dict[str, Any], text: str) -> None:
    name, schema = parameter["name"], parameter["schema"]
    least, most = schema.get("minimum", 0), schema.get("maximum", 0)
    if "enum" in schema and text not in schema["enum"]:
        raise BadRequest(f"{name} takes one of {', '.join(schema['enum'])}.", name, text)
    if most and not (_NUMBER.fullmatch(text) and least <= int(text) <= most):
        raise BadRequest(f"{name} takes a number from {least} to {most}.", name, text)
    if schema.get("format") == "day" and text not in DAYS:
        day_of(text, name)
    is_too_long = len(text) > schema.get("maxLength", len(text))
    if is_too_long or not re.fullmatch(schema.get("pattern", ".*"), text):
        raise _malformed(parameter, text)


def _malformed(parameter: dict[str, Any], text: str) -> BadRequest:
    return BadRequest(f"{parameter['name']} takes {parameter['x-takes']}.", parameter["name"], text)


@contextmanager
def naming(parameter: str, given: str | None) -> Iterator[None]:
    """Where there is no answer for the value of a parameter, the error names both."""
    try:
        yield
    except (NotYetSet, BeforeHistory, UnknownRevision, NotEmbeddable, TooManyPoints) as error:
        error.parameter, error.given = parameter, given
        raise


def require_known(code: str, service: Service, parameter: str = "codes") -> str:
    """The code itself. Raises UnknownCurrency if no held sheet has ever had it, NoSheet while none is held."""
    if code != "RUB" and code not in service.history.codes():
        service.require_publication()
        raise UnknownCurrency(code, parameter=parameter)
    return code


def check_listed(answer: InForce, **codes: Collection[str]) -> None:
    """Raise UnknownCurrency if the sheet lacks all currencies of one parameter. Beside others they are `missing`."""
    for parameter, named in codes.items():
        if named and len(absent := answer.revision.sheet.lacks(named)) == len(named):
            raise UnknownCurrency(absent[0], effective=answer.revision.effective_date, parameter=parameter)


def one_code(text: str) -> str:
    """USD, in a path. Raises BadRequest."""
    if not _CODE.fullmatch(text):
        raise BadRequest("Give a currency as its ISO 4217 code, such as USD.", "code", text)
    return text.upper()


def day_of(text: str, name: str = "date") -> date:
    """YYYY-MM-DD. Raises BadRequest."""
    if day := iso_day(text):
        return day
    meant = " Did you mean today, as in /v1/rates/today?" if text.lower() in LATEST else ""
    if not meant and _CODE.fullmatch(code := text[:3].upper()) and not text[3:].isalnum():
        meant = f" Did you mean /v1/rates?codes={code}, or /v1/rates/today/{code}.txt?"
    raise BadRequest(f"Give an existing day as YYYY-MM-DD, or today, or next.{meant}", name, text)


def _hint(name: str, path: str, known: Collection[str]) -> str:
    """What the client probably meant by a parameter that `path` does not have."""
    asked = name.lower()
    if asked in ("date", "day") and path.startswith("/v1/rates"):
        return " The day is part of the path: /v1/rates/YYYY-MM-DD"
    if asked == "group" and path.startswith("/v1/series"):
        return " Weeks, months, quarters and years are at /v1/periods."
    meant = next((other for other in OTHER_NAMES.get(asked, ()) if other in known), "")
    if asked in OF_DIRECTION and "quote_currency" in known and meant in ("", "codes"):
        return f" Did you mean codes?{DIRECTION}" if meant else DIRECTION
    near = meant or next(iter(get_close_matches(name[:40], known, n=1)), "")
    return f" Did you mean {near}?" if near else f" Known: {', '.join(known)}." if known else ""
