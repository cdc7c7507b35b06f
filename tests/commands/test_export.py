"""Static files of a service whose history has a gap."""

from __future__ import annotations

import resource
from datetime import date
from pathlib import Path

import pytest
from fake_bank import Bank, sheet

from ratesvc.commands.export import export, replace_file
from ratesvc.config import Settings
from ratesvc.domain.workdays import moscow_day, utc_now
from ratesvc.errors import RatesvcError
from ratesvc.service.app import Service

pytestmark = pytest.mark.slow


def test_a_full_disk_is_said_with_the_file_that_it_refused(tmp_path: Path) -> None:
    """The old file is whole, and nothing is left beside it."""
    file = tmp_path / "rates.json"
    file.write_text("{}")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    try:
        with pytest.raises(OSError, match=r"rates\.json") as caught:
            replace_file(file, bytes(4096))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.filename == str(file)
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("rates.json", "{}")]


async def test_a_file_is_removed_only_where_nothing_is_to_be_there(
    bank: Bank, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """404 removes; 503 leaves yesterday's good file, goes on with the others, and ends in an error with its reason.

    After a pause of years a series has a gap, and what is in it is not known before the next backfill.
    """
    site = tmp_path / "site"
    old = {site / "series/USD.csv": "date,USD\n2020-04-24,74.7163\n", site / "rates-next.json": "{}"}
    for file, text in old.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    today = moscow_day(utc_now())
    bank.publish(sheet(date(2020, 4, 24)), sheet(today))
    async with Service(settings, scheduled=False) as service:
        await service.fetch(date(2020, 4, 24))
    with pytest.raises(RatesvcError, match=r"^13 files were left .* /v1/series\?codes=AMD.* 503: .* not been loaded"):
        await export(settings, site, as_json=False, demo=False)
    assert capsys.readouterr().out.endswith(f"\n{site}: 16 written, 0 unchanged, 1 removed\n")
    assert (site / "series/USD.csv").read_text() == old[site / "series/USD.csv"]
    assert not (site / "rates-next.json").exists()
    assert f'"effective_date":"{today}"' in (site / "rates.json").read_text()
