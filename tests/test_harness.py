"""The examples of tests/README.md pass, and every file of tests runs."""

from __future__ import annotations

import re
import sys

import pytest
from conftest import collect_ignore
from kit.cases import script
from kit.service import ROOT, environment, finished


def test_no_file_of_tests_is_left_out() -> None:
    """Those of a deleted feature are, and here all features are."""
    assert collect_ignore == []


def test_a_golden_table_begins_with_its_grammar() -> None:
    """It says what a line is made of."""
    tables = (ROOT / "tests/golden").rglob("*.txt")
    assert [str(file) for file in tables if not file.read_text("utf-8").startswith("# A line: ")] == []


@pytest.mark.nightly
async def test_the_examples_of_the_readme_pass(tmp_path_factory: pytest.TempPathFactory) -> None:
    """In a folder with a short name, because the path of a socket has at most some hundred bytes."""
    folder = tmp_path_factory.mktemp("run")
    text = (ROOT / "tests/README.md").read_text("utf-8")
    examples = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    folder.joinpath("test_some.py").write_text("\n".join([script("head of the examples"), *examples]), "utf-8")
    settings = ("-c", ROOT / "pyproject.toml", "--rootdir", folder, "-p", "conftest", "-p", "no:cacheprovider")
    given = environment(folder, PYTHONPATH=f"{ROOT}:{ROOT}/tests:{ROOT}/tests/faults", TMPDIR=str(folder))
    command = (sys.executable, "-m", "pytest", *settings, "-q", "-n", "2", "test_some.py")
    _, out, err = await finished(*command, cwd=folder, env=given)
    assert "4 passed" in out, out + err
