"""The releases of the loader: their files, and the hashes that pin them."""

from __future__ import annotations

from functools import cache

import msgspec

from ratesvc.features.site.page import asset

RELEASE = "1.0.0"
"""The newest release of the loader. The bytes of a release never change."""
SCRIPT = "text/javascript; charset=utf-8"
TYPES = {"rates.js": SCRIPT, "converter.js": SCRIPT, "widget.css": "text/css; charset=utf-8"}


@cache
def lock() -> dict[str, dict[str, str]]:
    """Version → file name → integrity hash, as releases/lock.json records them."""
    content = asset("widget/releases/lock.json").read_bytes()
    return msgspec.json.decode(content, type=dict[str, dict[str, str]])


@cache
def releases() -> dict[str, dict[str, bytes]]:
    """Version → file name → bytes. Every release is served for ever."""
    folder = asset("widget/releases")
    return {
        version: {name: folder.joinpath(version, name).read_bytes() for name in names}
        for version, names in lock().items()
    }
