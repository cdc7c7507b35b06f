from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from kit import cases

from ratesvc.config import Server, Settings, load, variables
from ratesvc.errors import ConfigError
from ratesvc.installed import FEATURES

CONFIG = Path(__file__).parents[1] / "config.yaml"
SECRET = "hunter2"  # noqa: S105 -- the oldest joke about passwords
AUTHORITIES = str(Path(__file__).with_name("authority.pem"))
HERE = {"RATESVC_DATA_DIR": "data"}
KNOWN = {variable: path for variable, path, _ in variables()}


def refusal(environment: dict[str, str], file: Path | None = None) -> str:
    """The one line that stops the start. What stood there may be a password and stays out of it."""
    with pytest.raises(ConfigError) as caught:
        load(file, environment)
    line = str(caught.value)
    assert not [mark for mark in (SECRET, "\n", "`") if mark in line]
    return line


def written(folder: Path, text: str) -> Path:
    file = folder / "settings.yaml"
    file.write_text(text, "utf-8")
    return file


def test_config_yaml_is_the_defaults() -> None:
    """Reading the file changes nothing: without it the same program runs."""
    found = load(CONFIG, {})
    assert found.features == FEATURES, "config.yaml lists the features in the order of their names"
    assert found == Settings(data_dir="data")


def test_every_setting_is_in_config_yaml_with_a_sentence_and_its_variable() -> None:
    """The line above the key says what it is for, and ends with the name of its environment variable."""
    found = re.findall(r"(?m)^ *# [A-Za-z][^#\n]{10,}\. (RATESVC_[A-Z_]+)\n *(\w+):", CONFIG.read_text("utf-8"))
    assert sorted(found) == sorted((variable, path[-1]) for variable, path in KNOWN.items())


def test_a_program_on_this_machine_reaches_the_service_by_an_address_that_is_one() -> None:
    """«Every address» is none that one can ask."""
    hosts = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "192.0.2.1": "192.0.2.1", "rates": "rates"}  # noqa: S104 -- not bound to
    assert {host: Server(host=host).local_url() for host in hosts} == {
        host: f"http://{reached}:8080" for host, reached in hosts.items()
    }


def setting(settings: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        settings = getattr(settings, name)
    return settings


def test_each_variable_sets_its_own_key_whatever_the_file_says() -> None:
    """And no other key. Deployments depend on the names. golden/settings.txt has a value of each."""
    set_by, before = set[str](), load(CONFIG, {})
    for question in cases.questions("settings.txt"):
        variable, _, text = question.replace("{authority}", AUTHORITIES).partition("=")
        with suppress(ConfigError):
            settings = load(CONFIG, {variable: text, "PATH": "/bin", "RATES": "not ours"})
            changed = {name for name, path in KNOWN.items() if setting(settings, path) != setting(before, path)}
            assert changed <= {variable}
            set_by |= changed
    assert set_by == KNOWN.keys()


def test_a_file_can_be_named_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RATESVC_CONFIG says where the settings are; config.yaml in the working folder is found by itself."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("server: {port: 1}", "utf-8")
    assert load(None, {"RATESVC_CONFIG": "mine.yaml"}).server.port == 1
    assert load(None, HERE) == Settings(data_dir="data")
    (tmp_path / "config.yaml").write_text("server: {port: 2}", "utf-8")
    assert load(None, {}).server.port == 2
    (tmp_path / "config.yaml").write_text("# nothing\n", "utf-8")
    assert load(None, HERE) == Settings(data_dir="data")


def test_without_a_setting_the_data_is_in_the_folder_of_a_users_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that an installed command finds it from any folder. A clone's config.yaml names the folder `data` in it."""
    monkeypatch.chdir(tmp_path)
    for given, folder in (
        ({"HOME": "/home/me"}, "/home/me/.local/share/ratesvc"),
        ({"HOME": "/home/me", "XDG_DATA_HOME": "/srv/me"}, "/srv/me/ratesvc"),
        ({"HOME": "/home/me", "XDG_DATA_HOME": "me"}, "/home/me/.local/share/ratesvc"),
        ({"HOME": "/home/me", **HERE}, "data"),
    ):
        assert load(None, given).data_dir == folder
    assert load(CONFIG, {}).data_dir == "data"


def test_a_user_without_a_home_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as an arbitrary number in a container, which has no entry in /etc/passwd."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 1_234_567)
    assert load(None, {"RATESVC_DATA_DIR": "/srv"}).data_dir == "/srv"
    with pytest.raises(ConfigError, match="RATESVC_DATA_DIR: must be set"):
        load(None, {})


def told(question: str, folder: Path) -> str:
    """What a variable means, or the refusal of it, or of a file with that text; a long text in it is shortened."""
    text = question.replace("\\n", "\n").replace("{this file}", __file__).replace("{authority}", AUTHORITIES)
    name, _, value = text.partition("=")
    if name in KNOWN:
        with suppress(ConfigError):
            return repr(setting(load(CONFIG, {name: value}), KNOWN[name])).replace(AUTHORITIES, "{authority}")
    line = refusal({name: value}) if name.startswith("RATESVC_") else refusal({}, written(folder, text))
    return line.replace(f"one of {', '.join(FEATURES)}", "one of {all features}").replace(f"{folder}/", "")


def test_each_setting_is_understood_or_refused_in_one_line(tmp_path: Path) -> None:
    """golden/settings.txt says how, and why. A refusal begins with the key or the variable."""
    asked = cases.questions("settings.txt")
    cases.check("settings.txt", {question: told(question, tmp_path) for question in asked})


@pytest.mark.parametrize(
    ("variable", "address"), [("RATESVC_REDIS_URL", "redis://:secret@h"), ("RATESVC_CBR_PROXY", "http://:secret@h")]
)
def test_a_secret_may_be_in_a_file(tmp_path: Path, variable: str, address: str) -> None:
    """Its end of line is no part of it. A missing file, one that is not text, and both variables are refused."""
    file = tmp_path / "secret"
    file.write_text(f"{address}\n", "utf-8")
    assert setting(load(CONFIG, {f"{variable}_FILE": str(file)}), KNOWN[variable]) == address
    both = {f"{variable}_FILE": str(file), variable: address}
    assert refusal(both) == f"{variable}_FILE: {variable} is set, too"
    file.write_bytes(b"\xff")
    assert refusal({f"{variable}_FILE": str(file)}) == f"{variable}_FILE: {file}: not UTF-8"
    file.write_text("\n")
    assert refusal({f"{variable}_FILE": str(file)}) == f"{variable}_FILE: {file}: empty"
    file.unlink()
    assert refusal({f"{variable}_FILE": str(file)}) == f"{variable}_FILE: {file}: No such file or directory"


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    """With the words of the system."""
    assert refusal({}, tmp_path / "nowhere.yaml").endswith("nowhere.yaml: No such file or directory")


def test_the_environment_completes_an_empty_section(tmp_path: Path) -> None:
    """A variable also counts for `server:` with nothing under it. It never replaces a section that is wrong."""
    assert load(written(tmp_path, "server:\n"), {"RATESVC_PORT": "1"}).server.port == 1
    line = refusal({"RATESVC_CBR_PROXY": "http://p"}, written(tmp_path, "cbr: [https://mirror.example]\n"))
    assert line == "cbr: must be a table of settings"
