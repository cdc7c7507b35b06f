"""Image, compose, proxy, Kubernetes, systemd: each by the rules of its own world, and against what the service does."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import program
from kit.proxies import shipped
from kit.service import ROOT, environment, output_of

from ratesvc import __version__
from ratesvc.config import Settings, load
from ratesvc.web.connections import FINISH_S

UID = 10001
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
ONE = yaml.safe_load((ROOT / "compose.yaml").read_bytes())["services"]
TWO = yaml.safe_load((ROOT / "compose.replicas.yaml").read_bytes())
KUBERNETES: dict[str, dict[str, Any]] = {
    f"{one['kind']}/{one['metadata']['name']}": one
    for name in ("kubernetes", "kubernetes-ingress", "kubernetes-monitoring")
    for one in yaml.safe_load_all((ROOT / f"deploy/{name}.yaml").read_bytes())
}
POD: dict[str, Any] = KUBERNETES["Deployment/ratesvc"]["spec"]["template"]
UNIT = ROOT / "deploy/ratesvc.service"
CONTAINER: dict[str, Any] = POD["spec"]["containers"][0]


def instructions(name: str) -> list[str]:
    return re.findall(rf"^{name} +(.+)$", DOCKERFILE, re.MULTILINE)


def grace(settings: Settings) -> float:
    """The longest orderly stop: the drain, then what is in flight, which aiohttp waits for twice."""
    return settings.server.drain_seconds + 2 * FINISH_S


def test_the_image_has_one_base_and_takes_only_what_is_locked() -> None:
    """All stages are of one named version and digest; whatever comes from the index is checked by its hash."""
    base, *stages = instructions("FROM")
    assert re.fullmatch(r"python:3\.[0-9]+-slim-[a-z]+@sha256:[0-9a-f]{64} AS python", base)
    assert stages == ["python AS build", "python"]
    installs = re.findall(r"pip(?: --python \S+)? (?:install|wheel) (.+?)(?:&&|$)", DOCKERFILE, re.MULTILINE)
    fetching = [
        options for options in installs if "--no-index" not in options and "--no-build-isolation" not in options
    ]
    assert len(installs) == 4
    assert [options for options in fetching if "--require-hashes --only-binary :all:" not in options] == []


def test_the_image_runs_as_nobody_and_can_be_stopped_and_asked() -> None:
    """A user that no host has, a signal that drains, our own probe, no shell, and labels that say what it is."""
    assert instructions("USER") == [f"{UID}:{UID}"]
    assert instructions("STOPSIGNAL") == ["SIGTERM"]
    assert json.loads(instructions("ENTRYPOINT")[0]) + json.loads(instructions("CMD")[0]) == ["ratesvc", "serve"]
    labels = dict(re.findall(r'org\.opencontainers\.image\.([a-z.]+)="([^"]+)"', instructions("LABEL")[0]))
    assert labels.keys() == {"title", "description", "licenses", "base.name"}
    assert labels["base.name"] == f"docker.io/library/{instructions('FROM')[0].partition('@')[0]}"
    assert labels["licenses"] == tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["license"]
    probe = instructions("HEALTHCHECK")[0].split(" CMD ")[1]
    assert json.loads(probe) == ["ratesvc", "healthcheck"]
    given = dict(pair.split("=", 1) for pair in instructions("ENV")[-1].split() if pair.startswith("RATESVC_"))
    settings = load(None, given)
    assert settings.server.host == "0.0.0.0", "nothing outside of the container could reach it"  # noqa: S104
    assert instructions("EXPOSE") == [str(settings.server.port)]
    assert instructions("VOLUME") == instructions("WORKDIR")[1:] == [settings.data_dir]
    assert f"chmod 700 {settings.data_dir}" in DOCKERFILE
    assert settings.log.format == "json"


def test_the_image_is_built_from_what_it_needs() -> None:
    """The build sees a list of names, so that no data, key or history ends up in a layer."""
    shown = (ROOT / ".dockerignore").read_text("utf-8").split()
    assert shown[0] == "*"
    copied = {name for line in instructions("COPY") if "--from" not in line for name in line.split()[:-1]}
    assert {name.lstrip("!") for name in shown if name.startswith("!")} == copied


def test_a_volume_is_saved_and_put_back_as_the_handbook_says(tmp_path: Path) -> None:
    """Its two commands, over folders of this machine: all is as it was, owners and modes too."""
    for name in ("sh", "tar", "gzip", "find"):
        program(name)
    handbook = (ROOT / "docs/operations.md").read_text("utf-8")
    save, put_back = re.findall(r"^docker run [^']*'(.*)'$", handbook.replace("\\\n", ""), re.MULTILINE)
    rates, to = tmp_path / "rates", tmp_path / "to"
    (rates / "appendonlydir").mkdir(parents=True, mode=0o700)
    (rates / ".lock").write_text("1")
    (rates / "appendonlydir" / "base.rdb").write_text("rates")
    to.mkdir()

    def inside(command: str) -> None:
        output_of("sh", "-c", re.sub("/rates(?= |$)", str(rates), command.replace("/to/", f"{to}/")))

    def seen() -> dict[str, tuple[int, int, bytes]]:
        found = {path: path.stat() for path in [rates, *rates.rglob("*")]}
        return {str(p): (at.st_mode, at.st_uid, p.read_bytes() if p.is_file() else b"") for p, at in found.items()}

    before = seen()
    inside(save)
    (rates / "appendonlydir" / "base.rdb").write_text("damaged")
    (rates / "later").write_text("")
    inside(put_back)
    assert seen() == before
    assert len(before) == 4


@pytest.mark.nightly
def test_compose_is_valid() -> None:
    """By the Compose Specification."""
    files = "compose.yaml", "compose.replicas.yaml"
    output_of(sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", *files)


def test_compose_starts_one_service_that_keeps_its_data() -> None:
    """Nothing else, but Caddy where it is asked for."""
    assert {name: one.get("profiles") for name, one in ONE.items()} == {"ratesvc": None, "tls": ["tls"]}
    assert ONE["ratesvc"]["volumes"] == [f"rates:{instructions('VOLUME')[0]}"]
    assert ONE["ratesvc"]["ports"] == ["127.0.0.1:8080:8080"], "the world would reach it past Caddy"


def test_compose_has_two_healthy_replicas_behind_a_proxy() -> None:
    """Two replicas of this version, one store that nothing else reaches; everybody waits for who is asked."""
    services = TWO["services"]
    assert services["tls"]["extends"] == {"file": "compose.yaml", "service": "tls"}
    services = services | {"tls": ONE["tls"] | services["tls"]}
    assert services["ratesvc"]["deploy"] == {"replicas": 2}
    assert services["ratesvc"]["image"] == f"ratesvc:{__version__}"
    assert TWO["networks"]["store"] == {"internal": True}
    assert {name for name, one in services.items() if "store" in one["networks"]} == {"ratesvc", "valkey"}
    assert {name for name, one in services.items() if "ports" in one} == {"proxy", "tls"}
    assert services["proxy"]["ports"] == ["127.0.0.1:8080:8080"], "the world would reach it past Caddy"
    _, *options = services["valkey"]["command"]
    kept = {"--appendonly": "yes", "--maxmemory": "256mb", "--maxmemory-policy": "noeviction"}
    assert dict(zip(options[::2], options[1::2], strict=True)) == kept
    waits = [one["condition"] for service in services.values() for one in service.get("depends_on", {}).values()]
    assert waits == ["service_healthy"] * 3
    assert all("healthcheck" in one for name, one in services.items() if name != "ratesvc")
    assert all(one["read_only"] and one["security_opt"] == ["no-new-privileges:true"] for one in services.values())


def test_images_of_others_are_pinned() -> None:
    """By the digest of their index, like the base of our own. A tag can be moved under our feet."""
    images = [
        one["image"]
        for one in (*ONE.values(), *TWO["services"].values())
        if {"image"} == one.keys() & {"image", "build"}
    ]
    assert [one for one in images if not re.fullmatch(r"[a-z/]+:[0-9.]+-alpine@sha256:[0-9a-f]{64}", one)] == []


def test_compose_gives_a_replica_the_time_it_needs_to_stop() -> None:
    """Its settings are right, and nobody is killed while he finishes."""
    for one in (ONE["ratesvc"], TWO["services"]["ratesvc"]):
        assert one["image"] == f"ratesvc:{__version__}"
        assert float(one["stop_grace_period"].removesuffix("s")) > grace(load(None, composed(one)))


def composed(service: dict[str, Any], **given: str) -> dict[str, str]:
    """A service's environment as Compose fills it in: `${A:-or else}` and `${A:+if there}`, the innermost first."""
    pattern = re.compile(r"\$\{([A-Z_]+):([-+])([^{}]*)\}")

    def filled(text: str) -> str:
        while found := pattern.search(text):
            is_given = bool(given.get(found[1]))
            chosen = found[3] if is_given == (found[2] == "+") else given.get(found[1], "")
            text = text[: found.start()] + chosen + text[found.end() :]
        return text

    return {name: filled(text) for name, text in service["environment"].items()}


def test_compose_with_a_domain_has_links_and_a_certificate_for_it() -> None:
    """With the profile `tls` Caddy is in front, keeps its certificate, and links begin with the domain."""
    assert ONE["tls"]["ports"] == ["80:80", "443:443", "443:443/udp"]
    assert composed(ONE["tls"], DOMAIN="rates.example") == {"DOMAIN": "rates.example", "RATES": "ratesvc:8080"}
    assert composed(TWO["services"]["tls"]) == {"RATES": "proxy:8080"}
    assert set(re.findall(r"\{\$([A-Z]+)", shipped("Caddyfile"))) == {"DOMAIN", "RATES"}
    assert "certificates:/data" in ONE["tls"]["volumes"]
    for service in (ONE["ratesvc"], TWO["services"]["ratesvc"]):
        given: tuple[dict[str, str], ...] = ({}, {"DOMAIN": "a.b"}, {"RATESVC_PUBLIC_URL": "c"})
        seen = [composed(service, **one)["RATESVC_PUBLIC_URL"] for one in given]
        assert seen == ["http://localhost:8080", "https://a.b", "c"]


def test_the_proxy_is_valid() -> None:
    """By HAProxy itself; what it does is shown in test_proxies and test_D_fleet."""
    output_of(program("haproxy"), "-c", "-f", "deploy/haproxy.cfg")


@pytest.mark.nightly
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


def test_kubernetes_selects_these_pods() -> None:
    """A selector that selects nothing is valid, protects nothing and serves nothing."""
    labels = POD["metadata"]["labels"]
    spec = {name: one["spec"] for name, one in KUBERNETES.items()}
    assert labels == spec["Deployment/ratesvc"]["selector"]["matchLabels"]
    assert labels == spec["Service/ratesvc"]["selector"] == spec["Service/ratesvc-admin"]["selector"]
    assert labels == spec["PodDisruptionBudget/ratesvc"]["selector"]["matchLabels"]
    assert labels == spec["NetworkPolicy/ratesvc"]["podSelector"]["matchLabels"]
    assert spec["Deployment/ratesvc"]["replicas"] > spec["PodDisruptionBudget/ratesvc"]["minAvailable"] >= 1
    assert {"Ingress", "Egress"} == set(spec["NetworkPolicy/ratesvc"]["policyTypes"])


def test_kubernetes_leads_readers_to_the_public_port_only() -> None:
    """Ingress → Service → the port without /health and /metrics; the host is that of all links."""
    (rule,) = KUBERNETES["Ingress/ratesvc"]["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    assert path["backend"]["service"] == {"name": "ratesvc", "port": {"name": "http"}}
    ports = {one["name"]: one["containerPort"] for one in CONTAINER["ports"]}
    settings = kubernetes_settings()
    assert ports == {"http": settings.server.port, "admin": settings.server.admin_port}
    (public,) = KUBERNETES["Service/ratesvc"]["spec"]["ports"]
    assert (public["name"], public["targetPort"]) == ("http", "http")
    (tls,) = KUBERNETES["Ingress/ratesvc"]["spec"]["tls"]
    assert settings.server.public_url == f"https://{rule['host']}" == f"https://{tls['hosts'][0]}"


def test_kubernetes_lets_prometheus_read_every_replica() -> None:
    """ServiceMonitor → the Service of the admin port, under the job that the alerts expect."""
    spec, service = KUBERNETES["ServiceMonitor/ratesvc"]["spec"], KUBERNETES["Service/ratesvc-admin"]
    assert spec["selector"]["matchLabels"] == service["metadata"]["labels"]
    assert service["metadata"]["labels"][spec["jobLabel"]] == "ratesvc"
    assert [one["port"] for one in spec["endpoints"]] == [one["name"] for one in service["spec"]["ports"]] == ["admin"]
    assert service["spec"]["ports"][0]["targetPort"] == "admin"
    assert service["spec"]["publishNotReadyAddresses"], "a replica without rates would not be read"
    # Another Service must not be selected as well.
    assert not spec["selector"]["matchLabels"].items() <= KUBERNETES["Service/ratesvc"]["metadata"]["labels"].items()


Peer = str | dict[str, str]


def may_send(where: Peer, port: int) -> bool:
    """Whether the network policy lets a replica connect to an address, or to a pod of its namespace by its labels."""

    def includes(peer: dict[str, Any]) -> bool:
        if isinstance(where, dict):
            return "podSelector" in peer and peer["podSelector"]["matchLabels"].items() <= where.items()
        blocks = peer.get("ipBlock", {"cidr": "::/128"})
        excepted = (ip_address(where) in ip_network(block) for block in blocks.get("except", ()))
        return ip_address(where) in ip_network(blocks["cidr"]) and not any(excepted)

    rules = KUBERNETES["NetworkPolicy/ratesvc"]["spec"]["egress"]
    return any(
        port in [one["port"] for one in rule["ports"]] and ("to" not in rule or any(map(includes, rule["to"])))
        for rule in rules
    )


def test_kubernetes_lets_a_replica_reach_the_bank_and_its_redis_only() -> None:
    """The Bank by IPv4 and IPv6, Redis and its Sentinels by label; no other pod, no private or metadata address."""
    redis = {"app.kubernetes.io/name": "redis", "app.kubernetes.io/instance": "rates"}
    reached: list[tuple[Peer, int]] = [("178.248.238.77", 443), ("2a02:6b8::2:242", 443), (redis, 6379), (redis, 26379)]
    assert [one for one in reached if not may_send(*one)] == []
    private = ["10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "192.168.0.1"]
    private += ["fd00:ec2::254", "fe80::1", "::1", "::ffff:10.1.2.3"]
    refused: list[tuple[Peer, int]] = [
        ({"app.kubernetes.io/name": "postgres"}, 6379),
        ("178.248.238.77", 6379),
        ("178.248.238.77", 80),
    ]
    refused += [(address, 443) for address in private]
    assert [one for one in refused if may_send(*one)] == []


def test_kubernetes_shows_health_and_metrics_to_monitoring_only() -> None:
    """Everybody may ask the public port, the namespace of Prometheus the other one."""
    rules = KUBERNETES["NetworkPolicy/ratesvc"]["spec"]["ingress"]
    names = "kubernetes.io/metadata.name"
    admitted = {
        port["port"]: [one["namespaceSelector"]["matchLabels"][names] for one in rule.get("from", ())]
        for rule in rules
        for port in rule["ports"]
    }
    assert admitted == {"http": [], "admin": ["monitoring"]}


def test_kubernetes_gives_no_rights() -> None:
    """Not root, nothing to write on, no capability, no token, no variables of other services."""
    assert POD["spec"]["enableServiceLinks"] is POD["spec"]["automountServiceAccountToken"] is False
    assert POD["spec"]["securityContext"]["runAsNonRoot"]
    assert POD["spec"]["securityContext"]["runAsUser"] == UID
    assert POD["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert CONTAINER["image"] == f"ratesvc:{__version__}"


def test_a_replica_gets_the_memory_that_it_needs() -> None:
    """256 MB (docs/speed.md); its own engine needs as much."""
    unit = [
        *re.findall(r"^MemoryMax=([0-9]+)M$", UNIT.read_text("utf-8"), re.MULTILINE),
        ONE["ratesvc"]["mem_limit"].rstrip("m"),
    ]
    given = [CONTAINER["resources"]["limits"]["memory"], TWO["services"]["ratesvc"]["mem_limit"]]
    assert [int(amount.rstrip("Mim")) >= 256 for amount in given] == [True, True]
    assert [int(amount) >= 2 * 256 for amount in unit] == [True, True]


def test_kubernetes_replaces_a_replica_once_the_new_one_is_ready() -> None:
    """So no request fails during an upgrade."""
    rolling = KUBERNETES["Deployment/ratesvc"]["spec"]["strategy"]["rollingUpdate"]
    assert (rolling["maxUnavailable"], rolling["maxSurge"]) == (0, 1)


def kubernetes_settings() -> Settings:
    """What the environment of the pods means."""
    return load(None, {one["name"]: one.get("value", "redis://redis:6379/0") for one in CONTAINER["env"]})


def test_kubernetes_asks_the_right_questions_and_waits_for_the_drain() -> None:
    """Restarts follow /livez, traffic follows /readyz; a replica is heard to be draining before it closes."""
    asked = {name: CONTAINER[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert asked == {
        "startup": {"path": "/livez", "port": "admin"},
        "liveness": {"path": "/livez", "port": "admin"},
        "readiness": {"path": "/readyz", "port": "admin"},
    }
    settings = kubernetes_settings()
    assert POD["spec"]["terminationGracePeriodSeconds"] > grace(settings)
    ready = CONTAINER["readinessProbe"]
    assert ready["periodSeconds"] * ready["failureThreshold"] + ready["timeoutSeconds"] < settings.server.drain_seconds


@pytest.mark.nightly
def test_the_systemd_unit_is_valid_and_hardened(tmp_path: Path) -> None:
    """systemd has nothing to say about it, and counts its exposure below 1.5 of 10."""
    analyze, unit, started = program("systemd-analyze"), tmp_path / "ratesvc.service", tmp_path / "ratesvc"
    started.write_text("#!/bin/sh\n")
    started.chmod(0o755)
    unit.write_text(UNIT.read_text("utf-8").replace("/opt/ratesvc/bin/ratesvc", str(started)), "utf-8")
    assert output_of(analyze, "verify", "--man=no", unit) == ""
    output_of(analyze, "security", "--offline=true", "--no-pager", "--threshold=15", unit)


def test_systemd_lets_the_service_end_its_engine_itself() -> None:
    """SIGTERM is for the main process; the settings are right; a wrong setting is not tried again and again."""
    service = dict(re.findall(r"^([A-Za-z]+)=(.*)$", UNIT.read_text("utf-8"), re.MULTILINE))
    settings = load(None, dict(pair.split("=", 1) for pair in service["Environment"].split()))
    assert service["KillMode"] == "mixed"
    assert settings.data_dir == f"/var/lib/{service['StateDirectory']}"
    # Its own instructions make its user.
    added = rf"^#   useradd .*--home-dir {settings.data_dir} .* {service['User']}$"
    assert re.search(added, UNIT.read_text("utf-8"), re.MULTILINE)
    # Commands beside it run as the same user, in the same folder, with the same settings and the same program.
    beside = (ROOT / "deploy/ratesvc.sh").read_text("utf-8")
    same = dict(re.findall(r"--property=([A-Za-z]+)=(\S+)", beside))
    assert same.pop("Environment") in service["Environment"].split()
    assert same == {name: service[name] for name in ("User", "WorkingDirectory", "EnvironmentFile")}
    assert f"-- {service['ExecStart'].split()[0]} " in beside
    assert float(service["TimeoutStopSec"]) > grace(settings)
    # It is restarted for as long as it takes, also if it hangs, but not after a wrong setting.
    restarts = ("Type", "WatchdogSec", "Restart", "RestartPreventExitStatus", "StartLimitIntervalSec")
    assert [service[name] for name in restarts] == ["notify", "60", "on-failure", "78", "0"]


def test_systemd_gives_no_rights() -> None:
    """As SECURITY.md says: a private folder, a read-only system, no capability, a filter of system calls."""
    service = dict(re.findall(r"^([A-Za-z]+)=(.*)$", UNIT.read_text("utf-8"), re.MULTILINE))
    assert service["StateDirectoryMode"] == "0700"
    assert (service["ProtectSystem"], service["SystemCallFilter"]) == ("strict", "~@privileged @resources")
    assert service["CapabilityBoundingSet"] == service["AmbientCapabilities"] == ""
    assert {"NoNewPrivileges", "ProtectHome", "PrivateTmp", "PrivateDevices"} <= {
        n for n in service if service[n] == "yes"
    }
