"""TCP between processes, in memory: latency, cuts that heal, resets, and machines that are gone without a word."""

from __future__ import annotations

import asyncio
import errno
from asyncio import BaseProtocol, Protocol
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from simulation.loop import Loop
    from simulation.world import Process, World

Address = tuple[str, int]


class BoundSocket:
    """In the place of a socket that is bound, or that a client's library has connected."""

    def __init__(self, address: Address) -> None:
        self.address = address

    def getsockname(self) -> Address:
        return self.address

    def setsockopt(self, *_: Any) -> None:
        pass

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Wire(asyncio.Transport):
    """One end of a connection. What it sends arrives in order."""

    def __init__(self, network: Network, loop: Loop, peername: Address) -> None:
        super().__init__({"peername": peername, "sockname": (loop.process.ip, 40000)})
        self.network, self.loop = network, loop
        self.peer: Wire = self
        self.protocol: BaseProtocol | None = None
        self.is_lost = False
        self.last_arrival = 0.0
        self._closing = self._is_paused = self._is_reading = False
        self._held: deque[Callable[[], None]] = deque()
        """What was sent into a cut."""
        self._unread: deque[bytes] = deque()

    # What protocols call

    def set_protocol(self, protocol: BaseProtocol) -> None:
        self.protocol = protocol

    def get_protocol(self) -> BaseProtocol:
        assert self.protocol
        return self.protocol

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return not self._is_paused

    def pause_reading(self) -> None:
        self._is_paused = True

    def resume_reading(self) -> None:
        self._is_paused = False
        self._read_soon()

    def get_write_buffer_size(self) -> int:
        return 0

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return 0, 65536

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self._send(lambda: self.peer.arrive(b""))

    def write(self, data: Any) -> None:
        if not (self.is_lost or self._closing):
            sent = bytes(data)
            self._send(lambda: self.peer.arrive(sent))

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._send(lambda: self.peer.arrive(b""))
            self.loop.call_soon(self.lose, None)

    def abort(self) -> None:
        if not self.is_lost:
            self._closing = True
            self._send(self.peer.reset)
            self.loop.call_soon(self.lose, None)

    # The wire

    def _send(self, arrive: Callable[[], None]) -> None:
        here, there = self.loop.process, self.peer.loop.process
        if self.peer.is_lost or here.is_dead:
            return
        if self.network.is_cut(here, there):
            self._held.append(arrive)
            return
        self.last_arrival = max(self.last_arrival + 1e-6, self.network.world.now + self.network.latency(here, there))
        if not there.is_dead:
            self.peer.loop.call_at(self.last_arrival, arrive)

    def heal(self) -> None:
        """Send again what was sent into a cut."""
        held, self._held = self._held, deque()
        for arrive in held:
            self._send(arrive)

    def arrive(self, data: bytes) -> None:
        """The kernel has these bytes for the protocol; none are the end."""
        self._unread.append(data)
        self._read_soon()

    def _read_soon(self) -> None:
        if self._unread and not (self._is_reading or self._is_paused):
            self._is_reading = True
            self.loop.call_soon(self._read)

    def _read(self) -> None:
        """A loop reads a connection once a turn, so a handler begins before the next bytes come."""
        self._is_reading = False
        if self._is_paused or self.is_lost or self._closing:
            return
        assert isinstance(self.protocol, Protocol)
        if data := self._unread.popleft():
            self.protocol.data_received(data)
        elif not self.protocol.eof_received():
            self.close()
        self._read_soon()

    def reset(self) -> None:
        """The other end is gone."""
        if not self.is_lost:
            self._closing = True
            self.lose(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))

    def lose(self, error: Exception | None) -> None:
        """End the connection here."""
        if not self.is_lost:
            self.forget()
            if self.protocol is not None:
                self.protocol.connection_lost(error)

    def forget(self) -> None:
        """End the connection without a word to its protocol."""
        self.is_lost = self._closing = True
        self.network.ends.pop(self, None)


class Listener:
    """A server that accepts connections."""

    def __init__(self, network: Network, address: Address) -> None:
        self._network, self._address = network, address

    def close(self) -> None:
        self._network.listeners.pop(self._address, None)

    async def wait_closed(self) -> None:
        pass


class Network:
    def __init__(self, world: World) -> None:
        self.world = world
        self.listeners: dict[Address, tuple[Loop, Callable[[], BaseProtocol]]] = {}
        self.ends: dict[Wire, None] = {}
        """Every open end, in the order of their making."""
        self.cuts: set[frozenset[str]] = set()
        """Pairs of processes that do not reach each other, by name."""
        self.slow: dict[frozenset[str], float] = {}
        """Pairs, and the seconds that each packet between them takes longer."""

    def is_cut(self, one: Process, other: Process) -> bool:
        return bool(self.cuts) and frozenset((one.name, other.name)) in self.cuts

    def latency(self, one: Process, other: Process) -> float:
        more = self.slow.get(frozenset((one.name, other.name)), 0.0) if self.slow else 0.0
        return self.world.timing.uniform(0.0002, 0.003) + more

    def cut(self, one: str, other: str) -> None:
        self.cuts.add(frozenset((one, other)))

    def heal(self, one: str, other: str) -> None:
        pair = frozenset((one, other))
        self.cuts.discard(pair)
        for end in list(self.ends):
            if {end.loop.process.name, end.peer.loop.process.name} == pair:
                end.heal()

    def listen(self, loop: Loop, address: Address, factory: Callable[[], BaseProtocol]) -> Listener:
        self.listeners[address] = loop, factory
        return Listener(self, address)

    async def connect(self, loop: Loop, address: Address, factory: Callable[[], BaseProtocol]) -> Any:
        """The end at the client, and its protocol. Nobody answers into a cut; the client tries again, as TCP does."""
        here, there = loop.process, self.world.processes_by_ip[address[0]]
        trip = self.latency(here, there)
        await asyncio.sleep(trip)
        pause_s = 1.0
        while self.is_cut(here, self.world.processes_by_ip[address[0]]) or address[0] in self.world.off:
            await asyncio.sleep(pause_s)
            pause_s *= 2
        if address not in self.listeners:
            await asyncio.sleep(trip)
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"Connect call failed {address}")
        far, serve = self.listeners[address]
        mine, theirs = Wire(self, loop, address), Wire(self, far, (here.ip, 40000))
        mine.peer, theirs.peer = theirs, mine
        self.ends[mine] = self.ends[theirs] = None

        def accept() -> None:
            if not theirs.is_lost:
                theirs.protocol = serve()
                theirs.protocol.connection_made(theirs)

        far.call_soon(accept)
        theirs.last_arrival = mine.last_arrival = self.world.now + trip
        try:
            await asyncio.sleep(trip)
        except BaseException:
            mine.forget()
            if not theirs.is_lost and not far.process.is_dead:
                far.call_soon(theirs.reset)
            raise
        if mine.is_lost:
            raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
        mine.protocol = factory()
        mine.protocol.connection_made(mine)
        return mine, mine.protocol

    def died(self, process: Process, *, silently: bool) -> None:
        """A process is gone. The kernel resets its connections, unless the machine went with it."""
        self.listeners = {at: one for at, one in self.listeners.items() if one[0].process is not process}
        for end in [end for end in self.ends if end.loop.process is process]:
            end.forget()
            peer, there = end.peer, end.peer.loop.process
            if not (silently or peer.is_lost or there.is_dead or self.is_cut(process, there)):
                peer.loop.call_at(self.world.now + self.latency(process, there), peer.reset)

    def reset_all(self, process: Process) -> None:
        """Reset every connection of a process that goes on."""
        for end in [end for end in self.ends if end.loop.process is process]:
            end.abort()
