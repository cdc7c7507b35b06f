"""Table A: faults between the service and the Bank. The client names each, and the service recovers by itself."""

from __future__ import annotations

import asyncio
import socket
import threading
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from conftest import eventually
from kit.bank import Bank, daily_xml
from kit.certificates import Authority
from kit.dates import FRIDAY, THURSDAY
from kit.front import OK, Front, Script, answers, blackhole, drips, hangs, never_ends, resets, says
from kit.sheets import plausible
from kit.time import Lag, limit_s

from ratesvc.bank.client import DAILY_LIMITS, BankClient, Limits
from ratesvc.errors import FetchFailed

GOOD = daily_xml(plausible(FRIDAY))
GOOD_HEAD = OK + b"Content-Length: %d\r\n\r\n" % len(GOOD)
# For what ends by a limit of time.
SOON = Limits(512 * 1024, 0.3, connect_s=0.2)
HTML = b"<!DOCTYPE html><html><head><title>DDOS-GUARD</title></head><body>%s</body></html>"


@pytest.fixture
async def front(bank: Bank) -> AsyncIterator[Front]:
    bank.publish(plausible(THURSDAY), plausible(FRIDAY))
    async with Front(bank.url) as running:
        yield running


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def asking(front: Front, authority: Authority | None = None, limits: Limits = DAILY_LIMITS) -> BankClient:
    """A client that asks this front; with an authority, its certificates are trusted."""
    client = BankClient([front.url], "x", ca_file=str(authority.ca_file) if authority else "")
    client.daily_limits = limits
    return client


async def newest(client: BankClient) -> date:
    return (await client.daily(None, FRIDAY))[0].effective_date


async def fails(client: BankClient, kind: str, words: str = "") -> FetchFailed:
    with pytest.raises(FetchFailed) as caught:
        await client.daily(None, FRIDAY)
    assert caught.value.kind == kind
    assert words in str(caught.value)
    return caught.value


async def drips_the_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The head comes at once, the body drips."""
    writer.write(GOOD_HEAD)
    await drips(GOOD)(reader, writer)


def moved(to: str) -> Script:
    return answers(b"", f"Location: {to}".encode(), status=b"302 Found")


CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(GOOD)
GZIP = b"Content-Encoding: gzip"
HOST = "another host, port or scheme"
ANSWERS: dict[str, tuple[Script, str, str]] = {
    "A1 The Bank's server resets the connection": (resets, "connect", ""),
    "A3 One byte of the head comes every 0.3 s": (
        drips(GOOD_HEAD + GOOD),
        "timeout",
        "within 0.",
    ),
    "A4 The head comes at once, the body one byte every 0.3 s": (drips_the_body, "timeout", "within 0."),
    "A5 Content-Length promises more bytes than come": (says(GOOD_HEAD + GOOD[:900]), "http", ""),
    "A6 A body without a length ends in the middle": (says(OK + b"\r\n" + GOOD[:900]), "invalid:malformed", ""),
    "A7 The last chunk never comes": (says(CHUNKED + GOOD[:900]), "http", ""),
    "A9 A body is longer than half a megabyte": (answers(b"<" * (2**19 + 1)), "oversize", "524288 bytes"),
    "A10 The answer is said to be gzip": (answers(GOOD, GZIP), "encoded", "'gzip' though identity was asked for"),
    "A10 The answer has two encodings": (answers(GOOD, b"Content-Encoding: deflate, gzip"), "encoded", "gzip"),
    "A11 A redirect leads to another host": (moved("https://example.org/"), "redirect", HOST),
    "A11 A redirect leads to a file": (moved("file:///etc/passwd"), "redirect", HOST),
    "A11 Redirects never end": (moved("/scripts/XML_daily.asp"), "redirect", "more than 3"),
    "A13 DDoS-Guard answers 403 with a page": (
        answers(HTML % b"403", status=b"403 Forbidden"),
        "status",
        "403, beginning b'<!DOCTYPE html>",
    ),
    "A13 DDoS-Guard answers 200 with a challenge": (answers(HTML % b"<script>"), "invalid:html", "a web page instead"),
    "A13 A ratesvc with recorded figures answers": (answers(GOOD, b"X-Ratesvc-Demo: recorded"), "demo", "--demo"),
    "A15 The Bank answers 500": (answers(b"", status=b"500 Oops"), "status", "500"),
    "A18 A header is 100 KB long": (says(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n" + GOOD), "http", ""),
    "A18 The server speaks SSH": (says(b"SSH-2.0-OpenSSH_9.9\r\n"), "http", ""),
    "A18 The answer has a length and chunks": (
        says(OK + b"Content-Length: 5\r\n" + CHUNKED[len(OK) :] + GOOD),
        "http",
        "",
    ),
    "A18 The answer has 10,000 headers": (says(OK + b"X: x\r\n" * 10_000 + b"\r\n"), "http", ""),
    "A20 The Bank is silent": (hangs, "timeout", "within 0."),
}


@pytest.mark.parametrize("row", ANSWERS)
async def test_a_wrong_answer(row: str, front: Front) -> None:
    """A person on call reads in the log what came. The client takes the next right answer."""
    script, kind, words = ANSWERS[row]
    async with asking(front, limits=SOON if kind == "timeout" else DAILY_LIMITS) as client:
        front.misbehave(script)
        await fails(client, kind, words)
        front.misbehave(None)

        async def answers_again() -> bool:
            try:
                return await newest(client) == FRIDAY
            except FetchFailed:  # a crowded machine may need longer than a hasty client waits
                return False

        await eventually(answers_again)


async def test_A11_redirects_to_another_port_or_out_of_tls(bank: Bank, authority: Authority) -> None:
    """The client refuses a redirect to another port, or from https to http, and contacts nobody there."""
    for tls in (None, authority.server()):
        async with Front(bank.url, tls) as front, Front(bank.url) as other, asking(front, authority) as client:
            front.misbehave(moved(f"{other.url}/scripts/XML_daily.asp"))
            await fails(client, "redirect", HOST)
            assert other.heads == []


async def test_A12_a_move_from_http_to_https(front: Front, bank: Bank, authority: Authority) -> None:
    """The client follows three redirects on the same host, also to https, as when the ECB moved in 2018."""
    async with Front(bank.url, authority.server()) as tls, asking(front, authority) as client:
        asked = 0

        async def moves(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal asked
            asked += 1
            await moved(f"{tls.url if asked == 3 else ''}/scripts/XML_daily.asp")(reader, writer)

        front.misbehave(moves)
        assert (await newest(client), asked, len(tls.heads)) == (FRIDAY, 3, 1)


async def test_A14_retry_after(front: Front) -> None:
    """The pause that a mirror asks for, by its own clock. golden/polls.txt has for how long it gets one."""
    date_line = b"Date: Fri, 24 Apr 2026 09:00:00 GMT"
    async with asking(front) as client:
        for text, pause_s in {
            "90": 90,
            "86400": 86400,
            "9" * 1000: 999_999_999,
            "Fri, 24 Apr 2026 09:00:01 GMT": 1,
            "Fri, 24 Apr 2026 11:00:00 GMT": 7200,
            "soon": 0,
            f"Fri, 24 Apr {'9' * 20} 09:00:00 GMT": 0,
        }.items():
            front.misbehave(answers(b"", date_line, f"Retry-After: {text}".encode(), status=b"503 Unavailable"))
            assert (await fails(client, "status")).retry_after_s == pause_s, text


WRONG: dict[str, dict[str, Any]] = {
    "certificate has expired": {"expired": True},
    "self-signed certificate": {"signer": "itself"},
    "unable to get local issuer certificate": {"signer": "other"},
    "Hostname mismatch": {"name": "elsewhere.example"},
    "unable to get local issuer": {"signer": "middle"},
}


async def test_A16_a_certificate_that_is_not_the_banks(bank: Bank, authority: Authority) -> None:
    """The client refuses an expired, self-signed, unknown, foreign or incomplete certificate, and asks nothing."""
    for why, wrong in WRONG.items():
        async with Front(bank.url, authority.server(**wrong)) as front, asking(front, authority) as client:
            await fails(client, "tls", f"its certificate is not trusted: {why}")
            assert front.heads == []


@pytest.mark.parametrize("kind", ["dns", "timeout"])
async def test_A17_no_name(kind: str, front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    """The resolver knows no such host, or does not answer."""
    over, real = threading.Event(), socket.getaddrinfo

    def resolver(host: Any, *rest: Any, **more: Any) -> Any:
        if host == "localhost" and kind == "dns":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if host == "localhost":
            over.wait(20)
        return real(host, *rest, **more)

    with monkeypatch.context() as patched:
        patched.setattr(socket, "getaddrinfo", resolver)
        async with asking(front, limits=DAILY_LIMITS if kind == "dns" else SOON) as client:
            await fails(client, kind, "Name or service not known" if kind == "dns" else "within")
            over.set()
    async with asking(front) as client:
        assert await newest(client) == FRIDAY


async def test_A19_cookies(front: Front) -> None:
    """The Bank's front sets four cookies and gets them back; the client drops a flood of cookies."""
    four = [b"Set-Cookie: __ddg%d_=v%d; Path=/" % (n, n) for n in (1, 8, 9, 10)]
    async with asking(front) as client:
        floods = ([b"Set-Cookie: f%d=%s" % (n, b"x" * 500) for n in range(many)] for many in (100, 15))
        for lines in (four, [], *floods):
            front.misbehave(answers(GOOD, *lines) if lines else None)
            await newest(client)
        front.misbehave(None)
        await newest(client)
    assert [b"__ddg1_=v1" in head for head in front.heads] == [True, False]
    assert max(len(head) for head in front.heads) < 6000


async def test_A19_cookies_stay_with_their_host(front: Front, bank: Bank) -> None:
    """Neither another mirror nor a service that starts later sees a mirror's cookies."""
    async with Front(bank.url) as other:
        front.misbehave(answers(b"", b"Set-Cookie: secret=1", status=b"500 Oops"))
        mirror = other.url.replace("localhost", "127.0.0.1")
        async with BankClient([front.url, mirror], "x") as client:
            await newest(client)
        front.misbehave(None)
        async with asking(front) as client:
            await newest(client)
        assert len(front.heads) == len(other.heads) == 1
        assert all(b"secret" not in head for head in (*front.heads, *other.heads))


def test_A2_the_limits_as_shipped() -> None:
    """The limits are 5 s for a connection, 15 s for a whole answer and 512 KiB. The tests use fewer seconds."""
    assert BankClient([], "x").daily_limits == Limits(512 * 1024, 15.0, connect_s=5.0)


@pytest.mark.timed
async def test_A2_a_blackhole(front: Front) -> None:
    """SYN packets vanish: the client gives up the connection in time, and nothing else waits for it."""
    await front.close()
    lags = []
    with blackhole(front.port):
        async with asking(front, limits=SOON) as client:
            for _ in range(3):  # another program may have had the processor
                async with Lag() as lag:
                    await fails(client, "timeout", "no connection within 0.2 s")
                lags.append(lag.longest_s)
    assert min(lags) < limit_s(0.05)


def gzip_bomb() -> bytes:
    """The same compressed MB of zeros, a thousand times."""
    squeezer = zlib.compressobj(9, wbits=31)
    head = squeezer.compress(b"") + squeezer.flush(zlib.Z_FULL_FLUSH)
    megabyte = squeezer.compress(b"\0" * (1 << 20)) + squeezer.flush(zlib.Z_FULL_FLUSH)
    return head + megabyte * 1024 + squeezer.flush()


COSTLY: dict[str, tuple[Script, str]] = {
    "A8 One MB that would unpack to one GB is refused": (answers(gzip_bomb(), GZIP), "encoded"),
    "A9 The client stops reading a body without an end at half a megabyte": (never_ends, "oversize"),
}


@pytest.mark.timed
@pytest.mark.parametrize("row", COSTLY)
async def test_a_costly_answer(row: str, front: Front) -> None:
    """It takes neither memory nor time."""
    script, kind = COSTLY[row]
    clock = asyncio.get_running_loop().time
    front.misbehave(script)
    async with asking(front) as client:
        tracemalloc.start()
        begun = clock()
        await fails(client, kind)
        taken_s, (_, peak) = clock() - begun, tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert taken_s <= limit_s(1)
    assert peak <= 8_000_000
