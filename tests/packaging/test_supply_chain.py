"""What comes from others: locked, hashed, new enough; and what GitHub may do on our behalf."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections import defaultdict
from itertools import takewhile
from pathlib import Path

import pytest
import yaml
from conftest import program
from kit import cases
from kit.service import ROOT, environment, output_of
from kit.time import until
from packaging.requirements import Requirement
from packaging.version import Version

from ratesvc import __version__

HANDS_ON = ("upload-artifact", "download-artifact")
LOCKS = {
    file.relative_to(ROOT).as_posix(): file.read_text("utf-8")
    for file in sorted((*ROOT.glob("requirements/*.lock"), *ROOT.glob("tests/*/*.lock")))
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
WORKFLOWS = {file.name: file.read_text("utf-8") for file in sorted((ROOT / ".github/workflows").glob("*.yml"))}
BIN = Path(sys.executable).parent

GROUPS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["dependency-groups"]
OPTIONAL = PROJECT["optional-dependencies"]


def group(name: str) -> list[str]:
    """What a dependency group names, and the groups that it includes."""
    given = (group(one["include-group"]) if isinstance(one, dict) else [one] for one in GROUPS[name])
    return [requirement for some in given for requirement in some]


def locked(lock: str) -> dict[str, Version]:
    """Package → version; where markers choose between several, the oldest."""
    found = re.findall(r"^([a-z0-9][a-z0-9.-]*)(?:\[[^]]+\])?==(\S+)", LOCKS[lock], re.MULTILINE)
    return {name: Version(version) for name, version in sorted(found, key=lambda one: Version(one[1]), reverse=True)}


@pytest.mark.parametrize("lock", LOCKS)
def test_everything_locked_has_a_hash_and_no_address(lock: str) -> None:
    """Bytes are pinned, not the place they come from: no registry's address, no file, no repository."""
    text = LOCKS[lock]
    packages = re.split(r"\n(?=[a-z0-9])", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).strip())
    pinned = re.compile(r"[a-z0-9.-]+(\[[a-z,]+\])?==[^ ]+( ; [^\\]+)? \\\n    --hash=sha256:")
    assert [one for one in packages if not pinned.match(one)] == []
    assert "://" not in text
    assert re.findall(r"--(?!hash=sha256:)\S*", text) == []


@pytest.mark.parametrize(
    ("name", "is_whole"), [("production", True), ("quick", True), ("test", True), ("build", True), ("docs", False)]
)
def test_every_environment_has_the_versions_that_the_night_tests(name: str, is_whole: bool) -> None:
    """dev.lock has all of each. The tools for the pages are installed beside, so shared packages agree."""
    tested, other = locked("requirements/dev.lock"), locked(f"requirements/{name}.lock")
    shared = tested.keys() & other.keys()
    assert {name: tested[name] for name in shared} == {name: other[name] for name in shared}
    assert (shared == other.keys()) is is_whole


def test_one_version_has_the_same_hashes_in_each_lock() -> None:
    """dev.lock has what the others have, so an installation that refuses a package would be seen here."""
    found = defaultdict[str, set[str]](set)
    for text in LOCKS.values():
        for name, version, digests in re.findall(
            r"^([a-z0-9.-]+)(?:\[[^]]+\])?(==\S+).*\n((?:    --hash=\S+(?: \\)?\n)+)", text, re.MULTILINE
        ):
            assert re.fullmatch(r"(    --hash=sha256:[0-9a-f]{64}( \\)?\n)+", digests), name
            found[name + version].add(digests)
    assert [name for name, kinds in found.items() if len(kinds) > 1] == []
    assert len(found) > 150


def test_everything_declared_is_locked() -> None:
    """`make lock` was not forgotten."""
    ships = [*PROJECT["dependencies"], *OPTIONAL["png"]]
    locks = {"production": ships, "quick": [*ships, *group("quick")], "test": [*ships, *group("test")]}
    for lock, wanted in locks.items():
        found = locked(f"requirements/{lock}.lock")
        missed = [
            one for one in map(Requirement, wanted) if one.name not in found or found[one.name] not in one.specifier
        ]
        assert missed == [], lock


def test_the_map_says_of_each_library_what_would_be_lost() -> None:
    """The table in ARCHITECTURE.md has what pyproject.toml declares, and nothing else."""
    page = (ROOT / "ARCHITECTURE.md").read_text("utf-8").partition("## Libraries\n")[2].partition("\n## ")[0]
    told = [name for row in re.findall(r"^\| (`.*?) \|", page, re.MULTILINE) for name in re.findall(r"`([\w-]+)", row)]
    assert sorted(told) == sorted(Requirement(one).name for one in [*PROJECT["dependencies"], *OPTIONAL["png"]])


@pytest.mark.nightly
def test_zizmor_finds_nothing(tmp_path: Path) -> None:
    """Neither in the workflows nor in dependabot.yml; and it would: one action by its tag is found."""
    careful = (BIN / "zizmor", "--offline", "--quiet", "--no-progress", "--persona", "auditor")
    output_of(*careful, ROOT)
    tmp_path.joinpath("ci.yml").write_text(re.sub(r"@[0-9a-f]{40} # v", "@v", WORKFLOWS["ci.yml"], count=1), "utf-8")
    with pytest.raises(AssertionError, match="unpinned-uses"):
        output_of(*careful, tmp_path / "ci.yml")


def test_ci_runs_every_part_of_its_script() -> None:
    """GitHub runs each part of `make nightly`, and `make test` on the oldest and the newest Python."""
    (parts,) = re.findall(r"^PARTS = (.*)", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    machines = yaml.safe_load(WORKFLOWS["ci.yml"])["jobs"]["parts"]["strategy"]["matrix"]["include"]
    nightly = [one["command"].partition("nightly ARGS=")[2].strip('"').split() for one in machines]
    assert sorted(part for some in nightly for part in some) == sorted(parts.split())
    named = [text.rsplit(" ", 1)[1] for text in PROJECT["classifiers"] if "Python :: 3." in text]
    assert [one["python"] for one in machines if one["command"] == ".ci/run test"] == [named[0], named[-1]]


def test_each_step_of_a_workflow_takes_what_another_leaves() -> None:
    """Actions are pinned by their commit, and what is handed on has a name and is made."""
    makes = "".join(re.findall("^[a-z].*?:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for name, text in WORKFLOWS.items():
        steps = [step for job in yaml.safe_load(text)["jobs"].values() for step in job.get("steps", ())]
        given = {kind: [s.get("with", {}) for s in steps if f"/{kind}@" in s.get("uses", "")] for kind in HANDS_ON}
        assert [
            step["uses"] for step in steps if not re.search("@[0-9a-f]{40}$", step.get("uses", "@" + "0" * 40))
        ] == []
        left, taken = given.values()
        names = [one["name"] for one in left]
        assert len(names) == len({*names})
        assert {one["name"] for one in taken} <= {*names}, name
        done = makes + "".join(step.get("run", "") for step in steps)
        made = [path for one in left for path in one["path"].split()]
        assert [path for path in made if "*" not in path and path not in done] == [], name
        outputs = {step["id"]: step for step in steps if "id" in step}
        for step, output in re.findall(r"steps\.(\w+)\.outputs\.(\w+)", text):
            said = f'"{output}=' in outputs[step].get("run", "")
            assert said or (output == "digest" and "uses" in outputs[step]), (name, step, output)
    pinned = {
        (use, digest) for text in WORKFLOWS.values() for use, digest in re.findall(r"uses: ([\w/-]+)@(\w+)", text)
    }
    repositories = {("/".join(use.split("/")[:2]), digest) for use, digest in pinned}
    assert len(repositories) == len(dict(repositories)) == len({digest for _, digest in repositories})
    ((pattern,),) = (yaml.safe_load(WORKFLOWS["release.yml"])[True]["push"]["tags"],)  # YAML reads on as true
    assert re.fullmatch(pattern.replace(".", "[.]"), f"v{__version__}")


def test_each_field_of_a_form_for_issues_has_a_name_of_its_own() -> None:
    """Else GitHub shows an empty form."""
    for file in {*(ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")} - {ROOT / ".github/ISSUE_TEMPLATE/config.yml"}:
        form = yaml.safe_load(file.read_bytes())
        fields = {one["id"]: one["type"] for one in form["body"] if one["attributes"]["label"]}
        assert (len(fields), {*fields.values()} <= {"input", "textarea"}) == (len(form["body"]), True), file.name
        assert form.keys() == {"name", "description", "labels", "body"}


def test_a_path_with_a_blank_is_one_word_for_our_scripts() -> None:
    """Every value stands in quotes, but in an assignment, in arithmetic and as a list of words."""
    for script in (*(ROOT / ".ci").iterdir(), *ROOT.glob("deploy/*.sh")):
        if script.read_bytes().startswith(b"#!"):
            text = re.sub(r"^\s*#.*$|'[^']*'", "", script.read_text("utf-8"), flags=re.MULTILINE)
            bare = re.sub(r'"(?:[^"\\$]|\\.|\$\([^()]*\)|\$)*"', "", text)
            bare = re.sub(r"(^|\s)\w+=\S+|for \w+ in .*?(;|$)|\$\(\(.*?\)\)", "", bare, flags=re.MULTILINE)
            assert re.findall(r".*\$(?!\()(?!{#)[\w{@*].*", bare) == [], script.name


MADE = "/bin/python /ready /ready-quick /ready-test /ready-dev /ready-docs -mutants/ready"
HERE = [f"-W.venv{name}" for name in MADE.split()] + ["-onode_modules", "-onode_modules-test", "-otools/node_modules"]
"""Environments are there, and newer than what is built by them."""
SYSTEM = "bash sh env dirname realpath mktemp mkdir rm sed cat cp ln sleep chmod ls date mv ps touch uname wc cmp grep"
ASKED = "make git docker curl id python3 python3.11 python3.12 python3.13 python3.14 setpriv chown"


def done(line: str, folder: Path) -> str:
    """What make would run, or what a script of .ci asks of programs that only note it; and how the script ends."""
    words = shlex.split(line)
    given = dict(word.split("=", 1) for word in takewhile(lambda word: "=" in word, words))
    if words[0] == "make":
        return output_of(program("make"), "-n", "-s", *HERE, *words[1:], env=environment(folder, SEED="1")).rstrip()
    log, ours, own = folder / "log", folder / "repository", folder / "bin"
    for path in (own, ours / ".ci", ours / ".venv/bin", ours / "dist", ours / "requirements", folder / "tmp"):
        path.mkdir(parents=True)
    (ours / "dist/ratesvc-1.whl").touch()
    (ours / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    script = words[len(given)]
    noted = [own / name for name in ASKED.split()]
    noted += [ours / name for name in (".venv/bin/uv", ".venv/bin/python", ".ci/install") if name != script]
    for file in noted:
        file.write_text(cases.script("a program that notes what it is asked", LOG=str(log)))
        file.chmod(0o755)
    for name in SYSTEM.split():
        (own / name).symlink_to(shutil.which(name, path="/usr/bin:/bin") or name)
    shutil.copy(ROOT / script, ours / script)
    env = {"PATH": str(own), "HOME": str(folder), "TMPDIR": str(folder / "tmp")} | given
    none = subprocess.DEVNULL
    ended = subprocess.run(words[len(given) :], cwd=ours, env=env, stdout=none, stderr=none, check=False)
    until(lambda: "ratesvc serve" not in log.read_text() or "it leaves" in log.read_text())
    shown = re.sub(r"\S*/(?:tmp\.|fresh-)\w+", "{place}", log.read_text().replace(str(ours), "."))
    return f"{shown}exits with {ended.returncode}"


@pytest.mark.parametrize("line", cases.questions("scripts_of_ci.txt"))
def test_each_script_and_target_does_what_it_is_for(line: str, tmp_path: Path) -> None:
    """golden/scripts_of_ci.txt says what, and why."""
    cases.check_one("scripts_of_ci.txt", line, done(line, tmp_path))
