"""`ratesvc watch` between a real service and the commands and servers that get its events."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import parse_qsl

import aiohttp
import pytest
import yaml
from aiohttp import web
from conftest import Serve, eventually, patience_s, program
from dates import FRIDAY, SATURDAY
from fake_bank import Bank, sheet
from loopback import answering
from processes import ROOT, free_port, processes_over, run, running

from ratesvc import __version__
from ratesvc.commands import watch
from ratesvc.commands.running import language_for
from ratesvc.config import SECRETS, Settings
from ratesvc.domain.events import Place
from ratesvc.errors import RatesvcError
from ratesvc.web.events import HEARTBEAT_S

PAGE = (ROOT / "docs/events.md").read_text("utf-8")
UNIT = ROOT / "deploy/ratesvc-telegram.service"
OVERRIDE = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0])["services"]["telegram"]
(WEBHOOK,) = re.findall(r"^ratesvc (watch --json --state .*)$", PAGE, re.MULTILINE)
(CHANNEL,) = re.findall(r"^ratesvc (watch USD .*)$", PAGE, re.MULTILINE)
(IN_UNIT,) = re.findall(r"^ExecStart=\S+ (.*)$", UNIT.read_text("utf-8"), re.MULTILINE)


@pytest.fixture
async def url(bank: Bank, serve: Serve) -> AsyncIterator[str]:
    """A service that holds Friday's sheet and tomorrow's."""
    bank.publish(sheet(FRIDAY), sheet(SATURDAY))
    async with serve() as served:
        await served.ready()
        await eventually(lambda: served.service.history.days[-1] == SATURDAY)
        yield served.url


async def lines(process: asyncio.subprocess.Process, count: int) -> list[dict[str, Any]]:
    assert process.stdout
    async with asyncio.timeout(patience_s()):
        return [json.loads(await process.stdout.readline(), parse_float=Decimal) for _ in range(count)]


def place_in(folder: Path, place: str = "2026-04-23") -> Path:
    """A state file; a date alone is an id, too."""
    file = folder / "place"
    file.write_text(f"{place}\n")
    return file


async def test_each_event_is_a_line_with_its_rates_to_the_last_digit(url: str, tmp_path: Path) -> None:
    """What was missed comes first; the id of the last is kept, so a second run begins behind it."""
    state = place_in(tmp_path)
    async with running(tmp_path, *f"watch USD irr --json --url {url}/ --state {state}".split()) as process:
        found = await lines(process, 3)
        await eventually(lambda: state.read_text() == found[-1]["id"])
    assert [(one["event"], one["effective_date"], one["revision"]) for one in found] == [
        ("sheet", str(FRIDAY), 1),
        ("sheet", str(SATURDAY), 1),
        ("in_force", str(FRIDAY), 1),
    ]
    for one in found:
        by_code = sheet(date.fromisoformat(one["effective_date"])).by_code
        rates = {code: row["unit_rate"] for code, row in one["rates"].items()}
        assert rates == {code: by_code[code].unit_rate for code in ("USD", "IRR")}
    state.write_text(found[0]["id"])
    async with running(tmp_path, *f"watch --json --only sheet --url {url} --state {state}".split()) as process:
        assert [one["effective_date"] for one in await lines(process, 1)] == [str(SATURDAY)]


@pytest.mark.slow
async def test_a_new_watch_begins_with_now_and_misses_nothing_while_the_service_is_away(
    bank: Bank, serve: Serve, tmp_path: Path
) -> None:
    """Its place is kept before the first event, so a sheet of the time in between comes when the service is back."""
    bank.publish(sheet(FRIDAY))
    state, port = tmp_path / "place", free_port()
    async with running(tmp_path, *f"watch --json --url http://127.0.0.1:{port} --state {state}".split()) as process:
        assert process.stderr
        assert b"trying again" in await process.stderr.readline()
        async with serve(server={"port": port}) as served:
            await served.ready()
            await eventually(state.exists)
        bank.publish(sheet(SATURDAY))
        async with serve(server={"port": port}):
            (found,) = await lines(process, 1)
    assert (found["event"], found["effective_date"]) == ("sheet", str(SATURDAY))


@asynccontextmanager
async def receiving(*statuses: int) -> AsyncIterator[tuple[str, list[tuple[str, bytes]]]]:
    """A server that answers with these statuses, then with 200: its address, and the path and body of each request."""
    left, received = list(statuses), list[tuple[str, bytes]]()

    async def take(request: web.Request) -> web.Response:
        received.append((request.path, await request.read()))
        return web.Response(status=left.pop(0) if left else 200)

    async with answering(take) as url:
        yield url, received


@pytest.mark.slow
async def test_a_webhook_that_fails_gets_the_event_again(url: str, tmp_path: Path) -> None:
    """The guide's line with curl: 500 at first, then the same event, then the next; the place follows what arrived."""
    program("curl")
    place_in(tmp_path)
    async with receiving(500) as (hook, received):
        words = shlex.split(WEBHOOK.replace("https://you.example", hook))
        async with running(tmp_path, *words, "--url", url) as process:
            assert process.stderr
            await eventually(lambda: len(received) == 4)
            said = await process.stderr.readuntil(b"trying again\n")
            await eventually(lambda: (tmp_path / "place").read_text() == json.loads(received[-1][1])["id"])
    events = [json.loads(body) for _, body in received if body.endswith(b"\n")]
    assert [one["effective_date"] for one in events] == [*map(str, (FRIDAY, FRIDAY, SATURDAY, FRIDAY))]
    assert b"ratesvc: the command ended with 22; trying again" in said


async def test_a_failure_is_said_once_and_tried_again_within_a_minute(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """After three seconds, and then later each time. A stream that is silent for two heartbeats is a failure.

    A service that is away for days is waited for: 1,500 minutes.
    """
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 1500:
            raise KeyboardInterrupt

    async def read(self: watch._Watch) -> None:
        shown.append(self.codes)
        raise TimeoutError("nothing came")

    shown: list[tuple[str, ...]] = []
    monkeypatch.setattr(watch, "asyncio", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr(watch._Watch, "read", read)  # noqa: SLF001
    nothing: dict[str, Any] = {"only": (), "command": None, "state": None, "as_json": False, "lang": "en"}
    with pytest.raises(KeyboardInterrupt):
        await watch.watch(Settings(), (), url="http://127.0.0.1:1", **nothing)
    assert (pauses[:7], {*pauses[7:]}, {*shown}) == ([3, 6, 12, 24, 48, 60, 60], {60}, {("USD", "EUR", "CNY")})
    assert capsys.readouterr().err.count("trying again") == 1
    assert 2 * HEARTBEAT_S < (watch.SILENCE.sock_read or 0) <= 40


async def test_a_command_that_goes_on_failing_gets_its_event_later_each_time(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also while the service answers. It is said once; the third call succeeds, and what fails after it begins anew."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(watch, "asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": sleep}))
    calls = tmp_path / "calls"
    command = f"echo >>{calls}; test $(wc -l <{calls}) = 3"
    words: dict[str, Any] = {"only": (), "command": command, "state": place_in(tmp_path), "as_json": True, "lang": "en"}
    with pytest.raises(KeyboardInterrupt):
        await watch.watch(Settings(), (), url=url, **words)
    assert pauses == [3, 6, 3, 6]
    assert capsys.readouterr().err.count("trying again") == 2


async def test_an_event_has_the_rates_of_its_own_revision_and_a_stop_ends_its_command(tmp_path: Path) -> None:
    """The service may know a later revision by now."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path_qs)
        return web.json_response({}, status=404 if request.path == "/v1/events" else 200)

    command = f"cd {tmp_path} && exec sleep 1000"
    async with answering(answer) as url, aiohttp.ClientSession() as http:
        watched = watch._Watch(http, url, ("USD",), (), command, None, None, "")  # noqa: SLF001
        await watched._rates({"effective_date": "2026-04-25", "revision": 2, "url": "https://rates.example"})  # noqa: SLF001
        await watched._rates({"url": "https://rates.example"})  # noqa: SLF001 -- of a reset
        with pytest.raises(RatesvcError, match="/v1/events answers 404"):
            await watched.read()
        delivery = asyncio.create_task(watched._deliver(b""))  # noqa: SLF001
        await eventually(lambda: processes_over(tmp_path))
        delivery.cancel()
        await eventually(lambda: not processes_over(tmp_path))
    assert asked == ["/v1/rates/2026-04-25?codes=USD&revision=2", "/v1/rates?codes=USD", "/v1/events"]


async def test_a_page_in_place_of_an_answer_is_a_failure_and_no_internal_error() -> None:
    """As of a proxy that asks for a login, whose words may be in another charset than UTF-8."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body="<p>Вход".encode("cp1251"), content_type="text/html")

    async with answering(answer) as url, aiohttp.ClientSession() as http:
        watched = watch._Watch(http, url, (), (), None, None, None, "")  # noqa: SLF001
        with pytest.raises(RatesvcError, match=r"/v1/events answers 200 \(text/html\)"):
            await watched.read()
        with pytest.raises(RatesvcError, match=r"/v1/rates answers 200 \(text/html\)"):
            await watched._line(watch._Event("reset", "2026-04-24", b"{}"))  # noqa: SLF001


@pytest.mark.parametrize("left", [b"", b"\0\0\0", b"2026-04-24\n2026-04-25"], ids=["empty", "zeros", "two lines"])
async def test_a_state_file_that_a_crash_damaged_loses_no_event(tmp_path: Path, left: bytes) -> None:
    """The service gets an id that is none, so it says that everything is to be fetched again."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.headers.get("Last-Event-ID", ""))
        return web.Response(status=503)

    state = tmp_path / "place"
    state.write_bytes(left)
    async with answering(answer) as url, aiohttp.ClientSession() as http:
        place = watch._kept(state)  # noqa: SLF001
        with pytest.raises(RatesvcError, match="answers 503"):
            await watch._Watch(http, url, (), (), None, state, None, place).read()  # noqa: SLF001
    assert asked[0]
    assert Place.from_id(asked[0]) is None


async def test_a_heartbeat_is_no_event() -> None:
    async def stream() -> AsyncIterator[bytes]:
        for line in b"retry: 3\nid: a\n\n:\n\nevent: sheet\nid: b\ndata: {}\n\n:\n\n".splitlines(keepends=True):
            yield line

    found = [tuple(event) async for event in watch._events(cast("aiohttp.StreamReader", stream()))]  # noqa: SLF001
    assert found == [("", "a", b""), ("sheet", "b", b"{}")]


def test_the_text_names_a_correction_and_leaves_out_what_is_unknown() -> None:
    """A currency that the sheet lacks, and a change without a sheet before."""
    rows = {"CNY": watch._Row(10, Decimal("84.72"), Decimal("-0.2")), "USD": watch._Row(1, Decimal(60))}  # noqa: SLF001
    text = watch._text(watch._Sheet(SATURDAY, 2, rows), ("USD", "EUR", "CNY"), language_for("en"))  # noqa: SLF001
    assert text.splitlines() == [
        "Bank of Russia, April 25, 2026 (Revision 2)",
        "USD = ₽60.0000",
        "10 CNY = ₽84.7200 (−0.20%)",
    ]


def in_unit() -> list[str]:
    return shlex.split(IN_UNIT.replace("/opt/ratesvc/telegram.py", "deploy/telegram.py"))


def in_compose() -> list[str]:
    assert OVERRIDE["image"] == f"ratesvc:{__version__}"
    return [word.replace("/telegram.py", str(ROOT / "deploy/telegram.py")) for word in OVERRIDE["command"]]


@pytest.mark.parametrize("words", [shlex.split(CHANNEL), in_unit(), in_compose()], ids=["shell", "systemd", "compose"])
async def test_a_channel_of_telegram_gets_new_rates_as_text(words: list[str], url: str, tmp_path: Path) -> None:
    """The lines of the guide, of the unit and for compose: a message for each sheet in Russian, none at midnight."""
    place_in(tmp_path)
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    words = [str(tmp_path / "place") if word.endswith("place") else word for word in words]
    async with receiving() as (api, received):
        given = {"TELEGRAM_API": api, "TELEGRAM_TOKEN": "123:abc", "TELEGRAM_CHAT": "@rates"}
        async with running(tmp_path, *words, "--url", url, **given):
            await eventually(lambda: len(received) == 2)
            await eventually(lambda: (tmp_path / "place").read_text().startswith(str(FRIDAY)))
    assert {path for path, _ in received} == {"/bot123:abc/sendMessage"}
    messages = [dict(parse_qsl(body.decode())) for _, body in received]
    assert [message["chat_id"] for message in messages] == ["@rates"] * 2
    title, *rows = messages[1]["text"].splitlines()
    assert title.split() == ["Банк", "России,", "25", "апреля", "2026", "г."]
    assert [re.sub(r" = .*", "", row) for row in rows] == ["USD", "EUR", "CNY"]
    assert re.fullmatch(r"USD = \d+,\d{4}\s₽ \([+−]\d+,\d{4}\s%\)", rows[0])


async def test_a_wrong_code_ends_it(url: str, tmp_path: Path) -> None:
    """With one line, instead of trying for ever."""
    place_in(tmp_path)
    code, out, err = await run(tmp_path, *f"watch USX --json --url {url} --state place".split())
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "USX" in err


def test_the_unit_is_what_the_guide_installs() -> None:
    """Its files lie where the commands of the guide put them."""
    for name in ("/opt/ratesvc/telegram.py", "/etc/ratesvc/telegram"):
        assert name in PAGE
        assert name in UNIT.read_text("utf-8")
    assert os.access(ROOT / "deploy/telegram.py", os.X_OK)


def test_the_unit_reads_no_secret_of_the_service() -> None:
    """Its user may not read the files that the service's settings name, and a file that cannot be read ends a start."""
    (unset,) = re.findall(r"^UnsetEnvironment=(.*)$", UNIT.read_text("utf-8"), re.MULTILINE)
    assert unset.split() == [f"{secret}_FILE" for secret in SECRETS]
