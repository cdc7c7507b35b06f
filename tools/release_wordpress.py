"""Writes the WordPress plugin as a zip: `python3 tools/release_wordpress.py dist`. It needs Python and nothing else.

The files of the widget's newest release, and the translations as WordPress reads them, lie in its folder, so the folder
itself works, too. `--take` writes these anew, which needs the packages of the project. The same sources give the same
bytes.
"""

from __future__ import annotations

import re
import sys
from io import BytesIO
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

ROOT = Path(__file__).parents[1]
PLUGIN = ROOT / "deploy" / "wordpress" / "cbr-rates"


def taken() -> dict[Path, bytes]:
    """The files that other files give."""
    from ratesvc.features.widget import releases  # noqa: PLC0415 -- a zip does without

    release = releases.releases()[releases.RELEASE]
    catalogues = {source.with_suffix(".mo"): _compiled(source) for source in PLUGIN.glob("languages/*.po")}
    return {**{PLUGIN / name: release[name] for name in ("widget.css", "converter.js")}, **catalogues}


def _compiled(source: Path) -> bytes:
    from babel.messages.mofile import write_mo  # noqa: PLC0415 -- a zip does without
    from babel.messages.pofile import read_po  # noqa: PLC0415

    made = BytesIO()
    write_mo(made, read_po(BytesIO(source.read_bytes())))
    return made.getvalue()


def packed(folder: Path) -> Path:
    """The zip in this folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (version,) = re.findall(r"^ \* Version: (\S+)$", (PLUGIN / "cbr-rates.php").read_text("utf-8"), re.MULTILINE)
    path = folder / f"cbr-rates-{version}.zip"
    files = {str(file.relative_to(PLUGIN.parent)): file for file in PLUGIN.rglob("*") if file.is_file()}
    files["cbr-rates/LICENSE"] = ROOT / "LICENSE"
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for name in sorted(files):
            entry = ZipInfo(name)
            entry.external_attr, entry.compress_type = 0o644 << 16, ZIP_DEFLATED
            archive.writestr(entry, files[name].read_bytes())
    return path


if __name__ == "__main__":
    if "--take" in sys.argv:
        sys.argv.remove("--take")
        for file, content in taken().items():
            file.write_bytes(content)
    print(packed(Path(sys.argv[1])))  # noqa: T201 -- what it made
