"""Says at the end of a run how many tests did not run, why, and how to make them run; and the seed of the order."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import NoReturn

import pytest

MARK = "NOT RUN: "
LACKS = " is missing"
NOT_HERE = "no package brings it: "


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """One line, just above pytest's closing line, and one for the seed."""
    seed = config.getoption("randomly_seed", None)
    terminalreporter.write_line(
        "order as written" if seed is None else f"random seed {seed}; ARGS=--randomly-seed={seed} is the same order"
    )
    reasons = Counter(reason(report.longrepr) for report in terminalreporter.stats.get("skipped", ()))
    lacking = {why.removesuffix(LACKS): count for why, count in reasons.items() if why.endswith(LACKS)}
    said = [f"{count} because {why}" for why, count in reasons.most_common() if not why.endswith(LACKS)]
    if lacking:
        needs = f"{sum(lacking.values())} need {', '.join(sorted(lacking))}"
        said.insert(0, f"{needs}, which .ci/install installs on Debian and Ubuntu")
    if said:
        terminalreporter.write_line(f"! {reasons.total()} tests did not run: {'; '.join(said)}", yellow=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Under TEST_ALL a test that would skip fails, whichever way it skips."""
    report = yield
    if os.environ.get("TEST_ALL") and report.skipped and not hasattr(report, "wasxfail"):
        why = reason(report.longrepr)
        if NOT_HERE not in why:
            report.outcome, report.longrepr = "failed", f"{why}, and TEST_ALL forbids to skip"
    return report


def reason(longrepr: object) -> str:
    """The text given to pytest.skip, or of the mark."""
    text = str(longrepr[2]) if isinstance(longrepr, tuple) else str(longrepr)
    return text.removeprefix("Skipped: ").removeprefix(MARK)


def missing(what: str) -> NoReturn:
    """Skip a test that cannot run here. The end of the run counts it, and TEST_ALL lets it fail."""
    pytest.skip(f"{MARK}{what}{LACKS}")


def not_here(what: str) -> NoReturn:
    """Skip a test of something that no checkout and no package brings, and count it at the end."""
    pytest.skip(f"{MARK}{NOT_HERE}{what}")


def path_of(*names: str) -> str | None:
    """The path of the first of these programs that is installed. Servers may be in the sbin beside PATH's bin."""
    places = [Path(place) for place in os.environ["PATH"].split(os.pathsep)]
    path = os.pathsep.join(map(str, [*places, *(place.with_name("sbin") for place in places if place.name)]))
    return next(filter(None, (shutil.which(name, path=path) for name in names)), None)


def program(*names: str) -> str:
    """The same for a program that the test needs. Without it the test is skipped."""
    return path_of(*names) or missing(names[0])
