"""Requests to the Bank: which mirror is next, and networks with a proxy. Wrong answers are faults A."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from aiohttp import web
from kit.bank import Bank, bank_running, daily_xml, sheet, unavailable
from kit.certificates import Authority
from kit.dates import FRIDAY
from kit.front import END_OF_HEAD, Front
from kit.service import run
from kit.sheets import plausible

from ratesvc.bank.client import DAILY_PATH, BankClient, Question, moment_of, trusted
from ratesvc.bank.xml import parse_daily
from ratesvc.domain.rates import Sheet
from ratesvc.errors import BadDocument, FetchFailed

DAY = date(2026, 4, 24)


@pytest.fixture
async def client(bank: Bank) -> AsyncIterator[BankClient]:
    bank.publish(sheet(DAY))
    async with BankClient([bank.url], "ratesvc-tests") as opened:
        yield opened


async def test_a_day_is_asked_for_as_the_bank_writes_it(bank: Bank, client: BankClient) -> None:
    """date_req=dd/mm/yyyy. The answer may have an earlier date. The client names itself and asks for plain bytes."""
    assert await client.daily(date(2026, 4, 26), DAY) == (sheet(DAY), daily_xml(sheet(DAY)))
    assert bank.asked[0].query["date_req"] == "26/04/2026"
    assert bank.asked[0].headers["User-Agent"] == "ratesvc-tests"
    assert bank.asked[0].headers["Accept-Encoding"] == "identity"


def test_a_date_header_is_a_moment_or_nothing() -> None:
    """A broken proxy writes a year of twenty digits."""
    assert moment_of("Fri, 24 Apr 2026 08:00:00 GMT") == datetime(2026, 4, 24, 8, tzinfo=UTC)
    for text in ("yesterday", f"Fri, 24 Apr {'9' * 20} 09:00:00 GMT", "Fri, 24 Apr 2026 08:00:00 -0000"):
        assert moment_of(text) is None


def test_an_authority_is_trusted_besides_those_of_the_system(tmp_path: Path) -> None:
    """A network's proxy may open TLS for some addresses only."""
    own = trusted(str(Authority(tmp_path).ca_file))
    assert own.cert_store_stats()["x509"] == trusted("").cert_store_stats()["x509"] + 1


async def test_no_error_repeats_the_password_of_a_mirror(bank: Bank) -> None:
    """The log and /health show the text of a failure."""
    bank.misbehave = unavailable
    texts = []
    for address in (bank.url, bank.url.replace("http://", "http://reader:secret@")):
        async with BankClient([address], "ratesvc-tests") as client:
            with pytest.raises(FetchFailed) as caught:
                await client.daily(None, DAY)
        texts.append([str(caught.value), *(f"{host}: {error}" for host, error in caught.value.failures)])
    assert "Authorization" in bank.asked[1].headers
    assert texts[0] == texts[1]


@pytest.mark.parametrize(("path", "most"), [("daily", 512), ("valFull", 4096), ("dynamic", 4096), ("", 4096)])
async def test_an_answer_is_so_long_and_no_longer(path: str, most: int, bank: Bank, client: BankClient) -> None:
    """In kB, to the byte. What features ask has the limits of a series."""
    asks: dict[str, Callable[[], Awaitable[object]]] = {
        "daily": lambda: client.daily(DAY, DAY),
        "valFull": client.catalogue,
        "dynamic": lambda: client.dynamic("R01235", DAY, DAY),
        "": lambda: client.ask(Question(DAILY_PATH), parse_daily),
    }

    async def padded(request: web.Request) -> web.Response:
        answer = await bank.honest(request)
        assert isinstance(answer, web.Response)
        assert isinstance(answer.body, bytes)
        return web.Response(body=answer.body.ljust(length), content_type="text/xml")

    bank.misbehave, length = padded, most * 1024
    assert await asks[path]()
    length += 1
    with pytest.raises(FetchFailed, match="more than"):
        await asks[path]()


async def test_the_next_mirror_is_asked_when_one_fails(bank: Bank) -> None:
    """In the configured order. A mirror with an unacceptable sheet has failed, too."""
    bank.misbehave = unavailable
    async with bank_running() as other:
        other.publish(sheet(DAY))
        mirrors = ["http://127.0.0.1:1", bank.url, other.url]
        async with BankClient(mirrors, "x") as client:
            assert (await client.daily(None, DAY))[0] == sheet(DAY)
            assert len(bank.asked) == len(other.asked) == 1
            bank.misbehave = None
            bank.publish(sheet(DAY, shift=1))
            refused = sheet(DAY, shift=1)

            def not_that(raw: bytes) -> Sheet:
                found = parse_daily(raw)
                if found == refused:
                    raise BadDocument("core", "not that one")
                return found

            assert (await client.daily(None, DAY, not_that))[0] == sheet(DAY)


async def test_a_mirror_that_lacks_the_sheet_that_is_due_is_passed_over(bank: Bank) -> None:
    """The next one is asked. If none has it, the newest of all their sheets counts, whichever mirror has it."""
    bank.publish(sheet(date(2026, 4, 22)))
    async with bank_running() as fresh, bank_running() as old:
        fresh.publish(sheet(DAY), sheet(date(2026, 4, 21)))
        old.publish(sheet(date(2026, 4, 21)))
        async with BankClient([bank.url, fresh.url, old.url], "x") as client:
            assert (await client.daily(None, date(2026, 4, 22)))[0].effective_date == date(2026, 4, 22)
            assert (len(bank.asked), len(fresh.asked)) == (1, 0)
            assert (await client.daily(None, DAY))[0].effective_date == DAY
            assert len(old.asked) == 0
            assert (await client.daily(None, date(2026, 4, 25)))[0].effective_date == DAY
            assert (len(bank.asked), len(fresh.asked), len(old.asked)) == (3, 2, 1)
            newest = [mirror.newest for mirror in client.mirrors]
            await client.daily(date(2026, 4, 21), date(2026, 4, 25))
            assert [mirror.newest for mirror in client.mirrors] == newest, "another day's is not its newest"


NAME = "bank.example"
CANARY = "canary-7Jq2"


class Proxy(Front):
    """A small HTTP proxy. It leads every host to the Bank or, through a tunnel, to the port `tunnel`."""

    tunnel = 0
    password = ""

    @property
    def url(self) -> str:
        user = f"clerk:{self.password}@" if self.password else ""
        return f"http://{user}127.0.0.1:{self.port}"

    @property
    def asked(self) -> list[str]:
        """The request lines."""
        return [head.split(b"\r\n")[0].decode() for head in self.heads]

    async def lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(END_OF_HEAD)
        self.heads.append(head)
        if self.password and base64.b64encode(f"clerk:{self.password}".encode()) not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        tunneled = head.startswith(b"CONNECT ")
        there, back = await asyncio.open_connection("127.0.0.1", self.tunnel if tunneled else self.upstream)
        if tunneled:
            writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        else:
            back.write(head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
        try:
            await asyncio.gather(_pump(reader, back), _pump(there, writer))
        finally:
            back.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while part := await reader.read(65536):
        writer.write(part)
        await writer.drain()
    writer.close()


@pytest.fixture
async def proxy(bank: Bank) -> AsyncIterator[Proxy]:
    bank.publish(plausible(FRIDAY))
    async with Proxy(bank.url) as running:
        running.misbehave(running.lead)
        yield running


@pytest.fixture
async def ca_file(bank: Bank, proxy: Proxy, tmp_path: Path) -> AsyncIterator[str]:
    """The authority of the Bank's certificate. The proxy's tunnels lead to a Bank with TLS."""
    authority = Authority(tmp_path)
    async with Front(bank.url, authority.server(name=NAME)) as front:
        proxy.tunnel = front.port
        yield authority.ca_file


async def effective(mirror: str, proxy: str, ca_file: str = "") -> date:
    async with BankClient([mirror], "x", proxy=proxy, ca_file=ca_file) as client:
        return (await client.daily(None, date.min))[0].effective_date


async def test_a_bank_with_tls_behind_a_proxy_and_an_authority_of_our_own(proxy: Proxy, ca_file: str) -> None:
    """CONNECT opens the tunnel; the client trusts the certificate only with cbr.ca_file."""
    assert await effective(f"https://{NAME}", proxy.url, ca_file) == FRIDAY
    assert proxy.asked == [f"CONNECT {NAME}:443 HTTP/1.1"]
    with pytest.raises(FetchFailed) as caught:
        await effective(f"https://{NAME}", proxy.url)
    assert caught.value.kind == "tls"


@pytest.mark.parametrize("mirror", [f"http://{NAME}", f"https://{NAME}"])
async def test_a_proxy_that_asks_for_a_password(mirror: str, proxy: Proxy, ca_file: str) -> None:
    """The proxy gets the password of the address; an error about a wrong one does not repeat it."""
    proxy.password = "right"  # noqa: S105 -- of this proxy
    assert await effective(mirror, proxy.url, ca_file) == FRIDAY
    with pytest.raises(FetchFailed) as caught:
        await effective(mirror, proxy.url.replace("right", CANARY), ca_file)
    assert caught.value.kind in {"status", "http"}
    assert "407" in str(caught.value)
    assert CANARY not in str(caught.value)


@pytest.mark.nightly
async def test_the_usual_environment_and_the_setting(bank: Bank, proxy: Proxy, tmp_path: Path) -> None:
    """The client follows HTTP_PROXY and NO_PROXY; cbr.proxy is stronger than both."""
    names = {"RATESVC_CBR_MIRRORS": f"http://{NAME}", "HTTP_PROXY": proxy.url}
    direct = {"RATESVC_CBR_MIRRORS": bank.url, "HTTP_PROXY": "http://127.0.0.1:1", "RATESVC_CBR_PROXY": proxy.url}
    shown = ("show", "USD", "--date", str(FRIDAY))
    for name, variables in {"usual": names, "setting": direct}.items():
        folder = tmp_path / name
        folder.mkdir()
        proxy.heads.clear()
        code, out, err = await run(folder, *shown, **variables)
        assert (code, "USD" in out) == (0, True), err
        assert proxy.asked
    code, _, err = await run(tmp_path, *shown, **names, NO_PROXY=NAME)
    assert code == 1
    assert "dns" in err
