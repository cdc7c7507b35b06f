"""The pages choose the reader's language, and say what search engines may list."""

from __future__ import annotations

import asyncio
import json
import re
import struct
from html import unescape
from itertools import product
from unittest.mock import Mock
from urllib.parse import urljoin, urlsplit

import pytest
from conftest import Served
from kit.http import ask, get

from ratesvc.features.docs import openapi_json
from ratesvc.features.docs.reference import titles
from ratesvc.features.rendering import Queue
from ratesvc.features.site import png
from ratesvc.installed import FEATURES


async def test_the_browser_chooses_the_language_where_none_is_asked_for(served: Served) -> None:
    """Each request anew, also after another reader's; caches keep one page for each Accept-Language."""
    asked = [("ru-RU, en;q=0.8", "", "ru"), ("de, en;q=0.5", "", "en"), ("ru", "", "ru"), ("", "", "en")]
    asked += [("en", "lang=en", "en"), ("ru", "lang=en", "en"), ("en", "ui=ru", "ru")]
    for path, (accepted, lang, shown) in product(
        ("/", "/rate?code=USD", "/chart?codes=USD&since=2026-04-23", "/docs", "/docs/api", "/rate?code=?"), asked
    ):
        status, headers, body = await served.get(f"{path}{'&' if '?' in path else '?'}{lang}", Accept_Language=accepted)
        assert f'<html lang="{shown}"'.encode() in body, (path, accepted)
        varies = "Accept-Encoding" if "lang" in lang else "Accept-Encoding, Accept-Language"
        assert headers.get("Vary") == (varies if status == 200 else None)
    for path in ("/rate", "/nowhere"):
        lines = "Accept: text/html", "Accept-Language: de", "Accept-Language: ru"
        assert b'<html lang="ru"' in (await ask(served.url, get(path, *lines))).body, (
            "a proxy may split a list into lines"
        )


def ours(served: Served) -> str:
    """The address with which links begin."""
    return served.url.replace("127.0.0.1", "localhost")


PAGES = [
    "/",
    "/?layout=inline",
    "/?ui=ru",
    "/rate?date=2026-04-24",
    "/chart?since=2026-04-23",
    "/docs",
    "/docs/api",
    "/nowhere",
]


@pytest.mark.parametrize("path", PAGES)
async def test_every_page_says_what_a_preview_of_it_shows(served: Served, path: str) -> None:
    """Title, description, icon, and a picture that is there; a page of nothing has none."""
    _, _, body = await served.get(path, Accept="text/html,*/*", Accept_Language="" if "ui=" in path else "ru")
    page = unescape(body.decode())
    head, title = page.partition("</head>")[0], page.partition("<title>")[2].partition("</title>")[0]
    found = dict(re.findall(r'<meta (?:name|property)="([\w:]+)" content="([^"]*)">', head))
    assert found["og:title"] == title
    assert found["og:description"] == found["description"]
    assert 10 < len(found["description"]) < 200
    assert f'<link rel="icon" href="{ours(served)}/favicon.ico"' in head
    assert ("og:image" in found) == (path != "/nowhere")
    if "og:image" in found:
        status, headers, picture = await served.get(found["og:image"].removeprefix(ours(served)))
        assert (status, headers["Content-Type"]) == (200, "image/png")
        width, height = struct.unpack(">II", picture[16:24])
        assert 1.88 < width / height < 1.93, "previews cut what is higher"
        assert width >= 600
        assert "lang=ru" in found["og:image"]


@pytest.mark.parametrize("path", PAGES)
async def test_every_page_begins_with_the_same_row_of_links(served: Served, path: str) -> None:
    """It leads to all pages in the reader's language, and says which of them this is."""
    for lang, names in (("ru", ["Виджет", "График", "Курс на дату", "API"]), ("en", ["Widget", "Chart"])):
        address = f"{path.replace('ui=ru', '')}{'&' if '?' in path else '?'}lang={lang}"
        _, _, body = await served.get(address, Accept="text/html")
        row = body.decode().partition('<header class="top">')[2].partition("</nav>")[0]
        links = re.findall(r'<a href="([^"]+)"( aria-current="page")?>([^<]+)</a>', row)
        assert [name for _, _, name in links][: len(names)] == names
        here = [urlsplit(link).path for link, is_here, _ in links if is_here]
        assert (
            here
            == [one for one in ("/chart", "/rate", "/docs", "/") if path.startswith(one) and "nowhere" not in path][:1]
        )
        for link, _, _ in links:
            assert f'<html lang="{lang}"'.encode() in (await served.get(link.removeprefix(ours(served))))[2]


async def test_a_browser_gets_a_page_where_there_is_nothing(served: Served) -> None:
    """In its language, with the ways that there are; a program gets a problem."""
    status, headers, body = await served.get("/nowhere/<b>", Accept="text/html,*/*;q=0.8", Accept_Language="ru")
    assert (status, headers["Content-Type"], headers["Cache-Control"]) == (404, "text/html; charset=utf-8", "no-store")
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    page = body.decode()
    assert "Такой страницы нет" in page
    assert "/nowhere/%3Cb%3E</code>" in page
    for link in re.findall(r'<a href="(http[^"]+)"', page):
        assert (await served.get(link.removeprefix(ours(served))))[0] == 200
    (english,) = re.findall(r'<a href="([^"]+)" lang="en"', page)
    _, _, body = await served.get(f"/nowhere{english}", Accept="text/html", Accept_Language="ru")
    assert "<title>There is no such page · Bank of Russia rates</title>" in body.decode()
    _, _, body = await served.get("/charts", Accept="text/html")
    assert 'Did you mean <a href="' in body.decode()
    assert '/chart"><code dir="ltr">/chart</code>' in body.decode()
    status, headers, _ = await served.get("/nowhere", Accept="*/*")
    assert (status, headers["Content-Type"]) == (404, "application/problem+json")


async def test_the_links_of_the_manual_lead_somewhere(served: Served) -> None:
    """In both languages, also those of the search's index. Examples have the address of this service."""
    found = {}
    for lang, name in product(("en", "ru"), (*titles(FEATURES), "search.json")):
        address = f"/docs{name and f'/{name}'}?lang={lang}"
        status, headers, body = await served.get(address)
        assert status == 200, address
        found[address] = body.decode()
        assert "localhost:8080" not in found[address]
        if name == "search.json":
            assert headers["Content-Type"] == "application/json"
            found[address] = "".join(f'href="{section[0]}"' for section in json.loads(body))
            assert found[address].count("/docs/api") > 25
            for one in titles(FEATURES):  # by its title, too
                page = f"/docs{one and f'/{one}'}?lang={lang}"
                (anchor,) = re.findall('<h1 id="(.+?)">', found[page])
                assert f"{page}#{anchor}" in found[address]
    for address, page in found.items():
        for target, anchor in re.findall(rf'href="(?:{ours(served)}(/docs[^"#]*))?(#[^"]+)?"', page):
            assert not anchor or f' id="{anchor[1:]}"' in found[target or address], (address, target, anchor)
        if address.startswith("/docs/api"):
            text = re.sub(r"<pre.*?</pre>|<code>.*?</code>", "", page, flags=re.DOTALL)
            assert not re.search(r"`|\]\(|\*\*", text.partition("<main>")[2]), address
    assert (await served.get("/docs/nowhere"))[0] == 404


async def test_a_next_day_without_rates_has_a_page_that_says_why(served: Served) -> None:
    """Before the Bank has set them, and before anything is known."""
    for status, why in (404, b"has not set the rate for this day yet"), (503, b"No rates have been received yet"):
        found, headers, body = await served.get("/rate?date=next")
        assert (found, headers["Content-Type"], why in body) == (status, "text/html; charset=utf-8", True)
        served.service.publication = None


async def test_the_reference_has_its_examples_while_long_answers_wait(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without them it would be kept so until the next sheet. A short archive is no long answer."""
    monkeypatch.setattr(Queue.LONG, "most", 0)
    assert [(await served.get(f"/v1/history.csv{days}"))[0] for days in ("", "?since=today")] == [503, 200]
    _, _, body = await served.get("/docs/history")
    assert re.search(b">effective_date,code,nominal,value,unit_rate,revision,roubles,name\n2026-04-24,USD,1,", body)


async def test_the_reference_is_made_once_for_all_who_wait(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a tenth of a second in the threads of small answers, so they would wait for each reader."""
    made = Mock(wraps=openapi_json.operations)
    monkeypatch.setattr(openapi_json, "operations", made)
    answers = await asyncio.gather(*(served.get("/docs") for _ in range(9)))
    assert {status for status, _, _ in answers} == {200}
    assert made.call_count == 1


def behind_a_prefix(document: str, link: str) -> str:
    """The path that a link in this document leads to, where a proxy removes a prefix from each path."""
    return urljoin(f"https://a.example/prefix{document}", link).removeprefix("https://a.example/prefix")


async def test_programs_find_the_api_by_a_well_known_address(served: Served) -> None:
    """RFC 9727: links to the description for programs and to that for people, which answer; HEAD links to itself."""
    status, headers, body = await served.get("/.well-known/api-catalog")
    assert (status, headers["Content-Type"].partition(";")[0]) == (200, "application/linkset+json")
    assert 'profile="https://www.rfc-editor.org/info/rfc9727"' in headers["Content-Type"]
    (api,) = json.loads(body)["linkset"]
    for relation in ("service-desc", "service-doc"):
        (link,) = api[relation]
        found, answered, _ = await served.get(behind_a_prefix("/.well-known/api-catalog", link["href"]))
        assert (found, answered["Content-Type"].partition(";")[0]) == (200, link["type"])
    described = json.loads((await served.get("/openapi.json"))[2])["paths"]
    assert {behind_a_prefix("/.well-known/api-catalog", link["href"]) for link in api["item"]} <= described.keys()
    async with served.http.head(f"{served.url}/.well-known/api-catalog") as head:
        assert head.headers["Link"].endswith('/.well-known/api-catalog>; rel="api-catalog"')


async def test_a_language_model_reads_each_address_with_an_example_that_works(served: Served) -> None:
    """Markdown: a title, what it is, and a link for each address of the contract."""
    _, headers, body = await served.get("/llms.txt")
    text = body.decode()
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
    assert text.startswith("# ratesvc\n\n> The Bank of Russia's official exchange rates")
    links = re.findall(r"^- \[.+?\]\((\S+)\)", text, re.MULTILINE)
    described = json.loads((await served.get("/openapi.json"))[2])["paths"]
    assert len(links) == sum(map(len, described.values()))
    for link in links:
        path = behind_a_prefix("/llms.txt", link)
        if "/v1/rates" in path:
            assert (await served.get(path))[0] in (200, 404), path


@pytest.mark.parametrize("lacks", ["PIL", "resvg_py"])
def test_pictures_need_both_libraries(lacks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many machines have one of them."""
    monkeypatch.setattr(png, "find_spec", lambda name: None if name == lacks else name)
    assert not png.installed()
