"""The WordPress plugin's PHP by itself: stand_in.php has the few functions of WordPress that rendering calls."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from conftest import Serve, program
from kit import cases
from kit.bank import Bank, sheet
from kit.dates import FRIDAY, SATURDAY, THURSDAY
from kit.http import fetched
from kit.service import ROOT, output_of
from kit.wordpress import CHOICES, Tree
from yarl import URL

pytestmark = pytest.mark.slow

PLUGIN = ROOT / "deploy/wordpress/cbr-rates"
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
    """Element by element, for each kind of choice. It asks for what the author chose, and for nothing else.

    An attribute that it does not know, is empty or is no text is left out.
    """
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
        asks({**one, "nothing": "1", "codes2": "", "date": ["2026-04-24"]}, answered(text))
        for one, text in zip(CHOICES, texts, strict=True)
    ]
    for one, fragment, shown in zip(asked, whole, said(tmp_path, *given), strict=True):
        html = shown["html"].rpartition("</style>")[2]
        assert Tree(html).found == Tree(fragment.partition("<script")[0]).found, one
        assert shown["block"] == f'<div class="wp-block-cbr-rates">{shown["html"]}</div>'
        ((address, options),) = shown["asked"]
        assert address.startswith("http://rates.example/widget/nodes.json?")
        assert {name: value for name, (value,) in parse_qs(urlsplit(address).query).items()} == one
        assert options == {"timeout": 1, "redirection": 0, "limit_response_size": 65537, "decompress": False}
        has_converter = ["script cbr-rates-converter"] * ("<cbr-converter" in html)
        assert shown["queued"][: 1 + len(has_converter)] == ["style cbr-rates", *has_converter]
        assert ("<style>.cbr-own.cbr-own-dc3545{" in shown["html"]) == ("#dc3545" in one.get("theme", ""))


LINK = '<a href="https://www.cbr.ru/currency_base/daily/"'


def times(line: str) -> dict[str, Any]:
    told, _, age = line.partition("; ")
    headers = FRESH | {"cache-control": told} | ({"age": age} if age else {})
    return asks({}, answered(["div", [], "x"], headers=headers))


ASKED: dict[str, Callable[[str], dict[str, Any]]] = {
    "node": lambda given: asks({}, answered(["div", [], json.loads(given)])),
    "data": lambda given: asks({}, answered(["cbr-converter", ["data", given]])),
    "ground": lambda given: asks({}, answered(json.dumps({"style": given, "content": ["p", [], "x"]}))),
    "link": lambda given: asks(dict(zip(("layout", "lang"), given.split(), strict=True)), None),
    "nowhere": lambda _: asks({}, None) | {"at": ""},
    "times": times,
    "settings": lambda given: {
        "settings": "" if given == "new" else "https://a.example",
        "answer": answered(["p", [], "rows"]) if given == "well" else None,
    },
    "address": lambda given: {"address": given[1:-1]},
    "hook": lambda given: dict(zip(("calls", "reader"), given.split(), strict=False)),
    "remove": lambda given: {"calls": "uninstall", "sites": json.loads(given)},
}
"""What PHP gets for a line of golden/php.txt, by its first word."""


def question(line: str) -> dict[str, Any]:
    kind, _, given = re.sub(r"<x\*(\d+)>", lambda found: "x" * int(found[1]), line).partition(" ")
    return ASKED[kind](given)


def told(line: str, answer: Any) -> str:
    """What PHP makes of it; seconds to the nearest ten, because some pass."""
    match line.partition(" ")[0]:
        case "hook" | "remove":
            made = "\n".join(json.dumps(one, ensure_ascii=False) for one in answer if one).replace(
                str(PLUGIN), "{plugin}"
            )
        case "settings":
            made = " ".join(re.sub(r"<(?!input)[^>]*>", " ", answer).split())
        case "address":
            made = str(answer) or "none"
        case "nowhere":
            made = f"{len(answer['asked'])} are asked"
        case "times":
            made = " ".join(str(10 * round(seconds / 10)) for seconds in answer["lasts"])
        case "link":
            tag, _, text = answer["html"].removesuffix("</a>").rpartition(">")
            made = f"{text}{', on a card' * ('style' in tag)}"
        case _:
            assert answer["paused"] == 0
            html = re.sub("x{30,}", lambda found: f"<x*{len(found[0])}>", answer["html"])
            made = "a link" if html.startswith(LINK) else html.removeprefix("<div>").removesuffix("</div>")
    return made


def test_php_says_what_it_is_asked_for(tmp_path: Path) -> None:
    """golden/php.txt says what, and why."""
    lines = cases.questions("php.txt")
    made = said(tmp_path, *map(question, lines))
    cases.check("php.txt", {line: told(line, answer) for line, answer in zip(lines, made, strict=True)})


def leaves(value: Any, *place: str | int) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """The place of every value in a document, inner and outer, and the value."""
    yield place, value
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in inner:
        yield from leaves(one, *place, name)


def changed(value: Any, place: tuple[str | int, ...], to: Any) -> Any:
    """The same document with another value there."""
    if not place:
        return to
    made = value.copy()
    made[place[0]] = changed(value[place[0]], place[1:], to)
    return made


async def test_an_answer_of_another_form_is_no_answer(bank: Bank, serve: Serve, tmp_path: Path) -> None:
    """Whatever stands in the place of a value: PHP never stumbles, and readers get rows or the link."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    async with serve() as served:
        await served.ready()
        query = "lang=ru&codes=USD&spark=7&converter=1&layout=table&href=https://a.example/"
        whole = json.loads((await served.get(f"/widget/nodes.json?{query}"))[2])
    kinds: list[Any] = [7, -1.5, True, None, "", [], {}, [[]], {"0": {}}, "x" * 9000, [None] * 30, "\ud800", ["x"] * 4]
    others = itertools.cycle(kinds)
    answers = [changed(whole, place, next(others)) for place, _ in leaves(whole) for _ in range(3)]
    made = [one["html"] for one in said(tmp_path, *(asks({}, answered(json.dumps(one))) for one in answers))]
    rows = [html for html in made if not html.startswith(LINK)]
    assert 50 < len(rows) < len(made) - 50
    assert [html for html in rows if Tree(html).depths[-1] or 0 in Tree(html).depths[:-1]] == []


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


def test_a_new_address_is_asked_at_once(tmp_path: Path) -> None:
    """A person who corrects it sees rates, although the pause after the failure is not over."""
    new = "http://new.example"
    story = said(tmp_path, asks({}, DOWN[0]), {"address": new}, asks({}, answered("new"), later=1) | {"at": new})
    assert [len(page["asked"]) for page in (story[0], story[2])] == [1, 1]


def test_each_file_of_php_is_whole_and_refuses_to_be_called_by_itself() -> None:
    """By PHP itself; a web server that is asked for one gets an empty page."""
    for file in sorted(PLUGIN.glob("*.php")):
        assert "No syntax errors" in output_of(program("php"), "-l", file)
        assert output_of(program("php"), file) == ""
        guard = "WP_UNINSTALL_PLUGIN" if file.name == "uninstall.php" else "ABSPATH"
        assert f"defined( '{guard}' ) || exit;" in file.read_text("utf-8")


def test_the_block_offers_each_choice_and_keeps_what_is_chosen() -> None:
    """By block.js with a stand-in of the editor."""
    command = (program("node"), "-e", cases.script("controls of the block"), PLUGIN / "block.js")
    chosen = cases.questions("block.txt")
    cases.check("block.txt", {one: output_of(*command, one).rstrip() for one in chosen})
