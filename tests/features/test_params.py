"""Parameters: what strict ones accept and how they refuse the rest, and what lenient ones make of anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from functools import partial
from urllib.parse import urlencode

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from kit import cases

from ratesvc.errors import BadRequest
from ratesvc.features.rate.routes import typed_amount
from ratesvc.features.site.routes import page_language
from ratesvc.features.widget.routes import WidgetParams
from ratesvc.features.widget.view import DEFAULT_COLUMNS, ONE_DAY_COLUMNS, Figures, Look, View
from ratesvc.render.contract import query_parameters
from ratesvc.web.params import StrictParams, day_of, one_code
from ratesvc.web.params import _hint as hint

TODAY = date(2026, 4, 24)
LINK = "https://a.example/{code}"
DAY, CHART, CONVERT = "/v1/rates/{date}", "/chart.svg", "/v1/convert"
REQUIRED = {"/chart.svg": "codes=USD", "/v1/convert": "from=USD", "/v1/series": "codes=USD"}


def params(text: str, path: str = DAY) -> StrictParams:
    """With what the address requires, where the text does not have it."""
    required = REQUIRED.get(path, "")
    text = f"{text}&{required}" if required and required.partition("=")[0] not in text else text
    return StrictParams(make_mocked_request("GET", f"/?{text}"), path)


def read(question: str) -> str:
    """What a handler gets for the parameters that are given, in its own types, or the refusal."""
    path, _, text = question.partition("?")
    try:
        found = params(text, path)
        values: dict[str, Callable[[], object]] = {
            "codes": found.codes,
            "quote_currency": lambda: found.code("quote_currency"),
            "lang": lambda: found.language().tag,
            "locale": lambda: found.language("locale").tag,
            "width": lambda: found.number("width"),
        }
        given = [name for name in query_parameters(path) if found.has(name) and f"{name}=" in text]
        return ", ".join(f"{name} = {values.get(name, partial(found.text, name))()!r}" for name in given) or "nothing"
    except BadRequest as error:
        return str(error)


def test_each_query_is_read_or_refused() -> None:
    """golden/params.txt says how, and why. A refusal says what the parameter takes, and does not repeat the value."""
    cases.check("params.txt", {question: read(question) for question in cases.questions("params.txt")})


def test_without_parameters_everything_has_its_default() -> None:
    """That of the contract, and `has` says that it is not given."""
    found, chart, conversion = params(""), params("", CHART), params("", CONVERT)
    assert (found.codes(), found.code("quote_currency"), found.language().tag) == (None, "RUB", "en")
    assert (found.text("revision"), found.given_language("lang"), found.has("utm_source")) == ("", None, False)
    assert (chart.text("theme"), chart.number("width")) == ("auto", 720)
    assert (conversion.text("amount"), conversion.text("date"), conversion.has("amount")) == ("1", "today", False)


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
    for too_long in (longest + "%20", "codes=" + ",".join(["USD"] * 201), "codes=" + "A" * 5000):
        assert read(f"{DAY}?{too_long}").startswith("codes takes")


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


def test_a_similar_name_is_looked_for_in_forty_letters() -> None:
    """Whatever follows would cost time."""
    assert "Did you mean yy" in hint("y" * 100, "", DAY, ["y" * 40])
    assert "Did you mean xx" in hint("x" * 18 + "y" + "z" * 22, "", DAY, ["x" * 18 + "yqq"])
    assert "Did you mean" not in hint("x" * 18 + "z" * 22 + "y", "", DAY, ["x" * 18 + "yqq"])


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
        assert str(typed_amount(found, code, found.language())) == amount
    with pytest.raises(BadRequest, match="amount takes"):
        typed_amount(params("amount=100%24", "/rate"), "EUR", found.language())


Read = Callable[[WidgetParams], object]
SHORT = Figures(2, per_unit=True, symbols=True)
LINE = View(layout="line", columns=ONE_DAY_COLUMNS, figures=replace(SHORT, per_unit=False))
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
    "look": (WidgetParams.look, [("theme=dark&updown=red-green", Look("dark", "red-green")), ("updown=red", Look())]),
    "switch": (lambda params: params.switch("shadow"), [("shadow=1", True), ("shadow=2", False), ("", False)]),
    "view": (
        lambda params: params.view({"USD", "EUR"}),
        [
            ("codes=eur,XXX,usd,eur&columns=today,name,x&spark=7", View(("EUR", "USD"), ("name", "today"), spark=7)),
            ("codes=XXX&columns=x&spark=8&heading=H", View(("XXX",), heading="H")),
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
        WidgetParams.day,
        [("date=2026-04-24", TODAY), *((f"date={text}", None) for text in ("2026-04-241", "20260424", "x", ""))],
    ),
}


@pytest.mark.parametrize("name", LENIENT)
def test_an_embedding_takes_what_it_understands_and_drops_the_rest(name: str) -> None:
    """Also of an address that is given as a parameter."""
    read, cases = LENIENT[name]
    for text, value in cases:
        request = make_mocked_request("GET", f"/?{text}")
        assert (text, read(WidgetParams(request))) == (text, value)
        assert read(WidgetParams(request.query)) == value
