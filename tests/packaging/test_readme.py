"""The README and the guides do what they say: their commands, programs and addresses are run.

Fenced blocks in sh, python and js are run. A text or json block after a block is its output. An html block is
what the builder gives. A remark «checked by FILE» above a block leaves it to another file of this project.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import signal
import sys
from dataclasses import dataclass
from datetime import date
from html import unescape
from pathlib import Path

import aiohttp
import pytest
from conftest import eventually, missing
from kit.bank import Bank, around_today, sheet
from kit.http import says
from kit.service import ROOT, Program, ran, serving

from ratesvc.features.docs import openapi_json
from ratesvc.features.docs.routes import EXAMPLES
from ratesvc.render.openapi import Site

READMES = ("README.md", "README.ru.md")
GUIDES = [f"docs/{name}.md" for name in ("api", "deploying", "operating", "widget")]
PAGES = {name: (ROOT / name).read_text("utf-8") for name in (*READMES, *GUIDES)}
FENCE = re.compile(
    r"(?:^<!-- checked by (\S+) -->\n\n)?^```([a-z]+)\n(.*?)^```\n(?:\n```(?:text|json)\n(.*?)^```\n)?",
    re.MULTILINE | re.DOTALL,
)
HERE = "http://localhost:8080"
RUNNING = {"python": (sys.executable, "-c"), "js": ("node", "--input-type=module", "-e"), "sh": ("bash", "-euc")}


@dataclass(frozen=True)
class Block:
    """One fenced block, its output as shown, and the file that checks it, if it is not run here."""

    elsewhere: str
    language: str
    text: str
    output: str

    @property
    def commands(self) -> list[str]:
        """The lines of a shell block without remarks and without brackets around options."""
        lines = (re.sub(r"\s+#.*", "", line) for line in self.text.splitlines())
        return [re.sub(r"[][]", "", line) for line in lines if line]

    @property
    def kind(self) -> str:
        """Its language; for a shell block its first program."""
        return self.commands[0].split()[0] if self.language == "sh" else self.language


BLOCKS = [Block(*(part or "" for part in found)) for page in PAGES.values() for found in FENCE.findall(page)]
OURS = [block for block in BLOCKS if not block.elsewhere]


def blocks(*kinds: str) -> list[Block]:
    found = [block for block in OURS if block.kind in kinds]
    assert found
    return found


def test_every_block_is_run_or_names_its_checker() -> None:
    """The tests below run every kind of block. A text block that follows no other block is an example of a format."""
    assert {block.kind for block in OURS} - {"text"} == {"make", "curl", "python", "js", "html", "tar", "ratesvc"}
    for block in BLOCKS:
        assert not block.elsewhere or (ROOT / block.elsewhere).is_file()


@pytest.fixture
async def demo(demo: Program) -> Program:
    """With its history loaded. The pages show its recorded figures."""
    await eventually(lambda: says(demo, "/v1/series?codes=USD&since=2022-10-01"))
    return demo


@pytest.mark.nightly
async def test_examples_print_what_the_pages_show(demo: Program, tmp_path: Path) -> None:
    """curl, Python and JavaScript against a running service."""
    for block in blocks("curl", "python", "js"):
        text = block.text.replace(HERE, demo.url)
        out = await ran((*RUNNING[block.language], text.replace("curl ", "curl -sS --fail ")), tmp_path)
        read = json.loads if block.output.startswith("{") else str.splitlines
        assert read(out) == read(block.output)


@pytest.mark.nightly
async def test_the_examples_of_the_contract_are_the_answers_to_their_requests(demo: Program) -> None:
    """Every JSON, CSV and number in openapi.yaml that stands beside a request."""
    compared = 0
    for one in openapi_json.operations(Site(HERE), date(2022, 11, 18)):
        for media, content in one["responses"][200]["content"].items():
            is_recorded = "metals" not in one["path"]
            if "example" in content and "Service" not in one["tags"] and media in EXAMPLES and is_recorded:
                target = one["x-example"].removeprefix(HERE)
                body = (await demo.get(target))[2]
                answer = json.loads(body) if media == "application/json" else body.decode()
                assert content["example"] == answer, target
                compared += 1
    assert compared == 12


@pytest.mark.nightly
async def test_every_address_in_the_pages_answers(demo: Program) -> None:
    """Addresses of the API, for browsers, spreadsheets and sites, and the probes. A path on disk is no address."""
    told = "".join(text for name, text in PAGES.items() if name != "docs/operating.md")
    told = re.sub(r"\$\{__\w+:date:YYYY-MM-DD\}", "2022-11-18", told)  # as Grafana does
    paths = set(re.findall(rf"(?:`|{HERE})(/[a-z][^\"'`\s]*)", told))
    paths = {path for path in paths if not path.startswith(("/opt/", "/etc/", "/var/"))}
    # Of metals nothing was recorded, the demo ends in 2022, and /rates is a prefix of a proxy.
    paths = {path for path in paths if not re.search("metal|key-rate/2026|XAU|^/rates", path)}
    assert {"/v1/rates", "/v1/events", "/widget/card.png", "/widget/frame", "/metrics"} <= paths
    async with aiohttp.ClientSession(demo.url) as http:
        for path in paths:
            async with http.get(path) as answer:
                assert answer.status == 200, path


async def test_the_element_is_what_the_builder_gives(demo: Program) -> None:
    """Copied from the first tab in the README's language, byte for byte."""
    for language, block in zip(("en", "ru"), blocks("html"), strict=True):
        page = unescape((await demo.get(f"/?lang={language}"))[2].decode())
        assert block.text.replace(HERE, demo.url.replace("127.0.0.1", "localhost")).rstrip() in page


@pytest.mark.nightly
async def test_both_make_commands_serve_and_print_the_banner(bank: Bank, tmp_path: Path) -> None:
    """The commands as written, with a fake Bank, until Ctrl-C. The READMEs show all that the first prints to stdout.

    They were made on the usual port in /srv/ratesvc. With live rates the banner lacks the word DEMO.
    """
    if not (ROOT / ".venv/ready").exists():
        missing("the environment of make")
    around_today(bank)
    own = {"RATESVC_PORT": "0", "RATESVC_DATA_DIR": str(tmp_path), "RATESVC_CBR_MIRRORS": bank.url}
    # Make inside a make prints the folder that it enters.
    outside = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    found, pipe, nowhere = blocks("make"), asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    demo = "make run ARGS=--demo"
    (shown,) = {block.output for block in found if block.commands == [demo]}
    live = re.sub("  DEMO.*", "", shown).replace("/data/demo", "/data/engine")
    for command in dict.fromkeys(command for block in found for command in block.commands):
        process = await asyncio.create_subprocess_exec(
            *command.split(), cwd=ROOT, env=outside | own, stdout=pipe, stderr=nowhere, start_new_session=True
        )
        running = Program(process)
        try:
            await running.listening()
            await running.ready()
        finally:
            os.killpg(process.pid, signal.SIGINT)
            await running.ended()
        assert process.stdout
        printed = "".join(running.output) + (await process.stdout.read()).decode()
        printed = printed.replace(running.url.replace("127.0.0.1", "localhost"), HERE)
        assert printed.replace(str(tmp_path), "/srv/ratesvc/data") == (shown if command == demo else live)


def test_make_knows_every_target_that_the_pages_name() -> None:
    """.ci/run and tests/packaging/test_docs.py run most of them for real."""
    rules = re.findall(r"^([a-z ./$()A-Z-]+):(?!=)", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    pages = "".join(file.read_text("utf-8") for folder in (ROOT, ROOT / "docs") for file in folder.glob("*.md"))
    pages = re.sub(r"\n(?=[a-z])", " ", pages)
    targets = set(re.findall(r"(?:^|`)make ([a-z./-]+)", pages, re.MULTILINE))
    assert len(targets) > 6
    assert targets <= set(" ".join(rules).replace("$(DIST)", "dist").split())


@pytest.mark.nightly
async def test_the_commands_work_beside_a_running_service(bank: Bank, tmp_path: Path) -> None:
    """Every command of docs/operating.md, in its order, with all of its options."""
    around_today(bank)
    bank.publish(*(sheet(date(2022, 11, day)) for day in (17, 18, 19)))
    shim = tmp_path / "bin/ratesvc"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m ratesvc "$@"\n', "utf-8")
    shim.chmod(0o755)
    given = {"RATESVC_CBR_MIRRORS": bank.url, "RATESVC_CBR_BACKFILL_GAP_SECONDS": "0"}
    async with serving(tmp_path, **given) as running:
        await running.ready()
        given["RATESVC_PORT"] = running.url.rpartition(":")[2]
        given["PATH"] = f"{shim.parent}:{os.environ['PATH']}"
        for command in blocks("ratesvc")[0].commands:
            await ran(("bash", "-euc", command), tmp_path, **given)


@pytest.mark.nightly
async def test_a_backup_brings_everything_back(bank: Bank, tmp_path: Path) -> None:
    """These lines save, remove and restore the data. The service then answers the same bytes without the Bank."""
    around_today(bank)
    async with serving(tmp_path, RATESVC_CBR_MIRRORS=bank.url) as running:
        await running.holds_two_sheets()
        _, headers, body = await running.get("/v1/rates?codes=USD")
        await running.stops()
    await ran(("bash", "-euc", blocks("tar")[0].text), tmp_path)
    async with serving(tmp_path, RATESVC_CBR_MIRRORS="http://127.0.0.1:1") as running:
        await running.ready()
        _, again, same = await running.get("/v1/rates?codes=USD")
        assert (same, again["ETag"]) == (body, headers["ETag"])
