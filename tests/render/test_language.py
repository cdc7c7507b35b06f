from __future__ import annotations

import json
import os
import re
from collections import Counter
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from holidays import country_holidays
from hypothesis import given
from hypothesis import strategies as st
from kit import cases

import ratesvc
from ratesvc.features.builder import builder_page as builder
from ratesvc.features.site.language import Language, language, language_or_default
from ratesvc.features.site.page import LINK
from ratesvc.render.language import TRANSLATIONS, catalogue
from ratesvc.render.openapi import contract

DAY = date(2026, 4, 25)
PACKAGE = Path(ratesvc.__file__).parent


def spoken(tag: str) -> Language:
    found = language(tag)
    assert found is not None
    return found


ENGLISH, RUSSIAN = spoken("en"), spoken("ru")


@pytest.mark.parametrize("tag", ["", None, "de" + 2000 * "-a"])
def test_any_tag_has_a_language(tag: str | None) -> None:
    """English without one. golden/languages.txt has others."""
    assert language_or_default(tag).tag == ("de" if tag else "en")


VALUE = Decimal("12345.67")


def written_in(question: str) -> str:
    """What a method of a language writes; non-breaking blanks are shown as ~ and ^."""
    tag, method, *given = question.split()
    if method == "tag":
        return f"{found.tag} {found.direction}" if (found := language(tag)) else "none"
    one = spoken(tag)
    match method, given:
        case (("day" | "day_and_month"), []):
            shown = getattr(one, method)(DAY)
        case "sentences", []:
            shown = " | ".join(one.of_widget().translated(text) for text in catalogue(f"widget/{tag}") if "{" in text)
        case "currency", [code, *counts]:
            shown = one.currency(code, *map(int, counts))
        case (("symbol" | "roubles"), [text]):
            shown = getattr(one, method)(text)
        case "whole", [number]:
            shown = one.whole(int(number))
        case _, [number, *places]:
            shown = getattr(one, method)(Decimal(number), *map(int, places))
    return str(shown).replace("\u00a0", "~").replace("\u202f", "^")


def test_names_numbers_and_days_are_written_as_readers_expect() -> None:
    """golden/languages.txt has examples, and why they are so."""
    cases.check("languages.txt", {question: written_in(question) for question in cases.questions("languages.txt")})


@given(st.decimals(0, 10**9, places=4), st.sampled_from(["en", "ru", "de", "fr", "hi", "de-CH", "ar", "zh"]))
def test_a_shown_number_keeps_every_digit(number: Decimal, tag: str) -> None:
    """Without its grouping it is the printed value again."""
    shown = spoken(tag).number(number, 4)
    whole, decimals = re.sub(r"[^0-9]", "", shown[:-5]), shown[-4:]
    assert f"{whole}.{decimals}" == f"{number:.4f}"


def test_a_catalogue_translates_sentences() -> None:
    sentence = "Not updated since {day}."
    assert ENGLISH.say(sentence, day="April 25") == "Not updated since April 25."
    assert RUSSIAN.say(sentence, day="25 апреля") == "Курсы не обновлялись с 25 апреля"
    assert spoken("fr").say("Currency") == "Currency"


WIDGET_WORDS = ("kk", "hy", "uz", "ka", "ky", "az")


@pytest.mark.parametrize("tag", WIDGET_WORDS)
def test_more_languages_have_the_words_of_the_widget(tag: str) -> None:
    """As many sentences as the others, with the same {words}. Pages are English there."""
    found = catalogue(f"widget/{tag}")
    assert found.keys() == catalogue("widget/kk").keys() < catalogue("ru").keys()
    sources = "".join(
        (PACKAGE / "features/widget" / name).read_text("utf-8")
        for name in ("rows.py", "words.py", "card.py", "markup.py")
    )
    assert set(re.findall(r'\bsay\("(.+?)"', sources)) <= found.keys()
    assert {LINK, builder.LINK_IN_A_SENTENCE, builder.SENTENCE} <= found.keys()
    one = spoken(tag)
    assert (one.foreign, one.of_widget().foreign, one.of_widget().tag) == ("en", "", tag)
    assert one.say("Currency") == "Currency" != one.of_widget().say("Currency")


def test_a_script_without_a_catalogue_keeps_english_words() -> None:
    """Uzbek in Cyrillic letters is not answered in Latin ones; French has no words of its own."""
    assert [spoken(tag).of_widget().foreign for tag in ("uz-Cyrl", "az-Cyrl", "uz-Latn", "fr", "en", "ru")] == [
        *("en", "en", "", "en", "", "")
    ]


def written() -> str:
    """The templates, the code that fills them, and the errors of parameters."""
    folders = (PACKAGE / name for name in ("features", "render", "web"))
    entries = [entry for folder in folders for entry in folder.rglob("*.*") if entry.suffix in (".html", ".py")]
    # The reference has a catalogue of its own; tests/features/test_openapi.py reads it.
    entries = [entry for entry in entries if "/features/docs/" not in str(entry)]
    # A long sentence stands on several lines in the code.
    sources = re.sub(r'"\n +"', "", "".join(entry.read_text("utf-8") for entry in entries))
    parameters = contract()["components"]["parameters"].values()
    return sources + "".join(f"{one['name']} takes {one.get('x-takes')}." for one in parameters)


@pytest.mark.parametrize("tag", TRANSLATIONS[1:])
def test_every_sentence_of_the_pages_is_in_every_catalogue(tag: str) -> None:
    """A catalogue has every sentence of the pages, no other sentence, and the same {words}."""
    translations, pages = catalogue(tag), written()
    said = {match[2] for match in re.finditer(r"""\b(?:t|say)\(\s*(["'])(.+?)\1""", pages)}
    assert said <= translations.keys()
    # The calendar's holidays reach the page by their English names.
    holidays = set(country_holidays("RU", years=range(1992, 2030), language="en_US").values())
    holidays = {part.removesuffix(" (observed)") for names in holidays for part in names.split("; ")}
    assert [sentence for sentence in translations if sentence not in pages and sentence not in holidays] == []


CATALOGUES = (*TRANSLATIONS[1:], "reference/ru", *(f"widget/{tag}" for tag in WIDGET_WORDS))


@pytest.mark.parametrize("name", CATALOGUES)
def test_a_translation_has_the_figures_names_and_code_of_its_sentence(name: str) -> None:
    """{names}, `code` and numbers. Chinese writes a month as a number, and five as a word."""
    for sentence, translated in catalogue(name).items():
        texts = (sentence, re.sub(r"\d+月", "", translated.replace("五", "5")))
        plain = [re.sub(r"(?<=\d)[ ,\u00a0](?=\d{3})", "", text) for text in texts]
        for part in (r"{\w+}", r"`[^`]+`", r"\d+", "%"):
            said, also = (sorted(re.findall(part, text)) for text in plain)
            assert said == also, sentence


SAME = {"since {day}", "from {day}", "Column", "sidebar", "Currency"}
"""What some languages say with one word."""


@pytest.mark.parametrize("name", CATALOGUES)
def test_two_sentences_have_two_translations(name: str) -> None:
    """Otherwise one stands in the place of the other."""
    twice = Counter(text.casefold() for sentence, text in catalogue(name).items() if sentence not in SAME)
    assert [text for text, count in twice.items() if count > 1] == []


@pytest.mark.parametrize("name", ["ru", "reference/ru", "zh-Hans"])
def test_a_translation_speaks_of_the_same(name: str) -> None:
    """Neither of the opposite nor of another thing: golden/opposites.txt."""
    for english, *words in (line.split(" | ") for line in cases.questions("opposites.txt")):
        for sentence, translated in catalogue(name).items() if len(words) > (name == "zh-Hans") else ():
            said = re.search(rf"\b({english})\b", re.sub(r"`[^`]+`|{\w+}|No\. \d", "", sentence), re.IGNORECASE)
            assert not said or re.search(words[name == "zh-Hans"], translated, re.IGNORECASE), (sentence, translated)


def test_a_template_has_no_words_of_its_own() -> None:
    """They are translated. What is left are names, and code that readers copy."""
    names = re.compile("cbr|curl|[Oo]pen(api|API)?|json|lang|dir|rtl|class|part|rates|Preview")
    for file in sorted(PACKAGE.glob("features/*/templates/*.[hs][tv]*")):
        text = re.sub(r"{#.*?#}|{%.*?%}|{{.*?}}|&#?\w+;", "", file.read_text("utf-8"), flags=re.DOTALL)
        text = re.sub(r"<(style|script|code|pre)\b.*?</\1>", "", text, flags=re.DOTALL)
        said = re.findall(r' (?:title|alt|placeholder|aria-label|aria-description)="([^"#:]*)"', text)
        words = re.findall(r"[A-Za-z]*[a-z]{3,}", " ".join([*said, re.sub("<[^<>]*>", " ", text)]))
        assert [word for word in words if not names.fullmatch(word)] == [], file.name


@pytest.mark.nightly
def test_the_list_of_languages_is_that_of_cldr() -> None:
    """Every language that has a name for itself, the three translated ones first. UPDATE_GOLDEN=1 writes it anew."""
    from babel import localedata  # noqa: PLC0415 -- only the night has it

    tags = sorted(tag for tag in localedata.locale_identifiers() if "_" not in tag and tag != "root")
    found = [
        language_or_default(tag) for tag in (*TRANSLATIONS, *(tag for tag in tags if tag not in ("en", "ru", "zh")))
    ]
    listed = [[one.tag, name[:1].upper() + name[1:]] for one in found if (name := one.name)]
    if os.environ.get("UPDATE_GOLDEN"):
        lines = ",\n".join(json.dumps(pair, ensure_ascii=False) for pair in listed)
        Path("ratesvc/features/builder/assets/languages.json").write_text(f"[\n{lines}\n]\n", "utf-8")
        builder.languages.cache_clear()
    assert [list(pair) for pair in builder.languages()] == listed
