"""What pages, pictures and the widget say in the reader's language, beyond what rates and tables need."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from ratesvc.render import language as languages
from ratesvc.render.language import DEFAULT, HARD_BLANK, THIN_BLANK, catalogue

_LETTERS = re.compile(r"^[A-Z]{2}(?=\W$)")
_OF_WIDGET = {"az": "Latn", "hy": "Armn", "ka": "Geor", "kk": "Cyrl", "ky": "Cyrl", "uz": "Latn"}
"""Languages with a catalogue of the widget's words alone, and the script in which it is written."""


@dataclass(frozen=True)
class Language(languages.Language):
    """A reader's language. `is_of_widget` gives it the words of the widget, which has more catalogues than pages."""

    is_of_widget: bool = field(default=False, compare=False)

    @property
    def _sentences(self) -> Mapping[str, str]:
        return catalogue(f"widget/{self.primary}") if self.is_of_widget else super()._sentences

    @property
    def name(self) -> str:
        """Its own name for itself; empty if CLDR has none."""
        return str(self._words["name"])

    @property
    def direction(self) -> str:
        """ltr or rtl."""
        return str(self._words["direction"])

    @property
    def blank(self) -> str:
        """The blank between two of our sentences."""
        return "" if self._sentences and self.primary == "zh" else " "

    def translated(self, text: str) -> str:
        """The text itself if our sentences are English, else its translation, or nothing if it has none."""
        return self._sentences.get(text, "") if self._sentences else text

    def of_widget(self) -> Language:
        """The same language with the words of the widget, if there are any in its script."""
        script = next((subtag for subtag in self.tag.split("-") if len(subtag) == 4), _OF_WIDGET.get(self.primary))
        return Language(self.tag, is_of_widget=bool(script) and script == _OF_WIDGET.get(self.primary))

    def isolated(self, text: str) -> str:
        """The text with marks that keep its direction from its neighbours; unchanged in left-to-right languages."""
        return f"\u2068{text}\u2069" if self.direction == "rtl" else text

    def listed(self, words: Sequence[str]) -> str:
        """The words as a sentence lists them: with «and» before the last."""
        begun, between, ended, both = self._words["list"]
        if len(words) < 3:
            return str(both.format(*words)) if len(words) == 2 else "".join(words)
        text = begun.format(*words[:2])
        for word in words[2:-1]:
            text = between.format(text, word)
        return str(ended.format(text, words[-1]))

    def period(self, first: date, last: date) -> str:
        """Two different days for a narrow line, which may break between them; a common year is written once."""
        begins = "MMMd" if first.year == last.year else "yMMMd"
        days = self.date_as(begins, first), self.date_as("yMMMd", last)
        return f"{HARD_BLANK}\u2013 ".join(re.sub(r"\s", HARD_BLANK, day) for day in days)

    def day(self, day: date) -> str:
        """A date in words. No line ends between the day and the month that follows it."""
        return re.sub(rf"(?<=\b{day.day}) ", HARD_BLANK, super().day(day))

    def weekday(self, day: date) -> str:
        """A date in words, with the day of the week. Hard blanks have the usual width: many fonts have no thin one."""
        return self.date_as("weekday", day).replace(THIN_BLANK, HARD_BLANK)

    def day_and_month(self, day: date) -> str:
        """A date for a narrow column."""
        return self.date_as("MMMd", day)

    def shortest_day(self, day: date, *, has_year: bool = False) -> str:
        """A date for a line of text: in figures where day or year comes first, such as 19.11; 11/19 is ambiguous."""
        year = "y" * has_year
        figures = self.date_as(f"{year}Md", day)
        is_clear = re.match(rf"0?{day.day}\b|{day.year}", figures)
        return figures if is_clear else self.date_as(f"{year}MMMd", day)

    def symbols(self, codes: Sequence[str]) -> dict[str, str]:
        """CLDR's symbols, such as $ and €. Letters before a sign (CN¥) stay if two of the currencies have this sign.

        Russian has the code instead, because it writes no such letters. A mere $ is the US dollar's, asked for or not.
        """
        full = {code: self.symbol(code) for code in ("USD", *codes)}
        short = {code: _LETTERS.sub("", symbol) for code, symbol in full.items()}
        if self.primary == "ru":
            full = {code: code if short[code] != symbol else symbol for code, symbol in full.items()}
        return {code: short[code] if list(short.values()).count(short[code]) == 1 else full[code] for code in codes}


def language(tag: str | None) -> Language | None:
    """The language of a BCP 47 tag, its nearest parent (pt-BR → pt), or None."""
    spoken = languages.language(tag)
    return Language(spoken.tag) if spoken else None


def language_or_default(tag: str | None) -> Language:
    """The language, or English."""
    return language(tag) or Language(DEFAULT)


def translated() -> list[Language]:
    """The languages that pages have."""
    return list(map(language_or_default, languages.TRANSLATIONS))
