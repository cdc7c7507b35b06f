"""`ratesvc` and other programs as real processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from kit.http import Fetched, fetched, says
from kit.not_run import program
from kit.time import eventually, patience_s
from ratesvc.storage.embedded import find_server

ROOT = Path(__file__).parents[2]


class Program:
    """One running `ratesvc serve`; `url` is known once it listens."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.url = ""
        self.output: list[str] = []

    async def listening(self, within_s: float | None = None) -> None:
        """Read the banner until the address is there."""
        assert self.process.stdout
        async with asyncio.timeout(within_s or patience_s()):
            while line := (await self.process.stdout.readline()).decode():
                self.output.append(line)
                if found := re.search(r"health\s+http://localhost:([0-9]+)/", line):
                    self.url = f"http://127.0.0.1:{found[1]}"
                if "data" in line:
                    return
        raise AssertionError("".join(self.output))

    async def get(self, path: str) -> Fetched:
        return await fetched(self.url + path)

    async def ready(self) -> None:
        await eventually(lambda: says(self, "/readyz"))

    async def holds_two_sheets(self) -> None:
        """It is ready after the first sheet. The one before brings `change` and `previous_effective_date`."""
        await eventually(lambda: says(self, "/v1/rates", b'"previous_effective_date":"'))

    def kill(self, number: int = signal.SIGKILL) -> None:
        self.process.send_signal(number)

    async def stops(self) -> None:
        """It is told to stop, and leaves in order."""
        self.kill(signal.SIGTERM)
        assert await self.ended() == 0

    async def ended(self) -> int:
        async with asyncio.timeout(patience_s()):
            return await self.process.wait()


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """PATH and these variables, and nothing else of the tests' environment. Without a mirror the Bank is absent.

    The data is in the current folder, as in a clone. What is left open when a program ends is said on standard error.
    """
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "always::ResourceWarning",
        "RATESVC_CBR_MIRRORS": "http://127.0.0.1:1",
        "RATESVC_DATA_DIR": "data",
        **variables,
    }


FIRST_PORT = 10_000 + os.getpid() % 10_000
_PORTS: Iterator[int] = iter((*range(FIRST_PORT, 20_000), *range(10_000, FIRST_PORT)))


def free_port() -> int:
    """A port on which nobody listens, and which no other process of the tests gets.

    It lies below the ports that the system gives out by itself, and so does that of a cluster's bus, 10,000 higher.
    """
    for port in _PORTS:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as claim:
            claim.bind(f"\0ratesvc-tests-{port}")
            for number in (port, port + 10_000):
                socket.create_server(("127.0.0.1", number)).close()
            claim.detach()  # it ends with the process
            return port
    raise AssertionError


@asynccontextmanager
async def begun(
    *command: str | Path, out: Any = subprocess.PIPE, err: Any = subprocess.PIPE, end: int = signal.SIGKILL, **more: Any
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Any program, as it runs. It gets this signal at the end of the context."""
    process = await asyncio.create_subprocess_exec(*map(str, command), stdout=out, stderr=err, **more)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(end)
        await process.wait()


def running(folder: Path, *words: str, **variables: str) -> AbstractAsyncContextManager[asyncio.subprocess.Process]:
    """The same for a command of ratesvc."""
    return begun(sys.executable, "-m", "ratesvc", *words, cwd=folder, env=environment(folder, **variables))


async def finished(
    *command: str | Path, cwd: Path, env: Mapping[str, str] | None = None, timeout_s: float = 120
) -> tuple[int, str, str]:
    """Run a program to its end: exit code, output, errors. It is killed after `timeout_s`."""
    async with begun(*command, cwd=cwd, env=env) as process, asyncio.timeout(timeout_s):
        out, err = await process.communicate()
    assert process.returncode is not None
    assert b"ResourceWarning" not in err, err
    return process.returncode, out.decode(errors="replace"), err.decode(errors="replace")


def output_of(*command: str | Path, folder: Path = ROOT, env: Mapping[str, str] | None = None) -> str:
    """What a program prints, errors too, while the test waits. It must end with 0."""
    pipe, both = subprocess.PIPE, subprocess.STDOUT
    done = subprocess.run(command, cwd=folder, env=env, stdout=pipe, stderr=both, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


async def run(folder: Path, *arguments: str, **variables: str) -> tuple[int, str, str]:
    """Run a command of ratesvc to its end."""
    command = (sys.executable, "-m", "ratesvc", *arguments)
    return await finished(*command, cwd=folder, env=environment(folder, **variables))


async def ran(command: tuple[str, ...], folder: Path, **variables: str) -> str:
    """The standard output of another program, which must end with 0."""
    name, *arguments = command
    code, out, err = await finished(program(name), *arguments, cwd=folder, env=environment(folder, **variables))
    assert code == 0, (command, out, err)
    return out


@asynccontextmanager
async def serving_by(by: tuple[str, ...], folder: Path, *arguments: str, **variables: str) -> AsyncIterator[Program]:
    """`ratesvc serve` on a free port, started by a command that becomes the service. It is killed at the end."""
    command = (*by, sys.executable, "-m", "ratesvc", "serve", *arguments)
    given = environment(folder, **{"RATESVC_PORT": "0", "RATESVC_DRAIN_SECONDS": "0", **variables})
    with (folder / "errors.log").open("ab") as log:
        async with begun(*command, err=log, cwd=folder, env=given) as process:
            program = Program(process)
            if variables.get("RATESVC_LOG_FORMAT") != "json":
                await program.listening()
            yield program
    assert "ResourceWarning" not in (folder / "errors.log").read_text("utf-8")


serving = partial(serving_by, ())
"""The same without another command."""


@asynccontextmanager
async def started(
    port: int, *command: str, variables: Mapping[str, str] | None = None, log: Path | None = None
) -> AsyncIterator[None]:
    """A program that listens on this port while the context lasts."""
    with (log or Path(os.devnull)).open("wb") as output:
        async with begun(*command, out=output, err=output, end=signal.SIGTERM, env=variables) as process:
            await eventually(lambda: process.returncode is not None or listens(port))
            assert process.returncode is None, f"{command[0]} did not start"
            yield


def listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def processes_over(folder: Path, named: str = "") -> list[int]:
    """Every process whose command line names this folder or that works in it; with `named` those of that program."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and entry.name != str(os.getpid()):
            try:
                command, works_in = (entry / "cmdline").read_bytes(), (entry / "cwd").readlink()
                name = (entry / "comm").read_text("utf-8").strip()
            except OSError:
                continue
            if (os.fsencode(folder) in command or works_in.is_relative_to(folder)) and named in ("", name):
                found.append(int(entry.name))
    return found


def engines_over(folder: Path) -> list[int]:
    """The servers of the embedded engine over this folder, without the shells that watch them."""
    return processes_over(folder, find_server().name)
