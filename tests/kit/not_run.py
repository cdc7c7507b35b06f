"""Says at the end of a run how many tests did not run, why, and how to make them run; and the seed of the order."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path
from typing import NoReturn

import pytest

MARK = "NOT RUN: "
LACKS = " is missing"
NOT_HERE = "no package brings it: "


class NotRun:
    """Collects the report of every test. With several processes it runs on the controller."""

    def __init__(self) -> None:
        self._ran: set[str] = set()
        self._reasons: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test ran if its body was called, or something failed before it."""
        if report.skipped and not hasattr(report, "wasxfail"):
            self._reasons[report.nodeid] = reason(report.longrepr)
        elif report.when == "call" or report.failed:
            self._ran.add(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A whole file, or class, that was skipped while tests were collected."""
        if report.skipped:
            self._reasons[report.nodeid] = f"{reason(report.longrepr)} (all of {report.nodeid})"

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
        """One line, just above pytest's closing line, and one for the seed."""
        seed = config.getoption("randomly_seed", None)
        terminalreporter.write_line(
            "order as written" if seed is None else f"random seed {seed}; ARGS=--randomly-seed={seed} is the same order"
        )
        session = terminalreporter._session  # noqa: SLF001 -- how many were collected stands nowhere else
        reasons = Counter(self._reasons.values())
        never = session.testscollected - len(self._ran | self._reasons.keys()) if session else 0
        if never > 0 and not config.option.collectonly:
            reasons["the run ended before them"] += never
        if reasons:
            terminalreporter.write_line(told(reasons), yellow=True)


def told(reasons: Counter[str]) -> str:
    """How many tests did not run, why, and how to make them run."""
    lacking = {why.removesuffix(LACKS): count for why, count in reasons.items() if why.endswith(LACKS)}
    said = [f"{count} because {why}" for why, count in reasons.most_common() if not why.endswith(LACKS)]
    if lacking:
        needs = f"{sum(lacking.values())} need {', '.join(sorted(lacking))}"
        said.insert(0, f"{needs}, which .ci/install installs on Debian and Ubuntu")
    return f"! {reasons.total()} tests did not run: {'; '.join(said)}"


def reason(longrepr: object) -> str:
    """The text given to pytest.skip, or of the mark."""
    text = str(longrepr[2]) if isinstance(longrepr, tuple) else str(longrepr)
    return text.removeprefix("Skipped: ").removeprefix(MARK)


def missing(what: str) -> NoReturn:
    """Skip a test that cannot run here. The end of the run counts it, and TEST_ALL lets it fail."""
    pytest.skip(f"{MARK}{what} is missing")


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
