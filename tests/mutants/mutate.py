"""Runs the tests of the pure modules over their mutants: `make mutants [MODULES="domain/rates domain/history"]`.

For each mutant a fork imports the changed module in place of the file and runs the tests of that module. A mutant
survives when they pass. Fails when less than 95 % of a module's mutants are killed. One module takes minutes.
"""

from __future__ import annotations

import os
import resource
import sys
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType

import hypothesis
import pytest
from mutating import mutants

ROOT = Path(__file__).parents[2]
TESTS = {
    "domain/workdays": ["domain/test_workdays"],
    "domain/rates": ["domain/test_rates"],
    "domain/columns": ["domain/test_columns"],
    "domain/history": ["domain/test_history"],
    "domain/events": ["domain/test_domain_events"],
    "bank/xml": ["bank/test_xml_series", "bank/test_xml"],
    "bank/admission": ["bank/test_admission"],
    "web/params": ["web/test_params"],
}
ENOUGH = 0.95
OPTIONS = ["-x", "-q", "-c", os.devnull, "--noconftest", "--rootdir=.", "-p", "_hypothesis_pytestplugin"]
OPTIONS += ["-p", "no:cacheprovider", "--hypothesis-profile=mutants"]


class Instead(MetaPathFinder, SourceFileLoader):  # type: ignore[misc]  # source_to_code is not used
    """Gives one module other code."""

    def __init__(self, name: str, path: Path, mutant: CodeType) -> None:
        SourceFileLoader.__init__(self, name, str(path))
        self._mutant = mutant

    def find_spec(self, fullname: str, *_: object) -> ModuleSpec | None:
        return spec_from_file_location(fullname, self.path, loader=self) if fullname == self.name else None

    def get_code(self, _: str) -> CodeType:
        return self._mutant


class Without:
    """What a test may ask of conftest.py, which is left out since it imports the whole service."""

    @pytest.fixture
    def recordings(self) -> None:
        pytest.skip("thirty years take too long")


def passes(module: str, path: Path, mutant: CodeType, cpu_s: int) -> bool:
    """Whether the module's tests pass with this code, in a process of their own."""
    if child := os.fork():
        return os.waitpid(child, 0)[1] == 0
    try:
        sys.meta_path.insert(0, Instead(f"ratesvc.{module.replace('/', '.')}", path, mutant))
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))  # ends a loop that has no end
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        phases = [phase for phase in hypothesis.Phase if phase is not hypothesis.Phase.shrink]
        hypothesis.settings.register_profile(
            "mutants", max_examples=30, deadline=None, database=None, derandomize=True, phases=phases
        )
        os._exit(pytest.main([*OPTIONS, *(f"tests/{name}.py" for name in TESTS[module])], plugins=[Without()]))
    finally:
        os._exit(1)


def _import_what_is_shared(module: str) -> None:
    """All libraries of the tests, so that no fork has to: only our own modules are imported in each."""
    for test in (ROOT / "tests" / f"{name}.py" for name in TESTS[module]):
        sys.path.insert(0, str(test.parent))
        import_module(test.stem)
    for name, found in list(sys.modules.items()):
        if str(getattr(found, "__file__", "")).startswith((f"{ROOT}/ratesvc", f"{ROOT}/tests")) and name != "__main__":
            del sys.modules[name]


def run(module: str) -> float:
    """The share of a module's mutants that was killed; survivors are printed."""
    path = ROOT / "ratesvc" / f"{module}.py"
    _import_what_is_shared(module)
    before_s = os.times().children_user
    if not passes(module, path, compile(path.read_text("utf-8"), path, "exec"), 600):
        sys.exit(f"the tests of {module} fail without a mutant")
    cpu_s = 20 + 3 * int(os.times().children_user - before_s)
    count = killed = 0
    for text, mutant in mutants(path):
        count += 1
        if passes(module, path, mutant, cpu_s):
            print(f"survived: {text}", flush=True)
        else:
            killed += 1
    print(f"{module}: {killed} of {count} killed, {killed / count:.1%}", flush=True)
    return killed / count


if __name__ == "__main__":
    os.chdir(ROOT)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    shares = [run(module) for module in sys.argv[1:] or TESTS]
    sys.exit(min(shares) < ENOUGH)
