"""Parameters: what strict ones accept and how they refuse the rest, and what lenient ones make of anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from urllib.parse import quote, urlencode

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from ratesvc.errors import BadRequest
from ratesvc.render.widget.view import DEFAULT_COLUMNS, ONE_DAY_COLUMNS, Figures, Look, View
from ratesvc.web.params import LenientParams, StrictParams, day_of, one_code, page_language
from ratesvc.web.params import _hint as hint

TODAY = date(2026, 4, 24)
LINK = "https://a.example/{code}"
DAY, CHART, CONVERT = "/v1/rates/{date}", "/chart.svg", "/v1/convert"
READ: dict[str, tuple[str, Callable[[StrictParams], object], object]] = {
    "codes": (DAY, lambda params: params.codes(), None),
    "quote_currency": (DAY, lambda params: params.code("quote_currency"), "RUB"),
    "lang": (DAY, lambda params: params.language().tag, "en"),
    "locale": ("/v1/rates.csv", lambda params: (found := params.given_language("locale")) and found.tag, None),
    "revision": (DAY, lambda params: params.text("revision"), ""),
    "theme": (CHART, lambda params: params.text("theme"), "auto"),
    "width": (CHART, lambda params: params.number("width"), 720),
    "amount": (CONVERT, lambda params: params.text("amount"), "1"),
    "date": (CONVERT, lambda params: params.text("date"), "today"),
}
"""By name: an address that has the parameter, how it is read, and its default."""


def params(text: str, path: str = DAY) -> StrictParams:
    """With what the address requires, where the text does not have it."""
    required = {CHART: "codes=USD", CONVERT: "from=USD"}.get(path, "")
    text = f"{text}&{required}" if required and required.partition("=")[0] not in text else text
    return StrictParams(make_mocked_request("GET", f"/?{text}"), path)


def refusal(text: str, path: str = DAY) -> str:
    with pytest.raises(BadRequest) as caught:
        params(text, path).language()
    return str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "utm_a=1", "utm_source=mail&utm_source=again", "_=1700000000", f"utm_{'a' * 30}=%3Cb%3E"]
)
def test_without_parameters_everything_has_its_default(text: str) -> None:
    """Campaign marks and cache breakers come with links that others made; they are ignored, even twice."""
    for name, (path, read, default) in READ.items():
        found = params(text, path)
        assert (read(found), found.has(name)) == (default, False)
        assert not found.has("utm_source")


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("codes=usd,%20EUR,USD,cny", "codes", ("USD", "EUR", "CNY")),
        ("quote_currency=kzt", "quote_currency", "KZT"),
        ("lang=pt_BR", "lang", "pt-BR"),
        ("locale=de", "locale", "de"),
        ("theme=dark", "theme", "dark"),
        ("revision=2", "revision", "2"),
        ("amount=100.50", "amount", "100.50"),
        ("amount=-0.5", "amount", "-0.5"),
        (f"amount={'9' * 15}.{'1' * 10}", "amount", f"{'9' * 15}.{'1' * 10}"),
        ("width=320", "width", 320),
        ("width=1600", "width", 1600),
        ("date=2026-04-25", "date", "2026-04-25"),
        ("date=next", "date", "next"),
    ],
)
def test_a_value_is_understood(text: str, name: str, value: object) -> None:
    """Codes in any case and with blanks, in the given order, each once; both bounds of a number are within."""
    path, read, _ = READ[name]
    found = params(text, path)
    assert (found.has(name), read(found)) == (True, value)


def test_a_refused_number_is_told_its_bounds() -> None:
    """Those of the contract."""
    assert refusal("width=1", CHART) == "width takes a number from 320 to 1600."


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("codes", ["", ",", "USD,", "US", "USDT", "U$D", "USD;EUR", "УСД", "USD EUR", "ＵＳＤ", "A" * 5000, "USD,<b>"]),
        ("quote_currency", ["", "US", "USD,EUR", "ＵＳＤ", "RUB ", "<b>"]),
        ("lang", ["", "e", "zz", "en-", "-en", "../ru", "en;q=0.5", "ru\u0000", "en-US-POSIX-a-b", "ру", "ru" * 40]),
        ("theme", ["", "DARK", "blue", "auto "]),
        ("revision", ["", "0", "-1", "+1", "01", "1.0", "1e3", "10000", "١", " 1", "999999999999999999999"]),
        ("amount", ["", "1,5", "1.", ".5", "+1", "1e3", "NaN", "9" * 16, f"1.{'1' * 11}", "--1", "1 "]),
        ("width", ["319", "1601", "1"]),
    ],
)
def test_a_malformed_value_is_refused_by_the_name_of_its_parameter(name: str, values: list[str]) -> None:
    """The sentence says what the parameter takes and never echoes what it was given."""
    for value in values:
        said = refusal(f"{name}={quote(value)}", READ[name][0])
        assert said.startswith(f"{name} takes ")
        assert len(said) < (100 if name != "amount" else 110)
        assert len(value) < 5 or value not in said


@pytest.mark.parametrize(
    "text",
    [
        *("2024-02-30", "2024-2-3", "20240203", "2024-W05-6", "03.02.2024", "2024-02-03T00:00", "0000-01-01", ""),
        *("٢٠٢٤-٠٢-٠٣", "2024-02-03\n"),
    ],
)
def test_other_notations_of_a_day_are_refused(text: str) -> None:
    """Also other forms of ISO 8601, which only some programs understand."""
    with pytest.raises(BadRequest, match="YYYY-MM-DD"):
        day_of(text)
    said = refusal(f"from=USD&date={quote(text)}", CONVERT)
    assert said == "Give an existing day as YYYY-MM-DD, or today, or next."


@given(st.dates())
def test_a_day_is_written_in_one_way(one: date) -> None:
    """YYYY-MM-DD, and it reads back."""
    assert day_of(one.isoformat()) == one


def test_a_code_in_a_path_is_read_in_any_case() -> None:
    """Three letters, and nothing else."""
    assert [one_code(text) for text in ("usd", "USD", "Eur")] == ["USD", "USD", "EUR"]
    for wrong in ("", "US", "USDT", "U1D", "USD\n", "ＵＳＤ"):
        with pytest.raises(BadRequest, match="ISO 4217"):
            one_code(wrong)


def test_codes_are_bounded() -> None:
    """Two hundred are more than the Bank has ever quoted. The limit is of characters, and blanks count."""
    longest = "codes=" + ",".join(["USD"] * 199) + ",%20EUR"
    assert len(longest.removeprefix("codes=").replace("%20", " ")) == 800
    assert params(longest).codes() == ("USD", "EUR")
    assert params("codes=" + ",".join(["USD"] * 200)).codes() == ("USD",)
    for too_long in (longest + "%20", "codes=" + ",".join(["USD"] * 201)):
        assert refusal(too_long).startswith("codes takes")


@pytest.mark.parametrize(
    ("text", "nearest"),
    [("code=USD", "codes"), ("Quote=USD", "quote_currency"), ("language=ru", "lang"), ("revison=1", "revision")],
)
def test_an_unknown_parameter_names_the_nearest(text: str, nearest: str) -> None:
    """A misspelt parameter never silently answers something else."""
    assert refusal(text) == f"There is no parameter {text.partition('=')[0]!r}. Did you mean {nearest}?"


@pytest.mark.parametrize(
    ("path", "text", "meant"),
    [
        *(("/v1/series", f"{name}=2026-04-24", "since") for name in ("from", "start", "start_date", "startPeriod")),
        *(("/v1/series", f"{name}=2026-04-24", "until") for name in ("to", "end", "end_date", "endPeriod")),
        *(("/v1/rates", "currencies=USD", "codes"), ("/v1/rates", "target=USD", "quote_currency")),
        *((CONVERT, "base=USD", "from"), (CONVERT, "symbols=USD", "to"), (CONVERT, "quote_currency=EUR", "to")),
        ("/rate", "currency=USD", "code"),
    ],
)
def test_a_name_of_another_api_names_ours(path: str, text: str, meant: str) -> None:
    """What the other APIs call `from` is no misspelt `format`."""
    assert refusal(text, path).endswith(f". Did you mean {meant}?")


@pytest.mark.parametrize("name", ["base", "source", "from", "to", "symbols", "quotes"])
def test_a_name_for_the_other_side_of_a_rate_says_which_way_ours_goes(name: str) -> None:
    """Elsewhere `base=USD` with EUR is 0.9651. Whoever only changed the name would get the inverse rate."""
    for path in ("/v1/rates", "/v1/rates.csv", DAY):
        said = refusal(f"{name}=USD", path)
        assert "price of one unit of a code in quote_currency" in said
        assert said.endswith("is here USD with quote_currency=EUR.")
        assert ("Did you mean codes?" in said) == (name in ("symbols", "quotes"))
    assert "quote_currency=EUR" in refusal("base=USD", "/v1/rates/{date}/{code}.txt")


@pytest.mark.parametrize("path", ["/v1/rates", "/v1/rates.csv", DAY])
def test_the_day_of_a_sheet_is_part_of_the_path(path: str) -> None:
    """The error gives the whole path for a day, and its form for anything else."""
    assert refusal("date=2026-04-24", path).endswith(" The day is part of the path: /v1/rates/2026-04-24")
    assert refusal("date=next", path).endswith(" The day is part of the path: /v1/rates/next")
    assert refusal("day=24.04.2026", path).endswith(" The day is part of the path: /v1/rates/YYYY-MM-DD")
    assert refusal("date=x", "/v1/currencies").endswith("Known: lang.")


@pytest.mark.parametrize("text", ["codes=RUB", "codes=rub,RUB&quote_currency=RUB", "codes=usd&quote_currency=USD"])
def test_the_quote_currency_alone_is_no_list_of_codes(text: str) -> None:
    """The answer would be an empty object, which says nothing."""
    with pytest.raises(BadRequest, match="leaves nothing to show") as caught:
        params(text).codes()
    assert caught.value.parameter == "codes"
    assert params("codes=RUB,USD").codes() == ("RUB", "USD")


@pytest.mark.parametrize(
    ("accepted", "tag"),
    [
        *(("", "en"), ("de", "en"), ("*", "en"), ("ru", "ru"), ("ru-RU,ru;q=0.9,en-US;q=0.8,en;q=0.7", "ru")),
        *(("en, ru", "en"), ("ru, en", "ru"), ("de, ru;q=0.5, en;q=0.7", "en"), ("ru;q=0, de", "en")),
        *(("zh-CN", "zh-Hans"), ("ZH-TW;q=0.1", "zh-Hans"), ("rus", "en"), ("ru;q=x", "en")),
    ],
)
def test_a_page_is_in_the_best_language_of_the_browser(accepted: str, tag: str) -> None:
    """Among our translations, the highest weight counts, then the order; English without any."""
    assert page_language(accepted) == tag


def test_an_unknown_parameter_near_to_none_names_them_all() -> None:
    """A page without parameters has nothing to name."""
    assert refusal("xyzzy=1") == "There is no parameter 'xyzzy'. Known: codes, quote_currency, lang, revision."
    assert refusal("x=1", "/v1/events") == "There is no parameter 'x'."


def test_a_long_unknown_name_is_cut_to_forty_letters() -> None:
    """In the error, and in the search for a similar name: nobody can make us write a page of theirs."""
    for length in (41, 5000):
        assert (
            refusal("x" * length + "=1")
            == f"There is no parameter {'x' * 40!r}. Known: codes, quote_currency, lang, revision."
        )
    assert "Did you mean yy" in hint("y" * 100, "", DAY, ["y" * 40])
    assert "Did you mean xx" in hint("x" * 18 + "y" + "z" * 22, "", DAY, ["x" * 18 + "yqq"])
    assert "Did you mean" not in hint("x" * 18 + "z" * 22 + "y", "", DAY, ["x" * 18 + "yqq"])


@pytest.mark.parametrize("text", ["utm=1", "utm_=1", "UTM_SOURCE=1", "__=1", "utm_source1=1", f"utm_{'a' * 31}=x"])
def test_names_that_resemble_a_campaign_mark_are_refused(text: str) -> None:
    """A mark is utm_ and one to thirty letters."""
    assert refusal(text).startswith("There is no parameter")


@pytest.mark.parametrize("text", ["codes=USD&codes=EUR", "lang=ru&lang=ru"])
def test_a_repeated_parameter_is_refused(text: str) -> None:
    """Proxies and frameworks disagree about which one counts."""
    assert refusal(text) == f"{text.partition('=')[0]} is given twice."


@given(st.dictionaries(st.text(max_size=12), st.text(max_size=20), max_size=4))
def test_any_query_is_answered_or_explained(parameters: dict[str, str]) -> None:
    """Any query gives values of the right kind, or BadRequest with one line."""
    request = make_mocked_request("GET", f"/?{urlencode(parameters)}")
    for path in (DAY, CHART, CONVERT):
        try:
            StrictParams(request, path).text("lang" if path != CONVERT else "date")
        except BadRequest as error:
            assert str(error).isprintable()  # noqa: PT017 -- that nothing else is raised is the point


def test_an_amount_is_read_in_its_language_and_currency() -> None:
    """By the rule of tests/amounts.json. What cannot be read for certain is refused."""
    for text, lang, code, amount in (
        ("1,234", "en", "USD", "1234"),
        ("1,234", "ru", "USD", "1.234"),
        ("100%E2%82%AC", "ru", "EUR", "100"),
        ("%20", "en", "USD", "None"),
        ("", "en", "USD", "None"),
    ):
        found = params(f"amount={text}&lang={lang}", "/rate")
        assert str(found.typed_amount(code, found.language())) == amount
    with pytest.raises(BadRequest, match="amount takes"):
        params("amount=100%24", "/rate").typed_amount("EUR", found.language())


Read = Callable[[LenientParams], object]
SHORT = Figures(2, per_unit=True, symbols=True)
LINE = View(layout="line", columns=ONE_DAY_COLUMNS, figures=SHORT)
INLINE = View(layout="inline", columns=("today",), figures=SHORT)
LENIENT: dict[str, tuple[Read, list[tuple[str, object]]]] = {
    "text": (
        lambda params: params.text("heading", 5),
        [
            *(("heading=%20Rates%20", "Rates"), ("heading=Rates!", ""), ("heading=R%07s", "")),
            ("heading=a%C2%A0b", "a\u00a0b"),
            ("heading=a%E2%80%8Cb", "a\u200cb"),
            ("heading=a%E2%80%8Db", "a\u200db"),
        ],
    ),
    "words": (
        lambda params: params.words("codes", 3),
        [("codes=a,%20b,,c&codes=d", ("a", "b")), ("codes=a,a&codes=b", ("a", "b"))],
    ),
    "choice": (
        lambda params: params.choice("theme", ("auto", "dark")),
        [("theme=dark", "dark"), ("theme=pink", "auto"), ("", "auto")],
    ),
    "number": (
        lambda params: params.number("width", 720, range(100, 99_999)),
        [
            *(("width=400", 400), ("width=9999", 9999), ("width=10000", 720), ("width=99", 720), ("width=00400", 720)),
            *(("width=4e2", 720), ("width=%D9%A4%D9%A0%D9%A0", 720), ("", 720)),
        ],
    ),
    "language": (
        lambda params: params.language().tag,
        [("lang=pt_BR", "pt-BR"), ("lang=xx", "en"), (f"lang=de-{'a' * 33}", "en"), ("", "en")],
    ),
    "look": (LenientParams.look, [("theme=dark&updown=red-green", Look("dark", "red-green")), ("updown=red", Look())]),
    "switch": (lambda params: params.switch("shadow"), [("shadow=1", True), ("shadow=2", False), ("", False)]),
    "view": (
        lambda params: params.view({"USD", "EUR"}),
        [
            ("codes=eur,XXX,usd,eur&columns=today,name,x&spark=7", View(("EUR", "USD"), ("name", "today"), spark=7)),
            ("codes=XXX&columns=x&spark=8&heading=H", View(heading="H")),
            ("code=usd,eur", View(("USD",))),
            ("columns=a,b,c,d,e,f,g,h,i,j,name", View(columns=DEFAULT_COLUMNS)),
            ("layout=x&decimals=3&unit=2&symbols=x&head=2&pending=2&href=/rates", View()),
            ("layout=line&spark=7", LINE),
            ("layout=line&decimals=4&unit=0&symbols=0", replace(LINE, figures=Figures(4))),
            ("layout=inline&code=usd&columns=name", replace(INLINE, codes=("USD",))),
            ("layout=inline&codes=xxx,usd", replace(INLINE, codes=("XXX",))),
            ("head=0&pending=1&href=https://a.example/{code}", View(head=False, pending=True, href=LINK)),
            *(
                (f"href={bad}", View())
                for bad in ("javascript:1", "//a.example", "http://", "ftp://a.example", "http://[")
            ),
        ],
    ),
    "day": (
        LenientParams.day,
        [("date=2026-04-24", TODAY), *((f"date={text}", None) for text in ("2026-04-241", "20260424", "x", ""))],
    ),
}


@pytest.mark.parametrize("name", LENIENT)
def test_an_embedding_takes_what_it_understands_and_drops_the_rest(name: str) -> None:
    """Also of an address that is given as a parameter."""
    read, cases = LENIENT[name]
    for text, value in cases:
        request = make_mocked_request("GET", f"/?{text}")
        assert (text, read(LenientParams(request))) == (text, value)
        assert read(LenientParams(request.query)) == value
