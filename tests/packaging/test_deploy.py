"""Image, compose, proxy, Kubernetes, systemd: each by the rules of its own world, and against what the service does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import program
from kit.proxies import shipped
from kit.service import ROOT, environment, output_of

from ratesvc import __version__
from ratesvc.cli import main
from ratesvc.config import Settings, load
from ratesvc.web.connections import FINISH_S

DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
ONE = yaml.safe_load((ROOT / "compose.yaml").read_bytes())["services"]
TWO = yaml.safe_load((ROOT / "deploy/compose.replicas.yaml").read_bytes())
KUBERNETES: dict[str, dict[str, Any]] = {
    f"{one['kind']}/{one['metadata']['name']}": one
    for name in ("kubernetes", "kubernetes-ingress", "kubernetes-monitoring")
    for one in yaml.safe_load_all((ROOT / f"deploy/{name}.yaml").read_bytes())
}
POD: dict[str, Any] = KUBERNETES["Deployment/ratesvc"]["spec"]["template"]
UNIT = ROOT / "deploy/ratesvc.service"
CONTAINER: dict[str, Any] = POD["spec"]["containers"][0]


def grace(settings: Settings) -> float:
    """The longest orderly stop: the drain, then what is in flight, which aiohttp waits for twice."""
    return settings.server.drain_seconds + 2 * FINISH_S


def test_a_volume_is_saved_and_put_back_as_the_handbook_says(tmp_path: Path) -> None:
    """Its two commands, over folders of this machine: all is as it was, owners and modes too."""
    for name in ("sh", "tar", "gzip", "find"):
        program(name)
    handbook = (ROOT / "docs/operating.md").read_text("utf-8")
    save, put_back = re.findall(r"^docker run [^']*'(.*)'$", handbook.replace("\\\n", ""), re.MULTILINE)
    rates, to = tmp_path / "rates", tmp_path / "to"
    (rates / "appendonlydir").mkdir(parents=True, mode=0o700)
    (rates / ".lock").write_text("1")
    (rates / "appendonlydir" / "base.rdb").write_text("rates")
    to.mkdir()

    def inside(command: str) -> dict[str, tuple[int, int, bytes]]:
        output_of("sh", "-c", re.sub("/rates(?= |$)", str(rates), command.replace("/to/", f"{to}/")))
        found = {path: path.stat() for path in [rates, *rates.rglob("*")]}
        return {str(p): (at.st_mode, at.st_uid, p.read_bytes() if p.is_file() else b"") for p, at in found.items()}

    before = inside(save)
    (rates / "appendonlydir" / "base.rdb").write_text("damaged")
    (rates / "later").write_text("")
    assert inside(put_back) == before
    assert len(before) == 4


@pytest.mark.nightly
def test_compose_is_valid() -> None:
    """By the Compose Specification."""
    files = "compose.yaml", "deploy/compose.replicas.yaml"
    output_of(sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", *files)


def test_containers_have_right_settings_and_the_time_they_need_to_stop() -> None:
    """Nobody is killed while he finishes, and data is in the volume."""
    for one in (ONE["ratesvc"], TWO["services"]["ratesvc"]):
        given = {name: re.sub(r"\$\{.*", "http://x", text) for name, text in one["environment"].items()}
        assert one["image"] == f"ratesvc:{__version__}"
        assert float(one["stop_grace_period"].removesuffix("s")) > grace(load(None, given))
    image = dict(re.findall(r"^(EXPOSE|VOLUME) (.*)$", DOCKERFILE, re.MULTILINE))
    settings = load(None, dict(re.findall(r"\b(RATESVC_\w+)=(\S+)", DOCKERFILE)))
    assert (settings.server.host, settings.server.port) == ("0.0.0.0", int(image["EXPOSE"]))  # noqa: S104
    assert settings.data_dir == image["VOLUME"]


def test_what_ships_has_no_rights() -> None:
    """A user of its own, no capabilities, and no file that it may write but its data. Docker asks a real command."""
    (asked,) = re.findall(r'^HEALTHCHECK .* CMD \["ratesvc", "(\w+)"\]$', DOCKERFILE, re.MULTILINE)
    assert asked in main.commands
    for one in (*ONE.values(), TWO["services"]["ratesvc"], TWO["services"]["proxy"]):
        assert (one["read_only"], one["cap_drop"], one["security_opt"]) == (True, ["ALL"], ["no-new-privileges:true"])


@pytest.mark.slow
def test_the_caddyfile_is_valid(tmp_path: Path) -> None:
    """By Caddy itself, which finds it well formatted, also with the domain that the guide puts into it."""
    assert output_of(program("caddy"), "fmt", "deploy/Caddyfile") == shipped("Caddyfile")
    (put,) = re.findall(
        r"^(sed .*) >/etc/caddy/Caddyfile", (ROOT / "docs/deploying.md").read_text("utf-8"), re.MULTILINE
    )
    named = tmp_path / "Caddyfile"
    named.write_text(output_of("sh", "-c", put), "utf-8")
    for file, domain in (("deploy/Caddyfile", {"DOMAIN": "rates.example"}), (named, {})):
        output_of("caddy", "adapt", "--validate", "--config", file, env=environment(tmp_path, **domain))
    assert "\nrates.example {\n" in named.read_text("utf-8")


@pytest.mark.nightly
def test_kubernetes_is_valid() -> None:
    """By the schemas of Kubernetes, with every unknown field refused."""
    files = ("deploy/kubernetes.yaml", "deploy/kubernetes-ingress.yaml")
    told = output_of(Path(sys.executable).parent / "kubernetes-validate", "--strict", *files)
    assert told.count(" passed for ") == len(KUBERNETES.keys() - {"ServiceMonitor/ratesvc"}) == 6


def test_kubernetes_waits_for_the_drain() -> None:
    """Traffic follows /readyz; a replica is heard to be draining before it closes."""
    settings = load(None, {one["name"]: one.get("value", "redis://redis:6379/0") for one in CONTAINER["env"]})
    assert POD["spec"]["terminationGracePeriodSeconds"] > grace(settings)
    ready = CONTAINER["readinessProbe"]
    assert ready["periodSeconds"] * ready["failureThreshold"] + ready["timeoutSeconds"] < settings.server.drain_seconds


@pytest.mark.slow
def test_the_systemd_unit_is_valid_and_hardened(tmp_path: Path) -> None:
    """systemd has nothing to say about it, and counts its exposure below 1.5 of 10."""
    analyze, unit, started = program("systemd-analyze"), tmp_path / "ratesvc.service", tmp_path / "ratesvc"
    started.write_text("#!/bin/sh\n")
    started.chmod(0o755)
    unit.write_text(UNIT.read_text("utf-8").replace("/opt/ratesvc/bin/ratesvc", str(started)), "utf-8")
    assert output_of(analyze, "verify", "--man=no", unit) == ""
    output_of(analyze, "security", "--offline=true", "--no-pager", "--threshold=15", unit)


def test_systemd_waits_for_the_service_and_starts_it_again() -> None:
    """SIGTERM is for the main process; the settings are right; a wrong setting is not tried again and again."""
    service = dict(re.findall(r"^([A-Za-z]+)=(.*)$", UNIT.read_text("utf-8"), re.MULTILINE))
    settings = load(None, dict(pair.split("=", 1) for pair in service["Environment"].split()))
    assert settings.data_dir == f"/var/lib/{service['StateDirectory']}"
    assert float(service["TimeoutStopSec"]) > grace(settings)


STUBS = {
    # What a venv has that matters here: the program of its version, which may refuse a setting.
    "python3": """#!/bin/sh
mkdir -p "$3/bin" && printf '#!/bin/sh\n' >"$3/bin/pip" && cp "$ROOT/new" "$3/bin/ratesvc" && chmod +x "$3"/bin/*
""",
    "systemd-run": """#!/bin/sh
while [ "$1" != -- ]; do shift; done; shift; exec "$@"
""",
    "systemctl": """#!/bin/sh
echo "$@" >>"$ROOT/systemctl.log"
""",
}


@pytest.mark.slow
@pytest.mark.parametrize("code", [0, 78])
def test_an_upgrade_with_a_wrong_setting_leaves_the_old_version_running(code: int, tmp_path: Path) -> None:
    """The handbook's block over folders of this test: the link moves and systemd hears only after the check."""
    handbook = (ROOT / "docs/operating.md").read_text("utf-8")
    (block,) = re.findall(r"^cd /usr/src/ratesvc-2 .*?(?=^```)", handbook, re.MULTILINE | re.DOTALL)
    for folder in ("usr/src/ratesvc-2", "usr/local/bin", "etc/systemd/system", "opt/ratesvc-1", "stubs"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "opt/ratesvc").symlink_to("ratesvc-1")
    (tmp_path / "new").write_text(f'#!/bin/sh\ncase "$*" in *check-config) exit {code} ;; esac\n')
    for name, text in STUBS.items():
        (tmp_path / "stubs" / name).write_text(text)
        (tmp_path / "stubs" / name).chmod(0o755)
    deploy = tmp_path / "usr/src/ratesvc-2/deploy"
    deploy.mkdir()
    (deploy / "ratesvc.service").write_text(UNIT.read_text("utf-8"))
    (deploy / "ratesvc.sh").write_text(shipped("ratesvc.sh").replace("-- /opt", f"-- {tmp_path}/opt"))
    here = re.sub(r"(?<![\w.|])/(usr|opt|etc)/", rf"{tmp_path}/\1/", block)
    path = f"{tmp_path}/stubs:{tmp_path}/usr/local/bin:/usr/bin:/bin"
    env = environment(tmp_path, PATH=path, ROOT=str(tmp_path))
    done = subprocess.run(["sh", "-c", here], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    log, link = tmp_path / "systemctl.log", (tmp_path / "opt/ratesvc").readlink()
    assert (done.returncode, str(link)) == (code, "ratesvc-1" if code else "ratesvc-2"), done.stderr
    assert not (log.exists() and code)
    assert code or log.read_text() == "daemon-reload\nrestart ratesvc\n"
