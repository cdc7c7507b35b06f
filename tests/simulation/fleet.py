"""A fleet: replicas of the real `ratesvc serve`, their Redis and their Bank; readers, listeners and a person."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from kit.http import Answered, answer_from, connected, get

from ratesvc.commands.quarantine import decide, withdraw
from ratesvc.commands.serve import serve
from ratesvc.config import Cbr, Log, Redis, Server, Settings
from simulation.bank import DATED, HOUR, ONE_DAY, Bank, Figures, Mirror
from simulation.redis_server import RedisServer
from simulation.world import Process, World

REDIS = ("10.0.2.1", 6379)
MIRRORS = {"bank-a": ("10.0.1.1", 80), "bank-b": ("10.0.1.2", 80)}
PORT = 8080
CALM = 1600.0
"""How many times slower idle work is repeated while nothing happens: a look into Redis each forty minutes."""
CAREFUL = ((1.0, 20.0), (8.0, 240.0), (60.0, 2 * HOUR), (400.0, float("inf")))
"""After an event: the pace, and how many seconds it lasts."""
HISTORY = timedelta(days=130)
OPEN = timedelta(days=8)
"""So long a day's sheet is what its document says. The Bank's series come afterwards."""

Key = tuple[date, int]
"""The day and the number of a revision."""
GONE = (OSError, TimeoutError, asyncio.IncompleteReadError)


@dataclass
class Listener:
    """A reader of /v1/events that comes back with the id of its last event, by a balancer that picks any replica."""

    name: str
    process: Process | None = None
    last_id: str | None = None
    knows: dict[date, Figures] | None = None
    """The figures of each sheet; None before it has fetched everything, and after a reset."""
    told: set[Key] = field(default_factory=set)
    """The revisions that it was told of since then."""
    knew: dict[date, int] = field(default_factory=dict)
    """The last of each day before everything was forgotten. It gets no event for those up to that number."""
    in_force: date | None = None
    opened_at: float = 0.0


class Fleet:
    def __init__(self, seed: int, replicas: int) -> None:
        chance = random.Random(f"{seed} begin")
        begins = datetime.fromisoformat(f"{chance.choice(DATED[4700:6200])}T09:00:00+00:00")
        self.world = world = World(seed, begins)
        self.chance = random.Random(f"{seed} readers")
        for name, address in {"redis": REDIS, **MIRRORS}.items():
            Process(world, name, address[0])
        self.redis = RedisServer(world, REDIS)
        self.mirrors = [Mirror(world, address, name) for name, address in MIRRORS.items()]
        self.bank = Bank(world, self.mirrors)
        self.names = [f"r{n}" for n in range(replicas)]
        self.processes: dict[str, Process] = {}
        self.skews = dict.fromkeys(self.names, 0.0)
        self.listeners = [Listener("l0"), Listener("l1")]
        self.withdrawn: defaultdict[date, set[Figures]] = defaultdict(set)
        """What a person took back and did not release."""
        self.ever_withdrawn: set[date] = set()
        self.began_amid: set[date] = set()
        """The days that a first start fetched amid wrong figures. It serves those until it has the Bank's series."""
        self.lost, self.unknown = set[date](), set[date]()
        """The days whose sheets Redis lost since the last check, and those of which no replica lived that knew them."""
        self.broken: list[tuple[str, str]] = []
        """What did not hold: its name, and the facts."""
        self.is_hurt = False
        """Whether a fault that goes on may keep the replicas from what the Bank says."""
        self.well_since = 0.0
        """When the last such fault ended."""
        self.hurt_at = 0.0
        """When the last fault ended, or now."""
        self.counts: Counter[str] = Counter()
        self.on_answer: Callable[[Process, str, Answered], None] = lambda *_: None
        """Gets what a reader got, at any time."""
        self.on_forget: Callable[[], None] = lambda: None
        self.look: Callable[[], None] = lambda: None
        """Looks at all replicas, while something is wrong."""
        self._commands = 0
        world.on_error = lambda who, text: self.breaks("something died", f"{who} {text}")

    def breaks(self, name: str, text: str) -> None:
        """An invariant does not hold."""
        self.world.note("check", f"{name}: {text}")
        self.broken.append((name, f"{self.world.time():%F %T} {text}"))

    # Time

    def calm(self, seconds: float) -> None:
        """Let time pass in which no fault happens."""
        self._pass(CALM, seconds)
        self.careful(5)

    def careful(self, seconds: float) -> None:
        """Let time pass at the real pace at first, then faster, and never as fast as in calm times."""
        for pace, most in CAREFUL:
            part = min(seconds, most)
            self._pass(pace, part)
            seconds -= part
            if part > 1:
                self.look()
            if seconds <= 0:
                break
        self._set_pace(1.0)

    def _pass(self, pace: float, seconds: float) -> None:
        self._set_pace(pace)
        self.world.run(seconds)

    def _set_pace(self, pace: float) -> None:
        is_faster = pace < self.world.pace
        self.world.set_pace(pace)
        if is_faster:
            self.redis.hurry()

    def today(self, process: Process | None = None) -> date:
        """The day in Moscow by the clock of this process."""
        return ((process.wall() if process else self.world.time()) + timedelta(hours=3)).date()

    # Replicas

    def settings(self) -> Settings:
        return Settings(
            data_dir="/nonexistent",
            server=Server(host="0.0.0.0", port=PORT, public_url="https://rates.example"),  # noqa: S104 -- nothing is bound
            redis=Redis(url=f"redis://{REDIS[0]}:{REDIS[1]}"),
            cbr=Cbr(mirrors=tuple(f"http://{ip}" for ip, _ in MIRRORS.values())),
            log=Log(format="json"),
        )

    def start(self, name: str) -> None:
        self.forget()
        ip = f"10.0.0.{self.names.index(name) + 1}"
        process = Process(self.world, name, ip, is_replica=True, skew_s=self.skews[name])
        self.world.off.discard(ip)
        self.processes[name] = process
        process.start(serve(self.settings(), demo=False))

    def kill(self, name: str, *, silently: bool = False) -> None:
        """kill -9; silently it is a loss of power."""
        process = self.processes[name]
        process.kill(silently=silently)
        if silently:
            self.world.off.add(process.ip)

    def forget(self) -> None:
        """If Redis is empty and no replica lives, nobody knows what a person decided, or which revisions there were."""
        if not all(process.is_dead for process in self.processes.values()):
            return
        self.unknown |= self.lost
        # A command of a dying replica may still reach an empty Redis, and leaves a column that says nothing.
        if not any(key.endswith((b":sheets", b":coverage")) for key in self.redis.data):
            self.withdrawn.clear()
            if self.bank.slips or any(mirror.spoil for mirror in self.mirrors):
                self.began_amid |= {day for day in self.bank.said if day >= self.today() - OPEN}
            self.on_forget()

    def excuses(self, day: date, *, is_latest: bool = True) -> bool:
        """Whether a first start amid wrong figures explains those of this day. An old revision keeps them."""
        return day in self.began_amid and (not is_latest or day >= self.today() - 2 * OPEN)

    def begin(self) -> None:
        """The Bank has said some months of sheets; all replicas start, and history is loaded."""
        world = self.world
        today = self.today()
        self.bank.has_said(today - HISTORY, today)
        midnight = 24 * HOUR - (world.time() + timedelta(hours=3)).hour * HOUR
        world.around.loop.call_at(world.now + midnight, self.bank.live)
        for name in self.names:
            self.start(name)
        self.careful(900)
        for listener in self.listeners:
            world.around.loop.call_soon(world.around.loop.create_task, self._listen(listener))
        world.around.loop.call_soon(world.around.loop.create_task, self._read())
        self.careful(10)

    def running(self) -> list[Process]:
        return [process for process in self.processes.values() if process.is_running]

    # Readers

    async def get(self, process: Process, path: str) -> Answered:
        """One request without keep-alive. Raises GONE."""
        request = get(path, "Connection: close", host="rates.example")
        async with asyncio.timeout(5), connected(f"http://{process.ip}:{PORT}") as (reader, writer):
            writer.write(request)
            return await answer_from(reader, request)

    def got(self, paths: Iterable[str], names: Iterable[str] | None = None) -> dict[str, list[Answered | str]]:
        """What these replicas, or all, answer to these paths; the name of an error where one does not."""
        asked = self.names if names is None else list(names)

        async def one(process: Process) -> list[Answered | str]:
            answers: list[Answered | str] = []
            for path in paths:
                try:
                    answers.append(await self.get(process, path))
                except GONE as error:
                    answers.append(type(error).__name__)
            return answers

        async def everyone() -> list[list[Answered | str]]:
            return await asyncio.gather(*(one(self.processes[name]) for name in asked))

        return dict(zip(asked, self.world.ask(everyone()), strict=True))

    async def _read(self) -> None:
        """Somebody asks some replica for something, at any time."""
        while True:
            mean_s = 20.0 if self.world.pace == 1 else 2 * HOUR
            await asyncio.sleep(self.chance.expovariate(1 / mean_s))
            process = self.processes[self.chance.choice(self.names)]
            day = self.today(process) - self.chance.randrange(1, 12) * ONE_DAY
            path = self.chance.choice(["/v1/rates", "/v1/rates", "/v1/rates/next", f"/v1/rates/{day}"])
            if process.is_dead:
                continue
            try:
                answer = await self.get(process, path)
            except GONE as error:
                self.counts[f"reader {type(error).__name__}"] += 1
                continue
            self.counts[f"reader {answer.status}"] += 1
            self.on_answer(process, path, answer)

    async def _listen(self, listener: Listener) -> None:
        while True:
            process = self.processes[self.chance.choice(self.names)]
            with contextlib.suppress(*GONE):
                await self._stream(listener, process)
            listener.process = None
            await asyncio.sleep(3 if self.running() else 600)

    async def _stream(self, listener: Listener, process: Process) -> None:
        known = [f"Last-Event-ID: {listener.last_id}"] if listener.last_id else []
        request = get("/v1/events", *known, host="rates.example")
        async with asyncio.timeout(5) as limit, connected(f"http://{process.ip}:{PORT}") as (reader, writer):
            writer.write(request)
            await answer_from(reader, request)
            limit.reschedule(None)
            listener.process, listener.opened_at = process, self.world.now
            event: dict[str, str] = {}
            while True:
                # A comment comes every fifteen seconds.
                async with asyncio.timeout(40 * self.world.pace):
                    line = (await reader.readline()).decode()
                if not line:
                    return
                name, separator, value = line.rstrip("\r\n").partition(": ")
                if separator:
                    event[name] = value
                    listener.last_id = event.get("id", listener.last_id)
                elif line == "\n" and "event" in event:
                    await self._hear(listener, process, event.pop("event"), json.loads(event.pop("data")))

    async def _hear(self, listener: Listener, process: Process, kind: str, data: dict[str, Any]) -> None:
        """Note an event, and fetch the figures that it is about, as its address says."""
        self.counts[f"event {kind}"] += 1
        if kind == "reset":
            self.world.note(listener.name, f"reset from {process.name}")
            listener.knows, listener.in_force = None, None
            listener.told.clear()
            listener.knew.clear()
            return
        day, number = date.fromisoformat(data["effective_date"]), data["revision"]
        self.world.note(listener.name, f"event {kind} {day}.{number} from {process.name}")
        if kind == "in_force":
            if listener.in_force and listener.in_force >= day:
                self.breaks("an event is doubled", f"{listener.name} in_force {day} after {listener.in_force}")
            listener.in_force = day
            return
        if (day, number) in listener.told:
            self.breaks("an event is doubled", f"{listener.name} {kind} {day}.{number} from {process.name}")
        listener.told.add((day, number))
        path = data["url"].removeprefix("https://rates.example")
        answer = await self.get(process, path)
        if answer.status != 200:
            self.breaks("an event has no address", f"{listener.name} {path} {answer}")
            return
        self.on_answer(process, path, answer)
        if listener.knows is not None:
            listener.knows[day] = figures_of(json.loads(answer.body, parse_float=str))

    # A person

    def command(self, work: Coroutine[Any, Any, None], within_s: float = 60.0) -> bytes | None:
        """What a command printed; None if it failed. It runs beside the fleet, as a process of its own."""
        self._commands += 1
        process = Process(self.world, f"command {self._commands}", f"10.0.3.{self._commands % 200 + 1}")
        process.start(work)
        until = self.world.now + within_s
        while not process.is_dead and self.world.now < until:
            self.world.run(0.2)
        process.kill()
        return b"".join(process.printed) if process.ended == "ok" else None

    def withdraw(self, day: date) -> None:
        """Take the sheet of a day back that some replica serves; the Bank goes on saying it."""
        answers = [one for [one] in self.got([f"/v1/rates/{day}"]).values() if not isinstance(one, str)]
        shown = [json.loads(one.body, parse_float=str) for one in answers if one.status == 200]
        if not shown or shown[0]["effective_date"] != str(day):
            return
        # A command that fails may have written already.
        self.ever_withdrawn.add(day)
        printed = self.command(withdraw(self.settings(), day, yes=True, as_json=True))
        self.world.run(3)  # so that replicas know it, should Redis lose its last second
        self.world.note("person", f"withdraws {day}: {printed!r}")
        if printed and json.loads(printed)["withdrawn"] == shown[0]["revision"]:
            self.counts["withdrawn"] += 1
            self.withdrawn[day].add(figures_of(shown[0]))

    def release(self) -> None:
        """Look at what waits, and release what the Bank means."""
        printed = self.command(decide(self.settings(), "list", None, yes=True, as_json=True))
        for case in json.loads(printed) if printed else []:
            raw = self.command(decide(self.settings(), "raw", case["name"], yes=True, as_json=False))
            day = date.fromisoformat(case["effective_date"]) if case["effective_date"] else None
            if raw is None or day is None or self.bank.right(day).xml != raw:
                continue
            printed = self.command(decide(self.settings(), "release", case["name"], yes=True, as_json=True))
            self.world.note("person", f"releases {day}: {printed!r}")
            self.counts["released"] += printed is not None
            self.withdrawn[day].clear()


def figures_of(document: dict[str, Any]) -> Figures:
    """The figures of an answer of /v1/rates."""
    rows = document["rates"].items()
    return frozenset((code, int(row["nominal"]), Decimal(row["value"]).normalize()) for code, row in rows)
