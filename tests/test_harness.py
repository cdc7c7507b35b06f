"""The harness itself: no request may ask Redis, what did not run is said, and the examples of README.md pass."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from conftest import Served, first
from kit import guarded
from kit.service import ROOT, environment, finished

from ratesvc.storage.redis import connect


@pytest.fixture
async def planted(served: Served, redis_url: str) -> AsyncIterator[web.Application]:
    """An application that asks Redis for each answer: through the store, and past it."""

    async def through_the_store(_: web.Request) -> web.Response:
        await served.service.store.glance()
        return web.Response()

    client = connect(redis_url)

    async def past_it(_: web.Request) -> web.Response:
        await client.ping()
        return web.Response()

    app = web.Application()
    app.router.add_get("/v1/rates/{day}", through_the_store)
    app.router.add_get("/v1/rates", past_it)
    yield app
    await client.aclose()
    guarded.ASKED.clear()


async def test_a_handler_that_asks_redis_fails_its_test(planted: web.Application) -> None:
    """At once, by a 500, and at the end of the test by the way in which it asked."""
    async with TestClient[Any, Any](TestServer(planted)) as client:
        for path, how in (("/v1/rates/2026-04-24", "call"), ("/v1/rates", "send_packed_command")):
            async with client.get(path) as answer:
                assert answer.status == 500
            assert guarded.ASKED[-1].startswith(f"Redis was asked ({how}) while {path} was answered:")


SOME = """
import pytest
from conftest import missing, not_here

@pytest.mark.skipif(True, reason="silently")
def test_by_a_mark(): ...

@pytest.fixture
def absent():
    missing("a server")

def test_by_a_fixture(absent): ...

def test_by_itself():
    missing("a program")

def test_without_recordings():
    not_here("a recording")

def test_that_runs(): ...
"""
EXAMPLES = """
from __future__ import annotations

import json
import signal

import pytest
from kit.dates import FRIDAY, SATURDAY
from kit.bank import sheet, unavailable
from kit.service import serving
from kit.watched import watched
""" + "\n".join(
    re.findall(r"^```python\n(.*?)^```", (ROOT / "tests/README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
)
RUNS = {
    # A test of a file that hangs, lacks a program or skips by itself is counted at the end, over several processes.
    SOME: (
        *("1 passed, 4 skipped", "random seed 77;", "because silently", "because no package brings it: a recording"),
        "! 4 tests did not run: 2 need a program, a server, which .ci/install installs on Debian and Ubuntu; 1 because",
    ),
    EXAMPLES: ("4 passed",),
}


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a short name, because the path of a socket has at most some hundred bytes."""
    return tmp_path_factory.mktemp("run")


@pytest.mark.slow
@pytest.mark.parametrize("text", first(1, RUNS), ids=["what did not run", "the examples of tests/README.md"])
async def test_a_run_says_what_it_did(text: str, tmp_path: Path) -> None:
    """How many tests did not run and why, and the seed of the order; the examples of the README pass."""
    tests = tmp_path / "test_some.py"
    tests.write_text(text, "utf-8")
    settings = ("-c", ROOT / "pyproject.toml", "--rootdir", tmp_path, "-p", "conftest", "-p", "no:cacheprovider")
    command = (sys.executable, "-m", "pytest", *settings, "-q", "-n", "2", "-p", "randomly", "--randomly-seed=77")
    given = environment(tmp_path, PYTHONPATH=f"{ROOT}:{ROOT}/tests:{ROOT}/tests/faults", TMPDIR=str(tmp_path))
    _, out, err = await finished(*command, tests, cwd=tmp_path, env=given)
    assert [words for words in RUNS[text] if words not in out + err] == [], out + err
