"""The README's table of clients: what it tells a reader to write is what the tests run."""

from __future__ import annotations

import re
from pathlib import Path

_TEXT = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
_TABLE = _TEXT.partition("\n## Point your client here\n")[2].partition("\n## ")[0]

LINES: dict[str, str] = dict(
    re.findall(r"^\| \[?([A-Za-z][^\]|,]*?)(?:\]\([^)]*\))?(?:,[^|]*)? \| `([^`]+)` \|", _TABLE, re.MULTILINE)
)
"""Client → its one line."""


def line(client: str, url: str) -> str:
    """The line with another address than http://localhost:8080."""
    found = LINES[client]
    assert "localhost:8080" in found
    return found.replace("localhost:8080", url.removeprefix("http://"))
