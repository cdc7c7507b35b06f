from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from urllib.parse import quote, urlencode

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from ratesvc.errors import BadRequest
from ratesvc.web.params import MOST_CODES, MOST_CODES_LENGTH, StrictParams, day_of, one_code

KNOWN = ("codes", "quote", "lang", "theme", "revision")


def asked(text: str) -> StrictParams:
    return StrictParams(make_mocked_request("GET", f"/v1/rates?{text}"), KNOWN)


def refusal(text: str, name: str | None = None) -> str:
    """What is said about a query; `name` is the question that finds it wrong, if not reading it at all."""
    with pytest.raises(BadRequest) as caught:
        ask(asked(text), name)
    return str(caught.value)


def ask(query: StrictParams, name: str | None) -> object:
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
        StrictParams(make_mocked_request("GET", "/?x=1"), ())
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
    assert refusal(text) == f"{text.partition('=')[0]} is given twice."


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
    assert day_of(one.isoformat()) == one


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
        day_of(text)


def test_codes_may_be_as_long_as_two_hundred_of_them_and_no_longer() -> None:
    """The limit is of letters and commas; blanks count."""
    longest = "codes=" + ",".join(["USD"] * (MOST_CODES - 1)) + ",%20EUR"
    assert len(longest.removeprefix("codes=").replace("%20", " ")) == MOST_CODES_LENGTH
    assert asked(longest).codes() == ("USD", "EUR")
    assert refusal(longest + "%20", "codes").startswith("codes takes")


def of(text: str, *known: str) -> StrictParams:
    return StrictParams(make_mocked_request("GET", f"/?{text}"), known)


def test_a_day_is_read_or_has_its_default() -> None:
    """Given or not."""
    today = date(2026, 4, 24)
    assert of("", "date").day("date", today) == today
    assert of("date=2026-04-25", "date").day("date", today) == date(2026, 4, 25)
    with pytest.raises(BadRequest, match="YYYY-MM-DD"):
        of("date=", "date").day("date", today)


def test_what_was_given_is_known() -> None:
    """A tolerated mark is not a parameter, and an empty one is given."""
    query = of("a=1&b=&utm_source=x", "a", "b", "c")
    assert [query.has(name) for name in ("a", "b", "c", "utm_source")] == [True, True, False, False]


@pytest.mark.parametrize(
    ("text", "amount"),
    [("", "1"), ("amount=100.50", "100.50"), ("amount=-0.5", "-0.5"), (f"amount={'9' * 15}.{'1' * 10}", None)],
)
def test_an_amount_is_exact(text: str, amount: str | None) -> None:
    """One when not given; up to fifteen digits before the point and ten after it."""
    assert str(of(text, "amount").amount()) == (amount or text.removeprefix("amount="))


@pytest.mark.parametrize("amount", ["", "1,5", "1.", ".5", "+1", "1e3", "NaN", "9" * 16, f"1.{'1' * 11}", "--1", "1 "])
def test_what_is_no_amount_is_refused(amount: str) -> None:
    """The answer says what it takes."""
    with pytest.raises(BadRequest, match=r"^amount takes "):
        of(f"amount={quote(amount)}", "amount").amount()


@pytest.mark.parametrize(("text", "found"), [("", 300), ("width=200", 200), ("width=999", 999), ("width=555", 555)])
def test_a_number_within_bounds_is_taken(text: str, found: int) -> None:
    """Both bounds are."""
    assert of(text, "width").within("width", range(200, 1000), 300) == found


@pytest.mark.parametrize("number", ["199", "1000", "1"])
def test_a_number_outside_of_its_bounds_is_refused(number: str) -> None:
    """And the bounds are named, as a person counts."""
    with pytest.raises(BadRequest) as caught:
        of(f"width={number}", "width").within("width", range(200, 1000), 300)
    assert str(caught.value) == "width takes a number from 200 to 999."


def test_a_code_in_a_path_is_read_in_any_case() -> None:
    """Three letters, and nothing else."""
    assert [one_code(text) for text in ("usd", "USD", "Eur")] == ["USD", "USD", "EUR"]
    for wrong in ("", "US", "USDT", "U1D", "USD\n", "ＵＳＤ"):
        with pytest.raises(BadRequest, match="ISO 4217"):
            one_code(wrong)


@pytest.mark.parametrize(("letters", "tolerated"), [(1, True), (30, True), (31, False)])
def test_a_campaigns_mark_has_one_to_thirty_letters(letters: int, *, tolerated: bool) -> None:
    """utm_ and a word."""
    text = f"utm_{'a' * letters}=x"
    if tolerated:
        assert not of(text).has("utm")
    else:
        assert refusal(text).startswith("There is no parameter")


def test_a_long_unknown_name_is_shown_up_to_forty_letters() -> None:
    """One near to it is still found by its beginning."""
    assert refusal("x" * 41 + "=1") == f"There is no parameter {'x' * 40!r}. Known: {', '.join(KNOWN)}."
    known = "y" * 40
    with pytest.raises(BadRequest, match=f"Did you mean {known}"):
        of(known + "z" * 60 + "=1", known)


def test_an_amount_is_a_decimal() -> None:
    """Never a float: 0.1 is a tenth."""
    assert of("amount=0.1", "amount").amount() * 3 == Decimal("0.3")


def test_what_is_near_is_told_by_the_first_forty_letters() -> None:
    """One that is near only by what comes after them is none."""
    known = "x" * 18 + "yqq"
    with pytest.raises(BadRequest) as caught:
        of("x" * 18 + "z" * 22 + "y=1", known)
    assert "Did you mean" not in str(caught.value)
    with pytest.raises(BadRequest, match=f"Did you mean {known}"):
        of("x" * 18 + "y" + "z" * 22 + "=1", known)
