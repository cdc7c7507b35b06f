"""A feature goes with its folder, its line in config.yaml and its tests; a dialect with its module."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from asyncio.subprocess import PIPE
from importlib import import_module
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from kit.browser import SESSION
from kit.dialects import FILES
from kit.service import ROOT, Program, serving
from kit.time import eventually

from ratesvc.installed import COMMANDS, DIALECTS, FEATURES
from ratesvc.render.openapi import contract
from ratesvc.web.features import load
from ratesvc.web.probes import PATHS

pytestmark = pytest.mark.nightly

URL = "http://rates.example"
SHOWS_WHAT_IS_ON = ("/docs", "/openapi.json", "/frankfurter/")
UNLIKE = (*PATHS, "/v1/events", "/oembed")
"""Their answers differ from moment to moment, or are about an address of another feature."""


def left_without(name: str) -> tuple[str, ...]:
    """The features that are left: without this one, and without those that need it."""
    gone = {name}
    while more := {one.name for one in load(FEATURES).on if gone & set(one.needs)} - gone:
        gone |= more
    return tuple(one for one in FEATURES if one not in gone)


def copied(folder: Path, gone: set[str], *others: str) -> None:
    """The package and config.yaml without these features, and other folders as they are."""
    for name in ("ratesvc", *others):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    lines = (ROOT / "config.yaml").read_text("utf-8").splitlines(keepends=True)
    for name in gone:
        part = folder / "ratesvc/features" / name
        if name in DIALECTS:
            (part.parent / "dialects" / f"{name.replace('-', '_')}.py").unlink()
        else:
            shutil.rmtree(part)
        # A folder that only adds a command has no line.
        lines = [line for line in lines if line != f"  - {name}\n"]
    text = "".join(lines)
    (folder / "config.yaml").write_text(text if "  - " in text else text.replace("features:", "features: []"), "utf-8")


def addresses(left: tuple[str, ...]) -> list[str]:
    """The example of every address of these features, and every address of a golden file."""
    operations = [methods["get"] for path, methods in contract(left)["paths"].items() if path not in UNLIKE]
    found = [one["x-example"].removeprefix("http://localhost:8080") for one in operations]
    for file, path in FILES.items():
        name = file.partition("/")[0]
        if name in left:
            dialect = import_module(f"ratesvc.features.dialects.{name.replace('-', '_')}").DIALECT
            found.append((dialect.prefix or f"/{name}") + path)
    return found


async def answers(program: Program, paths: list[str]) -> dict[str, tuple[int, bytes]]:
    """Status and body of each, once history is there. Pages have links to what is on, so of them the status only."""

    async def is_complete() -> bool:
        [check] = json.loads((await program.get("/health"))[2])["checks"]["history:coverage"]
        return check["observedValue"] != "none yet" and "output" not in check

    await program.ready()
    await eventually(is_complete)
    found = {}
    for path in paths:
        status, headers, body = await program.get(path)
        is_page = headers["Content-Type"].startswith("text/html") or urlsplit(path).path in SHOWS_WHAT_IS_ON
        found[path] = status, b"" if is_page else body
    return found


# Each night others: a copy of the package for each would take four minutes.
SOME = Random(os.environ.get("SEED", "0")).sample(sorted({*FEATURES, *COMMANDS}), 4)  # noqa: S311 -- variety, not a secret


@pytest_asyncio.fixture(scope=SESSION, loop_scope=SESSION)
async def before(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, bytes]]:
    """What a service with all features answers."""
    async with serving(tmp_path_factory.mktemp("before"), "--demo", RATESVC_PUBLIC_URL=URL) as program:
        return await answers(program, addresses(FEATURES))


@pytest.mark.parametrize("name", SOME)
async def test_without_a_feature_every_other_address_answers_as_before(
    name: str, before: dict[str, tuple[int, bytes]], tmp_path: Path
) -> None:
    """Also without those that need it. Four features are chosen by SEED."""
    left = left_without(name)
    copied(tmp_path, {name, *FEATURES} - {*left})
    async with serving(tmp_path, "--demo", PYTHONPATH=str(tmp_path), RATESVC_PUBLIC_URL=URL) as program:
        paths = addresses(left)
        assert await answers(program, paths) == {path: before[path] for path in paths}
        gone = [path for path in contract(FEATURES)["paths"].keys() - contract(left)["paths"].keys() if "{" not in path]
        assert [path for path in gone if path != "/" and (await program.get(path))[0] != 404] == []


# Those of the pure folders and of storage start no service, which alone could miss a feature.
CORE = ("commands", "render", "service", "web", "test_config.py")
# Their tables also name what features add.
OF_ALL = (
    "commands/test_cli.py::test_a_small_command_imports_little[healthcheck-light0]",
    "commands/test_cli.py::test_a_wrong_command_line_is_refused_before_anything_is_opened",
    "service/test_telemetry.py::test_every_metric_is_documented_and_no_other",
    "test_config.py::test_each_setting_is_understood_or_refused_in_one_line",
    "test_config.py::test_each_variable_sets_its_own_key_whatever_the_file_says",
)


@pytest.mark.timeout(3600)
async def test_the_quick_tests_of_the_core_pass_without_any_feature(tmp_path: Path) -> None:
    """The tests of a feature lie in its folder. Those directly in tests/features look at all features together."""
    copied(tmp_path, {*FEATURES, *COMMANDS}, "tests", "tools", "docs", "deploy")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for part in ("ratesvc", "tests"):
        shutil.rmtree(tmp_path / part / "features")
    tests = [*(f"tests/{name}" for name in CORE), *(f"--deselect=tests/{name}" for name in OF_ALL)]
    words = ("-m", "pytest", "-q", "-n", "0", "--command", "quick", *tests)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *words), cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)}, stdout=PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()[-5000:]
