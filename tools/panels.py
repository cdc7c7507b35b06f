"""The panels of a Grafana dashboard as HTML, from their own settings and what Prometheus answered to their queries."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime
from html import escape
from itertools import groupby
from typing import Any

from ratesvc.domain.workdays import MOSCOW

Panel = dict[str, Any]
Series = tuple[str, list[tuple[float, float]]]
LINES = ("#0b5cad", "#b8420a", "#04724d", "#8a3ab9", "#806000", "#3f4a59", "#b0124f", "#00697a", "#6b4f3a", "#5b6bc0")
COLOURS = {"green": "#1a7f37", "orange": "#b45309", "red": "#b91c1c", "blue": "#0b5cad", "text": "#7d8794"}
TICK_S = 60
GAP_S = 1.5  # points further apart are not joined
MARGIN = 0.05  # of the width: a label nearer to the edge would be cut
STYLE = """
*{box-sizing:border-box;margin:0}
body{padding:10px;background:#eef0f3;color:#1a1d21;font:12px/1.35 Noto,sans-serif;font-variant-numeric:tabular-nums}
header,footer{display:flex;align-items:baseline;padding:0 2px 8px;color:#545c66}footer{padding:8px 2px 0}
h1{font-size:16px;margin-right:auto;color:#1a1d21}h2{font-size:12.5px;font-weight:600;white-space:nowrap}
main{display:grid;gap:6px;grid-template-columns:repeat(24,1fr);grid-auto-rows:24px}
section{background:#fff;border:1px solid #d7dbe0;border-radius:3px;padding:6px 9px;display:flex;flex-direction:column;
min-width:0}.stat b{font-size:22px;font-weight:600;margin:auto 0;white-space:nowrap}.full{color:#fff;border-color:#0000}
.plot{flex:1;display:grid;grid-template:1fr 18px/auto 1fr;column-gap:7px;min-height:0;padding-top:9px}
.ticks{display:flex;flex-direction:column-reverse;justify-content:space-between;text-align:right;line-height:0}
.ticks,.times{white-space:nowrap;color:#545c66}.state-timeline .ticks{justify-content:space-around}
.times{grid-column:2;position:relative}.times i{position:absolute;top:3px;transform:translateX(-50%);font-style:normal}
svg{width:100%;height:100%}path{fill:none;vector-effect:non-scaling-stroke;stroke-linejoin:round;stroke-width:1.6}
ul{display:flex;flex-wrap:wrap;gap:0 12px;margin-top:2px;padding:0;list-style:none;font-size:11.5px}
li::before{content:"";display:inline-block;width:11px;height:3px;margin:0 5px 3px 0;background:var(--c)}"""


def written_out(query: str, interval: str = "5m") -> str:
    """A query as Grafana asks it when all jobs and namespaces are chosen."""
    return query.replace("$__rate_interval", interval).replace("$job", ".*").replace("$namespace", ".*")


def drawn(panel: Panel, series: list[Series], start: int, end: int) -> str:
    """A panel at its place."""
    if panel["type"] == "stat":
        words, colour = mapped(panel, series[0][1][-1][1])
        body, style = f"<b>{escape(words)}</b>", f"background:{COLOURS[colour]}" if colour else ""
    else:
        draw = {"timeseries": _lines, "state-timeline": _states}[panel["type"]]
        seconds = [(name, [(at - start, v) for at, v in values]) for name, values in series]
        ticks, picture, keys = draw(panel, seconds, end - start)
        svg = f'<svg viewBox="0 0 {end - start} 1" preserveAspectRatio="none" overflow="visible">{picture}</svg>'
        left = "".join(f"<div>{escape(tick)}</div>" for tick in ticks)
        legend = "".join(f'<li style="--c:{colour}">{escape(name)}</li>' for name, colour in keys.items())
        body, style = f"<div class=plot><div class=ticks>{left}</div>{svg}{_times(start, end)}</div>", ""
        body += f"<ul>{legend}</ul>"
    at, kind = panel["gridPos"], f"{panel['type']}{' full' * bool(style)}"
    area = f"grid-area:{at['y'] + 1}/{at['x'] + 1}/span {at['h']}/span {at['w']}"
    return f'<section class="{kind}" style="{area};{style}"><h2>{escape(panel["title"])}</h2>{body}</section>'


def mapped(panel: Panel, value: float) -> tuple[str, str]:
    """The words and the colour of a value, by the panel's mappings and thresholds."""
    defaults = panel["fieldConfig"]["defaults"]
    for mapping in defaults.get("mappings", ()):
        options = mapping["options"]
        said = options["result"] if options.get("match") == "nan" and math.isnan(value) else options.get(f"{value:g}")
        if said:
            return said["text"], said["color"]
    steps = defaults.get("thresholds", {}).get("steps", [])
    passed = [step["color"] for step in steps if step["value"] is None or value >= step["value"]]
    return shown(value, defaults["unit"]), passed[-1] if passed else ""


def shown(value: float, unit: str, beside: float = 0) -> str:
    """A value as Grafana writes it; on an axis, in the same unit as its highest."""
    if unit.startswith("time:"):
        return f"{datetime.fromtimestamp(value / 1000, MOSCOW):{'%a %-d %b %H:%M' if 'HH' in unit else '%a %-d %b'}}"
    if unit == "percentunit":
        return f"{value * 100:.2f}%"
    if unit == "s" and value:
        size, name = next(one for one in ((1, "s"), (1e-3, "ms"), (0, "µs")) if max(value, beside) >= one[0])
        return f"{round(value / (size or 1e-6), 3):g} {name}"
    return f"{round(value, 3):g}{' req/s' if unit == 'reqps' and value else ''}"


def _lines(panel: Panel, series: list[Series], coverage: int) -> tuple[list[str], str, dict[str, str]]:
    assert len(series) <= len(LINES), f"«{panel['title']}» has more lines than anybody can tell apart"
    highest = max((v for _, values in series for _, v in values if math.isfinite(v)), default=0) or 1
    size = 10 ** math.floor(math.log10(highest))
    step = next(one for one in (size / 4, size / 2, size, size * 2, size * 5) if highest <= one * 4.01)
    steps = math.ceil(highest / step - 0.01)
    unit = panel["fieldConfig"]["defaults"]["unit"]
    grid = "".join(f'<path stroke="#e1e5ea" d="M0 {n / steps}H{coverage}"/>' for n in range(steps + 1))
    lines = (
        f'<path stroke="{colour}" d="{"".join(_points(values, step * steps))}"/>'
        for (_, values), colour in zip(series, LINES, strict=False)
    )
    keys = dict(zip((name for name, _ in series), LINES, strict=False))
    return [shown(step * n, unit, step * steps) for n in range(steps + 1)], grid + "".join(lines), keys


def _points(values: list[tuple[float, float]], top: float) -> Iterator[str]:
    """A line, with gaps where nothing was told."""
    before = -math.inf
    for at, value in values:
        if math.isfinite(value):
            yield f"{'L' if at - before < GAP_S else 'M'}{at:.0f} {1 - value / top:.4f}"
            before = at


def _states(panel: Panel, series: list[Series], coverage: int) -> tuple[list[str], str, dict[str, str]]:
    boxes, keys, height = "", {}, 1 / len(series)
    for row, (_, values) in enumerate(series):
        for (words, colour), group in groupby(values, lambda one: mapped(panel, one[1])):
            keys[words] = COLOURS[colour]
            times = [at for at, _ in group]
            width = min(times[-1] + 1, coverage) - times[0]
            box = f'x="{times[0]}" width="{width}" y="{(row + 0.2) * height}" height="{0.6 * height}"'
            boxes += f'<rect {box} fill="{COLOURS[colour]}"/>'
    return [name for name, _ in reversed(series)], boxes, keys


def _times(start: int, end: int) -> str:
    whole = range(math.ceil(start / TICK_S) * TICK_S, end, TICK_S)
    places = ((datetime.fromtimestamp(at, MOSCOW), (at - start) / (end - start)) for at in whole)
    marks = (
        f'<i style="left:{place:.2%}">{moment:%H:%M}</i>' for moment, place in places if MARGIN < place < 1 - MARGIN
    )
    return f"<div class=times>{''.join(marks)}</div>"
