"""Real Redis and Valkey servers and sentinels as processes on free ports, to be stopped and killed."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import redis

from kit.not_run import path_of, program
from kit.service import free_port
from kit.time import PATIENCE_S, until
from ratesvc.storage.embedded import find_server

SLOTS = 16_384
Kind = Literal["any", "redis", "valkey"]


def server(kind: Kind = "any") -> str:
    """The binary: Redis, the embedded Valkey, or Redis if it is installed and else Valkey."""
    if kind == "redis":
        return program("redis-server")
    return (kind == "any" and path_of("redis-server")) or str(find_server())


def token() -> str:
    """Another one at each call, for a store without a service."""
    return uuid4().hex


class RealRedis:
    """One server over one folder."""

    def __init__(self, folder: Path, kind: Kind = "any", **options: Any) -> None:
        self.folder = folder
        self.port = free_port()
        self.password: str | None = None
        self.binary = server(kind)
        self.options = {"save": "", "bind": "127.0.0.1", "protected-mode": "no", **options}
        self.process: subprocess.Popen[bytes] | None = None
        self.before: list[str] = []

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self, **options: Any) -> redis.Redis:
        return redis.Redis(port=self.port, socket_timeout=PATIENCE_S, **{"password": self.password, **options})

    def start(self) -> None:
        """Start it on its port, and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        words = [word for name, value in self.options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
        command = [self.binary, *self.before, "--port", str(self.port), "--dir", str(self.folder), *words]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        until(self._answers)

    def _answers(self) -> bool:
        assert self.process
        assert self.process.poll() is None, f"{self.binary} has ended"
        with (
            contextlib.suppress(redis.ConnectionError, redis.TimeoutError),
            contextlib.closing(self.client()) as client,
        ):
            return bool(client.ping())
        return False

    def signal(self, number: int) -> None:
        assert self.process
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
            self.process = None


class Sentinel(RealRedis):
    """One sentinel that watches one master under the name `rates`."""

    def __init__(self, folder: Path, master: int, password: str) -> None:
        super().__init__(folder)
        self.options, self.password = {}, password
        folder.mkdir()
        file = folder / "sentinel.conf"
        file.write_text(
            f"requirepass {password}\n"
            "protected-mode no\n"
            f"sentinel monitor rates 127.0.0.1 {master} 2\n"
            "sentinel down-after-milliseconds rates 600\n"
            "sentinel failover-timeout rates 1000\n"
            f"sentinel sentinel-pass {password}\n"
        )
        self.before = [str(file), "--sentinel"]


@contextmanager
def running(*servers: RealRedis) -> Iterator[None]:
    """Start all of them, and kill them at the end."""
    try:
        for server in servers:
            server.start()
        yield
    finally:
        for server in servers:
            server.kill()


def cluster_nodes(folder: Path) -> list[RealRedis]:
    """Three servers, the least number of a cluster. Start them, then call `joined`."""
    return [RealRedis(folder / f"node-{n}", cluster_enabled="yes", cluster_node_timeout=2000) for n in range(3)]


def joined(nodes: list[RealRedis]) -> str:
    """Make them a cluster, and return its address once each of them knows it."""
    first, step = nodes[0], -(-SLOTS // len(nodes))
    for number, node in enumerate(nodes):
        with contextlib.closing(node.client()) as client:
            ask: Any = client.execute_command
            ask("CLUSTER SET-CONFIG-EPOCH", number + 1)
            ask("CLUSTER ADDSLOTSRANGE", number * step, min((number + 1) * step, SLOTS) - 1)
            ask("CLUSTER MEET", "127.0.0.1", first.port)
    until(lambda: all(map(_has_joined, nodes)))
    return f"redis+cluster://{','.join(f'127.0.0.1:{node.port}' for node in nodes)}"


def _has_joined(node: RealRedis) -> bool:
    with contextlib.closing(node.client()) as client:
        found: Any = client.cluster("info")
        return bool(found["cluster_state"] == "ok")
