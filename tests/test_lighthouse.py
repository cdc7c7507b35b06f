"""Lighthouse about somebody's page that has three widgets."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path

import pytest
from conftest import missing
from widget_harness import FLAGS, hosting, live_service

pytestmark = [pytest.mark.browser, pytest.mark.slow]

LIGHTHOUSE = Path(__file__).parent / "web" / "node_modules" / "lighthouse" / "cli" / "index.js"
HEAD = (
    '<meta name="viewport" content="width=device-width"><meta name="description" content="News with rates">'
    "<style>body{font:16px sans-serif}</style>"
)


def page(url: str) -> str:
    """Two elements and a frame around a little text."""
    box = 'height="480" style="display:block;height:480px"'
    link = '<a href="https://www.cbr.ru/eng/currency_base/daily/">Bank of Russia official exchange rates</a>'
    return (
        "<main><h1>News</h1><p>What happened today.</p>"
        f'<cbr-rates lang="en" spark="30" {box}>{link}</cbr-rates>'
        f'<cbr-rates lang="ru" theme="dark" codes="USD,EUR,JPY" {box}>{link}</cbr-rates>'
        f'<iframe src="{url}/widget/frame?lang=zh-Hans" width="320" height="490" title="汇率"></iframe></main>'
        f'<script async src="{url}/widget/rates.js" crossorigin="anonymous"></script>'
    )


async def test_lighthouse_is_content(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """100 for accessibility and for best practices; performance and layout shift are printed."""
    node, chrome = shutil.which("node"), shutil.which("chromium")
    if not (node and chrome and LIGHTHOUSE.exists()):
        missing("Lighthouse (npm ci in tests/web) or Chromium")
    report = tmp_path / "report.json"
    async with live_service(tmp_path / "service") as live, hosting() as host:
        process = await asyncio.create_subprocess_exec(
            *(str(node), str(LIGHTHOUSE), host.put(page(live.url), head=HEAD), "--quiet", "--output=json"),
            *(f"--output-path={report}", "--only-categories=accessibility,best-practices,performance"),
            f"--chrome-flags={' '.join(['--headless=new', *FLAGS])}",
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "CHROME_PATH": str(chrome)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
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
