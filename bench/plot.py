"""The figures as one SVG: bars for who answers how much, and four small curves of what growth costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import log10
from typing import Any
from xml.sax.saxutils import escape

WIDTH, BAR, PANEL = 860, 30, 200
STYLE = """
svg{font:13px system-ui,sans-serif;background:#fff}text{fill:#1f2933}.small{font-size:11.5px}.soft{fill:#5f6b7a}
.title{font-size:16px;font-weight:600}.bar{fill:#9aa5b4}.ours{fill:#1f6feb}.line{fill:none;stroke:#1f6feb;stroke-width:2}
.second{stroke:#c2571a}.dot{fill:#1f6feb}.dot2{fill:#c2571a}.rule{stroke:#d5dbe3}
@media(prefers-color-scheme:dark){svg{background:#0f141a}text{fill:#e4e9f0}.soft{fill:#9aa7b6}.bar{fill:#5c6878}
.ours,.dot{fill:#6aa6ff}.line{stroke:#6aa6ff}.second{stroke:#f0945a}.dot2{fill:#f0945a}.rule{stroke:#303a46}}
"""
NAMES = {
    "nginx": "nginx, static file",
    "ours": "ratesvc",
    "ours ordinary": "ratesvc, fast path off",
    "plain uvloop": "plain aiohttp, uvloop",
    "plain asyncio": "plain aiohttp",
    "naive asyncio": "Redis and JSON each request",
}

Points = Mapping[str, Mapping[str, float]]


def picture(figures: dict[str, Any]) -> str:
    """All of it; draws what was measured."""
    bars = _bars(figures["targets"]["identity"])
    top = 76 + BAR * len(figures["targets"]["identity"])
    years = {key: one for key, one in figures["years"].items() if key.isdigit()}
    panels = [
        _panel("Connections", "CPU µs a request", figures["connections"], [("cpu", "")]),
        _panel("Currencies in a sheet", "CPU µs a request", figures["currencies"], [("cpu", "")]),
        _panel("Widgets asked in turn", "CPU µs a request", figures["variants"], [("cpu", "")]),
        _panel("Years, asked for the first time", "ms", years, [("roubles_ms", "roubles"), ("quote_ms", "in euros")]),
    ]
    placed = [f'<g transform="translate({24 + n * (PANEL + 10)},{top + 28})">{one}</g>' for n, one in enumerate(panels)]
    height = top + 28 + 168
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img"><title>What a request costs, and what growth costs</title><style>{STYLE}</style>'
        f"{bars}{''.join(placed)}</svg>\n"
    )


def _bars(servers: Points) -> str:
    # Processor time, where it is known, leaves out the clients, which may be slower than a server.
    speed = {name: 1e6 / one["cpu"] if one["cpu"] else one["rps"] for name, one in servers.items()}
    plain, most = speed["plain asyncio"], max(speed.values())
    parts = [_text(24, 32, "Requests that a second of processor time answers, GET /v1/rates", "title")]
    parts.append(_text(24, 52, "64 connections, headers that differ; as a multiple of plain aiohttp", "small soft"))
    for place, (name, one) in enumerate(sorted(speed.items(), key=lambda pair: -pair[1])):
        y, width = 70 + place * BAR, one / most * 520
        kind = "ours" if name.startswith("ours") else "bar"
        parts.append(_text(24, y + 15, NAMES.get(name, name)))
        parts.append(f'<rect class="{kind}" x="220" y="{y}" width="{width:.1f}" height="20" rx="3"/>')
        parts.append(_text(228 + width, y + 15, f"{one / plain:.2f} ×"))
    return "".join(parts)


def _panel(title: str, unit: str, points: Points, series: list[tuple[str, str]]) -> str:
    """A curve over a logarithmic axis; values from zero up."""
    places = [float(key) for key in points]
    most = max(one[field] for one in points.values() for field, _ in series) or 1
    across = _scale(log10(min(places)), log10(max(places)), 8, PANEL - 34)
    up = _scale(0, most, 130, 44)
    parts = [_text(0, 14, title), _text(0, 31, f"{unit}, at most {_short(most)}", "small soft")]
    parts.append(f'<path class="rule" d="M0 130H{PANEL - 20}"/>')
    for number, (field, name) in enumerate(series):
        spots = [(across(log10(place)), up(one[field])) for place, one in zip(places, points.values(), strict=True)]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
        parts.append(f'<polyline class="line{" second" * number}" points="{line}"/>')
        parts += [f'<circle class="dot{"2" * number}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in spots]
        if name:
            parts.append(_text(30 + 62 * number, 148, f"● {name}", f"small dot{'2' * number}"))
    ends = (places[0], places[-1]) if len(places) > 1 else (places[0],)
    parts += [_text(across(log10(place)) - 6, 148, _short(place), "small soft") for place in ends]
    return "".join(parts)


def _scale(low: float, high: float, first: float, last: float) -> Callable[[float], float]:
    return lambda value: first + (value - low) / ((high - low) or 1) * (last - first)


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}"


def _text(x: float, y: float, words: str, kind: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}"{f" class={chr(34)}{kind}{chr(34)}" if kind else ""}>{escape(words)}</text>'
