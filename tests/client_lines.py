"""The table of clients in docs/dialects.md: tests run the very lines that it tells a reader to write."""

from __future__ import annotations

import re
from pathlib import Path

_PAGE = (Path(__file__).parents[1] / "docs" / "dialects.md").read_text("utf-8")
_TABLE = _PAGE.partition("\n## Point your client here\n")[2].partition("\n## ")[0]

LINES: dict[str, str] = dict(
    re.findall(r"^\| \[?([A-Za-z][^\]|,]*?)(?:\]\([^)]*\))?(?:,[^|]*)? \| `([^`]+)` \|", _TABLE, re.MULTILINE)
)
"""Client → its one line."""


def line(client: str, url: str) -> str:
    """Return the client's line with `url` instead of http://localhost:8080."""
    found = LINES[client]
    assert "localhost:8080" in found
    return found.replace("localhost:8080", url.removeprefix("http://"))
