"""Writes what CLDR says in every language, taken from Babel: names and signs of currencies, marks of numbers, dates.

Run it when Babel has a newer CLDR; tests/render/test_language.py fails until then. Babel would load 0.4 MB for each
language that is asked for, in 14 ms.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from itertools import product
from pathlib import Path
from typing import Any

import msgspec
from babel import Locale, UnknownLocaleError, localedata
from babel.core import get_global
from babel.dates import DateTimeFormat, match_skeleton, tokenize_pattern
from babel.numbers import get_currency_name

from ratesvc.render.language import CLDR

SKELETONS = ("MMMd", "yMMMd", "Md", "yMd", "MMM")
NUMBER = re.compile(r"[#0,.]+")
DIGITS = {
    "d": "{0.day}",
    "M": "{0.month}",
    "L": "{0.month}",
    "y": "{0.year}",
    "Y": "{0.year}",
    "H": "{0.hour}",
    "m": "{0.minute}",
}
"""Fields that Python writes itself. The others become lists: an entry for each month, day of the week or hour."""
MONTHS = [date(2026, month, 1) for month in range(1, 13)]
WEEK = [date(2026, 6, day) for day in range(1, 8)]  # from Monday on
HOURS = [datetime(2026, 1, 1, hour, 30, tzinfo=UTC) for hour in range(24)]
NOMINALS = tuple(10**power for power in range(8))


def words_of(locale: Locale) -> dict[str, Any]:
    """Everything that `Language` asks for, without what follows from other entries."""
    latin = locale.number_symbols["latn"]
    patterns = locale.list_patterns["standard"]
    words: dict[str, Any] = {
        "name": locale.display_name or "",
        "direction": locale.text_direction,
        "marks": [latin["group"], latin["decimal"]],
        "percent": number_pattern(locale.percent_formats[None].pattern),
        "roubles": number_pattern(locale.currency_formats["standard"].pattern).replace("\u00a4", "\u20bd"),
        "list": [patterns[place] for place in ("start", "middle", "end", "2")],
        "fields": {},
        "counts": {str(count): form for count in NOMINALS if (form := locale.plural_form(count)) != "other"},
    }
    dates = {"day": locale.date_formats["long"].pattern, "weekday": locale.date_formats["full"].pattern}
    dates["time"] = locale.time_formats["short"].pattern
    for skeleton in SKELETONS:
        known = locale.datetime_skeletons
        dates[skeleton] = str(known[skeleton if skeleton in known else match_skeleton(skeleton, known)])
    for name, pattern in dates.items():
        words[name] = "".join(parts_of(pattern, locale, words))
    for code in get_global("all_currencies"):
        words |= names_of(code, locale)
    return words


def number_pattern(pattern: str) -> str:
    """The positive half of a pattern of CLDR, as one of Python's."""
    return NUMBER.sub("{}", pattern.partition(";")[0])


def parts_of(pattern: str, locale: Locale, words: dict[str, Any]) -> Iterator[str]:
    """A pattern for dates as one of Python's. The names that it needs are put into `words` under its own fields."""
    for kind, value in tokenize_pattern(pattern):
        if kind == "chars":
            yield str(value).replace("{", "{{").replace("}", "}}")
            continue
        letter, length = value[0], int(value[1])
        field = letter * length
        if letter == "G":
            yield DateTimeFormat(date(2026, 1, 1), locale)[field]
        elif letter in "yY" and length == 2:
            yield "{0:%y}"
        elif letter in DIGITS and (length <= 2 or letter in "yY"):
            yield DIGITS[letter].replace("}", f":0{length}}}") if length > 1 else DIGITS[letter]
        else:
            moments: Sequence[date] = MONTHS if letter in "ML" else WEEK if letter in "Ec" else HOURS
            words["fields"][field] = [DateTimeFormat(moment, locale)[field] for moment in moments]
            yield f"{{{field}}}"


def names_of(code: str, locale: Locale) -> dict[str, str]:
    """The currency's sign and name, and the forms of the name that follow a number, where they differ from it."""
    name = get_currency_name(code, locale=locale)
    forms = {f"{code}.{locale.plural_form(count)}": get_currency_name(code, count, locale) for count in NOMINALS}
    names = {key: form for key, form in forms.items() if form != name}
    return {code: name, f"${code}": locale.currency_symbols.get(code, code), **names}


def added(words: dict[str, Any], parent: dict[str, Any]) -> dict[str, Any]:
    """What a language says otherwise than its parent, from which it takes the rest."""
    of_the_name = {key: words[key.partition(".")[0]] for key in parent.keys() - words.keys() if "." in key}
    unlike = {
        key: value for key, value in words.items() if parent.get(key, "" if "." in key else default(key)) != value
    }
    return of_the_name | unlike


def default(key: str) -> str:
    """What stands for a name or a sign that no language has."""
    return key.removeprefix("$")


def tags_of(known: dict[str, str]) -> dict[str, str]:
    """Every tag in small letters, and the language that it means. `known` are the canonical tags.

    Added are old ones (iw), those without a script that the region tells (zh-TW), and those with the usual script.
    """
    likely, aliases = get_global("likely_subtags"), get_global("language_aliases")
    own = {tag.partition("-")[0] for tag in known}
    languages = own | {name for name in aliases if aliases[name].partition("_")[0] in own}
    regions = ["", *(f"-{str(region).lower()}" for region in Locale("en").territories if region != "ZZ")]
    found = dict(known)
    for language, region in product(sorted(languages), regions):
        script = likely.get(language, "_").split("_")[1]
        for subtags in (language, f"{language}-{script}"):
            tag = f"{subtags}{region}".replace("_", "-").lower()
            if (meant := parsed(tag)) and meant != walked(tag, found):
                found[tag] = meant
    return found


def walked(tag: str, found: dict[str, str]) -> str:
    """What `language` finds for a tag."""
    while tag not in found and "-" in tag:
        tag = tag.rpartition("-")[0]
    return found.get(tag, "")


def parsed(tag: str) -> str:
    """What Babel finds for it."""
    try:
        return str(Locale.parse(tag, sep="-")).replace("_", "-")
    except (ValueError, UnknownLocaleError):
        return ""


def main() -> None:
    """Write the file."""
    tags = sorted(name for name in localedata.locale_identifiers() if name != "root")
    whole: dict[str, dict[str, Any]] = {"": {}}
    written = {}
    for tag in tags:
        parent = tag.rpartition("_")[0]
        whole[tag] = words_of(Locale.parse(tag))
        own = msgspec.json.encode(added(whole[tag], whole[parent]), order="sorted")
        written[tag.replace("_", "-")] = zlib.compress(own, 9)
        localedata.clear_caches()
    known = tags_of({tag.lower(): tag for tag in written})
    Path(str(CLDR)).write_bytes(msgspec.msgpack.encode([dict(sorted(known.items())), written]))


if __name__ == "__main__":
    main()
