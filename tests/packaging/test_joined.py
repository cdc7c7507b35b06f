"""Names, ports and times that stand in several files of deploy/: one end asks for what the other opens and promises."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from conftest import program
from kit import cases
from kit.proxies import shipped
from kit.service import ROOT, output_of
from test_deploy import CONTAINER, DOCKERFILE, KUBERNETES, ONE, POD, TWO, UNIT

from ratesvc.cli import main
from ratesvc.config import Cbr, Server, Settings, load
from ratesvc.storage.address import PORTS
from ratesvc.web.connections import KEEP_ALIVE_S, PATIENCE_S
from ratesvc.web.probes import PROBES

PORT = Server().port
HEARTBEAT_S = 15.0
"""Of a stream of events; docs/api.md has it."""
HAPROXY, CADDY, NGINX, SSI = map(shipped, ("haproxy.cfg", "Caddyfile", "nginx.conf", "nginx-ssi.conf"))
SITE, PROMETHEUS = map(shipped, ("nginx-site.conf", "prometheus/prometheus.yml"))
REPLICAS: dict[str, dict[str, Any]] = TWO["services"]
TELEGRAM = shipped("ratesvc-telegram.service")
GUIDE = (ROOT / "docs/deploying.md").read_text("utf-8")
LABEL = {"app.kubernetes.io/name": "ratesvc"}
TIMES = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
IMAGE = dict(re.findall(r"^(USER|STOPSIGNAL|ENTRYPOINT|CMD|EXPOSE|WORKDIR|VOLUME) (.*)$", DOCKERFILE, re.MULTILINE))


def seconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)([a-z]*)", text).groups()  # type: ignore[union-attr]
    return float(number) * TIMES[unit or "s"]


def after(text: str, words: str) -> list[str]:
    """What follows these words on their lines, remarks apart."""
    return re.findall(rf"^\s*{words}\s+([^\s;]+)", text, re.MULTILINE)


def waits(text: str, words: str) -> list[float]:
    return [seconds(one) for one in after(text, words)]


def of_unit(text: str) -> dict[str, str]:
    return dict(re.findall(r"^([A-Za-z]+)=(.*)$", text, re.MULTILINE))


def step_of(step: dict[str, Any]) -> str:
    """A step of a workflow: its script, or an action without its commit, which Dependabot moves."""
    given = {name: one for name, one in (step.get("with", {}) | step.get("env", {})).items() if "@" not in str(one)}
    told = (step.get("run") or step["uses"].partition("@")[0]).rstrip().replace("\n", "\n  ")
    return f"{told} {json.dumps(given)}" if given else told


def shown(question: str) -> str:
    """What a file says where a line begins with these words, or at a path of its YAML."""
    name, _, words = question.partition(" ")
    if name.endswith((".yaml", ".yml")):
        found: Any = KUBERNETES if words[0].isupper() else yaml.safe_load((ROOT / name).read_bytes())
        for part in words.split("."):
            found = found[int(part) if part.isdigit() else True if part == "on" else part]  # YAML reads on as true
        return "\n".join(map(step_of, found)) if words.endswith("steps") else json.dumps(found)
    text = DOCKERFILE if name == "Dockerfile" else shipped(name)
    found = re.findall(rf"^[ \t]*{re.escape(words)}(?![\w-])[ =]*(.*?)[;{{\\ ]*$", text, re.MULTILINE)
    return "\n".join(one or "(said)" for one in found) or "(not said)"


def test_each_file_says_what_it_promises() -> None:
    """golden/deploy.txt says what, and why."""
    cases.check("deploy.txt", {question: shown(question) for question in cases.questions("deploy.txt")})


def test_one_port_is_opened_and_asked_for() -> None:
    """By the service, in front of it, by probes, by Prometheus, by the CDN; and addresses of links have it."""
    asked = [
        *re.findall(r"127\.0\.0\.1:(\d+):", f"{ONE['ratesvc']['ports']} {REPLICAS['proxy']['ports']}"),
        *after(HAPROXY, "bind"),
        *re.findall(r"ratesvc:(\d+)", f"{HAPROXY} {ONE['tls']['environment']}"),
        *re.findall(r"(?:reverse_proxy {\$RATES:127\.0\.0\.1|proxy_pass http://127\.0\.0\.1):(\d+)", CADDY + SITE),
        *re.findall(r'\.port = "(\d+)";|localhost:(\d+)}', f"{shipped('cdn.vcl')} {ONE} {REPLICAS}"),
        *re.findall(r"type: A, port: (\d+),|127\.0\.0\.1:(80\d+)", PROMETHEUS),
        IMAGE["EXPOSE"],
    ]
    assert {"".join(one).removeprefix(":") for one in asked} == {str(PORT)}
    assert {name for name, one in REPLICAS.items() if "ports" in one} == {"proxy"}
    assert REPLICAS["proxy"]["healthcheck"]["test"][-1] == f"http://127.0.0.1:{PORT}/livez"
    assert ONE["tls"]["healthcheck"]["test"][-1].startswith("http://127.0.0.1:2019/")  # Caddy's own
    assert f'network "{TWO["name"]}_front"' in PROMETHEUS
    settings = yaml.safe_load(PROMETHEUS)
    assert all((ROOT / "deploy/prometheus" / name).is_file() for name in settings["rule_files"])
    interval = KUBERNETES["ServiceMonitor/ratesvc"]["spec"]["endpoints"][0]["interval"]
    assert settings["global"]["scrape_interval"] == interval


@pytest.mark.parametrize(("folder", "services"), [(".", ONE), ("deploy", REPLICAS)])
def test_a_service_of_compose_reaches_what_it_names(folder: str, services: dict[str, dict[str, Any]]) -> None:
    """A service of this name listens there, in a network of both, and is waited for until it is healthy."""
    ours = {"ratesvc": PORT, "proxy": PORT, "valkey": PORTS["redis"]}
    for name, one in services.items():
        given = one.get("environment", {})
        asked = [address for key in ("RATES", "RATESVC_REDIS_URL") if (address := given.get(key))]
        waited = {other for other, how in one.get("depends_on", {}).items() if how == {"condition": "service_healthy"}}
        assert waited == one.get("depends_on", {}).keys()
        for address in asked:
            where = urlsplit(address if "://" in address else f"//{address}")
            assert (where.hostname in services, where.port) == (True, ours[str(where.hostname)]), address
            assert where.hostname in waited
        for other in waited:
            assert {*one.get("networks", [])} & {*services[other].get("networks", [])} or folder == "."
            # The image of ratesvc has its own check.
            assert "healthcheck" in services[other] or "ratesvc:" in services[other]["image"]
        files = [volume.split(":") for volume in one.get("volumes", []) if volume.startswith(".")]
        files += [[one["extends"]["file"], "", "ro"]] if "extends" in one else []
        files += [[f"{one['build']}/Dockerfile", "", "ro"]] if "build" in one else []
        assert all((ROOT / folder / file).is_file() and mode == "ro" for file, _, mode in files)
        if "extends" not in one:
            assert one["restart"] == "unless-stopped", name
            assert one["security_opt"] == ["no-new-privileges:true"]
            assert int(one["mem_limit"].removesuffix("m")) >= 128


def test_haproxy_knows_each_replica_of_compose() -> None:
    """In each backend that readers reach, and asks a probe that says what the backend is for."""
    count = REPLICAS["ratesvc"]["deploy"]["replicas"]
    template = f"server-template replica {count} ratesvc:{PORT} resolvers docker init-addr none"
    backends = dict(re.findall(r"^backend (\w+)\n(.*?)(?=^\w|\Z)", HAPROXY, re.MULTILINE | re.DOTALL))
    assert {name for name, text in backends.items() if template in text} == {"replicas", "long", "alive"}
    assert "option httpchk GET /livez" in backends["alive"]
    assert after(HAPROXY, "use_backend") + after(HAPROXY, "default_backend") == ["alive", "long", "replicas"]


def test_a_proxy_notices_a_drain_before_the_port_closes() -> None:
    """And its own stop ends before Docker kills it."""
    (inter,) = re.findall(r"default-server check inter (\w+) fall 1 rise 1", HAPROXY)
    for one in (ONE["ratesvc"], REPLICAS["ratesvc"]):
        drain_s = load(None, {name: "http://x" for name in one["environment"] if name == "RATESVC_PUBLIC_URL"})
        assert 2 * seconds(inter) < drain_s.server.drain_seconds
    assert waits(CADDY, "grace_period")[0] < 10


def test_proxies_wait_longer_than_a_stream_is_silent_and_no_longer_than_a_client_may_drip() -> None:
    """A stream has a heartbeat every 15 seconds. The head of a request has ten, as in the service itself."""
    assert f"heartbeat every {HEARTBEAT_S:.0f} seconds" in GUIDE
    streams = [*waits(HAPROXY, "timeout client"), *waits(HAPROXY, "timeout server")[1:], *waits(CADDY, "read_timeout")]
    streams += [*waits(NGINX, "proxy_read_timeout")[2:], *waits(SITE, "proxy_read_timeout")[1:]]
    assert len(streams) == 5
    assert all(2 * HEARTBEAT_S < one <= 3 * HEARTBEAT_S for one in streams)
    assert [*waits(HAPROXY, "timeout http-request"), *waits(CADDY, "read_header")] == [PATIENCE_S] * 2
    assert all(one < KEEP_ALIVE_S for one in (*waits(HAPROXY, "timeout http-keep-alive"), *waits(CADDY, "idle")))
    # A second try fits in: each of two replicas may be the one that hangs.
    tries = waits(CADDY, "lb_try_duration")
    assert tries[0] > sum(waits(CADDY, "read_timeout")) > 20 + 1
    assert tries[1] > 2 * (3 + 1)


def test_the_proxies_have_the_same_limits() -> None:
    """A hundred requests a second and fifty streams an address, which docs name; a shield's first second fits in."""
    (most,) = re.findall(r"sc_http_req_rate\(0\) gt (\d+)", HAPROXY)
    (in_s,) = re.findall(r"store http_req_rate\((\w+)\)", HAPROXY)
    (rate,), (burst,) = re.findall(r"rate=(\d+)r/s", NGINX), re.findall(r"burst=(\d+) nodelay", NGINX)
    assert int(most) / seconds(in_s) == int(rate) == 100
    assert 500 < int(burst) < int(most)
    streams = [*re.findall(r"sc_conn_cur\(1,streams\) gt (\d+)", HAPROXY), *after(NGINX, "limit_conn streams")]
    assert streams == ["50"] * 2
    assert "the proxies allow 50 for one address" in GUIDE
    names = re.findall(r"^http://(.*) {$", CADDY, re.MULTILINE)[0].split(", http://")
    assert [*Cbr().host_names, "cbrates.rbc.ru"] == names


def test_files_of_nginx_stand_where_the_guide_says() -> None:
    """A page waits a second for its rates, and what is not for the public is hidden."""
    assert waits(SSI, "proxy_connect_timeout")[0] + waits(SSI, "proxy_read_timeout")[0] == 1
    assert after(SSI, "proxy_cache") == re.findall(r"keys_zone=(\w+)", SSI)
    assert re.findall(r"error_page .* = (\S+);", SSI) == re.findall(r"location (@\S+) {", SSI)
    assert re.findall(r"error_page .* = (\S+);", NGINX) == ["@too-many", "@unanswered", "@too-many-streams"]
    assert {*re.findall(r"location (@\S+) {", NGINX)} == {"@too-many", "@unanswered", "@too-many-streams"}
    assert "cp deploy/nginx-site.conf /etc/nginx/snippets/ratesvc.conf" in GUIDE
    assert "`include snippets/ratesvc.conf;`" in GUIDE
    (without,) = re.findall(r"^sed -i '(.*)' /etc/nginx/snippets/ratesvc.conf$", GUIDE, re.MULTILINE)
    for text, prefix in (
        (SITE, "/rates"),
        (NGINX, "/rates"),
        (output_of("sed", without, "deploy/nginx-site.conf"), ""),
    ):
        assert re.search(rf" location ~ \^{prefix}/\(health\|metrics\)\$ {{\n +return 404;", text)
        assert prefix or "/rates/" not in text


def test_kubernetes_names_ports_and_pods_that_are_there() -> None:
    """Services, Ingress, probes, the network policy and the monitor meet at the same names."""
    assert {one["metadata"].get("namespace") for one in KUBERNETES.values()} == {None}, "kubectl --namespace decides"
    ports = {one["name"]: one["containerPort"] for one in CONTAINER["ports"]}
    given = {one["name"]: one.get("value", "redis://redis:6379/0") for one in CONTAINER["env"]}
    settings: Settings = load(None, given)
    assert ports == {"http": settings.server.port, "admin": settings.server.admin_port}
    for name in ("startup", "liveness", "readiness"):
        asked = CONTAINER[f"{name}Probe"]["httpGet"]
        assert (asked["port"], asked["path"] in PROBES) == ("admin", True)
    startup = CONTAINER["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 60
    deployment = KUBERNETES["Deployment/ratesvc"]["spec"]
    assert deployment["selector"]["matchLabels"] == POD["metadata"]["labels"] == LABEL
    services = {name: KUBERNETES[f"Service/{name}"] for name in ("ratesvc", "ratesvc-admin")}
    opened = {name: {one["name"]: one for one in each["spec"]["ports"]} for name, each in services.items()}
    for name, each in services.items():
        assert each["spec"]["selector"] == LABEL
        assert all(one["targetPort"] in ports for one in opened[name].values())
    admin = services["ratesvc-admin"]
    ingress = KUBERNETES["Ingress/ratesvc"]["spec"]
    ((rule,), (tls,)) = ingress["rules"], ingress["tls"]
    assert [rule["host"]] == tls["hosts"]
    (path,) = rule["http"]["paths"]
    assert path["backend"]["service"]["port"]["name"] in opened[path["backend"]["service"]["name"]]
    assert urlsplit(settings.server.public_url)[:2] == ("https", rule["host"])
    monitor = KUBERNETES["ServiceMonitor/ratesvc"]["spec"]
    assert monitor["selector"]["matchLabels"].items() <= admin["metadata"]["labels"].items()
    assert not monitor["selector"]["matchLabels"].items() <= services["ratesvc"]["metadata"]["labels"].items()
    assert [one["port"] in opened["ratesvc-admin"] for one in monitor["endpoints"]] == [True]
    assert admin["metadata"]["labels"][monitor["jobLabel"]] == "ratesvc"  # the job of the alerts


def test_kubernetes_keeps_a_replica_and_closes_what_nobody_needs() -> None:
    """An eviction or an update takes one of two; the policy lets through what the service asks for."""
    deployment = KUBERNETES["Deployment/ratesvc"]["spec"]
    budget = KUBERNETES["PodDisruptionBudget/ratesvc"]["spec"]
    assert 0 < budget["minAvailable"] < deployment["replicas"] == REPLICAS["ratesvc"]["deploy"]["replicas"]
    policy = KUBERNETES["NetworkPolicy/ratesvc"]["spec"]
    assert budget["selector"]["matchLabels"] == policy["podSelector"]["matchLabels"] == LABEL
    _dns, redis, bank = policy["egress"]
    assert [one["port"] for one in redis["ports"]] == [PORTS["redis"], PORTS["redis+sentinel"]]
    assert [one["port"] for one in bank["ports"]] == [443]
    assert {urlsplit(one).scheme for one in Cbr().mirrors} == {"https"}
    secure, user = POD["spec"]["securityContext"], int(IMAGE["USER"].split(":")[0])
    assert (secure["runAsUser"], secure["runAsGroup"]) == (user, user)
    secrets = [one["valueFrom"]["secretKeyRef"] for one in CONTAINER["env"] if "valueFrom" in one]
    made = re.search(r"create secret generic (\S+) --from-literal=(\S+?)=", shipped("kubernetes.yaml"))
    assert made
    assert secrets == [{"name": made[1], "key": made[2]}]
    assert "Give a replica 256 MB" in GUIDE


def test_the_image_has_what_its_files_promise() -> None:
    """What is copied is there, every lock is pinned, and every image has a digest."""
    assert f"chown {IMAGE['USER']} {IMAGE['VOLUME']} && chmod 700 {IMAGE['VOLUME']}" in DOCKERFILE
    for sources in re.findall(r"^COPY (?!--)(.*) \S+$", DOCKERFILE, re.MULTILINE):
        assert all((ROOT / source).exists() for source in sources.split())
    locks = re.findall(r"-r (requirements/\S+)", DOCKERFILE)
    assert all((ROOT / lock).is_file() for lock in locks)
    assert DOCKERFILE.count("--require-hashes --only-binary :all:") == len(locks) == 2
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert re.fullmatch(r"python:3\.13-slim-trixie@sha256:[0-9a-f]{64}", bases[0])
    assert bases[1:] == ["python"] * 2
    for one in (*ONE.values(), *REPLICAS.values()):
        assert "build" in one or "extends" in one or re.search(r":[\w.-]+@sha256:[0-9a-f]{64}$", one["image"])


def test_the_units_and_their_command_have_the_same_user_folder_and_settings() -> None:
    """As the guide installs them, too."""
    unit, command = of_unit(UNIT.read_text("utf-8")), shipped("ratesvc.sh")
    given = {f"{name}={unit[name]}" for name in ("User", "WorkingDirectory", "EnvironmentFile")}
    assert given <= {*re.findall(r"--property=(\S+)", command)}
    assert f"-- {unit['ExecStart'].split()[0]} " in command
    assert unit["EnvironmentFile"].removeprefix("-") in GUIDE
    assert unit["WorkingDirectory"] == f"/var/lib/{unit['StateDirectory']}"
    assert f"useradd --system --home-dir /var/lib/ratesvc --shell /usr/sbin/nologin {unit['User']}" in GUIDE
    assert "5,000 idle connections and a thousand event streams" in GUIDE
    assert int(unit["LimitNOFILE"]) > 5_000 + 1_000
    assert unit["MemoryMax"] == ONE["ratesvc"]["mem_limit"].upper()
    assert int(unit["TasksMax"]) == ONE["ratesvc"]["pids_limit"] == REPLICAS["ratesvc"]["pids_limit"]


def test_telegram_is_posted_to_by_a_command_that_is_there() -> None:
    """With options that it has, the program that the remark installs, and secrets that only it gets."""
    unit = of_unit(TELEGRAM)
    program, _, *words = shlex.split(unit["ExecStart"])
    assert program == of_unit(UNIT.read_text("utf-8"))["ExecStart"].split()[0]
    given = main.commands["watch"].make_context("watch", [*words]).params
    assert str(given["state"]) == f"{unit['WorkingDirectory']}/place" == f"%S/{unit['StateDirectory']}/place"
    (installed,) = re.findall(r"install -m 755 telegram.py (\S+)", TELEGRAM)
    assert words[words.index("--exec") + 1] == installed
    told = shipped("telegram.py")
    assert re.search(r"urlopen\(.*, timeout=\d+\)", told), "else a silent server would hold it"
    assert {"TELEGRAM_TOKEN", "TELEGRAM_CHAT"} <= {*re.findall(r"TELEGRAM_[A-Z]+", told)}


@pytest.mark.slow
def test_each_proxy_takes_its_file(tmp_path: Any) -> None:
    """By itself, without a word of warning."""
    config = tmp_path / "haproxy.cfg"
    (without_docker,) = re.findall("^#   (sed .*) haproxy.cfg$", HAPROXY, re.MULTILINE)
    named = output_of("sh", "-c", f"{without_docker} deploy/haproxy.cfg")
    assert (named.count("    server b 10.0.0.2:8080\n"), "resolvers" in named.partition("\nglobal")[2]) == (3, False)
    for text in (HAPROXY, named):
        config.write_text(text, "utf-8")
        assert "alert" not in output_of(program("haproxy"), "-c", "-f", config).lower()
    assert "VCL_" in output_of(program("varnishd"), "-C", "-f", ROOT / "deploy/cdn.vcl")
    names = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = "".join(f"{name}_temp_path {tmp_path}/{name}; " for name in names)
    key, certificate = tmp_path / "rates.key", tmp_path / "rates.pem"
    signed = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-keyout", key, "-out", certificate)
    output_of(program("openssl"), *signed)
    own = {"REPLICA1": "127.0.0.1:1", "REPLICA2": "127.0.0.1:2", "http://RATES": "http://127.0.0.1:1"}
    own |= {"/etc/ssl/": f"{tmp_path}/", "/var/cache/nginx": str(tmp_path), "listen 443": "listen 8443"}
    site = f"server {{ listen 8082; {SITE} }}"
    for shown in (NGINX, SSI.replace("listen 80;", "listen 8081;"), site, site.replace("/rates/", "/")):
        text = re.sub("|".join(own), lambda found: own[found[0]], shown)
        file = tmp_path / "nginx.conf"
        file.write_text(f"pid {tmp_path}/pid; events {{}} http {{ {places}\n{text}\n}}", "utf-8")
        told = output_of(program("nginx"), "-t", "-c", file, "-e", tmp_path / "error.log")
        assert "[warn]" not in told


def test_the_cdn_waits_as_the_guide_says() -> None:
    """A region that is silent for ten seconds is left for the other."""
    text = shipped("cdn.vcl")
    waits = {wait.removesuffix("s") for wait in re.findall(r"first_byte_timeout = (\w+)", text)}
    assert [wait for wait in waits if f"silence for {wait} s" in GUIDE] == ["10"]
