"""The WordPress plugin's PHP by itself: stand_in.php has the few functions of WordPress that rendering calls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from conftest import Serve, program
from kit.bank import Bank, sheet
from kit.dates import FRIDAY, SATURDAY, THURSDAY
from kit.http import fetched
from kit.service import ROOT, output_of
from kit.wordpress import Tree
from yarl import URL

pytestmark = pytest.mark.slow

PLUGIN = ROOT / "deploy/wordpress/cbr-rates"
CHOICES: list[dict[str, str]] = [
    {},
    {"lang": "ru", "columns": "name,today,next,change,percent", "href": "https://a.example/{code}?x=1&y"},
    {"lang": "ru", "layout": "line", "codes": "USD,EUR"},
    {"layout": "bar", "theme": "dark", "updown": "blue-orange", "heading": 'Rates <b>&amp; "more" o\'clock'},
    {"layout": "inline", "codes": "USD"},
    {"layout": "converter", "codes": "EUR"},
    {"converter": "1", "head": "0", "unit": "1", "symbols": "1", "decimals": "2", "heading": "none", "spark": "30"},
    {"lang": "ar", "codes": "USD,JPY", "theme": "#dc3545"},
]
FRESH = {"content-type": "application/json", "cache-control": "public, max-age=90, stale-if-error=3600"}


def answered(content: Any, **more: Any) -> dict[str, Any]:
    """An answer of the service with these rows, or with this body if it is a text."""
    body = content if isinstance(content, str) else json.dumps({"style": "", "content": content})
    return {"status": 200, "headers": FRESH, "body": body} | more


def asks(given: dict[str, Any], answer: Any, later: int | None = None) -> dict[str, Any]:
    """A page with this shortcode. With `later` it is so many seconds after the one before, else nothing is kept."""
    return {"given": given, "answer": answer, "later": later or 0, "again": later is not None}


def said(folder: Path, *questions: dict[str, Any]) -> list[Any]:
    """What PHP says to each; no notice, no deprecation."""
    file = folder / "questions.json"
    file.write_text(json.dumps(questions), "utf-8")
    strict = ("-d", "error_reporting=-1", "-d", "display_errors=1")
    stand_in = Path(__file__).with_name("stand_in.php")
    made: dict[str, Any] = json.loads(output_of(program("php"), *strict, stand_in, PLUGIN, file))
    assert {"init", "enqueue_block_assets", "admin_init", "admin_menu"} <= {*made["hooks"]}
    found: list[Any] = made["said"]
    return found


async def test_php_makes_the_rows_that_the_service_makes(bank: Bank, serve: Serve, tmp_path: Path) -> None:
    """Element by element, for each kind of choice. It asks for what the author chose, and for nothing else."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY), sheet(SATURDAY))
    async with serve() as served:
        await served.ready()
        asked = [{"lang": "en-US"} | choice for choice in CHOICES]
        texts = [(await fetched(URL(served.url + "/widget/nodes.json").with_query(one))).body.decode() for one in asked]
        whole = [
            (await fetched(URL(served.url + "/widget").with_query({**one, "style": "none"}))).body.decode()
            for one in asked
        ]
    given = [
        asks({**one, "nothing": "1", "codes2": ""}, answered(text)) for one, text in zip(CHOICES, texts, strict=True)
    ]
    for one, fragment, shown in zip(asked, whole, said(tmp_path, *given), strict=True):
        html = shown["html"].partition("</style>")[2] or shown["html"]
        assert Tree(html).found == Tree(fragment.partition("<script")[0]).found, one
        assert shown["block"] == f'<div class="wp-block-cbr-rates">{shown["html"]}</div>'
        ((address, options),) = shown["asked"]
        assert address.startswith("http://rates.example/widget/nodes.json?")
        assert {name: value for name, (value,) in parse_qs(urlsplit(address).query).items()} == one
        assert options == {"timeout": 1, "redirection": 0, "limit_response_size": 65537, "decompress": False}
        has_converter = ["script cbr-rates-converter"] * ("<cbr-converter" in html)
        assert shown["queued"][: 1 + len(has_converter)] == ["style cbr-rates", *has_converter]
        assert ("<style>.cbr-own.cbr-own-dc3545{" in shown["html"]) == ("#dc3545" in one.get("theme", ""))


ESCAPED = [
    ("<b>'\"&", "&lt;b&gt;&#039;&quot;&amp;"),
    (["p", ["title", "'\"><b>"], "x"], '<p title="&#039;&quot;&gt;&lt;b&gt;">x</p>'),
    (["script", [], "x"], "<span>x</span>"),
    (["div", [], ["a", ["href", "javascript:x", "onclick", "x", "style", "x"], "x"]], "<div><a>x</a></div>"),
    (["a", ["href", "https://a.example/?b&c", "target", "_blank"], "x"],
     '<a href="https://a.example/?b&amp;c" target="_blank">x</a>'),
    (["a", ["href", 'https://a.example/"x', "target", "_self", "class", "own"], "x"], "<a>x</a>"),
    (["time", ["datetime", "2026-04-24", "lang", "ru", "dir", "rtl"], "x"],
     '<time datetime="2026-04-24" lang="ru" dir="rtl">x</time>'),
    (["table", [], ["tbody", [], ["tr", [], ["td", ["class", "cbr-a cbr-b"], "x"]]]],
     '<table><tbody><tr><td class="cbr-a cbr-b">x</td></tr></tbody></table>'),
    (["svg", ["viewBox", "0 0 9 9", "role", "img", "aria-hidden", "true"], ["polyline", ["points", "1,2 3,4"]]],
     '<svg viewbox="0 0 9 9" role="img" aria-hidden="true"><polyline points="1,2 3,4"></polyline></svg>'),
]  # fmt: skip
REFUSED: list[Any] = [
    ["td", [], "x"],
    ["tr", []],
    ["caption", [], "x"],
    ["table", [], "x"],
    ["table", [], ["table", []]],
    ["table", [], ["tbody", [], ["tr", [], "x"]]],
    ["svg", [], ["p", [], "x"]],
    [],
    ["p"],
    ["p", "x"],
    [7, []],
    7,
    None,
    ["p", [], 7],
]
LINK = '<a href="https://www.cbr.ru/currency_base/daily/" style='
DATA = '{"rates":{"EUR":["64.2865",1,2]},"group":" ","mark":","}'
NUMBERS = ["9" * 16, "1e9", "-1", 7]


def test_php_escapes_what_the_service_says_and_takes_nothing_else(tmp_path: Path) -> None:
    """A page of another site stays whole, and nothing in it runs, whatever an answer has in the place of rows."""
    made = said(tmp_path, *(asks({}, answered(["div", [], node])) for node, _ in ESCAPED))
    assert [one["html"] for one in made] == [f"<div>{html}</div>" for _, html in ESCAPED]
    refused = said(tmp_path, *(asks({}, answered(["div", [], node])) for node in REFUSED))
    assert [one["html"][: len(LINK)] for one in refused] == [LINK] * len(REFUSED)
    assert {one["paused"] for one in refused} == {0}
    wrong = [DATA.replace('"64.2865"', json.dumps(number)) for number in NUMBERS]
    wrong += [DATA.replace('" "', '"  "'), DATA.replace('","}', '",,"}'), DATA.replace("EUR", "eur"), "{}", "x"]
    converters = said(
        tmp_path, *(asks({}, answered(["cbr-converter", ["data", data]])) for data in (DATA, *wrong)),
        asks({}, answered(["p", ["data", DATA]])),
    )  # fmt: skip
    shown = [one["html"] for one in converters]
    assert "64.2865" in shown[0]
    assert shown[1:] == ["<cbr-converter></cbr-converter>"] * len(wrong) + ["<p></p>"]


DOWN = [
    None,
    answered("x", status=503),
    answered("x", status=500),
]
ODD = [
    answered("x", status=414),
    answered("<html>", headers={**FRESH, "content-type": "text/html"}),
    answered("{" + " " * 66_000 + "}"),
    answered("{"),
]
TIMES = [
    ("public, max-age=90, stale-if-error=3600", None, [90, 3690]),
    ("max-age=90, stale-if-error=600", "190", [1, 500]),
    ("s-maxage=90, x-max-age=90, max-age=20", None, [20, 20]),
    ("max-age=31536000, stale-if-error=31536000", None, [3600, 604_800]),
    ("no-store", None, [1, 0]),
]


def test_php_keeps_rows_for_as_long_as_they_are_right(tmp_path: Path) -> None:
    """As Cache-Control says; an hour at most, and a week while the service is down."""
    rows = ["div", [], "x"]
    made = said(
        tmp_path,
        *(asks({}, answered(rows, headers=FRESH | {"cache-control": told} | ({"age": age} if age else {})))
          for told, age, _ in TIMES),
    )  # fmt: skip
    for (*_, (ask_in, lasts)), one in zip(TIMES, made, strict=True):
        assert one["lasts"] == pytest.approx([ask_in, lasts], abs=5)


def test_php_shows_the_last_good_rows_while_the_service_fails(tmp_path: Path) -> None:
    """After a failure nobody waits for a minute. A choice that is refused stops no other. Then there is a link."""
    good, other = answered(["div", [], "old"]), answered(["div", [], "new"])
    for failure in (*DOWN, *ODD):
        is_down = failure in DOWN
        story = said(
            tmp_path,
            asks({}, good),
            asks({}, failure, later=60),
            asks({}, failure, later=31),
            asks({"layout": "line"}, other, later=1),
            asks({}, other, later=20),
            asks({}, other, later=45),
            asks({}, None, later=3700),
        )  # fmt: skip
        shown = ["link" if "<a " in one["html"] else one["html"][5:8] for one in story]
        assert shown == ["old", "old", "old", "link" if is_down else "new", "old", "new", "link"], failure
        counts = [len(page["asked"]) for page in story]
        assert counts == [1, 0, 1, 0 if is_down else 1, 0, 1, 1], failure
        assert story[2]["paused"] == (60 if is_down else 0)
    links = [
        asks({"layout": layout, "lang": lang}, None)
        for layout, lang in (("", "de"), ("bar", "ru"), ("line", "en"), ("inline", "en-GB"), ("inline", "ru-RU"))
    ]
    texts = [one["html"].removesuffix("</a>").rpartition(">") for one in said(tmp_path, *links)]
    assert [text for *_, text in texts] == [
        "Bank of Russia exchange rates",
        "Официальные курсы валют Банка России",
        "Bank of Russia rates",
        "the Bank of Russia rate",
        "по курсу Банка России",
    ]
    assert ["style" in tag for tag, *_ in texts] == [True, True, False, False, False]


def test_php_takes_an_address_or_keeps_the_one_before(tmp_path: Path) -> None:
    """An address has neither query nor fragment."""
    given = (
        "http://a.example/x/",
        " https://a.example ",
        "",
        "https://a.example?x=1",
        "https://a/#x",
        "gopher://a",
        "x",
    )
    before = "http://rates.example"
    taken = ["http://a.example/x", "https://a.example", "", before, before, before, before]
    assert said(tmp_path, *({"address": one} for one in given)) == taken


def test_each_file_of_php_is_whole_and_refuses_to_be_called_by_itself() -> None:
    """By PHP itself; a web server that is asked for one gets an empty page."""
    for file in sorted(PLUGIN.glob("*.php")):
        assert "No syntax errors" in output_of(program("php"), "-l", file)
        assert output_of(program("php"), file) == ""
        guard = "WP_UNINSTALL_PLUGIN" if file.name == "uninstall.php" else "ABSPATH"
        assert f"defined( '{guard}' ) || exit;" in file.read_text("utf-8")
