"""Alerts, recording rules, scrape settings and the dashboard, by Prometheus' own tool and against the handbook."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import yaml
from aiohttp import web
from conftest import eventually, patience_s, program
from kit.bank import Bank, around_today, sheet
from kit.http import fetched
from kit.redis import RealRedis, running
from kit.replicas import shared_by
from kit.service import ROOT, begun, free_port, output_of, serving

from ratesvc.domain.workdays import ONE_DAY, WorkCalendar, moscow_day, utc_now

Firing = Callable[[], Awaitable[set[str]]]

FOLDER = ROOT / "deploy/prometheus"
DASHBOARD = ROOT / "deploy/grafana/ratesvc.json"
HANDBOOK = (ROOT / "docs/operating.md").read_text("utf-8")
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_bytes())["groups"] for rule in group["rules"]
]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}


def promtool(*words: str | Path) -> str:
    """What Prometheus' own tool prints, if it accepts what it reads."""
    return output_of(program("promtool"), *words, folder=FOLDER)


def test_prometheus_accepts_the_rules_and_the_scrape_settings() -> None:
    """Its own tool reads the rules alone, and by way of the shipped prometheus.yml."""
    assert f"{len(RULES)} rules found" in promtool("check", "rules", "alerts.yml")
    assert f"{len(RULES)} rules found" in promtool("check", "config", "prometheus.yml")


@pytest.mark.nightly
def test_each_alert_fires_when_it_should_and_is_silent_when_not() -> None:
    """deploy/prometheus/alerts.test.yml holds, and has moments of both kinds for every alert."""
    promtool("test", "rules", "alerts.test.yml")
    moments: dict[str, set[bool]] = defaultdict(set)
    for test in yaml.safe_load((FOLDER / "alerts.test.yml").read_bytes())["tests"]:
        alert = test["name"].partition(":")[0]
        for moment in test["promql_expr_test"]:
            moments[alert].add(any(f'alertname="{alert}"' in sample["labels"] for sample in moment["exp_samples"]))
    assert moments == {name: {True, False} for name in ALERTS}


def test_each_alert_links_to_its_entry_in_the_handbook() -> None:
    """An entry for each alert and no other, under the anchor of its link, with the urgency of the rule."""
    entries = dict(re.findall(r"^### (Ratesvc\w+)\n\n\*\*(Page|Ticket)\.\*\*", HANDBOOK, re.MULTILINE))
    assert entries == {name: rule["labels"]["severity"].capitalize() for name, rule in ALERTS.items()}
    for name, rule in ALERTS.items():
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
        page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert (ROOT / page.partition("/main/")[2]).read_text("utf-8") == HANDBOOK
        assert anchor == name.lower()


def test_one_command_of_the_guide_gives_all_links_the_address_of_a_copy(tmp_path: Path) -> None:
    """It changes nothing else, so Prometheus accepts the rules as before."""
    command = re.search(r"^sed -i .*$", (ROOT / "docs/deploying.md").read_text("utf-8"), re.MULTILINE)
    assert command
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    output_of("sh", "-c", command[0], folder=tmp_path)
    for file in ("prometheus/alerts.yml", "grafana/ratesvc.json"):
        before, after = ((root / "deploy" / file).read_text("utf-8") for root in (ROOT, tmp_path))
        assert after == before.replace("https://github.com/OWNER/", "https://git.example/you/")
    assert not [file for file in tmp_path.rglob("*.*") if b"OWNER" in file.read_bytes()]
    promtool("check", "rules", tmp_path / "deploy/prometheus/alerts.yml")


def written_out(query: str) -> str:
    """A query as Grafana asks it when all jobs and namespaces are chosen."""
    return query.replace("$__rate_interval", "5m").replace("$job", ".*").replace("$namespace", ".*")


def queries() -> dict[str, list[str]]:
    """The dashboard's, by the title of their panel, with values in place of Grafana's variables."""
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    return {panel["title"]: [written_out(target["expr"]) for target in panel["targets"]] for panel in panels}


def test_prometheus_understands_the_dashboard(tmp_path: Path) -> None:
    """Each query of each panel, as if it were a rule."""
    all_of_them = [query for several in queries().values() for query in several]
    rules = [{"record": f"query_{number}", "expr": query} for number, query in enumerate(all_of_them)]
    file = tmp_path / "rules.yml"
    file.write_bytes(msgspec.json.encode({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", file)


SHEET, STALE, FETCHED = "ratesvc_sheet_date_timestamp_seconds", "ratesvc_stale", 'ratesvc_fetches_total{outcome="dns"}'


@pytest.mark.parametrize(
    ("panel", "told", "minute", "shown"),
    [
        ("Today's rates", {STALE: "0", SHEET: "1776978000"}, 0, 0),
        ("Today's rates", {STALE: "1", SHEET: "1776978000"}, 0, 1),
        ("Today's rates", {STALE: "0", SHEET: "0"}, 0, 2),
        ("Today's rates", {}, 0, 3),
        ("Replicas with a sheet", {f'{SHEET}{{instance="{n}"}}': str(1776978000 * (n < 2)) for n in range(3)}, 0, 2),
        ("Replicas with a sheet", {SHEET: "0"}, 0, 0),
        ("Redis", {'ratesvc_redis_up{instance="1"}': "1", 'ratesvc_redis_up{instance="2"}': "0"}, 0, 0),
        ("Requests that fail (5xx)", {'ratesvc_requests_total{status="200"}': "0+60x9"}, 5, 0),
        ("Refreshes in an hour", {FETCHED: "_x9 1"}, 10, 1),  # the first of its kind
        ("Refreshes in an hour", {FETCHED: "7x70 9"}, 71, 2),
        ("Refreshes in an hour", {FETCHED: "7x60 2x9"}, 65, 2),  # since the process began anew
    ],
)
def test_the_dashboard_says_what_happens(
    tmp_path: Path, panel: str, told: dict[str, str], minute: int, shown: float
) -> None:
    """What a panel must show at a minute, from what Prometheus was told each minute up to then."""
    labels = '{outcome="dns"}' if FETCHED in told else "{}"
    (query,) = queries()[panel]
    expected = {"expr": query, "eval_time": f"{minute}m", "exp_samples": [{"labels": labels, "value": shown}]}
    series = [{"series": name, "values": values} for name, values in told.items()]
    file = tmp_path / "tests.yml"
    file.write_bytes(
        msgspec.json.encode({"tests": [{"interval": "1m", "input_series": series, "promql_expr_test": [expected]}]})
    )
    promtool("test", "rules", file)


def shrunk(rules: str) -> str:
    """Alert rules in which a minute lasts a second."""
    return re.sub(r"\b([0-9]+)([mh])\b", lambda found: f"{int(found[1]) * {'m': 1, 'h': 60}[found[2]]}s", rules)


@asynccontextmanager
async def alerts_of(folder: Path, *replicas: str) -> AsyncIterator[Firing]:
    """The shipped prometheus.yml and alerts.yml in a real Prometheus that reads these replicas, a minute in a second.

    Yields what asks it for the names of the alerts that fire; each must link to the handbook.
    """
    address, targets = f"127.0.0.1:{free_port()}", [url.removeprefix("http://") for url in replicas]
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_bytes())
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config["scrape_configs"][0]["static_configs"][0]["targets"] = targets
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), "utf-8")
    (folder / "alerts.yml").write_text(shrunk((FOLDER / "alerts.yml").read_text("utf-8")), "utf-8")
    command = (program("prometheus"), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb")
    options = (f"--web.listen-address={address}", "--log.level=error")

    async def asked(path: str) -> list[dict[str, Any]]:
        found: dict[str, Any] = json.loads((await fetched(f"http://{address}/api/v1/{path}")).body)["data"]
        return next(iter(found.values()))

    async def reads_all() -> bool:
        with contextlib.suppress(aiohttp.ClientError, json.JSONDecodeError):  # while it starts it says so as text
            return [one["health"] for one in await asked("targets")] == ["up"] * len(replicas)
        return False

    async def sees_them() -> bool:
        # Before its first scrape all replicas are absent, which a busy machine makes long enough for RatesvcGone.
        return "RatesvcGone" not in [one["labels"]["alertname"] for one in await asked("alerts")]

    async def firing() -> set[str]:
        found = [one for one in await asked("alerts") if one["state"] == "firing"]
        assert all(one["annotations"]["runbook_url"].endswith(one["labels"]["alertname"].lower()) for one in found)
        # Each December it is right until a newer `holidays` is there.
        return {one["labels"]["alertname"] for one in found} - {"RatesvcCalendarEnds"}

    async with begun(*command, *options, out=None, err=None, end=signal.SIGTERM):
        await eventually(reads_all)  # it waits five seconds before it begins
        await eventually(sees_them)
        yield firing


async def is_only(firing: Firing, *names: str) -> None:
    """Wait until exactly these fire, and see that for six of its minutes no other does."""
    await eventually(firing, patience_s() + 30, becomes=set(names))
    until = time.monotonic() + 6
    while time.monotonic() < until:
        assert await firing() == set(names)


@pytest.mark.nightly
async def test_a_real_prometheus_fires_exactly_what_the_handbook_names(bank: Bank, tmp_path: Path) -> None:
    """Redis away; a replica hung, or gone; both gone. The Bank away fires nothing while today's sheet is held."""
    next_sheet = around_today(bank) + ONE_DAY
    while not WorkCalendar().is_effective_date(next_sheet):
        next_sheet += ONE_DAY
    bank.publish(sheet(next_sheet))  # after 21:00 in Moscow it would be missed
    server = RealRedis(tmp_path / "redis")
    async with AsyncExitStack() as stack:
        stack.enter_context(running(server))
        shared = shared_by(bank, server.url, RATESVC_POLL_SECONDS="1")
        one, other = [await stack.enter_async_context(serving(tmp_path, **shared)) for _ in range(2)]
        await one.ready()
        await other.ready()
        firing = await stack.enter_async_context(alerts_of(tmp_path, one.url, other.url))
        await is_only(firing)
        bank.misbehave = unanswered
        await is_only(firing)
        server.kill()
        await is_only(firing, "RatesvcRedisDown")
        server.start()
        await is_only(firing)
        one.kill(signal.SIGSTOP)
        await is_only(firing, "RatesvcReplicaMissing")
        one.kill(signal.SIGCONT)
        await is_only(firing)
        one.kill()
        await is_only(firing, "RatesvcReplicaMissing")
        other.kill()
        await is_only(firing, "RatesvcGone")


@pytest.mark.nightly
async def test_a_real_prometheus_fires_when_todays_sheet_is_missing(bank: Bank, tmp_path: Path) -> None:
    """The Bank has published nothing for twenty-five days. One page, and no ticket about the same beside it."""
    bank.publish(sheet(WorkCalendar().effective_date_on_or_before(moscow_day(utc_now()) - timedelta(days=25))))
    async with (
        serving(tmp_path, RATESVC_CBR_MIRRORS=bank.url, RATESVC_POLL_SECONDS="1") as one,
        alerts_of(tmp_path, one.url) as firing,
    ):
        await one.ready()
        await is_only(firing, "RatesvcStale")


async def unanswered(_: web.Request) -> web.StreamResponse:
    """The Bank's front is there and the Bank is not."""
    return web.Response(status=502)
