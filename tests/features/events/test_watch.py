"""`ratesvc watch` between a real service and the commands and servers that get its events."""

from __future__ import annotations

import asyncio
import json
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
from kit.bank import Bank, sheet
from kit.dates import FRIDAY, SATURDAY
from kit.http import answering
from kit.service import ROOT, environment, finished, free_port, processes_over, run, running

from ratesvc import __version__
from ratesvc.commands.running import language_for
from ratesvc.config import SECRETS
from ratesvc.errors import RatesvcError
from ratesvc.features.events import watch
from ratesvc.features.events.place import Place
from ratesvc.features.events.routes import HEARTBEAT_S

PAGE = (ROOT / "docs/api.md").read_text("utf-8")
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


@pytest.mark.nightly
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


def reader(
    http: aiohttp.ClientSession, url: str, codes: tuple[str, ...] = (), place: str = "", lang: str = "", **given: Any
) -> watch._Watch:
    """One that gets JSON from its command."""
    usual = {"only": (), "command": None, "limit_s": 60, "give_up_s": None, "state": None}
    made = watch._Watch(http, url, codes, language_for(lang) if lang else None, **{**usual, **given})  # noqa: SLF001
    made.place = place
    return made


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


@pytest.mark.nightly
async def test_it_gives_up_after_failures_for_so_long(tmp_path: Path) -> None:
    """Then a supervisor sees it. A failure that goes on is said once."""
    code, out, err = await run(tmp_path, "watch", "--url", "http://127.0.0.1:1", "--give-up", "1")
    assert (code, out, err.count("trying again")) == (75, "", 1)
    assert err.endswith("ratesvc: gave up after 2 failures in a row\n")


def test_two_heartbeats_may_fail_to_come() -> None:
    assert 2 * HEARTBEAT_S < (watch.SILENCE.sock_read or 0) <= 40


async def test_a_command_that_goes_on_failing_gets_its_event_later_each_time(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also while the service answers. It is said once; the third call succeeds, and what fails after it begins anew."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 9:
            raise EOFError

    monkeypatch.setattr(watch, "asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": sleep}))
    calls = tmp_path / "calls"
    command = f"echo >>{calls}; test $(wc -l <{calls}) = 3"
    async with aiohttp.ClientSession() as http:
        with pytest.raises(EOFError):
            await reader(http, url, command=command, place="2026-04-23").go_on()
    assert pauses == [3, 6, 3, 6, 12, 24, 48, 60, 60]
    said = [line.partition("/v1")[0] for line in capsys.readouterr().err.splitlines()]
    failed = "ratesvc: the command ended with 1; trying again"
    assert said == [f"ratesvc: watching {url}", failed, f"ratesvc: watching {url}", failed]


async def test_nothing_is_left_of_a_command_that_hangs(tmp_path: Path) -> None:
    """Not even a zombie, of which a year would make many."""
    async with aiohttp.ClientSession() as http:
        watched = reader(http, "", command=f"echo $$ >{tmp_path}/pid; exec sleep 1000", limit_s=0.2)
        with pytest.raises(RatesvcError, match="did not end within"):
            await watched._deliver(b"")  # noqa: SLF001 -- one event of many
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()


@pytest.mark.nightly
async def test_a_command_that_hangs_is_ended_with_all_that_it_started(url: str, tmp_path: Path) -> None:
    """That is a failure, and the event comes again. A stop ends the command, too, at whatever moment it comes."""
    inside = tmp_path / "inside"
    inside.mkdir()
    place_in(tmp_path)
    command = "cd inside; echo >>../calls; test $(wc -l <../calls) != 2 || exit 0; sleep 1000 & exec sleep 1000"
    words = ["watch", "--json", "--url", url, "--state", "place", "--exec", command]
    async with running(tmp_path, *words, "--timeout", "0.5") as process:
        assert process.stderr
        assert await process.stderr.readuntil(b"again\n") == (
            f"ratesvc: watching {url}/v1/events\n".encode()
            + b"ratesvc: the command did not end within 0.5 s; trying again\n"
        )
        await eventually(lambda: not processes_over(inside))
        await eventually(lambda: str(FRIDAY) in (tmp_path / "place").read_text())
        await _stopped(process)
    async with running(tmp_path, *words) as process:
        await eventually(lambda: processes_over(inside))
        await _stopped(process)
        await eventually(lambda: not processes_over(inside))


async def _stopped(process: asyncio.subprocess.Process) -> None:
    process.terminate()
    async with asyncio.timeout(patience_s()):
        assert await process.wait() == 0


A, B, C = (f"2026-04-24.{stamp}" for stamp in ("1-aaaaaaaa", "2-bbbbbbbb", "1-bbbbbbbb"))
NEXT, GONE = "2026-04-25.1-99c35439", "2026-04-25.2-83dc9ec7"


@pytest.mark.parametrize(
    ("known", "now", "told"),
    [
        ("no id", f"{A}_{NEXT}", ("sheet", NEXT)),
        (A, f"{A}_{NEXT}", ("sheet", NEXT)),
        (A, B, ("revision", B)),
        (B, A, ("revision", A)),
        (B, C, None),
        (NEXT, A, None),
        (f"{A}_{NEXT}", f"{A}_{GONE}", None),
    ],
)
def test_after_a_reset_the_newest_sheet_is_news_if_its_figures_are(
    known: str, now: str, told: tuple[str, str] | None
) -> None:
    """Whatever its number is. A sheet that a person withdrew is none, and a late replica has no news."""
    place = Place.from_id(now)
    assert place
    found = watch._news(watch._Event("reset", now, b"{}"), Place.from_id(known), place)  # noqa: SLF001
    assert [(kind, str(sheet)) for kind, sheet in found] == [("reset", "None"), *([told] if told else [])]


async def test_a_sheet_that_fails_after_a_reset_comes_again(tmp_path: Path) -> None:
    """With the rates of its own revision. A full service is a failure, too."""
    reset = f"event: reset\nid: {B}\ndata: {{}}\n\n"
    streams = [reset, reset, "retry: 30000\n\n"]

    async def answer(request: web.Request) -> web.Response:
        if request.path != "/v1/events":
            return web.json_response({"asked": request.path_qs})
        return web.Response(text=streams.pop(0), content_type="text/event-stream")

    told = tmp_path / "told"
    command = f"cat >>{told}; test $(wc -l <{told}) != 1"
    async with answering(answer) as url, aiohttp.ClientSession() as http:
        watched = reader(http, url, ("USD",), only=("sheet", "revision"), command=command, place=A)
        with pytest.raises(RatesvcError, match="ended with 1"):
            await watched.read()
        await watched.read()
        with pytest.raises(RatesvcError, match="is empty"):
            await watched.read()
    asked = f"/v1/rates/{FRIDAY}?codes=USD&revision=2"
    assert [json.loads(line)["asked"] for line in told.read_text().splitlines()] == [asked] * 2


@pytest.mark.parametrize("path", ["/v1/rates", "/v1/events"])
async def test_a_page_in_place_of_an_answer_is_a_failure_and_no_internal_error(path: str) -> None:
    """As of a proxy that asks for a login, whose words may be in another charset than UTF-8."""

    async def answer(request: web.Request) -> web.Response:
        if request.path == path:
            return web.Response(body="<p>Вход".encode("cp1251"), content_type="text/html")
        return web.json_response({})

    async with answering(answer) as url, aiohttp.ClientSession() as http:
        with pytest.raises(RatesvcError, match=rf"{path} answers 200 \(text/html\)"):
            await reader(http, url).read()


DAMAGED = {
    "half a JSON": (200, b'{"rates": {"USD": '),
    "a list": (200, b"[]"),
    "null": (200, b"null"),
    "other bytes": (200, b"\xcf\xf0"),
    "a page in the name of JSON": (502, b"<h1>Bad gateway</h1>"),
    "a list for a problem": (503, b"[]"),
}


@pytest.mark.parametrize("path", ["/v1/rates/2026-04-24", "/v1/events"])
@pytest.mark.parametrize("damaged", DAMAGED)
async def test_a_damaged_answer_is_tried_again(
    damaged: str, path: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is no internal error, and the event comes once the answer is right."""
    (status, body), tries = DAMAGED[damaged], list[str]()

    async def answer(request: web.Request) -> web.Response:
        is_stream = request.path == "/v1/events"
        is_damaged = request.path == path and not tries
        if not is_stream:
            given = (status, body) if is_damaged else (200, b"{}")
            return web.Response(status=given[0], body=given[1], content_type="application/json")
        data = body.replace(b"\n", b"") if is_damaged else b'{"effective_date": "2026-04-24", "revision": 2}'
        block = b"event: revision\nid: %s\ndata: %s\n\n" % (B.encode(), data)
        return web.Response(body=block, content_type="text/event-stream")

    async def sleep(_: float) -> None:
        tries.append("")
        if len(tries) == 2:
            raise EOFError

    monkeypatch.setattr(watch, "asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": sleep}))
    async with answering(answer) as url, aiohttp.ClientSession() as http:
        with pytest.raises(EOFError):
            await reader(http, url, place=A).go_on()
    assert [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()] == ["revision"]


@pytest.mark.parametrize("left", [b"", b"\0\0\0", b"2026-04-24\n2026-04-25"], ids=["empty", "zeros", "two lines"])
def test_a_state_file_that_a_crash_damaged_loses_no_event(tmp_path: Path, left: bytes) -> None:
    """The service gets an id that is none, so it says that everything is to be fetched again."""
    (tmp_path / "place").write_bytes(left)
    known = watch._kept(tmp_path / "place")  # noqa: SLF001
    assert (bool(known), known.isprintable(), Place.from_id(known)) == (True, True, None)


async def test_a_heartbeat_is_no_event() -> None:
    """Nor is a block without an id, and the next block has nothing of it."""

    async def stream() -> AsyncIterator[bytes]:
        for line in b"retry: 3\n\ndata: {}\n\nid: a\n\n:\n\nevent: sheet\nid: b\ndata: {}\n\n:\n\n".splitlines(
            keepends=True
        ):
            yield line

    found = [tuple(event) async for event in watch._events(cast("aiohttp.StreamReader", stream()))]  # noqa: SLF001
    assert found == [("", "a", b""), ("sheet", "b", b"{}")]


def test_the_text_names_a_correction_and_what_is_unknown() -> None:
    """A currency that the sheet lacks, and a change without a sheet before."""
    rows = {"CNY": watch._Row(10, Decimal("84.72"), Decimal("-0.2")), "USD": watch._Row(1, Decimal(60))}  # noqa: SLF001
    text = watch._text(watch._Sheet(SATURDAY, 2, rows), ("USD", "EUR", "CNY"), language_for("en"))  # noqa: SLF001
    first = watch._text(watch._Sheet(SATURDAY, 1, rows), (), language_for("en"))  # noqa: SLF001
    assert first.splitlines()[0] == "Bank of Russia, April 25, 2026"
    assert text.splitlines() == [
        "Bank of Russia, April 25, 2026 (Revision 2)",
        "USD = ₽60.0000",
        "EUR = —",
        "10 CNY = ₽84.7200 (−0.20%)",
    ]


def in_unit() -> list[str]:
    return shlex.split(IN_UNIT.replace("/usr/local/bin/ratesvc-telegram", "deploy/telegram.py"))


def in_compose() -> list[str]:
    assert OVERRIDE["image"] == f"ratesvc:{__version__}"
    return [word.replace("/telegram.py", str(ROOT / "deploy/telegram.py")) for word in OVERRIDE["command"]]


@pytest.mark.nightly
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


NO_CHAT = {"ok": False, "description": "Bad Request: chat not found"}


@pytest.mark.parametrize(
    ("status", "text", "variables", "said"),
    [
        (400, json.dumps(NO_CHAT), {}, "Bad Request: chat not found"),
        (400, '["no"]', {}, "HTTP Error 400: Bad Request"),
        (502, "<p>Bad Gateway", {}, "HTTP Error 502: Bad Gateway"),
        (200, "", {"TELEGRAM_CHAT": ""}, "TELEGRAM_CHAT is not set"),
        (200, "", {"TELEGRAM_API": "http://127.0.0.1:1"}, "<urlopen error [Errno 111] Connection refused>"),
    ],
)
async def test_what_keeps_a_message_from_telegram_is_said_in_a_line(
    status: int, text: str, variables: dict[str, str], said: str, tmp_path: Path
) -> None:
    """In its own words, before the line of the watch, which says that the command failed."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text=text)

    async with answering(answer) as api:
        given = {"TELEGRAM_API": api, "TELEGRAM_TOKEN": "123:abc", "TELEGRAM_CHAT": "@rates", **variables}
        variables = environment(tmp_path, **{name: value for name, value in given.items() if value})
        found = await finished(ROOT / "deploy/telegram.py", cwd=tmp_path, env=variables)
    assert found == (1, "", f"telegram: {said}\n")


async def test_a_wrong_code_ends_it(url: str, tmp_path: Path) -> None:
    """With one line at the start, instead of trying for ever."""
    code, out, err = await run(tmp_path, *f"watch USX --json --url {url}".split())
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "USX" in err


def test_the_unit_reads_no_secret_of_the_service() -> None:
    """Its user may not read the files that the service's settings name, and a file that cannot be read ends a start."""
    (unset,) = re.findall(r"^UnsetEnvironment=(.*)$", UNIT.read_text("utf-8"), re.MULTILINE)
    assert unset.split() == [f"{secret}_FILE" for secret in SECRETS]


@pytest.mark.parametrize(("lang", "told"), [("ru", False), ("", True)])
async def test_a_program_hears_of_a_reset_and_people_do_not(lang: str, told: bool) -> None:
    """Unless they ask for it."""
    async with aiohttp.ClientSession() as http:
        watched = reader(http, "http://localhost", lang=lang)
    assert ("reset" in watched.only, {"sheet", "revision", "in_force"} <= {*watched.only}) == (told, True)
