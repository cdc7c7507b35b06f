"""The command line as a person and a program meet it: real commands over recorded figures and a replica of the Bank."""

from __future__ import annotations

import asyncio
import io
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from aiohttp import web
from click.testing import CliRunner
from conftest import Clock, eventually, program
from fake_bank import Bank, daily_xml, last_month, sheet, workdays
from hypothesis import given
from hypothesis import strategies as st
from processes import ROOT, environment, processes_over, run, serving
from rich.console import Console, RenderableType
from sheets import changed, plausible, times

from ratesvc import cli
from ratesvc.commands.rates import held_or_fetched
from ratesvc.commands.running import in_force
from ratesvc.config import Settings
from ratesvc.demo import recorded_sheets
from ratesvc.domain.history import History, on_day
from ratesvc.domain.rates import MOST_USED, InForce, Quote, Revision, Sheet, plain
from ratesvc.domain.workdays import DUE, WorkCalendar, at, moscow_day, utc_now
from ratesvc.errors import FetchFailed, RatesvcError
from ratesvc.render import terminal
from ratesvc.render.language import language_or_default
from ratesvc.render.series import SeriesParams, to_json
from ratesvc.service.app import Service

NEWEST = recorded_sheets()[-1].effective_date
HISTORY = History(
    WorkCalendar(), (Revision(recorded, 1, at(recorded.effective_date, DUE)) for recorded in recorded_sheets())
)


def recorded() -> InForce:
    """What the recording's last sheet answers."""
    return on_day(HISTORY, NEWEST, at(NEWEST, DUE))


def started(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A command to its end, and whatever Python says about it."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment(folder, **variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


@pytest.mark.parametrize(
    ("command", "strangers"),
    [
        (
            "healthcheck",
            {"aiohttp", "asyncio", "babel", "rich", "redis", "yaml", "holidays", "structlog"},
        ),
        ("--help", {"aiohttp", "asyncio", "babel", "rich", "redis", "yaml", "holidays", "structlog", "msgspec"}),
    ],
)
def test_a_small_command_imports_little(tmp_path: Path, command: str, strangers: set[str]) -> None:
    """A container asks every few seconds, and a shell at every key: neither pays for the service."""
    done = started(tmp_path, "-X", "importtime", "-m", "ratesvc", command, RATESVC_PORT="1")
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "click" in imported
    assert imported & strangers == set()


def completed(folder: Path, words: str) -> list[str]:
    """What bash is offered after these words."""
    asked = {"_RATESVC_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    return [line.partition(",")[2] for line in started(folder, "-m", "ratesvc", **asked).stdout.splitlines()]


@pytest.mark.slow
def test_a_shell_completes_commands_options_and_currencies(tmp_path: Path) -> None:
    """Click's own completion, without the network and in any case of letters."""
    assert {"serve", "show", "convert", "backfill", "export", "quarantine", "healthcheck"} == {
        *completed(tmp_path, "ratesvc ")
    }
    assert completed(tmp_path, "ratesvc show u") == ["UAH", "USD", "UZS"]
    assert completed(tmp_path, "ratesvc convert 100 USD cn") == ["CNY"]
    assert completed(tmp_path, "ratesvc quarantine re") == ["release"]
    assert "--days" in completed(tmp_path, "ratesvc show --")
    assert completed(tmp_path, "ratesvc show --lang r") == ["ru"]


def test_every_recorded_currency_is_completed() -> None:
    """The list is sorted, holds nothing twice, and all of the demo's but BGN: Bulgaria has the euro since."""
    assert sorted(set(cli.CODES)) == list(cli.CODES)
    assert {*recorded_sheets()[-1].by_code, *MOST_USED, "RUB"} - {"BGN"} <= {*cli.CODES}


RATES = st.lists(st.decimals("0.0001", "99999", places=4), min_size=1, max_size=100)


@given(RATES)
def test_a_line_of_blocks_keeps_the_order_of_its_rates(rates: list[Decimal]) -> None:
    """One block for each shown rate, a higher one never below a lower one, the last rate always among them."""
    line = terminal.blocks(rates)
    shown = rates[::-1][:: -(-len(rates) // terminal.MOST_BLOCKS)][::-1]
    assert len(line) == len(shown) <= terminal.MOST_BLOCKS
    assert shown[-1] == rates[-1]
    levels = [terminal.BLOCKS.index(block) for block in line]
    ordered = [level for _, level in sorted(zip(shown, levels, strict=True))]
    assert ordered == sorted(ordered)


def test_a_line_of_blocks_reaches_from_the_lowest_to_the_highest() -> None:
    """Eight levels; nothing at all where there is nothing, and the middle where nothing moves."""
    assert terminal.blocks([Decimal(n) for n in range(8)]) == "▁▂▃▄▅▆▇█"
    assert terminal.blocks([Decimal(5), Decimal(5)]) == "▄▄"
    assert terminal.blocks([]) == ""


def drawn(width: int, tag: str, codes: Sequence[str], days: int) -> list[str]:
    """The lines of the table in a terminal of that width."""
    since = NEWEST - timedelta(days=days)
    moved = {code: HISTORY.series(code, since, NEWEST) for code in codes} if days else {}
    return printed(terminal.rates(recorded(), language_or_default(tag), codes, moved, demo=True), width)


def printed(shown: RenderableType, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO(), color_system=None, legacy_windows=False)
    console.print(shown)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@given(st.integers(34, 160), st.sampled_from(["en", "ru", "zh-Hans", "de", "ar"]), st.sampled_from([0, 7, 30, 56]))
def test_no_figure_is_cut_in_a_narrow_terminal(width: int, tag: str, days: int) -> None:
    """Columns go, in an order, before a digit does; no line is wider than the terminal."""
    codes = ("USD", "UZS", "XDR")
    lines = drawn(width, tag, codes, days)
    assert max(len(line) for line in lines) <= width
    figures = language_or_default(tag)
    for code in codes:
        value = figures.number(recorded().revision.sheet.by_code[code].value, 4)
        assert any(line.startswith(code) and value in line for line in lines)
    assert "…" not in "".join(lines)


def test_a_table_says_everything_without_colour() -> None:
    """Sign and arrow of each change, the line, and the lowest and the highest value for the same nominal."""
    found = next(line for line in drawn(140, "en", ["UZS"], 30) if line.startswith("UZS"))
    values = [
        recorded.by_code["UZS"].value for recorded in recorded_sheets() if (NEWEST - recorded.effective_date).days <= 30
    ]
    assert "▲ +" in found or "▼ −" in found
    assert found.split()[-2:] == [plain(min(values)), plain(max(values))]
    assert terminal.blocks(values) in found


def test_how_a_currency_moved_is_told_in_one_rouble() -> None:
    """Six roubles of January 1998 are no fall from six thousand old ones: what was before New Year is left out."""
    days = [date(1997, 12, 31), date(1998, 1, 1), date(1998, 1, 6), date(1998, 1, 7)]
    points = list(zip(days, map(Decimal, ("5960.0000", "5.9600", "5.9630", "5.9690")), strict=True))
    usd = Quote("USD", "840", "R01235", 1, points[-1][1], "Доллар США")
    answer = InForce(days[-1], Revision(Sheet(days[-1], (usd,)), 1, at(days[-1], DUE)), None, None)
    head, line = printed(terminal.rates(answer, language_or_default("en"), ["USD"], {"USD": points}, demo=False), 140)[
        1:
    ]
    assert "since January 1, 1998" in head
    assert line.split()[-6:] == ["▁▃█", "▲", "+0.1510", "%", "5.9600", "5.9690"]


def test_amounts_in_old_roubles_are_called_so() -> None:
    """Between other currencies there is none of them."""
    old, english = date(1997, 12, 31), language_or_default("en")
    quotes = (
        Quote("USD", "840", "R01235", 1, Decimal(5960), "-"),
        Quote("DEM", "280", "R01150", 1, Decimal(3351), "-"),
    )
    answer = InForce(old, Revision(Sheet(old, quotes), 1, at(old, DUE)), None, None)
    said = "In old roubles: 1,000 old roubles are 1 new rouble."
    assert said in terminal.conversion(answer, Decimal(1), "USD", "RUB", english, demo=False).splitlines()
    assert said not in terminal.conversion(answer, Decimal(1), "USD", "DEM", english, demo=False)
    assert said in printed(terminal.rates(answer, english, ["USD"], {}, demo=False), 140)


def test_a_currency_that_the_sheet_lacks_has_no_figures() -> None:
    """It keeps its line, so that a program that counts lines is not misled."""
    assert drawn(140, "en", ["USD", "DEM"], 30)[-1].split() == ["DEM", "German", "Mark", *["—"] * 6]


ERRORS: list[tuple[list[str], int, str]] = [
    (["show", "use"], 1, "ratesvc: There is no currency USE. Did you mean USD?"),
    (["show", "XQZ"], 1, "ratesvc: No currency XQZ is known."),
    (["show", "RUB"], 1, "ratesvc convert 1 RUB USD"),
    (["convert", "100", "USD", "EURO"], 1, "Did you mean EUR?"),
    (["convert", "1,5", "USD"], 2, "with a point"),
    (["convert", "9" * 16, "USD"], 2, "up to 15 digits before it"),
    (["show", "--date", "2022-02-30"], 2, "Give an existing day in the form YYYY-MM-DD."),
    (["show", "--date", "1990-01-01"], 1, "begin on 1992-07-01"),
    (["show", "--date", "1993-05-01"], 1, "ratesvc: The demo's recording begins on 2022-09-24; 1993-05-01 is earlier."),
    (["show", "--date", "2022-12-30"], 1, "They are due by 18:00 on 2022-12-29, Moscow time."),
    (["show", "--lang", "klingon"], 2, "There is no language 'klingon'"),
    (["show", "--days", "0"], 2, "--days"),
    (["export", "/proc/folder"], 78, "ratesvc: /proc/folder: "),
]
ONE_BY_ONE = """
import json, sys
from click.testing import CliRunner
from ratesvc.cli import main
for words in json.loads(sys.argv[1]):
    done = CliRunner().invoke(main, words)
    print(json.dumps([done.exit_code, done.stdout, done.stderr]))
"""


@pytest.mark.slow
def test_an_error_says_what_to_do_and_never_where_the_code_is(tmp_path: Path) -> None:
    """One line for what cannot be answered, click's own words for a wrong command line; nothing on standard output."""
    commands = json.dumps([[*words, "--demo"] for words, _, _ in ERRORS])
    done = started(tmp_path, "-c", ONE_BY_ONE, commands).stdout.splitlines()
    for (command, code, words), line in zip(ERRORS, done, strict=True):
        found, out, err = json.loads(line)
        assert (command, found, out) == (command, code, "")
        assert words in err
        assert "Traceback" not in err
        assert code == 2 or err.count("\n") == 1


@pytest.mark.slow
async def test_without_the_bank_and_without_a_store_it_is_said_what_is_lacking(tmp_path: Path) -> None:
    """A newcomer behind a wall learns that it is the Bank who does not answer, and what works all the same."""
    for arguments in (("show", "--date", "1993-05-01"), ("convert", "1", "USD"), ("backfill",), ("export", "site")):
        code, out, err = await run(tmp_path, *arguments)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert err.startswith("ratesvc: the Bank gave no rates: 127.0.0.1:1: connect: ")
        assert err.endswith("; --demo works without the network\n")


def test_a_mistake_of_ours_is_one_line_too() -> None:
    """With the place for a report, and an exit code of its own."""

    @cli.main.command("mistaken")
    def mistaken() -> None:
        raise KeyError("one\ntwo")

    try:
        done = CliRunner().invoke(cli.main, ["mistaken"])
    finally:
        del cli.main.commands["mistaken"]
    assert done.exit_code == cli.INTERNAL
    assert done.stderr.count("\n") == 1
    assert "KeyError" in done.stderr
    assert "test_cli.py" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("host", ["203.0.113.1", "nowhere.invalid"])
async def test_an_address_that_is_not_this_machines_is_refused_with_its_setting(tmp_path: Path, host: str) -> None:
    """One of another machine, or a name that nobody knows."""
    code, out, err = await run(tmp_path, "serve", "--demo", RATESVC_HOST=host, RATESVC_PORT="0")
    assert (code, out) == (78, "")
    assert err.splitlines()[-1].endswith("; RATESVC_HOST sets the address")


@pytest.mark.slow
async def test_json_is_what_the_api_answers(tmp_path: Path) -> None:
    """The bytes of show and convert are those of /v1; without history the Bank is asked for those days alone."""
    series = ("show", "USD", "eur", "--days", "30", "--json", "--demo")
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    code, alone, err = await run(fresh, *series)
    assert (code, err) == (0, "")
    async with serving(tmp_path, "--demo") as program:
        since, until = NEWEST - timedelta(days=31), NEWEST - timedelta(days=1)

        async def loaded() -> bool:
            return (await program.get(f"/v1/series?codes=USD&since={since}"))[0] == 200

        await eventually(loaded)
        for arguments, path in (
            (("show", "--json", "--demo"), "/v1/rates"),
            (
                ("show", "usd", "--date", "2022-11-06", "--lang", "ru", "--json", "--demo"),
                "/v1/rates/2022-11-06?codes=USD&lang=ru",
            ),
            (("convert", "100", "usd", "cny", "--json", "--demo"), "/v1/convert?amount=100&from=USD&to=CNY"),
            (
                ("convert", "0.5", "EUR", "--date", "2022-11-06", "--json", "--demo"),
                "/v1/convert?amount=0.5&from=EUR&date=2022-11-06",
            ),
            (series, f"/v1/series?codes=USD,EUR&since={since}&until={until}"),
        ):
            status, _, body = await program.get(path)
            assert status == 200
            assert await run(tmp_path, *arguments) == (0, body.decode() + "\n", "")
        assert alone.encode() == body + b"\n"


@asynccontextmanager
async def commanded(settings: Settings, clock: Clock) -> AsyncIterator[Service]:
    """A service as commands open it: nothing happens by itself."""
    async with Service(settings, clock=clock, scheduled=False) as service:
        yield service


async def test_a_past_day_is_answered_by_the_banks_own_word(bank: Bank, settings: Settings, clock: Clock) -> None:
    """Asked for a day in 1993 the Bank gives the sheet that was in force then, days before; no backfill is needed."""
    bank.publish(*map(sheet, (date(1993, 3, 2), date(1993, 3, 9), date(2026, 4, 23), date(2026, 4, 24))))
    async with commanded(settings, clock) as service:
        found = await in_force(service, date(1993, 3, 4))
    assert (found.requested_date, found.revision.effective_date) == (date(1993, 3, 4), date(1993, 3, 2))
    assert not found.stale


@pytest.mark.slow
async def test_why_a_day_cannot_be_answered_is_said(bank: Bank, settings: Settings, clock: Clock) -> None:
    """The Bank's failure, whatever else is held, for a past day and for one to come; today's rates are still there."""
    bank.publish(sheet(date(2026, 4, 23)), sheet(date(2026, 4, 24)))
    async with commanded(settings, clock) as service:
        await in_force(service, None)
        bank.misbehave = refusing
        for day in (date(2024, 3, 4), date(2026, 4, 25)):
            with pytest.raises(FetchFailed, match="status: 503"):
                await in_force(service, day)
        assert (await in_force(service, None)).revision.effective_date == date(2026, 4, 24)
        clock.advance(days=5)
        assert (await in_force(service, None)).stale


async def refusing(_: web.Request) -> web.StreamResponse:
    return web.Response(status=503)


async def test_a_sheet_that_is_held_back_is_no_answer_for_its_day(bank: Bank, settings: Settings, clock: Clock) -> None:
    """The reason is said; neither «not loaded» nor an older sheet in its place."""
    bank.publish(*map(sheet, (date(2026, 4, 22), date(2026, 4, 23), date(2026, 4, 24))))
    async with commanded(settings, clock) as service:
        await in_force(service, None)
        wrong = sheet(date(2026, 4, 25))
        bank.publish(Sheet(wrong.effective_date, tuple(replace(q, value=q.value * 10) for q in wrong.quotes)))
        with pytest.raises(RatesvcError, match=r"sheet of 2026-04-25 is held back \(power"):
            await in_force(service, date(2026, 4, 25))


async def test_what_is_held_back_is_not_shown_either(bank: Bank, settings: Settings, clock: Clock) -> None:
    """Days that are not held are asked for and not kept: what is wrong with them is left out and named."""
    days = list(workdays(date(2026, 3, 24), 24))
    bank.publish(*map(plausible, days))
    clock.moment = datetime(2026, 4, 24, 14, tzinfo=UTC)
    slipped, newest, repaired = days[10], days[-1], days[-2]
    right = dict(bank.series["R01235"])
    async with commanded(settings, clock) as service:
        await in_force(service, repaired)
        for day in (slipped, newest, repaired):
            bank.series["R01235"][day] = (1, right[day][1] * 10)
        bank.documents[newest] = daily_xml(changed(plausible(newest), USD=times("10")))
        wanted = SeriesParams(("USD",), newest - timedelta(days=30), newest)
        found = await held_or_fetched(service, wanted)
        assert dict(found.series("USD", wanted.since, wanted.until)) == {
            day: right[day][1] for day in days if day not in (slipped, newest) and day >= wanted.since
        }
        assert json.loads(to_json(wanted, found, newest, demo=False))["unconfirmed"] == [slipped.isoformat()]


@pytest.mark.slow
async def test_days_that_are_not_held_cost_one_request_a_currency(bank: Bank, tmp_path: Path) -> None:
    """Two currencies, two requests; the line ends with the value that is shown."""
    days, today = last_month(bank), moscow_day(utc_now())
    variables = {"RATESVC_CBR_MIRRORS": bank.url, "RATESVC_CBR_BACKFILL_GAP_SECONDS": "0"}
    code, out, err = await run(tmp_path, "show", "USD", "UZS", "--days", "20", **variables)
    assert (code, err) == (0, "")
    assert len(bank.series_asked) == 2
    within = [day for day in days if (today - day).days <= 20]
    assert sum(map(out.count, terminal.BLOCKS)) == 2 * len(within)


@pytest.mark.slow
async def test_a_conversion_in_words_says_rate_and_sheet(tmp_path: Path) -> None:
    """«=» where the coins are exact, «≈» where they are rounded; numbers as the language writes them."""
    assert await run(tmp_path, "convert", "100", "USD", "--demo") == (
        *(0, "100 USD = 6,038.94 RUB\n1 USD = 60.3894 RUB\nBank of Russia, November 18, 2022 (demo)\n", ""),
    )
    code, out, _ = await run(tmp_path, "convert", "0.5", "USD", "CNY", "--date", "2022-11-06", "--lang", "ru", "--demo")
    assert code == 0
    assert out.startswith("0,5 USD ≈ 3,")
    assert "4 ноября 2022" in out
    assert "6 ноября 2022" in out


def in_a_terminal(folder: Path, *arguments: str, **variables: str) -> str:
    """What a command writes to a terminal, of eighty columns unless told."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "ratesvc", *arguments],
        cwd=folder,
        env=environment(folder, **{"TERM": "xterm-256color", "COLUMNS": "80", **variables}),
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    parts = []
    try:
        while part := os.read(ours, 65536):
            parts.append(part)
    except OSError:
        pass  # how Linux ends a terminal
    os.close(ours)
    assert process.wait(timeout=30) == 0
    return b"".join(parts).decode()


@pytest.mark.slow
def test_colour_is_for_terminals_and_not_where_no_color_is_set(tmp_path: Path) -> None:
    """Green and red of the terminal's own palette, so that they suit light and dark."""
    coloured = in_a_terminal(tmp_path, "show", "USD", "EUR", "--demo")
    assert "\x1b[32m" in coloured
    assert "\x1b[31m" in coloured
    assert "\x1b[3" not in in_a_terminal(tmp_path, "show", "USD", "EUR", "--demo", NO_COLOR="1")
    piped = started(tmp_path, "-m", "ratesvc", "show", "USD", "EUR", "--demo").stdout
    assert "\x1b" not in piped
    assert "▲" in piped


@pytest.mark.slow
@pytest.mark.parametrize("width", ["40", "80"])
def test_how_far_a_long_job_is_can_be_read_in_a_narrow_terminal(tmp_path: Path, width: str) -> None:
    """The count and the time left are whole; the bar has the rest."""
    drawn = in_a_terminal(tmp_path, "backfill", "--demo", COLUMNS=width, NO_COLOR="1")
    assert " 35/35 " in drawn
    assert "…" not in drawn


@pytest.mark.slow
def test_whatever_becomes_of_the_output_it_ends_in_words_or_in_silence(tmp_path: Path) -> None:
    """A reader that leaves, a full disk, a closed output, a terminal that knows ASCII only."""
    command = f"{sys.executable} -m ratesvc show --demo"
    for line, code, words in (
        (f"set -o pipefail; {command} --json | true", (0, 1), ""),
        (f"{command} >/dev/full", (78,), "ratesvc: No space left on device\n"),
        (f"{sys.executable} -m ratesvc --help >/dev/full", (78,), "ratesvc: No space left on device\n"),
        (f"{command} >&- 2>&-", (0,), ""),
        (f"PYTHONIOENCODING=ascii {command} --lang ru USD", (0,), ""),
    ):
        done = subprocess.run(
            [program("bash"), "-c", line],
            cwd=tmp_path,
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert done.returncode in code, line
        assert done.stderr == words, line


def test_a_range_the_wrong_way_round_is_refused() -> None:
    """Before anything is opened or asked."""
    done = CliRunner().invoke(cli.main, ["backfill", "--since", "2026-04-24", "--until", "2026-04-23"])
    assert done.exit_code != 0
    assert "--since" in done.output + str(done.exception)


def test_a_comparison_of_a_range_is_refused() -> None:
    """Everything is compared; whoever names a range must not believe that it was heeded."""
    done = CliRunner().invoke(cli.main, ["backfill", "--verify", "--since", "2026-04-24"])
    assert done.exit_code == 2
    assert "--verify compares all that is held" in done.stderr


@pytest.mark.slow
async def test_every_step_of_a_backfill_is_a_line_of_json(tmp_path: Path) -> None:
    """And what is held is the last one; a comparison says how much differs."""
    code, out, err = await run(tmp_path, "backfill", "--since", "2022-10-01", "--json", "--demo")
    assert (code, err) == (0, "")
    *steps, held = map(json.loads, out.splitlines())
    assert [step["done"] for step in steps[1:]] == list(range(len(steps) - 1))
    assert held == {"sheets": 35, "since": "2022-10-01", "until": str(NEWEST), "unconfirmed": []}
    code, out, _ = await run(tmp_path, "backfill", "--verify", "--json", "--demo")
    assert (code, json.loads(out.splitlines()[-1])) == (0, {"differences": 0})
    code, out, _ = await run(tmp_path, "export", "site", "--json", "--demo")
    assert (code, json.loads(out)["folder"], json.loads(out)["removed"]) == (0, "site", 0)


@pytest.mark.slow
async def test_programs_are_told_about_settings_and_life_too(bank: Bank, tmp_path: Path) -> None:
    """JSON on standard output, whatever the exit code; the line for people stays on the other."""
    assert await run(tmp_path, "serve", "--check-config", "--json") == (0, '{"right":true}\n', "")
    code, out, err = await run(tmp_path, "serve", "--check-config", "--json", RATESVC_PORT="eighty")
    assert (code, json.loads(out)["right"]) == (78, False)
    assert json.loads(out)["error"] in err
    code, out, _ = await run(tmp_path, "healthcheck", "--json", RATESVC_PORT="1")
    assert (code, json.loads(out)["alive"]) == (1, False)
    async with serving(tmp_path, RATESVC_CBR_MIRRORS=bank.url) as program:
        port = program.url.rsplit(":", 1)[1]
        code, out, _ = await run(tmp_path, "healthcheck", "--json", RATESVC_PORT=port, RATESVC_HOST="0.0.0.0")  # noqa: S104
        url = f"http://127.0.0.1:{port}/livez"
        assert (code, json.loads(out)) == (0, {"url": url, "alive": True, "status": 200, "answer": "ok"})


@pytest.mark.slow
async def test_an_interrupted_command_ends_at_once_without_a_word(bank: Bank, tmp_path: Path) -> None:
    """Ctrl-C in the pause between two requests; nothing of it is left running."""
    last_month(bank)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ratesvc", "backfill"),
        cwd=tmp_path,
        env=environment(tmp_path, RATESVC_CBR_MIRRORS=bank.url, RATESVC_CBR_BACKFILL_GAP_SECONDS="2"),
        stderr=asyncio.subprocess.PIPE,
    )
    await eventually(lambda: bank.series_asked, patience_s=15)
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(20):
        _, err = await process.communicate()
    assert process.returncode == cli.INTERRUPTED
    assert b"Traceback" not in err
    assert not processes_over(tmp_path)


def test_the_commands_of_the_docs_exist() -> None:
    """Each line, with its options, is understood."""
    block = (ROOT / "docs/commands.md").read_text("utf-8").split("```")[1]
    lines = [
        line.split("#")[0].replace("[", "").replace("]", "").split()[1:]
        for line in block.splitlines()
        if "ratesvc" in line
    ]
    assert len(lines) >= 8
    for line in lines:
        assert CliRunner().invoke(cli.main, [*line, "--help"]).exit_code == 0, line


@pytest.mark.slow
@pytest.mark.parametrize(
    ("greeting", "words"),
    [
        (b"220 mail.example ESMTP\r\n", ("does not speak HTTP", "reset")),
        (
            b"HTTP/1.1 404 Not Found\r\n\r\n<!DOCTYPE HTML>\n<p>\n" + b"no\n" * 300,
            ("answers 404: <!DOCTYPE HTML> <p> no",),
        ),
    ],
    ids=["mail", "a site"],
)
async def test_something_else_on_the_port_is_not_life(tmp_path: Path, greeting: bytes, words: tuple[str, ...]) -> None:
    """Whatever it says, in one line."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if greeting.startswith(b"HTTP"):
            await reader.readuntil(b"\r\n\r\n")
        writer.write(greeting)
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        code, _, err = await run(tmp_path, "healthcheck", RATESVC_PORT=str(port))
    assert (code, err.count("\n")) == (1, 1)
    assert any(word in err for word in words)
    assert len(err) < 200


async def test_the_quarantine_of_nothing_is_not_empty(tmp_path: Path) -> None:
    """In a folder where no service runs it says so, instead of «Nothing waits.» of a store that it made itself."""
    code, said, err = await run(tmp_path, "quarantine", "list")
    assert (code, said, err.count("\n")) == (78, "", 1)
    assert "run this where the service runs" in err
    assert not (tmp_path / "data").exists()


@pytest.mark.slow
async def test_what_the_demo_left_is_no_place_of_a_service(tmp_path: Path) -> None:
    """The folder in which only a demo ran has nothing to say about a quarantine either."""
    tmp_path.joinpath("data", "demo").mkdir(parents=True)
    code, said, err = await run(tmp_path, "quarantine", "list")
    assert (code, said) == (78, "")
    assert "run this where the service runs" in err
    assert not (tmp_path / "data" / "engine").exists()
