"""Words and numbers in the reader's language: names, numbers and dates from CLDR, sentences from our catalogues."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from functools import cache, lru_cache, partial
from importlib.resources import files
from io import BytesIO
from typing import Any

from babel import Locale, UnknownLocaleError, localedata
from babel.dates import format_date, format_skeleton, format_time
from babel.lists import format_list
from babel.messages.pofile import read_po
from babel.numbers import format_decimal, get_currency_name, get_currency_symbol, get_decimal_symbol, get_group_symbol

DEFAULT = "en"
TRANSLATIONS = (DEFAULT, "ru", "zh-Hans")
"""The languages of our sentences; numbers, names and dates have every language of CLDR."""
MOST_LANGUAGES = 32
MOST_SUBTAGS = 4  # language, script, region, variant
MOST_NUMBERS = 1000
PLACES = 4
"""The decimals of the Bank's printed values."""
NOTHING = "\u2014"
"""What stands where there is no number."""
OLD_ROUBLES = "In old roubles: 1,000 old roubles are 1 new rouble."
"""The note beside all rates in force before 1998-01-01."""
RIGHT_TO_LEFT_MARK = "\u200f"

_LETTERS = re.compile(r"^[A-Z]{2}(?=\W$)")
_THIN_BLANK, HARD_BLANK = "\u202f", "\u00a0"
_OF_WIDGET = {"az": "Latn", "hy": "Armn", "ka": "Geor", "kk": "Cyrl", "ky": "Cyrl", "uz": "Latn"}
"""Languages with a catalogue of the widget's words alone, and the script in which it is written."""
_NUMBER_PATTERN = re.compile(r"[#0,.]+")

# CLDR derives it from the people instead of the country.
_WRONG_NAMES = {"ru": ("казахск", "казахстанск")}
# CLDR names special drawing rights in a fifth of its languages only.
_XDR = {"en": "Special Drawing Rights", "ru": "СДР (специальные права заимствования)", "zh": "特别提款权"}


class Language:
    """One reader's language; `tag` is the value of the attribute lang."""

    def __init__(self, tag: str, locale: Locale, sentences: Mapping[str, str]) -> None:
        """Call `language` instead, which keeps languages. `sentences` are ours, translated."""
        self.tag = tag
        self.locale = locale
        self.direction = locale.text_direction
        self._sentences = sentences
        write = partial(format_decimal, locale=locale, decimal_quantization=False)
        self._written = lru_cache(MOST_NUMBERS)(write)
        self.foreign = "" if self._sentences or locale.language == DEFAULT else DEFAULT
        """The language of our sentences if there is no catalogue for the reader's; otherwise empty."""
        self.blank = "" if self._sentences and locale.language == "zh" else " "
        """The blank between two of our sentences."""

    def __eq__(self, other: object) -> bool:
        """Languages with the same tag are equal, because cache keys contain them."""
        return isinstance(other, Language) and other.tag == self.tag

    def __hash__(self) -> int:
        return hash(self.tag)

    def say(self, sentence: str, **words: str) -> str:
        """A sentence of ours, translated if there is a catalogue, with its {words} filled in."""
        text = self._sentences.get(sentence, sentence).format(**words)
        # The mark in an Arabic date would move its month to the other end of an English sentence.
        return text.replace(RIGHT_TO_LEFT_MARK, "") if self.foreign else text

    def translated(self, text: str) -> str:
        """The text itself if our sentences are English, else its translation, or nothing if it has none."""
        return self._sentences.get(text, "") if self._sentences else text

    def of_widget(self) -> Language:
        """The same language with the words of the widget, for which there are more catalogues than for pages."""
        name = self.locale.language
        is_written = (self.locale.script or _OF_WIDGET.get(name)) == _OF_WIDGET.get(name, "")
        return _of_widget(self.tag) if is_written else self

    def isolated(self, text: str) -> str:
        """The text with marks that keep its direction from its neighbours; unchanged in left-to-right languages."""
        return f"\u2068{text}\u2069" if self.direction == "rtl" else text

    def currency(self, code: str, count: int | None = None) -> str:
        """The currency's name; with `count`, in the form that follows that number."""
        if code == "XDR":
            return _XDR.get(self.locale.language, _XDR[DEFAULT])
        wrong, right = _WRONG_NAMES.get(self.locale.language, ("", ""))
        name = str(get_currency_name(code, count=count, locale=self.locale))
        return name.replace(wrong, right) if wrong else name

    def listed(self, words: Sequence[str]) -> str:
        """The words as a sentence lists them: with «and» before the last."""
        return str(format_list(words, locale=self.locale))

    def number(self, number: Decimal, places: int) -> str:
        """The number with `places` decimals, or more if it has more; grouped, in Latin digits."""
        return self._formatted(number, f"#,##0.{'0' * places}")

    def signed(self, number: Decimal, places: int) -> str:
        """The number with its sign: a true minus, and no sign for zero."""
        pattern = f"#,##0.{'0' * places}"
        return self._formatted(number, f"+{pattern};\u2212{pattern}" if number else pattern)

    @property
    def decimal_mark(self) -> str:
        """The sign before the decimals."""
        return str(get_decimal_symbol(self.locale))

    @property
    def group_mark(self) -> str:
        """The sign between thousands."""
        return str(get_group_symbol(self.locale))

    def percent(self, number: Decimal) -> str:
        """A change of `number` per cent, with its sign, two decimals and the sign of per cent."""
        # Anii has its own pattern for negative numbers. Ours is made from the positive one.
        above_zero, _, _ = str(self.locale.percent_formats[None].pattern).partition(";")
        pattern = above_zero.replace("0", "0.00")
        return self._formatted(number.scaleb(-2), f"+{pattern};\u2212{pattern}" if number else pattern)

    def whole(self, number: int) -> str:
        """A count."""
        return self._formatted(Decimal(number), "#,##0")

    def day(self, day: date) -> str:
        """A date in words."""
        return self._date(day, "long")

    def period(self, first: date, last: date) -> str:
        """Two different days for a narrow line; a common year is written once."""
        begins = "MMMd" if first.year == last.year else "yMMMd"
        days = (format_skeleton(form, day, locale=self.locale) for form, day in ((begins, first), ("yMMMd", last)))
        return " \u2013 ".join(map(str, days)).replace(_THIN_BLANK, HARD_BLANK)

    def weekday(self, day: date) -> str:
        """A date in words, with the day of the week."""
        return self._date(day, "full")

    def _date(self, day: date, form: str) -> str:
        """With hard blanks of the usual width: many fonts have no thin one."""
        return str(format_date(day, format=form, locale=self.locale)).replace(_THIN_BLANK, HARD_BLANK)

    def day_and_month(self, day: date) -> str:
        """A date for a narrow column."""
        return str(format_skeleton("MMMd", day, locale=self.locale))

    def shortest_day(self, day: date, *, has_year: bool = False) -> str:
        """A date for a line of text: in figures where the day comes first, such as 19.11; 11/19 is ambiguous."""
        year = "y" * has_year
        figures = str(format_skeleton(f"{year}Md", day, locale=self.locale))
        is_clear = re.match(rf"0?{day.day}\b", figures)
        return figures if is_clear else str(format_skeleton(f"{year}MMMd", day, locale=self.locale))

    def time(self, moment: datetime) -> str:
        """The time of day in the moment's own zone, without seconds."""
        return str(format_time(moment, format="short", tzinfo=moment.tzinfo, locale=self.locale))

    def symbols(self, codes: Sequence[str]) -> dict[str, str]:
        """CLDR's symbols, such as $ and €. Letters before a sign (CN¥) stay if two of the currencies have this sign.

        Russian has the code instead, because it writes no such letters. A mere $ is the US dollar's, asked for or not.
        """
        full = {code: str(get_currency_symbol(code, locale=self.locale)) for code in ("USD", *codes)}
        short = {code: _LETTERS.sub("", symbol) for code, symbol in full.items()}
        if self.locale.language == "ru":
            full = {code: code if short[code] != symbol else symbol for code, symbol in full.items()}
        return {code: short[code] if list(short.values()).count(short[code]) == 1 else full[code] for code in codes}

    def roubles(self, number: str) -> str:
        """A written number with the sign of the rouble, where this language puts it."""
        pattern, _, _ = str(self.locale.currency_formats["standard"].pattern).partition(";")
        return _NUMBER_PATTERN.sub(lambda _: number, pattern).replace("\u00a4", "\u20bd")

    def month(self, day: date) -> str:
        """The name of the day's month, short, as it stands alone."""
        return str(format_skeleton("MMM", day, locale=self.locale))

    def year(self, day: date) -> str:
        """The day's year as a number."""
        return str(format_date(day, format="yyyy", locale=self.locale))

    def _formatted(self, number: Decimal, pattern: str) -> str:
        # As text, because equal numbers may have more zeros or fewer.
        return str(self._written(str(number), pattern))


@lru_cache(maxsize=MOST_LANGUAGES)
def language(tag: str | None) -> Language | None:
    """The language of a BCP 47 tag, its nearest parent (pt-BR → pt), or None."""
    # CLDR's root is no language, and a tag has no POSIX modifier (behind @).
    subtags = (tag or "").partition("@")[0].replace("_", "-").split("-")[:MOST_SUBTAGS]
    if subtags[0].lower() in ("", "root"):
        return None
    try:
        locale = _locale("-".join(subtags))
    except (ValueError, UnknownLocaleError):
        return language("-".join(subtags[:-1]))
    is_simplified = locale.language == "zh" and locale.script != "Hant"
    name = "zh-Hans" if is_simplified else locale.language
    return Language(str(locale).replace("_", "-"), locale, catalogue(name))


def _locale(tag: str) -> Locale:
    """Raises ValueError and UnknownLocaleError."""
    # Babel keeps every locale, 0.4 MB each, and every name that it looked for. Anyone may ask for all of them.
    localedata.clear_caches()
    localedata.exists.cache_clear()
    return Locale.parse(tag, sep="-")


def language_or_default(tag: str | None) -> Language:
    """The language, or English."""
    return language(tag) or _english()


def key_of(shown: Any) -> Hashable:
    """A dataclass with a `language` as a key that is kept: its tag stands for the language, whose data take 0.3 MB."""
    return shown.language.tag, replace(shown, language=_english())


@cache
def _english() -> Language:
    return Language(DEFAULT, _locale(DEFAULT), {})


@lru_cache(maxsize=MOST_LANGUAGES)
def _of_widget(tag: str) -> Language:
    locale = _locale(tag)
    return Language(tag, locale, catalogue(f"widget/{locale.language}"))


def catalogue(name: str) -> Mapping[str, str]:
    """English sentence → translation, from `name`.po; empty if there is no such file."""
    source = files("ratesvc.render").joinpath("locales", f"{name}.po")
    if not source.is_file():
        return {}
    catalogue = read_po(BytesIO(source.read_bytes()))
    return {str(message.id): str(message.string) for message in catalogue if message.id and message.string}
