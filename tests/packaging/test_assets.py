"""Scripts, styles and templates: what is served is built from what we edit, and what we edit is indented."""

from __future__ import annotations

import gettext
import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from conftest import missing
from indent_templates import indented, templates
from kit.cases import script
from kit.service import ROOT

from ratesvc import __version__

PLUGIN = ROOT / "deploy/wordpress/cbr-rates"
ASSETS = sorted(ROOT.glob("ratesvc/features/*/assets"))
SOURCES = [file for folder in ASSETS for file in sorted(folder.iterdir()) if file.suffix in (".js", ".css")]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: f"{source.parts[-3]}/{source.name}")
def test_what_is_served_is_built_from_its_source(source: Path) -> None:
    """If this fails, run `make front`. Without node it is enough that the build has seen these bytes."""
    folder = source.parent / "built"
    assert json.loads((folder / "sources.json").read_bytes())[source.name] == sha256(source.read_bytes()).hexdigest()
    assert (folder / source.name).exists()


def test_the_texts_of_the_plugin_are_built_from_their_source() -> None:
    """Each has one of its own: WordPress reads the compiled file. If this fails, run `make front`."""
    (source,) = PLUGIN.glob("languages/*.po")
    pairs = dict(re.findall(r'^msgid "(.+)"\nmsgstr "(.+)"$', source.read_text("utf-8"), re.MULTILINE))
    with source.with_suffix(".mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    assert {text: compiled.gettext(text) for text in pairs} == pairs
    assert [text for text, count in Counter(pairs.values()).items() if count > 1] == []
    php = "".join(file.read_text("utf-8") for file in PLUGIN.glob("*.php"))
    said = re.findall(
        r"(?:__|esc_html__|esc_html_e)\(\s*'([^']+)', 'cbr-rates'|^ \* Description: (.*)$", php, re.MULTILINE
    )
    assert {*map("".join, said)} == pairs.keys()
    figures = re.compile(r"%\S*[ds]|\d+")
    assert [text for text, told in pairs.items() if figures.findall(text) != figures.findall(told)] == []
    builder = (ROOT / "ratesvc/features/builder/locales/ru.po").read_text("utf-8")
    same = dict(re.findall(r'^msgid "(.+)"\nmsgstr "(.+)"$', builder, re.MULTILINE))
    assert [text for text in pairs if same.get(text, pairs[text]) != pairs[text]] == [], "the builder says it otherwise"


def test_the_plugin_presents_itself_as_it_is() -> None:
    """Its readme has WordPress' sections, and names the version, what it needs, and each choice of the block."""
    readme, php = ((PLUGIN / name).read_text("utf-8") for name in ("readme.txt", "cbr-rates.php"))
    sections = ["Description", "Installation", "Frequently Asked Questions", "External services", "Changelog"]
    assert re.findall("^== (.*) ==$", readme, re.MULTILINE) == sections
    asked = [one for one in re.findall("^= (.*) =$", readme, re.MULTILINE) if not one.endswith("?")]
    assert [*re.findall(r"^Stable tag: (\S+)$", readme, re.MULTILINE), *asked] == [__version__] * 2
    assert f" * Version: {__version__}\n" in php
    for head in ("Requires at least", "Requires PHP", "License", "License URI"):
        assert len({*re.findall(rf"^(?: \* )?{head}: (\S+)$", readme + php, re.MULTILINE)}) == 1, head
    (choices,) = re.findall("attribute of the shortcode: (.*)[.]", readme)
    assert {*choices.split(", ")} - {"code"} == {*re.findall(r"^\t\t'([a-z_]+)' +=> \$", php, re.MULTILINE)}


@pytest.mark.slow
def test_building_anew_changes_no_byte() -> None:
    if not (ROOT / "tools/node_modules/terser").exists():
        missing("terser (npm)")
    command = ("node", "tools/build_assets.mjs", "--check")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_line_of_a_template_is_indented_by_what_surrounds_it() -> None:
    assert [file.name for file in templates() if indented(file.read_text("utf-8")) != file.read_text("utf-8")] == []


def test_no_line_of_a_template_is_longer_than_a_screen() -> None:
    """160 letters. In the builder's snippets a line is one of the code that people copy."""
    lines = [
        (file.name, at)
        for file in templates()
        for at, line in enumerate(file.read_text("utf-8").splitlines(), 1)
        if len(line) > 160
    ]
    assert lines == []


def test_indentation_follows_tags_and_blocks() -> None:
    """A line that begins with ends is as deep as the line that opened the last of them."""
    assert indented(script("flat")) == script("indented") + "\n"


STYLES = {file: file.read_text("utf-8") for folder in ASSETS for file in folder.glob("*.css")}
MADE = re.compile("c|cbr-(at|of|own)-?")
"""Classes that end with a number or a colour."""


def test_each_style_sheet_asks_for_what_is_there() -> None:
    """Each class stands in a page or is given by a script or by Python; each custom property has a value somewhere."""
    pages = "".join(file.read_text("utf-8") for kind in ("html", "py", "js", "svg") for file in sources(kind))
    told = re.findall(r"class=[^>]*|[\"'`][\w -]{1,40}[\"'`]|classList.*|className.*", pages)
    words, every = {*re.findall(r"[\w-]+", "".join(told))}, "".join(STYLES.values())
    given = {*re.findall(r"(--[\w-]+) *:", every + pages)}
    for file, text in STYLES.items():
        plain = re.sub(r"/\*.*?\*/|url\(.*?\)|\"[^\"]*\"", "", text, flags=re.DOTALL)
        asked = {name for name in re.findall(r"\.(-?[a-zA-Z][\w-]*)", plain) if not MADE.match(name)}
        asked = {name for name in asked if name.removeprefix("cbr-") not in words | {"cbr"}}
        assert (sorted(asked - words), sorted({*re.findall(r"var\((--[\w-]+)\)", plain)} - given)) == ([], []), file


def sources(kind: str) -> Iterator[Path]:
    return (file for file in (ROOT / "ratesvc").rglob(f"*.{kind}") if "built" not in file.parts)
