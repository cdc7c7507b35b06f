"""What does not run says so, and fails where everything must run."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from conftest import commands
from processes import ROOT, environment, finished

pytestmark = pytest.mark.slow

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


async def test_a_skip_is_a_failure_under_test_all(tmp_path: Path) -> None:
    """By a mark, a fixture or the test itself; what no package brings is only counted."""
    said = await outcome(tmp_path, SOME, TEST_ALL="1")
    assert "1 failed, 1 passed, 1 skipped, 2 errors" in said
    assert "! 1 tests did not run" in said


async def test_the_end_says_how_many_did_not_run_and_why(tmp_path: Path) -> None:
    """By a mark, a fixture, itself or for want of a recording, over several processes; and the seed of the order."""
    said = await outcome(tmp_path, SOME, "-q", "-n", "2", "-p", "randomly", "--randomly-seed=77")
    assert "1 passed, 4 skipped" in said
    assert "! 4 tests did not run !" in said
    for why in ("silently", "a server is missing", "a program is missing", "no package brings it: a recording"):
        assert f"    1 {why}\n" in said
    assert "random seed 77;" in said


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


async def test_a_test_without_any_case_is_an_error(tmp_path: Path) -> None:
    """A folder that is empty must not make its tests green."""
    assert "1 error" in await outcome(tmp_path, NONE)
