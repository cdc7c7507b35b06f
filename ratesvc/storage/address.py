"""The address of Redis, parsed. Pure and without redis-py, because small commands read the configuration, too."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qsl, unquote, urlsplit

AUTHORITIES = "ssl_ca_certs"
TLS_OPTIONS = (AUTHORITIES, "ssl_certfile", "ssl_keyfile")
OPTIONS = ("db", *TLS_OPTIONS, "sentinel_username", "sentinel_password")
PORTS = {"redis": 6379, "redis+sentinel": 26379, "redis+cluster": 6379}

_LOGIN = "(?:(?P<username>[^:/]*)(?::(?P<password>[^/]*))?@)?"
_HOST = r"(?:\[[^]]+\]|[^]\s:/@#,[]+)(?::[0-9]+)?"
_HOSTS = f"{_LOGIN}(?P<hosts>{_HOST}(?:,{_HOST})*)"
_DB = "(?:/(?P<db>[0-9]*))?"
FORMS = {
    "redis": ("[user:password@]host[:port][/db]", f"{_LOGIN}(?P<hosts>{_HOST})?{_DB}"),
    "unix": ("[user:password@]/path/to/socket[?db=1]", f"{_LOGIN}(?P<path>/.+)"),
    "redis+sentinel": ("[user:password@]host[:port],host[:port]/service[/db]", f"{_HOSTS}/(?P<service>[^/]+){_DB}"),
    "redis+cluster": ("[user:password@]host[:port],host[:port]", f"{_HOSTS}(?:/0?)?"),
}
"""What follows `redis://` and the others; `rediss` means TLS. User and password are those of Redis itself."""


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """`kind` is its scheme without TLS; `nodes` are its hosts and ports, or those of the sentinels."""

    kind: str
    nodes: tuple[tuple[str, int], ...]
    path: str
    service: str
    db: int
    username: str | None
    password: str | None
    tls: bool
    options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Parse an address. Raises ValueError, whose text continues "The address …", and repeats no part of it."""
        scheme, _, rest = url.partition("://")
        kind = scheme.replace("rediss", "redis")
        if kind not in FORMS:
            raise ValueError(f"must begin with one of {', '.join(f'{kind}://' for kind in FORMS)}, or rediss for TLS")
        form, pattern = FORMS[kind]
        rest, _, query = rest.partition("?")
        options: dict[str, str] = dict(parse_qsl(query, keep_blank_values=True))
        if not options.keys() <= set(OPTIONS):
            raise ValueError(f"has an unknown option; known are {', '.join(OPTIONS)}")
        if scheme == kind and not options.keys().isdisjoint(TLS_OPTIONS):
            raise ValueError("has options for TLS, which only rediss takes")
        wrong = ValueError(f"must be like {scheme}://{form}; in a password, / ? # @ are written %2F %3F %23 %40")
        is_number = options.get("db", "0").isdecimal()
        if not (found := re.fullmatch(pattern, rest)) or not is_number or (kind == "redis+cluster" and "db" in options):
            raise wrong
        parts = {name: unquote(text or "") for name, text in found.groupdict().items()}
        hosts = parts["hosts"].split(",") if "hosts" in parts else ()
        try:
            nodes = tuple(_node(host or "localhost", PORTS[kind]) for host in hosts)
            db = int(parts.get("db") or options.pop("db", "0"))
        except ValueError:
            raise wrong from None
        login = parts["username"] or None, parts["password"] or None
        return cls(kind, nodes, parts.get("path", ""), parts.get("service", ""), db, *login, scheme != kind, options)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The passwords, which must never be printed."""
        return tuple(filter(None, (self.password, self.options.get("sentinel_password"))))


def _node(text: str, port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    return parts.hostname or "", parts.port or port
