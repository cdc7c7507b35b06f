"""An event loop in virtual time. Each process has its own; the world says what time it is and runs what is due."""

# mypy: disable-error-code="override"
from __future__ import annotations

import heapq
import socket
from asyncio import AbstractEventLoop, Future, Handle, Task, TimerHandle, events
from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulation.network import BoundSocket
    from simulation.world import Process

NEVER = float("inf")
SLEEPS = ("_set_result_unless_cancelled", "_on_timeout", "look")
"""What asyncio calls at the end of a sleep and of a limit of time; and the look at slow clients."""


class Loop(AbstractEventLoop):
    """It never waits. Threads' work is done at one moment, a little later."""

    def __init__(self, process: Process) -> None:
        """`due` is not later than the first thing that is due here."""
        self.process, self.world = process, process.world
        self.due = NEVER
        self.signals: dict[int, tuple[Callable[..., Any], tuple[Any, ...]]] = {}
        self._ready: deque[Handle] = deque()
        self._timers: list[list[Any]] = []
        """A heap of time, number and handle; None in the place of a handle that has another time now."""
        self._idle: dict[TimerHandle, tuple[list[Any], float]] = {}
        """The timers that were stretched, and their real lengths."""
        self._count = 0

    # What asyncio asks of a loop

    def time(self) -> float:
        return self.world.now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Any = None) -> Handle:
        handle = Handle(callback, args, self, context)
        self._ready.append(handle)
        self.due = 0.0
        return handle

    def call_soon_threadsafe(self, callback: Callable[..., Any], *args: Any, context: Any = None) -> Handle:
        return self.call_soon(callback, *args, context=context)

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any, context: Any = None) -> TimerHandle:
        return self.call_at(self.world.now + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any, context: Any = None) -> TimerHandle:
        handle = TimerHandle(when, callback, args, self, context)
        world = self.world
        delay = round(when - world.now, 6)
        is_idle = world.pace > 1 and delay in world.idle and getattr(callback, "__name__", "") in SLEEPS
        if is_idle and self.process.is_replica:
            self._idle[handle] = self._schedule(world.now + delay * world.pace, handle), delay
        else:
            self._schedule(when, handle)
        return handle

    def _schedule(self, when: float, handle: TimerHandle) -> list[Any]:
        self._count += 1
        entry = [when, self._count, handle]
        heapq.heappush(self._timers, entry)
        self.due = min(self.due, when)
        return entry

    def _timer_handle_cancelled(self, handle: TimerHandle) -> None:
        """A timer that was cancelled is dropped when its time comes, or when there are too many."""
        self._idle.pop(handle, None)

    def hurry(self) -> None:
        """Idle timers that were stretched come at the pace of now again, each at some point of its length."""
        waiting, self._idle = self._idle, {}
        for handle, (entry, delay) in waiting.items():
            when = min(entry[0], self.world.now + self.world.timing.uniform(0, delay * self.world.pace))
            entry[2] = None
            self._idle[handle] = self._schedule(when, handle), delay

    def create_future(self) -> Future[Any]:
        return Future(loop=self)

    def create_task(self, coro: Coroutine[Any, Any, Any], **options: Any) -> Task[Any]:
        return Task(coro, loop=self, **options)

    def get_task_factory(self) -> None:
        return None

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Future[Any]:  # noqa: ARG002
        future = self.create_future()

        def work() -> None:
            if future.cancelled():
                return
            try:
                result = func(*args)
            except BaseException as error:  # noqa: BLE001 -- it belongs to whoever waits
                future.set_exception(error)
            else:
                future.set_result(result)

        self.call_later(self.world.timing.uniform(0.0005, 0.02), work)
        return future

    def add_signal_handler(self, sig: int, callback: Callable[..., Any], *args: Any) -> None:
        self.signals[sig] = callback, args

    def remove_signal_handler(self, sig: int) -> bool:
        return self.signals.pop(sig, None) is not None

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if self.process.is_dead:
            return  # what a killed process left is collected much later
        self.world.error(self.process, f"{context.get('message')}: {context.get('exception')!r}")

    async def getaddrinfo(self, host: Any, port: Any, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any) -> Any:
        bound: BoundSocket | None = options.get("sock")
        return await self.world.network.connect(self, bound.address if bound else (host, port), protocol_factory)

    async def create_server(self, protocol_factory: Any, **options: Any) -> Any:
        return self.world.network.listen(self, options["sock"].address, protocol_factory)

    async def shutdown_asyncgens(self) -> None:
        pass

    # What the world asks

    def run(self) -> None:
        """Run what is due now, once around."""
        timers, ready, now = self._timers, self._ready, self.world.now
        while timers and timers[0][0] <= now:
            if handle := heapq.heappop(timers)[2]:
                self._idle.pop(handle, None)
                ready.append(handle)
        events._set_running_loop(self)  # noqa: SLF001 -- asyncio documents it for loops
        self.world.current = self.process
        try:
            for _ in range(len(ready)):
                handle = ready.popleft()
                if not handle.cancelled():
                    handle._run()  # noqa: SLF001 -- what every loop calls
                if not self.process.is_running:
                    break
        finally:
            events._set_running_loop(None)  # noqa: SLF001 -- the same
            self.world.current = self.world.nobody
            self._plan()

    def _plan(self) -> None:
        timers = self._timers
        while timers and (timers[0][2] is None or timers[0][2].cancelled()):
            heapq.heappop(timers)
        self.due = 0.0 if self._ready else timers[0][0] if timers else NEVER

    def clear(self) -> None:
        """The process is gone: nothing of it runs any more."""
        self._ready.clear()
        self._timers.clear()
        self._idle.clear()
        self.due = NEVER
