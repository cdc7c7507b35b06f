"""Words and numbers in the reader's language: names, numbers and dates from CLDR, sentences from our catalogues.

What CLDR says stands in a file of ours, which `tools/release_languages.py` writes. A language is read from it in less
than a thousandth of a second, so no reader waits for another's.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, cast

import msgspec

from ratesvc.installed import FOLDERS

DEFAULT = "en"
TRANSLATIONS = (DEFAULT, "ru", "zh-Hans")
"""The languages of our sentences; numbers, names and dates have every language of CLDR."""
CLDR = files("ratesvc.render").joinpath("assets", "cldr", "words.msgpack")
"""Every tag in small letters with the tag that we write, and what CLDR says in that language beyond its parent."""
MOST_LANGUAGES = 32
"""So many are held at a time, 60 kB each."""
MOST_SUBTAGS = 4  # language, script, region, variant
PLACES = 4
"""The decimals of the Bank's printed values."""
NOTHING = "\u2014"
"""What stands where there is no number."""
OLD_ROUBLES = "In old roubles: 1,000 old roubles are 1 new rouble."
"""The note beside all rates in force before 1998-01-01."""
RIGHT_TO_LEFT_MARK = "\u200f"

THIN_BLANK, HARD_BLANK = "\u202f", "\u00a0"
_MESSAGE = re.compile(r'^msgid ((?:".*"\n)+)msgstr ((?:".*"\n?)+)', re.MULTILINE)

# CLDR derives it from the people instead of the country.
_WRONG_NAMES = {"ru": ("казахск", "казахстанск")}
# CLDR names special drawing rights in a fifth of its languages only.
_XDR = {"en": "special drawing rights", "ru": "СДР (специальные права заимствования)", "zh": "特别提款权"}


@dataclass(frozen=True)
class Language:
    """One reader's language; `tag` is the value of the attribute lang. `language` finds it."""

    tag: str

    @property
    def primary(self) -> str:
        """The language without script and region (BCP 47's primary subtag)."""
        return self.tag.partition("-")[0]

    @property
    def foreign(self) -> str:
        """The language of our sentences if there is no catalogue for the reader's; otherwise empty."""
        return "" if self._sentences or self.primary == DEFAULT else DEFAULT

    @property
    def _words(self) -> Mapping[str, Any]:
        return _words(self.tag)

    @property
    def _sentences(self) -> Mapping[str, str]:
        is_simplified = self.primary == "zh" and "Hant" not in self.tag
        return catalogue("zh-Hans" if is_simplified else self.primary)

    def say(self, sentence: str, **words: str) -> str:
        """A sentence of ours, translated if there is a catalogue, with its {words} filled in."""
        text = self._sentences.get(sentence, sentence).format(**words)
        # The mark in an Arabic date would move its month to the other end of an English sentence.
        return text.replace(RIGHT_TO_LEFT_MARK, "") if self.foreign else text

    def currency(self, code: str, count: int | None = None) -> str:
        """The currency's name; with `count`, a nominal of the Bank, in the form that follows that number."""
        if code == "XDR":
            return _XDR.get(self.primary, _XDR[DEFAULT])
        counted = f"{code}.{self._words['counts'].get(str(count), 'other')}"
        # CLDR writes "US Dollar", and "US dollar" after a number. Only the latter has no capitals.
        name = self._words.get(f"{code}.one" if self.primary == DEFAULT else code, self._words.get(code, code))
        name = str(name if count is None else self._words.get(counted, name))
        return name.replace(*_WRONG_NAMES.get(self.primary, ("", "")))

    def symbol(self, code: str) -> str:
        """CLDR's sign of a currency, such as CA$, or its code."""
        return str(self._words.get(f"${code}", code))

    def number(self, number: Decimal, places: int) -> str:
        """The number with `places` decimals, or more if it has more; grouped, in Latin digits."""
        more = -cast("int", number.normalize().as_tuple().exponent)
        marks = str.maketrans({",": self.group_mark, ".": self.decimal_mark})
        return f"{number:,.{max(places, more)}f}".translate(marks)

    def signed(self, number: Decimal, places: int) -> str:
        """The number with its sign: a true minus, and no sign for zero."""
        return f"{_sign(number)}{self.number(abs(number), places)}"

    @property
    def decimal_mark(self) -> str:
        """The sign before the decimals."""
        return str(self._words["marks"][1])

    @property
    def group_mark(self) -> str:
        """The sign between thousands."""
        return str(self._words["marks"][0])

    def percent(self, number: Decimal) -> str:
        """A change of `number` per cent, with its sign, two decimals and the sign of per cent."""
        return f"{_sign(number)}{self.share(abs(number))}"

    def share(self, number: Decimal) -> str:
        """`number` per cent, with two decimals and the sign of per cent."""
        return str(self._words["percent"].format(self.number(number, 2)))

    def whole(self, number: int) -> str:
        """A count."""
        return self.number(Decimal(number), 0)

    def day(self, day: date) -> str:
        """A date in words."""
        return self.date_as("day", day).replace(THIN_BLANK, HARD_BLANK)

    def roubles(self, number: str) -> str:
        """A written number with the sign of the rouble, where this language puts it."""
        return str(self._words["roubles"].format(number))

    def date_as(self, form: str, moment: date) -> str:
        """A date, or the time of day in the moment's own zone, in a form of CLDR, such as MMMd."""
        # Fields with names are lists: of the months, of the days of the week, of the hours.
        places = {**dict.fromkeys("ML", moment.month - 1), **dict.fromkeys("Ec", moment.weekday())}
        hour = moment.hour if isinstance(moment, datetime) else 0
        names = {name: of[places.get(name[0], hour)] for name, of in self._words["fields"].items()}
        return str(self._words[form].format(moment, **names))


def _sign(number: Decimal) -> str:
    return ("\u2212" if number < 0 else "+") if number else ""


def language(tag: str | None) -> Language | None:
    """The language of a BCP 47 tag, its nearest parent (pt-BR → pt), or None."""
    # Some write a POSIX modifier behind @.
    subtags = (tag or "").partition("@")[0].replace("_", "-").lower().split("-")[:MOST_SUBTAGS]
    known, _ = _cldr()
    asked = ("-".join(subtags[:length]) for length in range(len(subtags), 0, -1))
    return next((Language(known[name]) for name in asked if name in known), None)


def language_or_default(tag: str | None) -> Language:
    """The language, or English."""
    return language(tag) or Language(DEFAULT)


@cache
def _cldr() -> tuple[dict[str, str], dict[str, bytes]]:
    return msgspec.msgpack.decode(CLDR.read_bytes(), type=tuple[dict[str, str], dict[str, bytes]])


@lru_cache(maxsize=MOST_LANGUAGES)
def _words(tag: str) -> Mapping[str, Any]:
    """What CLDR says in a language: its own words over those of its parent."""
    _, packed = _cldr()
    own = msgspec.json.decode(zlib.decompress(packed[tag]), type=dict[str, Any])
    parent = tag.rpartition("-")[0]
    return {**_words(parent), **own} if parent else own


@cache
def catalogue(name: str) -> Mapping[str, str]:
    """English sentence → translation, from every `name`.po of ours and of features; empty if there is none."""
    folders = ("render", *(f"features/{feature}" for feature in FOLDERS))
    parts = [files("ratesvc").joinpath(folder, "locales", f"{name}.po") for folder in folders]
    texts = [part.read_text("utf-8") for part in parts if part.is_file()]
    messages = (map(_unquoted, found.groups()) for text in texts for found in _MESSAGE.finditer(text))
    return {sentence: translated for sentence, translated in messages if sentence and translated}


def _unquoted(lines: str) -> str:
    """The text of a message, which stands in quotes on one line or more."""
    return "".join(map(json.loads, lines.splitlines()))
