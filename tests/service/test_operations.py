"""What people and machines watch: metrics, logs, rules, probes on their own port, draining, things that die."""

from __future__ import annotations

import ast
import asyncio
import json
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from conftest import Clock, Serve, Served, eventually
from fake_bank import Bank, sheet
from machine import quickest, slower
from processes import serving
from prometheus_client.parser import text_string_to_metric_families

from ratesvc.config import Log, Server, Settings
from ratesvc.service.health import LONGEST_SILENCE_S
from ratesvc.service.telemetry import Route, Watchdog
from ratesvc.storage.redis import cancel
from ratesvc.storage.store import Glance

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/prometheus/alerts.yml"
DASHBOARD = ROOT / "deploy/grafana/ratesvc.json"
THURSDAY, FRIDAY = date(2026, 4, 23), date(2026, 4, 24)
NAMES = re.compile(r"\bratesvc_[a-z_]+")


def documented(file: str) -> set[str]:
    """The names in the first column of a table."""
    return set(re.findall(r"^\| `([a-z_]+)` \|", (ROOT / "docs" / file).read_text("utf-8"), re.MULTILINE))


async def samples(served: Served) -> dict[str, str]:
    """Name and labels → value."""
    status, headers, body = await served.get("/metrics")
    assert (status, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    lines = [line for line in body.decode().splitlines() if not line.startswith("#")]
    return dict(line.rsplit(" ", 1) for line in lines)


async def families(served: Served) -> dict[str, str]:
    """What the running service tells, by its full name: the type of each."""
    _, _, body = await served.get("/metrics")
    return dict(re.findall(r"^# TYPE (ratesvc_[a-z_]+) ([a-z]+)$", body.decode(), re.MULTILINE))


async def test_every_metric_is_documented_and_no_other(bank: Bank, settings: Settings, serve: Serve) -> None:
    """docs/metrics.md and /metrics name the same, with the same types."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    async with serve(settings) as served:
        await served.ready()
        await served.get("/v1/rates")
        found = await families(served)
        assert documented("metrics.md") == found.keys()
        text = (ROOT / "docs/metrics.md").read_text("utf-8")
        for name, kind in found.items():
            assert f"| `{name}` | {kind} |" in text
        assert list(text_string_to_metric_families((await served.get("/metrics"))[2].decode()))


async def test_rules_and_dashboard_name_only_what_there_is(bank: Bank, settings: Settings, serve: Serve) -> None:
    """An alert on a name that is never told would never ring."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    async with serve(settings) as served:
        await served.ready()
        real = await families(served)
    known = real.keys() | {f"{name}_bucket" for name, kind in real.items() if kind == "histogram"}
    expressions = [line for line in RULES.read_text("utf-8").splitlines() if "ratesvc_" in line]
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    expressions += [target["expr"] for panel in panels for target in panel["targets"]]
    named = {name for expression in expressions for name in NAMES.findall(expression)}
    assert named <= known
    assert len(named) > 15


NEXT = "ratesvc_refresh_next_timestamp_seconds"
DAY_S = 86_400


async def test_when_the_next_refresh_is_due_is_told_while_a_poll_runs_too(
    bank: Bank, settings: Settings, serve: Serve
) -> None:
    """From the start on, so that a first poll that never ends is noticed; then as `poll_seconds` says."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    for_ever = asyncio.Event()

    async def hang(request: web.Request) -> web.StreamResponse:
        bank.misbehave = None
        await for_ever.wait()
        return await bank.answer(request)

    bank.misbehave = hang
    begun = time.time()
    async with serve(msgspec.structs.replace(settings, poll_seconds=DAY_S)) as served:
        await eventually(lambda: bank.asked)
        assert begun <= float((await samples(served))[NEXT]) <= time.time()
        for_ever.set()
        await served.ready()
        await served.service.poll()
        assert begun + DAY_S <= float((await samples(served))[NEXT]) <= time.time() + 1.1 * DAY_S


async def test_requests_are_counted_by_route_and_status(bank: Bank, settings: Settings, serve: Serve) -> None:
    """By template, never by address; the fast path and errors too; each in one bucket of duration."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    async with serve(settings) as served:
        await served.ready()
        for _ in range(5):
            await served.get("/v1/rates")
        for path in (f"/v1/rates/{FRIDAY}", f"/v1/rates/{FRIDAY}?lang=ru", "/v1/rates?x=1", "/nothing/here", "/other"):
            await served.get(path)
        found = await samples(served)
        assert found['ratesvc_requests_total{route="/v1/rates",status="200"}'] == "5.0"
        assert found['ratesvc_requests_total{route="/v1/rates",status="400"}'] == "1.0"
        assert found['ratesvc_requests_total{route="/v1/rates/{day}",status="200"}'] == "2.0"
        assert found['ratesvc_requests_total{route="none",status="404"}'] == "2.0"
        assert found['ratesvc_request_duration_seconds_count{route="/v1/rates"}'] == "6.0"
        assert found['ratesvc_request_duration_seconds_bucket{le="+Inf",route="/v1/rates"}'] == "6.0"
        assert found["ratesvc_publications_missed"] == "0.0"
        assert float(found["ratesvc_sheet_date_timestamp_seconds"]) == 1776978000
        assert found['ratesvc_fetches_total{outcome="new"}'] == "1.0"


def test_counting_costs_next_to_nothing() -> None:
    """Of the 20 µs of processor time that a request takes (docs/speed.md), a count takes less than a fifth."""
    route = Route()

    def many(count: Callable[..., None], *figures: float) -> None:
        for _ in range(20_000):
            count(*figures)

    for act in (partial(many, route.add, 200, 0.0003), partial(many, route.add_quick, 200)):
        assert quickest(act) / 20_000 < 4e-6 * slower()
    assert route.by_status[200] == sum(route.durations) == 200_000


def events() -> Iterator[str]:
    """The names of all events that the code logs: the first argument of each call of a logger."""
    for path in (ROOT / "ratesvc").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if node.func.attr in {"debug", "info", "warning", "error", "exception", "critical"} and node.args:
                assert isinstance(node.args[0], ast.Constant), ast.unparse(node)
                yield str(node.args[0].value)


def test_every_event_of_the_log_is_documented_and_no_other() -> None:
    """Whoever filters a log needs its names."""
    assert documented("logs.md") == set(events())


async def test_the_access_log_is_off_until_wanted(
    bank: Bank, settings: Settings, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line for each answer, remembered ones too, only where somebody asked for it."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    for access, lines in ((False, 0), (True, 3)):
        async with serve(msgspec.structs.replace(settings, log=Log(access=access))) as served:
            await served.ready()
            capsys.readouterr()
            for _ in range(3):
                await served.get("/v1/rates?codes=USD")
            assert capsys.readouterr().out.count("/v1/rates?codes=USD") == lines


async def test_probes_have_a_port_of_their_own(bank: Bank, settings: Settings, serve: Serve) -> None:
    """With an admin port the public one no longer shows health, metrics and probes; the other shows only them."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    server = msgspec.structs.replace(settings.server, admin_port=0)
    async with serve(msgspec.structs.replace(settings, server=server)) as served:
        await served.ready()
        admin = str(served.service.admin_url).replace("localhost", "127.0.0.1")
        for path in ("/health", "/metrics", "/livez", "/readyz"):
            assert (await served.get(path))[0] == 404
            async with served.http.get(admin + path) as answer:
                assert answer.status == 200
        assert (await served.get("/v1/rates"))[0] == 200
        async with served.http.get(admin + "/v1/rates") as answer:
            assert answer.status == 404


async def test_two_replicas_share_a_port(bank: Bank, settings: Settings, serve: Serve) -> None:
    """The system spreads connections over both; without the setting the second would be refused."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    first = msgspec.structs.replace(settings, server=Server(port=0, reuse_port=True, drain_seconds=0))
    async with serve(first) as one:
        port = int(one.url.rsplit(":", 1)[1])
        second = msgspec.structs.replace(settings, server=Server(port=port, reuse_port=True, drain_seconds=0))
        async with serve(second) as two:
            await asyncio.gather(one.ready(), two.ready())
            for _ in range(60):
                async with aiohttp.ClientSession() as http, http.get(one.url + "/v1/currencies") as answer:
                    assert answer.status == 200
            counts = [served.service.telemetry.metrics.route("/v1/currencies").by_status[200] for served in (one, two)]
            assert sum(counts) >= 60  # more where a new publication answered it once more by itself
            assert min(counts) > 0


@pytest.mark.slow
async def test_what_dies_is_started_again(
    bank: Bank, settings: Settings, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    """A task that an unforeseen error or a cancel ended goes on a second later; it is counted, and the log says how."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    async with serve(settings) as served:
        await served.ready()
        for name in ("listen", "heartbeat"):
            task = next(task for task in asyncio.all_tasks() if task.get_name() == name)
            await cancel([task])
            await eventually(lambda name=name, task=task: _runs_anew(name, task))  # type: ignore[misc]
        found = await samples(served)
        assert found['ratesvc_task_restarts_total{task="listen"}'] == "1.0"
        assert found['ratesvc_task_restarts_total{task="heartbeat"}'] == "1.0"
        said = [line for line in capsys.readouterr().out.splitlines() if "task_died" in line]
        assert len(said) == 2
        assert all("was cancelled" in line for line in said)
        assert served.service.health()["scheduler:lastRun"]["status"] == "pass"


def _runs_anew(name: str, ended: asyncio.Task[Any]) -> bool:
    return any(task.get_name() == name and task is not ended for task in asyncio.all_tasks())


@pytest.mark.slow
async def test_an_unforeseen_error_of_a_tick_is_not_the_last_tick(
    bank: Bank, settings: Settings, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a tick raises, there is another one; when the heartbeat ends, health fails."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    async with serve(settings) as served:
        await served.ready()
        store = served.service.store
        glance = store.glance
        calls = 0

        async def broken() -> Glance:
            nonlocal calls
            calls += 1
            if calls == 1:
                raise ZeroDivisionError
            return await glance()

        monkeypatch.setattr(store, "glance", broken)
        await eventually(lambda: calls > 1)
        ticks = served.service._schedule  # noqa: SLF001 -- as if the heartbeat had been mute for long
        monkeypatch.setattr(type(ticks), "silent_s", LONGEST_SILENCE_S + 1)
        assert served.service.health()["scheduler:lastRun"]["status"] == "fail"


async def test_a_blocked_loop_is_noticed_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread sees that the loop stands, says where, and what asks right after the block hears of it."""
    monkeypatch.setattr("ratesvc.service.telemetry.ASK_S", 0.02)
    monkeypatch.setattr("ratesvc.service.telemetry.BLOCKED_S", 0.1)
    told: list[str] = []
    noticed = threading.Event()

    def blocked(_: float, at: str) -> None:
        told.append(at)
        noticed.set()

    dog = Watchdog(blocked).open()
    await eventually(lambda: dog.lag_s < 0.1)
    noticed.wait(5)  # the loop stands here, until the thread says so
    assert dog.lag_s > 0.1
    assert "threading.py" in told[0]
    await eventually(lambda: dog.lag_s < 0.1)
    dog.close()


async def test_livez_is_red_right_after_a_block(
    bank: Bank, settings: Settings, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the loop stands nobody is answered at all; as long as its last turn was that late it is 503, then 200."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    async with serve(settings) as served:
        await served.ready()
        with monkeypatch.context() as block:
            block.setattr(Watchdog, "lag_s", 12.0)
            status, _, body = await served.get("/livez")
        assert (status, body) == (503, b"the event loop stood for 12 s\n")
        assert (await served.get("/livez"))[0] == 200


async def test_health_says_all_that_it_should(bank: Bank, settings: Settings, serve: Serve, clock: Clock) -> None:
    """Seven checks; what warns does not fail."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    async with serve(settings) as served:
        await served.ready()
        status, _, body = await served.get("/health")
        checks = {name: check[0] for name, check in json.loads(body)["checks"].items()}
        assert status == 200
        assert {name: check["status"] for name, check in checks.items()} == {
            "cbr:sheet": "pass",
            "cbr:fetch": "pass",
            "redis:connectivity": "pass",
            "scheduler:lastRun": "pass",
            "quarantine:count": "pass",
            "clock:skew": "warn",
            "calendar:coverage": "pass",
        }
        served.service.quarantined = 2
        clock.moment = clock.moment.replace(year=2090)
        checks = served.service.health()
        assert checks["quarantine:count"] == {"status": "warn", "observedValue": 2}
        assert checks["calendar:coverage"]["status"] == "warn"


async def test_health_is_told_although_the_bank_says_no_date(bank: Bank, settings: Settings, serve: Serve) -> None:
    """A broken proxy on the way writes a year of twenty digits: how far the clocks differ is unknown, and no more."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))

    async def dated(request: web.Request) -> web.StreamResponse:
        bank.misbehave = None
        answer = await bank.answer(request)
        bank.misbehave = dated
        answer.headers["Date"] = f"Fri, 24 Apr {'9' * 20} 09:00:00 GMT"
        return answer

    bank.misbehave = dated
    async with serve(settings) as served:
        await served.ready()
        status, _, body = await served.get("/health")
        assert status == 200
        assert json.loads(body)["checks"]["clock:skew"][0]["status"] == "pass"


@pytest.mark.slow
async def test_a_clock_far_in_the_past_takes_nothing_away_that_explains_it(
    bank: Bank, settings: Settings, serve: Serve, clock: Clock
) -> None:
    """Before the first rates of all no sheet is in force; health and metrics still say what they know."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    async with serve(settings) as served:
        await served.ready()
        clock.moment = datetime(1970, 1, 1, tzinfo=UTC)
        await served.service.republish()
        found = served.service.health()
        assert (found["cbr:sheet"]["status"], found["clock:skew"]["status"]) == ("fail", "warn")
        assert (await served.get("/metrics"))[0] == 200
        assert (await served.get("/v1/rates"))[0] == 200


@pytest.mark.slow
async def test_a_poll_between_its_appointment_and_its_start_is_not_dead(
    bank: Bank, settings: Settings, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often the heart beats, polls that follow each other without a pause are found alive."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    monkeypatch.setattr("ratesvc.service.schedule.HEARTBEAT_S", 0.001)
    async with serve(msgspec.structs.replace(settings, poll_seconds=0.01)) as served:
        await eventually(lambda: len(bank.asked) > 100)
        assert b"ratesvc_task_restarts_total{" not in (await served.get("/metrics"))[2]


@pytest.mark.slow
async def test_a_drain_loses_no_request(bank: Bank, tmp_path: Path) -> None:
    """SIGTERM: not ready, connections end with their answers, everything is answered until the end, exit 0."""
    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    async with serving(tmp_path, RATESVC_CBR_MIRRORS=bank.url, RATESVC_DRAIN_SECONDS="1.5") as program:
        await eventually(lambda: len(bank.asked) >= 2)
        assert "Connection" not in (await program.get("/v1/currencies"))[1]
        program.kill(signal.SIGTERM)
        seen: set[int] = set()

        async def is_draining() -> bool:
            status, headers, body = await program.get("/readyz")
            return (status, body, headers.get("Connection")) == (503, b"draining\n", "close")

        await eventually(is_draining)
        for _ in range(20):
            status, headers, _ = await program.get("/openapi.json")
            seen.add(status)
            assert headers["Connection"] == "close"
        assert seen == {200}
        assert await program.ended() == 0
