"""Random requests that schemathesis makes from the contract."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import msgspec
import pytest
from conftest import Clock, Serve, eventually
from fake_bank import Bank, sheet

from ratesvc.config import Cbr, Settings
from ratesvc.domain.rates import FIRST_DAY

HOOKS = Path(__file__).parents[1].joinpath("schemathesis_hooks.py")
QUESTIONS = os.environ.get("RATESVC_QUESTIONS", "30")


@pytest.mark.faults
@pytest.mark.slow
async def test_schemathesis_finds_nothing(
    bank: Bank, settings: Settings, serve: Serve, clock: Clock, tmp_path: Path
) -> None:
    """All checks, with valid and invalid requests; all of history is held, and tomorrow's sheet is announced.

    `RATESVC_QUESTIONS` is the number of requests to each route.
    """
    clock.moment = datetime(2026, 4, 24, 14, 0, tzinfo=UTC)
    bank.publish(*map(sheet, (FIRST_DAY, date(2026, 4, 23), date(2026, 4, 24), date(2026, 4, 25))))
    settings = msgspec.structs.replace(settings, cbr=Cbr(mirrors=settings.cbr.mirrors, backfill_gap_seconds=0))
    async with serve(settings) as running:
        await eventually(lambda: running.service.history.coverage)
        await eventually(
            lambda: running.service.publisher.current and running.service.publisher.current.snapshot.announced
        )
        status, said = await run(f"{running.url}/openapi.json", running.url, tmp_path)
    assert status == 0, said


async def run(document: str, url: str, folder: Path) -> tuple[int, str]:
    """`st run`, in a folder of its own since it leaves files behind; its status and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *(Path(sys.executable).with_name("st"), "--no-color", "run", document),
        *("--url", url, "--checks", "all", "--max-examples", QUESTIONS, "--continue-on-failure"),
        *("--exclude-path", "/v1/events"),  # a stream: it has no end that `st` could wait for
        cwd=folder,
        env={**os.environ, "SCHEMATHESIS_HOOKS": HOOKS.stem, "PYTHONPATH": f"{HOOKS.parent}:{HOOKS.parents[1]}"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()
