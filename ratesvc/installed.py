"""Which features this installation has: the folders of ratesvc/features, and in `dialects` each module."""

from __future__ import annotations

import re
from importlib.resources import files

_PARTS = files("ratesvc").joinpath("features")
FOLDERS = tuple(sorted(part.name for part in _PARTS.iterdir() if part.joinpath("routes.py").is_file()))
_FILES = [file.name for file in _PARTS.joinpath("dialects").iterdir()] if "dialects" in FOLDERS else []
_MODULES = {name[:-3] for name in _FILES if re.fullmatch(r"[a-z][a-z0-9_]*\.py", name)} - {"routes"}
DIALECTS = tuple(sorted(name.replace("_", "-") for name in _MODULES))
"""The wire formats of other APIs: one file each."""
FEATURES = tuple(sorted({*FOLDERS, *DIALECTS} - {"dialects"}))
