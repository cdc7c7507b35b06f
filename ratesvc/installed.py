"""What this installation has beside the core: features, which are folders, and in `dialects` modules; and commands."""

from __future__ import annotations

import re
from importlib.resources import files

_HOUSE = files("ratesvc").joinpath("features")
_PARTS = list(_HOUSE.iterdir()) if _HOUSE.is_dir() else []
FOLDERS = tuple(sorted(part.name for part in _PARTS if part.joinpath("routes.py").is_file()))
_FILES = [file.name for file in _HOUSE.joinpath("dialects").iterdir()] if "dialects" in FOLDERS else []
_MODULES = {name[:-3] for name in _FILES if re.fullmatch(r"[a-z][a-z0-9_]*\.py", name)} - {"routes"}
DIALECTS = tuple(sorted(name.replace("_", "-") for name in _MODULES))
"""The wire formats of other APIs: one file each."""
FEATURES = tuple(sorted({*FOLDERS, *DIALECTS} - {"dialects"}))
COMMANDS = tuple(sorted(part.name for part in _PARTS if part.joinpath("cli.py").is_file()))
"""The folders that add a command, whether the feature is on or off: its data may be here, or at another service."""
