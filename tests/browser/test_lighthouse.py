"""Lighthouse about somebody's page that has three widgets."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from conftest import missing, program
from kit.browser import FLAGS, hosting, live_service
from kit.service import finished

pytestmark = pytest.mark.nightly

LIGHTHOUSE = Path(__file__).parent / "node_modules" / "lighthouse" / "cli" / "index.js"
HEAD = (
    '<meta name="viewport" content="width=device-width"><meta name="description" content="News with rates">'
    "<style>body{font:16px sans-serif}</style>"
)


def page(url: str) -> str:
    """Two elements and a frame around a little text."""
    box = 'height="480" style="display:block;height:480px"'
    link = '<a href="https://www.cbr.ru/eng/currency_base/daily/">Bank of Russia exchange rates</a>'
    return (
        "<main><h1>News</h1><p>What happened today.</p>"
        f'<cbr-rates lang="en" spark="30" {box}>{link}</cbr-rates>'
        f'<cbr-rates lang="ru" theme="dark" codes="USD,EUR,JPY" {box}>{link}</cbr-rates>'
        f'<iframe src="{url}/widget/frame?lang=zh-Hans" width="320" height="490" title="汇率"></iframe></main>'
        f'<script async src="{url}/widget/rates.js" crossorigin="anonymous"></script>'
    )


async def test_lighthouse_is_content(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """100 for accessibility and for best practices; performance and layout shift are printed."""
    node, chrome = program("node"), program("chromium", "chromium-browser", "google-chrome")
    if not LIGHTHOUSE.exists():
        missing("Lighthouse (npm)")
    report = tmp_path / "report.json"
    async with live_service(tmp_path / "service") as live, hosting() as host:
        code, out, err = await finished(
            *(node, LIGHTHOUSE, host.put(page(live.url), head=HEAD), "--quiet", "--output=json"),
            *(f"--output-path={report}", "--only-categories=accessibility,best-practices,performance"),
            f"--chrome-flags={' '.join(['--headless=new', *FLAGS])}",
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "CHROME_PATH": chrome},
            timeout_s=280,
        )
    assert code == 0, out + err
    found = json.loads(report.read_text("utf-8"))
    scores = {name: part["score"] for name, part in found["categories"].items()}
    with capsys.disabled():
        print(f"\nLighthouse {found['lighthouseVersion']}: {scores}")  # noqa: T201 -- figures to read
    judged = [
        ref["id"] for name in ("accessibility", "best-practices") for ref in found["categories"][name]["auditRefs"]
    ]
    assert [name for name in judged if found["audits"][name]["score"] == 0] == []
    assert (scores["accessibility"], scores["best-practices"]) == (1, 1)
    assert found["audits"]["cumulative-layout-shift"]["numericValue"] == 0
