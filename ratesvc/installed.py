"""What this installation has beside the core: features, which are folders, and in `dialects` modules; and commands."""

from __future__ import annotations

from pathlib import Path

_PARTS = Path(__file__).with_name("features")
FOLDERS = tuple(sorted(file.parent.name for file in _PARTS.glob("*/routes.py")))
_MODULES = {file.stem for file in _PARTS.glob("dialects/[a-z]*.py")} - {"routes"}
DIALECTS = tuple(sorted(name.replace("_", "-") for name in _MODULES))
"""The wire formats of other APIs: one file each."""
FEATURES = tuple(sorted({*FOLDERS, *DIALECTS} - {"dialects"}))
COMMANDS = tuple(sorted(file.parent.name for file in _PARTS.glob("*/cli.py")))
"""The folders that add a command, whether the feature is on or off: its data may be here, or at another service."""
