"""`python -m simulation SEED` runs a fleet from a seed; prints what did not hold, its story, and a report."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from simulation.run import Run, shortest

LINES = 60
MONTH = 365 / 12


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m simulation", description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("--days", type=float, default=MONTH)
    parser.add_argument("--years", type=float, help="runs of a month, each with the next seed")
    parser.add_argument("--replicas", type=int, default=0, help="instead of what the seed says")
    parser.add_argument("--only", default="", help="a pattern for the names of the faults to take")
    parser.add_argument("--skip", type=int, nargs="*", default=[], help="the numbers of episodes without their faults")
    parser.add_argument("--all", action="store_true", help="go on after the first thing that does not hold")
    parser.add_argument("--shorten", action="store_true", help="look for the fewest episodes with which it is red")
    parser.add_argument("--story", type=Path, help="write the last events to this file")
    given = parser.parse_args()
    if given.years:
        return months(given.seed, round(12 * given.years), ["--shorten"] * given.shorten)
    run = Run(given.seed, given.days, replicas=given.replicas, skip=given.skip, only=given.only)
    try:
        run.go(to_first=not given.all)
        if run.unexpected and given.shorten:
            run = shortest(run)
    finally:
        story = list(run.fleet.world.story)
        if given.story:
            given.story.write_text("\n".join(story), "utf-8")
        if run.unexpected or sys.exc_info()[0]:
            print("\n".join(story[-LINES:]))
    print(json.dumps({**run.report(), "cpu_s": round(time.process_time())}, ensure_ascii=False))
    return bool(run.unexpected)


def months(first: int, count: int, options: list[str]) -> int:
    """How many months were red. Each is a line; the end of a red one is told."""
    reds = 0
    for seed in range(first, first + count):
        command = [sys.executable, "-m", "simulation", str(seed), *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            reds += 1
            print(f"seed {seed} is red: python -m simulation {seed} --story FILE\n{done.stdout}{done.stderr[-3000:]}")
        else:
            report = json.loads(done.stdout.splitlines()[-1])
            told = ", ".join(
                f"{name} {report[name]}" for name in ("replicas", "episodes", "digest", "expected", "cpu_s")
            )
            print(f"seed {seed}: {told}", flush=True)
    return reds


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        # The order of sets must be the same in every run.
        command = [sys.executable, "-m", "simulation", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, "PYTHONHASHSEED": "0"})
    sys.exit(main())
