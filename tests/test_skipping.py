"""What does not run says so, and fails where everything must run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from processes import ROOT, environment, finished

pytestmark = pytest.mark.slow

FOUR = """
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
"""
NONE = """
import pytest

@pytest.mark.parametrize("path", [])
def test_each(path): ...
"""


async def outcome(folder: Path, text: str, **variables: str) -> str:
    """What pytest says of these tests with our own conftest and settings."""
    tests = folder / "test_some.py"
    tests.write_text(text, "utf-8")
    settings = ("-c", ROOT / "pyproject.toml", "--rootdir", folder, "-p", "conftest", "-p", "no:cacheprovider")
    variables["PYTHONPATH"] = f"{ROOT}:{ROOT}/tests:{ROOT}/tests/faults"
    _, out, err = await finished(
        *(sys.executable, "-m", "pytest", *settings, tests), cwd=folder, env=environment(folder, **variables)
    )
    return out + err


async def test_a_skip_is_a_failure_under_test_all(tmp_path: Path) -> None:
    """By a mark, a fixture or the test itself; what no package brings is only counted."""
    said = await outcome(tmp_path, FOUR)
    assert "4 skipped" in said
    assert "NOT RUN: a program is missing" in said
    said = await outcome(tmp_path, FOUR, TEST_ALL="1")
    assert "1 failed, 1 skipped, 2 errors" in said
    assert "! 1 tests did not run" in said


async def test_a_test_without_any_case_is_an_error(tmp_path: Path) -> None:
    """A folder that is empty must not make its tests green."""
    assert "1 error" in await outcome(tmp_path, NONE)
