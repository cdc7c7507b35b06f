"""Table D: faults of a process, of its clock and of its neighbours."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest
from conftest import Clock, Serve, eventually, in_nightly, not_here, program
from kit.bank import Bank, bank_running, sheet, workdays
from kit.dates import FRIDAY, MIDNIGHT, NOON, SATURDAY, THURSDAY
from kit.http import Answering, says
from kit.ledger import Fault
from kit.reader import fleet, shared_by, watched
from kit.service import environment, finished, processes_over, run, serving, serving_by
from kit.time import WallClock

from ratesvc.config import Settings
from ratesvc.domain.workdays import ONE_DAY
from ratesvc.storage.store import Store

pytestmark = pytest.mark.nightly


@pytest.mark.slow
@pytest.mark.parametrize("front", ["haproxy", *in_nightly("caddy")])
async def test_D1_kill_9_of_one_of_two_under_load(
    front: str, bank: Bank, redis_url: str, tmp_path: Path, fault: Fault
) -> None:
    """One of two replicas is killed: of 200 requests a second only those are lost that it was answering."""
    async with fleet(shared_by(bank, redis_url), bank, tmp_path, front=front) as two:
        await two.readers.more(200)
        unanswered = len(two.readers.unanswered)
        two.programs[0].kill()
        await fault.recovers(lambda: two.readers.only("replica1"), within_s=3)
        await two.again(0)
        await two.readers.more(200)
    assert two.readers.lost <= unanswered


ROLLED = {
    "D2 Behind HAProxy the replicas restart one by one, and one hangs for a while: no request fails": "haproxy",
    "D2 Behind Caddy the replicas restart one by one, and one hangs for a while: no request fails": "caddy",
    "G7 Behind nginx the replicas restart one by one, and one hangs for a while: no request fails": "nginx",
}


@pytest.mark.parametrize("row", ROLLED)
async def test_a_rolling_restart_fails_no_request(row: str, bank: Bank, redis_url: str, tmp_path: Path) -> None:
    """HAProxy sees «draining»."""
    shared = shared_by(bank, redis_url, RATESVC_DRAIN_SECONDS="4")
    async with fleet(shared, bank, tmp_path, front=ROLLED[row], per_second=80) as two:
        await two.readers.more(100)
        for number in (0, 1):
            await two.programs[number].stops()
            await two.again(number)
        await two.readers.also("replica1")
        two.programs[0].kill(signal.SIGSTOP)
        await two.readers.more(200)
        two.programs[0].kill(signal.SIGCONT)
        await two.readers.also("replica0")
    assert two.readers.lost == 0


async def today_is(replica: Answering, day: date, effective: date) -> bool:
    document = json.loads((await replica.get("/v1/rates"))[2])
    return bool((document["date"], document["effective_date"]) == (str(day), str(effective)))


@pytest.fixture
def wall(tmp_path: Path) -> WallClock:
    return WallClock(tmp_path / "clock")


@pytest.mark.timed
async def test_D4_real_steps_of_the_clock(
    bank: Bank, redis_url: str, tmp_path: Path, wall: WallClock, fault: Fault
) -> None:
    """The system clock jumps two days on and back under a running replica: a second later it serves the right day."""
    bank.publish(*map(sheet, workdays(FRIDAY - 4 * ONE_DAY, 5)))
    wall.set(NOON - timedelta(days=2))
    variables = shared_by(bank, redis_url, RATESVC_POLL_SECONDS="3600", **wall.variables)
    async with serving(tmp_path, **variables) as replica:
        await replica.ready()
        wednesday = THURSDAY - ONE_DAY
        await eventually(lambda: today_is(replica, wednesday, wednesday))
        for moment, day in ((NOON, FRIDAY), (NOON - timedelta(days=2), wednesday), (NOON, FRIDAY)):
            wall.set(moment)
            await fault.recovers(lambda day=day: today_is(replica, day, day))  # type: ignore[misc]
        await eventually(lambda: "clock_jumped" in (tmp_path / "errors.log").read_text())


async def test_D6_a_refresh_that_fails(bank: Bank, settings: Settings, clock: Clock, fault: Fault) -> None:
    """A refresh raises an unknown error: it is counted, health warns, and the next refresh comes in time."""

    async def broken(*_: object) -> None:
        raise ZeroDivisionError("of an unknown library")

    bank.publish(sheet(THURSDAY), sheet(FRIDAY))
    async with watched(settings, bank, clock) as served:
        with pytest.MonkeyPatch.context() as patch:
            # Where what nobody foresaw would be raised.
            patch.setattr(served.service.refresher, "refresh", broken)
            counted = b'ratesvc_fetches_total{outcome="crashed"}'
            await eventually(lambda: counted in served.service.telemetry.metrics.text())
            await served.polls(2)
            assert served.service.health()["cbr:fetch"]["status"] == "warn"
            bank.publish(sheet(SATURDAY))
        await fault.recovers(lambda: served.next_is(SATURDAY))


def shell(script: str) -> tuple[str, ...]:
    """A command that runs this first and then becomes the service."""
    return "sh", "-c", f'{script}; exec "$@"', "sh"


def apart(script: str) -> tuple[str, ...]:
    """The same in a namespace of its own, where it may mount."""
    if os.geteuid():
        not_here("root, to mount something")
    return program("unshare"), "-m", *shell(f"mkdir -p data; {script}")


SCARCE: dict[str, Callable[[], tuple[str, ...]]] = {
    "few_descriptors": lambda: shell("ulimit -n 64"),
    "little_memory": lambda: shell("ulimit -v 3000000"),
    "small_files": lambda: shell("ulimit -f 16"),
    "a_full_disk": lambda: apart("mount -t tmpfs -o size=24k tmpfs data"),
    "a_disk_that_is_full_at_once": lambda: apart(
        "mount -t tmpfs -o size=64k tmpfs data; dd if=/dev/zero of=data/all bs=1k count=64 2>/dev/null"
    ),
    "a_read_only_disk": lambda: apart("mount -t tmpfs -o ro tmpfs data"),
    "no_temporary_folder": lambda: ("env", "TMPDIR=/no/such/folder"),
    "no_home": lambda: ("env", "-u", "HOME"),
    "no_time_zones": lambda: ("env", "PYTHONTZPATH=", "TZ=No/Such"),
}
REFUSES = {"a_read_only_disk": 78, "a_disk_that_is_full_at_once": 75}


@pytest.mark.nightly
@pytest.mark.parametrize("scarce", [scarce for scarce in SCARCE if scarce not in REFUSES])
async def test_D8_what_a_machine_may_lack(scarce: str, tmp_path: Path) -> None:
    """Descriptors, memory, disk, a temporary folder, HOME or time zones are missing: the service starts and serves."""
    async with serving_by(SCARCE[scarce](), tmp_path, "--demo") as replica:
        await replica.ready()
        if scarce == "a_full_disk":
            await eventually(lambda: says(replica, "/health", b"No space left on device", 200))
            assert b"\nratesvc_redis_up 0.0\n" in (await replica.get("/metrics"))[2]  # for the alert
        assert (await replica.get("/v1/rates"))[0] == 200
        assert (await replica.get("/livez"))[0] == 200


@pytest.mark.nightly
@pytest.mark.parametrize("scarce", REFUSES)
async def test_D8_where_nothing_can_be_kept(scarce: str, tmp_path: Path) -> None:
    """The data folder cannot be written: exit 78, or 75 if the disk is full, and one line that names the folder."""
    serve = (*SCARCE[scarce](), sys.executable, "-m", "ratesvc", "serve", "--demo")
    code, out, err = await finished(*serve, cwd=tmp_path, env=environment(tmp_path, RATESVC_PORT="0"))
    assert (code, out, err.count("\n")) == (REFUSES[scarce], "", 1), err
    assert err.startswith("ratesvc: ")
    assert "data/demo" in err


async def test_D9_a_port_in_use(bank: Bank, tmp_path: Path) -> None:
    """The port is in use: exit 75, one line that names the setting, and no engine is left running."""
    port = bank.url.rsplit(":", 1)[1]
    code, _, err = await run(tmp_path, "serve", RATESVC_PORT=port, RATESVC_CBR_MIRRORS=bank.url)
    assert code == 75
    assert "in use" in err
    assert "RATESVC_PORT" in err
    assert "Traceback" not in err
    assert not processes_over(tmp_path)


@pytest.mark.parametrize("name", ["RATESVC_CBR_MIRRORS", "RATESVC_REDIS_URL"])
async def test_D10_a_stop_while_the_resolver_is_silent(name: str, tmp_path: Path) -> None:
    """Nothing resolves the name of the Bank or of Redis: a stop does not wait for that."""
    file = tmp_path / "resolv.conf"
    address = {"RATESVC_CBR_MIRRORS": "http://bank.example", "RATESVC_REDIS_URL": "redis://redis.example"}[name]
    by = apart(f"mount --bind '{file}' /etc/resolv.conf")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind((f"127.0.{os.getpid() % 250}.{len(name)}", 53))
        # It gives up after seven minutes: a test does not wait so long.
        file.write_text(f"nameserver {silent.getsockname()[0]}\n" * 3 + "options timeout:30 attempts:5\n")
        async with serving_by(by, tmp_path, **{name: address}) as replica:
            await asyncio.to_thread(silent.recv, 512)
            await replica.stops()


@pytest.mark.slow
async def test_D11_a_clock_that_is_wrong(
    bank: Bank, serve_whole: Serve, store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock is an hour ahead: health fails once two mirrors say so, also where another replica polls."""
    same = Bank(now=clock)
    for one in (bank, same):
        one.publish(sheet(THURSDAY), sheet(FRIDAY), sheet(SATURDAY))
    async with bank_running(same) as other, serve_whole(cbr={"mirrors": (bank.url, other.url)}) as served:
        await served.service.schedule.stop()

        async def after_a_poll() -> tuple[str, int, int]:
            await served.service.poll()
            return served.service.health()["clock:skew"]["status"], bank.asked_for_date, other.asked_for_date

        behind = Clock(clock.moment - timedelta(hours=1))
        bank.now = behind
        assert await after_a_poll() == ("pass", 0, 1), "only the first mirror says so"
        other.now = behind
        assert await after_a_poll() == ("fail", 0, 2)
        assert [(await served.get(path))[0] for path in ("/health", "/readyz")] == [503, 200]
        clock.moment, behind.moment = MIDNIGHT + timedelta(minutes=45), MIDNIGHT - timedelta(minutes=15)
        assert await after_a_poll() == ("fail", 0, 3)
        assert await today_is(served, SATURDAY, SATURDAY), "the day is that of our clock"
        clock.moment = behind.moment + timedelta(seconds=45)
        assert await after_a_poll() == ("warn", 0, 3)
        await served.service.store.release_leases()
        assert await store.poll_lease.take()
        behind.moment -= timedelta(hours=1)
        assert await after_a_poll() == ("warn", 0, 3), "it has asked within the hour"
        monkeypatch.setattr("ratesvc.service.clock.ASK_AFTER_S", -1)
        assert await after_a_poll() == ("fail", 1, 4)
        monkeypatch.undo()
        assert await after_a_poll() == ("fail", 1, 4), "nothing new was said"
