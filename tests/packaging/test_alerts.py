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
from conftest import Serve, eventually, program
from kit import cases
from kit.bank import Bank, sheet, unavailable
from kit.dates import FRIDAY, THURSDAY
from kit.figures import with_key_rate, with_metals
from kit.service import ROOT, finished, output_of

FOLDER = ROOT / "deploy/prometheus"
DASHBOARD = ROOT / "deploy/grafana/ratesvc.json"
GUIDE = (ROOT / "docs/deploying.md").read_text("utf-8")
HANDBOOK = (ROOT / "docs/operating.md").read_text("utf-8")
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_bytes())["groups"] for rule in group["rules"]
]
PANELS: list[dict[str, Any]] = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}


def promtool(*words: str | Path) -> str:
    """What Prometheus' own tool prints, if it accepts what it reads."""
    return output_of(program("promtool"), *words, folder=FOLDER)


@pytest.mark.slow
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
    words = {*re.findall(r"[a-z_:]*[a-z]", HANDBOOK + (ROOT / "config.yaml").read_text("utf-8"))}
    for name, rule in ALERTS.items():
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
        page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert (ROOT / page).read_text("utf-8") == HANDBOOK
        assert anchor == name.lower()
        told = rule["annotations"]["summary"] + rule["annotations"]["description"]
        # Checks of /health and events of the log that are there, and labels that the expression keeps.
        assert {*re.findall(r"\b[a-z]+[_:][a-z]+\b", re.sub("{{.*?}}", "", told))} <= words, name
        is_of_all = re.search(r"by \(job, namespace\)|ratesvc:", rule["expr"])
        assert {*re.findall(r"\$labels\.(\w+)", told)} == (set() if is_of_all else {"instance"}), name
    assert len({rule["annotations"]["summary"] for rule in ALERTS.values()}) == len(ALERTS)


def test_one_command_of_the_guide_puts_the_address_of_the_handbook_into_each_alert(tmp_path: Path) -> None:
    """The result still has the same rules."""
    (command,) = re.findall(r"^(sed -i .*) deploy/prometheus/alerts.yml$", GUIDE, re.MULTILINE)
    file = tmp_path / "alerts.yml"
    file.write_bytes((FOLDER / "alerts.yml").read_bytes())
    output_of("sh", "-c", f"{command} {file}")
    anchor = "https://git.example/ratesvc/blob/main/docs/operating.md#ratesvc"
    assert file.read_text("utf-8").count(f"runbook_url: {anchor}") == len(ALERTS)
    assert len(yaml.safe_load(file.read_bytes())["groups"]) == 2


@pytest.mark.slow
async def test_one_line_of_cron_tells_what_health_does_not_pass(bank: Bank, serve_whole: Serve, tmp_path: Path) -> None:
    """It prints nothing, and cron mails nothing, while all is well. Also a service that does not answer is mailed."""
    (line,) = re.findall(r"^5 \* \* \* \* root (curl .*)$", GUIDE, re.MULTILINE)
    assert "%" not in line  # cron takes it for the end of the line
    program("curl")
    bank.publish(sheet(FRIDAY), sheet(THURSDAY))
    with_metals(bank, {FRIDAY: {1: "11409,47"}})
    with_key_rate(bank, {THURSDAY: "16.50"})
    async with serve_whole() as served:
        await eventually(lambda: all(figures.columns for figures in served.service.figures.values()))

        async def mailed() -> str:
            _, out, err = await finished("sh", "-c", line.replace("localhost:8080", url), cwd=tmp_path)
            return out + err

        url = served.url
        assert await mailed() == ""
        bank.misbehave = unavailable
        await served.service.poll()
        assert "status: 503" in await mailed()
        url = "localhost:1"
        assert "onnect" in await mailed()


def test_alertmanager_takes_the_example_which_sends_a_page_and_a_ticket_to_people() -> None:
    """Each urgency of our rules has a receiver; golden/deploy.txt has their addresses."""
    amtool, file = program("amtool"), "alertmanager.yml"
    assert "2 receivers" in output_of(amtool, "check-config", file, folder=FOLDER)
    for severity in {rule["labels"]["severity"] for rule in ALERTS.values()}:
        asked = ("config", "routes", "test", f"--config.file={file}", f"severity={severity}")
        routed = output_of(amtool, *asked, folder=FOLDER).split()[-1]
        assert routed == {"page": "on-call", "ticket": "tickets"}[severity]


def test_prometheus_understands_the_dashboard(tmp_path: Path) -> None:
    """Each query of each panel, as if it were a rule, with values in place of Grafana's variables."""
    asked = [target["expr"] for panel in PANELS for target in panel["targets"]]
    queries = [re.sub(r"\$(job|namespace)", ".*", one.replace("$__rate_interval", "5m")) for one in asked]
    rules = [{"record": f"query_{number}", "expr": query} for number, query in enumerate(queries)]
    file = tmp_path / "rules.yml"
    file.write_bytes(msgspec.json.encode({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", file)
    # And the shipped settings, with the rules that they name.
    assert f"{len(RULES)} rules found" in promtool("check", "config", "prometheus.yml")


def looks(panel: dict[str, Any]) -> str:
    """Its unit and its legends, and for some values the word or number and the colour that it has."""
    usual = panel["fieldConfig"]["defaults"]
    named = {key: one for each in usual.get("mappings", ()) for key, one in each["options"].items()}
    steps = usual.get("thresholds", {}).get(
        "steps", [{"color": usual.get("color", {}).get("fixedColor"), "value": None}]
    )
    told = []
    for value in (0, 0.001, 0.0144) if usual["unit"] == "percentunit" else range(4):
        colour = [step["color"] for step in steps if value >= (step["value"] or 0)][-1]
        found = named.get(str(value), {"text": value, "color": colour})
        told += [f"{found['text']} {found['color']}"] if found["color"] else []
    words = usual["unit"], *(target["legendFormat"] for target in panel["targets"]), *told
    return "; ".join(words)


def test_a_tile_has_the_colours_of_its_alerts_and_each_panel_its_place() -> None:
    """Panels fill their rows. A query asks for the chosen job and namespace, a tile for what is now.

    Panels of a kind differ in their words, queries, units and colours only.
    """
    x, y, alike = 0, 0, dict[Any, Any]()
    for number, panel in enumerate(PANELS, 1):
        place, usual, is_tile = panel["gridPos"], panel["fieldConfig"]["defaults"], panel["type"] == "stat"
        assert (panel["id"], place["x"], place["y"]) == (number, x, y), panel["title"]
        x, y = (x + place["w"]) % 24, y + place["h"] * ((x + place["w"]) // 24)
        asked = [target["expr"] for target in panel["targets"]]
        queries = "".join(asked)
        assert re.findall(r'ratesvc_\w+\b(?!{(?:[^}]*,)?job=~"\$job",namespace=~"\$namespace"})', queries) == []
        # The count since a start is no figure of now: only its growth is.
        assert [
            one for one in asked if re.search("_(total|bucket){", one) and not re.search(r"rate\(|offset", one)
        ] == []
        assert {"/ 86400" in one for one in asked if "time()" in one} <= {usual["unit"] == "d"}, panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert {(one.get("instant"), one.get("range")) for one in panel["targets"]} == {
            (True, False) if is_tile else (None, None)
        }
        kind = panel["type"], is_tile and usual["color"]["mode"] == "thresholds"
        drawn = panel["options"], usual.get("custom"), panel["fieldConfig"]["overrides"]
        assert alike.setdefault(kind, drawn) == drawn, panel["title"]
        urgencies = {
            ALERTS[name]["labels"]["severity"] for name in re.findall(r"Ratesvc\w+", panel.get("description", ""))
        }
        assert {{"page": "red", "ticket": "orange"}[one] for one in urgencies if is_tile} <= {
            *re.findall(r"\w+", looks(panel))
        }
    assert [drawn["colorMode"] for (_, is_coloured), (drawn, *_) in alike.items() if is_coloured] == ["background"]
    cases.check("dashboard.txt", {panel["title"]: looks(panel) for panel in PANELS})
