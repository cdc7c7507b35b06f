"""`ratesvc quarantine`: a person decides about documents that were not published."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from conftest import eventually
from fake_bank import Bank, daily_xml
from processes import run, serving
from sheets import all_times, plausible

from ratesvc.domain.workdays import WorkCalendar, moscow_day, utc_now


@pytest.mark.slow
async def test_a_person_decides(bank: Bank, tmp_path: Path) -> None:
    """list, show, --raw, release and drop beside a running service, which serves a released sheet at once."""
    calendar = WorkCalendar()
    in_force = calendar.effective_date_on_or_before(moscow_day(utc_now()))
    before = calendar.effective_date_on_or_before(in_force - timedelta(days=1))
    bank.publish(plausible(before), plausible(in_force))
    variables = {"RATESVC_CBR_MIRRORS": bank.url, "RATESVC_POLL_SECONDS": "0.2"}
    async with serving(tmp_path, **variables) as program:
        await program.ready()

        async def quarantined() -> list[str]:
            code, out, err = await run(tmp_path, "quarantine", "list", **variables)
            assert code == 0, err
            return out.splitlines()

        async def found(count: int) -> bool:
            line = f'ratesvc_quarantined_total{{reason="power_of_ten"}} {count}.0'
            return line.encode() in (await program.get("/metrics"))[2]

        assert await quarantined() == []
        tenfold = all_times(plausible(in_force), "10")
        bank.documents[in_force] = daily_xml(tenfold)
        await eventually(lambda: found(1))
        [line] = await quarantined()
        name = line.split()[0]
        assert str(in_force) in line
        assert "power_of_ten: AED ×10^1" in line
        code, out, _ = await run(tmp_path, "quarantine", "show", name[:6], **variables)
        assert (code, "USD" in out, str(tenfold.by_code["USD"].value) in out) == (0, True, True)
        code, out, _ = await run(tmp_path, "quarantine", "list", "--json", **variables)
        [record] = json.loads(out)
        assert (record["name"], record["effective_date"]) == (name, str(in_force))
        code, out, _ = await run(tmp_path, "quarantine", "show", "--json", name, **variables)
        shown = json.loads(out, parse_float=str)
        assert {key: shown[key] for key in record} == record
        assert shown["rates"]["USD"]["now"]["value"] == str(tenfold.by_code["USD"].value)
        assert shown["rates"]["USD"]["before"] is not None
        assert shown["suspects"] == sorted(tenfold.by_code)
        code, out, _ = await run(tmp_path, "quarantine", "show", "--raw", name, **variables)
        assert (code, out.startswith('<?xml version="1.0"')) == (0, True)
        code, out, _ = await run(tmp_path, "quarantine", "release", name, **variables)
        assert (code, out) == (0, f"Published: the sheet of {in_force}, revision 2.\n")

        async def released() -> bool:
            document = json.loads((await program.get("/v1/rates"))[2])
            return bool(document["revision"] == 2 and document["flags"][-1] == "released")

        await eventually(released, patience_s=5)
        assert await quarantined() == []
        bank.documents[in_force] = daily_xml(all_times(plausible(in_force), "100"))
        await eventually(lambda: found(2))
        bank.publish(tenfold)
        code, out, _ = await run(tmp_path, "quarantine", "drop", (await quarantined())[0].split()[0], **variables)
        assert (code, out.startswith("Dropped: ")) == (0, True)
        code, _, err = await run(tmp_path, "quarantine", "release", "ffffffffffff", **variables)
        assert (code, "no documents in quarantine" in err) == (1, True)
