"""What programs read about this service: /openapi.json, the API catalogue and /llms.txt, all from the contract."""

from __future__ import annotations

import re
from datetime import date

import msgspec

from ratesvc import __version__
from ratesvc.render.json import encode
from ratesvc.render.openapi import Part, Site, contract, resolved

EXAMPLE_HOST = "http://localhost:8080"
HOST, DAY = EXAMPLE_HOST.encode(), re.compile(rb'(?<=[/=])2022-11-18|(?<="example":")2022-11-18')
"""What the file's requests say. A service puts its own address and a day whose rates it holds in their place."""


def document(site: Site, day: date) -> bytes:
    """/openapi.json. `day` is one whose rates are held, so that the examples work."""
    whole = contract(site.features)
    whole["info"]["version"] = __version__
    whole["servers"] = [{"url": site.base or "."}]
    return DAY.sub(day.isoformat().encode(), encode(whole).replace(HOST, encode(site.public_url)[1:-1]))


def api_catalog(site: Site) -> bytes:
    """/.well-known/api-catalog, by RFC 9727: where the API begins and what describes it, as links (RFC 9264)."""
    paths, base = contract(site.features)["paths"], site.base
    described = {"service-desc": ("/openapi.json", "application/json"), "service-doc": ("/docs", "text/html")}
    links = {relation: [{"href": base + path, "type": media}] for relation, (path, media) in described.items()}
    items = [{"href": base + path} for path in paths if path.startswith("/v1/") and "{" not in path]
    return encode({"linkset": [{"anchor": f"{base}/v1", **links, "item": items}]})


def addresses(site: Site, day: date) -> bytes:
    """/v1: what it has, with an example of each."""
    base = site.base or "."
    listed = [
        {"path": one["path"], "summary": one["summary"], "example": one["x-example"].replace(site.public_url, base)}
        for one in operations(site, day)
        if one["path"].startswith("/v1/")
    ]
    return encode({"documentation": f"{base}/docs", "openapi": f"{base}/openapi.json", "addresses": listed})


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
    return "\n".join([*lines, ""]).replace(f"{site.public_url}/", site.base and f"{site.base}/").encode()


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
