"""The harness itself: what a failed test says, what did not run, and that no request may ask Redis."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import guarded
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from conftest import Served, commands, eventually, golden
from processes import ROOT, environment, finished

from ratesvc.storage.redis import connect


async def test_a_condition_that_is_not_met_is_named_with_what_the_service_last_did(served: Served) -> None:
    """The line of the test, the last refresh and its outcome, what is held, and how Redis is."""
    with pytest.raises(AssertionError) as caught:
        await eventually(lambda: served.service.publisher.current is None, patience_s=0)
    condition, service = str(caught.value).splitlines()
    assert "eventually(lambda: served.service.publisher.current is None" in condition
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


async def outcome(folder: Path, text: str, *arguments: str, **variables: str) -> str:
    """What pytest says of these tests with our own conftest and settings."""
    tests = folder / "test_some.py"
    tests.write_text(text, "utf-8")
    settings = ("-c", ROOT / "pyproject.toml", "--rootdir", folder, "-p", "conftest", "-p", "no:cacheprovider")
    variables["PYTHONPATH"] = f"{ROOT}:{ROOT}/tests:{ROOT}/tests/faults"
    command = (sys.executable, "-m", "pytest", *map(str, settings), *arguments, str(tests))
    _, out, err = await finished(*command, cwd=folder, env=environment(folder, **variables))
    return out + err


@pytest.mark.slow
async def test_a_skip_is_a_failure_under_test_all(tmp_path: Path) -> None:
    """By a mark, a fixture or the test itself; what no package brings is only counted."""
    said = await outcome(tmp_path, SOME, TEST_ALL="1")
    assert "1 failed, 1 passed, 1 skipped, 2 errors" in said
    assert "! 1 tests did not run" in said


@pytest.mark.slow
async def test_the_end_says_how_many_did_not_run_and_why(tmp_path: Path) -> None:
    """By a mark, a fixture, itself or for want of a recording, over several processes; and the seed of the order."""
    said = await outcome(tmp_path, SOME, "-q", "-n", "2", "-p", "randomly", "--randomly-seed=77")
    assert "1 passed, 4 skipped" in said
    assert "! 4 tests did not run !" in said
    for why in ("silently", "a server is missing", "a program is missing", "no package brings it: a recording"):
        assert f"    1 {why}\n" in said
    assert "random seed 77;" in said


@pytest.mark.slow
async def test_what_was_not_reached_did_not_run(tmp_path: Path) -> None:
    """The first failure ends this run, before two others."""
    said = await outcome(tmp_path, BROKEN, "--maxfail=1", "-p", "no:randomly")
    assert "    2 the run ended before them\n" in said
    assert "! 2 tests did not run !" in said


BETWEEN = """
import pytest

def test_of_make_test(): ...

@pytest.mark.faults
@pytest.mark.release
def test_of_two(): ...
"""


@pytest.mark.slow
async def test_each_test_belongs_to_one_command(tmp_path: Path) -> None:
    """`make test`, `make faults` and `make release-check` together run all of them, once; else none is run."""
    assert commands().keys() == {"TEST", "FAULTS", "RELEASE"}
    said = await outcome(tmp_path, BETWEEN)
    assert "test_of_two belongs to ['FAULTS', 'RELEASE'] of ['TEST', 'FAULTS', 'RELEASE'], not to one" in said


def test_no_file_is_lost_while_tests_are_collected() -> None:
    """A file that skips itself would be counted as one test, and over several processes as none."""
    ways = re.compile(r"^\w[^\n]*importorskip\(|allow_module_leve[l]|collect_ignor[e]|--ignor[e]=", re.MULTILINE)
    files = [*(ROOT / "tests").rglob("*.py"), ROOT / "Makefile", ROOT / "pyproject.toml"]
    assert [file.name for file in files if ways.search(file.read_text("utf-8"))] == []


@pytest.mark.slow
async def test_a_test_without_any_case_is_an_error(tmp_path: Path) -> None:
    """A folder that is empty must not make its tests green."""
    assert "1 error" in await outcome(tmp_path, NONE)
