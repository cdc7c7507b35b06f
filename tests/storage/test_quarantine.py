"""Documents that wait for a person: bounded, the same on every replica, decided by a command."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from conftest import Served, eventually
from fake_bank import Bank, daily_xml, sheet
from msgspec.msgpack import encode
from processes import run, serving
from sheets import all_times, plausible

from ratesvc.domain.workdays import WorkCalendar, moscow_day, utc_now
from ratesvc.errors import RatesvcError
from ratesvc.storage.quarantine import MOST_CASES, Case, Quarantine
from ratesvc.storage.records import seal
from ratesvc.storage.redis import RedisConnection, connect
from ratesvc.storage.store import Store

DAY = date(2026, 4, 24)
SEEN = datetime(2026, 4, 23, 13, tzinfo=UTC)


def case(number: int = 0, raw: bytes | None = None) -> Case:
    return Case(DAY, SEEN + timedelta(minutes=number), ("shrunk: most are gone",), raw or b"<%d/>" % number)


async def test_a_document_is_kept_once_with_its_bytes_and_the_oldest_make_room(every_redis: str) -> None:
    """Two replicas see the same one; a Bank gone mad fills fifty places and no more."""
    store = Store(RedisConnection(every_redis), uuid.uuid4().hex)
    one, two = store.quarantine, Quarantine(store.connection, store.quarantine.key)
    raw = daily_xml(sheet(DAY)) * 20
    for quarantine in (one, two):
        await quarantine.add(case(raw=raw))
    assert await one.count() == 1
    assert await two.case(case(raw=raw).name[:5]) == case(raw=raw)
    for number in range(1, MOST_CASES + 3):
        await one.add(case(number))
    held = await two.cases()
    assert len(held) == await one.count() == MOST_CASES
    assert held[0] == case(MOST_CASES + 2)
    assert held[-1] == case(3)
    await two.drop([held[0].name, "not there"])
    assert await one.count() == MOST_CASES - 1
    with pytest.raises(RatesvcError, match="no documents"):
        await one.case(held[0].name)
    with pytest.raises(RatesvcError, match="no documents"):
        await one.case("")
    await store.close()


async def test_what_nobody_can_read_does_not_wait_for_ever(redis_url: str) -> None:
    """Another's value under our key, or a record that is none: neither shown nor counted, nor in the way of others."""
    store, client = Store(RedisConnection(redis_url), uuid.uuid4().hex), connect(redis_url)
    quarantine = store.quarantine
    strange = {
        "abc": b"garbage",
        "def": seal("def", b"no record"),
        "123": seal("123", encode((DAY, SEEN, [], b"no zlib"))),
    }
    for name, envelope in strange.items():
        await quarantine.add(case())
        await client.hset(quarantine.key, name, envelope)
        assert await quarantine.count() == 1
        assert await quarantine.cases() == [case()]
    assert await client.hlen(quarantine.key) == 1
    await client.aclose()
    await store.close()


async def test_a_document_is_counted_once_by_its_reason(served: Served, bank: Bank) -> None:
    """However often the Bank says it, whatever it says between, and also where no sheet can be read from it."""
    tomorrow, refresh = DAY + timedelta(days=1), served.service.refresh
    tenfold, short = all_times(sheet(tomorrow), "10"), replace(sheet(tomorrow), quotes=sheet(tomorrow).quotes[:5])
    for wrong in (tenfold, short, tenfold, short):
        bank.documents[tomorrow] = daily_xml(wrong)
        await refresh()
    counted = [line for line in (await served.get("/metrics"))[2].decode().splitlines() if "quarantined_total{" in line]
    assert counted == [
        'ratesvc_quarantined_total{reason="power_of_ten"} 1.0',
        'ratesvc_quarantined_total{reason="rows"} 1.0',
    ]


@pytest.mark.slow
async def test_a_person_decides(bank: Bank, tmp_path: Path) -> None:
    """list, show, --raw, release and drop beside a running service, which serves what was released at once."""
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
