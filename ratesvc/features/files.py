"""Files that commands write for other programs."""

from __future__ import annotations

import os
from pathlib import Path


def replace_file(file: Path, content: bytes | None) -> str:
    """Make the file hold exactly this, by one rename, or remove it; returns what was done. Raises OSError."""
    old = file.read_bytes() if file.exists() else None
    if old == content:
        return "unchanged"
    if content is None:
        file.unlink()
        return "removed"
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f".{file.name}.{os.getpid()}.new")
    try:
        new.write_bytes(content)
        new.replace(file)
    except OSError as error:
        new.unlink(missing_ok=True)
        error.filename = str(file)  # the system names no file when a disk is full
        raise
    return "written"
