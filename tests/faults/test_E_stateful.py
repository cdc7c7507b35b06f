"""Table E, row 9: whatever happens in whatever order, no answer is wrong, and in the end everything is right again."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from conftest import in_faults
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from world import CORRUPTIONS, World

from ratesvc.domain.workdays import ONE_DAY

STORIES = int(os.environ.get("RATESVC_STORIES", "20"))
HAPPENINGS = 50 if "RATESVC_STORIES" in os.environ else 20


class Happenings(RuleBasedStateMachine):
    """One rule after the other; between two of them the world stands still."""

    folder: Path

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.world = World(self.folder)
        self.do(self.world.open())

    def do(self, work: Coroutine[Any, Any, None]) -> None:
        self.runner.run(work)

    def teardown(self) -> None:
        try:
            self.do(self.world.settles())
        finally:
            self.do(self.world.close())
            self.runner.close()

    @precondition(lambda self: self.world.following <= self.world.today + ONE_DAY)
    @rule()
    def the_bank_publishes(self) -> None:
        self.world.publishes()

    @rule(kopecks=st.integers(-300, 300))
    def the_bank_revises(self, kopecks: int) -> None:
        self.world.revises(kopecks)

    @rule(corruption=st.sampled_from(CORRUPTIONS))
    def the_bank_errs(self, corruption: Any) -> None:
        self.world.errs(corruption)

    @rule()
    def the_bank_refuses(self) -> None:
        self.world.refuses()

    @rule()
    def the_bank_recovers(self) -> None:
        self.world.recovers()

    @rule()
    def the_service_polls(self) -> None:
        self.do(self.world.polls())

    @rule()
    def a_person_fetches(self) -> None:
        self.do(self.world.fetches())

    @rule(hours=st.sampled_from([1, 5, 12, 24, 72]))
    def time_passes(self, hours: int) -> None:
        self.do(self.world.passes(hours))

    @precondition(lambda self: self.world.redis_answers)
    @rule()
    def redis_is_flushed(self) -> None:
        self.world.flushes_redis()

    @precondition(lambda self: self.world.redis_answers)
    @rule()
    def redis_stops(self) -> None:
        self.world.stops_redis()

    @precondition(lambda self: self.world.redis.process)
    @rule()
    def redis_is_killed(self) -> None:
        self.world.kills_redis()

    @precondition(lambda self: not self.world.redis_answers)
    @rule()
    def redis_is_back(self) -> None:
        self.world.has_redis_again()

    @rule()
    def the_service_restarts(self) -> None:
        self.do(self.world.restarts())

    @invariant()
    def every_answer_is_right(self) -> None:
        self.do(self.world.looks())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # connections cut by a killed Redis
@pytest.mark.usefixtures("torn")
@pytest.mark.parametrize("stories", [3, *in_faults(STORIES)])
def test_E9_anything_in_any_order(tmp_path: Path, stories: int) -> None:
    """The Bank publishes, corrects and errs, midnights pass, Redis dies and forgets, the service restarts.

    `RATESVC_STORIES` says how many stories `make faults` tells, of 50 happenings each.
    """
    machine = type("Happenings", (Happenings,), {"folder": tmp_path})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=stories,
            stateful_step_count=HAPPENINGS,
            deadline=None,
            print_blob=True,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
