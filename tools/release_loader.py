"""Writes the newest release of the loader and its lock: `python tools/release_loader.py`; it needs git.

It copies what tools/build_assets.mjs built. What a tag of this repository has is released: pages that nobody changes
pin its bytes, so it is never written again. Raise RELEASE in widget/releases.py instead.
"""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from pathlib import Path

from ratesvc.features.site import page
from ratesvc.features.widget import releases

ROOT = Path(__file__).parents[1]
RELEASES = Path("ratesvc/features/widget/assets/releases")
LOCK = RELEASES / "lock.json"

Lock = dict[str, dict[str, str]]
"""Version → file name → integrity hash."""


def built() -> dict[str, bytes]:
    """The files of a release."""
    return {name: page.asset(f"widget/built/{name}").read_bytes() for name in releases.TYPES}


def integrity(content: bytes) -> str:
    """A subresource integrity hash."""
    return f"sha384-{base64.b64encode(hashlib.sha384(content).digest()).decode()}"


def changed(lock: Lock, folder: Path = ROOT) -> list[str]:
    """The released files that this lock lacks, or has with another hash. The locks of all tags say what is released."""
    tags = [tag for tag in _git(folder, "tag", "--list", "v[0-9]*").split() if _git(folder, "ls-tree", tag, str(LOCK))]
    released: list[Lock] = [json.loads(_git(folder, "show", f"{tag}:{LOCK}")) for tag in tags]
    pins = [(version, *pin) for one in released for version, files in one.items() for pin in files.items()]
    return sorted({f"{version}/{name}" for version, name, pin in pins if lock.get(version, {}).get(name) != pin})


def _git(folder: Path, *arguments: str) -> str:
    command: list[str | Path] = ["git", "-C", folder, *arguments]
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=60
    )
    return done.stdout


def main() -> None:
    files = built()
    lock = releases.lock() | {releases.RELEASE: {name: integrity(content) for name, content in files.items()}}
    if names := changed(lock):
        sys.exit(f"{', '.join(names)}: released, so raise RELEASE in ratesvc/features/widget/releases.py")
    folder = ROOT / RELEASES / releases.RELEASE
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        folder.joinpath(name).write_bytes(content)
    ROOT.joinpath(LOCK).write_text(json.dumps(lock, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
