"""`python -m simulation SEED` runs a fleet from a seed; prints what did not hold, its story, and a report."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
import traceback
from argparse import Namespace
from pathlib import Path

from simulation.run import Run, shortest

LINES = 60
MONTH = 365 / 12


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m simulation", description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("--days", type=float, default=MONTH)
    parser.add_argument("--years", type=float, help="runs of a month, each with the next seed")
    parser.add_argument("--only", default="", help="a pattern for the names of the faults to take")
    parser.add_argument("--skip", type=int, nargs="*", default=[], help="the numbers of episodes without their faults")
    parser.add_argument("--shorten", action="store_true", help="look for the fewest episodes with which it is red")
    parser.add_argument("--story", type=Path, help="write the last events to this file")
    given = parser.parse_args()
    if not given.years:
        is_red, told, report = one(given)
        print(told + json.dumps(report, ensure_ascii=False))
        return is_red
    months = (Namespace(**{**vars(given), "seed": given.seed + n}) for n in range(round(12 * given.years)))
    reds = 0
    # A run takes the place of clock and network, so each has a process of its own; as many at once as there are cores.
    with multiprocessing.get_context("fork").Pool(maxtasksperchild=1) as pool:
        for is_red, told, report in pool.imap(one, months):
            reds += is_red
            facts = ", ".join(f"{name} {report[name]}" for name in ("replicas", "episodes", "digest", "cpu_s"))
            print(f"{told}seed {report['seed']}: {facts}", flush=True)
    return reds


def one(given: Namespace) -> tuple[bool, str, dict[str, object]]:
    """Whether a run was red, what is told of it, and its report."""
    run, error, began = Run(given.seed, given.days, given.skip, given.only), "", time.process_time()
    try:
        run.go()
        if run.fleet.broken and given.shorten:
            run = shortest(run)
    except Exception:  # noqa: BLE001 -- of the simulation itself, which other months do not have
        error = traceback.format_exc()
    story = list(run.fleet.world.story)
    if given.story:
        given.story.write_text("\n".join(story), "utf-8")
    is_red = bool(run.fleet.broken or error)
    broken = [f"{name}: {text}" for name, text in run.fleet.broken]
    told = "\n".join([*story[-LINES:], *broken, f"{error}red: python -m simulation {given.seed} --story FILE", ""])
    return is_red, told * is_red, {**run.report(), "cpu_s": round(time.process_time() - began, 1)}


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        # The order of sets must be the same in every run.
        command = [sys.executable, "-m", "simulation", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, "PYTHONHASHSEED": "0"})
    sys.exit(main())
