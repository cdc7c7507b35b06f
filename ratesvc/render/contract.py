"""The contract of our API: its parameters, its operations, and /openapi.json for programs.

ratesvc/openapi.yaml is the service's part. Each feature that has addresses has another one in its folder.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

from ratesvc import __version__
from ratesvc.installed import FEATURES
from ratesvc.render.json import encode

Part = dict[str, Any]

EXAMPLE_HOST = "http://localhost:8080"
HOST, DAY = EXAMPLE_HOST.encode(), re.compile(rb'(?<=[/=])2022-11-18|(?<="example":")2022-11-18')
"""What the file's requests say. A service puts its own address and a day whose rates it holds in their place."""


@dataclass(frozen=True, slots=True)
class Site:
    """This service as readers see it: its public address without a slash at the end, and the features that are on."""

    public_url: str
    demo: bool = False
    features: tuple[str, ...] = FEATURES

    def has(self, feature: str) -> bool:
        """Whether a feature is on, so that its addresses exist."""
        return feature in self.features


def contract(features: Sequence[str] = FEATURES) -> Part:
    """The parts of the service and of these features as one. Keeping it would take a megabyte."""
    whole: Part = msgspec.json.decode(_as_json(""))
    for feature in features:
        part: Part = msgspec.json.decode(_as_json(feature))
        whole["paths"] |= part.get("paths", {})
        for kind, components in part.get("components", {}).items():
            whole["components"][kind] |= components
    tags = {tag for methods in whole["paths"].values() for operation in methods.values() for tag in operation["tags"]}
    whole["tags"] = [tag for tag in whole["tags"] if tag["name"] in tags]
    return whole


@cache
def _as_json(feature: str) -> bytes:
    """A part as JSON, which is read in a twentieth of the time."""
    file = files("ratesvc").joinpath(*(["features", feature] if feature else []), "openapi.yaml")
    return encode(msgspec.yaml.decode(file.read_bytes())) if file.is_file() else b"{}"


def document(site: Site, day: date) -> bytes:
    """/openapi.json. `day` is one whose rates are held, so that the examples work."""
    whole, own_address = contract(site.features), encode(site.public_url)[1:-1]
    whole["info"]["version"] = __version__
    return DAY.sub(day.isoformat().encode(), encode(whole).replace(HOST, own_address))


def api_catalog(site: Site) -> bytes:
    """/.well-known/api-catalog, by RFC 9727: where the API begins and what describes it, as links (RFC 9264)."""
    paths, base = contract(site.features)["paths"], site.public_url
    described = {"service-desc": ("/openapi.json", "application/json"), "service-doc": ("/docs", "text/html")}
    links = {relation: [{"href": base + path, "type": media}] for relation, (path, media) in described.items()}
    items = [{"href": base + path} for path in paths if path.startswith("/v1/") and "{" not in path]
    return encode({"linkset": [{"anchor": f"{base}/v1", **links, "item": items}]})


def for_language_models(site: Site, day: date) -> bytes:
    """/llms.txt, https://llmstxt.org: what this is and an example of each address, by its tag, as Markdown."""
    whole: Part = msgspec.json.decode(document(site, day))
    lines = [f"# {whole['info']['title']}", "", f"> {' '.join(whole['info']['description'].split())}"]
    for tag in whole["tags"]:
        lines += ["", f"## {tag['name']}", "", tag["description"], ""]
        for methods in whole["paths"].values():
            for operation in methods.values():
                if tag["name"] in operation["tags"]:
                    about = " ".join(operation.get("description", "").split())
                    lines.append(f"- [{operation['summary']}]({operation['x-example']}): {about}".rstrip(": "))
    return "\n".join([*lines, ""]).encode()


@cache
def query_parameters(path: str) -> dict[str, Part]:
    """The query parameters of an address, by name."""
    whole = contract()
    parts = (resolved(part, whole) for part in whole["paths"][path]["get"].get("parameters", ()))
    return {part["name"]: part for part in parts if part["in"] == "query"}


def operations(site: Site, day: date) -> list[Part]:
    """Every address with its `path`, its parameters and its responses by status, references followed."""
    whole: Part = msgspec.json.decode(document(site, day))
    return [
        {
            **operation,
            "path": path,
            "parameters": [resolved(part, whole) for part in operation.get("parameters", ())],
            "responses": {int(status): resolved(part, whole) for status, part in operation["responses"].items()},
        }
        for path, methods in whole["paths"].items()
        for operation in methods.values()
    ]


def resolved(part: Part, whole: Part) -> Part:
    """The shared component that a reference names, the first of several; anything else as it is."""
    part = part["anyOf"][0] if "anyOf" in part else part
    if "$ref" not in part:
        return part
    _, _, kind, name = part["$ref"].split("/")
    component: Part = whole["components"][kind][name]
    return component
