"""Words and numbers in the reader's language: names, numbers and dates from CLDR, sentences from our catalogues."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from functools import cache, lru_cache
from importlib.resources import files
from io import BytesIO

from babel import Locale, UnknownLocaleError, localedata
from babel.dates import format_date, format_skeleton
from babel.messages.pofile import read_po
from babel.numbers import format_decimal, get_currency_name, get_decimal_symbol

DEFAULT = "en"
MOST_LANGUAGES = 32
MOST_NUMBERS = 1000

# CLDR 48 names special drawing rights in about half of its locales only.
_XDR = {"en": "Special Drawing Rights", "ru": "СДР (специальные права заимствования)", "zh": "特别提款权"}


class Language:
    """One reader's language; `tag` is what goes into lang=""."""

    def __init__(self, tag: str, locale: Locale) -> None:
        """Built by `language`."""
        self.tag = tag
        self.locale = locale
        self.direction = locale.text_direction
        self._sentences = _catalogue(locale)
        self._written = lru_cache(MOST_NUMBERS)(self._write)
        self.foreign = "" if self._sentences or locale.language == DEFAULT else DEFAULT
        """The language of our sentences where there is no catalogue for the reader's."""

    def __eq__(self, other: object) -> bool:
        """The same tag is the same language, however often it was made: keys of caches hold it."""
        return isinstance(other, Language) and other.tag == self.tag

    def __hash__(self) -> int:
        """Equal for equal languages."""
        return hash(self.tag)

    def say(self, sentence: str, **words: str) -> str:
        """A sentence of ours, translated where there is a catalogue, with its {words} filled in."""
        return self._sentences.get(sentence, sentence).format(**words)

    def translated(self, text: str) -> str:
        """The text itself where our sentences are English, else its translation, or nothing where there is none."""
        return self._sentences.get(text, "") if self._sentences else text

    def isolated(self, text: str) -> str:
        """The text so that its direction does not disturb its neighbours; as it is in left-to-right languages."""
        return f"\u2068{text}\u2069" if self.direction == "rtl" else text

    def currency(self, code: str, count: int | None = None) -> str:
        """The currency's name; with `count`, in the form that follows that number."""
        if code == "XDR":
            return _XDR.get(self.locale.language, _XDR[DEFAULT])
        name: str = get_currency_name(code, count=count, locale=self.locale)
        return name

    def number(self, number: Decimal, places: int) -> str:
        """With `places` decimals, more where the number has more; digits grouped, digits Latin."""
        return self._formatted(number, f"#,##0.{'0' * places}")

    def signed(self, number: Decimal, places: int) -> str:
        """The same with its sign; a true minus, and none for zero."""
        pattern = f"#,##0.{'0' * places}"
        return self._formatted(number, f"+{pattern};\u2212{pattern}" if number else pattern)

    @property
    def decimal_mark(self) -> str:
        """What stands before the decimals."""
        mark: str = get_decimal_symbol(self.locale)
        return mark

    def percent(self, number: Decimal) -> str:
        """A change of `number` per cent, with its sign, two decimals and the sign of per cent."""
        # Anii has a pattern of its own for what is below zero; ours is made of the other one.
        above_zero, _, _ = str(self.locale.percent_formats[None].pattern).partition(";")
        pattern = above_zero.replace("0", "0.00")
        return self._formatted(number.scaleb(-2), f"+{pattern};\u2212{pattern}" if number else pattern)

    def whole(self, number: int) -> str:
        """A count."""
        return self._formatted(Decimal(number), "#,##0")

    def day(self, day: date) -> str:
        """A date in words."""
        text: str = format_date(day, format="long", locale=self.locale)
        return text

    def weekday(self, day: date) -> str:
        """A date in words, with the day of the week."""
        text: str = format_date(day, format="full", locale=self.locale)
        return text

    def day_and_month(self, day: date) -> str:
        """A date for a narrow column."""
        text: str = format_skeleton("MMMd", day, locale=self.locale)
        return text

    def month(self, day: date) -> str:
        """The name of the day's month, short, as it stands alone."""
        text: str = format_skeleton("MMM", day, locale=self.locale)
        return text

    def year(self, day: date) -> str:
        """The day's year as a number."""
        text: str = format_date(day, format="yyyy", locale=self.locale)
        return text

    def _formatted(self, number: Decimal, pattern: str) -> str:
        # Equal numbers may be written with more zeros, or fewer.
        return self._written(str(number), pattern)

    def _write(self, number: str, pattern: str) -> str:
        text: str = format_decimal(number, format=pattern, locale=self.locale, decimal_quantization=False)
        return text


@lru_cache(maxsize=MOST_LANGUAGES)
def language(tag: str | None) -> Language | None:
    """The language of a BCP 47 tag, its nearest parent (pt-BR → pt), or None."""
    # Babel keeps every locale that it has read for ever, 0.4 MB each, and anyone may ask for all of them.
    if len(localedata._cache) > MOST_LANGUAGES:  # noqa: SLF001 -- it has no public way
        localedata._cache.clear()  # noqa: SLF001 -- the same
    # CLDR's root is nobody's language, and what POSIX writes behind @ is in no tag.
    parts = (tag or "").partition("@")[0].replace("_", "-").split("-")
    while parts and parts[0].lower() not in ("", "root"):
        try:
            locale = Locale.parse("-".join(parts), sep="-")
            return Language(str(locale).replace("_", "-"), locale)
        except (ValueError, UnknownLocaleError):
            parts.pop()
    return None


def language_or_default(tag: str | None) -> Language:
    """The language, or English."""
    return language(tag) or _english()


@cache
def _english() -> Language:
    return Language(DEFAULT, Locale.parse(DEFAULT))


def _catalogue(locale: Locale) -> Mapping[str, str]:
    name = "zh-Hans" if locale.language == "zh" and locale.script != "Hant" else locale.language
    source = files("ratesvc.render").joinpath("locales", f"{name}.po")
    if not source.is_file():
        return {}
    catalogue = read_po(BytesIO(source.read_bytes()), locale=locale)
    return {str(message.id): str(message.string) for message in catalogue if message.id and message.string}
