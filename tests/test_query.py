from __future__ import annotations

from collections.abc import Callable
from datetime import date
from urllib.parse import quote, urlencode

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from ratesvc.errors import BadRequest
from ratesvc.render.openapi.parameters import MOST_CODES
from ratesvc.web.query import Query, day

KNOWN = ("codes", "quote", "lang", "theme", "revision")


def asked(text: str) -> Query:
    return Query(make_mocked_request("GET", f"/v1/rates?{text}"), KNOWN)


def refusal(text: str, name: str | None = None) -> str:
    """What is said about a query; `name` is the question that finds it wrong, if not reading it at all."""
    with pytest.raises(BadRequest) as caught:
        ask(asked(text), name)
    return str(caught.value)


def ask(query: Query, name: str | None) -> object:
    questions: dict[str | None, Callable[[], object]] = {
        None: lambda: None,
        "codes": query.codes,
        "quote": lambda: query.code("quote", "RUB"),
        "lang": query.language,
        "theme": lambda: query.choice("theme", ("auto", "light", "dark"), "auto"),
        "revision": lambda: query.count("revision"),
    }
    return questions[name]()


def test_without_parameters_everything_has_its_default() -> None:
    """All currencies in roubles, in English, the latest revision."""
    query = asked("")
    assert [ask(query, name) for name in ("codes", "quote", "theme", "revision")] == [None, "RUB", "auto", None]
    assert query.language().tag == "en"


def test_what_is_asked_for_is_understood() -> None:
    """Codes in any case and with blanks, in the order asked for, each once."""
    query = asked("codes=usd,%20EUR,USD,cny&quote=kzt&lang=pt_BR&theme=dark&revision=2")
    assert query.codes() == ("USD", "EUR", "CNY")
    assert [ask(query, name) for name in ("quote", "theme", "revision")] == ["KZT", "dark", 2]
    assert query.language().tag == "pt-BR"


@pytest.mark.parametrize(
    ("text", "name", "nearest"),
    [
        ("code=USD", "code", "codes"),
        ("Quote=USD", "Quote", "quote"),
        ("language=ru", "language", "lang"),
        ("thme=1", "thme", "theme"),
    ],
)
def test_an_unknown_parameter_names_the_nearest(text: str, name: str, nearest: str) -> None:
    """A misspelt parameter never answers something else in silence."""
    assert refusal(text) == f"There is no parameter {name!r}. Did you mean {nearest}?"


def test_an_unknown_parameter_near_to_none_names_them_all() -> None:
    """What there is, is said; a page without parameters has nothing to name."""
    assert refusal("xyzzy=1") == "There is no parameter 'xyzzy'. Known: codes, quote, lang, theme, revision."
    with pytest.raises(BadRequest) as caught:
        Query(make_mocked_request("GET", "/?x=1"), ())
    assert str(caught.value) == "There is no parameter 'x'."


@pytest.mark.parametrize(
    "text", ["utm_source=mail&utm_source=again", "_=1700000000", "utm_campaign=%3Cscript%3E&lang=ru"]
)
def test_marks_of_campaigns_and_cache_breakers_are_tolerated(text: str) -> None:
    """They come with links that others made, even twice."""
    assert asked(text).codes() is None


@pytest.mark.parametrize("text", ["utm=1", "utm_=1", "UTM_SOURCE=1", "__=1", "utm_source1=1"])
def test_what_only_resembles_them_is_not(text: str) -> None:
    """The door is as narrow as that."""
    assert refusal(text).startswith("There is no parameter")


@pytest.mark.parametrize("text", ["codes=USD&codes=EUR", "lang=ru&lang=ru"])
def test_a_repeated_parameter_is_refused(text: str) -> None:
    """Proxies and frameworks disagree about which one counts."""
    assert refusal(text) == f"{text.partition('=')[0]} stands more than once."


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("codes", ["", ",", "USD,", "US", "USDT", "U$D", "USD;EUR", "УСД", "USD EUR", "ＵＳＤ", "A" * 5000, "USD,<b>"]),
        ("quote", ["", "US", "USD,EUR", "ＵＳＤ", "RUB ", "<b>"]),
        ("lang", ["", "e", "zz", "en-", "-en", "../ru", "en;q=0.5", "ru\u0000", "en-US-POSIX-a-b", "ру", "ru" * 40]),
        ("theme", ["", "DARK", "blue", "auto "]),
        ("revision", ["", "0", "-1", "+1", "01", "1.0", "1e3", "10000", "١", " 1", "999999999999999999999"]),
    ],
)
def test_a_malformed_value_is_refused_by_the_name_of_its_parameter(name: str, values: list[str]) -> None:
    """The sentence says what the parameter takes and never echoes what it was given."""
    for value in values:
        said = refusal(f"{name}={quote(value)}", name)
        assert said.startswith(f"{name} takes ")
        assert len(said) < 100
        assert len(value) < 5 or value not in said


def test_codes_are_bounded() -> None:
    """Two hundred are more than the Bank has ever quoted; more letters than that are not even split."""
    assert asked("codes=" + ",".join(["USD"] * MOST_CODES)).codes() == ("USD",)
    assert refusal("codes=" + ",".join(["USD"] * (MOST_CODES + 1)), "codes")


def test_a_long_unknown_name_is_cut_in_the_answer() -> None:
    """Nobody can make us write a page of theirs."""
    assert len(refusal("x" * 5000 + "=1")) < 150


@given(st.dictionaries(st.text(max_size=12), st.text(max_size=20), max_size=4))
def test_any_query_is_answered_or_explained(parameters: dict[str, str]) -> None:
    """Whatever is sent: a value of the right kind or a BadRequest of one line."""
    try:
        query = asked(urlencode(parameters))
        for name in KNOWN:
            ask(query, name)
    except BadRequest as error:
        assert str(error).isprintable()  # noqa: PT017 -- that nothing else is raised is the point


@given(st.dates())
def test_a_day_is_written_in_one_way(one: date) -> None:
    """YYYY-MM-DD, and it reads back."""
    assert day(one.isoformat()) == one


@pytest.mark.parametrize(
    "text",
    [
        "2024-02-30",
        "2024-2-3",
        "20240203",
        "2024-W05-6",
        "03.02.2024",
        "2024-02-03T00:00",
        "0000-01-01",
        "",
        "٢٠٢٤-٠٢-٠٣",
        "2024-02-03\n",
    ],
)
def test_what_is_no_day_is_refused(text: str) -> None:
    """Also the other forms of ISO 8601, which only some programs understand."""
    with pytest.raises(BadRequest, match="YYYY-MM-DD"):
        day(text)
