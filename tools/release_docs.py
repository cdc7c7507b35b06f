"""Gathers the pages of the site: `PYTHONPATH=. python tools/release_docs.py FOLDER`; `make docs` then builds it.

Files keep their places, so a link that works in the repository works on the site. The API reference is written here
from the OpenAPI document.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

from ratesvc.features.docs import openapi_json
from ratesvc.render import openapi
from ratesvc.render.openapi import Site

ROOT = Path(__file__).parents[1]
LINKED = ("*.md", "*.yaml", "Dockerfile", "LICENSE", "docs/*", "docs/ru/*", "deploy/**/*", "tests/faults/README.md")
Part = dict[str, Any]


def gather(folder: Path) -> None:
    """Copy every page and every file that a page shows or links to, and write docs/reference.md."""
    shutil.rmtree(folder, ignore_errors=True)
    for file in (file for pattern in LINKED for file in ROOT.glob(pattern) if file.is_file()):
        place = folder / file.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)
    described = json.loads(openapi_json.document(Site("http://localhost:8080"), date(2022, 11, 18)))
    folder.joinpath("docs/reference.md").write_text("\n".join(api_page(described)) + "\n", "utf-8")


def api_page(described: Part) -> Iterator[str]:
    """Yield the OpenAPI document as Markdown: the addresses under their tags, then the bodies."""
    yield f"# API reference\n\n{described['info']['description']}\n"
    yield "A running service shows the same at `/docs`, with examples, and for programs at `/openapi.json`.\n"
    for tag in described["tags"]:
        yield f"## {tag['name']}\n\n{tag['description']}\n"
        for path, methods in described["paths"].items():
            if tag["name"] in methods["get"]["tags"]:
                yield from _address(path, methods["get"], described)
    yield "## Bodies\n\nThe fields of JSON answers. A field in brackets may be missing.\n"
    for name, schema in described["components"]["schemas"].items():
        if "properties" in schema:
            yield from _body(name, schema)


def _address(path: str, operation: Part, shared: Part) -> Iterator[str]:
    yield f"### `{path}`\n\n**{operation['summary']}.** {operation['description']}\n"
    parameters = [openapi.resolved(one, shared) for one in operation.get("parameters", ())]
    if parameters:
        yield "| parameter | | |\n|---|---|---|"
        for one in parameters:
            yield f"| `{one['name']}` | {'needed' * one.get('required', False)} | {_cell(one['description'])} |"
        yield ""
    yield "| status | as | |\n|---|---|---|"
    for status, answer in operation["responses"].items():
        found = openapi.resolved(answer, shared)
        medias = ", ".join(_media(*one) for one in found.get("content", {}).items())
        yield f"| {status} | {medias} | {_cell(found['description'])} |"
    yield ""


def _media(media: str, content: Part) -> str:
    """The media type as a link to the fields of its body."""
    name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
    return f"[{media}](#body-{name.lower()})" if name and name != "Document" else media


def _body(name: str, schema: Part) -> Iterator[str]:
    yield f"### Body: {name}\n\n{schema['description']}\n\n| field | |\n|---|---|"
    for field, part in schema["properties"].items():
        yield f"| {_code(field, always=field in schema['required'])} | {_cell(part.get('description', ''))} |"
    for example in schema.get("examples", ()):
        yield f"\n```json\n{json.dumps(example, indent=2, ensure_ascii=False)}\n```"
    yield ""


def _code(field: str, *, always: bool) -> str:
    return f"`{field}`" if always else f"(`{field}`)"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    gather(Path(sys.argv[1]))
