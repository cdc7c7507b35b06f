"""What one bad document costs a fresh process."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from chaos import answers, front_running

HERE = Path(__file__).parent


async def spent_on(mirror: str, good: bytes) -> dict[str, Any]:
    """Kind of refusal, MB, seconds and the loop's lag, after a good document has been read."""
    async with front_running("http://127.0.0.1:1") as warm:
        warm.misbehave(answers(good))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(HERE / "appetite.py"), warm.url, mirror),
            env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join((str(HERE.parents[1]), str(HERE)))},
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(30):
            out, _ = await process.communicate()
    assert process.returncode == 0
    spent: dict[str, Any] = json.loads(out)
    return spent
