"""A simulated fleet lives for some days. Everything follows from the seed; README.md says how a red one is replayed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def simulated(seed: int, *options: str) -> dict[str, Any]:
    """The report of a run in a process of its own, because it takes the place of clock and network there."""
    command = [sys.executable, "-m", "simulation", str(seed), *options]
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr[-3000:]
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, report["broken"]) == (0, []), done.stdout[-6000:]
    return report


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_fleet_under_faults_keeps_its_promises(seed: int) -> None:
    """Three days with two replicas, and with a fault every few hours."""
    assert simulated(seed, "--days", "3")["episodes"] > 1


@pytest.mark.slow
def test_the_same_seed_gives_the_same_story() -> None:
    """Otherwise nobody could look at what a night has found."""
    first, again = (simulated(3, "--days", "0.2")["digest"] for _ in range(2))
    assert first == again
