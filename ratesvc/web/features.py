"""Features: what one adds to the service, and which of them are on. A feature's folder is ratesvc/features/NAME."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from importlib import import_module
from typing import NamedTuple

from aiohttp import web
from multidict import MultiMapping

from ratesvc.domain.rates import Line
from ratesvc.errors import ConfigError
from ratesvc.installed import DIALECTS
from ratesvc.render.openapi import Site
from ratesvc.service.app import Service
from ratesvc.web.responses import Handler


class Embedded(NamedTuple):
    """A frame for other pages: its title, its address, its usual width, and the height that it needs in a width."""

    title: str
    address: str
    width: int
    height: Callable[[int], int]


Embed = Callable[[Service, Site, str, MultiMapping[str]], Embedded]
"""Service, site, path and query of an address → its frame. A worker thread asks for the height."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature, as `routes.py` of its folder declares it.

    `needs` are the features that it imports or shows. `embeds` are the paths that others may put into frames, `robots`
    its lines of /robots.txt, and `exports` the addresses and files of `ratesvc export`. `not_found` answers for
    addresses that do not exist. `proxied` are the paths that a client may also ask of the Bank's own host, with this
    service as its proxy.

    Of figures of its own, `prices` are those that stand among the rates of a widget: code → English name, and what the
    roubles of each are for. `lines` are those that a switch of this name adds below them; None where there is none.
    """

    name: str
    routes: Callable[[Service, Site, Features], Mapping[str, Handler]]
    needs: tuple[str, ...] = ()
    embeds: Mapping[str, Embed] = field(default_factory=dict)
    robots: tuple[str, ...] = ()
    exports: Callable[[Service], Iterable[tuple[str, str]]] = lambda _: ()
    not_found: Callable[[Site, web.Request], Awaitable[web.StreamResponse]] | None = None
    proxied: Collection[str] = ()
    prices: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    lines: Mapping[str, Callable[[Service, date], Line | None]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Features:
    """The features that are on, and every handler by its path."""

    on: tuple[Feature, ...]
    handlers: dict[str, Handler] = field(default_factory=dict)


def load(names: Collection[str]) -> Features:
    """The features of these names. Raises ConfigError if one is given twice, or needs another that is off."""
    features: list[Feature] = []
    for name in names:
        if name in (feature.name for feature in features):
            raise ConfigError(f"features: {name} is given twice")
        routes = import_module(f"ratesvc.features.{'dialects' if name in DIALECTS else name}.routes")
        feature = routes.feature(name) if name in DIALECTS else routes.FEATURE
        if off := [other for other in feature.needs if other not in names]:
            raise ConfigError(f"features: {name} needs {off[0]}")
        features.append(feature)
    return Features(tuple(features))
