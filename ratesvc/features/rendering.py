"""Threads in which features render, and a queue for each kind of answer, so that nothing small waits for long ones."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from typing import TypeVar
from weakref import WeakKeyDictionary

from ratesvc.errors import Busy
from ratesvc.service.app import Service
from ratesvc.service.publication import Body, Publication, Render

Made = TypeVar("Made")
LONG_POINTS = 2000
"""An answer of so many points is long: it takes a hundredth of a second or more."""


class Queue(Enum):
    """Where an answer waits until a thread renders it, and how many of it are rendered or wait at a time.

    A widget takes some 5 ms, a page 20, one of the builder 60, most pictures 100, and a long answer 300 at most.
    Proxies wait two seconds, and longer for the last two.
    """

    SMALL = "small answers", 200
    WIDGETS = "widgets", 200
    PAGES = "pages", 60
    BUILDER = "pages of the builder", 20
    PICTURES = "pictures", 60
    LONG = "long answers", 20

    def __init__(self, label: str, most: int) -> None:
        self.label, self.most = label, most

    @classmethod
    def of(cls, points: int) -> Queue:
        """The queue of an answer with so many points."""
        return cls.LONG if points >= LONG_POINTS else cls.SMALL


class Workers:
    """The threads that render: small answers have two; widgets, pages and the builder one each; the slow ones one.

    One thread for long answers and pictures bounds their memory, and how long they keep the event loop waiting.
    """

    def __init__(self) -> None:
        slow = (Queue.LONG, Queue.PICTURES)
        threads = {queue: ThreadPoolExecutor(2 if queue is Queue.SMALL else 1, "render") for queue in Queue}
        self._threads = {**threads, Queue.PICTURES: threads[Queue.LONG]}
        self._turns = {queue: asyncio.Lock() for queue in slow}
        self.waiting: Counter[Queue] = Counter()
        """How many answers of each queue are rendered or wait."""

    async def run(self, work: Callable[[], Made], queue: Queue) -> Made:
        """Run `work` and return its result. Raises Busy if too many wait."""
        if self.waiting[queue] >= queue.most:
            raise Busy(f"Too many {queue.label} are being rendered. Ask again in half a minute, or for less.")
        self.waiting[queue] += 1
        try:
            # Only the first of each slow queue waits for their thread, so the two take turns.
            async with self._turns.get(queue, contextlib.nullcontext()):
                return await asyncio.get_running_loop().run_in_executor(self._threads[queue], work)
        finally:
            self.waiting[queue] -= 1

    def close(self) -> None:
        """Drop the answers that wait."""
        for threads in {*self._threads.values()}:
            threads.shutdown(wait=False, cancel_futures=True)


_WORKERS: WeakKeyDictionary[Service, Workers] = WeakKeyDictionary()


def workers_of(service: Service) -> Workers:
    """The threads of a service, which end with it."""
    if service not in _WORKERS:
        _WORKERS[service] = Workers()
        service.stack.callback(_WORKERS[service].close)
    return _WORKERS[service]


async def rendered(
    service: Service, publication: Publication, key: Hashable, render: Render, queue: Queue = Queue.SMALL
) -> Body:
    """The publication's body, rendered and compressed in a thread at the first request; later requests wait for that.

    Raises Busy if too many wait in its queue.
    """
    async with publication.render_locks.setdefault(key, asyncio.Lock()):
        if body := publication.find(key):
            return body
        return publication.keep(key, await workers_of(service).run(lambda: render().finish(), queue))
