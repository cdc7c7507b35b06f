"""The pages build as a site without dead links, and they name every address, setting, command and check."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from datetime import date
from pathlib import Path
from typing import get_type_hints

import pytest
import yaml
from conftest import Serve, foreign, missing
from kit.service import ROOT, ran
from release_docs import gather

from ratesvc.cli import main
from ratesvc.config import Settings
from ratesvc.features.docs import openapi_json
from ratesvc.features.site.page import asset
from ratesvc.render.openapi import Site
from ratesvc.storage.address import RedisAddress

DOCS = ROOT / "docs"
IMPORTS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
SECTIONS = ("server", "redis", "cbr", "calendar", "log")
OPERATIONS = openapi_json.operations(Site("http://localhost:8080"), date(2022, 11, 18))
PAGES = {f"{file.relative_to(DOCS)}": file.read_text("utf-8") for file in DOCS.rglob("*.md")}
OUTSIDE = re.compile(r'<(?:script|img|iframe|link)\b[^>]*(?:src|href)="(?:https?:)?//[^"]*"')


@pytest.mark.nightly
async def test_the_site_builds_without_a_dead_link(tmp_path: Path) -> None:
    """Links and anchors lead somewhere, every page is in the menu, and pages load nothing from other hosts."""
    tool = Path(sys.executable).with_name("properdocs")
    if not tool.exists():
        missing("properdocs (make docs)")
    gather(tmp_path / "pages")
    reference = tmp_path.joinpath("pages/docs/reference.md").read_text("utf-8")
    assert set(re.findall(r"^### `(\S+)`$", reference, re.MULTILINE)) == {operation["path"] for operation in OPERATIONS}
    site = yaml.safe_load((DOCS / "properdocs.yml").read_bytes())
    settings = {**site, "docs_dir": "pages", "site_dir": "site"}
    tmp_path.joinpath("properdocs.yml").write_text(yaml.safe_dump(settings), "utf-8")
    await ran((str(tool), "build", "--strict"), tmp_path)
    made = tmp_path / "site"
    built = {f"{file.relative_to(made)}": file.read_text("utf-8") for file in made.rglob("*.html")}
    assert {Path(name).stem for name in PAGES} <= {Path(name).stem for name in built}
    assert {name: OUTSIDE.findall(text) for name, text in built.items() if OUTSIDE.search(text)} == {}
    text = re.sub(r"^```.*?^```", "", (ROOT / "README.md").read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert len(re.findall(r"<h[1-4] id=", built["index.html"])) == len(re.findall(r"^#+ ", text, re.MULTILINE))
    # The builder does find a dead link.
    with tmp_path.joinpath("pages/docs/api.md").open("a", encoding="utf-8") as page:
        page.write("\n[nowhere](nowhere.md)\n")
    with pytest.raises(AssertionError, match="nowhere"):
        await ran((str(tool), "build", "--strict"), tmp_path)


async def test_the_page_of_dialects_has_every_address(serve: Serve) -> None:
    """docs/dialects.md names the last part of each route; it shows a day by an example."""
    async with serve() as served:
        paths = foreign(served.service)
    last = {path.rpartition("/")[2].partition(".")[0].lower().removeprefix("xml") for path in paths}
    names = {name for name in last if "{" not in name}
    assert len(names) > 15
    assert [name for name in names if name not in PAGES["dialects.md"].lower()] == [], "docs/dialects.md lacks them"


@pytest.mark.parametrize("name", ["widget.md", "ru/widget.md"])
def test_the_pages_of_the_widget_name_every_attribute(name: str) -> None:
    """In both languages."""
    types = asset("widget/rates.d.ts").read_text("utf-8").partition("export type")[0]
    attributes = re.findall(r"^  (\w+)\?:", types, re.MULTILINE)
    assert len(attributes) > 15
    assert [one for one in attributes if not re.search(rf"`(?:<cbr-rates )?{one}\b", PAGES[name])] == []


async def test_the_handbook_explains_every_check_of_health(serve: Serve) -> None:
    """docs/operating.md has a row for each name in /health."""
    async with serve() as served:
        _, _, body = await served.get("/health")
    checks = json.loads(body)["checks"]
    assert len(checks) > 8
    rows = [line.partition("|")[2].partition("|")[0] for line in PAGES["operating.md"].splitlines() if line[:1] == "|"]
    assert [name for name in checks if not any(f"`{name}`" in row for row in rows)] == []


def test_the_handbook_has_every_command() -> None:
    """With its name."""
    assert {name for name in main.commands if f"ratesvc {name}" not in PAGES["operating.md"]} == set()


def test_settings_that_pages_name_exist() -> None:
    """As `section.key`, or as a `key` in config.yaml; config.py has it."""
    sections = {name: get_type_hints(Settings)[name].__struct_fields__ for name in SECTIONS}
    known = {*Settings.__struct_fields__, *(f"{name}.{key}" for name, keys in sections.items() for key in keys)}
    pattern = re.compile(rf"`((?:{'|'.join(SECTIONS)})\.(?!ru\b)\w+)`|`(\w+)`(?= in config\.yaml)")
    texts = [*PAGES.values(), *((ROOT / name).read_text("utf-8") for name in ("README.md", "README.ru.md"))]
    named = {one for text in texts for found in pattern.findall(text) for one in found if one}
    assert len(named) > 3
    assert named <= known


def test_files_that_pages_name_exist() -> None:
    """Also in the READMEs and inside commands."""
    beside = ("README.md", "README.ru.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md")
    texts = [*PAGES.values(), *((ROOT / name).read_text("utf-8") for name in beside)]
    path = re.compile(r"(?<![\w/.-])((?:ratesvc|deploy(?!/ratesvc )|tests|bench|tools|docs)/[\w/.-]*[\w/])")
    named = {name for text in texts for name in path.findall(text)}
    assert len(named) > 60
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


def test_the_map_names_every_module_of_the_core_and_every_feature() -> None:
    """ARCHITECTURE.md has each module in the row of its folder; folders are in the order in which they may import."""
    package, page = ROOT / "ratesvc", (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `(\w+(?:/|\.py))` \| (.*) \|$", page.partition("| folder |")[2], re.MULTILINE))
    folders = [one for one in package.iterdir() if (one / "__init__.py").exists()]
    there = {f"{one.name}/": sorted(file.name for file in one.glob("[a-z]*.py")) for one in folders}
    named = {name: sorted(re.findall(r"`(\w+\.py)`", rows[name])) for name in rows if name in there}
    assert named == there
    (layers,) = (one["layers"] for one in IMPORTS if one.get("containers") == ["ratesvc"])
    order = [name for layer in layers for name in layer.split(" | ") if name != "__main__"]
    assert [name.removesuffix("/").removesuffix(".py") for name in rows if (package / name).exists()] == order
    features = {one.name for one in (package / "features").iterdir() if (one / "__init__.py").exists()}
    told = page.partition("| feature |")[2].partition("\n\n")[0]
    assert [name for name in sorted(features) if not re.search(rf"`{name}/?`", told)] == []


def test_the_service_understands_the_addresses_of_redis_in_the_handbook() -> None:
    """The code that reads the setting parses each form."""
    block = PAGES["operating.md"].partition("## Addresses of Redis\n")[2].split("```")[1].removeprefix("text\n")
    kinds = [RedisAddress.from_url(line).kind for line in block.splitlines()]
    assert kinds == ["redis", "redis", "unix", "redis+sentinel", "redis+cluster"]


@pytest.mark.parametrize("name", ["api", "deploying"])
def test_a_page_says_the_same_in_russian(name: str) -> None:
    """The same commands, sections, tables and links, up to the part that is in English only."""
    english, russian = PAGES[f"{name}.md"].partition("\n## More machines\n")[0], PAGES[f"ru/{name}.md"]
    russian = russian.replace("](../", "](")
    for part in (r"(?ms)^```.*?^```", r"\]\((\.\./[^)#]+|[a-z]+\.md)", r"`[A-Z_]{6,}`", r"(?m)^(#+|\|[-|]+)(?=[ \n])"):
        said, also = ({*re.findall(part, page)} for page in (english, russian))
        assert said - also <= {"dashboard.png"}, part
        assert also - said <= {"deploying.md"}, part
    assert len(re.findall("^##+ ", english, re.MULTILINE)) == len(re.findall("^##+ ", russian, re.MULTILINE))
