"""Table G: the builder's lines for PHP, on a machine with other users, over midnight, and without the service."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from conftest import eventually, program
from kit.bank import Bank, sheet
from kit.browser import got, pasted
from kit.dates import FRIDAY, MIDNIGHT, NOON, SATURDAY, THURSDAY
from kit.reader import heads_of
from kit.service import Program, finished, free_port, serving
from kit.time import LOOSE, WallClock, limit_s

pytestmark = pytest.mark.nightly

LINK = "Bank of Russia exchange rates</a>"
EVIL = "<script>evil()</script>"
OTHER_USER = 65534
TIMEOUT = "'timeout' => 0.5"
WAITS_S = 1.0
TMP = "shared"
STARTS_S = 2.0
"""PHP itself, for each page."""
HALF = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=300\r\nContent-Length: 900\r\n\r\n<div class=cbr-rates>"


@dataclass
class Site:
    """A page with the builder's lines, and its service."""

    service: Program
    wall: WallClock
    folder: Path
    code: str

    async def page(self) -> str:
        """What PHP makes of it, in time."""
        (self.folder / "page.php").write_text(self.code, "utf-8")
        command = (program("php"), "-d", f"sys_temp_dir={self.folder / TMP}", "-d", "display_errors=1", "page.php")
        async with asyncio.timeout(limit_s(WAITS_S + STARTS_S)):
            code, page, errors = await finished(*command, cwd=self.folder, env=os.environ | self.wall.variables)
        assert (code, errors) == (0, "")
        return page

    async def shows(self) -> str:
        """The day that the page calls today, or what else is there."""
        page = await self.page()
        day = dict(heads_of(page)).get("Today")
        return str(day) if day else "the link" if page.endswith(LINK) and page.startswith("<a ") else page

    @property
    def kept(self) -> Path:
        """The folder of copies."""
        (found,) = (self.folder / TMP).glob("cbr-rates-*")
        return found


@pytest.fixture
async def site(bank: Bank, tmp_path: Path) -> AsyncIterator[Site]:
    """On Friday at noon, with Saturday's sheet announced."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY), sheet(SATURDAY))
    (tmp_path / TMP).mkdir()
    wall = WallClock(tmp_path / "clock")
    wall.set(NOON)
    variables = {**wall.variables, "RATESVC_CBR_MIRRORS": bank.url, "RATESVC_POLL_SECONDS": "3600"}
    async with serving(tmp_path, RATESVC_PORT=str(free_port()), **variables) as service:
        await service.ready()
        code = await pasted(service.url, "php", "lang=en")
        await got(code.split("'")[1])  # the first rendering after a start takes long
        assert TIMEOUT in code
        await finished(program("php"), "-v", cwd=tmp_path, env=os.environ | wall.variables)  # so does PHP's own
        patient = code.replace(TIMEOUT, f"'timeout' => {0.5 * LOOSE}")
        yield Site(service, wall, tmp_path, patient)


async def test_G5_php_over_midnight(site: Site) -> None:
    """PHP shows no copy of yesterday: it obeys Cache-Control, whether the service answers, hangs or is down."""
    site.wall.set(MIDNIGHT - timedelta(seconds=90))
    assert await site.shows() == str(FRIDAY)
    site.wall.set(MIDNIGHT)
    assert await site.shows() == str(SATURDAY)
    site.service.kill()
    await site.service.ended()
    site.wall.set(MIDNIGHT + timedelta(hours=23))
    assert await site.shows() == str(SATURDAY)
    site.wall.set(MIDNIGHT + timedelta(hours=24))
    assert await site.shows() == "the link"


@pytest.mark.timed
async def test_G5_php_while_the_service_hangs(site: Site) -> None:
    """The service hangs: a page in ten seconds waits half a second, and shows today's copy, or the link."""
    site.service.kill(signal.SIGSTOP)
    assert await site.shows() == "the link"
    site.service.kill(signal.SIGCONT)
    site.wall.set(NOON + timedelta(seconds=20))
    assert await site.shows() == str(FRIDAY)
    site.service.kill(signal.SIGSTOP)
    site.wall.set(NOON + timedelta(hours=6))
    for _ in range(3):
        assert await site.shows() == str(FRIDAY)
    asked = json.loads((site.kept / "copy").read_text())["ask"]
    assert asked == pytest.approx((NOON + timedelta(hours=6, seconds=10)).timestamp(), abs=5)
    site.service.kill(signal.SIGCONT)


async def test_G5_php_beside_another_user(site: Site) -> None:
    """Another user of the machine plants a folder, a copy or a link: PHP neither shows nor follows it."""
    assert await site.shows() == str(FRIDAY)
    copy, folder = site.kept / "copy", site.kept
    assert (folder.stat().st_mode & 0o777, copy.stat().st_mode & 0o700) == (0o700, 0o600)
    planted = json.dumps({"ask": 2**40, "end": 2**40, "rates": EVIL})
    copy.write_text(planted)
    assert await site.page() == EVIL  # its own copy it believes
    folder.chmod(0o755)
    assert await site.shows() == str(FRIDAY)
    folder.chmod(0o700)
    if os.geteuid() == 0:
        os.chown(folder, OTHER_USER, OTHER_USER)
        assert await site.shows() == str(FRIDAY)
        os.chown(folder, 0, 0)
    folder.rename(site.folder / "elsewhere")
    folder.symlink_to(site.folder / "elsewhere")
    assert await site.shows() == str(FRIDAY)
    assert (site.folder / "elsewhere/copy").read_text() == planted


async def test_G5_php_keeps_whole_answers_only(site: Site) -> None:
    """The service ends in the middle of an answer: the page has the link, and nothing of the half."""
    site.service.kill()
    await site.service.ended()

    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HALF)
        writer.close()

    async with await asyncio.start_server(half, "127.0.0.1", int(site.service.url.rpartition(":")[2])):
        await eventually(site.shows, becomes="the link")
