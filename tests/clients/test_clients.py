"""Other people's clients, unmodified, pointed here by the very lines of docs/dialects.md: their numbers are ours."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from conftest import Clock, Serve, Served, eventually, missing, program
from kit.bank import Bank, daily_xml, sheet, workdays
from kit.dialects import line
from kit.documents import INDENTED
from kit.http import answering, says
from kit.service import Program, finished, ran

pytestmark = pytest.mark.nightly

HERE = Path(__file__).parent
OLD_SATURDAY, SATURDAY, NEWEST = date(2017, 8, 26), date(2026, 4, 18), date(2026, 4, 25)
TODAY = "2026-04-27"
ASKED = {"2017-08-28": OLD_SATURDAY, "2026-04-16": date(2026, 4, 16), "2026-04-20": SATURDAY}
"""Two Mondays, which have the sheet of the Saturday before, that of 2017 without VunitRate, and a Thursday."""
DAYS = list(workdays(OLD_SATURDAY, 2261))
INSTALL_S, ASK_S = 300, 60
GUIDE = HERE.parents[1].joinpath("docs", "api.md").read_text("utf-8")
MEANS = "/v1/periods?codes=USD&since=2026-04-01"


async def run(*command: str | Path, timeout_s: float, folder: Path, **variables: str) -> tuple[int, str, str]:
    """A program of its own, with nothing of the tests' environment but the way to the package indexes."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "npm_config_", "SSL_"))}
    given = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", str(folder)), **kept, **variables}
    return await finished(*command, cwd=folder, env=given, timeout_s=timeout_s)


@pytest.fixture(scope="session")
def python_clients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has the clients of PyPI and nothing of ours."""
    return environment(tmp_path_factory.mktemp("pypi"), sys.executable, HERE / "requirements.lock")


def environment(folder: Path, python: str, lock: Path) -> Path:
    """The Python of a new environment that has what the lock names."""
    install(folder, python, "-m", "venv", folder)
    made = folder / "bin" / "python"
    patience = ("--retries", "1", "--timeout", "20")
    install(folder, made, "-m", "pip", "install", "-q", *patience, "--require-hashes", "-r", lock)
    return made


@pytest.fixture(scope="session")
def npm_clients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that has the clients of npm; what they would run at their installation is not run."""
    npm = program("npm")
    folder = tmp_path_factory.mktemp("npm")
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(HERE / name, folder)
    install(folder, npm, "ci", "--silent", "--ignore-scripts", "--fetch-retries=1")
    return folder


def install(folder: Path, *command: str | Path) -> None:
    for _ in range(2):  # an index may fail once
        code, out, err = asyncio.run(run(*command, timeout_s=INSTALL_S, folder=folder))
        if not code:
            return
    missing(f"a package index that has the clients ({(err or out).strip()[-200:]})")


@pytest.fixture
async def served(bank: Bank, serve_whole: Serve, clock: Clock) -> AsyncIterator[Served]:
    """All of history on Monday 27 April 2026; the sheet of 2017 was fetched as a document of its own time."""
    bank.publish(*map(sheet, DAYS))
    bank.documents[OLD_SATURDAY] = daily_xml(sheet(OLD_SATURDAY), INDENTED)
    clock.moment = datetime(2026, 4, 27, 9, tzinfo=UTC)
    async with serve_whole() as running:
        await running.service.refresher.ask_without_lease(OLD_SATURDAY)
        await running.ready()
        yield running


async def ask(python: Path, client: str, *arguments: str, **variables: str) -> Any:
    """What ask.py gets with this client."""
    script, folder = HERE / "ask.py", python.parent
    code, out, err = await run(python, script, client, *arguments, timeout_s=ASK_S, folder=folder, **variables)
    assert code == 0, err
    return json.loads(out)


async def ask_node(folder: Path, script: str, *arguments: str, **variables: str) -> Any:
    shutil.copy(HERE / script, folder)
    code, out, err = await run("node", script, *arguments, timeout_s=ASK_S, folder=folder, **variables)
    assert code == 0, err
    return json.loads(out, parse_int=float)


async def ours(served: Served, base: str, day: str = TODAY) -> dict[str, str]:
    """What one unit of the base costs, as our own API says it: each digit as it stands there."""
    body = (await served.get(f"/v1/convert?from={base}&to=RUB,USD,EUR,IRR,JPY&date={day}"))[2]
    results = json.loads(body, parse_float=str, parse_int=str)["results"]
    return {code: row["unit_rate"] for code, row in results.items() if code != base}


def same(theirs: dict[str, Any], expected: dict[str, str]) -> None:
    """Decimals digit by digit; floats as the float nearest to ours."""
    for code, rate in expected.items():
        if isinstance(theirs[code], float):
            assert theirs[code] == float(rate), code
        else:
            assert Decimal(theirs[code]) == Decimal(rate), code


async def same_as_ours(found: dict[str, dict[str, Any]], served: Served) -> None:
    """The rates under each `BASE` or `BASE DAY`.

    A table has all of our codes but the yen, which some clients are not asked for. Where one or two rates are asked
    for, it has those.
    """
    assert found
    for base_and_day, rates in found.items():
        expected = await ours(served, *base_and_day.split())
        shown = expected.keys() & rates.keys()
        assert shown
        assert len(rates) <= 2 or expected.keys() - shown <= {"JPY"}
        same(rates, {code: expected[code] for code in shown})


@pytest.mark.parametrize(("way", "clients"), [("cbrf", ("cbrf",)), ("http_proxy", ("cbrf", "pycbrf", "python_cbr"))])
async def test_clients_of_the_bank(way: str, clients: tuple[str, ...], served: Served, python_clients: Path) -> None:
    """Three sheets and the newest, with cbrf's own setting, and through us as their proxy."""
    variables = dict(pair.split("=", 1) for pair in line(way, served.url).split())
    variables = {"CBRF_URL_SCHEME": "http", **variables}
    for client in clients:
        found = await ask(python_clients, client, *ASKED, **variables)
        assert found.keys() >= ASKED.keys()
        for text, rates in found.items():
            of = sheet(ASKED.get(text, NEWEST))
            assert rates == {quote.code: [str(quote.value), quote.nominal] for quote in of.quotes}, (client, text)


@pytest.mark.parametrize(
    ("client", "asked"),
    [
        *((client, ASKED) for client in ("oxr", "exrate", "forex-python", "CurrencyConverter")),
        ("frankfurter-api", ["RUB", "EUR", "IRR", "JPY"]),
        ("aioopenexchangerates", []),
    ],
)
async def test_a_client_has_our_rates(client: str, asked: list[str], served: Served, python_clients: Path) -> None:
    """Of today, of three sheets, on other bases, in a series: whatever it can ask for."""
    if client == "frankfurter-api" and sys.version_info < (3, 13):
        missing("Python 3.13, which frankfurter-api needs,")
    name = client.replace("-", "_").lower()
    await same_as_ours(await ask(python_clients, name, line(client, served.url), *asked), served)


async def test_qalculate(served: Served, tmp_path: Path) -> None:
    """Debian's qalc, which silently uses the rates that it brings along if it cannot read the file."""
    qalc = program("qalc")
    at_home: dict[str, Any] = {"timeout_s": ASK_S, "folder": tmp_path, "HOME": str(tmp_path), "LC_ALL": "C"}
    fetched, _, err = await run("sh", "-c", line("Qalculate!", served.url), **at_home)
    assert fetched == 0, err
    for code, rate in (await ours(served, "EUR")).items():
        _, said, _ = await run(qalc, "-t", f"1 EUR to {code}", **at_home)
        shown = Decimal("".join(re.findall("[0-9.]", said)))
        assert abs(shown / Decimal(rate) - 1) < Decimal("1e-8"), (said, rate)


async def test_django_money(served: Served, python_clients: Path) -> None:
    """Its table of rates on USD, of which it keeps six decimals, and a conversion."""
    found = await ask(python_clients, "django_money", line("django-money", served.url))
    expected = await ours(served, "USD")
    same(found["rates"], {code: str(round(Decimal(rate), 6)) for code, rate in expected.items()})
    assert Decimal(found["converted"]) == 100 * Decimal(expected["RUB"])


async def test_open_exchange_rates_with_money(served: Served, npm_clients: Path) -> None:
    """The latest and three sheets, conversions of money.js, and the words of an error."""
    found = await ask_node(npm_clients, "ask_open_exchange_rates.js", line("open-exchange-rates", served.url), *ASKED)
    for text, loaded in {TODAY: found["latest"], **found["sheets"]}.items():
        expected = await ours(served, "USD", text)
        same(loaded["rates"], expected)
        assert loaded["converted"] == 100 * float(expected["RUB"])
    assert found["latest"]["timestamp"] == datetime(2026, 4, 25, tzinfo=UTC).timestamp() * 1000
    assert found["refusal"].startswith("400 (invalid_date): ")


async def test_prebid(served: Served, npm_clients: Path) -> None:
    """Every pair directly from the file: the rouble, which its own file lacks, and the rial, which it would round."""
    pairs = ["USD/RUB", "EUR/RUB", "RUB/USD", "IRR/RUB", "RUB/IRR", "JPY/IRR", "IRR/EUR"]
    found = await ask_node(npm_clients, "ask_prebid.js", line("Prebid.js", served.url), *pairs)
    for pair in pairs:
        base, quote = pair.split("/")
        assert found["rates"][pair] == float((await ours(served, base))[quote]), pair


@pytest.fixture
async def demo(demo: Program) -> Program:
    """With its history loaded."""
    await eventually(lambda: says(demo, "/v1/currencies", b'"complete":true'))
    return demo


async def test_pandas_finds_the_rate_of_each_document(python_clients: Path, demo: Program, tmp_path: Path) -> None:
    """The guide's lines print what it shows."""
    block, shown = re.findall(r"```python\n(import pandas\n.*?)```\n\n```text\n(.*?)```", GUIDE, re.DOTALL)[0]
    block = block.replace("http://localhost:8080", demo.url)
    code, out, err = await run(python_clients, "-c", block, timeout_s=ASK_S, folder=tmp_path)
    assert (code, out) == (0, shown), err


@pytest.mark.parametrize("language", ["php", "go"])
async def test_the_lines_of_a_language_print_what_the_guide_shows(language: str, demo: Program, tmp_path: Path) -> None:
    """Each guide has them."""
    program(language)
    [[block, shown]] = re.findall(rf"^```{language}\n(.*?)^```\n\n```text\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    file = tmp_path / f"main.{language}"
    file.write_text(("<?php\n" if language == "php" else "") + block.replace("http://localhost:8080", demo.url))
    command = ("php", file) if language == "php" else ("go", "run", file)
    code, out, err = await run(*command, timeout_s=INSTALL_S, folder=tmp_path)
    assert (code, out) == (0, shown), err


async def test_a_spreadsheet_finds_the_rate_of_each_document(demo: Program, tmp_path: Path) -> None:
    """Gnumeric stands for the others: the guide's formula over its table, a Sunday and a currency that is not there."""
    convert = program("ssconvert")
    (formula,) = re.findall(r"Google Sheets \| `(=SUMIFS.*)`", GUIDE)
    path = "/v1/series.csv?codes=USD,EUR&since=2022-11-17&until=2022-11-21&fill=daily"
    (tmp_path / "rates.csv").write_bytes((await demo.get(path))[2])
    asked = [("2022-11-18", "USD"), ("2022-11-20", "EUR"), ("2022-11-18", "CNY")]
    rows = (
        f'{day},{code},"{formula.replace("2,", f"{n},").replace("2)", f"{n})")}"'
        for n, (day, code) in enumerate(asked, 2)
    )
    (tmp_path / "invoices.csv").write_text("\n".join(["date,code,rate", *rows]))
    await ran((convert, "--merge-to=both.gnumeric", "rates.csv", "invoices.csv"), tmp_path)
    # From CSV it takes a formula for text, and the name of a file for that of a sheet.
    book = gzip.decompress((tmp_path / "both.gnumeric").read_bytes()).decode()
    book = book.replace("rates.csv", "rates").replace(' ValueType="60">=', ">=")
    (tmp_path / "book.gnumeric").write_text(book, "utf-8")
    await ran((convert, "--recalc", "-S", "book.gnumeric", "found-%s.csv"), tmp_path)
    found = [line.split(",")[2] for line in (tmp_path / "found-invoices.csv.csv").read_text().splitlines()[1:]]
    assert found == ["60.3894", "62.4484", "0"]


# Clients that are made from the contract by the lines of docs/api.md


async def generated(folder: Path, name: str, *places: Path) -> None:
    """Run the guide's line with this program, the tools of these folders first on the path."""
    [line] = re.findall(rf"^{name} .*$", GUIDE, re.MULTILINE)
    path = os.pathsep.join([*map(str, places), os.environ["PATH"]])
    code, out, err = await run("bash", "-euc", line, timeout_s=INSTALL_S, folder=folder, PATH=path)
    assert code == 0, out + err


@pytest.fixture
async def described(served: Served, tmp_path: Path) -> Path:
    """A folder with our openapi.json."""
    (tmp_path / "openapi.json").write_bytes((await served.get("/openapi.json"))[2])
    return tmp_path


NEW_WORDS = {
    b"^{": b'{"brand_new": {"deep": [1.5]}, ',
    rb"\[\{": b'[{"brand_new": null, ',
    b'{"(name|unit_rate)":': b'{"brand_new": [], "\\1":',
    rb'"flags":\[\]': b'"flags": ["brand_new"]',
    b'"group":"month"': b'"group": "fortnight"',
    b'"urn:ratesvc:[a-z_]+"': b'"urn:ratesvc:brand_new"',
}
"""What a service of next year may say, by what it says now: fields, flags, periods and types of problems."""


@asynccontextmanager
async def of_next_year(served: Served) -> AsyncIterator[str]:
    """The address of a service that says words which the contract does not have, in every answer."""

    async def handler(request: web.Request) -> web.Response:
        status, headers, body = await served.get(request.path_qs)
        is_json = headers["Content-Type"].endswith("json") and not request.path.endswith("openapi.json")
        for old, new in NEW_WORDS.items() if is_json else ():
            body = re.sub(old, new, body)
        return web.Response(body=body, status=status, headers={"Content-Type": headers["Content-Type"]})

    async with answering(handler) as url:
        yield url


async def both_right(ask_at: Callable[[str], Awaitable[dict[str, Any]]], served: Served) -> dict[str, Any]:
    """What a client gets of this service, and the same of one of next year, whose new words end no client."""
    found = await ask_at(served.url)
    async with of_next_year(served) as url:
        later = await ask_at(url)
    for one in (found, later):
        await is_right(one, served)
    assert found.keys() == later.keys()
    return later


async def is_right(found: dict[str, Any], served: Served) -> None:
    """What a client got from each main operation: decimals to the last digit, else the nearest floats."""
    newest, friday = sheet(NEWEST).by_code, sheet(date(2026, 4, 24)).by_code["USD"].value
    dollar, crossed = newest["USD"].value, (await ours(served, "USD"))["EUR"]
    converted = json.loads((await served.get("/v1/convert?amount=100&from=USD&to=EUR"))[2])["results"]["EUR"]
    mean = json.loads((await served.get(MEANS))[2], parse_float=str)["periods"][0]["mean_rate"]
    expected = {
        "today": [str(NEWEST), dollar, newest["IRR"].nominal],
        "number": crossed,
        "series": [["2026-04-24", friday], [str(NEWEST), dollar]],
        "mean": Decimal(mean),
        "converted": [Decimal(crossed), converted["result"]],
        "sheets": 2,
        "table": (await served.get("/v1/history.csv?codes=USD&since=2026-04-25"))[2].decode(),
        "known": newest["IRR"].cbr_id,
    }
    for name, value in expected.items():
        assert alike(found[name], value), (name, found[name], value)


def alike(found: Any, expected: Any) -> bool:
    if isinstance(expected, list):
        return all(alike(*pair) for pair in zip(found, expected, strict=True))
    if isinstance(expected, Decimal):
        return bool(Decimal(found) == expected if isinstance(found, str) else float(found) == float(expected))
    return bool(found == expected)


async def test_a_go_client_made_from_the_contract(served: Served, python_clients: Path, described: Path) -> None:
    """By the guide's mapping its numbers have 64 bits. It needs nothing beside the standard library."""
    program("java"), program("go")
    await generated(described, "openapi-generator-cli generate -g go", python_clients.parent)
    folder = described / "ratesvc-go"
    (folder / "ask").mkdir()
    shutil.copy(HERE / "ask_go.go", folder / "ask" / "main.go")
    await both_right(partial(printed, folder, "go", "run", "./ask", GOFLAGS="-mod=mod"), served)


async def printed(folder: Path, *command: str | Path, **variables: str) -> dict[str, Any]:
    """The JSON that a program prints; its last argument is the address."""
    code, out, err = await run(*command, timeout_s=INSTALL_S, folder=folder, **variables)
    assert code == 0, out + err
    found: dict[str, Any] = json.loads(out)
    return found


async def test_a_php_client_made_from_the_contract(served: Served, python_clients: Path, described: Path) -> None:
    """With the Guzzle of the machine."""
    program("java"), program("php")
    if (await run("php", "-r", 'exit((int) !@include "GuzzleHttp/autoload.php");', timeout_s=ASK_S, folder=described))[
        0
    ]:
        missing("Guzzle (php-guzzlehttp-guzzle)")
    await generated(described, "openapi-generator-cli generate -g php", python_clients.parent)
    folder = described / "ratesvc-php"
    later = await both_right(partial(printed, folder, "php", HERE / "ask_php.php", folder), served)
    assert (later["flags"], later["refused"]) == (["brand_new"], ["urn:ratesvc:brand_new", 404])


async def test_a_csharp_client_is_made_from_the_contract(python_clients: Path, described: Path) -> None:
    """It is made and not built: no package of the tests brings .NET. Numbers are decimals."""
    program("java")
    await generated(described, "openapi-generator-cli generate -g csharp", python_clients.parent)
    [model] = described.joinpath("ratesvc-csharp").rglob("SeriesRow.cs")
    assert "public decimal UnitRate" in model.read_text("utf-8")


async def test_a_typescript_client_made_from_the_contract(served: Served, npm_clients: Path, described: Path) -> None:
    """openapi-typescript's types and openapi-fetch: the program is compiled in strict mode, and run."""
    tools = npm_clients / "node_modules" / ".bin"
    await generated(described, "openapi-typescript", tools)
    shutil.copy(described / "schema.d.ts", npm_clients)
    shutil.copy(HERE / "ask_fetch.mts", npm_clients)
    options = ("--strict", "--module", "nodenext", "--target", "es2022", "--skipLibCheck")
    code, out, _ = await run(tools / "tsc", *options, "ask_fetch.mts", timeout_s=ASK_S, folder=npm_clients)
    assert code == 0, out
    await both_right(partial(printed, npm_clients, "node", "ask_fetch.mjs"), served)


@pytest.mark.parametrize(("tool", "made"), [("datamodel-codegen", "models"), ("openapi-python-client", "openapi")])
async def test_what_python_makes_from_the_contract(
    tool: str, made: str, served: Served, python_clients: Path, described: Path
) -> None:
    """By the guide's lines. Models lose no digit; every module of a client imports, and a refusal has its type, too."""
    await generated(described, tool, python_clients.parent)
    later = await both_right(partial(ask, python_clients, made, str(described)), served)
    assert later["flags"] == ["brand_new"]
    if made == "openapi":
        assert (later["modules"] > 100, later["refused"]) == (True, ["urn:ratesvc:brand_new", 404])


async def test_pandas_reads_all_of_history(served: Served, python_clients: Path) -> None:
    """The guide's lines."""
    blocks = re.findall(r"^```python\n(import pandas\n.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    [block] = [block for block in blocks if "/v1/history.csv" in block]
    text = block.replace("http://localhost:8080", served.url)
    code, out, err = await run(python_clients, "-c", text, timeout_s=ASK_S, folder=python_clients.parent)
    assert code == 0, err
    newest = sheet(NEWEST).by_code
    assert out.split()[-3:] == [str(NEWEST), *(f"{float(newest[code].value)}" for code in ("USD", "EUR"))]
