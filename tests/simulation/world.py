"""The world: one time, one seed, the processes, and what they get in the place of the real clock, chance and log."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import logging
import random
import re
import sys
import time
import traceback
from asyncio import Task
from collections import Counter, deque
from collections.abc import Callable, Coroutine, MutableMapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import aiohappyeyeballs
import aiohttp.connector
import apscheduler.executors.base
import apscheduler.job
import apscheduler.schedulers.base
import click
import structlog

import ratesvc.commands.running
import ratesvc.features.events.routes
import ratesvc.service.app
import ratesvc.service.schedule
import ratesvc.storage.redis
import ratesvc.web.connections
import ratesvc.web.responses
import ratesvc.web.server
from ratesvc.bank.xml import root_of
from ratesvc.service.app import Service
from simulation.loop import NEVER, Loop
from simulation.network import BoundSocket, Network

LONGEST_STORY = 6000
COLLECT_EVERY = 400_000
"""Turns of loops between two collections of garbage."""


class Process:
    """A replica, a command, or a part of the world around them."""

    def __init__(self, world: World, name: str, ip: str, *, is_replica: bool = False, skew_s: float = 0.0) -> None:
        """`skew_s` is how far its wall clock is ahead."""
        self.world, self.name, self.ip, self.skew_s = world, name, ip, skew_s
        self.is_replica = is_replica
        self.began_at = world.now
        self.is_dead = self.is_paused = False
        self.ended: str | None = None
        """How its work ended: `ok`, or the error."""
        self.printed: list[bytes] = []
        self.loop = Loop(self)  # type: ignore[abstract] # what nobody calls
        world.processes_by_ip[ip] = self
        world.processes.append(self)

    @property
    def is_running(self) -> bool:
        return not (self.is_dead or self.is_paused)

    def wall(self) -> datetime:
        return self.world.time(self.skew_s)

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run this; the process ends with it."""

        def begin() -> None:
            self.loop.create_task(work).add_done_callback(self._ended)

        self.loop.call_soon(begin)

    def _ended(self, task: Task[Any]) -> None:
        error = task.exception() if not task.cancelled() else asyncio.CancelledError()
        self.ended = repr(error) if error else "ok"
        self.world.note(self.name, f"ended: {self.ended}")
        if error and self.is_replica:
            self.world.error(self, "".join(traceback.format_exception(error))[-2000:])
        self.kill()

    def kill(self, *, silently: bool = False) -> None:
        """Nothing of it runs any more. `silently` is a loss of power: nobody is told."""
        if not self.is_dead:
            self.is_dead = True
            self.world.network.died(self, silently=silently)
            self.world.processes.remove(self)
            self.world.dead.append(self)

    def bury(self) -> None:
        """Close what it has left while no loop runs, so that its `finally` reaches nobody."""
        for task in asyncio.all_tasks(self.loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined] # noqa: SLF001 -- asyncio has no other way
            coroutine = task.get_coro()
            with contextlib.suppress(BaseException):
                assert coroutine
                coroutine.close()
        self.loop.clear()


class World:
    def __init__(self, seed: int, begins: datetime) -> None:
        self.seed, self.begins = seed, begins
        self.timing = random.Random(f"{seed} timing")
        """Decides latencies, jitter and tokens. The Bank, readers and faults have chance of their own."""
        self.now = 0.0
        self.pace, self.idle = 1.0, set[float]()
        """How many times slower the replicas repeat what they do while nothing happens, and the lengths of that."""
        self.processes: list[Process] = []
        self.processes_by_ip: dict[str, Process] = {}
        self.dead: list[Process] = []
        self.off: set[str] = set()
        """The machines without power."""
        self.services: dict[str, Service] = {}
        self.network = Network(self)
        self.story: deque[str] = deque(maxlen=LONGEST_STORY)
        self.logged: Counter[str] = Counter()
        self.on_error: Callable[[str, str], None] = lambda _, text: None  # noqa: ARG005
        self.turns = 0
        self._digest = hashlib.sha256()
        self.nobody = self.current = Process(self, "nobody", "10.0.9.9")
        self.around = Process(self, "around", "10.0.9.1")
        """Readers, people, the Bank's employees."""
        install(self)

    def time(self, skew_s: float = 0.0) -> datetime:
        return self.begins + timedelta(seconds=self.now + skew_s)

    def at(self, moment: datetime) -> float:
        """The seconds of this world at a moment."""
        return (moment - self.begins).total_seconds()

    def note(self, who: str, what: str) -> None:
        """A line of the story. Addresses of memory are not the same in every run."""
        line = f"{self.time():%Y-%m-%d %H:%M:%S} {who}: {re.sub(r'0x[0-9a-f]{6,}', '0x…', what)}"
        self._digest.update(line.encode())
        self.story.append(line)

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()[:16]

    def error(self, process: Process, text: str) -> None:
        """Something went wrong that no fault explains."""
        self.note(process.name, text)
        self.on_error(process.name, text)

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        end, toss = self.now + seconds, self.timing.random
        while True:
            first, best = None, NEVER
            for process in self.processes:
                due = process.loop.due
                if not process.is_paused and (due < best or (due == best < NEVER and toss() < 0.5)):
                    first, best = process, due
            if first is None or best > end:
                break
            self.now = max(self.now, best)
            first.loop.run()
            self.turns += 1
            while self.dead:
                self.dead.pop().bury()
            if self.turns % COLLECT_EVERY == 0:
                gc.unfreeze()  # `serve` freezes what there is at its start
                gc.collect()
        self.now = end

    def ask(self, work: Coroutine[Any, Any, Any], within_s: float = 600.0) -> Any:
        """The result of a coroutine that runs in the world around."""
        tasks: list[Task[Any]] = []
        self.around.loop.call_soon(lambda: tasks.append(self.around.loop.create_task(work)))
        until = self.now + within_s
        while not (tasks and tasks[0].done()):
            self.run(0.05)
            assert self.now < until, "nothing answers"
        return tasks[0].result()

    def set_pace(self, pace: float) -> None:
        """Let replicas repeat idle work so many times more slowly. At a faster pace those that sleep are hurried.

        Without it, a day of a replica would be 57,600 looks into Redis in which nothing happens.
        """
        was, self.pace = self.pace, pace
        tick_s = ratesvc.service.schedule.HEARTBEAT_S * pace
        setattr(ratesvc.service.app, "HEARTBEAT_S", tick_s)  # noqa: B010 -- app does not export it
        if pace < was:
            for process in self.processes:
                process.loop.hurry()
                if service := self.services.get(process.name):
                    # Soon, because hurried heartbeats count how long no job began.
                    process.loop.call_soon(service.schedule.run_in, "tick", self.timing.uniform(0, tick_s / 2))

    # What product and libraries get in the place of the real ones

    def log(self, _: Any, level: str, event: MutableMapping[str, Any]) -> Any:
        """A processor of structlog: a line of the log becomes one of the story, and goes nowhere else."""
        if self.current is self.nobody:
            raise structlog.DropEvent  # a process that was killed says nothing while it is buried
        name = event.pop("event")
        error = traceback.format_exc()[-1500:] if event.pop("exc_info", None) else ""
        self.logged[name] += 1
        text = " ".join(f"{key}={value}" for key, value in event.items() if key != "version")
        self.note(self.current.name, f"[{level}] {name} {text} {error}"[:1800].rstrip())
        if name in ("task_died", "refresh_crashed", "request_failed"):
            self.on_error(self.current.name, f"{name} {text} {error}")
        raise structlog.DropEvent


class _LibraryLog(logging.Handler):
    def __init__(self, world: World) -> None:
        super().__init__(logging.WARNING)
        self.world = world

    def emit(self, record: logging.LogRecord) -> None:
        self.world.note(self.world.current.name, f"{record.name}: {record.getMessage()}")


def install(world: World) -> None:
    """Give this world's time, chance, network and log to ratesvc and its libraries. Everything else is as it ships.

    A Service takes its clocks and chance as arguments. By name only: APScheduler and aiohttp, which ask the clock
    themselves, the Date headers, which are the true time, and the socket that `serve` binds.
    """

    def wall() -> datetime:
        return world.current.wall()

    def service(*args: Any, **options: Any) -> Service:
        made = Service(*args, **{**options, "clock": wall, "wall": wall, "chance": world.timing})
        made.client._proxy = ""  # noqa: SLF001 -- this machine's environment is no part of the world
        world.services[world.current.name] = made
        return made

    async def connected(addr_infos: Any, **_: Any) -> BoundSocket:
        return BoundSocket(addr_infos[0][4][:2])

    def monotonic() -> float:
        return world.now

    def echo(text: str | bytes = "", *, err: bool = False, **_: Any) -> None:
        if not err:
            world.current.printed.append(text.encode() if isinstance(text, str) else text)

    clock = SimpleNamespace(now=lambda zone=UTC: wall().astimezone(zone))
    times = SimpleNamespace(time=lambda: wall().timestamp(), perf_counter=time.perf_counter)
    for place, name, stands_in in (
        (ratesvc.commands.running, "Service", service),
        # Pure, and called with the same bytes at nearly every poll, by each replica.
        (ratesvc.bank.xml, "root_of", lru_cache(256)(root_of)),
        (ratesvc.bank.xml, "_read_daily", lru_cache(256)(ratesvc.bank.xml._read_daily)),  # noqa: SLF001
        (apscheduler.job, "check_callable_args", lambda *_: None),
        (ratesvc.web.server, "_bound", lambda _, port: BoundSocket((world.current.ip, port))),
        (ratesvc.web.responses, "time", times),
        (click, "echo", echo),
        (aiohappyeyeballs, "start_connection", connected),
        (aiohttp.connector, "monotonic", monotonic),
        (apscheduler.schedulers.base, "datetime", clock),
        (apscheduler.executors.base, "datetime", clock),
    ):
        assert hasattr(place, name), f"{place} has no {name} any more"
        setattr(place, name, stands_in)
    # The coroutines of a process that was killed are closed where no loop runs, and say so.
    sys.unraisablehook = lambda _: None
    structlog.configure(processors=[world.log], cache_logger_on_first_use=False)
    logging.basicConfig(handlers=[_LibraryLog(world)], level=logging.WARNING, force=True)
    world.idle = {
        ratesvc.service.schedule.HEARTBEAT_S,
        ratesvc.storage.redis.RENEW_S,
        ratesvc.web.connections.LOOK_S,
        ratesvc.features.events.routes.HEARTBEAT_S,
    }
