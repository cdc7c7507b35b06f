"""The wall clock of other processes, by libfaketime."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from conftest import missing

FAKETIME = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
]


@dataclass
class WallClock:
    """The wall clock of all processes that get `variables`. Their monotonic clocks stay right."""

    file: Path

    def set(self, moment: datetime) -> None:
        other = self.file.with_suffix(".new")
        other.write_text(f"{(moment - datetime.now(UTC)).total_seconds():+.3f}\n")
        other.replace(self.file)

    @property
    def variables(self) -> dict[str, str]:
        library = next((path for path in FAKETIME if Path(path).exists()), None)
        if library is None:
            missing("faketime")
        return {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "TZ": "UTC",
        }
