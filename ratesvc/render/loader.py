"""The loader's released versions: finished bytes that never change, and what pins them."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import msgspec

VERSION = "1.0.0"
SCRIPT_TYPE = "text/javascript; charset=utf-8"
STYLE_TYPE = "text/css; charset=utf-8"
TYPES = {"rates.js": SCRIPT_TYPE, "widget.css": STYLE_TYPE}


@dataclass(frozen=True)
class Release:
    """One version: its files as they are served."""

    version: str
    files: dict[str, bytes]

    def integrity(self, name: str) -> str:
        """What a page writes into integrity=""."""
        return integrity(self.files[name])


@cache
def releases() -> dict[str, Release]:
    """Every version that was ever released: it is served for ever."""
    return {version: _read(version, names) for version, names in lock().items()}


@cache
def lock() -> dict[str, dict[str, str]]:
    """Version → file → integrity, from the lock in this repository."""
    source = files("ratesvc.render").joinpath("assets", "releases", "lock.json").read_bytes()
    return msgspec.json.decode(source, type=dict[str, dict[str, str]])


def _read(version: str, names: dict[str, str]) -> Release:
    folder = files("ratesvc.render").joinpath("assets", "releases", version)
    return Release(version, {name: folder.joinpath(name).read_bytes() for name in names})


def integrity(content: bytes) -> str:
    """A subresource integrity hash."""
    return f"sha384-{base64.b64encode(hashlib.sha384(content).digest()).decode()}"
