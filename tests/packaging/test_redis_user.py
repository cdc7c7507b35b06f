"""The Redis user of the handbook: its rights are those that ratesvc needs."""

from __future__ import annotations

import contextlib
import re
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from conftest import eventually
from kit.bank import Bank, around_today
from kit.reader import shared_by
from kit.redis import RealRedis, cluster_nodes, joined, running
from kit.service import ROOT, run, serving
from redis.exceptions import NoPermissionError

pytestmark = pytest.mark.nightly

HANDBOOK = (ROOT / "docs/operating.md").read_text("utf-8")
(LINE,) = re.findall(r"^ACL SETUSER .*$", HANDBOOK, re.MULTILINE)
(CLUSTER_TOO,) = re.findall(r"In a Cluster add `(\S+)`", HANDBOOK)
FOREIGN_KEYS = ("SET other 1", "GET other", "PUBLISH other 1")
KEYS = tuple(f"{{ratesvc}}:v2:{name}" for name in ("sheets", "columns", "coverage"))


def ask(server: RealRedis, *words: str, user: str = "") -> Any:
    """What a server answers to its administrator, or to that user."""
    with contextlib.closing(server.client(username=user or None, password="secret" if user else None)) as client:
        act: Any = client.execute_command
        return act(*words)


def words_of(answer: list[bytes]) -> set[str]:
    return {one.decode().replace("|", " ") for one in answer}


@pytest.mark.parametrize("is_cluster", [False, True], ids=["server", "cluster"])
async def test_the_user_of_the_handbook_may_do_what_ratesvc_does(is_cluster: bool, bank: Bank, tmp_path: Path) -> None:
    """Two replicas fetch, backfill and repair, and no question of theirs is refused. Each right is needed."""
    around_today(bank, back=9)
    servers = cluster_nodes(tmp_path) if is_cluster else [RealRedis(tmp_path / "redis", "redis")]
    with running(*servers):
        url = joined(servers) if is_cluster else servers[0].url
        for server in servers:
            ask(server, *LINE.replace("PASSWORD", "secret").split(), *[CLUSTER_TOO] * is_cluster)
            ask(server, "CONFIG", "RESETSTAT")
        address = url.replace("://", "://ratesvc:secret@")
        shared = shared_by(bank, address, RATESVC_REDIS_NAMESPACE="ratesvc", RATESVC_POLL_SECONDS="0.5")
        async with serving(tmp_path, **shared) as one, serving(tmp_path, **shared) as other:
            await one.ready()
            await other.ready()
            await eventually(lambda: all(held(servers)))
            for server in servers:
                ask(server, "FLUSHALL")
            await eventually(lambda: all(held(servers)))
        code, _, errors = await run(tmp_path, "quarantine", "list", **shared)
        assert code == 0, errors
        assert [ask(server, "ACL", "LOG") for server in servers] == [[]] * len(servers)

        used = {name.removeprefix("cmdstat_") for server in servers for name in ask(server, "INFO", "commandstats")}
        granted = {
            right: words_of(ask(servers[0], "ACL", "CAT", right[2:])) if right[1] == "@" else {right[1:]}
            for right in re.findall(r"(?<= )\+\S+", f"{LINE} {CLUSTER_TOO if is_cluster else ''}")
        }
        for right, commands in granted.items():
            others = set(chain.from_iterable(those for name, those in granted.items() if name != right))
            assert used & commands - others, f"nothing needs {right}"
        for foreign in (*FOREIGN_KEYS, "FLUSHALL", "KEYS *", "CONFIG GET *", "ACL LIST"):
            with pytest.raises(NoPermissionError):
                ask(servers[0], *foreign.split(), user="ratesvc")


def held(servers: list[RealRedis]) -> list[bool]:
    """Whether each of our keys is on one of them."""
    stored = {key.decode() for server in servers for key in ask(server, "KEYS", "*")}
    return [key in stored for key in KEYS]
