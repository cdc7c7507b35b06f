"""Hostile clients, the parameters: E6 floods of variants, E10 patterns that could run away, E11 addresses in oEmbed."""

from __future__ import annotations

import asyncio
import os
import random
import re
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from conftest import Served
from kit.cases import questions
from kit.http import ask, asking, get
from kit.reader import p99
from kit.service import Program
from kit.time import limit_s

VARIANTS = int(os.environ.get("RATESVC_VARIANTS", "3000"))
READERS = 4
RENDERED = 0.1
MOST_GROWTH = 40 * 1024 * 1024
SLOWEST_S = 0.1
DOCUMENTED = 384 * 1024 * 1024
"""The memory that compose.yaml and deploy/kubernetes.yaml give a replica."""
LONG = 100 * 1024


CODES = ("USD", "EUR", "CNY", "GBP", "JPY", "CHF", "KZT", "TRY")
TAGS = (*("en", "ru", "zh-Hans", "ar", "de", "fr", "pt-BR", "hi", "ja", "th", "uk", "sr-Latn", "fa", "ta", "my", "am"),)


def variants(chance: random.Random) -> Iterator[str]:
    """Targets that all differ; for one in ten the service renders a page."""
    while True:
        some, tag, number = ",".join(chance.sample(CODES, chance.randint(1, 6))), chance.choice(TAGS), chance.random()
        rendered = (
            f"/widget?heading={number}&codes={some}",
            f"/widget/frame?lang={tag}&codes={some}&utm_source={number}",
            f"/widget/rows.json?codes={some}&columns=name,today&heading={number}",
            f"/?lang={tag}&heading={number}",
        )
        cheap = (
            f"/v1/rates?codes={some}&lang={tag}&_={number}",
            f"/v1/convert?amount={chance.randint(1, 10**9)}&from=USD&to=CNY",
            f"/v1/rates?utm_id={'a' * chance.randint(1, 3000)}",
            f"/nowhere?x={number}",
            f"/v1/rates?codes={some}&unknown={number}",
        )
        yield chance.choice(rendered if chance.random() < RENDERED else cheap)


def resident(program: Program) -> int:
    """Bytes in memory."""
    status = Path(f"/proc/{program.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024  # type: ignore[index]


async def flood(url: str, targets: Iterator[str]) -> list[float]:
    """How long each answer took."""
    taken = []

    async def one() -> None:
        async with asking(url) as ask_for:
            for target in targets:
                begun = time.perf_counter()
                answered = await ask_for(get(target))
                taken.append(time.perf_counter() - begun)
                assert answered.status in (200, 400, 404), (target, answered.head)

    await asyncio.gather(*(one() for _ in range(READERS)))
    return taken


@pytest.mark.timed
async def test_E6_a_flood_of_variants(demo: Program) -> None:
    """`RATESVC_VARIANTS` different targets, after 400 languages: memory does not grow, and answers stay quick."""
    from babel.localedata import locale_identifiers  # noqa: PLC0415 -- only the night has it

    seed = int(os.environ.get("SEED", random.randrange(10**6)))  # noqa: S311 -- to be repeated
    targets = variants(random.Random(seed))  # noqa: S311 -- variety, not a secret
    tags = [tag.replace("_", "-") for tag in sorted(locale_identifiers())[::2]][:400]
    await flood(demo.url, (f"{path}lang={tag}" for tag in tags for path in ("/widget?", "/v1/currencies?")))
    await flood(demo.url, islice(targets, 500))  # templates, catalogues and locales are read once
    before = resident(demo)
    taken = await flood(demo.url, islice(targets, VARIANTS))
    after = resident(demo)
    figures = f"{len(taken)} variants: {before / 2**20:.0f} → {after / 2**20:.0f} MB, p99 {p99(taken) * 1000:.1f} ms"
    print(f"SEED={seed} {figures}")  # noqa: T201 -- figures
    assert after - before <= MOST_GROWTH
    assert after < DOCUMENTED
    assert p99(taken) <= limit_s(SLOWEST_S)


# Each makes a pattern of its kind go back and forth, if anything does.
STEPS = ("A", "USD,", " ", "en-", "1", "1.", "-", "a_", "2026-", ";q=", "%", '"a",', "W/", "\u0661", "utm_", "a=", "[")
PUMPS = [*(step * (LONG // len(step)) for step in STEPS), "USD ," * (LONG // 5) + "!"]


PLACES = ("/v1/rates?codes=", "/v1/series?codes=", "/widget?heading=", "/?lang=", "/rate?date=", "/oembed?url=")


async def test_E10_over_http_the_limit_answers(served: Served) -> None:
    """100 KB in a parameter never reach a route, and the longest allowed request line is answered."""
    for pump in PUMPS:
        assert (await ask(served.url, get(f"/v1/rates?codes={quote(pump)}"), closes=True)).status == 400
        for target in PLACES:
            status = (await ask(served.url, get(target + quote(pump)[:7800]))).status
            assert status in (200, 400, 404), (target, pump[:6])


async def test_E11_oembed_asks_nobody(served: Served) -> None:
    """oEmbed refuses every address that is not ours, and neither connects nor looks up a name."""
    own = served.url.removeprefix("http://").replace("127.0.0.1", "localhost")
    called: list[object] = []
    trap = await asyncio.start_server(lambda reader, _: called.append(reader), "127.0.0.1", 0)
    port = trap.sockets[0].getsockname()[1]
    async with trap:
        for form in questions("forged.txt"):
            opened: list[object] = []
            watched.append(opened)
            answered = await ask(served.url, get(f"/oembed?url={quote(form.format(trap=port, own=own), safe='')}"))
            watched.remove(opened)
            assert (form, answered.status, answered.document["type"]) == (form, 404, "urn:ratesvc:not_embeddable")
            assert {at for at in opened if at != ("127.0.0.1", int(own.split(":")[1]))} == set(), form
        assert called == []


watched: list[list[object]] = []
LOOK_UPS = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo")


def _connecting(event: str, arguments: tuple[Any, ...]) -> None:
    for opened in watched:
        if event == "socket.connect" and isinstance(arguments[1], tuple):
            opened.append(arguments[1])
        if event in LOOK_UPS:
            opened.append(arguments)


sys.addaudithook(_connecting)
