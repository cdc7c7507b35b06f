"""Names, ports and times that stand in several files of deploy/: one end asks for what the other opens and promises."""

from __future__ import annotations

import re
import shlex
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from conftest import program
from kit.proxies import shipped
from kit.service import ROOT, output_of
from test_deploy import CONTAINER, DOCKERFILE, KUBERNETES, ONE, POD, TWO, UNIT, grace

from ratesvc.cli import main
from ratesvc.config import Cbr, Server, Settings, load
from ratesvc.storage.address import PORTS
from ratesvc.web.connections import KEEP_ALIVE_S, PATIENCE_S
from ratesvc.web.probes import PROBES

PORT = Server().port
HEARTBEAT_S = 15.0
"""Of a stream of events; docs/api.md has it."""
HAPROXY, CADDY, NGINX, SSI = map(shipped, ("haproxy.cfg", "Caddyfile", "nginx.conf", "nginx-ssi.conf"))
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


def test_compose_publishes_the_port_that_its_service_opens() -> None:
    """To this machine only, at the address that the service calls its own. Only a proxy with TLS is for the world."""
    assert (ONE["ratesvc"]["ports"], REPLICAS["proxy"]["ports"]) == ([f"127.0.0.1:{PORT}:{PORT}"],) * 2
    assert after(HAPROXY, "bind") == [f":{PORT}"]
    for one in (ONE["ratesvc"], REPLICAS["ratesvc"]):
        assert one["environment"]["RATESVC_PUBLIC_URL"].endswith(
            f"http${{DOMAIN:+s}}://${{DOMAIN:-localhost:{PORT}}}}}"
        )
    assert ONE["tls"]["ports"] == ["80:80", "443:443", "443:443/udp"]
    assert REPLICAS["tls"]["extends"] == {"file": "../compose.yaml", "service": "tls"}
    opened = {name for name, one in REPLICAS.items() if "ports" in one}
    assert opened == {"proxy"}
    assert REPLICAS["proxy"]["healthcheck"]["test"][-1] == f"http://127.0.0.1:{PORT}/livez"
    assert ONE["tls"]["healthcheck"]["test"][-1].startswith("http://127.0.0.1:2019/")  # Caddy's own


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
        assert all((ROOT / folder / file).is_file() and mode == "ro" for file, _, mode in files)
        if "extends" not in one:
            assert one["restart"] == "unless-stopped", name
            assert one["security_opt"] == ["no-new-privileges:true"]
            assert int(one["mem_limit"].removesuffix("m")) >= 128


def test_only_the_replicas_reach_the_store() -> None:
    """It has no password, and no way out. Its data outlives it, and nothing of it is dropped to make room."""
    networks = {name: one["networks"] for name, one in REPLICAS.items()}
    front = ["front"]
    assert networks == {"tls": front, "proxy": front, "ratesvc": ["front", "store"], "valkey": ["store"]}
    assert TWO["networks"] == {"front": {}, "store": {"internal": True}}
    command = REPLICAS["valkey"]["command"]
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert options == {"--appendonly": "yes", "--maxmemory": "256mb", "--maxmemory-policy": "noeviction"}
    # To write its file anew it needs as much again.
    assert int(REPLICAS["valkey"]["mem_limit"].removesuffix("m")) >= 2 * 256
    kept = {
        volume.partition(":")[0] for one in (*ONE.values(), *REPLICAS.values()) for volume in one.get("volumes", ())
    }
    assert {name for name in kept if not name.startswith(".")} == {"rates", "certificates", "valkey"}
    whole = yaml.safe_load((ROOT / "compose.yaml").read_bytes())
    assert (whole["name"], TWO["name"]) == ("ratesvc",) * 2
    assert {*whole["volumes"], *TWO["volumes"]} == {name for name in kept if not name.startswith(".")}
    assert REPLICAS["valkey"]["volumes"] == ["valkey:/data"]
    assert ONE["ratesvc"]["volumes"] == [f"rates:{IMAGE['VOLUME']}"]


def test_haproxy_knows_each_replica_of_compose() -> None:
    """By Docker's resolver, and asks a probe that says what the backend is for."""
    count = REPLICAS["ratesvc"]["deploy"]["replicas"]
    template = f"server-template replica {count} ratesvc:{PORT} resolvers docker init-addr none"
    backends = dict(re.findall(r"^backend (\w+)\n(.*?)(?=^\w|\Z)", HAPROXY, re.MULTILINE | re.DOTALL))
    assert {name for name, text in backends.items() if template in text} == {"replicas", "long", "alive"}
    assert HAPROXY.count("\n    server-template") == 3
    assert after(HAPROXY, "nameserver dns") == ["127.0.0.11:53"]
    assert re.findall(r"option httpchk GET (\S+)", HAPROXY) == ["/readyz", "/livez"]
    assert "option httpchk GET /livez" in backends["alive"]
    assert after(HAPROXY, "use_backend") + after(HAPROXY, "default_backend") == ["alive", "long", "replicas"]
    assert "http-check expect status 200 error-status L7OKC" in HAPROXY
    for words in ("option redispatch 1", "retries 2", "retry-on conn-failure empty-response response-timeout"):
        assert f"\n    {words}\n" in HAPROXY
    # A reader who leaves gives up his place; a hung replica loses what it has.
    assert {"option abortonclose", "default-server on-marked-down shutdown-sessions"} <= {
        line.strip() for line in backends["long"].splitlines()
    }


def test_a_proxy_notices_a_drain_before_the_port_closes() -> None:
    """And a replica that hangs soon enough for what docs promise."""
    inter, fall, rise = re.findall(r"default-server check inter (\w+) fall (\d) rise (\d)", HAPROXY)[0]
    assert (int(fall), int(rise)) == (1, 1)
    for one in (ONE["ratesvc"], REPLICAS["ratesvc"]):
        drain_s = load(None, {name: "http://x" for name in one["environment"] if name == "RATESVC_PUBLIC_URL"})
        assert 2 * seconds(inter) < drain_s.server.drain_seconds
        assert seconds(one["stop_grace_period"]) > grace(drain_s)
    assert waits(CADDY, "health_interval") == [2]
    assert waits(CADDY, "health_timeout") == [3]
    assert after(CADDY, "health_uri") == ["/livez"]
    assert waits(HAPROXY, "hard-stop-after")[0] <= 30
    assert waits(CADDY, "grace_period")[0] < 10  # Docker waits so long for Caddy


def test_proxies_wait_longer_than_a_stream_is_silent_and_no_longer_than_a_client_may_drip() -> None:
    """A stream has a heartbeat every 15 seconds. The head of a request has ten, as in the service itself."""
    assert f"heartbeat every {HEARTBEAT_S:.0f} seconds" in GUIDE
    streams = [*waits(HAPROXY, "timeout client"), *waits(HAPROXY, "timeout server")[1:], *waits(CADDY, "read_timeout")]
    streams += waits(NGINX, "proxy_read_timeout")[2:]
    assert len(streams) == 4
    assert all(2 * HEARTBEAT_S < one <= 3 * HEARTBEAT_S for one in streams)
    assert [*waits(HAPROXY, "timeout http-request"), *waits(CADDY, "read_header")] == [PATIENCE_S] * 2
    assert all(one < KEEP_ALIVE_S for one in (*waits(HAPROXY, "timeout http-keep-alive"), *waits(CADDY, "idle")))
    # An ordinary answer takes milliseconds; ten long ones at once take six seconds.
    ordinary = [waits(HAPROXY, "timeout server")[0], *waits(CADDY, "response_header_timeout")[1:]]
    assert [*ordinary, waits(NGINX, "proxy_read_timeout")[0]] == [2, 3, 2]
    long = [waits(CADDY, "response_header_timeout")[0], waits(NGINX, "proxy_read_timeout")[1]]
    assert long == [20, 20]
    connects = [
        *waits(HAPROXY, "timeout connect"),
        *waits(CADDY, "dial_timeout"),
        *waits(NGINX, "proxy_connect_timeout"),
    ]
    assert connects == [1] * 4
    assert waits(HAPROXY, "timeout queue") == [2]
    # A second try fits in: each of two replicas may be the one that hangs.
    tries = waits(CADDY, "lb_try_duration")
    assert tries[0] > sum(waits(CADDY, "read_timeout")) > 20 + 1
    assert tries[1] > 2 * (3 + 1)
    assert waits(CADDY, "lb_try_interval") == [0.1]
    assert after(CADDY, "lb_policy") == ["least_conn"]


def test_the_proxies_have_the_same_limits() -> None:
    """A hundred requests a second and fifty streams an address, which docs name; a shield's first second fits in."""
    (most,) = re.findall(r"sc_http_req_rate\(0\) gt (\d+)", HAPROXY)
    (in_s,) = re.findall(r"store http_req_rate\((\w+)\)", HAPROXY)
    (rate,), (burst,) = re.findall(r"rate=(\d+)r/s", NGINX), re.findall(r"burst=(\d+) nodelay", NGINX)
    assert int(most) / seconds(in_s) == int(rate) == 100
    assert 500 < int(burst) < int(most)
    assert "deny_status 429" in HAPROXY
    assert after(NGINX, "limit_req_status") == ["429"]
    streams = [*re.findall(r"sc_conn_cur\(1,streams\) gt (\d+)", HAPROXY), *after(NGINX, "limit_conn streams")]
    assert streams == ["50"] * 2
    assert "the proxies allow 50 for one address" in GUIDE
    assert HAPROXY.count("type ipv6 size 100k expire 1m") == 2
    assert NGINX.count("zone=rates") == NGINX.count("zone=streams") + 1 == 2
    assert NGINX.count("$binary_remote_addr") == 2
    assert HAPROXY.count(r'"retry: 30000\n\n"') == NGINX.count(r'"retry: 30000\n\n"') == 1
    trusted = re.findall(r"acl from_a_proxy src (.*)", HAPROXY)[0].split()
    private = ["::1", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"]
    assert trusted == ["127.0.0.0/8", *private]
    assert "http-request set-src req.hdr_ip(x-forwarded-for,-1) if from_a_proxy" in HAPROXY
    assert "proxy_set_header X-Forwarded-For $remote_addr;" in NGINX
    names = re.findall(r"^http://(.*) {$", CADDY, re.MULTILINE)[0].split(", http://")
    assert [*Cbr().host_names, "cbrates.rbc.ru"] == names
    assert re.findall(r"reverse_proxy {\$RATES:(\S+)}", CADDY) == [f"127.0.0.1:{PORT}"] * 2


def test_a_page_waits_a_second_for_its_rates() -> None:
    """With nginx' includes: once, and never for a second try, and shows nothing that only nginx finds fresh."""
    assert waits(SSI, "proxy_connect_timeout")[0] + waits(SSI, "proxy_read_timeout")[0] == 1
    assert after(SSI, "proxy_next_upstream") == ["error"]
    assert "\n        internal;\n" in SSI
    assert "\n        proxy_pass_request_headers off;\n" in SSI
    assert '\n        proxy_set_header Accept-Encoding "";\n' in SSI
    assert not re.search(r"^\s*(proxy_cache_use_stale|proxy_cache_lock)", SSI, re.MULTILINE)
    assert after(SSI, "proxy_cache_path") == ["/var/cache/nginx/rates"]
    assert after(SSI, "proxy_cache") == re.findall(r"keys_zone=(\w+)", SSI) == ["rates"]
    assert re.findall(r"error_page 404 500 502 503 504 = (\S+);", SSI) == ["@no-rates"]
    assert "location @no-rates {\n        return 204;" in SSI
    assert "proxy_cache_background_update on;" in SSI
    assert "proxy_intercept_errors on;" in SSI


def test_the_snippet_for_nginx_serves_the_service_of_the_unit() -> None:
    """On its port, with what the guide says to include, and without what is not for the public."""
    text = shipped("nginx-site.conf")
    assert re.findall(r"proxy_pass http://127\.0\.0\.1:(\d+)/", text) == [str(PORT)] * 2
    assert "cp deploy/nginx-site.conf /etc/nginx/snippets/ratesvc.conf" in GUIDE
    assert "`include snippets/ratesvc.conf;`" in GUIDE
    assert "    location ~ ^/rates/(health|metrics)$ {\n        return 404;" in text
    assert (waits(text, "proxy_connect_timeout"), waits(text, "proxy_read_timeout")) == ([1], [20, 40])
    assert (
        "location /rates/v1/events {\n        proxy_pass http://127.0.0.1:8080/v1/events;\n        proxy_buffering off;"
        in text
    )


def test_kubernetes_names_ports_and_pods_that_are_there() -> None:
    """Services, Ingress, probes, the network policy and the monitor meet at the same names."""
    groups = {name.partition("/")[0]: one["apiVersion"] for name, one in KUBERNETES.items()}
    assert groups == {
        "Deployment": "apps/v1",
        "Service": "v1",
        "PodDisruptionBudget": "policy/v1",
        "NetworkPolicy": "networking.k8s.io/v1",
        "Ingress": "networking.k8s.io/v1",
        "ServiceMonitor": "monitoring.coreos.com/v1",
    }
    ports = {one["name"]: one["containerPort"] for one in CONTAINER["ports"]}
    given = {one["name"]: one.get("value", "redis://redis:6379/0") for one in CONTAINER["env"]}
    settings: Settings = load(None, given)
    assert ports == {"http": settings.server.port, "admin": settings.server.admin_port}
    for name in ("startup", "liveness", "readiness"):
        asked = CONTAINER[f"{name}Probe"]["httpGet"]
        assert (asked["port"], asked["path"] in PROBES) == ("admin", True)
    assert CONTAINER["startupProbe"]["httpGet"]["path"] == "/livez"
    startup = CONTAINER["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 60
    assert {name: CONTAINER["livenessProbe"][name] for name in ("periodSeconds", "timeoutSeconds")} == {
        "periodSeconds": 10,
        "timeoutSeconds": 3,
    }
    deployment = KUBERNETES["Deployment/ratesvc"]["spec"]
    assert deployment["selector"]["matchLabels"] == POD["metadata"]["labels"] == LABEL
    services = {name: KUBERNETES[f"Service/{name}"] for name in ("ratesvc", "ratesvc-admin")}
    opened = {name: {one["name"]: one for one in each["spec"]["ports"]} for name, each in services.items()}
    for name, each in services.items():
        assert each["spec"]["selector"] == LABEL
        assert all(one["targetPort"] in ports for one in opened[name].values())
    assert (opened["ratesvc"]["http"]["port"], opened["ratesvc-admin"]["admin"]["port"]) == (80, ports["admin"])
    admin = services["ratesvc-admin"]
    assert (admin["spec"]["clusterIP"], admin["spec"]["publishNotReadyAddresses"]) == ("None", True)
    ingress = KUBERNETES["Ingress/ratesvc"]["spec"]
    ((rule,), (tls,)) = ingress["rules"], ingress["tls"]
    assert [rule["host"]] == tls["hosts"]
    (path,) = rule["http"]["paths"]
    assert (path["path"], path["pathType"]) == ("/", "Prefix")
    assert path["backend"]["service"]["port"]["name"] in opened[path["backend"]["service"]["name"]]
    assert path["backend"]["service"]["name"] == "ratesvc"
    assert urlsplit(settings.server.public_url)[:2] == ("https", rule["host"])
    monitor = KUBERNETES["ServiceMonitor/ratesvc"]["spec"]
    assert monitor["selector"]["matchLabels"].items() <= admin["metadata"]["labels"].items()
    assert not monitor["selector"]["matchLabels"].items() <= services["ratesvc"]["metadata"]["labels"].items()
    assert [(one["port"] in opened["ratesvc-admin"], one["path"]) for one in monitor["endpoints"]] == [
        (True, "/metrics")
    ]
    assert admin["metadata"]["labels"][monitor["jobLabel"]] == "ratesvc"  # the job of the alerts


def test_kubernetes_keeps_a_replica_and_closes_what_nobody_needs() -> None:
    """An eviction or an update takes one of two; the policy lets through what the service asks for."""
    deployment = KUBERNETES["Deployment/ratesvc"]["spec"]
    assert deployment["strategy"] == {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    budget = KUBERNETES["PodDisruptionBudget/ratesvc"]["spec"]
    assert 0 < budget["minAvailable"] < deployment["replicas"] == REPLICAS["ratesvc"]["deploy"]["replicas"]
    policy = KUBERNETES["NetworkPolicy/ratesvc"]["spec"]
    assert budget["selector"]["matchLabels"] == policy["podSelector"]["matchLabels"] == LABEL
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    public, figures = policy["ingress"]
    assert public == {"ports": [{"port": "http"}]}
    assert (figures["ports"], len(figures["from"])) == ([{"port": "admin"}], 1)
    dns, redis, bank = policy["egress"]
    assert {(one["port"], one["protocol"]) for one in dns["ports"]} == {(53, "UDP"), (53, "TCP")}
    assert [one["port"] for one in redis["ports"]] == [PORTS["redis"], PORTS["redis+sentinel"]]
    assert [one["port"] for one in bank["ports"]] == [443]
    assert {urlsplit(one).scheme for one in Cbr().mirrors} == {"https"}
    (everywhere, public_ipv6) = (one["ipBlock"] for one in bank["to"])
    private = [
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
    ]
    assert (everywhere, public_ipv6) == ({"cidr": "0.0.0.0/0", "except": private}, {"cidr": "2000::/3"})
    secure, user = POD["spec"]["securityContext"], int(IMAGE["USER"].split(":")[0])
    assert (secure["runAsUser"], secure["runAsGroup"]) == (user, user)
    assert secure["seccompProfile"] == {"type": "RuntimeDefault"}
    assert (POD["spec"]["enableServiceLinks"], POD["spec"]["automountServiceAccountToken"]) == (False, False)
    (spread,) = POD["spec"]["topologySpreadConstraints"]
    assert (spread["labelSelector"]["matchLabels"], spread["whenUnsatisfiable"]) == (LABEL, "ScheduleAnyway")
    secrets = [one["valueFrom"]["secretKeyRef"] for one in CONTAINER["env"] if "valueFrom" in one]
    made = re.search(r"create secret generic (\S+) --from-literal=(\S+?)=", shipped("kubernetes.yaml"))
    assert made
    assert secrets == [{"name": made[1], "key": made[2]}]
    resources = CONTAINER["resources"]
    assert resources == {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "384Mi"}}
    assert "Give a replica 256 MB" in GUIDE
    assert REPLICAS["ratesvc"]["mem_limit"] == "384m"


def test_the_image_starts_stops_and_is_checked_as_its_files_promise() -> None:
    """The main command is ratesvc itself, so that it gets the signal that it drains at."""
    assert (IMAGE["ENTRYPOINT"], IMAGE["CMD"], IMAGE["STOPSIGNAL"]) == ('["ratesvc"]', '["serve"]', "SIGTERM")
    assert IMAGE["WORKDIR"] == IMAGE["VOLUME"] == "/var/lib/ratesvc"
    assert f"chown {IMAGE['USER']} {IMAGE['VOLUME']} && chmod 700 {IMAGE['VOLUME']}" in DOCKERFILE
    ((options, _),) = re.findall(r"HEALTHCHECK (.*) CMD (.*)", DOCKERFILE)
    checked = {name: seconds(value) for name, value in re.findall(r"--([a-z-]+)=(\w+)", options)}
    assert checked == {"interval": 30, "timeout": 5, "start-period": 30, "start-interval": 2}
    environment = re.findall(r"^ENV (PATH.*)$", DOCKERFILE, re.MULTILINE)[0]
    assert environment.startswith("PATH=/opt/ratesvc/bin:$PATH ")
    assert "PYTHONUNBUFFERED=1" in environment
    assert "RATESVC_LOG_FORMAT=json" in environment
    # What is copied is there, also the venv that the last stage takes.
    assert "COPY --from=build /opt/ratesvc /opt/ratesvc" in DOCKERFILE
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
    """As the guide installs them, too. A service that hangs or ends is started again."""
    unit, command = of_unit(UNIT.read_text("utf-8")), shipped("ratesvc.sh")
    assert unit["ExecStart"] == "/opt/ratesvc/bin/ratesvc serve"
    assert "exec systemd-run --quiet --collect --wait --pipe \\" in command
    assert '-- /opt/ratesvc/bin/ratesvc "$@"' in command
    assert {f"User={unit['User']}", f"WorkingDirectory={unit['WorkingDirectory']}"} <= {
        *re.findall(r"--property=(\S+)", command)
    }
    assert f"--property=EnvironmentFile={unit['EnvironmentFile']}" in command
    assert "--property=Environment=RATESVC_DATA_DIR=/var/lib/ratesvc" in command
    assert unit["EnvironmentFile"] == "-/etc/ratesvc/environment"
    assert ">/etc/ratesvc/environment" in GUIDE
    assert unit["WorkingDirectory"] == f"/var/lib/{unit['StateDirectory']}"
    assert f"useradd --system --home-dir /var/lib/ratesvc --shell /usr/sbin/nologin {unit['User']}" in GUIDE
    # It notifies twice in a WatchdogSec, and SIGABRT gets time for a core.
    assert (unit["Type"], unit["WatchdogSec"], unit["TimeoutAbortSec"], unit["RestartSec"]) == (
        "notify",
        "60",
        "10",
        "2",
    )
    assert (unit["StateDirectoryMode"], unit["UMask"], unit["ProtectHome"]) == ("0700", "0077", "yes")
    # 5,000 idle connections and a thousand streams, and two replicas' worth of memory for the engine.
    assert "5,000 idle connections and a thousand event streams" in GUIDE
    assert int(unit["LimitNOFILE"]) > 5_000 + 1_000
    assert unit["MemoryMax"] == ONE["ratesvc"]["mem_limit"].upper() == "512M"
    assert int(unit["TasksMax"]) == ONE["ratesvc"]["pids_limit"] == REPLICAS["ratesvc"]["pids_limit"] == 100
    assert {*unit["RestrictAddressFamilies"].split()} == {"AF_INET", "AF_INET6", "AF_UNIX"}  # the engine's socket, too
    assert (unit["After"], unit["Wants"]) == ("network-online.target",) * 2
    assert unit["WantedBy"] == of_unit(TELEGRAM)["WantedBy"] == "multi-user.target"


def test_telegram_is_posted_to_by_a_command_that_is_there() -> None:
    """With options that it has, the program that the remark installs, and secrets that only it gets."""
    unit = of_unit(TELEGRAM)
    program, _, *words = shlex.split(unit["ExecStart"])
    assert program == of_unit(UNIT.read_text("utf-8"))["ExecStart"].split()[0]
    context = main.commands["watch"].make_context("watch", [*words])
    given = context.params
    assert given["give_up_s"] == 900
    assert str(given["state"]) == f"{unit['WorkingDirectory']}/place" == f"%S/{unit['StateDirectory']}/place"
    (installed,) = re.findall(r"install -m 755 telegram.py (\S+)", TELEGRAM)
    assert (ROOT / "deploy/telegram.py").is_file()
    assert words[words.index("--exec") + 1] == installed
    assert re.findall(r"^EnvironmentFile=(.*)$", TELEGRAM, re.MULTILINE) == [
        "-/etc/ratesvc/environment",
        "/etc/ratesvc/telegram",
    ]
    assert unit["UnsetEnvironment"].split() == [f"{name}_FILE" for name in ("RATESVC_REDIS_URL", "RATESVC_CBR_PROXY")]
    restart = [unit[name] for name in ("Restart", "RestartSec", "StartLimitIntervalSec", "DynamicUser")]
    assert restart == ["always", "5", "0", "yes"]
    assert unit["After"] == "network-online.target ratesvc.service"
    assert (unit["ProtectSystem"], unit["CapabilityBoundingSet"], unit["NoNewPrivileges"]) == ("strict", "", "yes")
    told = shipped("telegram.py")
    assert {"TELEGRAM_TOKEN", "TELEGRAM_CHAT"} <= {*re.findall(r"TELEGRAM_[A-Z]+", told)}


def test_prometheus_asks_the_ports_that_replicas_open() -> None:
    """On this machine, and in the network of compose.replicas.yaml by its name."""
    text = shipped("prometheus/prometheus.yml")
    settings = yaml.safe_load(text)
    (job,) = settings["scrape_configs"]
    assert (job["job_name"], job["static_configs"]) == ("ratesvc", [{"targets": [f"127.0.0.1:{PORT}"]}])
    assert {settings["global"][name] for name in ("scrape_interval", "evaluation_interval")} == {"30s"}
    assert all((ROOT / "deploy/prometheus" / name).is_file() for name in settings["rule_files"])
    assert settings["rule_files"] == ["alerts.yml"]
    assert f'network "{TWO["name"]}_front"' in text
    assert f"names: [ratesvc], type: A, port: {PORT}," in text
    assert KUBERNETES["ServiceMonitor/ratesvc"]["spec"]["endpoints"][0]["interval"] == "30s"


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
    site = f"server {{ listen 8082; {shipped('nginx-site.conf')} }}"
    for shown in (NGINX, SSI.replace("listen 80;", "listen 8081;"), site, site.replace("/rates/", "/")):
        text = re.sub("|".join(own), lambda found: own[found[0]], shown)
        file = tmp_path / "nginx.conf"
        file.write_text(f"pid {tmp_path}/pid; events {{}} http {{ {places}\n{text}\n}}", "utf-8")
        told = output_of(program("nginx"), "-t", "-c", file, "-e", tmp_path / "error.log")
        assert "[warn]" not in told


def test_the_cdn_waits_as_the_guide_says() -> None:
    """A region that is silent for ten seconds is left for the other. Streams are passed on; cookies make no copies."""
    text = shipped("cdn.vcl")
    assert re.findall(r"\.connect_timeout = (\w+);", text) == ["1s"] * 2
    assert re.findall(r"\.first_byte_timeout = (\w+);", text) == ["10s"] * 2
    assert re.findall(r'\.port = "(\d+)";', text) == [str(PORT)] * 2
    assert "silence for 10 s" in GUIDE
    assert re.findall(r'\.url = "(\S+)";', text) == ["/readyz"]
    assert re.findall(r"\.(interval|timeout|window|threshold) = (\w+);", text) == [
        *(("interval", "2s"), ("timeout", "2s"), ("window", "3"), ("threshold", "2"))
    ]
    assert re.findall(r"add_backend\((\w+)\)", text) == ["near", "far"]
    assert "new origin = directors.fallback();" in text  # the second region only while the first one fails
    assert 'if (req.url ~ "^/v1/events") {\n        return (pass);' in text
    assert "unset req.http.Cookie;" in text
    assert text.count("retries == 0") == 2
    assert "hash_data(req.url);" in text
    assert "stale-if-error=([0-9]+)" in text
