"""What the service tells systemd, by the protocol of sd_notify(3), and what a real systemd makes of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from conftest import eventually, not_here, patience_s, program
from kit.bank import Bank, around_today
from kit.cases import script
from kit.proxies import answers_with
from kit.service import ROOT, begun, finished, free_port, serving

from ratesvc.commands import serve

SYSTEMD = Path("/usr/lib/systemd")
UNIT = ROOT / "deploy/ratesvc.service"
WATCHDOG_S = 1.0


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket that systemd gives a unit of Type=notify."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(patience_s())
        yield listening


@pytest.mark.nightly
async def test_systemd_hears_the_start_each_turn_and_the_stop(supervisor: socket.socket, tmp_path: Path) -> None:
    """READY=1 once it answers, WATCHDOG=1 while it runs and drains, STOPPING=1 at SIGTERM."""
    variables = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": f"{WATCHDOG_S * 1e6:.0f}"}

    async def hear() -> bytes:
        return await asyncio.to_thread(supervisor.recv, 100)

    async with serving(tmp_path, "--demo", RATESVC_DRAIN_SECONDS="2", **variables) as program:
        assert await hear() == b"READY=1"
        assert (await program.get("/livez"))[0] == 200
        assert [await hear() for _ in range(3)] == [b"WATCHDOG=1"] * 3
        program.kill(signal.SIGTERM)
        told = [await hear() for _ in range(4)]
        assert told.count(b"STOPPING=1") == 1
        assert told[-1] == b"WATCHDOG=1"  # during the drain
        assert await program.ended() == 0


async def test_a_blocked_loop_tells_systemd_nothing(
    supervisor: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop itself notifies systemd, not by a thread that would go on while the loop is blocked."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    watchdog = asyncio.create_task(serve.notify_watchdog())
    for _ in range(3):
        assert await asyncio.to_thread(supervisor.recv, 100) == b"WATCHDOG=1"
    supervisor.settimeout(0)
    with contextlib.suppress(BlockingIOError):
        while True:
            supervisor.recv(100)  # those of a moment ago
    supervisor.settimeout(0.2)
    with pytest.raises(TimeoutError):
        supervisor.recv(100)  # this blocks the loop
    watchdog.cancel()


def test_without_a_supervisor_nobody_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither an unset variable nor a socket that is gone stops the service; an abstract socket works."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    serve.notify_systemd("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    serve.notify_systemd("READY=1")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0ratesvc-test-notify")
        monkeypatch.setenv("NOTIFY_SOCKET", "@ratesvc-test-notify")
        serve.notify_systemd("READY=1")
        assert listening.recv(100) == b"READY=1"


# A systemd in namespaces of its own. It sees the units of the test only, and the user that the unit names.
BOOT = script("boot")
UNSHARED = ("unshare", "--mount", "--pid", "--fork", "--uts", "--ipc", "--cgroup", "--mount-proc", "--kill-child")


class Machine:
    """One that runs the shipped unit under a real systemd."""

    def __init__(self, systemd: int) -> None:
        self._inside = ("nsenter", "-t", str(systemd), "-m", "-p", "-u", "-i", "-C")

    async def run(self, *command: str) -> str:
        """What a command there prints that ends well."""
        code, out, errors = await finished(*self._inside, *command, cwd=ROOT)
        assert code == 0, (out, errors)
        return out.strip()

    async def shows(self, name: str) -> str:
        """A property of the unit; nothing as long as systemd does not answer."""
        command = ("systemctl", "show", "ratesvc", "--value", "-p", name)
        return (await finished(*self._inside, *command, cwd=ROOT))[1].strip()

    async def is_active(self, restarts: int) -> bool:
        return (await self.shows("ActiveState"), await self.shows("NRestarts")) == ("active", str(restarts))


def lay_out(folder: Path, **environment: str) -> None:
    """Write what the machine is made of: the shipped unit, the targets that it names, its settings, and its program."""
    python = Path(sys.executable).resolve()
    if python.is_relative_to("/home") or python.is_relative_to("/root"):
        not_here("a Python that ProtectHome= does not hide")
    units = folder / "units"
    units.mkdir()
    for unit in (SYSTEMD / "system/dbus.service", SYSTEMD / "system/dbus.socket"):
        shutil.copy(unit, units)
    (units / "ratesvc.service").write_text(UNIT.read_text("utf-8").replace("WatchdogSec=60", "WatchdogSec=4"), "utf-8")
    for name in ("sysinit", "basic", "shutdown", "network-online", "rates"):
        wants = "Wants=ratesvc.service dbus.socket dbus.service\n" * (name == "rates")
        (units / f"{name}.target").write_text(f"[Unit]\nDescription={name}\nDefaultDependencies=no\n{wants}")
    (folder / "ratesvc").write_text(f'#!/bin/sh\nPYTHONPATH=/srv/root:/srv/site exec {python} -m ratesvc "$@"\n')
    (folder / "ratesvc").chmod(0o755)
    (folder / "environment").write_text("".join(f"{name}={value}\n" for name, value in environment.items()))


@asynccontextmanager
async def machine(folder: Path, **environment: str) -> AsyncIterator[Machine]:
    """A systemd that has started the unit; it ends with all its processes."""
    for name in ("unshare", "nsenter", "systemctl", "dbus-daemon"):
        program(name)
    code, _, errors = await finished(*UNSHARED, "mount", "-t", "cgroup2", "none", "/sys/fs/cgroup", cwd=folder)
    if code or not SYSTEMD.is_dir():
        not_here(f"the right to boot systemd in a namespace: {errors.strip()}")
    lay_out(folder, **environment)
    site = next(place for place in sys.path if place.endswith("site-packages"))
    places = {"FOLDER": str(folder), "ROOT": str(ROOT), "SITE": site, "SYSTEMD": f"{SYSTEMD}/systemd"}
    given = places | {"PATH": os.environ["PATH"]}
    async with begun(*UNSHARED, "sh", "-c", BOOT, out=None, err=None, env=given) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        await eventually(lambda: children.read_text().split())
        booted = Machine(int(children.read_text()))
        await eventually(lambda: booted.is_active(restarts=0), 3 * patience_s())
        yield booted


@pytest.mark.nightly
async def test_a_real_systemd_restarts_a_service_that_hangs(bank: Bank, tmp_path: Path) -> None:
    """The shipped unit in its whole sandbox: it starts, answers, is restarted after SIGSTOP, and stops in order.

    deploy/ratesvc.sh runs commands beside it with its settings, from a folder that its user may not read.
    """
    around_today(bank)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    async with machine(tmp_path, RATESVC_PORT=str(port), RATESVC_CBR_MIRRORS=bank.url) as booted:
        await eventually(lambda: answers_with(url, "/v1/rates", 200))
        folder = tmp_path / "closed"
        folder.mkdir(mode=0o700)
        (folder / "config.yaml").write_text("nonsense: true")
        for command, shown in (("quarantine list", ""), ("show USD", "USD"), ("healthcheck", "ok")):
            assert shown in await booted.run("sh", "-euc", f"cd {folder} && /srv/root/deploy/ratesvc.sh {command}")
        assert [file.name for file in folder.iterdir()] == ["config.yaml"]
        await booted.run("kill", "-STOP", await booted.shows("MainPID"))
        await eventually(lambda: booted.is_active(restarts=1), 3 * patience_s())
        await eventually(lambda: answers_with(url, "/v1/rates", 200))
        await booted.run("systemctl", "stop", "ratesvc")
        assert (await booted.shows("ActiveState"), await booted.shows("Result")) == ("inactive", "success")
        assert await booted.shows("ExecMainStatus") == "0"
        # A port that another program holds for a while is waited for.
        with socket.create_server(("127.0.0.1", port)):
            await booted.run("systemctl", "start", "--no-block", "ratesvc")
            await eventually(lambda: booted.shows("ExecMainStatus"), 3 * patience_s(), becomes="75")
        await eventually(lambda: answers_with(url, "/v1/rates", 200), 3 * patience_s())
