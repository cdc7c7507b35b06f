"""The command line as a person and a program meet it: arguments, output, errors and signals."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from conftest import eventually, first, patience_s, program
from kit import cases
from kit.bank import Bank, around_today, daily_xml
from kit.cases import script
from kit.http import says
from kit.service import ROOT, environment, finished, processes_over, run, running, serving
from kit.sheets import all_times, plausible

from ratesvc import cli
from ratesvc.commands.running import progress_shown
from ratesvc.demo import recorded_sheets
from ratesvc.domain.workdays import WorkCalendar, moscow_day, utc_now
from ratesvc.errors import ConfigError, EngineError, EngineNotReady, GaveUp, NoSheet
from ratesvc.service.cycle import Progress

NEWEST = recorded_sheets()[-1].effective_date

COMMANDS = script("run commands")
SETTINGS = (ROOT / "config.yaml").read_text("utf-8") + "RATESVC_COMPLETE"

Done = tuple[int, str, str]


@dataclass
class Command:
    """A command of ours in the folder of the test, in a process that has imported Python and the service."""

    process: subprocess.Popen[str]
    folder: Path

    def __call__(self, *words: str, **variables: str) -> Done:
        """Exit code, standard output, standard error."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps([str(self.folder), words, environment(self.folder, **variables)]) + "\n")
        self.process.stdin.flush()
        code, out, err = json.loads(self.process.stdout.readline())
        return code, out, err

    def printed(self, *words: str, **variables: str) -> str:
        """What it prints if it succeeds."""
        code, out, err = self(*words, **variables)
        assert code == 0, err
        return out

    def refused(self, code: int, words: str, **variables: str) -> str:
        """The one line of an error, and nothing on standard output."""
        found, out, err = self(*words.split(), **variables)
        assert (found, out, err.count("\n")) == (code, "", 1), err
        return err


@pytest.fixture(scope="module")
def interpreter() -> Iterator[subprocess.Popen[str]]:
    """A process that runs one command after the other."""
    pipe = subprocess.PIPE
    command, variables = [sys.executable, "-c", COMMANDS], environment(ROOT)
    with subprocess.Popen(command, env=variables, stdin=pipe, stdout=pipe, text=True) as process:
        yield process


@pytest.fixture
def command(interpreter: subprocess.Popen[str], tmp_path: Path) -> Command:
    return Command(interpreter, tmp_path)


# Help


@pytest.mark.parametrize(("command", "light"), [("healthcheck", {"msgspec"}), ("--help", set())])
async def test_a_small_command_imports_little(tmp_path: Path, command: str, light: set[str]) -> None:
    """A container asks every few seconds, and a shell at every key: neither waits for the service."""
    heavy = {"aiohttp", "asyncio", "babel", "rich", "redis", "yaml", "holidays", "structlog", "msgspec"}
    words = (sys.executable, "-X", "importtime", "-m", "ratesvc", command)
    _, _, err = await finished(*words, cwd=tmp_path, env=environment(tmp_path, RATESVC_PORT="1"))
    imported = {line.rsplit("|", 1)[-1].strip() for line in err.splitlines() if line.startswith("import time:")}
    assert "click" in imported
    assert imported & heavy == light


# Errors


def said(command: Command, line: str) -> str:
    """Exit code, standard output, and behind a ! standard error of a line of a golden file."""
    words = shlex.split(line)
    given = dict(word.split("=", 1) for word in words if re.match("[A-Z_]+=", word))
    code, out, err = command(*words[len(given) :], **given)
    told = "\n".join([f"exits with {code}", *out.splitlines(), *(f"! {text}" for text in err.splitlines())])
    return told.replace(str(command.folder), "{folder}")


def test_a_wrong_command_line_is_refused_before_anything_is_opened(command: Command, tmp_path: Path) -> None:
    """golden/command_line.txt says how."""
    asked = cases.questions("command_line.txt")
    cases.check("command_line.txt", {line: said(command, line) for line in asked})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [(), *((name,) for name in cli.main.commands)])
def test_help_fits_into_80_columns(words: tuple[str, ...]) -> None:
    """A terminal would break its lists in the middle of a word. No sentence in a list is cut."""
    shown = CliRunner().invoke(cli.main, [*words, "--help"] if words else ["-h"], terminal_width=80).stdout.splitlines()
    assert len(shown) > 5
    assert [line for line in shown[1:] if len(line) > 80 or line.endswith("...")] == []
    # What it names is there: commands, actions, options, variables.
    text, command = "\n".join(shown), cli.main.commands[words[0]] if words else cli.main
    options = {option for one in (command, cli.main) for given in one.params for option in given.opts}
    of_others = re.findall(r"ratesvc (\w+)((?: --[a-z-]+)*)", text.partition("\n")[2])
    for name, more in of_others:
        options |= {option for given in cli.main.commands[name].params for option in given.opts}
        assert {*more.split()} <= options
    assert {*re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)} - {"--help", "--version"} <= options
    actions = [given.type.choices for given in command.params if isinstance(given.type, click.Choice)][:1]
    assert (
        not words
        or words[0] != "quarantine"
        or actions == [tuple(re.findall(r"^  ([a-z]+)  +\w", text, re.MULTILINE)[:4])]
    )
    assert [name for name in re.findall(r"RATESVC_\w+", text) if name not in SETTINGS] == []


@pytest.mark.nightly
def test_each_command_says_what_helps(command: Command) -> None:
    """golden/commands.txt says what, and why. A demo ran in the folder before."""
    (command.folder / "data/demo").mkdir(parents=True)
    asked = cases.questions("commands.txt")
    cases.check("commands.txt", {line: said(command, line) for line in asked})


@pytest.mark.nightly
@pytest.mark.parametrize(("host", "status"), [("203.0.113.1", 75), ("nowhere.invalid", 78)])
def test_an_address_that_is_not_this_machines_is_named_with_its_setting(
    command: Command, host: str, status: int
) -> None:
    """An unknown name is a mistake. An address may come later, so whoever started the program tries again."""
    code, out, err = command("serve", "--demo", RATESVC_HOST=host, RATESVC_PORT="0")
    assert (code, out) == (status, "")
    assert err.splitlines()[-1].endswith("; RATESVC_HOST, RATESVC_PORT and RATESVC_ADMIN_PORT set the address")


@pytest.mark.nightly
@pytest.mark.parametrize("words", ["show USD", "convert 1 USD", "export site", "show --demo", "export site --demo"])
async def test_a_command_that_only_reads_leaves_no_data_behind(
    bank: Bank, command: Command, tmp_path: Path, words: str
) -> None:
    """It answers in any folder, and makes no store there."""
    around_today(bank)
    assert await asyncio.to_thread(command.printed, *words.split(), RATESVC_CBR_MIRRORS=bank.url)
    assert [file.name for file in tmp_path.iterdir()] == (["site"] if "export" in words else [])


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        *((NoSheet("None."), 1, "None."), (ConfigError("port: no"), 78, "port: no"), (EngineError("none"), 78, "none")),
        *((EngineNotReady("busy"), 75, "busy"), (GaveUp("too long"), 75, "too long")),
        (OSError(errno.ENOSPC, "No space left", "file"), 75, "file: No space left"),
        (OSError(errno.EACCES, "Permission denied", "file"), 78, "file: Permission denied"),
        (ValueError("one\ntwo"), 70, "internal error, please report it: ValueError: one two ("),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(
    error: Exception, code: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """70 is our own fault, 75 passes by itself, 78 does not."""

    @click.command
    def broken() -> None:
        raise error

    monkeypatch.setitem(cli.main.commands, "broken", broken)
    done = CliRunner().invoke(cli.main, ["broken"])
    assert (done.exit_code, done.stderr.count("\n")) == (code, 1)
    assert done.stderr.startswith(f"ratesvc: {said}")
    assert ("test_cli.py, line " in done.stderr) == (code == cli.INTERNAL)


# Output


@pytest.mark.slow
async def test_json_is_what_the_api_answers(command: Command, tmp_path: Path) -> None:
    """The bytes of show and convert are those of /v1."""
    async with serving(tmp_path, "--demo") as program:
        await eventually(lambda: says(program, "/v1/rates/2022-11-06"))
        for words, path in (
            ("show", "/v1/rates"),
            ("show usd --date 2022-11-06 --lang ru", "/v1/rates/2022-11-06?codes=USD&lang=ru"),
            ("convert 100 usd cny", "/v1/convert?amount=100&from=USD&to=CNY"),
            ("convert 0.5 EUR --date 2022-11-06", "/v1/convert?amount=0.5&from=EUR&date=2022-11-06"),
        ):
            status, _, body = await program.get(path)
            assert status == 200
            assert command(*words.split(), "--json", "--demo") == (0, body.decode() + "\n", "")


@pytest.mark.nightly
def test_every_step_of_a_long_job_is_a_line_of_json(command: Command) -> None:
    """The last line is what is held; a comparison says how much differs, an export what it has written."""
    code, out, err = command("backfill", "--since", "2022-10-01", "--json", "--demo")
    assert (code, err) == (0, "")
    *steps, held = map(json.loads, out.splitlines())
    assert [step["done"] for step in steps if step["total"] == 34] == [*range(35)], "then days are looked at"
    assert steps[-1]["done"] == steps[-1]["total"] < 34
    assert held == {"sheets": 35, "since": "2022-10-01", "until": str(NEWEST), "unconfirmed": []}
    *_, last = command.printed("verify", "--json", "--demo").splitlines()
    assert json.loads(last) == {"differences": 0}
    counts = json.loads(command.printed("export", "site", "--json", "--demo"))
    assert (counts["folder"], counts["removed"]) == ("site", 0)


@pytest.mark.nightly
async def test_health_is_json_too(command: Command, bank: Bank, tmp_path: Path) -> None:
    """On standard output. golden/commands.txt shows errors."""
    async with serving(tmp_path, RATESVC_CBR_MIRRORS=bank.url) as program:
        port = program.url.rsplit(":", 1)[1]
        code, out, _ = command("healthcheck", "--json", RATESVC_PORT=port, RATESVC_HOST="0.0.0.0")  # noqa: S104
        url = f"http://127.0.0.1:{port}/livez"
        assert (code, json.loads(out)) == (0, {"url": url, "alive": True, "status": 200, "answer": "ok"})
        assert command("healthcheck", RATESVC_PORT=port, RATESVC_ADMIN_PORT="1") == (0, "ok\n", "")


@pytest.mark.slow
async def test_a_service_without_rates_is_alive_and_not_ready(command: Command, bank: Bank, tmp_path: Path) -> None:
    """A supervisor asks the first, a person after a start the second, which names what is missing."""
    async with serving(tmp_path, RATESVC_CBR_MIRRORS=bank.url, RATESVC_POLL_SECONDS="0.5") as program:
        port = program.url.rsplit(":", 1)[1]
        assert command("healthcheck", RATESVC_PORT=port) == (0, "ok\n", "")
        code, out, err = command("healthcheck", "--ready", RATESVC_PORT=port)
        assert (code, out) == (1, "")
        assert f"http://127.0.0.1:{port}/readyz answers 503: " in err
        around_today(bank)
        await program.ready()
        assert command("healthcheck", "--ready", RATESVC_PORT=port) == (0, "ready\n", "")


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("greeting", "said"),
    [
        (b"220 mail.example ESMTP\r\n", "does not speak HTTP|reset"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n<p>\n" + b"no\n" * 300, "answers 404: <p> no"),
    ],
    ids=["mail", "a site"],
)
async def test_another_program_on_the_port_is_not_healthy(tmp_path: Path, greeting: bytes, said: str) -> None:
    """Whatever it says, in one line."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if greeting.startswith(b"HTTP"):
            await reader.readuntil(b"\r\n\r\n")
        writer.write(greeting)
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        code, _, err = await run(tmp_path, "healthcheck", RATESVC_PORT=str(port))
    assert (code, err.count("\n")) == (1, 1)
    assert re.search(said, err)
    assert len(err) < 200


# Decisions


@pytest.mark.slow
async def test_a_person_decides_about_documents_in_quarantine(bank: Bank, command: Command, tmp_path: Path) -> None:
    """list, show, --raw, release and drop beside a running service, which serves a released sheet at once."""
    calendar = WorkCalendar()
    in_force = calendar.effective_date_on_or_before(moscow_day(utc_now()))
    before = calendar.effective_date_on_or_before(in_force - timedelta(days=1))
    bank.publish(plausible(before), plausible(in_force))
    variables = {"RATESVC_CBR_MIRRORS": bank.url, "RATESVC_POLL_SECONDS": "0.2"}

    def quarantine(*words: str) -> str:
        return command.printed("quarantine", *words, **variables)

    async with serving(tmp_path, **variables) as program:
        await program.ready()
        counted = b'ratesvc_quarantined_total{reason="power_of_ten"} %d.0'
        assert quarantine("list") == ""
        tenfold = all_times(plausible(in_force), "10")
        usd, usual = (str(one.by_code["USD"].value) for one in (tenfold, plausible(in_force)))
        bank.documents[in_force] = daily_xml(tenfold)
        await eventually(lambda: says(program, "/metrics", counted % 1))
        head, reason, *_ = quarantine("list").splitlines()
        name = head.split()[0]
        assert (f" {in_force} " in head, reason.startswith("  power_of_ten: AED ×10^1")) == (True, True)
        assert re.search(rf"^! USD +1 +{usd} ", quarantine("show", name[:6]), re.MULTILINE)
        [record] = json.loads(quarantine("list", "--json"))
        assert (record["name"], record["effective_date"]) == (name, str(in_force))
        shown = json.loads(quarantine("show", "--json", name), parse_float=str)
        assert record.items() <= shown.items()
        assert shown["rates"]["USD"]["now"]["value"] == usd
        assert shown["rates"]["USD"]["before"] is not None
        assert (shown["suspects"], shown["published"]) == (sorted(tenfold.by_code), 1)
        assert quarantine("show", "--raw", name).startswith('<?xml version="1.0"')
        code, shown, asked = command("quarantine", "release", name, **variables)
        told = (
            f"\nRevision 1 of the sheet of {in_force} is published now. A release replaces it.\n",
            f" before {'1':>9}",
        )
        assert (code, [one in shown for one in told], asked) == (1, [True] * 2, "Publish it? [y/N]: Aborted!\n")
        assert command("quarantine", "release", name, "--json", **variables) == (1, "", shown + asked)
        released = f"{shown}Published: the sheet of {in_force}, revision 2.\n"
        assert quarantine("release", name, "--yes") == released

        async def published(number: int, flag: str) -> bool:
            document = json.loads((await program.get("/v1/rates"))[2])
            return bool((document["revision"], document["flags"][-1:]) == (number, [flag]))

        await eventually(lambda: published(2, "released"))
        # A poll that began before may put the document there once more, and the next takes it away.
        await eventually(lambda: quarantine("list") == "")
        code, shown, asked = command("withdraw", str(in_force), **variables)
        assert (code, asked) == (1, "Withdraw it? [y/N]: Aborted!\n")
        assert re.search(rf"revision before it is in force again:\n(.*\n)*  USD +1 +{usd}   then +1 +{usual}\n", shown)
        printed = command.printed("withdraw", str(in_force), "--yes", "--json", **variables)
        assert json.loads(printed) == {"effective_date": str(in_force), "withdrawn": 2, "revision": 3}
        await eventually(lambda: published(3, "withdrawal"))
        # The Bank still sends the same.
        await eventually(lambda: "withdrawn: these figures" in quarantine("list"))
        assert "no sheet of 2000-01-01 is held" in command.refused(1, "withdraw 2000-01-01 --yes", **variables)
        bank.documents[in_force] = daily_xml(all_times(plausible(in_force), "100"))
        await eventually(lambda: says(program, "/metrics", counted % 2))
        bank.publish(tenfold)
        assert quarantine("drop", quarantine("list").split()[0]).startswith("Dropped: ")
        assert "no documents in quarantine" in command.refused(1, "quarantine release ffffffffffff", **variables)


# Terminals, streams and signals


async def in_a_terminal(folder: Path, *arguments: str, run: tuple[str, str] = ("-m", "ratesvc"), **more: str) -> str:
    """What a command writes to a terminal, of eighty columns by default. `more` are variables."""
    terminal = (sys.executable, "-c", "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]))")
    variables = environment(folder, **{"TERM": "xterm-256color", "COLUMNS": "80", **more})
    words = (*terminal, sys.executable, *run, *arguments)
    code, out, _ = await finished(*words, cwd=folder, env=variables)
    assert code == 0
    return out


@pytest.mark.nightly
async def test_colour_is_for_terminals_and_not_where_no_color_is_set(command: Command, tmp_path: Path) -> None:
    """Green and red of the terminal's own palette, so that they suit light and dark."""
    words = ("show", "USD", "EUR", "--demo")
    coloured = await in_a_terminal(tmp_path, *words)
    assert "\x1b[32m" in coloured
    assert "\x1b[31m" in coloured
    assert "\x1b[3" not in await in_a_terminal(tmp_path, *words, NO_COLOR="1")
    _, piped, _ = command(*words)
    assert "\x1b" not in piped
    assert "▲" in piped


LOGGING = script("log of libraries")


@pytest.mark.slow
@pytest.mark.parametrize(("no_color", "quiet"), first(1, [("", False), ("1", False), ("1", True)]))
async def test_the_log_has_our_events_and_the_warnings_of_libraries(no_color: str, quiet: bool, tmp_path: Path) -> None:
    """With the time in UTC; in colours, unless they are not wanted. A command that is no service is quiet."""
    out = await in_a_terminal(tmp_path, run=("-c", LOGGING.format(quiet=quiet)), NO_COLOR=no_color, TZ="NST3:30")
    ours = [] if quiet else ["ratesvc 20", "ratesvc 30"]
    assert re.findall(r"(?:library|ratesvc) [0-9]+", out) == ["library 30", *ours]
    assert ("\x1b" in out) is (no_color == "")
    assert len(re.findall(r"T[0-9:.]+Z", out)) == 1 + len(ours)


FAILING = script("log of an error")


@pytest.mark.nightly
@pytest.mark.parametrize("form", ["console", "json"])
async def test_a_logged_error_says_where_it_happened_and_no_value_of_a_variable(form: str, tmp_path: Path) -> None:
    """Variables hold passwords and readers' addresses, too."""
    out = await in_a_terminal(tmp_path, run=("-c", FAILING.format(form=form)))
    assert "ValueError" in out
    assert "a bug" in out
    assert re.search(r'in fail|"name": "fail"', out)
    assert "password" not in out
    assert "2 × 2" in out


@pytest.mark.nightly
async def test_the_progress_of_a_long_job_is_a_bar_in_a_terminal(tmp_path: Path) -> None:
    """It ends at a hundred per cent."""
    drawn = await in_a_terminal(tmp_path, "backfill", "--demo", COLUMNS="40", NO_COLOR="1")
    assert "100%" in drawn


@pytest.mark.nightly
async def test_whatever_happens_to_the_output_the_command_ends_in_order(tmp_path: Path) -> None:
    """A reader that leaves, a full disk, a closed output, a terminal that knows ASCII only."""
    ratesvc = f"{shlex.quote(sys.executable)} -m ratesvc"
    command = f"{ratesvc} show --demo"
    for line, code, text in (
        (f"set -o pipefail; {command} --json | true", (0, 1), ""),
        (f"{ratesvc} serve --check-config >/dev/full", (75,), "ratesvc: No space left on device\n"),
        (f"{ratesvc} --help >/dev/full", (75,), "ratesvc: No space left on device\n"),
        (f"{command} >&- 2>&-", (0,), ""),
        (f"PYTHONIOENCODING=ascii {command} --lang ru USD", (0,), ""),
    ):
        status, _, err = await finished(program("bash"), "-c", line, cwd=tmp_path, env=environment(tmp_path))
        assert status in code, line
        assert err == text, line


@pytest.mark.slow
async def test_an_interrupted_command_ends_at_once_without_a_word(bank: Bank, tmp_path: Path) -> None:
    """Ctrl-C in the pause between two requests; nothing of it is left running."""
    around_today(bank, back=20)
    variables = {"RATESVC_CBR_MIRRORS": bank.url, "RATESVC_CBR_BACKFILL_GAP_SECONDS": "600"}
    async with running(tmp_path, "backfill", **variables) as process:
        await eventually(lambda: any(request.path.endswith("XML_valFull.asp") for request in bank.asked))
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(patience_s()):
            _, err = await process.communicate()
    assert process.returncode == cli.INTERRUPTED
    assert b"Traceback" not in err
    assert not processes_over(tmp_path)


async def test_a_lost_interrupt_ends_a_long_job_at_its_next_step() -> None:
    """On Python 3.11 asyncio.wait_for returns if its command is done when the cancellation comes."""
    steps = 0

    async def job() -> None:
        nonlocal steps
        with progress_shown(as_json=False) as report:
            for steps in range(5):
                with contextlib.suppress(asyncio.CancelledError):  # what wait_for does
                    await asyncio.sleep(0)
                await report(Progress(steps, 5, "USD"))

    task = asyncio.create_task(job())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps == 0
