"""What must hold, whatever happens. It reads what readers get over HTTP, and shares no code with the service."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from xml.etree import ElementTree as ET

from kit.documents import day_of
from kit.http import Answered

from ratesvc.features.events.place import Place
from simulation.bank import DAY, EFFECTIVE, HOUR, ONE_DAY, Figures
from simulation.fleet import Fleet, Key, figures_of
from simulation.world import Process

AGREED_S = 6.0
"""So long after the last fault all replicas give the same bytes."""
PATIENCE_S, LOADING_S = 60.0, 900.0
NOTICED_S = 80 * 60.0
"""The service polls once an hour; another poll may have to confirm."""
ASKED_AGAIN_S = 28 * HOUR
"""The sheets of the last week are asked for once a day."""
LATE_HOUR = 18
"""In Moscow: when tomorrow's sheet is late."""
XML = "/scripts/XML_daily.asp"
NOW = ["/v1/rates", "/v1/rates/next", "/v1/metals", "/v1/key-rate", XML, "/frankfurter/v1/latest", "/widget?style=none"]
RECENT = timedelta(days=60)
WEEK = timedelta(days=7)
MOST_ASKED, MOST_ASKED_IN_TROUBLE, MOST_ASKED_FOR_ONE = 450, 1500, 100
"""Requests to both mirrors in a day. A sheet that is late all night costs 400. More for each replica in trouble, when
the Bank fails or what it says is held back; and for each day that a person withdrew, which is asked for hourly."""
TWO_HISTORIES = "replicas hold two histories"


def expected(today: date) -> date:
    """The day of the sheet that should be in force."""
    while today not in EFFECTIVE:
        today -= ONE_DAY
    return today


def judge_answer(fleet: Fleet, process: Process, path: str, answer: Answered) -> None:
    """What one reader gets, at any moment: the Bank's figures of that day, not too early, and not old in silence."""
    status, body = answer.status, answer.body
    if status >= 500 and status != 503:
        fleet.breaks("an answer is an error", f"{process.name} {path} {status} {body[:200]!r}")
    if path == "/health":
        _judge_health(fleet, process, json.loads(body)["checks"])
    elif status == 200 and path.startswith(("/v1/history.csv", XML)):
        for day, figures, is_latest in _sheets_of(path, body):
            _judge_sheet(fleet, f"{process.name} {path}", day, figures, is_latest=is_latest)
    elif status == 200 and path.startswith("/v1/"):
        document = json.loads(body, parse_float=str)
        for name, said_for, value in said_of(document):
            if not _has_said(fleet, name, date.fromisoformat(said_for), Decimal(value)):
                fleet.breaks("the Bank never said it", f"{process.name} {path} {name} {said_for} {value}")
        if "rates" in document:
            day = date.fromisoformat(document["effective_date"])
            _judge_sheet(fleet, f"{process.name} {path}", day, figures_of(document), is_latest="revision=" not in path)
            if path == "/v1/rates":
                _judge_today(fleet, process, day, is_stale=document["stale"])


def _sheets_of(path: str, body: bytes) -> list[tuple[date, Figures, bool]]:
    """The day and figures of each sheet, and whether it is the day's last one."""
    if path != XML:
        held = Held.of(body)
        return [(day, figures, number == held.latest.get(day)) for (day, number), figures in held.figures.items()]
    root = ET.fromstring(body)  # noqa: S314 -- our own service's answer
    rows = ([row.findtext(name, "") for name in ("CharCode", "Nominal", "Value")] for row in root)
    figures = ((code, int(nominal), Decimal(value.replace(",", ".")).normalize()) for code, nominal, value in rows)
    return [(day_of(root.attrib["Date"].replace(".", "/")), frozenset(figures), True)]


def said_of(document: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The name, the day and the value of each figure that is no rate of a currency."""
    if "prices" in document:
        return [(name, one["effective_date"], one["price"]) for name, one in document["prices"].items()]
    return [("rate", document["as_of"], document["rate"])] if "as_of" in document and "rate" in document else []


def _has_said(fleet: Fleet, name: str, day: date, value: Decimal) -> bool:
    """Ten times as much is believed if the Bank says it on two days."""
    said = fleet.bank.figures[name, day]
    now = {fleet.today()} if any(mirror.odd == "ten times" for mirror in fleet.mirrors) else set[date]()
    return value in said or (len(fleet.bank.tenfold_on | now) > 1 and value / 10 in said)


def _judge_sheet(fleet: Fleet, where: str, day: date, figures: Figures, *, is_latest: bool) -> None:
    if figures not in fleet.bank.allowed(day) and not fleet.excuses(day, is_latest=is_latest):
        fleet.breaks("the Bank never said it", f"{where} {day}")


def _judge_today(fleet: Fleet, process: Process, day: date, *, is_stale: bool) -> None:
    today = fleet.today(process)
    if day > today:
        fleet.breaks("a sheet is in force too early", f"{process.name} {day} on {today}")
    if is_stale and day >= expected(today):
        fleet.breaks("stale without a cause", f"{process.name} {day} on {today}")
    # Nobody looks soon for a day that has no sheet, as a later one shows.
    said = {other: ones[-1][0] for other, ones in fleet.bank.said.items() if other in EFFECTIVE}
    missed = {
        other
        for other, at in said.items()
        if day < other <= today and (other == max(said) or fleet.world.now - at > NOTICED_S)
    }
    if not is_stale and missed - fleet.ever_withdrawn - fleet.bank.taken_back.keys():
        fleet.breaks("old in silence", f"{process.name} {day} on {today}")


def _judge_health(fleet: Fleet, process: Process, checks: dict[str, Any]) -> None:
    """Whatever is not well has a cause, and what is stale is said."""
    bank, now, today = fleet.bank, fleet.world.now, fleet.today(process)
    quiet_s = now - max(fleet.hurt_at, process.began_at)
    due = today + ONE_DAY if (process.wall() + timedelta(hours=3)).hour >= LATE_HOUR else today
    days = {due - n * ONE_DAY for n in range(40)} & EFFECTIVE
    absent = (days - bank.said.keys()) | (days & (bank.taken_back.keys() | fleet.ever_withdrawn))
    # A mirror that fails alone is no news: the other one answers.
    well_s = 0.0 if fleet.is_hurt else now - max(fleet.well_since, process.began_at)
    changed_s = min(well_s, now - max(bank.changed_at, bank.slipped_at))
    # A correction of an older sheet is asked for once a day, and waits until the next poll.
    noticed_s = 25 * HOUR if checks["cbr:fetch"][0].get("observedValue") == "confirming" else 2 * NOTICED_S
    excused = {
        "cbr:sheet": absent or changed_s < NOTICED_S,
        "cbr:fetch": bank.slips or days & fleet.ever_withdrawn or changed_s < noticed_s,
        "cbr:mirrors": days & fleet.ever_withdrawn or min(quiet_s, changed_s) < 25 * HOUR,
        # A pool may still have a connection whose other end is gone: a call on it takes too long, and the next is well.
        "redis:connectivity": quiet_s < 2 * AGREED_S,
        "scheduler:lastRun": quiet_s < AGREED_S,
        "history:coverage": absent or quiet_s < ASKED_AGAIN_S,
        "quarantine:count": now - bank.slipped_at < 40 * DAY,
        "clock:skew": quiet_s < 2 * NOTICED_S,
        "metals:figures": absent or now - max(fleet.hurt_at, bank.changed_at) < 13 * HOUR,
        "keyrate:figures": absent or now - max(fleet.hurt_at, bank.changed_at) < 13 * HOUR,
    }
    for name, (check,) in checks.items():
        if check["status"] != "pass" and not excused.get(name):
            fleet.breaks("health complains without a cause", f"{process.name} {name} {check}")
    # A later sheet shows that the day has none.
    if today in EFFECTIVE and max(bank.said) < today and checks["cbr:sheet"][0]["status"] != "fail":
        fleet.breaks("health does not say what is missed", f"{process.name} {today}")


@dataclass
class Held:
    """What the replicas hold, as they say it themselves: the revisions of the last sixty days."""

    figures: dict[Key, Figures] = field(default_factory=dict)
    """Of each revision, those before the last among them."""
    latest: dict[date, int] = field(default_factory=dict)

    @classmethod
    def of(cls, history: bytes, sheets: bytes = b'{"rows": []}') -> Held:
        """From /v1/history.csv with all revisions, and /v1/sheets."""
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
    agreed_s: list[float] = field(default_factory=list)
    asked: list[tuple[int, bool]] = field(default_factory=list)
    """Requests to the Bank, each day; whether something was wrong."""
    asked_at: float = 0.0
    """When the last request came to the Bank."""

    def __post_init__(self) -> None:
        for mirror in self.fleet.mirrors:
            mirror.on_asked = self._asked

    def _asked(self) -> None:
        """A poll came. Whichever replica died, another one asks within the usual time."""
        fleet, now = self.fleet, self.fleet.world.now
        silent_s, self.asked_at = now - max(self.asked_at, fleet.hurt_at, fleet.well_since), now
        if silent_s > NOTICED_S:
            fleet.breaks("nobody asks the Bank", f"for {silent_s:.0f} s")

    def count_requests(self) -> None:
        """Once a day: whether the Bank was asked too often."""
        fleet = self.fleet
        asked = sum(mirror.asked for mirror in fleet.mirrors)
        if hurried := sum(mirror.hurried for mirror in fleet.mirrors):
            fleet.breaks("the Bank is asked too fast", f"{hurried} times")
        for mirror in fleet.mirrors:
            mirror.asked = mirror.hurried = 0
        today = fleet.today()
        waiting = sum(today - WEEK <= day for day in fleet.ever_withdrawn | fleet.bank.taken_back.keys())
        in_trouble = fleet.world.now - max(fleet.hurt_at, fleet.bank.slipped_at) < 25 * HOUR
        self.asked.append((asked, in_trouble))
        if asked > MOST_ASKED + waiting * MOST_ASKED_FOR_ONE + in_trouble * len(fleet.names) * MOST_ASKED_IN_TROUBLE:
            fleet.breaks("too many requests", f"{asked} a day, {waiting} days wait{', in trouble' * in_trouble}")
        fleet.world.around.loop.call_later(24 * HOUR, self.count_requests)

    def look(self) -> None:
        """What must hold at any moment: every replica that runs answers, and with nothing but what the Bank said."""
        fleet = self.fleet
        yesterday = fleet.today() - ONE_DAY
        paths = [*NOW, "/health", f"/v1/rates/{yesterday}", f"/v1/history.csv?since={yesterday - WEEK}&revisions=all"]
        running = {one.name: one for one in fleet.running() if fleet.world.now - one.began_at > PATIENCE_S}
        for name, answers in fleet.got(paths, running).items():
            if not running[name].is_running:
                continue
            for path, answer in zip(paths, answers, strict=True):
                if isinstance(answer, str):
                    fleet.breaks("a replica does not answer", f"{name} {path} {answer}")
                else:
                    judge_answer(fleet, running[name], path, answer)

    def forget(self) -> None:
        """Nobody knows any more what was there."""
        self.held = Held()
        for listener in self.fleet.listeners:
            listener.knows = listener.in_force = None
            place = Place.from_id(listener.last_id or "")
            listener.knew |= {stamp.day: stamp.number for stamp in place.sheets} if place else {}
            listener.told.clear()

    def check(self) -> None:
        """Everything that must hold between faults."""
        answers = self._agree()
        self.look()
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
        data = [f"/v1/history.csv?since={since}&revisions=all", f"/v1/sheets?since={since}"]
        paths = [*NOW, f"/v1/metals/{today - 3 * ONE_DAY}", "/v1/key-rate/changes", *days, *old, *data]
        world.run(AGREED_S)
        while True:
            answers = fleet.got(paths)
            first = answers[fleet.names[0]]
            different = [one for one in answers.values() if list(map(_told, one)) != list(map(_told, first))]
            took_s = world.now - begun
            whole = [one for one in first if not isinstance(one, str)]
            is_whole = len(whole) == len(paths) and all(one.status == 200 for one in whole[-2:])
            if not different and is_whole:
                break
            if not is_whole and world.now - fleet.hurt_at < LOADING_S:
                begun = world.now  # history is being fetched
            if took_s > PATIENCE_S:
                self._disagree(paths, answers)
                return None
            world.run(1)
        self.agreed_s.append(took_s)
        if took_s > 2 * AGREED_S:
            fleet.breaks("replicas do not agree in time", f"after {took_s:.0f} s")
        return whole[-2].body, whole[-1].body

    def _disagree(self, paths: list[str], answers: dict[str, list[Answered | str]]) -> None:
        names = self.fleet.names
        for n, path in enumerate(paths):
            shown = {name: _short(answers[name][n], answers[names[0]][n]) for name in names}
            if len(set(shown.values())) > 1 or isinstance(answers[names[0]][n], str):
                settled = {f"/v1/rates/{self.fleet.today() - n * ONE_DAY}" for n in range(8, 31)}
                name = TWO_HISTORIES if path in settled else "replicas do not agree"
                self.fleet.breaks(name, f"{path} {shown}")
                return

    def _check_figures(self, before: Held) -> None:
        fleet, held = self.fleet, self.held
        for (day, number), figures in held.figures.items():
            _judge_sheet(fleet, "held:", day, figures, is_latest=held.latest.get(day) == number)
            if held.latest.get(day) == number and figures in fleet.withdrawn.get(day, ()):
                fleet.breaks("a withdrawn sheet is back", f"{day}.{number}")
        since = fleet.today() - RECENT + ONE_DAY
        lost = [day for day in before.latest if day >= since and day not in held.latest]
        if lost := [day for day in lost if day not in fleet.ever_withdrawn | fleet.unknown]:
            fleet.breaks("a day is gone", str(lost[:5]))
        fleet.lost.clear()
        fleet.unknown.clear()

    def _check_days(self) -> None:
        """What is in force, and that each day of the last week has the Bank's last word, where it had time to come."""
        fleet, bank, now = self.fleet, self.fleet.bank, self.fleet.world.now
        today = fleet.today()
        if now - max(fleet.well_since, bank.changed_at) < NOTICED_S:
            return
        said = [day for day in bank.said if day not in bank.taken_back and day not in fleet.ever_withdrawn]
        in_force = max((day for day in self.held.latest if day <= today), default=None)
        right = max((day for day in said if day <= today), default=None)
        if right and (in_force is None or in_force < right):
            fleet.breaks("what is in force is old", f"{in_force}, not {right}")
        for day in said:
            at, last = bank.said[day][-1]
            patience_s = NOTICED_S if day == today or day == max(said) else ASKED_AGAIN_S
            if day < today - 6 * ONE_DAY or last.is_slip or now - max(at, fleet.well_since) < patience_s:
                continue
            if self.held.figures.get((day, self.held.latest.get(day, 0))) != last.figures:
                fleet.breaks("the Bank's last word is not heard", f"{day}, said {now - at:.0f} s ago")

    def _check_listeners(self) -> None:
        """Who follows the events knows the figures of every sheet. One that comes after a later one gives no event."""
        fleet, latest = self.fleet, {day: self.held.figures[day, number] for day, number in self.held.latest.items()}
        fleet.careful(6)
        for listener in fleet.listeners:
            process = listener.process
            if process is None or not process.is_running or fleet.world.now - listener.opened_at < 10:
                continue
            if listener.knows is None:
                listener.knows = dict(latest)
            newest = max(listener.knows, default=date.min)
            knew, numbers = listener.knew, self.held.latest.items()
            late = {day for day, number in numbers if (number == 1 and day < newest) or number <= knew.get(day, 0)}
            unknown = [day for day, figures in latest.items() if listener.knows.get(day) != figures]
            if lost := [str(day) for day in unknown if day not in late]:
                fleet.breaks("an event is lost", f"{listener.name} at {process.name} {lost[:3]}")
            if unknown:
                listener.knows = dict(latest)


def _told(one: Answered | str) -> Any:
    return one if isinstance(one, str) else (one.status, one["ETag"], one.body)


def _short(one: Answered | str, other: Answered | str) -> str:
    """An answer in short, from where it differs from another one."""
    if isinstance(one, str) or isinstance(other, str):
        return str(one)[:60]
    pairs = zip(one.body, other.body, strict=False)
    at = next((n for n, (a, b) in enumerate(pairs) if a != b), 0)
    return f"{one.status} {one['ETag']} {one.body[max(0, at - 60) : at + 60]!r}"
