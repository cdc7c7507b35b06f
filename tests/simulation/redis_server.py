"""A Redis: RESP over the network in memory, the commands that ratesvc sends, and what can happen to a Redis."""

from __future__ import annotations

from asyncio import BaseTransport, Protocol, Transport
from collections.abc import Callable
from typing import Any, cast

import hiredis

from simulation.network import Address
from simulation.world import World

OK = b"+OK\r\n"
WRITES = {b"SET", b"HSETNX", b"HSET", b"HDEL", b"DEL", b"UNLINK"}
GROWING = {b"SET", b"HSETNX", b"HSET"}
REMEMBERED_S = 5.0


class WrongTypeError(Exception):
    pass


def bulk(value: bytes | None) -> bytes:
    return b"_\r\n" if value is None else b"$%d\r\n%s\r\n" % (len(value), value)


def number(value: int) -> bytes:
    return b":%d\r\n" % value


def array(values: list[bytes]) -> bytes:
    return b"*%d\r\n" % len(values) + b"".join(values)


class RedisServer:
    """Its `mode` is up, silent, loading, full or readonly; `delay_s` is how long it takes for an answer."""

    def __init__(self, world: World, address: Address) -> None:
        self.world, self.address = world, address
        self.process = world.processes_by_ip[address[0]]
        self.data: dict[bytes, Any] = {}
        """Bytes, or a hash of them."""
        self.expires: dict[bytes, float] = {}
        self.lasts: dict[bytes, float] = {}
        """For how many seconds each key was set."""
        self.mode, self.delay_s = "up", 0.0
        self._undo: list[tuple[float, Callable[[], None]]] = []
        """How to lose what was written last."""
        self.listen()

    def listen(self) -> None:
        self.world.network.listen(self.process.loop, self.address, lambda: Client(self))

    def crash(self, lost_s: float = 0.0) -> None:
        """It is down, and has lost what was written in the last seconds."""
        self.world.network.listeners.pop(self.address, None)
        self.world.network.reset_all(self.process)
        while self._undo and self._undo[-1][0] > self.world.now - lost_s:
            self._undo.pop()[1]()

    def flush(self) -> None:
        self.data.clear()
        self.expires.clear()
        self._undo.clear()

    def hurry(self) -> None:
        """Leases end as soon as they would at the pace of now."""
        for key, until in self.expires.items():
            self.expires[key] = min(until, self.world.now + self.lasts[key] * self.world.pace)

    def hashes(self, ending: bytes) -> dict[bytes, bytes]:
        """The hash whose key ends so, for faults."""
        found = next((value for key, value in self.data.items() if key.endswith(ending)), None)
        # Somebody else may have written another value under the key.
        return cast("dict[bytes, bytes]", found) if isinstance(found, dict) else {}

    def _get(self, key: bytes, kind: type = bytes) -> Any:
        if self.expires.get(key, self.world.now + 1) <= self.world.now:
            self.data.pop(key, None)
            del self.expires[key]
        value = self.data.get(key)
        if value is not None and not isinstance(value, kind):
            raise WrongTypeError
        return value

    def _hash(self, key: bytes) -> dict[bytes, bytes]:
        return self._get(key, dict) or {}

    def _remember(self, key: bytes) -> None:
        """Keep what was there before this change."""
        now, until, value = self.world.now, self.expires.get(key), self.data.get(key)
        kept = dict(value) if isinstance(value, dict) else value

        def back() -> None:
            self.data.pop(key, None)
            self.expires.pop(key, None)
            if kept is not None:
                self.data[key] = kept
            if until is not None:
                self.expires[key] = until

        self._undo = [one for one in self._undo if one[0] > now - REMEMBERED_S]
        self._undo.append((now, back))

    def execute(self, command: list[bytes]) -> bytes:
        name, arguments = bytes(command[0]).upper(), [bytes(one) for one in command[1:]]
        if self.mode == "loading" and name != b"HELLO":
            return b"-LOADING Redis is loading the dataset in memory\r\n"
        if self.mode == "full" and name in GROWING:
            return b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"
        if self.mode == "readonly" and name in WRITES:
            return b"-READONLY You can't write against a read only replica.\r\n"
        run = getattr(self, f"do_{name.decode().lower()}", None)
        if run is None:
            self.world.error(self.process, f"this Redis does not know {name!r}")
            return b"-ERR unknown command\r\n"
        try:
            return cast("bytes", run(*arguments))
        except WrongTypeError:
            return b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"

    # Commands

    def do_hello(self, *_: bytes) -> bytes:
        facts = {b"server": b"redis", b"version": b"7.4.0", b"mode": b"standalone", b"role": b"master"}
        pairs = [bulk(b"proto"), number(3), *(bulk(part) for fact in facts.items() for part in fact)]
        return b"%%%d\r\n" % (len(pairs) // 2) + b"".join(pairs)

    def do_client(self, *_: bytes) -> bytes:
        return OK

    do_select = do_client

    def do_hlen(self, key: bytes) -> bytes:
        return number(len(self._hash(key)))

    def do_hkeys(self, key: bytes) -> bytes:
        return array([bulk(field) for field in self._hash(key)])

    def do_hstrlen(self, key: bytes, field: bytes) -> bytes:
        return number(len(self._hash(key).get(field, b"")))

    def do_hmget(self, key: bytes, *fields: bytes) -> bytes:
        return array([bulk(self._hash(key).get(field)) for field in fields])

    def do_get(self, key: bytes) -> bytes:
        return bulk(self._get(key))

    def do_getrange(self, key: bytes, start: bytes, end: bytes) -> bytes:
        return bulk((self._get(key) or b"")[int(start) : int(end) + 1])

    def do_pttl(self, key: bytes) -> bytes:
        if self._get(key, object) is None:
            return number(-2)
        until = self.expires.get(key)
        return number(-1 if until is None else round((until - self.world.now) * 1000))

    def do_set(self, key: bytes, value: bytes, *options: bytes) -> bytes:
        words = [one.upper() for one in options]
        is_held = self._get(key, object) is not None
        if (b"NX" in words and is_held) or (b"XX" in words and not is_held):
            return bulk(None)
        self._remember(key)
        self.data[key] = value
        self.expires.pop(key, None)
        if b"PX" in words:
            # What is renewed more slowly must last longer.
            self.lasts[key] = int(options[words.index(b"PX") + 1]) / 1000
            self.expires[key] = self.world.now + self.lasts[key] * self.world.pace
        return OK

    def do_hsetnx(self, key: bytes, field: bytes, value: bytes) -> bytes:
        if field in self._hash(key):
            return number(0)
        self.do_hset(key, field, value)
        return number(1)

    def do_hset(self, key: bytes, *pairs: bytes) -> bytes:
        before = len(self._hash(key))
        self._remember(key)
        self.data.setdefault(key, {}).update(zip(pairs[::2], pairs[1::2], strict=True))
        return number(len(self.data[key]) - before)

    def do_hdel(self, key: bytes, *fields: bytes) -> bytes:
        held = self._hash(key)
        gone = [field for field in dict.fromkeys(fields) if field in held]
        if gone:
            self._remember(key)
        for field in gone:
            del held[field]
        if key in self.data and not held:
            del self.data[key]
        return number(len(gone))

    def do_del(self, *keys: bytes) -> bytes:
        gone = [key for key in keys if self._get(key, object) is not None]
        for key in gone:
            self._remember(key)
            del self.data[key]
            self.expires.pop(key, None)
        return number(len(gone))

    do_unlink = do_del


class Client(Protocol):
    """One connection."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.reader = hiredis.Reader()

    def connection_made(self, transport: BaseTransport) -> None:
        self.transport = cast("Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.reader.feed(data)
        answers = []
        while (command := self.reader.gets()) is not False:
            if self.server.mode != "silent":
                answers.append(self.server.execute(command))
        if answers:
            self.server.process.loop.call_later(self.server.delay_s, self.transport.write, b"".join(answers))
