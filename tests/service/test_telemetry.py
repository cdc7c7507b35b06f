"""What people and machines watch: metrics, logs, rules."""

from __future__ import annotations

import ast
import asyncio
import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from datetime import time as clock_time
from fnmatch import fnmatchcase
from functools import partial
from itertools import count
from math import inf
from pathlib import Path

import pytest
from conftest import Clock, Serve, Served, eventually
from kit.bank import Bank, sheet, unavailable
from kit.dates import FRIDAY, SATURDAY, THURSDAY
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs
from yarl import URL

from ratesvc.bank.admission import Admission, Decision, Finding
from ratesvc.bank.client import Mirror
from ratesvc.domain.rates import Revision
from ratesvc.domain.workdays import at, utc_now
from ratesvc.errors import FetchFailed, RatesvcError, SourceError, StoreUnavailable
from ratesvc.installed import FEATURES
from ratesvc.service.cycle import Cycle, Progress
from ratesvc.service.sync import Repairs
from ratesvc.service.telemetry import Metrics, Telemetry
from ratesvc.storage.records import Case
from ratesvc.storage.redis import Call
from ratesvc.storage.store import Store

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/prometheus/alerts.yml"
DASHBOARD = ROOT / "deploy/grafana/ratesvc.json"
HANDBOOK = (ROOT / "docs/operating.md").read_text("utf-8")
NAMES = re.compile(r"\bratesvc_[a-z_]+")
GONE: set[str] = set() if "events" in FEATURES else {"ratesvc_event_streams"}
"""What only the handbook has where somebody deleted a feature."""


def section(title: str) -> str:
    """A section of the handbook."""
    return HANDBOOK.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


async def helps(served: Served) -> dict[str, str]:
    """The text of each metric of the running service, by its full name."""
    _, _, body = await served.get("/metrics")
    assert list(text_string_to_metric_families(body.decode()))
    return dict(re.findall(r"^# HELP (ratesvc_[a-z_]+) ?(.*)$", body.decode(), re.MULTILINE))


async def test_every_metric_explains_itself_and_the_handbook_names_its_group(served: Served) -> None:
    """A `…` in docs/operating.md stands for the rest of a name. Each metric is in one group, and no group is empty."""
    found = await helps(served)
    assert {name: text for name, text in found.items() if not re.fullmatch(r"(\d|[A-Z]).{6,}\.", text)} == {}
    groups = re.findall(r"`(ratesvc_[a-z_]+…?)`", section("Metrics"))
    named = [{name for name in found if fnmatchcase(name, group.replace("…", "*"))} for group in groups]
    assert sorted(name for names in named for name in names) == sorted(found)
    assert {group for group, names in zip(groups, named, strict=True) if not names} == GONE


async def test_rules_dashboard_and_handbook_use_only_existing_metrics(served: Served) -> None:
    """An alert on a missing metric would never fire."""
    await served.get("/v1/rates")
    samples = {re.split(r"[ {]", name)[0] for name in await served.samples()} | (await helps(served)).keys()
    told = [line for line in RULES.read_text("utf-8").splitlines() if "ratesvc_" in line]
    # Its panels and its choices.
    told.append(DASHBOARD.read_text("utf-8"))
    named = {name for text in told for name in NAMES.findall(text)}
    assert named <= samples
    assert len(named) > 15
    volume = {"ratesvc_rates"}
    assert set(re.findall(r"\bratesvc_[a-z_]+\b(?!…)", HANDBOOK)) - volume - GONE <= samples


async def test_requests_are_counted_by_route_and_status(served: Served) -> None:
    """By template, never by address; also errors and the fast path; each in one bucket of duration."""
    for _ in range(5):
        await served.get("/v1/rates")
    for path in (f"/v1/rates/{FRIDAY}", f"/v1/rates/{FRIDAY}?lang=ru", "/v1/rates?x=1", "/nothing/here", "/other"):
        await served.get(path)
    for _ in range(2):  # asked for, then remembered
        assert (await served.get("/v1/rates/today/USD.txt", If_None_Match="*"))[0] == 304
    found = await served.samples()
    assert found['ratesvc_requests_total{route="/v1/rates/{date}/{code}.txt",status="304"}'] == "2.0"
    assert found['ratesvc_requests_total{route="/v1/rates",status="200"}'] == "5.0"
    assert found['ratesvc_requests_total{route="/v1/rates",status="400"}'] == "1.0"
    assert found['ratesvc_requests_total{route="/v1/rates/{date}",status="200"}'] == "2.0"
    assert found['ratesvc_requests_total{route="none",status="404"}'] == "2.0"
    assert found['ratesvc_request_duration_seconds_count{route="/v1/rates"}'] == "6.0"
    assert found['ratesvc_request_duration_seconds_bucket{le="+Inf",route="/v1/rates"}'] == "6.0"
    assert found["ratesvc_publications_missed"] == "0.0"
    assert float(found["ratesvc_sheet_date_timestamp_seconds"]) == 1776978000
    assert found['ratesvc_fetches_total{outcome="new"}'] == "1.0"


async def test_each_gauge_of_a_refresh_shows_what_its_name_says(
    served: Served, bank: Bank, clock: Clock, store: Store
) -> None:
    """After a poll that worked at noon and one that failed at seven; two documents wait; another replica polls."""
    worked = clock()
    assert (await gauges(served))["lease_held"] == 1
    clock.advance(hours=7)
    bank.misbehave = unavailable
    for number in range(2):
        await store.quarantine.add(Case(FRIDAY, worked, (), b"%d" % number))
        await served.service.poll()
    found = await gauges(served)
    due = at(FRIDAY, clock_time(18)).timestamp()
    assert (
        found.items()
        >= {
            "refresh_last_attempt_timestamp_seconds": clock().timestamp(),
            "refresh_last_success_timestamp_seconds": worked.timestamp(),
            "sheet_first_seen_timestamp_seconds": worked.timestamp(),
            "sheet_expected_timestamp_seconds": due,
            "lease_held": 0,
            "history_sheets": 2,
            "quarantine_documents": 2,
            "publications_missed": 0,
            "stale": 0,
        }.items()
    )
    assert found["refresh_next_timestamp_seconds"] > time.time(), "the schedule follows the true time"
    assert served.service.health()["cbr:fetch"]["failuresInARow"] == 2
    assert await store.poll_lease.take()
    assert await store.backfill_lease.take()
    clock.moment = datetime(2026, 4, 29, 19, tzinfo=UTC)
    for work in (served.service.poll, served.service._fill_gaps):  # noqa: SLF001 -- what its schedule runs
        await work()
    found = await gauges(served)
    assert found["refresh_last_attempt_timestamp_seconds"] == clock().timestamp()
    # Those of Saturday, Tuesday and Wednesday, and since 21:00 that of Thursday.
    assert (found["publications_missed"], found["stale"]) == (4, 1)
    await store.poll_lease.release()
    bank.misbehave = None
    bank.publish(sheet(date(2026, 4, 30)))
    with capture_logs() as logged:
        await served.service.poll()
    assert [line["host"] for line in logged if line["event"] == "mirror_back"] == [bank.url.removeprefix("http://")]
    found = await gauges(served)
    assert found["lease_held"] == 1
    assert found["sheet_first_seen_timestamp_seconds"] == clock().timestamp()
    assert found["sheet_expected_timestamp_seconds"] == at(date(2026, 4, 30), clock_time(18)).timestamp()
    assert found["refresh_last_success_timestamp_seconds"] == clock().timestamp()
    assert served.service.telemetry.failures == 0
    assert found["redis_up"] == 1
    full = StoreUnavailable("Redis: its memory is full", "memory")
    served.service.telemetry.redis_call(Call("put", 0.1, full, refusing=True))
    # Read at once, because the next tick calls Redis, which has room.
    told = served.service.telemetry.metrics.text().decode()
    assert "\nratesvc_redis_up 0.0\n" in told


async def gauges(served: Served) -> dict[str, float]:
    """Figures without labels, by their names without ours."""
    return {name.removeprefix("ratesvc_"): float(value) for name, value in (await served.samples()).items()}


@pytest.mark.parametrize(
    ("seconds", "bound"), [(0.0, 0.0005), (0.0005, 0.0005), (0.00051, 0.001), (0.5, 0.5), (2.0, inf)]
)
def test_a_duration_counts_in_the_bucket_of_its_bound(
    seconds: float, bound: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A bucket has what took its bound or less. A remembered answer takes no time. The build names its commit."""
    (tmp_path / "revision").write_text("5e829abf")
    monkeypatch.setattr("ratesvc.service.telemetry.files", lambda _: tmp_path)
    metrics = Metrics()
    metrics.route("/x").add(200, seconds)
    assert f'duration_seconds_sum{{route="/x"}} {seconds}' in metrics.text().decode()
    assert b'revision="5e829abf"' in metrics.text()
    (buckets,) = re.findall(rb'_bucket\{le="([^"]+)",route="/x"\} 1\.0', metrics.text())[:1]
    assert float(buckets) == bound


async def test_clock_calendar_and_backfill_have_figures(
    served: Served, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our clock is an hour ahead of the Bank's; no backfill runs, then one does."""
    # A heartbeat would write its own lag.
    await served.service.schedule.stop()
    clock.advance(hours=1)
    found = {name: float(value) for name, value in (await served.samples()).items()}
    assert found["ratesvc_clock_skew_seconds"] == pytest.approx(3600, abs=60)
    known_until = at(served.service.history.calendar.known_until, clock_time.min).timestamp()
    assert found["ratesvc_calendar_known_until_timestamp_seconds"] == known_until > clock().timestamp()
    assert found["ratesvc_backfill_steps"] == found["ratesvc_backfill_steps_done"] == 0
    monkeypatch.setattr(served.service._backfill, "progress", Progress(3, 7, "USD"))  # noqa: SLF001 -- as during a run
    monkeypatch.setattr(served.service.schedule, "lag_s", 7.5)
    shown = await gauges(served)
    assert (shown["backfill_steps_done"], shown["backfill_steps"], shown["loop_lag_seconds"]) == (3, 7, 7.5)


def events() -> Iterator[str]:
    """The names of all logged events: the first argument of each call of a logger."""
    for path in (ROOT / "ratesvc").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if node.func.attr in {"debug", "info", "warning", "error", "exception", "critical"} and node.args:
                assert isinstance(node.args[0], ast.Constant), ast.unparse(node)
                yield str(node.args[0].value)


def test_every_event_of_the_log_is_documented_and_no_other() -> None:
    """People filter logs by these names."""
    assert set(re.findall(r"^\| `([a-z_]+)` \|", section("Log events"), re.MULTILINE)) == set(events())


async def test_the_access_log_has_no_address_and_the_id_of_a_500(
    bank: Bank, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SECURITY.md promises that readers' addresses are not logged. Every answer gets a line, also a remembered one."""

    def broken(*_: object, **__: object) -> bytes:
        raise ZeroDivisionError

    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    with capture_logs() as logged:
        async with serve(log={"access": True}) as served:
            await eventually(lambda: len(served.service.history.own_keys) == 2)
            _, headers, _ = await served.get("/v1/rates/today/USD.txt", User_Agent="a reader")
            monkeypatch.setattr("ratesvc.render.json.unit_rate", broken)
            await served.get("/v1/rates/today/USD.txt", User_Agent="a reader")
            _, _, body = await served.get("/v1/rates/today/EUR.txt")
            _, _, problem = await served.get(f"/{'x' * 1000}", User_Agent="y" * 1000)
            for _ in range(2):
                await served.get("/v1/currencies", If_None_Match="*")
    first, remembered, failed, last, long, *unchanged = (line for line in logged if line["event"].startswith("request"))
    assert (len(long["path"]), len(long["agent"]), long["bytes"]) == (200, 200, len(problem))
    for line in (first, remembered):
        assert line.keys() >= {"id", "method", "path", "agent", "status", "bytes", "ms"}
        assert (line["agent"], line["status"], line["bytes"]) == ("a reader", 200, int(headers["Content-Length"]))
    assert json.loads(body)["detail"] == f"Incident {last['id']}."
    assert failed["incident"] == last["id"] != first["id"]
    assert [line["status"] for line in (last, long, *unchanged)] == [500, 404, 304, 304]
    assert not any("127.0.0.1" in str(line) for line in (first, remembered, last))


async def test_the_access_log_is_off_by_default(served: Served) -> None:
    """Neither a remembered answer nor another one gets a line."""
    with capture_logs() as logged:
        for _ in range(2):
            await served.get("/v1/rates?codes=USD")
    assert [line for line in logged if line["event"].startswith("request")] == []


async def test_the_log_says_once_that_a_sheet_is_late_and_when_it_came(
    served: Served, bank: Bank, clock: Clock
) -> None:
    """Late at 18:00 in Moscow, overdue at 21:00, missing from midnight; each once, however often the schedule looks."""
    with capture_logs() as logged:
        for hours in (6.1, 3, 3):
            clock.advance(hours=hours)
            for _ in range(2):
                await served.service.tick()
        bank.publish(sheet(SATURDAY))
        await served.service.poll()
        await served.service.tick()
    assert "repaired" not in [line["event"] for line in logged]
    said = [line for line in logged if line["event"].startswith("sheet_")]
    assert [line["event"] for line in said] == ["sheet_late", "sheet_overdue", "sheet_missing", "sheet_came"]
    assert [line["log_level"] for line in said] == ["warning", "warning", "error", "info"]
    assert (said[2]["today"], said[2]["in_force"]) == (str(SATURDAY), str(FRIDAY))


async def test_trouble_with_redis_is_logged_once_for_each_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """And that it is over once Redis takes writes; each call that failed is counted.

    Timeouts are logged once they have lasted, because a busy machine has single ones.
    """
    telemetry = Telemetry(utc_now)
    # Three seconds pass between two calls.
    monkeypatch.setattr(asyncio.get_running_loop(), "time", partial(next, count(step=3)))
    with capture_logs() as logged:
        for kind in ("timeout", "", "timeout", ""):
            telemetry.redis_call(Call("get", 0.1, StoreUnavailable("Redis: …", kind) if kind else None))
    assert logged == []
    calls = [*["timeout"] * 3, *["memory"] * 2, "", ""]
    with capture_logs() as logged:
        for place, kind in enumerate(calls):
            trouble = StoreUnavailable("Redis: …", kind) if kind else None
            telemetry.redis_call(Call("get", 0.1, trouble, refusing=place < len(calls) - 1))
            assert (telemetry.trouble is None) == (place == len(calls) - 1)
    assert [line.get("kind", line["event"]) for line in logged] == ["timeout", "memory", "store_back"]
    telemetry.repaired(Repairs(sheets=1, columns=2, dropped=3))
    for what, times in (("sheets", 1), ("columns", 2), ("dropped", 3)):
        assert f'ratesvc_repaired_total{{what="{what}"}} {times}.0' in telemetry.metrics.text().decode()
    counted = re.findall(rb'redis_errors_total{kind="([a-z]+)"} ([0-9.]+)', telemetry.metrics.text())
    assert dict(counted) == {b"timeout": b"5.0", b"memory": b"2.0"}


async def test_each_event_is_said_as_often_as_the_page_about_the_log_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is told twice within a minute. What repeats itself is said once, until it changes or the minute is over."""
    telemetry, flagged = Telemetry(utc_now), Revision(sheet(FRIDAY), 1, utc_now())
    findings = [Finding("rows", Decision.QUARANTINE, text) for text in ("one", "another")]
    held, other = (Admission(sheet(SATURDAY), Decision.QUARANTINE, (finding,)) for finding in findings)
    failed = Cycle("failed", failure=FetchFailed([("h", SourceError("dns", "x"))]))
    well, lagging = Mirror(URL("http://h")), Mirror(URL("http://h"), finding="lags: …")
    for tell, said in (
        (
            partial(telemetry.held_back, Cycle("quarantined", held_back={SATURDAY: held}, unknown={"x"})),
            "sheet_held_back unknown_part",
        ),
        (partial(telemetry.held_back, Cycle(held_back={SATURDAY: other}, unknown={"x"})), "sheet_held_back"),
        (partial(telemetry.taken_back, [FRIDAY]), "sheet_taken_back(hint)"),
        (partial(telemetry.taken_back, []), ""),
        (partial(telemetry.backfilling, Progress(1, 9, "EUR")), "backfill_progress"),
        (partial(telemetry.backfill_failed, RatesvcError("x")), "backfill_failed"),
        (partial(telemetry.refreshed, failed, nothing_held=True), "fetch_failed(hint)"),
        (
            partial(telemetry.refreshed, Cycle("new", [flagged], stored=False), nothing_held=False),
            "kept_in_memory kept_in_memory",
        ),
        (partial(telemetry.refreshed, Cycle(), [lagging], nothing_held=False), "mirror_differs"),
        (partial(telemetry.refreshed, Cycle(), [well], nothing_held=False), "mirror_back"),
        (partial(telemetry.holds, (replace(flagged, flags=("released",)),)), "sheet(flags) sheet(flags)"),
        (partial(telemetry.holds, (flagged, replace(flagged, sheet=sheet(SATURDAY)))), "sheet sheet sheet sheet"),
        (partial(telemetry.held_back, Cycle(held_back={SATURDAY: other})), "sheet_held_back"),
        (partial(telemetry.repaired, Repairs(sheets=1)), "repaired repaired"),
        (partial(telemetry.task_died, "tick", ValueError()), "task_died"),
        (partial(telemetry.task_died, "engine", "ended with exit code 137"), "task_died"),
        (partial(telemetry.task_died, "engine", "its files are unreadable"), "task_died"),
    ):
        with capture_logs() as logged:
            for _ in range(2):
                tell()
        marks = [next((f"({name})" for name in ("flags", "hint") if name in line), "") for line in logged]
        assert " ".join(line["event"] + mark for line, mark in zip(logged, marks, strict=True)) == said
    told = telemetry.metrics.text()
    assert all(line in told for line in (b'restarts_total{task="tick"} 2.0', b'fetches_total{outcome="dns"} 2.0'))
    monkeypatch.setattr("ratesvc.service.telemetry.LOG_AGAIN_S", 0)
    with capture_logs() as logged:
        telemetry.backfill_failed(RatesvcError("x"))
    assert len(logged) == 1
