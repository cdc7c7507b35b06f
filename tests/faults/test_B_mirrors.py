"""Table B: mirrors that lie, lag or fail beside others. golden/mirrors.txt has the stories."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from conftest import Clock, Serve, Served, first
from kit import cases
from kit.bank import Bank, bank_running, unavailable
from kit.dates import DAYS
from kit.sheets import changed, plausible, times
from structlog.testing import capture_logs

from ratesvc.domain.workdays import WorkCalendar

SAID = ("sheet_held_back", "sheet_taken_back", "fetch_failed", "mirror_differs", "mirror_back")


@dataclass
class Story:
    """Mirrors by their letter, how each behaves, and a service that asks them. The days are those of a calendar."""

    clock: Clock
    banks: dict[str, Bank]
    days: list[date] = field(default_factory=lambda: DAYS[-8:])
    states: dict[str, list[str]] = field(default_factory=dict)
    served: Served | None = None

    def becomes(self, name: str, *state: str) -> None:
        """It is right, down, lies about the newest euro, has a corrected or slipped zloty, lags, or lost the newest."""
        bank, self.states[name] = self.banks[name], [*state]
        bank.documents.clear()
        bank.series.clear()
        bank.misbehave = unavailable if "down" in state else None
        lag = next((int(word) for word in state if word.isdigit()), 0)
        *older, newest = (plausible(day) for day in self.days[: len(self.days) - lag])
        factors = {"lies": {"EUR": times("1.01")}, "corrected": {"PLN": times("1.01")}, "slipped": {"PLN": times("10")}}
        bank.publish(*older, changed(newest, **factors.get(state[0], {})))

    def next_day(self) -> None:
        """The evening before the next working day's sheet takes effect: each mirror has it, as it behaves."""
        day = WorkCalendar().effective_date_after(self.days[-1])
        self.days.append(day)
        self.clock.moment = datetime(day.year, day.month, day.day, 15, 30, tzinfo=UTC) - timedelta(days=1)
        for name, state in self.states.items():
            self.becomes(name, *state)

    def named(self, text: str) -> str:
        """The letters of the mirrors for their addresses."""
        for name, bank in self.banks.items():
            text = text.replace(bank.url.removeprefix("http://"), name)
        return text

    def told(self, line: Mapping[str, Any]) -> str:
        """An event of the log in a few words."""
        words = (line.get(key) for key in ("host", "effective_date", "revision", "flags", "to", "why", "error"))
        return self.named(" ".join(str(word) for word in (line["event"], *words) if word)).partition(" beginning")[0]


async def polls(story: Story, count: int) -> list[str]:
    """What is told during so many polls, but for sheets that come as they should."""
    assert story.served
    with capture_logs() as logged:
        for _ in range(count):
            story.clock.advance(minutes=4)
            await story.served.service.poll()
            await story.served.filled()
    return [f"poll: {story.told(line)}" for line in logged if line["event"] in SAID or line.get("flags")]


async def step(story: Story, word: str) -> list[str]:
    """One step, and what is told during it."""
    match word.split():
        case ["poll", *count]:
            return await polls(story, int(*count or "1"))
        case ["evening"]:
            story.next_day()
        case ["week"]:
            told = []
            for _ in range(6):
                story.next_day()
                told += await polls(story, 3)
                story.clock.advance(hours=18)
                told += await polls(story, 2)
            dayless = Counter(re.sub(r"[0-9-]{10}", "that day", line) for line in told)
            return [f"{line}, {count} times" for line, count in dayless.items()]
        case ["quarantine"]:
            assert story.served
            waiting = await story.served.service.quarantine.cases()
            return [f"quarantine: {case.effective_date} {' '.join(case.reasons)}" for case in waiting] or ["none waits"]
        case ["health"]:
            assert story.served
            checks = story.served.service.health()
            said = [checks[name].get("output") for name in ("cbr:sheet", "cbr:fetch")]
            said += [story.named(f"{host} {what}") for host, what in checks["cbr:mirrors"]["mirrors"].items()]
            return [f"health: {line}" for line in said if line]
        case [name, *state]:
            story.becomes(name, *state)
    return []


@pytest.fixture
async def story(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Story]:
    monkeypatch.setattr("ratesvc.service.telemetry.LOG_AGAIN_S", 0.0)
    async with AsyncExitStack() as stack:
        yield Story(clock, {name: await stack.enter_async_context(bank_running()) for name in "ABC"})


@pytest.mark.parametrize("question", first(12, cases.questions("mirrors.txt")))
async def test_B22_mirrors_differ(question: str, story: Story, serve: Serve) -> None:
    """One of several mirrors lies, lags or fails: it is told, corrects nothing, and takes nothing back."""
    start, *steps = question.split("; ")
    mirrors = [one.split() for one in start.split(", ")]
    for name, *state in mirrors:
        story.becomes(name, *state)
    async with serve(cbr={"mirrors": tuple(story.banks[name].url for name, *_ in mirrors)}) as story.served:
        await story.served.filled()
        said = [line for word in steps for line in await step(story, word)]
        for day in story.days:
            held, right = story.served.held(day), plausible(day)
            if held.number > 1 or not held.sheet.says_the_same_as(right):
                said.append(f"{day} has revision {held.number}" + ", wrong" * (not held.sheet.says_the_same_as(right)))
    cases.check_one("mirrors.txt", question, "\n".join(said) or "nothing is said")
