"""Writes the newest release of the loader and its lock: `python tools/release_loader.py`; it needs node.

terser is the only build step; tests/browser pins its version. A published version is never written again: raise RELEASE
in ratesvc/render/widget.py instead.
"""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
from pathlib import Path

from ratesvc.render import widget

WEB = Path(__file__).parents[1] / "tests" / "browser"
ASSETS = Path(widget.__file__).parent / "assets"
TERSER = WEB / "node_modules" / ".bin" / "terser"
OPTIONS = ("--compress", "passes=3,ecma=2022,unsafe_arrows,pure_getters", "--mangle", "--ecma", "2022")


def built() -> dict[str, bytes]:
    """The files of a release, from their sources."""
    scripts = {name: _short(name) for name in ("rates.js", "converter.js")}
    return {**scripts, "widget.css": widget.style("widget").encode() + b"\n"}


def _short(name: str) -> bytes:
    return subprocess.run([TERSER, ASSETS / name, *OPTIONS], check=True, capture_output=True, timeout=60).stdout


def integrity(content: bytes) -> str:
    """A subresource integrity hash."""
    return f"sha384-{base64.b64encode(hashlib.sha384(content).digest()).decode()}"


def main() -> None:
    folder = ASSETS / "releases" / widget.RELEASE
    folder.mkdir(parents=True, exist_ok=True)
    lock_file = ASSETS / "releases" / "lock.json"
    lock = json.loads(lock_file.read_text("utf-8")) if lock_file.exists() else {}
    files = built()
    for name, content in files.items():
        folder.joinpath(name).write_bytes(content)
    lock[widget.RELEASE] = {name: integrity(content) for name, content in files.items()}
    lock_file.write_text(json.dumps(lock, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
