"""The harness itself: what a failed test says, what did not run, and that no request may ask Redis."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import guarded
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from conftest import LONGEST_QUICK_S, Served, eventually, golden
from processes import ROOT, environment, finished, output_of, processes_over, without_make

from ratesvc.storage.redis import connect


async def test_a_condition_that_is_not_met_is_named_with_what_the_service_last_did(served: Served) -> None:
    """The line of the test, the last refresh and its outcome, what is held, and how Redis is."""
    with pytest.raises(AssertionError) as caught:
        await eventually(lambda: served.service.publication is None, patience_s=0)
    condition, service = str(caught.value).splitlines()
    assert "eventually(lambda: served.service.publication is None" in condition
    assert re.search(r"\(test_harness\.py:[0-9]+\)$", condition)
    assert service.startswith("served: last refresh new; 2 sheets, the newest 2026-04-24;")
    assert service.endswith("Redis up")


async def test_a_method_that_is_waited_for_is_named(served: Served) -> None:
    """Not only lambdas."""
    with pytest.raises(AssertionError, match=r"async def ready\(self\)"):
        await eventually(served.ready, patience_s=0)


def test_a_golden_file_shows_what_changed_and_how_to_renew_it() -> None:
    """A difference line by line, also of an SVG that is one line."""
    with pytest.raises(pytest.fail.Exception) as caught:
        golden("chart/none.svg", "<svg><text>1</text><text>2</text></svg>")
    said = str(caught.value)
    assert "+<text>2</text>" in said
    assert said.endswith("UPDATE_GOLDEN=1.")


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
    app.router.add_get("/health", through_the_store)
    yield app
    await client.aclose()
    guarded.ASKED.clear()


@pytest.mark.parametrize(("path", "how"), [("/v1/rates/2026-04-24", "call"), ("/v1/rates", "send_packed_command")])
async def test_a_handler_that_asks_redis_fails_its_test(path: str, how: str, planted: web.Application) -> None:
    """At once, by a 500, and at the end of the test by the way in which it asked."""
    async with TestClient[Any, Any](TestServer(planted)) as client, client.get(path) as answer:
        assert answer.status == 500
    assert guarded.ASKED[0].startswith(f"Redis was asked ({how}) while {path} was answered:")


async def test_health_may_ask(planted: web.Application) -> None:
    """It is for people, and says how Redis is."""
    async with TestClient[Any, Any](TestServer(planted)) as client, client.get("/health") as answer:
        assert answer.status == 200
    assert guarded.ASKED == []


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
BROKEN = """
def test_fails():
    assert False

def test_second(): ...
def test_third(): ...
"""
NONE = """
import pytest

@pytest.mark.parametrize("path", [])
def test_each(path): ...
"""


BETWEEN = """
import pytest

def test_of_make_test(): ...

@pytest.mark.faults
@pytest.mark.release
def test_of_two(): ...
"""
LEAKING = """
import socket

def test_that_leaks():
    cycle = [socket.socket()]
    cycle.append(cycle)

def test_after_it(): ...
"""
STUCK = """
import asyncio

async def test_that_hangs(redis_url):
    await asyncio.Event().wait()

def test_after_it(): ...
"""
EXAMPLES = """
from __future__ import annotations

import json
import signal

import pytest
from dates import FRIDAY, SATURDAY
from fake_bank import sheet, unavailable
from processes import serving
from watched import watched
""" + "\n".join(
    re.findall(r"^```python\n(.*?)^```", (ROOT / "tests/README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
)
WHY = ("silently", "a server is missing", "a program is missing", "no package brings it: a recording")
RUNS: dict[str, tuple[str, str, dict[str, str], tuple[str, ...]]] = {
    "the end says how many did not run and why, over several processes, and the seed of the order": (
        SOME,
        "-q -n 2 -p randomly --randomly-seed=77",
        {},
        ("1 passed, 4 skipped", "! 4 tests did not run !", *(f"    1 {why}\n" for why in WHY), "random seed 77;"),
    ),
    "under TEST_ALL a skip by a mark, a fixture or the test is a failure; what no package brings is counted": (
        SOME,
        "",
        {"TEST_ALL": "1"},
        ("1 failed, 1 passed, 1 skipped, 2 errors", "! 1 tests did not run"),
    ),
    "what was not reached before a failure ended the run did not run": (
        BROKEN,
        "--maxfail=1 -p no:randomly",
        {},
        ("    2 the run ended before them\n", "! 2 tests did not run !"),
    ),
    "a test without any case is an error: an empty folder must not make its tests green": (NONE, "", {}, ("1 error",)),
    "what a test leaves unclosed fails this test, not the one in which the garbage collector finds it": (
        LEAKING,
        "-p no:randomly",
        {},
        ("ERROR test_some.py::test_that_leaks", "2 passed, 1 error"),
    ),
    "a test that hangs fails, and the next one runs": (
        STUCK,
        "--timeout=3 -p no:randomly",
        {},
        ("FAILED test_some.py::test_that_hangs - Failed: Timeout", "1 failed, 1 passed"),
    ),
    "the examples of tests/README.md are true": (EXAMPLES, "", {}, ("4 passed",)),
    "each test belongs to one command of the Makefile, or none is run": (
        BETWEEN,
        "",
        {},
        ("test_of_two is marked for two commands, faults and release",),
    ),
}


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a short name, because the path of a socket has at most some hundred bytes."""
    return tmp_path_factory.mktemp("run")


def pytest_over(tests: Path, *arguments: str) -> list[str]:
    """The command that runs these tests with our own conftest and settings."""
    settings = ("-c", ROOT / "pyproject.toml", "--rootdir", tests.parent, "-p", "conftest", "-p", "no:cacheprovider")
    return [sys.executable, "-m", "pytest", *map(str, settings), *arguments, str(tests)]


def variables(folder: Path, **more: str) -> dict[str, str]:
    return environment(folder, PYTHONPATH=f"{ROOT}:{ROOT}/tests:{ROOT}/tests/faults", TMPDIR=str(folder), **more)


@pytest.mark.slow
@pytest.mark.parametrize("run", RUNS)
async def test_a_run(run: str, tmp_path: Path) -> None:
    """What pytest says of tests with our own conftest and settings."""
    text, arguments, more, said = RUNS[run]
    tests = tmp_path / "test_some.py"
    tests.write_text(text, "utf-8")
    _, out, err = await finished(*pytest_over(tests, *arguments.split()), cwd=tmp_path, env=variables(tmp_path, **more))
    assert [words for words in said if words not in out + err] == [], out + err


HANGING = """
import asyncio, os
from pathlib import Path
from processes import serving

async def test_that_hangs(redis_url, tmp_path):
    async with serving(tmp_path, "--demo"):
        Path("runs").write_text(str(os.getpid()))
        await asyncio.Event().wait()
"""


def ask_to_end(started: int) -> None:
    """Again and again, as `timeout` does, which tells its program and then all of the group."""
    with contextlib.suppress(ProcessLookupError):
        for _ in range(500):
            os.kill(started, signal.SIGTERM)
            time.sleep(0.001)


ENDS: dict[str, tuple[str, Callable[[int, int], None]]] = {
    "by Ctrl-C, which reaches all of them": ("-n 2", lambda started, _: os.killpg(started, signal.SIGINT)),
    "by whoever started it": ("-n 0", lambda started, _: os.kill(started, signal.SIGTERM)),
    "by whoever insists": ("-n 0", lambda started, _: ask_to_end(started)),
    "by kill -9": ("-n 0", lambda started, _: os.kill(started, signal.SIGKILL)),
    "since the process that runs the test was killed": ("-n 2", lambda _, runs: os.kill(runs, signal.SIGKILL)),
}


@pytest.mark.slow
@pytest.mark.parametrize("end", ENDS)
async def test_a_run_that_is_ended_leaves_no_program_behind(end: str, tmp_path: Path) -> None:
    """Neither Redis nor the service nor a process of xdist."""
    tests, runs = tmp_path / "test_some.py", tmp_path / "runs"
    tests.write_text(HANGING, "utf-8")
    arguments, kill = ENDS[end]
    command = pytest_over(tests, *arguments.split())
    process = await asyncio.create_subprocess_exec(
        *command, cwd=tmp_path, env=variables(tmp_path), start_new_session=True
    )
    await eventually(lambda: runs.exists() and runs.read_text("ascii"))
    assert len(processes_over(tmp_path)) > 4
    kill(process.pid, int(runs.read_text("ascii")))
    assert await process.wait() != 0
    await eventually(lambda: not processes_over(tmp_path))


def test_a_quick_test_that_hangs_fails_within_minutes(request: pytest.FixtureRequest) -> None:
    """Ten minutes are for tests of processes and browsers. This test has the limit of all quick ones."""
    limit = request.node.get_closest_marker("timeout")
    assert limit
    assert limit.args[0] <= LONGEST_QUICK_S


@pytest.mark.slow
def test_no_command_of_make_hangs() -> None:
    """Each of them ends a test that takes too long. What is run by hand may take hours."""
    commands = ("test", "quick", "coverage", "faults", "release-check", "soak")
    lines = output_of("make", "--dry-run", "--always-make", *commands, env=without_make()).replace("\\\n", "")
    started = [line for line in lines.splitlines() if "/pytest " in line]
    assert len(started) > len(commands)
    assert [line for line in started if "--timeout=" not in line] == []


def sleeps(tree: ast.AST) -> Iterator[int]:
    """Lines of a test at which it sleeps. A function within it is a stand-in, which may be slow."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("sleep") and ast.unparse(node.args[0]) != "0":
            yield node.lineno
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from sleeps(node)


def test_no_test_sleeps() -> None:
    """They wait for conditions. A time that is long enough here is too short elsewhere."""
    found = [
        f"{file.name}:{line}"
        for file in (ROOT / "tests").rglob("test_*.py")
        for test in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(test, ast.FunctionDef | ast.AsyncFunctionDef) and test.name.startswith("test_")
        for line in sleeps(test)
    ]
    assert found == []


def test_no_file_is_lost_while_tests_are_collected() -> None:
    """A file that skips itself would be counted as one test, and over several processes as none."""
    ways = re.compile(r"^\w[^\n]*importorskip\(|allow_module_leve[l]|collect_ignor[e]|--ignor[e]=", re.MULTILINE)
    files = [*(ROOT / "tests").rglob("*.py"), ROOT / "Makefile", ROOT / "pyproject.toml"]
    assert [file.name for file in files if ways.search(file.read_text("utf-8"))] == []
