"""`ratesvc` in this process. At SIGUSR1 it writes into the file `<pid>.counts` what it uses.

python counted.py PYTHON -m ratesvc serve
"""

from __future__ import annotations

import asyncio
import json
import os
import runpy
import signal
import sys
from pathlib import Path

SERVES_A_CONNECTION = "RequestHandler.start"


def write(*_: object) -> None:
    """Memory, threads, and tasks and descriptors but for readers' connections, whose number depends on the proxy."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    tasks = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    connections = tasks.count(SERVES_A_CONNECTION)
    counts = {
        "megabytes": int(status["VmRSS"].split()[0]) / 1024,
        "threads": int(status["Threads"]),
        "tasks": len(tasks) - connections,
        "descriptors": len(list(Path("/proc/self/fd").iterdir())) - connections,
    }
    written = Path(f"{os.getpid()}.new")
    written.write_text(json.dumps(counts))
    written.rename(f"{os.getpid()}.counts")


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, write)
    del sys.argv[:3]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
