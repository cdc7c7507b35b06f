"""Table A: faults between the service and the Bank. In every test the service keeps serving and recovers by itself."""

from __future__ import annotations

import asyncio
import inspect
import socket
import ssl
import threading
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import date
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from conftest import Clock, but, eventually, first, stored
from kit.bank import Bank, daily_xml
from kit.certificates import Authority
from kit.dates import FRIDAY, NOON, SATURDAY, THURSDAY
from kit.front import OK, Front, Script, answers, blackhole, drips, hangs, never_ends, resets, says
from kit.ledger import Fault
from kit.sheets import plausible
from kit.time import Lag, limit_s
from kit.watched import HASTY, Watched, watched

from ratesvc.bank.client import DAILY, BankClient, Limits, Pace
from ratesvc.config import Settings
from ratesvc.errors import FetchFailed
from ratesvc.service.app import Service
from ratesvc.storage.store import Store

pytestmark = pytest.mark.nightly

GOOD = daily_xml(plausible(SATURDAY))
GOOD_HEAD = OK + b"Content-Length: %d\r\n\r\n" % len(GOOD)
HTML = b"<!DOCTYPE html><html><head><title>DDOS-GUARD</title></head><body>%s</body></html>"


@dataclass
class Upstream:
    """A running service, the Bank, and the front between the two that misbehaves."""

    served: Watched
    front: Front
    bank: Bank
    fault: Fault

    @asynccontextmanager
    async def misbehaving(self, script: Script) -> AsyncIterator[None]:
        self.front.misbehave(script)
        try:
            yield
        finally:
            self.front.misbehave(None)

    async def fails(self, kind: str) -> None:
        """The service gives the failure this kind, warns in /health and keeps serving."""
        await self.served.fails(kind)
        await self.served.polls(2)
        assert await self.served.health_of("cbr:fetch") == "warn"

    async def recovers(self, within_s: float = 5.0) -> None:
        await self.fault.recovers(lambda: self.served.next_is(SATURDAY), within_s)

    async def survives(self, script: Script, kind: str) -> None:
        """The service fails with this kind during the fault, and then takes the sheet that was published meanwhile."""
        async with self.misbehaving(script):
            await self.fails(kind)
            self.bank.publish(plausible(SATURDAY))
        await self.recovers()


Connect = Callable[..., AbstractAsyncContextManager[Upstream]]


@pytest.fixture
def connect(settings: Settings, bank: Bank, clock: Clock, fault: Fault) -> Connect:
    """Starts a service that asks this front; with an authority, its certificates are trusted."""
    bank.publish(plausible(THURSDAY), plausible(FRIDAY))

    @asynccontextmanager
    async def connected(
        front: Front, authority: Authority | None = None, limits: Limits = DAILY
    ) -> AsyncIterator[Upstream]:
        cbr = {"mirrors": (front.url,), **({"ca_file": authority.ca_file} if authority else {})}
        async with watched(but(settings, cbr=cbr), bank, clock, limits) as served:
            yield Upstream(served, front, bank, fault)

    return connected


@pytest.fixture
async def upstream(bank: Bank, connect: Connect, request: pytest.FixtureRequest) -> AsyncIterator[Upstream]:
    """Its parameter has the kind of the failure: a timeout comes soon."""
    limits = HASTY if getattr(request, "param", None) == "timeout" else DAILY
    async with Front(bank.url) as front, connect(front, limits=limits) as running:
        yield running


hasty = pytest.mark.parametrize("upstream", ["timeout"], indirect=True, ids=[""])


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.mark.timed
async def test_A1_connection_refused(upstream: Upstream) -> None:
    """Nobody listens on the Bank's port."""
    await upstream.front.close()
    await upstream.fails("connect")
    upstream.bank.publish(plausible(SATURDAY))
    await upstream.front.open()
    await upstream.recovers()


@pytest.mark.timed
@hasty
async def test_A2_a_blackhole(upstream: Upstream) -> None:
    """SYN packets vanish: the client gives up the connection in time, and nothing else waits for it."""
    await upstream.front.close()
    with blackhole(upstream.front.port):
        await upstream.served.fails("timeout")
        assert "no connection within" in str(upstream.served.last_failure)
        lags = []
        for _ in range(3):  # another program may have had the processor
            async with Lag() as lag:
                await upstream.served.polls(1)
            lags.append(lag.longest_s)
        upstream.bank.publish(plausible(SATURDAY))
    assert min(lags) < limit_s(0.05)
    await upstream.front.open()
    await upstream.recovers()


@pytest.mark.slow
def test_A2_the_limits_as_shipped() -> None:
    """The limits are 5 s for a connection, 15 s for a whole answer and 512 KiB. The tests use fewer seconds."""
    assert Limits(512 * 1024, 15.0, connect_s=5.0) == DAILY
    assert inspect.signature(Service).parameters["limits"].default is DAILY


async def drips_the_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The head comes at once, the body drips."""
    writer.write(GOOD_HEAD)
    await drips(GOOD)(reader, writer)


CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(GOOD)
SURVIVED: dict[str, tuple[Script, str]] = {
    "A1 The Bank's server resets the connection": (resets, "connect"),
    "A3 One byte of the head comes every 0.3 s": (drips(GOOD_HEAD + GOOD), "timeout"),
    "A4 The head comes at once, the body one byte every 0.3 s": (drips_the_body, "timeout"),
    "A5 Content-Length promises more bytes than come": (says(GOOD_HEAD + GOOD[:900]), "http"),
    "A6 A body without a length ends in the middle": (says(OK + b"\r\n" + GOOD[:900]), "invalid:malformed"),
    "A7 The last chunk never comes": (says(CHUNKED + GOOD[:900]), "http"),
    "A10 The answer is bad gzip": (answers(b"\x1f\x8bnonsense", b"Content-Encoding: gzip"), "encoded"),
    "A10 The answer is in Brotli": (answers(GOOD, b"Content-Encoding: br"), "encoded"),
    "A10 The answer is said to be gzip and is plain text": (answers(GOOD, b"Content-Encoding: gzip"), "encoded"),
    "A10 The answer has two encodings": (answers(GOOD, b"Content-Encoding: deflate, gzip"), "encoded"),
    "A13 DDoS-Guard answers 403 with a page": (answers(HTML % b"403", status=b"403 Forbidden"), "status"),
    "A13 DDoS-Guard answers 200 with a challenge": (answers(HTML % b"<script>challenge()</script>"), "invalid:html"),
    "A13 The Bank answers 200 with a page about maintenance": (answers(HTML % b"maintenance"), "invalid:html"),
    "A15 The Bank answers 500 again and again": (answers(b"", status=b"500 Oops"), "status"),
    "A20 The Bank is silent": (hangs, "timeout"),
    "A18 A header is 100 KB long": (says(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n" + GOOD), "http"),
    "A18 The status line is garbage": (says(b"\xffrubbish instead of a status\r\n\r\n"), "http"),
    "A18 The server speaks SSH": (says(b"SSH-2.0-OpenSSH_9.9\r\n"), "http"),
    "A18 The answer has a length and chunks": (says(OK + b"Content-Length: 5\r\n" + CHUNKED[len(OK) :] + GOOD), "http"),
    "A18 The answer has 10,000 headers": (says(OK + b"X: x\r\n" * 10_000 + b"\r\n"), "http"),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("row", "upstream"),
    first(3, ((row, kind) for row, (_, kind) in SURVIVED.items())),
    indirect=["upstream"],
    ids=SURVIVED,
)
async def test_a_wrong_answer(row: str, upstream: Upstream, store: Store) -> None:
    """The failure gets the right kind, and the next right answer is taken: nothing else is held or stored."""
    await upstream.survives(*SURVIVED[row])
    assert {one.effective_date for one in await stored(store)} == {THURSDAY, FRIDAY, SATURDAY}
    assert set(upstream.served.service.history.days) == {THURSDAY, FRIDAY, SATURDAY}


def gzip_bomb() -> bytes:
    """The same compressed MB of zeros, a thousand times."""
    squeezer = zlib.compressobj(9, wbits=31)
    head = squeezer.compress(b"") + squeezer.flush(zlib.Z_FULL_FLUSH)
    megabyte = squeezer.compress(b"\0" * (1 << 20)) + squeezer.flush(zlib.Z_FULL_FLUSH)
    return head + megabyte * 1024 + squeezer.flush()


COSTLY: dict[str, tuple[Script, str]] = {
    "A8 One MB that would unpack to one GB is refused": (answers(gzip_bomb(), b"Content-Encoding: gzip"), "encoded"),
    "A9 The client stops reading a body without an end at half a megabyte": (never_ends, "oversize"),
}


@pytest.mark.timed
@pytest.mark.parametrize("row", COSTLY)
async def test_a_costly_answer(row: str, upstream: Upstream) -> None:
    """It takes neither memory nor time."""
    script, kind = COSTLY[row]
    await upstream.survives(script, kind)
    clock = asyncio.get_running_loop().time
    async with upstream.misbehaving(script), BankClient([upstream.front.url], "x", pace=Pace(None)) as client:
        tracemalloc.start()
        begun = clock()
        with pytest.raises(FetchFailed) as caught:
            await client.newest(date.min)
        taken_s, (_, peak) = clock() - begun, tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert caught.value.kind == kind
    assert taken_s <= limit_s(1)
    assert peak <= 8_000_000


@pytest.mark.slow
async def test_A11_redirects_elsewhere(upstream: Upstream) -> None:
    """The client refuses a redirect to another host, port or scheme, and contacts nobody there; bank has the others."""
    async with nobody_asks() as other:
        location = b"Location: http://localhost:%d/" % other
        await upstream.survives(answers(b"", location, status=b"302 Found"), "redirect")


@asynccontextmanager
async def nobody_asks() -> AsyncIterator[int]:
    """A port to which nobody may connect."""
    hits: list[str] = []

    async def counted(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hits.append("hit")
        writer.close()

    async with await asyncio.start_server(counted, "127.0.0.1", 0) as listener:
        yield listener.sockets[0].getsockname()[1]
    assert hits == []


async def test_A11_a_redirect_from_https_to_http(bank: Bank, connect: Connect, authority: Authority) -> None:
    """A request that began encrypted never goes on unencrypted, not even on the same host."""
    async with Front(bank.url, authority.server()) as front, nobody_asks() as other:
        location = b"Location: http://localhost:%d/scripts/XML_daily.asp" % other
        async with connect(front, authority) as upstream:
            await upstream.survives(answers(b"", location, status=b"302 Found"), "redirect")


async def test_A12_a_move_from_http_to_https(bank: Bank, connect: Connect, authority: Authority) -> None:
    """The client follows 301 to https on the same host, as when the ECB moved in 2018, and checks the certificate."""
    async with Front(bank.url) as plain, Front(bank.url, authority.server()) as tls:

        async def moved(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            line = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1]
            location = b"Location: " + tls.url.encode() + line
            writer.write(b"HTTP/1.1 301 Moved\r\n" + location + b"\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()

        async with connect(plain, authority) as upstream:
            plain.misbehave(moved)
            bank.publish(plausible(SATURDAY))
            await upstream.recovers()
            assert tls.heads


async def test_A14_retry_after(upstream: Upstream) -> None:
    """The service keeps the pause that the Bank asks for, counted from the refusal. Here it asks by a date."""
    later = b"Retry-After: Fri, 24 Apr 2026 09:00:01 GMT"
    date_line = b"Date: " + format_datetime(NOON, usegmt=True).encode()
    clock = asyncio.get_running_loop().time
    refused_at: list[float] = []

    async def refuses(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answers(b"", later, date_line, status=b"503 Unavailable")(reader, writer)
        refused_at.append(clock())

    async with upstream.misbehaving(refuses):
        await upstream.served.fails("status")
        assert upstream.served.last_failure
        assert upstream.served.last_failure.retry_after_s == 1
    upstream.bank.publish(plausible(SATURDAY))
    await upstream.recovers()
    assert len(refused_at) == 1
    # A hundredth for the wall clock, by which the next poll is due.
    assert clock() - refused_at[0] >= 0.99


async def test_A15_the_pace_holds_whatever_asks(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    """Polls, retries and confirmations of one service together make six requests a minute, here a minute of 0.5 s."""
    bank.publish(plausible(FRIDAY))
    monkeypatch.setattr("ratesvc.bank.client.MINUTE_S", 0.5)
    clock = asyncio.get_running_loop().time
    begun = clock()
    async with BankClient([bank.url], "x", pace=Pace(6)) as client:
        for _ in range(8):
            await client.newest(date.min)
            await client.daily_in_english(FRIDAY)
    # Of sixteen requests the thirteenth is sent two such minutes after the first.
    assert clock() - begun >= 0.5 * 2


WRONG: dict[str, dict[str, Any]] = {
    "expired": {"expired": True},
    "self-signed": {"signer": "itself"},
    "unknown authority": {"signer": "other"},
    "wrong host": {"name": "elsewhere.example"},
    "missing intermediate": {"signer": "middle"},
}


@pytest.mark.slow
@pytest.mark.parametrize("certificate", first(1, WRONG))
async def test_A16_a_certificate_that_is_not_the_banks(
    certificate: str, bank: Bank, connect: Connect, authority: Authority
) -> None:
    """The client refuses an expired, self-signed, unknown, foreign or incomplete certificate, and never downgrades."""
    good, wrong = authority.server(), authority.server(**WRONG[certificate])
    async with Front(bank.url, good) as front, connect(front, authority) as upstream:
        await change_certificate(front, wrong)
        await upstream.served.fails("tls")
        assert "its certificate is not trusted: " in upstream.served.service.health()["cbr:fetch"]["output"]
        heads = len(front.heads)
        await upstream.served.polls(2)
        assert len(front.heads) == heads
        bank.publish(plausible(SATURDAY))
        await change_certificate(front, good)
        await upstream.recovers()


async def change_certificate(front: Front, context: ssl.SSLContext) -> None:
    await front.close()
    front.tls = context
    await front.open()


@pytest.mark.parametrize(("how", "upstream"), [("fails", "dns"), ("hangs", "timeout")], indirect=["upstream"])
async def test_A17_no_name(how: str, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """The resolver knows no such host, or does not answer."""
    over = threading.Event()
    real = socket.getaddrinfo

    def resolver(host: Any, *rest: Any, **more: Any) -> Any:
        if host == "localhost" and not over.is_set():
            if how == "fails":
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            over.wait(20)
        return real(host, *rest, **more)

    with monkeypatch.context() as patched:
        patched.setattr(socket, "getaddrinfo", resolver)
        upstream.front.cut()
        await upstream.served.fails("dns" if how == "fails" else "timeout")
        await upstream.served.polls(2)
        upstream.bank.publish(plausible(SATURDAY))
        over.set()
        await upstream.recovers()


async def test_A19_cookies(upstream: Upstream) -> None:
    """The Bank's front sets four cookies and gets them back; the client drops a flood of cookies."""
    served, front, document = upstream.served, upstream.front, upstream.bank.documents[FRIDAY]
    four = [b"Set-Cookie: __ddg%d_=v%d; Path=/" % (n, n) for n in (1, 8, 9, 10)]
    async with upstream.misbehaving(answers(document, *four)):
        await served.polls(2)
    await eventually(lambda: front.heads and b"__ddg1_=v1" in front.heads[-1])
    floods = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal floods
        lines = [b"Set-Cookie: flood%d-%d=%s" % (floods, n, b"x" * 500) for n in range(100)]
        floods += 1
        await answers(document, *lines)(reader, writer)

    async with upstream.misbehaving(flood):
        await eventually(lambda: floods >= 5)
    await served.polls(2)
    assert max(len(head) for head in front.heads) < 6000
    assert served.last_failure is None


@pytest.mark.slow
async def test_A19_cookies_stay_with_their_host(bank: Bank) -> None:
    """Neither another mirror nor a service that starts later sees a mirror's cookies."""
    bank.publish(plausible(FRIDAY))
    async with Front(bank.url) as front, Front(bank.url) as other:
        front.misbehave(answers(b"", b"Set-Cookie: secret=1", status=b"500 Oops"))
        mirror = other.url.replace("localhost", "127.0.0.1")
        async with BankClient([front.url, mirror], "x", pace=Pace(None)) as client:
            await client.newest(date.min)
        front.misbehave(None)
        async with BankClient([front.url], "x", pace=Pace(None)) as client:
            await client.newest(date.min)
        assert all(b"secret" not in head for head in (*front.heads, *other.heads))
