"""Alerts, recording rules, scrape settings and the dashboard, by Prometheus' own tool and against the handbook."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from conftest import program
from kit.service import ROOT, output_of

FOLDER = ROOT / "deploy/prometheus"
DASHBOARD = ROOT / "deploy/grafana/ratesvc.json"
HANDBOOK = (ROOT / "docs/operating.md").read_text("utf-8")
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_bytes())["groups"] for rule in group["rules"]
]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}


def promtool(*words: str | Path) -> str:
    """What Prometheus' own tool prints, if it accepts what it reads."""
    return output_of(program("promtool"), *words, folder=FOLDER)


@pytest.mark.nightly
def test_each_alert_fires_when_it_should_and_is_silent_when_not() -> None:
    """deploy/prometheus/alerts.test.yml holds, and has moments of both kinds for every alert."""
    promtool("test", "rules", "alerts.test.yml")
    moments: dict[str, set[bool]] = defaultdict(set)
    for test in yaml.safe_load((FOLDER / "alerts.test.yml").read_bytes())["tests"]:
        alert = test["name"].partition(":")[0]
        for moment in test["promql_expr_test"]:
            moments[alert].add(any(f'alertname="{alert}"' in sample["labels"] for sample in moment["exp_samples"]))
    assert moments == {name: {True, False} for name in ALERTS}


def test_each_alert_names_its_entry_in_the_handbook() -> None:
    """An entry for each alert and no other, under the anchor that it names, with the urgency of the rule."""
    entries = dict(re.findall(r"^### (Ratesvc\w+)\n\n\*\*(Page|Ticket)\.\*\*", HANDBOOK, re.MULTILINE))
    assert entries == {name: rule["labels"]["severity"].capitalize() for name, rule in ALERTS.items()}
    for name, rule in ALERTS.items():
        assert rule["annotations"].keys() == {"summary", "description", "runbook"}
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert (ROOT / page).read_text("utf-8") == HANDBOOK
        assert anchor == name.lower()


def test_prometheus_understands_the_dashboard(tmp_path: Path) -> None:
    """Each query of each panel, as if it were a rule, with values in place of Grafana's variables."""
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    queries = [re.sub(r"\$(job|namespace)", ".*", one.replace("$__rate_interval", "5m")) for one in asked]
    rules = [{"record": f"query_{number}", "expr": query} for number, query in enumerate(queries)]
    file = tmp_path / "rules.yml"
    file.write_bytes(msgspec.json.encode({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", file)
    # And the shipped settings, with the rules that they name.
    assert f"{len(RULES)} rules found" in promtool("check", "config", "prometheus.yml")
