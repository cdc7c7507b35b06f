"""The embedded engine by itself: real servers over folders of their own, and one that never answers."""

from __future__ import annotations

import asyncio
import os
import pwd
import resource
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import eventually
from processes import processes_over
from redis.asyncio import Redis
from redis.exceptions import RedisError

from ratesvc import cli
from ratesvc.errors import EngineError, EngineNotReady
from ratesvc.storage.embedded import FIRST_RETRY_S, Engine, EngineFolder, answers, find_server

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def asking(engine: Engine) -> AsyncIterator[Redis]:
    """A client of an engine that is open."""
    client = Redis.from_url(engine.url)
    try:
        yield client
    finally:
        await client.aclose()


async def keep(folder: Path) -> None:
    """Two keys are held in the folder, and nobody uses it."""
    engine = await Engine(folder).open()
    async with asking(engine) as client:
        await client.set("first", "1")
        await client.set("second", "2")
    await engine.close()


def written(folder: Path) -> Path:
    """The file that commands are appended to."""
    return next(folder.glob("appendonlydir/*.incr.aof"))


def servers(folder: Path) -> list[int]:
    """The servers that run over the folder; without the shells that watch them."""
    names = {pid: Path(f"/proc/{pid}/comm") for pid in processes_over(folder)}
    return [pid for pid, name in names.items() if name.exists() and name.read_text().strip() == find_server().name]


def fake_server(folder: Path, script: str) -> Path:
    """A program in place of the server, which leaves a line for each start there; it repairs nothing."""
    path = folder / "fake-server"
    path.write_text(f'#!/bin/sh\n[ "$1" = --fix ] && exit\necho start >> {folder}/starts\n{script}\n')
    path.chmod(0o700)
    return path


async def test_it_starts_answers_and_ends_with_what_was_written(tmp_path: Path) -> None:
    """Its files are private, its name is a person's, and after the last user no process is left."""
    await keep(tmp_path)
    assert not processes_over(tmp_path)
    engine = await Engine(tmp_path).open()
    assert engine.name == f"embedded {find_server().name}"
    assert tmp_path.stat().st_mode & 0o077 == 0
    async with asking(engine) as client:
        assert await client.get("second") == b"2"
    await engine.close()
    assert not processes_over(tmp_path)


@pytest.mark.slow
async def test_a_slow_server_is_started_once_and_its_files_are_left_alone(tmp_path: Path) -> None:
    """Not to answer yet is not to be dead: no second one, no repair under it, nothing set aside; then it is ended."""
    data = tmp_path / "data"
    await keep(data)
    before = written(data).read_bytes()
    slow = fake_server(tmp_path, "exec sleep 1000")
    with pytest.raises(EngineNotReady, match="does not answer within 1 s"):
        await Engine(data, server=lambda: slow, patience_s=1).open()
    assert (tmp_path / "starts").read_text() == "start\n"
    assert not processes_over(data)
    assert written(data).read_bytes() == before
    assert not list(data.glob("*.damaged-*"))


@pytest.mark.slow
async def test_a_server_that_is_loading_is_waited_for(tmp_path: Path) -> None:
    """It answers LOADING for a second: it lives, and has everything when it is done."""
    data = tmp_path / "data"
    engine = await Engine(data).open()
    async with asking(engine) as client, client.pipeline(transaction=False) as many:
        for number in range(10000):
            many.set(f"{number}", "1")
        await many.execute()
    await engine.close()
    slow = fake_server(tmp_path, f'exec {find_server()} "$@" --key-load-delay 20')
    engine = await Engine(data, server=lambda: slow).open()
    async with asking(engine) as client:
        assert await client.dbsize() == 10000
    await engine.close()
    assert (tmp_path / "starts").read_text() == "start\n"


async def test_a_server_that_always_ends_is_tried_as_often_as_there_are_remedies(tmp_path: Path) -> None:
    """As it is, repaired, and with new files; then the error names the log, and the files are back: they were good."""
    data = tmp_path / "data"
    await keep(data)
    before = written(data).read_bytes()
    broken = fake_server(tmp_path, "exit 1")
    with pytest.raises(EngineError, match=r"does not start; see .*engine\.log"):
        await Engine(data, server=lambda: broken).open()
    assert (tmp_path / "starts").read_text() == "start\n" * 3
    assert not processes_over(data)
    assert written(data).read_bytes() == before
    assert not list(data.glob("*.damaged-*"))


async def test_that_the_disk_is_full_is_said(tmp_path: Path) -> None:
    """The server's log is as empty as it was, so that to name it would help nobody."""
    full = fake_server(tmp_path, "exit 1")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    heard = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    try:
        with pytest.raises(EngineError, match=f"cannot write into {tmp_path / 'data'}: "):
            await Engine(tmp_path / "data", server=lambda: full).open()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, heard)


async def test_what_was_cut_in_the_middle_is_repaired(tmp_path: Path) -> None:
    """Garbage behind the last whole command costs nothing that was before it."""
    await keep(tmp_path)
    with written(tmp_path).open("ab") as file:
        file.write(b"garbage\r\n")
    engine = await Engine(tmp_path).open()
    async with asking(engine) as client:
        assert await client.get("second") == b"2"
    await engine.close()
    assert not list(tmp_path.glob("*.damaged-*"))


async def test_what_cannot_be_read_is_set_aside(tmp_path: Path) -> None:
    """The service starts with nothing, and a person may still look at the files."""
    await keep(tmp_path)
    next(tmp_path.glob("appendonlydir/*.manifest")).write_bytes(b"garbage\r\n")
    engine = await Engine(tmp_path).open()
    async with asking(engine) as client:
        assert await client.get("second") is None
    await engine.close()
    assert len(list(tmp_path.glob("appendonlydir.damaged-*"))) == 1


async def test_one_that_dies_comes_back_though_its_files_are_damaged(tmp_path: Path) -> None:
    """kill -9 and a damaged end of the file: it is told how, repaired and started again, with what it held."""
    told: list[tuple[str, BaseException | str]] = []
    engine = await Engine(tmp_path, lambda name, error: told.append((name, error))).open()
    async with asking(engine) as client:
        await client.set("first", "1")
        with written(tmp_path).open("ab") as file:
            file.write(b"garbage\r\n")
        os.kill(servers(tmp_path)[0], signal.SIGKILL)

        async def is_back() -> bool:
            try:
                return bool(await client.get("first") == b"1")
            except RedisError:
                return False

        await eventually(lambda: told)
        await eventually(is_back)
    await engine.close()
    assert told == [("engine", "ended by SIGKILL")]
    assert not processes_over(tmp_path)


async def test_a_failed_attempt_to_start_it_again_is_told_and_not_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever went wrong, the next attempt may succeed."""
    monkeypatch.setattr("ratesvc.storage.embedded.FIRST_RETRY_S", 0.01)
    told: list[BaseException | str] = []
    found = iter([find_server(), find_server(), None, find_server()])

    def server() -> Path:
        path = next(found)
        if path is None:
            raise ZeroDivisionError
        return path

    engine = await Engine(tmp_path, lambda _, error: told.append(error), server=server).open()
    os.kill(servers(tmp_path)[0], signal.SIGKILL)
    await eventually(lambda: len(told) == 3 and servers(tmp_path))
    await engine.close()
    assert list(map(type, told)) == [str, ZeroDivisionError, str]


async def test_an_end_by_itself_is_told_with_its_exit_code(tmp_path: Path) -> None:
    """A full disk or a mistake of the server's leave a code; engine.log has its words."""
    told: list[BaseException | str] = []
    once = tmp_path / "once"
    server = fake_server(
        tmp_path, f'[ -e {once} ] && exec {find_server()} "$@"; touch {once}; {find_server()} "$@"; exit 3'
    )
    engine = await Engine(tmp_path / "data", lambda _, error: told.append(error), server=lambda: server).open()
    async with asking(engine) as client:
        await client.shutdown()
    await eventually(lambda: told)
    await engine.close()
    assert told == ["ended with exit code 3"]


@pytest.mark.slow
async def test_one_that_starts_well_and_dies_at_once_is_not_started_in_a_frenzy(tmp_path: Path) -> None:
    """The pauses between its starts grow, and the first death costs none."""
    clock = asyncio.get_running_loop().time
    died: list[float] = []
    engine = await Engine(tmp_path, lambda _, error: died.append(clock()) if isinstance(error, str) else None).open()

    async def dies_again() -> bool:
        if len(died) < 4 and await answers(engine.folder.socket):
            for process in servers(tmp_path):
                os.kill(process, signal.SIGKILL)
        return len(died) == 4

    await eventually(dies_again)
    await engine.close()
    pauses = [later - earlier for earlier, later in pairwise(died)]
    assert all(pause >= FIRST_RETRY_S * 2**number for number, pause in enumerate(pauses))


async def test_two_that_start_at_once_share_one_server(tmp_path: Path) -> None:
    """Whoever comes second uses what the first started, also while it is being started."""
    engines = await asyncio.gather(*(Engine(tmp_path).open() for _ in range(4)))
    assert len(servers(tmp_path)) == 1
    await asyncio.gather(*(engine.close() for engine in engines))
    assert not servers(tmp_path)


async def test_whoever_uses_it_too_does_not_notice_that_its_starter_left(tmp_path: Path) -> None:
    """The same server goes on, and ends with its last user."""
    first, second = await Engine(tmp_path).open(), await Engine(tmp_path).open()
    running = servers(tmp_path)
    async with asking(second) as client:
        await client.set("first", "1")
        connection = await client.client_id()
        await first.close()
        assert await client.get("first") == b"1"
        assert await client.client_id() == connection
    assert servers(tmp_path) == running
    await second.close()
    assert not servers(tmp_path)


async def test_one_of_two_starts_it_again(tmp_path: Path) -> None:
    """Both see that it died; one server comes of that, which both use."""
    engines = [await Engine(tmp_path).open() for _ in range(2)]
    (running,) = servers(tmp_path)
    os.kill(running, signal.SIGKILL)
    await eventually(lambda: running not in servers(tmp_path) and servers(tmp_path))
    await eventually(lambda: answers(engines[0].folder.socket))
    assert len(servers(tmp_path)) == 1
    await engines[0].close()
    assert await answers(engines[1].folder.socket)
    await engines[1].close()
    assert not servers(tmp_path)


def test_a_folder_of_another_user_is_refused_by_name(tmp_path: Path) -> None:
    """Whoever runs a command as the wrong user learns who the right one is."""
    owner, folder = (pwd.getpwnam("nobody"), tmp_path) if os.getuid() == 0 else (pwd.getpwuid(0), Path("/usr"))
    if folder == tmp_path:
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    with pytest.raises(EngineError, match=f"belongs to {owner.pw_name}: run this as its owner"):
        EngineFolder(folder).open()


def test_a_supervisor_tries_again_what_that_may_cure() -> None:
    """An engine that does not answer yet has an exit code of its own, which the unit does not stop at."""
    _, code = cli._explained(EngineNotReady("not yet"))  # noqa: SLF001 -- a process would have to wait for a minute
    _, lasting = cli._explained(EngineError("none"))  # noqa: SLF001 -- beside it
    unit = (ROOT / "deploy/ratesvc.service").read_text("utf-8")
    assert (code, lasting) == (cli.AGAIN, cli.CONFIG)
    assert f"\nRestartPreventExitStatus={cli.CONFIG}\n" in unit
    assert f"\n   {cli.AGAIN}  " in (cli.main.epilog or "")
