"""What a failed test says."""

from __future__ import annotations

import re

import pytest
from conftest import Served, eventually, golden


async def test_a_condition_that_is_not_met_is_named_with_what_the_service_last_did(served: Served) -> None:
    """The line of the test, the last refresh and its outcome, what is held, and how Redis is."""
    with pytest.raises(AssertionError) as caught:
        await eventually(lambda: served.service.publisher.current is None, patience_s=0)
    condition, service = str(caught.value).splitlines()
    assert "eventually(lambda: served.service.publisher.current is None" in condition
    assert re.search(r"\(test_harness\.py:[0-9]+\)$", condition)
    assert service.startswith("served: last refresh new; 2 sheets, the newest 2026-04-24;")
    assert service.endswith("Redis up")


async def test_a_method_that_is_waited_for_is_named(served: Served) -> None:
    """Not only lambdas."""
    with pytest.raises(AssertionError, match=r"async def ready\(self\)"):
        await eventually(served.ready, patience_s=0)


def test_a_golden_file_shows_what_changed_and_how_to_renew_it() -> None:
    """A difference line by line, also of an SVG that is one line."""
    with pytest.raises(pytest.fail.Exception) as caught:
        golden("chart/none.svg", "<svg><text>1</text><text>2</text></svg>")
    said = str(caught.value)
    assert "+<text>2</text>" in said
    assert said.endswith("UPDATE_GOLDEN=1.")
