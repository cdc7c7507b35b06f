"""Ends every program that a test run leaves behind, however the run ends. On Linux only.

pytest runs as the child of a small process that does nothing else. The kernel gives this parent all orphans among the
programs that tests start. When pytest has ended, also by kill -9, the parent kills what is left.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path

import pytest

# From linux/prctl.h.
SET_PDEATHSIG, SET_CHILD_SUBREAPER = 1, 36


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Before any program is started. Processes of xdist are among those that are watched."""
    if sys.platform == "linux" and not hasattr(config, "workerinput"):
        _be_watched()


def _be_watched() -> None:
    """Returns in the child, which goes on as pytest."""
    prctl = ctypes.CDLL(None).prctl
    prctl(SET_CHILD_SUBREAPER, 1)
    if not (child := os.fork()):
        prctl(SET_PDEATHSIG, signal.SIGINT)
        return
    # A terminal sends SIGINT to both.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def pass_on(number: int, _: object) -> None:
        with contextlib.suppress(ProcessLookupError):  # it may have ended by the same signal
            os.kill(child, number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, pass_on)
    ended, status = 0, 0
    while ended != child:
        ended, status = os.wait()
    _kill_children()
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


def _kill_children() -> None:
    """A process whose parent was killed becomes a child in the next round."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    while found := children.read_text("ascii").split():
        for pid in map(int, found):
            os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
