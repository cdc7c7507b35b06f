"""The contract of our API: what each parameter may be, and what features add to it.

ratesvc/openapi.yaml is the service's part. Each feature that has addresses has another one in its folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

from ratesvc.installed import FEATURES
from ratesvc.render.json import encode

Part = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Site:
    """This service as readers see it: its public address without a slash at the end, and the features that are on."""

    public_url: str
    demo: bool = False
    features: tuple[str, ...] = FEATURES
    base: str = ""
    """What addresses for programs begin with: `public_url` if it is configured. Else they are relative to the document.

    The name of this machine would be wrong for other readers, the header Host is theirs to choose, and a proxy may
    remove a prefix from the path."""

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


@cache
def query_parameters(path: str) -> dict[str, Part]:
    """The query parameters of an address, by name."""
    whole = contract()
    parts = (resolved(part, whole) for part in whole["paths"][path]["get"].get("parameters", ()))
    return {part["name"]: part for part in parts if part["in"] == "query"}


def resolved(part: Part, whole: Part) -> Part:
    """The shared component that a reference names, the first of several; anything else as it is."""
    part = part["anyOf"][0] if "anyOf" in part else part
    if "$ref" not in part:
        return part
    _, _, kind, name = part["$ref"].split("/")
    component: Part = whole["components"][kind][name]
    return component
