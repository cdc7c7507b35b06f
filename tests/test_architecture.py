from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ratesvc"
FILES = {path.relative_to(PACKAGE).with_suffix("").as_posix(): path for path in PACKAGE.rglob("*.py")}
TREES = {name: ast.parse(path.read_text("utf-8")) for name, path in FILES.items()}

# The pure modules, as import-linter has them. All but errors calculate with the Bank's numbers.
LINTED = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
PURE = tuple(
    module.removeprefix("ratesvc.").replace(".", "/")
    for contract in LINTED
    for module in contract.get("source_modules", ())
)
# In a feature these know HTTP or the command line: ratesvc.features.*.routes -> **
IMPURE = tuple(
    line.split(" ")[0].replace("ratesvc.features.", "").replace("*", "").replace(".", "/")
    for contract in LINTED
    for line in contract.get("ignore_imports", ())
)
IN_THEM = tuple(f"{module}/" for module in PURE)
EXACT = {name for name in FILES if name in PURE or name.startswith(IN_THEM)} - {"errors"} | {"service/publication"}
# Contrasts of colours are no numbers of the Bank.
EXACT = {name for name in EXACT if not name.endswith((*IMPURE, "widget/ground"))}


def calls(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """The last name of each call, and its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func
            yield called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", ""), node.lineno


def called_in(names: Iterable[str], functions: set[str]) -> list[str]:
    """Where these modules call one of these functions."""
    return [f"{name}:{line} {called}" for name in names for called, line in calls(TREES[name]) if called in functions]


def names(tree: ast.AST) -> set[str]:
    """The names that a module uses."""
    nodes = list(ast.walk(tree))
    plain = {node.id for node in nodes if isinstance(node, ast.Name)}
    return plain | {node.attr for node in nodes if isinstance(node, ast.Attribute)}


def test_only_admission_makes_revisions() -> None:
    """Only admission does, a look at a settled day, and a person's decision; records and columns read admitted ones."""
    makers = {name for name, tree in TREES.items() for called, _ in calls(tree) if called == "Revision"}
    assert makers == {"bank/admission", "service/look", "service/decisions", "storage/records", "domain/columns"}


def test_there_is_one_clock() -> None:
    """Only workdays.utc_now reads the clock, so that a test or a demo can stop it for everything."""
    read = {"now", "utcnow", "today", "fromtimestamp"}
    assert called_in(FILES.keys() - {"domain/workdays"}, read) == []
    assert {
        node.name
        for node in TREES["domain/workdays"].body
        if isinstance(node, ast.FunctionDef) and any(called in read for called, _ in calls(node))
    } == {"utc_now"}


def importers(*modules: str) -> set[str]:
    """Who imports one of these, or something out of one."""
    return {
        name
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if (isinstance(node, ast.ImportFrom) and node.module in modules)
        or (isinstance(node, ast.Import) and any(one.name in modules for one in node.names))
    }


def test_a_service_is_given_its_time_and_its_chance() -> None:
    """Whoever makes a Service gives it clocks, chance and tokens, so a simulation repeats a run exactly."""
    # What a command gives to its service, and what one has by default.
    assert {name for name, tree in TREES.items() if "utc_now" in names(tree)} == {"commands/running", "service/app"}
    # Date headers and the durations of requests; the name of a damaged folder; a client, which is no service.
    assert importers("time") == {"web/responses", "storage/embedded", "features/events/watch"}
    assert importers("random", "secrets", "uuid") == {"service/app"}
    made = {(name, called) for name in FILES for called, _ in calls(TREES[name]) if called.endswith("Random")}
    assert made == {("service/app", "SystemRandom")}
    assert {name for name, tree in TREES.items() if "urandom" in names(tree)} == set()


def test_no_number_of_the_bank_becomes_a_float() -> None:
    """No float literal, no float() and no slash: Decimals are divided by a context that sets the precision."""
    assert [
        f"{name}:{node.lineno} {ast.unparse(node)}"
        for name in EXACT
        for node in ast.walk(TREES[name])
        if (isinstance(node, ast.Constant) and isinstance(node.value, float | complex))
        or (isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div))
    ] == []
    assert called_in(EXACT, {"float", "truediv"}) == []


def test_only_routes_know_http() -> None:
    """The other modules of a feature import neither routes nor what answers requests; import-linter knows the rest."""
    http = re.compile(
        r"ratesvc\.(web|service|config|commands)\b|ratesvc\.features\.(\w+\.routes|ranges\.requests|rendering)"
    )
    assert [
        (name, line)
        for name, path in FILES.items()
        if name.startswith("features/") and not name.endswith(IMPURE)
        for line in path.read_text("utf-8").splitlines()
        if line.startswith(("from ", "import ")) and (http.search(line) or line.endswith("import routes"))
    ] == []


TEMPLATES = {path.name: path.read_text("utf-8") for path in (PACKAGE / "features").rglob("templates/**/*.*")}
# What is written as it is: our styles and scripts, and in snippets.txt code that the builder escapes as a whole.
AS_IT_IS = re.compile(
    r'(style|script)\("[a-z/-]+"\)|styles_of_frame\(.*|rules|ground_hash|included|framed_rates|jsx(_style)?\(.*'
)


def test_a_template_escapes_every_value() -> None:
    """Whatever a value holds, it ends neither the attribute nor the element in which it stands."""
    for name, text in TEMPLATES.items():
        unescaped = re.findall(r"\{\{-?\s*([^{}]+?)\s*\|\s*safe\b", text)
        assert [one for one in unescaped if not AS_IT_IS.fullmatch(one)] == [], name
        assert "autoescape" not in text, name


def test_there_is_one_rounding() -> None:
    """Only `rates.rounded` rounds: no other function of the exact modules quantizes, and none calls round."""
    rounding = {name for name in EXACT for called, _ in calls(TREES[name]) if called in {"quantize", "round"}}
    assert rounding - {"features/site/png"} <= {"domain/rates"}  # where colours are quantized
    tree = TREES["domain/rates"]
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert {one.name for one in functions if any(called == "quantize" for called, _ in calls(one))} == {
        "rounded",
        "trimmed",  # to no decimals, in a context in which losing a digit is an error
    }
