"""What commands do, over a replica of the Bank."""

from __future__ import annotations

import json
import resource
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from aiohttp import web
from conftest import Clock, but
from kit.bank import Bank, around_today, daily_xml, sheet, unavailable, workdays
from kit.figures import with_key_rate, with_metals
from kit.service import run
from kit.sheets import all_times, changed, times
from redis import Redis as Client

from ratesvc.commands.backfill import backfill
from ratesvc.commands.quarantine import decide, withdraw
from ratesvc.commands.show import stored_or_fetched
from ratesvc.config import Cbr, Redis, Settings
from ratesvc.domain.workdays import ONE_DAY, moscow_day, utc_now
from ratesvc.errors import FetchFailed, RatesvcError
from ratesvc.features.export.command import export
from ratesvc.features.files import replace_file
from ratesvc.features.verify.command import Difference, _why_left, verify
from ratesvc.service.app import Service
from ratesvc.service.cycle import Cycle, Progress


@pytest.fixture
async def service(settings: Settings, clock: Clock) -> AsyncIterator[Service]:
    """A service as commands open it: nothing happens by itself."""
    async with Service(settings, clock=clock, scheduled=False) as opened:
        yield opened


# The sheet of a day


async def test_a_past_day_is_answered_by_the_banks_own_word(bank: Bank, service: Service) -> None:
    """Asked for a day in 1993 the Bank gives the sheet that was in force then, days before; no backfill is needed."""
    bank.publish(*map(sheet, (date(1993, 3, 2), date(1993, 3, 9), date(2026, 4, 23), date(2026, 4, 24))))
    found = await stored_or_fetched(service, date(1993, 3, 4))
    assert (found.requested_date, found.revision.effective_date) == (date(1993, 3, 4), date(1993, 3, 2))
    assert not found.stale


@pytest.mark.nightly
async def test_the_error_says_why_a_day_cannot_be_answered(bank: Bank, service: Service, clock: Clock) -> None:
    """The Bank's failure, whatever else is held, for a past day and for one to come; today's rates are still there."""
    bank.publish(sheet(date(2026, 4, 23)), sheet(date(2026, 4, 24)))
    await stored_or_fetched(service, None)
    bank.misbehave = unavailable
    for day in (date(2024, 3, 4), date(2026, 4, 25)):
        with pytest.raises(FetchFailed, match="status: 503"):
            await stored_or_fetched(service, day)
    assert (await stored_or_fetched(service, None)).revision.effective_date == date(2026, 4, 24)
    clock.advance(days=5)
    assert (await stored_or_fetched(service, None)).stale


async def test_a_sheet_that_is_held_back_is_no_answer_for_its_day(bank: Bank, service: Service) -> None:
    """The error says why; it is neither «not loaded» nor an older sheet."""
    bank.publish(*map(sheet, (date(2026, 4, 22), date(2026, 4, 23), date(2026, 4, 24))))
    await stored_or_fetched(service, None)
    bank.publish(all_times(sheet(date(2026, 4, 25)), "10"))
    with pytest.raises(RatesvcError, match=r"sheet of 2026-04-25 is held back \(power"):
        await stored_or_fetched(service, date(2026, 4, 25))


@pytest.mark.slow
async def test_what_is_shown_without_redis_says_so(bank: Bank, tmp_path: Path) -> None:
    """On standard error, because standard output may be read by a program."""
    around_today(bank)
    code, out, err = await run(
        tmp_path, "show", "USD", "--json", RATESVC_REDIS_URL="redis://127.0.0.1:1", RATESVC_CBR_MIRRORS=bank.url
    )
    assert (code, list(json.loads(out)["rates"])) == (0, ["USD"])
    assert err.count("\n") == 1
    assert "Redis: connection: " in err


# Backfill


@pytest.mark.slow
async def test_a_backfill_says_what_is_held_and_a_comparison_what_differs(
    bank: Bank, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where no service runs, too. tests/service/test_backfill.py shows how a run that was cut off goes on."""
    count = len(around_today(bank, back=20))
    settings = Settings(data_dir=str(tmp_path / "data"), cbr=Cbr(mirrors=(bank.url,), backfill_gap_seconds=0))
    await backfill(settings, None, None, as_json=False, demo=False)
    out, err = capsys.readouterr()
    assert f"Held in {tmp_path}/data/engine: {count} sheets, every one from 1992-07-01 to " in out
    assert "nothing more" in err
    await verify(settings, repair=False, as_json=False, demo=False)
    assert capsys.readouterr().out.endswith("No difference.\n")
    series = bank.series["R01235"]
    wrong = min(series)
    held = f"{series[wrong][1]} for 1"
    series[wrong - ONE_DAY] = series[wrong]
    with pytest.raises(RatesvcError, match=r"^1 difference$"):
        await verify(settings, repair=False, as_json=False, demo=False)
    assert f"USD {wrong - ONE_DAY}: held nothing, the Bank has {held}\n" in capsys.readouterr().out
    del series[wrong - ONE_DAY]
    series[wrong] = (1, series[wrong][1] * 2)
    with pytest.raises(RatesvcError, match=r"^1 difference$"):
        await verify(settings, repair=False, as_json=False, demo=False)
    assert f"USD {wrong}: held {held}, the Bank has {series[wrong][1]} for 1\n" in capsys.readouterr().out
    bank.documents[wrong] = daily_xml(changed(sheet(wrong), USD=times("2")))
    await verify(settings, repair=True, as_json=False, demo=False)
    assert capsys.readouterr().out.endswith("1 difference repaired.\n")
    # The first of two stays, because its document says what is held.
    stays, later = sorted(series)[5:7]
    value = series[stays][1]
    series[stays], series[later] = (1, value * 2), (1, series[later][1] * 2)
    bank.documents[later] = daily_xml(changed(sheet(later), USD=times("2")))
    with pytest.raises(RatesvcError, match=r"^1 difference$"):
        await verify(settings, repair=True, as_json=False, demo=False)
    assert capsys.readouterr().out.splitlines()[-2:] == [
        f"USD {stays}: held {value} for 1, the Bank has {value * 2} for 1",
        f"{stays} is not repaired: the Bank's document says what is held, and its series do not",
    ]


async def test_a_backfill_needs_the_banks_newest_sheet_only_if_none_is_held(bank: Bank, service: Service) -> None:
    """Its series may be answered while its daily documents are not."""
    bank.publish(*map(sheet, workdays(date(2026, 3, 24), 24)))

    async def without_documents(request: web.Request) -> web.StreamResponse:
        return await (unavailable if request.path.endswith("XML_daily.asp") else bank.honest)(request)

    async def on_step(_: Progress) -> None:
        """Nobody watches."""

    bank.misbehave = without_documents
    with pytest.raises(FetchFailed, match="status: 503"):
        await service.backfill(on_step)
    bank.misbehave = None
    await service.refresher.ask_without_lease()
    bank.misbehave = without_documents
    await service.backfill(on_step)
    assert service.history.settled


def test_a_person_withdraws_no_sheet_that_the_bank_still_has() -> None:
    """It lacks one currency there; it has dropped the sheet if it lacks all."""
    dollar, euro = (Difference(code, date(2026, 4, 24), "1 for 1", None) for code in ("USD", "EUR"))
    for differences, is_gone in (([dollar, euro], True), ([dollar, replace(euro, bank="2 for 1")], False)):
        assert ("withdraw" in _why_left(differences, Cycle("unchanged"))) == is_gone


# Decisions


async def test_what_cannot_be_read_is_not_released_and_the_only_revision_is_withdrawn(
    bank: Bank, settings: Settings, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    """No question is asked about the former; before the latter a person reads that the day will have no sheet."""
    days = date(2026, 4, 23), date(2026, 4, 24)
    bank.publish(*map(sheet, days))
    async with Service(settings, clock=clock, scheduled=False) as service:
        await service.refresher.ask_without_lease(days[0])
        await service.refresher.ask_without_lease(days[1])
        bank.documents[days[1]] = bank.documents[days[1]].replace(b"ValCurs", b"Rates")
        await service.refresher.ask_without_lease(days[1])
        [case] = await service.quarantine.cases()
    await decide(settings, "show", case.name, yes=False, as_json=False)
    assert "It cannot be released: " in capsys.readouterr().out
    with pytest.raises(RatesvcError, match="is no sheet and cannot be released: root: "):
        await decide(settings, "release", case.name, yes=False, as_json=False)
    await withdraw(settings, days[1], yes=True, as_json=False)
    said = capsys.readouterr().out
    assert "Then the day has no sheet: today is answered with the sheet before it, a past day with an error:\n" in said
    assert said.endswith("Withdrawn: the sheet of 2026-04-24, revision 1.\n")


async def test_a_document_that_somebody_drops_meanwhile_is_not_released(
    bank: Bank, settings: Settings, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a person looks at it, nothing is locked."""
    days = date(2026, 4, 23), date(2026, 4, 24)
    bank.publish(sheet(days[0]), all_times(sheet(days[1]), "10"))
    async with Service(settings, clock=clock, scheduled=False) as service:
        await service.refresher.ask_without_lease(days[0])
        await service.refresher.ask_without_lease(days[1])
        [case] = await service.quarantine.cases()

        def looks(*_: object, **__: object) -> None:
            with Client.from_url(settings.redis.url) as client:
                client.delete(service.quarantine.key)

        monkeypatch.setattr("click.confirm", looks)
        with pytest.raises(RatesvcError, match="no documents in quarantine"):
            await decide(settings, "release", case.name, yes=False, as_json=False)
        assert await service.store.fields() == {f"{days[0]}.1"}


# Export


def test_a_full_disk_is_reported_with_the_file(tmp_path: Path) -> None:
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


@pytest.mark.slow
async def test_export_writes_what_is_served_and_touches_only_what_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Static files with the service's own bytes; a second run finds nothing to do."""
    settings, site = Settings(data_dir=str(tmp_path / "data")), tmp_path / "site"
    await export(settings, site, as_json=False, demo=True)
    assert json.loads((site / "rates.json").read_text())["effective_date"] == "2022-11-18"
    assert json.loads((site / "rates-next.json").read_text())["effective_date"] == "2022-11-19"
    assert "<table" in (site / "widget" / "widget.ru.html").read_text()
    heading = (site / "series" / "USD.csv").read_text().splitlines()[0]
    assert heading == "date,code,unit_rate,effective_date,revision,roubles,name"
    written = {path: path.stat().st_mtime_ns for path in site.glob("**/*") if path.is_file()}
    await export(settings, site, as_json=False, demo=True)
    assert capsys.readouterr().out.endswith(f"\n{site}: 0 written, {len(written)} unchanged, 0 removed\n")
    assert all(path.stat().st_mtime_ns == before for path, before in written.items())


@pytest.mark.nightly
async def test_a_file_is_only_removed_if_its_answer_is_404(
    bank: Bank, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """503 leaves yesterday's good file, goes on with the others, and ends in an error with its reason.

    After a pause of years a series has a gap, and the days in it are not known before the next backfill.
    """
    site = tmp_path / "site"
    old = {site / "series/USD.csv": "date,USD\n2020-04-24,74.7163\n", site / "rates-next.json": "{}"}
    for file, text in old.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    today = moscow_day(utc_now())
    bank.publish(sheet(date(2020, 4, 24)), sheet(today))
    with_metals(bank, {today: {1: "11409,47"}})
    with_key_rate(bank, {today: "16.50"})
    async with Service(settings, scheduled=False) as service:
        await service.refresher.ask_without_lease(date(2020, 4, 24))
    with pytest.raises(RatesvcError, match=r"^13 files were left .* /v1/series\.csv\?codes=AMD.* 503: .* not been"):
        await export(settings, site, as_json=False, demo=False)
    assert capsys.readouterr().out.endswith(f"\n{site}: 20 written, 0 unchanged, 1 removed\n")
    assert (site / "series/USD.csv").read_text() == old[site / "series/USD.csv"]
    assert not (site / "rates-next.json").exists()
    assert f'"effective_date":"{today}"' in (site / "rates.json").read_text()


async def test_a_demo_never_touches_live_data(settings: Settings) -> None:
    """It has an engine of its own in another folder, also where the settings name a Redis."""
    demo = Service(settings, demo=True).engine
    assert demo
    live = Service(but(settings, redis=Redis())).engine
    assert live
    assert demo.folder.path != live.folder.path
    # Nor does a proxy of the environment lead to its Bank, which is in this process.
    asks_proxies = [Service(settings, demo=is_demo).client._proxy is None for is_demo in (True, False)]  # noqa: SLF001
    assert asks_proxies == [False, True]
