"""Commands that take long or write files, as processes; one of them killed in the middle."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest
from conftest import eventually
from fake_bank import Bank, last_month, sheet
from processes import environment, processes_over, run

from ratesvc.domain.workdays import utc_now

pytestmark = pytest.mark.slow


async def test_a_backfill_killed_in_the_middle_goes_on_without_asking_again(bank: Bank, tmp_path: Path) -> None:
    """kill -9 after a few currencies; the second run asks for the others only, and says what is held."""
    count = len(last_month(bank))
    variables = {"RATESVC_CBR_MIRRORS": bank.url, "RATESVC_CBR_BACKFILL_GAP_SECONDS": "0.2"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ratesvc", "backfill"),
        cwd=tmp_path,
        env=environment(tmp_path, **variables),
        stderr=asyncio.subprocess.DEVNULL,
    )
    await eventually(lambda: len(bank.series_asked) >= 5)
    process.send_signal(signal.SIGKILL)
    async with asyncio.timeout(20):
        await process.wait()
    await eventually(lambda: not processes_over(tmp_path))
    first = list(bank.series_asked)
    variables["RATESVC_CBR_BACKFILL_GAP_SECONDS"] = "0"
    code, out, err = await run(tmp_path, "backfill", **variables)
    assert code == 0, err
    assert f"Held: {count} sheets, every one from 1992-07-01 to " in out
    assert "nothing more" in err
    second = bank.series_asked[len(first) :]
    # What was under way at the kill is asked for once more at most.
    assert len(set(first) & set(second)) <= 1
    nameless = {"R01435", "R01436", "R01700"}
    assert set(first) | set(second) == {quote.cbr_id for quote in sheet(utc_now().date()).quotes} | nameless
    code, out, _ = await run(tmp_path, "backfill", "--verify", **variables)
    assert (code, out) == (0, "No difference.\n")
    series = bank.series["R01235"]
    changed = min(series)
    series[changed] = (1, series[changed][1] * 2)
    code, out, err = await run(tmp_path, "backfill", "--verify", **variables)
    assert (code, out.count("\n")) == (1, 1)
    assert out.startswith(f"USD {changed}: held ")


async def test_export_writes_what_is_served_and_touches_only_what_changed(tmp_path: Path) -> None:
    """Static files with the service's own bytes; a second run finds nothing to do."""
    code, out, err = await run(tmp_path, "export", "--demo", "site")
    assert code == 0, err
    assert json.loads((tmp_path / "site" / "rates.json").read_text())["effective_date"] == "2022-11-18"
    assert json.loads((tmp_path / "site" / "rates-next.json").read_text())["effective_date"] == "2022-11-19"
    assert "<table" in (tmp_path / "site" / "widget" / "widget.ru.html").read_text()
    assert (tmp_path / "site" / "series" / "USD.csv").read_text().splitlines()[0] == "date,USD"
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("site/**/*") if path.is_file()}
    code, out, _ = await run(tmp_path, "export", "--demo", "site")
    assert (code, out) == (0, f"site: 0 written, {len(written)} unchanged, 0 removed\n")
    assert all(path.stat().st_mtime_ns == before for path, before in written.items())
