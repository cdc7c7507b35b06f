"""The folder of the embedded engine: for us alone, locked while a server lives over it, repaired when none does."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
import time
from pathlib import Path

from ratesvc.errors import EngineError

LONGEST_SOCKET_PATH = 100
FEWEST_BYTES = 4096


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
        raise EngineError(f"the folder {folder} belongs to {_owner(status)}: run this as its owner")
    folder.chmod(0o700)


def _owner(status: os.stat_result) -> str:
    try:
        return pwd.getpwuid(status.st_uid).pw_name
    except KeyError:
        return f"user {status.st_uid}"


class EngineFolder:
    """What of an engine is on disk. Only who has its lock may touch its files."""

    def __init__(self, path: Path) -> None:
        """Nothing is made before `open`."""
        self.path = path
        self.socket = socket_path(path)
        self.pipe = self.socket.with_name("engine.pipe")
        self.log = path / "engine.log"
        self._files = path / "appendonlydir"
        self._aside: Path | None = None

    def open(self) -> None:
        """Make it, with the pipe that users hold open. Raises EngineError, OSError."""
        make_private(self.path)
        make_private(self.pipe.parent)
        with contextlib.suppress(FileExistsError):
            os.mkfifo(self.pipe, 0o600)

    def take_lock(self) -> int | None:
        """The right to start a server, which goes over to it; None while one lives, or another process has it."""
        lock = os.open(self.path / "engine.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        return lock

    def is_dead(self) -> bool:
        """Whether no server lives over it, and nobody is about to start one."""
        lock = self.take_lock()
        if lock is not None:
            os.close(lock)
        return lock is not None

    def check_room(self) -> None:
        """A full disk keeps the log empty, too, which would have said it. Raises EngineError."""
        try:
            with tempfile.TemporaryFile(dir=self.path) as file:
                file.write(bytes(FEWEST_BYTES))
        except OSError as error:
            raise EngineError(f"the embedded engine cannot write into {self.path}: {error.strerror}") from None

    def keep_log(self) -> None:
        """What the server before said last is kept for whoever asks why it died."""
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".old.log"))

    async def repair(self, server: Path, lock: int) -> None:
        """Cut damaged append-only files back to their last whole command.

        A cancellation ends the repair. That damages nothing, because a file is cut in one step.
        """
        for manifest in self._files.glob("*.manifest"):
            process = _repairing(manifest, server, lock)
            try:
                while process.poll() is None:  # noqa: ASYNC110 -- it tells us nothing, it only ends
                    await asyncio.sleep(0.01)
            finally:
                process.kill()
                process.wait()

    def set_aside(self) -> None:
        """Everything in it can be fetched again, so a store that cannot be read must not keep the service down."""
        aside = self.path / f"appendonlydir.damaged-{time.time_ns()}"
        self._aside = self._files.rename(aside) if self._files.exists() else None

    def put_back(self) -> None:
        """Where new files are no better, the old ones were not the reason: memory, the disk or the binary was."""
        if self._aside:
            shutil.rmtree(self._files, ignore_errors=True)
            self._aside.rename(self._files)


def _repairing(manifest: Path, server: Path, lock: int) -> subprocess.Popen[bytes]:
    """The server's binary under another name, which makes it repair; uvloop cannot start a program like that."""
    answers, keyboard = os.pipe()
    os.write(keyboard, b"y\n" * 3)
    os.close(keyboard)
    try:
        return subprocess.Popen(  # noqa: S603 -- our own binary on our own file
            ["valkey-check-aof", "--fix", str(manifest)],  # noqa: S607 -- `executable` says which
            executable=server,
            stdin=answers,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Should we be gone before it ends, no server starts over the file that it is cutting.
            pass_fds=(lock,),
        )
    finally:
        os.close(answers)
