"""Writes the settings in docs/deploying.md from config.yaml: `PYTHONPATH=. python tools/release_settings.py`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from ratesvc.config import variables

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/deploying.md"
FENCED = re.compile(r"(<!-- settings: [^>]*-->\n).*(<!-- end of settings -->\n)", re.DOTALL)


def settings_table() -> str:
    """Return one row for each setting, in the order of config.yaml: key, variable, default and sentence."""
    text = (ROOT / "config.yaml").read_text("utf-8")
    tree = yaml.safe_load(text)
    rows = [
        f"| `{'.'.join(path)}`, `{variable}` | {_shown(_at(tree, path))} | {_sentence(text, variable)} |\n"
        for variable, path, _ in variables()
    ]
    return "| setting | default | |\n|---|---|---|\n" + "".join(rows)


def written(page: str) -> str:
    """The page with the table that config.yaml gives."""
    return FENCED.sub(lambda found: f"{found[1]}\n{settings_table()}\n{found[2]}", page)


def _at(tree: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        tree = tree[name]
    return tree


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_shown, value)) or "none"
    if isinstance(value, bool):
        return f"`{value}`".lower()
    return "none" if value in (None, "") else f"`{value}`"


def _sentence(text: str, variable: str) -> str:
    found = re.search(rf"# (.+)\. {variable}\n", text)
    assert found, f"{variable} has no sentence in config.yaml"
    return found[1].replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text("utf-8")), "utf-8")
