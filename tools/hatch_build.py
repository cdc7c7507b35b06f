"""Puts the commit into what is built, as ratesvc/revision: $REVISION, which the image is given, or what git says."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

COMMIT = ("git", "rev-parse", "HEAD")


class Revision(BuildHookInterface[Any]):
    """Runs before an archive or a wheel is built. A wheel that is built from an archive has its file already."""

    def initialize(self, _version: str, build_data: dict[str, Any]) -> None:
        """Add the file, where the commit is known."""
        if revision := os.environ.get("REVISION") or self._from_git():
            self._folder = Path(mkdtemp())
            file = self._folder / "revision"
            file.write_text(revision, "ascii")
            build_data["force_include"][str(file)] = "ratesvc/revision"

    def finalize(self, _version: str, _build_data: dict[str, Any], _artifact: str) -> None:
        """Leave nothing behind."""
        if folder := getattr(self, "_folder", None):
            (folder / "revision").unlink()
            folder.rmdir()

    def _from_git(self) -> str:
        if not Path(self.root, ".git").exists():
            return ""
        with suppress(OSError, subprocess.CalledProcessError):
            said = subprocess.run(COMMIT, cwd=self.root, capture_output=True, text=True, check=True)
            return said.stdout.strip()
        return ""
