"""Table A: what the way to the Bank can do to us. Every test serves all the while, and recovers by itself."""

from __future__ import annotations

import asyncio
import inspect
import socket
import ssl
import threading
import zlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, date, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from certificates import Authority
from chaos import (
    OK,
    Front,
    Script,
    answers,
    blackhole,
    drips,
    front_running,
    never_ends,
    resets,
    says,
)
from conftest import Clock, eventually
from fake_bank import Bank, daily_xml
from lag import Lag
from ledger import Fault
from machine import patience
from redis.asyncio import from_url
from sheets import plausible
from spending import spent_on
from watched import FRIDAY, SATURDAY, THURSDAY, Watched, polling, watched

from ratesvc.bank.client import DAILY, BankClient, Limits, Pace
from ratesvc.config import Settings
from ratesvc.domain.history import History
from ratesvc.domain.rates import Revision
from ratesvc.domain.workdays import WorkCalendar
from ratesvc.errors import FetchFailed, SourceError
from ratesvc.service.app import Service
from ratesvc.service.refresh import Cycle
from ratesvc.service.schedule import next_poll_s

pytestmark = pytest.mark.slow

GOOD = daily_xml(plausible(SATURDAY))
LENGTH = b"Content-Length: %d\r\n\r\n"
HTML = b"<!DOCTYPE html><html><head><title>DDOS-GUARD</title></head><body>%s</body></html>"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
async def front(bank: Bank) -> AsyncIterator[Front]:
    bank.publish(plausible(THURSDAY), plausible(FRIDAY))
    async with front_running(bank.url) as running:
        yield running


@pytest.fixture
async def served(settings: Settings, bank: Bank, clock: Clock, front: Front) -> AsyncIterator[Watched]:
    async with watched(polling(settings, front.url), bank, clock) as running:
        yield running


@asynccontextmanager
async def during(front: Front, script: Script | None) -> AsyncIterator[None]:
    """The fault lasts as long as the context."""
    front.misbehave(script)
    try:
        yield
    finally:
        front.misbehave(None)


async def is_survived(script: Script, kind: str, served: Watched, front: Front, bank: Bank, fault: Fault) -> None:
    """Class the failure right, keep serving, and take what was published meanwhile once it is over."""
    async with during(front, script):
        await served.fails(kind)
        await served.polls(2)
        assert await served.health_of("cbr:fetch") == "warn"
        bank.publish(plausible(SATURDAY))
    await fault.recovers(lambda: served.next_is(SATURDAY))


@pytest.mark.timed
@pytest.mark.parametrize("how", ["refused", "reset"])
async def test_A1_connection_refused(how: str, served: Watched, front: Front, bank: Bank, fault: Fault) -> None:
    """Nobody listens, or the connection is reset on accept."""
    if how == "reset":
        await is_survived(resets, "connect", served, front, bank, fault)
        return
    await front.close()
    await served.fails("connect")
    await served.polls(2)
    assert await served.health_of("cbr:fetch") == "warn"
    bank.publish(plausible(SATURDAY))
    await front.open()
    await fault.recovers(lambda: served.next_is(SATURDAY))


def test_A1_back_off_ends_at_ten_minutes() -> None:
    """However long nobody listens, the Bank is asked every ten minutes."""
    moment = datetime(2026, 4, 24, 9, tzinfo=UTC)
    history = History(WorkCalendar(), [Revision(plausible(FRIDAY), 1, moment)])
    refused = Cycle("failed", failure=FetchFailed([("cbr", SourceError("connect", "refused"))]))
    assert max(next_poll_s(history, moment, None, refused, tries) for tries in range(1, 200)) <= 600


@pytest.mark.timed
async def test_A2_a_blackhole(served: Watched, front: Front, bank: Bank, fault: Fault) -> None:
    """SYN packets vanish: the connect is given up in time and nothing else waits for it."""
    await front.close()
    with blackhole(front.port):
        await served.fails("timeout")
        assert "no connection within" in str(
            served.service.telemetry.last_cycle and served.service.telemetry.last_cycle.failure
        )
        lags = []
        for _ in range(3):  # another program may have had the processor
            async with Lag() as lag:
                await served.polls(1)
            lags.append(lag.longest_s)
        bank.publish(plausible(SATURDAY))
    assert min(lags) < 0.05 * patience()
    await front.open()
    await fault.recovers(lambda: served.next_is(SATURDAY))


def test_A2_the_limits_as_shipped() -> None:
    """Five seconds for a connection, 15 for all of an answer, half a megabyte: the tests shrink the seconds."""
    assert Limits(512 * 1024, 15.0, connect_s=5.0) == DAILY
    assert inspect.signature(Service).parameters["limits"].default is DAILY


async def test_A3_headers_dripped(served: Watched, front: Front, bank: Bank, fault: Fault) -> None:
    """One byte of the head every 0.3 s: the time for all of the answer is limited."""
    await is_survived(drips(OK + LENGTH % len(GOOD) + GOOD), "timeout", served, front, bank, fault)


async def test_A4_a_body_dripped(served: Watched, front: Front, bank: Bank, fault: Fault) -> None:
    """The head comes at once, the body one byte every 0.3 s."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + LENGTH % len(GOOD))
        await drips(GOOD)(reader, writer)

    await is_survived(script, "timeout", served, front, bank, fault)


async def test_A5_a_body_shorter_than_its_length(served: Watched, front: Front, bank: Bank, fault: Fault) -> None:
    """Content-Length promises more than comes."""
    await is_survived(says(OK + LENGTH % len(GOOD) + GOOD[:900]), "http", served, front, bank, fault)


async def test_A6_a_body_cut_where_the_connection_ends(served: Watched, front: Front, bank: Bank, fault: Fault) -> None:
    """Without a length the cut document is a whole answer to HTTP, but not XML: nothing of it is kept anywhere."""
    async with during(front, says(OK + b"Connection: close\r\n\r\n" + GOOD[:900])):
        await served.fails("invalid:malformed")
        await served.polls(2)
        assert await served.health_of("cbr:fetch") == "warn"
        assert await held_and_stored(served) == ({THURSDAY, FRIDAY}, {THURSDAY, FRIDAY})
        bank.publish(plausible(SATURDAY))
    await fault.recovers(lambda: served.next_is(SATURDAY))
    assert await held_and_stored(served) == ({THURSDAY, FRIDAY, SATURDAY}, {THURSDAY, FRIDAY, SATURDAY})


async def held_and_stored(served: Watched) -> tuple[set[date], set[date]]:
    """The effective dates in memory, and those in Redis."""
    settings = served.service.settings
    async with from_url(settings.redis.url, decode_responses=True) as client:
        names = await client.hkeys(f"{{{settings.redis.namespace}}}:v1:sheets")
    return set(served.service.history.days), {date.fromisoformat(str(name)[:10]) for name in names}


async def test_A7_chunks_cut(served: Watched, front: Front, bank: Bank, fault: Fault) -> None:
    """The last chunk never comes."""
    script = says(OK + CHUNKED + b"%x\r\n" % len(GOOD) + GOOD[:900])
    await is_survived(script, "http", served, front, bank, fault)


def gzip_bomb() -> bytes:
    """A thousand times the same compressed MB of zeros."""
    squeezer = zlib.compressobj(9, wbits=31)
    head = squeezer.compress(b"") + squeezer.flush(zlib.Z_FULL_FLUSH)
    megabyte = squeezer.compress(b"\0" * (1 << 20)) + squeezer.flush(zlib.Z_FULL_FLUSH)
    return head + megabyte * 1024 + squeezer.flush()


async def test_A8_a_gzip_bomb(served: Watched, front: Front, bank: Bank, fault: Fault) -> None:
    """One MB that would become one GB is refused by its Content-Encoding, unread."""
    script = answers(gzip_bomb(), b"Content-Encoding: gzip")
    await is_survived(script, "encoded", served, front, bank, fault)
    async with during(front, script):
        spent = await spent_on(front.url, GOOD)
    assert spent["kind"] == "encoded"
    assert spent["mb"] <= 8


@pytest.mark.timed
async def test_A9_an_endless_body(served: Watched, front: Front, bank: Bank, fault: Fault) -> None:
    """A plain body without an end is left at half a megabyte."""
    await is_survived(never_ends, "oversize", served, front, bank, fault)
    async with during(front, never_ends):
        tries = [await spent_on(front.url, GOOD) for _ in range(2)]
    assert {spent["kind"] for spent in tries} == {"oversize"}
    assert min(spent["seconds"] for spent in tries) <= patience()
    assert max(spent["mb"] for spent in tries) <= 8


@pytest.mark.parametrize(
    ("body", "encoding"),
    [(b"\x1f\x8bnonsense", b"gzip"), (GOOD, b"br"), (GOOD, b"gzip"), (GOOD, b"deflate, gzip")],
    ids=["bad gzip", "br", "gzip said of plain text", "two"],
)
async def test_A10_an_encoding_that_was_not_asked_for(
    body: bytes, encoding: bytes, served: Watched, front: Front, bank: Bank, fault: Fault
) -> None:
    """We ask for identity; whatever else is named is refused, also where it is a lie."""
    script = answers(body, b"Content-Encoding: " + encoding)
    await is_survived(script, "encoded", served, front, bank, fault)


@pytest.mark.parametrize(
    "target",
    [
        "{same}",
        "http://localhost:{other}/",
        "http://127.0.0.1:{other}/",
        "https://127.0.0.1:{other}/",
        "file:///etc/passwd",
        "//[::1]:{other}/",
        "//localhost:{other}/",
    ],
    ids=["loop", "other port", "loopback", "https elsewhere", "file", "no scheme, IPv6", "no scheme"],
)
async def test_A11_redirects_elsewhere(target: str, served: Watched, front: Front, bank: Bank, fault: Fault) -> None:
    """A redirect in circles, to another host, port or scheme is refused, and nobody there is contacted."""
    async with nobody_asks() as other:
        location = target.format(same="/scripts/XML_daily.asp", other=other).encode()
        script = answers(b"", b"Location: " + location, status=b"302 Found")
        await is_survived(script, "redirect", served, front, bank, fault)


@asynccontextmanager
async def nobody_asks() -> AsyncIterator[int]:
    """A port on 127.0.0.1, and on ::1 where there is IPv6, that nobody may connect to."""
    hits: list[str] = []

    async def counted(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hits.append("hit")
        writer.close()

    async with await asyncio.start_server(counted, "127.0.0.1", 0) as listener:
        port: int = listener.sockets[0].getsockname()[1]
        async with AsyncExitStack() as stack:
            with suppress(OSError):
                await stack.enter_async_context(await asyncio.start_server(counted, "::1", port))
            yield port
    assert hits == []


async def test_A11_a_redirect_from_https_to_http(
    settings: Settings, bank: Bank, clock: Clock, tmp_path: Path, fault: Fault
) -> None:
    """What began encrypted never goes on in the clear, not even on the same host."""
    authority = Authority(tmp_path)
    bank.publish(plausible(THURSDAY), plausible(FRIDAY))
    async with front_running(bank.url, authority.server()) as front, nobody_asks() as other:
        own = polling(settings, front.url)
        own = msgspec.structs.replace(own, cbr=msgspec.structs.replace(own.cbr, ca_file=authority.ca_file))
        async with watched(own, bank, clock) as served:
            location = b"Location: http://localhost:%d/scripts/XML_daily.asp" % other
            await is_survived(answers(b"", location, status=b"302 Found"), "redirect", served, front, bank, fault)


async def test_A12_a_move_from_http_to_https(
    settings: Settings, bank: Bank, clock: Clock, tmp_path: Path, fault: Fault
) -> None:
    """301 to https on the same host is followed, as when the ECB moved in 2018; the certificate is checked."""
    authority = Authority(tmp_path)
    bank.publish(plausible(THURSDAY), plausible(FRIDAY))
    async with front_running(bank.url) as plain, front_running(bank.url, authority.server()) as tls:
        own = polling(settings, plain.url)
        own = msgspec.structs.replace(own, cbr=msgspec.structs.replace(own.cbr, ca_file=authority.ca_file))
        async with watched(own, bank, clock) as served:

            async def moved(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                line = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1]
                location = b"Location: " + tls.url.encode() + line
                writer.write(b"HTTP/1.1 301 Moved\r\n" + location + b"\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()

            plain.misbehave(moved)
            bank.publish(plausible(SATURDAY))
            await fault.recovers(lambda: served.next_is(SATURDAY))
            assert tls.heads


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (answers(HTML % b"403", status=b"403 Forbidden"), "status"),
        (answers(HTML % b"<script>challenge()</script>"), "invalid:html"),
        (answers(b"<html><body>maintenance</body></html>"), "invalid:html"),
    ],
    ids=["403", "challenge", "maintenance"],
)
async def test_A13_a_web_page_instead_of_rates(
    script: Script, kind: str, served: Watched, front: Front, bank: Bank, fault: Fault
) -> None:
    """DDoS-Guard's page, with 403 or with 200, is a failure and not a day without rates."""
    await is_survived(script, kind, served, front, bank, fault)


@pytest.mark.parametrize(
    ("status", "form"), [(b"429 Too Many", "seconds"), (b"503 Unavailable", "date")], ids=["429", "503"]
)
async def test_A14_retry_after(
    status: bytes, form: str, served: Watched, front: Front, bank: Bank, fault: Fault
) -> None:
    """The pause that a mirror asks for is kept, counted from its refusal, in whichever form it is written."""
    date_line = b"Date: " + format_datetime(datetime(2026, 4, 24, 9, 0, 0, tzinfo=UTC), usegmt=True).encode()
    until = format_datetime(datetime(2026, 4, 24, 9, 0, 1, tzinfo=UTC), usegmt=True).encode()
    asks = b"Retry-After: " + (b"1" if form == "seconds" else until)
    clock = asyncio.get_running_loop().time
    refused_at: list[float] = []

    async def refuses(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answers(b"", asks, date_line, status=status)(reader, writer)
        refused_at.append(clock())

    async with during(front, refuses):
        await served.fails("status")
        cycle = served.service.telemetry.last_cycle
        assert cycle
        assert cycle.failure
        assert cycle.failure.retry_after_s == 1
    bank.publish(plausible(SATURDAY))
    await fault.recovers(lambda: served.next_is(SATURDAY))
    assert len(refused_at) == 1
    # A hundredth for the clock on the wall, by which the next poll is due.
    assert clock() - refused_at[0] >= 0.99


async def test_A15_errors_of_the_server(served: Watched, front: Front, bank: Bank, fault: Fault) -> None:
    """500 so many times, then rates again."""
    await is_survived(answers(b"", status=b"500 Oops"), "status", served, front, bank, fault)


def test_A15_nobody_is_hammered() -> None:
    """In no minute of an hour of failures are there more than six requests, second opinions and jitter aside."""
    moment = datetime(2026, 4, 24, 9, tzinfo=UTC)
    history = History(WorkCalendar(), [Revision(plausible(FRIDAY), 1, moment)])
    failed = Cycle("failed", failure=FetchFailed([("cbr", SourceError("status", "500"))]))
    for held in (history, History(WorkCalendar())):
        times = [0.0]
        while times[-1] < 3600:
            times.append(times[-1] + next_poll_s(held, moment, None, failed, len(times)))
        assert max(sum(begin <= other < begin + 60 for other in times) for begin in times) <= 6


async def test_A15_the_pace_holds_whatever_asks(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    """Polls, retries and second opinions of one service together make six requests a minute, shrunk here to 0.5 s."""
    monkeypatch.setattr("ratesvc.bank.client.MINUTE_S", 0.5)
    clock = asyncio.get_running_loop().time
    begun = clock()
    async with BankClient([front.url], "x", pace=Pace(6)) as client:
        for _ in range(8):
            await client.daily(None, lambda _: None)
            await client.daily_in_english(FRIDAY)
    # Of sixteen requests the thirteenth is two of these minutes after the first.
    assert clock() - begun >= 0.5 * 2


WRONG: dict[str, dict[str, Any]] = {
    "expired": {"expired": True},
    "self-signed": {"signer": "itself"},
    "unknown authority": {"signer": "other"},
    "wrong host": {"name": "elsewhere.example"},
    "missing intermediate": {"signer": "middle"},
}


@pytest.mark.parametrize("certificate", list(WRONG))
async def test_A16_a_certificate_that_is_not_the_banks(
    certificate: str, settings: Settings, bank: Bank, clock: Clock, tmp_path: Path, fault: Fault
) -> None:
    """Expired, signed by itself or a stranger, of another host, a link missing: refused, never downgraded."""
    authority = Authority(tmp_path)
    good, wrong = authority.server(), authority.server(**WRONG[certificate])
    bank.publish(plausible(THURSDAY), plausible(FRIDAY))
    async with front_running(bank.url, good) as front:
        own = polling(settings, front.url)
        own = msgspec.structs.replace(own, cbr=msgspec.structs.replace(own.cbr, ca_file=authority.ca_file))
        async with watched(own, bank, clock) as served:
            await change_certificate(front, wrong)
            await served.fails("tls")
            heads = len(front.heads)
            await served.polls(2)
            assert len(front.heads) == heads
            bank.publish(plausible(SATURDAY))
            await change_certificate(front, good)
            await fault.recovers(lambda: served.next_is(SATURDAY))


async def change_certificate(front: Front, context: ssl.SSLContext) -> None:
    await front.close()
    front.tls = context
    await front.open()


@pytest.mark.parametrize("how", ["fails", "hangs"])
async def test_A17_no_name(
    how: str, served: Watched, front: Front, bank: Bank, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The resolver says that there is no such host, or says nothing."""
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
        front.cut()
        await served.fails("dns" if how == "fails" else "timeout")
        await served.polls(2)
        bank.publish(plausible(SATURDAY))
        over.set()
        await fault.recovers(lambda: served.next_is(SATURDAY))


@pytest.mark.parametrize(
    "script",
    [
        says(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 100_000 + b"\r\n\r\n" + GOOD),
        says(b"\xffrubbish instead of a status\r\n\r\n"),
        says(b"SSH-2.0-OpenSSH_9.9\r\n"),
        says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        says(b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: x\r\n" % n for n in range(10_000)) + b"\r\n"),
    ],
    ids=["100 KB header", "garbage", "ssh", "length and chunks", "10 000 headers"],
)
async def test_A18_what_is_not_http(script: Script, served: Watched, front: Front, bank: Bank, fault: Fault) -> None:
    """An oversize header, a garbage status line, two lengths at once."""
    await is_survived(script, "http", served, front, bank, fault)


async def test_A19_cookies(served: Watched, front: Front, bank: Bank) -> None:
    """The Bank's front sets four, which it gets back; a flood is forgotten instead of growing."""
    four = [b"Set-Cookie: __ddg%d_=v%d; Path=/" % (n, n) for n in (1, 8, 9, 10)]
    async with during(front, answers(bank.documents[FRIDAY], *four)):
        await served.polls(2)
    await eventually(lambda: front.heads and b"__ddg1_=v1" in front.heads[-1])
    flood_count = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal flood_count
        lines = []
        for _ in range(100):
            flood_count += 1
            lines.append(b"Set-Cookie: flood%d=%s" % (flood_count, b"x" * 500))
        await answers(bank.documents[FRIDAY], *lines)(reader, writer)

    async with during(front, flood):
        await eventually(lambda: flood_count >= 500)
    await served.polls(2)
    assert max(len(head) for head in front.heads) < 6000
    assert served.service.telemetry.last_cycle
    assert served.service.telemetry.last_cycle.failure is None


async def test_A19_cookies_stay_with_their_host(front: Front, bank: Bank) -> None:
    """Another mirror never sees them, nor a service that starts later."""
    async with front_running(bank.url) as other:
        front.misbehave(answers(b"", b"Set-Cookie: secret=1", status=b"500 Oops"))
        mirror = other.url.replace("localhost", "127.0.0.1")
        async with BankClient([front.url, mirror], "x", pace=Pace(None)) as client:
            await client.daily(None, lambda _: None)
        front.misbehave(None)
        async with BankClient([front.url], "x", pace=Pace(None)) as client:
            await client.daily(None, lambda _: None)
        assert all(b"secret" not in head for head in (*front.heads, *other.heads))


async def test_A20_silence_for_three_hours(
    served: Watched, front: Front, bank: Bank, clock: Clock, fault: Fault
) -> None:
    """The Bank answers with the old sheet, then with nothing, from noon till three; the new sheet is taken at once."""

    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with during(front, silent):
        for _ in range(6):
            clock.advance(minutes=30)
            await served.polls(1)
            await served.fails("timeout")
        bank.publish(plausible(SATURDAY))
    await fault.recovers(lambda: served.next_is(SATURDAY), within_s=3)
