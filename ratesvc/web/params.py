"""Parsed request parameters: strictly for the API, leniently for embeddings in other sites' pages."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from datetime import date
from decimal import Decimal
from difflib import get_close_matches

from aiohttp import web
from multidict import MultiMapping

from ratesvc.errors import BadRequest
from ratesvc.render import rows, widget
from ratesvc.render.language import DEFAULT, Language, language, language_or_default

# openapi.yaml has the same patterns; tests/web/test_openapi.py compares them.
CODE = r"[A-Za-z]{3}"
CODES = rf" *{CODE} *(?:, *{CODE} *)*"
TAG = r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8}){0,3}"
AMOUNT = r"-?[0-9]{1,15}(?:\.[0-9]{1,10})?"
AMOUNT_IN_WORDS = "a decimal number such as 100 or 0.5, with a point, up to 15 digits before it and 10 after it"
MOST_CODES = 200
MOST_CODES_LENGTH = 4 * MOST_CODES
MOST_REVISIONS = 9999

LONGEST_TAG = 35
UNSEEN = frozenset("\u00a0\u00ad\u200c\u200d\u200e\u200f\u202f")
"""Honest characters that `isprintable` refuses: hard blanks, joiners in Persian and emoji, marks of direction."""

_TOLERATED = re.compile(r"_|utm_[a-z_]{1,30}")
_CODE = re.compile(CODE)
_CODES = re.compile(CODES)
_TAG = re.compile(TAG)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_AMOUNT = re.compile(AMOUNT)
_COUNT = re.compile(r"[1-9][0-9]{0,3}")


class StrictParams:
    """The parameters of one request, each at most once. Every method raises BadRequest for a malformed value."""

    def __init__(self, request: web.Request, known: Collection[str]) -> None:
        """Raises BadRequest for a parameter that is not `known`, and for a repeated one."""
        self._values: dict[str, str] = {}
        for name, value in request.query.items():
            if _TOLERATED.fullmatch(name):
                continue
            if name not in known:
                raise BadRequest(_unknown(name, known))
            if name in self._values:
                raise BadRequest(f"{name} is given twice.")
            self._values[name] = value

    def codes(self) -> tuple[str, ...] | None:
        """`codes=USD,EUR`: upper-cased, in the given order, each once; None when not given."""
        text = self._values.get("codes")
        if text is None:
            return None
        if len(text) > MOST_CODES_LENGTH or not _CODES.fullmatch(text):
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
        return default if text is None else day_of(text)

    def choice(self, name: str, choices: Collection[str], default: str) -> str:
        """One of a few words."""
        text = self._values.get(name, default)
        if self.has(name) and text not in choices:
            raise BadRequest(f"{name} takes one of {', '.join(choices)}.")
        return text

    def has(self, name: str) -> bool:
        """Whether the parameter is given."""
        return name in self._values

    def language(self, name: str = "lang") -> Language:
        """`lang=ru`; English when not given. A language that CLDR does not know is malformed, too."""
        text = self._values.get(name, DEFAULT)
        found = language(text) if _TAG.fullmatch(text) else None
        if found is None:
            raise BadRequest(f"{name} takes a language tag such as en, ru or pt-BR.")
        return found

    def amount(self) -> Decimal:
        """`amount=100.50`: up to 15 digits before the point and 10 after it; 1 when not given."""
        text = self._values.get("amount", "1")
        if not _AMOUNT.fullmatch(text):
            raise BadRequest(f"amount takes {AMOUNT_IN_WORDS}.")
        return Decimal(text)

    def within(self, name: str, bounds: range, default: int) -> int:
        """A whole number within bounds."""
        number = self.count(name) or default
        if number not in bounds:
            raise BadRequest(f"{name} takes a number from {bounds.start} to {bounds.stop - 1}.")
        return number

    def count(self, name: str) -> int | None:
        """A number from 1 to 9999; None when not given."""
        text = self._values.get(name)
        if text is None:
            return None
        if not _COUNT.fullmatch(text):
            raise BadRequest(f"{name} takes a number from 1 to {MOST_REVISIONS}.")
        return int(text)


def one_code(text: str) -> str:
    """USD, in a path. Raises BadRequest."""
    if not _CODE.fullmatch(text):
        raise BadRequest("A currency is written as its ISO 4217 code, such as USD.")
    return text.upper()


def day_of(text: str) -> date:
    """YYYY-MM-DD. Raises BadRequest."""
    try:
        if _DAY.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise BadRequest("Give an existing day in the form YYYY-MM-DD.")


def _unknown(name: str, known: Collection[str]) -> str:
    near = get_close_matches(name[:40], known, n=1)
    hint = f" Did you mean {near[0]}?" if near else f" Known: {', '.join(known)}." if known else ""
    return f"There is no parameter {name[:40]!r}.{hint}"


class LenientParams:
    """The parameters of an embedding. Unknown ones are dropped, because no site wants an error page inside."""

    def __init__(self, given: web.Request | MultiMapping[str]) -> None:
        """Of a request, or of an address that is given in one."""
        self._query: MultiMapping[str] = given.query if isinstance(given, web.Request) else given

    def text(self, name: str, longest: int) -> str:
        """The text, or empty if it is too long or has characters that cannot be shown."""
        given = self._query.get(name, "").strip()
        if len(given) > longest:
            return ""
        return given if all(character.isprintable() or character in UNSEEN for character in given) else ""

    def words(self, name: str, most: int) -> tuple[str, ...]:
        """A list separated by commas, given once or more often; each word once, in order."""
        given = ",".join(self._query.getall(name, [])).split(",", most)[:most]
        return tuple(dict.fromkeys(word.strip() for word in given if word.strip()))

    def choice(self, name: str, choices: Sequence[str]) -> str:
        """The given word if it is one of the choices, else the first of them."""
        given = self._query.get(name, "")
        return given if given in choices else choices[0]

    def number(self, name: str, default: int, allowed: range) -> int:
        """A whole number, or the default."""
        given = self._query.get(name, "")
        number = int(given) if given.isascii() and given.isdigit() and len(given) < 5 else default
        return number if number in allowed else default

    def language(self) -> Language:
        """`lang=`, its nearest parent, or English."""
        return language_or_default(self.text("lang", LONGEST_TAG))

    def look(self, themes: Sequence[str] = widget.THEMES) -> widget.Look:
        """Colours."""
        return widget.Look(self.choice("theme", themes), self.choice("updown", widget.UPDOWNS))

    def packing(self) -> widget.Packing:
        """How a fragment brings its style."""
        return widget.Packing(self.choice("style", widget.STYLES), self.choice("shadow", ("0", "1")) == "1")

    def view(self, known: Collection[str]) -> rows.View:
        """Which rows and columns to show; `known` are the currencies that there are."""
        codes = tuple(code for code in (w.upper() for w in self.words("codes", rows.MOST_CODES)) if code in known)
        columns = tuple(name for name in rows.COLUMNS if name in self.words("columns", 10))
        spark = int(self.choice("spark", [str(days) for days in rows.SPARKS]))
        return rows.View(
            tuple(dict.fromkeys(codes)) or rows.DEFAULT_CODES,
            columns or rows.DEFAULT_COLUMNS,
            self.text("heading", rows.LONGEST_HEADING),
            spark,
        )

    def day(self) -> date | None:
        """`date=2024-03-02`; None where it is not given or does not exist."""
        try:
            return date.fromisoformat(self.text("date", 10))
        except ValueError:
            return None
