"""The README does what it says: every command, program and address in it is run, and what it shows is what comes.

Fenced blocks in sh, python and js are run, html is what the builder gives; a text block is what the block before it
prints. Only a remark «checked by FILE» above leaves a block to another file of this project.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from html import unescape
from pathlib import Path

import aiohttp
import pytest
from conftest import eventually, missing
from fake_bank import Bank, around_today, sheet
from processes import ROOT, Program, ran, serving
from release_readme import written

README = (ROOT / "README.md").read_text("utf-8")
FENCE = re.compile(
    r"(?:^<!-- checked by (\S+) -->\n\n)?^```([a-z]+)\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL
)
HERE = "http://localhost:8080"
RUNNING = {
    "python": (sys.executable, "-c"),
    "js": ("node", "--input-type=module", "-e"),
    "sh": ("bash", "-euc"),
}


@dataclass(frozen=True)
class Block:
    """One fenced block, what it is said to print, and who else looks after it."""

    elsewhere: str
    language: str
    text: str
    output: str

    @property
    def commands(self) -> list[str]:
        """The lines of a shell block without remarks; what may be left out is left in."""
        lines = (re.sub(r"\s+#.*", "", line) for line in self.text.splitlines())
        return [re.sub(r"[][]", "", line) for line in lines if line]

    @property
    def kind(self) -> str:
        """Who runs it: its language, or the program that a shell block calls."""
        return self.commands[0].split()[0] if self.language == "sh" else self.language


BLOCKS = [Block(*(part or "" for part in found)) for found in FENCE.findall(README)]
OURS = [block for block in BLOCKS if not block.elsewhere]


def blocks(*kinds: str) -> list[Block]:
    found = [block for block in OURS if block.kind in kinds]
    assert found
    return found


def test_every_block_is_run_or_says_by_whom() -> None:
    """Nothing is left out in silence."""
    assert {block.kind for block in OURS} == {"make", "curl", "python", "js", "html", "tar", "ratesvc"}
    for block in BLOCKS:
        assert not block.elsewhere or (ROOT / block.elsewhere).is_file()


def test_it_is_short_and_its_settings_are_those_of_config_yaml() -> None:
    """`PYTHONPATH=. python tools/release_readme.py` writes the table."""
    assert README.count("\n") < 300
    assert written(README) == README


def test_what_it_links_to_is_there() -> None:
    """Files of this project, and its own headings."""
    titles = re.findall("^#+ (.*)$", README, re.MULTILINE)
    headings = {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert len(links) > 30
    for link in links:
        if link.startswith("#"):
            assert link[1:] in headings
        elif "://" not in link:
            assert (ROOT / link.partition("#")[0]).exists(), link


@pytest.fixture
async def demo(tmp_path: Path) -> AsyncIterator[Program]:
    """`ratesvc serve --demo` with all of its history: the figures that the README shows are recorded ones."""
    async with serving(tmp_path, "--demo") as running:
        await running.ready()

        async def is_whole() -> bool:
            return (await running.get("/v1/series?codes=USD&since=2022-10-01"))[0] == 200

        await eventually(is_whole)
        yield running


@pytest.mark.slow
async def test_what_it_asks_prints_what_it_shows(demo: Program, tmp_path: Path) -> None:
    """curl, Python and JavaScript against a running service."""
    for block in blocks("curl", "python", "js"):
        text = block.text.replace(HERE, demo.url)
        out = await ran((*RUNNING[block.language], text.replace("curl ", "curl -sS --fail ")), tmp_path)
        assert out.splitlines() == block.output.splitlines()


@pytest.mark.slow
async def test_every_address_in_it_answers(demo: Program) -> None:
    """What it asks for, what it gives to browsers, spreadsheets and sites, what it probes, is there."""
    told = README.partition("## Point your client here")[0] + README.partition("### Health")[2]
    paths = set(re.findall(rf"(?:`|{HERE})(/[a-z][^\"'`\s]*)", told))
    assert {"/v1/rates", "/v1/events", "/widget/card.png", "/metrics"} <= paths
    async with aiohttp.ClientSession(demo.url) as http:
        for path in paths:
            async with http.get(path) as answer:
                assert answer.status == 200, path


@pytest.mark.slow
async def test_the_element_is_what_the_builder_gives(demo: Program) -> None:
    """Copied from the first tab, byte for byte."""
    page = unescape((await demo.get("/?lang=en"))[2].decode())
    for block in blocks("html"):
        assert block.text.replace(HERE, demo.url.replace("127.0.0.1", "localhost")).rstrip() in page


def without_make() -> dict[str, str]:
    """The environment, as if the tests had not been started by make: a make in a make says which folder it enters."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}


@asynccontextmanager
async def made(command: str, **variables: str) -> AsyncIterator[Program]:
    """A command of make that serves; ended by Ctrl-C."""
    process = await asyncio.create_subprocess_exec(
        *shlex.split(command),
        cwd=ROOT,
        env={**without_make(), "RATESVC_PORT": "0", **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    running = Program(process)
    try:
        await running.listening()
        yield running
    finally:
        os.killpg(process.pid, signal.SIGINT)
        await running.ended()


@pytest.mark.slow
async def test_the_two_commands_serve_and_say_where(bank: Bank, tmp_path: Path) -> None:
    """`make run` as it stands, with the replica for the Bank; the banner has the lines that the README shows."""
    if not (ROOT / ".venv/ready").exists():
        missing("the environment of make")
    around_today(bank)
    (block,) = blocks("make")
    banner = [line.split()[0] for line in block.output.splitlines()]
    for command in block.commands:
        async with made(command, RATESVC_DATA_DIR=str(tmp_path), RATESVC_CBR_MIRRORS=bank.url) as running:
            assert [line.split()[0] for line in running.output] == banner
            await running.ready()


def test_the_commands_of_those_who_take_part_are_known_to_make() -> None:
    """A dry run; .ci/run, tests/packaging/test_docs.py and everybody's day run them for real."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    commands = [command for block in BLOCKS if block.elsewhere == ".ci/run" for command in block.commands]
    assert commands
    for command in commands:
        assert re.search(rf"^{command.removeprefix('make ')}:", makefile, re.MULTILINE)


@pytest.mark.slow
async def test_the_commands_work_beside_a_running_service(bank: Bank, tmp_path: Path) -> None:
    """Every line of the list, in its order, with all of its options."""
    around_today(bank)
    bank.publish(*(sheet(date(2022, 11, day)) for day in (17, 18, 19)))
    shim = tmp_path / "bin/ratesvc"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m ratesvc "$@"\n', "utf-8")
    shim.chmod(0o755)
    given = {"RATESVC_CBR_MIRRORS": bank.url, "RATESVC_CBR_BACKFILL_GAP_SECONDS": "0"}
    async with serving(tmp_path, **given) as running:
        await running.ready()
        given["RATESVC_PORT"] = running.url.rpartition(":")[2]
        given["PATH"] = f"{shim.parent}:{os.environ['PATH']}"
        for command in blocks("ratesvc")[0].commands:
            await ran(("bash", "-euc", command), tmp_path, **given)


@pytest.mark.slow
async def test_a_backup_brings_everything_back(bank: Bank, tmp_path: Path) -> None:
    """Saved, removed and put back by these lines, it serves the same bytes without the Bank."""
    around_today(bank)
    async with serving(tmp_path, RATESVC_CBR_MIRRORS=bank.url) as running:
        await running.ready()
        await eventually(lambda: len(bank.asked) >= 2)
        _, headers, body = await running.get("/v1/rates?codes=USD")
        running.kill(signal.SIGTERM)
        assert await running.ended() == 0
    await ran(("bash", "-euc", blocks("tar")[0].text), tmp_path)
    async with serving(tmp_path, RATESVC_CBR_MIRRORS="http://127.0.0.1:1") as running:
        await running.ready()
        _, again, same = await running.get("/v1/rates?codes=USD")
        assert (same, again["ETag"]) == (body, headers["ETag"])
