"""The address of Redis, parsed. Pure and without redis-py, because small commands read the configuration, too.

    redis://[user:password@]host[:port][/db]             rediss:// for TLS
    unix://[user:password@]/path/to/socket[?db=1]
    redis+sentinel://[user:password@]host[:port],host[:port]/service[/db]
    redis+cluster://[user:password@]host[:port],host[:port]

`rediss+sentinel` and `rediss+cluster` are the same with TLS. User and password are those of Redis itself. No error
repeats any part of the address, because it may be a secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qsl, unquote, urlsplit

KINDS = {"redis": "server", "unix": "socket", "redis+sentinel": "sentinel", "redis+cluster": "cluster"}
SCHEMES = (*KINDS, "rediss", "rediss+sentinel", "rediss+cluster")
PORTS = {"server": 6379, "sentinel": 26379, "cluster": 6379}
AUTHORITIES = "ssl_ca_certs"
TLS_OPTIONS = (AUTHORITIES, "ssl_certfile", "ssl_keyfile")
OPTIONS = ("db", *TLS_OPTIONS, "sentinel_username", "sentinel_password")


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """`kind` is server, socket, sentinel or cluster; `nodes` are its hosts and ports, or those of the sentinels."""

    kind: str
    nodes: tuple[tuple[str, int], ...] = ()
    path: str = ""
    service: str = ""
    db: int = 0
    username: str | None = None
    password: str | None = None
    tls: bool = False
    options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Parse an address. Raises ValueError, whose text continues "The address …"."""
        scheme, _, rest = url.partition("://")
        if scheme not in SCHEMES:
            raise ValueError(f"must begin with one of {', '.join(f'{scheme}://' for scheme in SCHEMES)}")
        kind = KINDS[scheme.replace("rediss", "redis")]
        rest, _, query = rest.partition("?")
        options = _options(query)
        authority, slash, path = rest.partition("/")
        secrets, _, hosts = authority.rpartition("@")
        username, _, password = secrets.partition(":")
        names = [unquote(name) for name in path.split("/") if name and kind != "socket"]
        service = names.pop(0) if kind == "sentinel" and names else ""
        db = names.pop(0) if names else options.pop("db", "")
        _check(kind, path, service, db, names)
        return cls(
            kind,
            () if kind == "socket" else _nodes(kind, hosts),
            unquote(slash + path) if kind == "socket" else "",
            service,
            int(db or 0),
            username=unquote(username) or None,
            password=unquote(password) or None,
            tls=scheme.startswith("rediss"),
            options=options,
        )

    @property
    def secrets(self) -> tuple[str, ...]:
        """The passwords, which must never be printed."""
        return tuple(filter(None, (self.password, self.options.get("sentinel_password"))))


def _options(query: str) -> dict[str, str]:
    try:
        options = dict(parse_qsl(query, strict_parsing=True)) if query else {}
    except ValueError:
        options = {"": ""}
    if not options.keys() <= set(OPTIONS):
        raise ValueError(f"has an unknown option; known are {', '.join(OPTIONS)}")
    return options


def _check(kind: str, path: str, service: str, db: str, names: list[str]) -> None:
    """`names` are the parts of the path that are left."""
    if kind == "socket" and not path:
        raise ValueError("lacks the path of the socket")
    if kind == "sentinel" and not service:
        raise ValueError("lacks the name of the service: redis+sentinel://host:port,host:port/service/db")
    if db and not (db.isascii() and db.isdigit()):
        raise ValueError("has a database that is not a number")
    if names or (kind == "cluster" and int(db or 0)):
        raise ValueError("has too many parts behind the host")


def _nodes(kind: str, hosts: str) -> tuple[tuple[str, int], ...]:
    parts = hosts.split(",")
    if len(parts) > 1 and kind == "server":
        raise ValueError("names several hosts, which only redis+sentinel:// and redis+cluster:// take")
    return tuple(_node(part or ("localhost" if kind == "server" else ""), PORTS[kind]) for part in parts)


def _node(text: str, port: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname or "", parts.port or port
    except ValueError:
        host = ""
    if not host:
        raise ValueError("has an invalid host or port; in a password, / ? # @ are written %2F %3F %23 %40")
    return host, port
