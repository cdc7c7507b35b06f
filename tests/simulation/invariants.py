"""What must hold, whatever happens. It reads what readers get over HTTP, and shares no code with the service."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from simulation.bank import EFFECTIVE, HOUR, ONE_DAY, Figures
from simulation.fleet import Answer, Fleet, Key, figures_of
from simulation.world import Process

AGREED_S = 6.0
"""So long after the last fault all replicas give the same bytes."""
PATIENCE_S = 60.0
NOTICED_S = 80 * 60.0
"""The service polls once an hour; another poll may have to confirm."""
ASKED_AGAIN_S = 28 * HOUR
"""The sheets of the last week are asked for once a day."""
RECENT = timedelta(days=60)
WEEK = timedelta(days=7)
MOST_ASKED, MOST_ASKED_IN_TROUBLE, MOST_ASKED_AFTER_A_WITHDRAWAL = 300, 1500, 300
"""Requests to both mirrors in a day, for each replica in trouble: the Bank fails, or what it says is held back."""
EXPECTED = {
    "too many requests after a withdrawal": "every poll hurries while a person's decision stands",
}
"""What does not hold today, and is known. Whoever mends it takes it out."""


def expected(today: date) -> date:
    """The day of the sheet that should be in force."""
    while today not in EFFECTIVE:
        today -= ONE_DAY
    return today


def judge_answer(fleet: Fleet, process: Process, path: str, answer: Answer) -> None:
    """What one reader gets, at any moment: the Bank's figures of that day, not too early, and not old in silence."""
    status, _, body = answer
    if status >= 500 and status != 503:
        fleet.breaks("an answer is an error", f"{process.name} {path} {status} {body[:200]!r}")
    if status != 200:
        return
    document = json.loads(body, parse_float=str)
    day, figures = date.fromisoformat(document["effective_date"]), figures_of(document)
    if figures not in fleet.bank.allowed(day):
        fleet.breaks("the Bank never said it", f"{process.name} {path} {day}")
    if path != "/v1/rates":
        return
    today = fleet.today(process)
    if day > today:
        fleet.breaks("a sheet is in force too early", f"{process.name} {day} on {today}")
    if document["stale"] and day >= expected(today):
        fleet.breaks("stale without a cause", f"{process.name} {day} on {today}")
    missed = {other for other in fleet.bank.said if day < other <= today and other in EFFECTIVE}
    if not document["stale"] and missed - fleet.ever_withdrawn - fleet.bank.taken_back.keys():
        fleet.breaks("old in silence", f"{process.name} {day} on {today}")


@dataclass
class Held:
    """What the replicas hold, as they say it themselves: the revisions of the last sixty days."""

    figures: dict[Key, Figures] = field(default_factory=dict)
    """Of each revision, those before the last among them."""
    latest: dict[date, int] = field(default_factory=dict)

    @classmethod
    def of(cls, sheets: bytes, history: bytes) -> Held:
        """From /v1/sheets and /v1/history.csv with all revisions."""
        rows: defaultdict[Key, set[tuple[str, int, Decimal]]] = defaultdict(set)
        for row in csv.DictReader(history.decode("utf-8-sig").splitlines()):
            key = date.fromisoformat(row["effective_date"]), int(row["revision"])
            rows[key].add((row["code"], int(row["nominal"]), Decimal(row["value"]).normalize()))
        latest = {
            date.fromisoformat(row["effective_date"]): row["revision"]
            for row in json.loads(sheets)["rows"]
            if "withdrawn" not in row
        }
        return cls({key: frozenset(found) for key, found in rows.items()}, latest)


@dataclass
class Watch:
    """The checks of one run, and what they remember."""

    fleet: Fleet
    held: Held = field(default_factory=Held)
    """At the last check."""
    well_since: float = 0.0
    """Since when neither the Bank nor the way to it had a fault."""
    last_fault_at: float = 0.0
    agreed_s: list[float] = field(default_factory=list)
    asked: list[tuple[int, bool, bool]] = field(default_factory=list)
    """Requests to the Bank, each day; whether a person had withdrawn a sheet, and whether something was wrong."""

    def count_requests(self) -> None:
        """Once a day: whether the Bank was asked too often."""
        fleet = self.fleet
        asked = sum(mirror.asked for mirror in fleet.mirrors)
        for mirror in fleet.mirrors:
            mirror.asked = 0
        today = fleet.today()
        has_waited = any(today - WEEK <= day for day in fleet.ever_withdrawn)
        in_trouble = fleet.world.now - max(self.last_fault_at, fleet.bank.slipped_at) < 25 * HOUR
        self.asked.append((asked, has_waited, in_trouble))
        if has_waited:
            if asked > MOST_ASKED_AFTER_A_WITHDRAWAL + in_trouble * MOST_ASKED_IN_TROUBLE:
                fleet.breaks("too many requests after a withdrawal", f"{asked} a day")
        elif asked > (MOST_ASKED_IN_TROUBLE * len(fleet.names) if in_trouble else MOST_ASKED):
            fleet.breaks("too many requests", f"{asked} a day{', in trouble' if in_trouble else ''}")
        fleet.world.around.loop.call_later(24 * HOUR, self.count_requests)

    def check(self) -> None:
        """Everything that must hold between faults."""
        answers = self._agree()
        if answers is None:
            return
        before, self.held = self.held, Held.of(*answers)
        self._check_figures(before)
        self._check_days()
        self._check_listeners()

    def _agree(self) -> tuple[bytes, bytes] | None:
        """All replicas give the same bytes and tags. Returns what they hold; None if they do not agree."""
        fleet, world = self.fleet, self.fleet.world
        today, begun = fleet.today(), world.now
        old = [f"/v1/rates/{day}?revision={number}" for day, number in sorted(self.held.figures) if number > 1][-2:]
        days = [f"/v1/rates/{today - n * ONE_DAY}" for n in fleet.chance.sample(range(1, 30), 3)]
        since = today - RECENT
        data = [f"/v1/sheets?since={since}", f"/v1/history.csv?since={since}&revisions=all"]
        paths = ["/v1/rates", "/v1/rates/next", *days, *old, *data]
        world.run(AGREED_S)
        while True:
            answers = fleet.got(paths)
            first = answers[fleet.names[0]]
            different = [one for one in answers.values() if list(map(_told, one)) != list(map(_told, first))]
            took_s = world.now - begun
            if not different and all(not isinstance(one, str) for one in first):
                break
            if took_s > PATIENCE_S:
                self._disagree(paths, answers)
                return None
            world.run(1)
        self.agreed_s.append(took_s)
        if took_s > 2 * AGREED_S:
            fleet.breaks("replicas do not agree in time", f"after {took_s:.0f} s")
        status_and_bodies = [one for one in first if not isinstance(one, str)]
        return status_and_bodies[-2][2], status_and_bodies[-1][2]

    def _disagree(self, paths: list[str], answers: dict[str, list[Answer | str]]) -> None:
        names = self.fleet.names
        for n, path in enumerate(paths):
            shown = {name: _short(answers[name][n], answers[names[0]][n]) for name in names}
            if len(set(shown.values())) > 1 or isinstance(answers[names[0]][n], str):
                self.fleet.breaks("replicas do not agree", f"{path} {shown}")
                return

    def _check_figures(self, before: Held) -> None:
        fleet, held = self.fleet, self.held
        for (day, number), figures in held.figures.items():
            if figures not in fleet.bank.allowed(day):
                fleet.breaks("the Bank never said it", f"held: {day}.{number}")
            if held.latest.get(day) == number and figures in fleet.withdrawn.get(day, ()):
                fleet.breaks("a withdrawn sheet is back", f"{day}.{number}")
        since = fleet.today() - RECENT + ONE_DAY
        lost = [day for day in before.latest if day >= since and day not in held.latest]
        if lost := [day for day in lost if day not in fleet.ever_withdrawn]:
            fleet.breaks("a day is gone", str(lost[:5]))

    def _check_days(self) -> None:
        """What is in force, and that each day of the last week has the Bank's last word, where it had time to come."""
        fleet, bank, now = self.fleet, self.fleet.bank, self.fleet.world.now
        today = fleet.today()
        if now - max(self.well_since, bank.changed_at) < NOTICED_S:
            return
        said = [day for day in bank.said if day not in bank.taken_back and day not in fleet.ever_withdrawn]
        in_force = max((day for day in self.held.latest if day <= today), default=None)
        right = max((day for day in said if day <= today), default=None)
        if right and (in_force is None or in_force < right):
            fleet.breaks("what is in force is old", f"{in_force}, not {right}")
        for day in said:
            at, last = bank.said[day][-1]
            patience_s = NOTICED_S if day == today or day == max(said) else ASKED_AGAIN_S
            if day < today - 6 * ONE_DAY or last.is_slip or now - max(at, self.well_since) < patience_s:
                continue
            if self.held.figures.get((day, self.held.latest.get(day, 0))) != last.figures:
                fleet.breaks("the Bank's last word is not heard", f"{day}, said {now - at:.0f} s ago")

    def _check_listeners(self) -> None:
        """Who follows the events knows the figures of every sheet."""
        fleet, latest = self.fleet, {day: self.held.figures[day, number] for day, number in self.held.latest.items()}
        fleet.careful(6)
        for listener in fleet.listeners:
            process = listener.process
            if process is None or not process.is_running or fleet.world.now - listener.opened_at < 10:
                continue
            if listener.knows is None:
                listener.knows = dict(latest)
            unknown = [str(day) for day, figures in latest.items() if listener.knows.get(day) != figures]
            if unknown:
                fleet.breaks("an event is lost", f"{listener.name} at {process.name} {unknown[:3]}")
                listener.knows = dict(latest)


def _told(one: Answer | str) -> Any:
    return one if isinstance(one, str) else (one[0], one[1].get("ETag"), one[2])


def _short(one: Answer | str, other: Answer | str) -> str:
    """An answer in short, from where it differs from another one."""
    if isinstance(one, str) or isinstance(other, str):
        return str(one)[:60]
    pairs = zip(one[2], other[2], strict=False)
    at = next((n for n, (a, b) in enumerate(pairs) if a != b), 0)
    return f"{one[0]} {one[1].get('ETag')} {one[2][max(0, at - 60) : at + 60]!r}"
