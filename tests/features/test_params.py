"""Parameters: what strict ones accept and how they refuse the rest, and what lenient ones make of anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from datetime import date
from functools import partial
from urllib.parse import urlencode

from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from kit import cases
from multidict import MultiMapping

from ratesvc.errors import BadRequest
from ratesvc.features.rate.routes import typed_amount
from ratesvc.features.site.routes import page_language
from ratesvc.features.widget.routes import WidgetParams
from ratesvc.features.widget.view import View
from ratesvc.render.openapi import query_parameters
from ratesvc.web.params import StrictParams, day_of, one_code

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


def test_codes_are_bounded() -> None:
    """Two hundred are more than the Bank has ever quoted. The limit is of characters, and blanks count."""
    longest = "codes=" + ",".join(["USD"] * 199) + ",%20EUR"
    assert len(longest.removeprefix("codes=").replace("%20", " ")) == 800
    assert params(longest).codes() == ("USD", "EUR")
    assert params("codes=" + ",".join(["USD"] * 200)).codes() == ("USD",)
    for too_long in (longest + "%20", "codes=" + ",".join(["USD"] * 201), "codes=" + "A" * 5000):
        assert read(f"{DAY}?{too_long}").startswith("codes takes")


@given(st.dictionaries(st.text(max_size=12), st.text(max_size=20), max_size=4))
def test_any_query_is_answered_or_explained(parameters: dict[str, str]) -> None:
    """Any query gives values of the right kind, or BadRequest with one line."""
    request = make_mocked_request("GET", f"/?{urlencode(parameters)}")
    for path in (DAY, CHART, CONVERT):
        try:
            StrictParams(request, path).text("lang" if path != CONVERT else "date")
        except BadRequest as error:
            assert str(error).isprintable()  # noqa: PT017 -- that nothing else is raised is the point


def typed(given: MultiMapping[str]) -> object:
    """The amount of /rate, by the rule of tests/amounts.json."""
    found = StrictParams(given, "/rate")
    return typed_amount(found, found.code("code"), found.language())


READERS: dict[str, Callable[[MultiMapping[str]], object]] = {
    "accept": lambda given: page_language(given["of"]),
    "amount": typed,
    "choice": lambda given: WidgetParams(given).choice("theme", ("auto", "dark")),
    "code": lambda given: one_code(given["of"]),
    "day": lambda given: WidgetParams(given).day(),
    "language": lambda given: WidgetParams(given).language().tag,
    "look": lambda given: WidgetParams(given).look(),
    "number": lambda given: WidgetParams(given).number("width", 720, range(100, 99_999)),
    "switch": lambda given: WidgetParams(given).switch("shadow"),
    "text": lambda given: WidgetParams(given).text("heading", 5),
    "view": lambda given: WidgetParams(given).view({"USD", "EUR"}),
    "words": lambda given: WidgetParams(given).words("codes", 3),
}


def taken(question: str) -> str:
    """What a reader of parameters makes of a query; of a view what is unlike the usual one."""
    name, _, text = question.partition("?")
    try:
        found = READERS[name](make_mocked_request("GET", f"/?{text}").query)
    except BadRequest as error:
        return str(error)
    if isinstance(found, View):
        unlike = {one.name: value for one in fields(View) if (value := getattr(found, one.name)) != one.default}
        return ", ".join(f"{name} = {value!r}" for name, value in unlike.items()) or "usual"
    return repr(found)


def test_an_embedding_takes_what_it_understands_and_drops_the_rest() -> None:
    """golden/embeddings.txt says how, and why. A page is in the language of its browser, and reads its amounts."""
    cases.check("embeddings.txt", {question: taken(question) for question in cases.questions("embeddings.txt")})
