"""Networks that reach the Bank through a proxy, or have their own certificate authority."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import pytest
from kit.bank import Bank
from kit.certificates import Authority
from kit.dates import FRIDAY
from kit.front import END_OF_HEAD, Front
from kit.service import run
from kit.sheets import plausible

from ratesvc.bank.client import BankClient, Pace, Transport
from ratesvc.errors import FetchFailed

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


async def effective(mirror: str, transport: Transport) -> date:
    async with BankClient([mirror], "x", pace=Pace(None), transport=transport) as client:
        return (await client.newest(date.min))[0].effective_date


async def test_a_bank_with_tls_behind_a_proxy_and_an_authority_of_our_own(proxy: Proxy, ca_file: str) -> None:
    """CONNECT opens the tunnel; the client trusts the certificate only with cbr.ca_file."""
    assert await effective(f"https://{NAME}", Transport(proxy.url, ca_file)) == FRIDAY
    assert proxy.asked == [f"CONNECT {NAME}:443 HTTP/1.1"]
    with pytest.raises(FetchFailed) as caught:
        await effective(f"https://{NAME}", Transport(proxy.url))
    assert caught.value.kind == "tls"


@pytest.mark.parametrize("mirror", [f"http://{NAME}", f"https://{NAME}"])
async def test_a_proxy_that_asks_for_a_password(mirror: str, proxy: Proxy, ca_file: str) -> None:
    """The proxy gets the password of the address; an error about a wrong one does not repeat it."""
    proxy.password = "right"  # noqa: S105 -- of this proxy
    assert await effective(mirror, Transport(proxy.url, ca_file)) == FRIDAY
    with pytest.raises(FetchFailed) as caught:
        await effective(mirror, Transport(proxy.url.replace("right", CANARY), ca_file))
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
