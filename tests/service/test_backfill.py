"""All of history: fetched once, resumed after a kill, kept whole after a pause, compared with the Bank."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from contextvars import Context
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from typing import Self

import msgspec
import pytest
from aiohttp import web
from conftest import Clock, Serve, eventually
from kit import cases
from kit.bank import Bank, daily_xml, sheet, workdays
from kit.dates import DAYS, FRIDAY, NOON, SATURDAY
from kit.redis import token
from kit.sheets import changed, times, without
from yarl import URL

from ratesvc.bank.admission import FEWEST_ROWS
from ratesvc.bank.client import BankClient, Mirror
from ratesvc.bank.xml import parse_daily
from ratesvc.config import Settings
from ratesvc.domain.columns import Days, digest, with_revision
from ratesvc.domain.history import History
from ratesvc.domain.rates import FIRST_DAY, WITHDRAWN_BY_SERVICE, Quote, Revision, Sheet
from ratesvc.domain.settled import WEEK, Settled
from ratesvc.domain.workdays import ONE_DAY, WorkCalendar, utc_now
from ratesvc.errors import FetchFailed, RatesvcError, StoreUnavailable
from ratesvc.features.ranges.unit_rates import SeriesParams, series
from ratesvc.service import decisions
from ratesvc.service.backfill import Backfill, NotOurTurn
from ratesvc.service.cycle import OnStep, Progress
from ratesvc.service.refresh import Refresher
from ratesvc.service.schedule import SOON_S
from ratesvc.service.sync import Sync
from ratesvc.storage.records import decode_column, encode_column, encode_coverage, seal, unseal
from ratesvc.storage.redis import RedisConnection, cancel, connect
from ratesvc.storage.store import Store

pytestmark = pytest.mark.settles_after_a_week

EVERY_DAY = [*DAYS, *workdays(SATURDAY, 40)]
WRONG = DAYS[10]
NAMELESS = ["R01435", "R01436", "R01700"]
"""Ids of the replica's catalogue without a code: an item that has none, and two that are parents only."""


@pytest.fixture
def settings(settings: Settings, bank: Bank) -> Settings:
    """Backfill without pauses between its requests."""
    bank.publish(*map(sheet, DAYS))
    assert DAYS[-1] == FRIDAY
    return settings


@dataclass
class Replica:
    """What a backfill works with, and the memory that it fills: a replica without anything that happens by itself."""

    store: Store
    history: History
    client: BankClient
    clock: Clock
    columns: str
    coverage: str
    scheduled: bool = True

    def __post_init__(self) -> None:
        self.refresher = Refresher(
            self.client, self.store, self.history, self.clock, lambda *_: None, scheduled=self.scheduled
        )
        self.backfill = Backfill(self.refresher, 0)
        self.sync = Sync(self.store, self.history, {})
        self.redis = self.store.connection.client

    def command(self) -> Self:
        """What a person runs beside it."""
        return replace(self, scheduled=False)

    async def fetch(self, day: date | None) -> None:
        await self.refresher.ask_without_lease(day)

    async def withdraw(self, day: date) -> None:
        await decisions.publish(self.refresher, decisions.withdrawal(self.refresher, day))

    async def poll(self) -> None:
        await self.refresher.refresh()
        await self.backfill.look.first_week.confirm()

    async def run(self, since: date = FIRST_DAY, until: date | None = None) -> None:
        """As a service runs it: memory knows what the store holds, and the newest sheet."""
        await self.read()
        await self.fetch(None)
        await self.fill(since, until)
        await self.week()
        await self.read()

    async def week(self) -> None:
        await self.refresher.ask_for_week()

    async def fill(self, since: date = FIRST_DAY, until: date | None = None) -> None:
        """One run, with what memory knows."""
        await finished(self.steps(since, until))

    async def begins(self, since: date = FIRST_DAY, until: date | None = None) -> None:
        """A run that has fetched three columns, and goes on when it is told to."""
        await self.fetch(None)
        self.begun_run = self.steps(since, until)
        while (await anext(self.begun_run)).done < 3:
            pass

    async def reaches(self, day: date) -> None:
        """A run that is about to ask for the document of that day."""
        self.begun_run = self.steps()
        while (await anext(self.begun_run)).asking != f"the sheet of {day}":
            pass

    async def ends(self) -> None:
        await finished(self.begun_run)

    async def stops(self) -> None:
        await self.begun_run.aclose()

    async def restarts(self) -> None:
        """It forgets what it holds, and reads what the store holds."""
        self.history = History(WorkCalendar())
        self.__post_init__()
        await self.read()

    async def steps(self, since: date = FIRST_DAY, until: date | None = None) -> AsyncGenerator[Progress]:
        """The steps of one run, which waits at each until the next one is asked for."""
        reached, may_go_on = asyncio.Queue[Progress | None](), asyncio.Semaphore(0)

        async def on_step(progress: Progress) -> None:
            reached.put_nowait(progress)
            await may_go_on.acquire()

        run = asyncio.create_task(self.backfill.run(on_step, since, until))
        run.add_done_callback(lambda _: reached.put_nowait(None))
        try:
            while progress := await reached.get():
                yield progress
                may_go_on.release()
            run.result()
        finally:
            await cancel([run])

    async def read(self) -> None:
        """Take from the store what memory lacks, and write what it lost."""
        await self.sync.compare()

    async def lose(self, *ids: str) -> None:
        """Redis loses the columns of these ids."""
        await self.store.connection.client.hdel(self.columns, *ids)

    async def grow_older(self, bank: Bank, until: date, open_days: list[date]) -> None:
        """Redis becomes as an older version leaves it: history up to a day, with the days that it has not admitted."""
        stored = dict[str, bytes]()
        for field in await self.store.names(self.columns):
            found = decode_column(field, await self.redis.hget(self.columns, field))
            assert found
            found[0].forget(Days(FIRST_DAY, until))
            for day, (nominal, value) in bank.series.get(field, {}).items():
                if found[0].currency.code and day <= until:
                    found[0].put(day, nominal, value)
            newer = encode_column(found[0], Settled(FIRST_DAY, until))
            stored[field] = of_older(field, newer, 13)
        for field, envelope in stored.items():
            await self.redis.hset(self.columns, field, envelope)
        newer = encode_coverage(Settled(FIRST_DAY, until, open_days=frozenset(open_days)), len(stored))
        await self.redis.set(self.coverage, of_older("coverage", newer, 4))

    async def damage(self, cbr_id: str) -> None:
        """Change the last bit of a stored column."""
        client = self.store.connection.client
        stored = await client.hget(self.columns, cbr_id)
        assert isinstance(stored, bytes)
        await client.hset(self.columns, cbr_id, stored[:-1] + bytes([stored[-1] ^ 1]))

    def held(self, day: date) -> Revision:
        """The newest revision of that day's sheet, which must be held."""
        found = self.history.of_date(day)
        assert found, f"no sheet of {day}"
        return found

    def days(self, code: str, since: date = FIRST_DAY) -> list[date]:
        """The days on which the currency has a rate."""
        return [day for day, _ in series(self.history, code, SeriesParams((code,), Days(since, EVERY_DAY[-1])))]


async def finished(steps: AsyncIterator[Progress]) -> None:
    async for _ in steps:
        pass


@asynccontextmanager
async def replica_of(settings: Settings, clock: Clock) -> AsyncIterator[Replica]:
    store = Store(RedisConnection(settings.redis.url), settings.redis.namespace, token)
    async with BankClient(settings.cbr.mirrors, "ratesvc-tests") as client:
        prefix = f"{{{settings.redis.namespace}}}:v2:"
        yield Replica(store, History(WorkCalendar()), client, clock, f"{prefix}columns", f"{prefix}coverage")
    await store.close()


@pytest.fixture
async def replica(settings: Settings, clock: Clock) -> AsyncIterator[Replica]:
    async with replica_of(settings, clock) as opened:
        yield opened


@pytest.fixture
async def other(settings: Settings, clock: Clock) -> AsyncIterator[Replica]:
    """A second one on the same Redis."""
    async with replica_of(settings, clock) as opened:
        yield opened


def of_older(field: str, envelope: bytes, count: int) -> bytes:
    """The first fields of a record, which are all that an older version writes."""
    return seal(field, msgspec.msgpack.encode(msgspec.msgpack.decode(unseal(field, envelope) or b"")[:count]))


def err(bank: Bank, day: date = WRONG) -> None:
    """Make the series wrong on one settled day, and its daily document wrong in another way."""
    bank.documents[day] = daily_xml(changed(sheet(day), KZT=times("10")))
    bank.series["R01335"][day] = (100, Decimal("99.9999"))


# Stories

SHORT = daily_xml(replace(sheet(WRONG), quotes=sheet(WRONG).quotes[: FEWEST_ROWS - 1]))
FOREIGN = b'<s:script xmlns:s="http://www.w3.org/1999/xhtml">alert(1)</s:script></ValCurs>'
DOCUMENTS = {
    "page": b"<html>Maintenance</html>",
    "short": SHORT,
    "foreign": daily_xml(sheet(SATURDAY)).replace(b"</ValCurs>", FOREIGN),
    "new": daily_xml(changed(sheet(SATURDAY), KZT=times("1.3"))).replace(b"</Valute>", b"<New>1</New></Valute>", 1),
}


def day_of(word: str) -> date:
    """`d10` is the eleventh day on which the Bank publishes; others are in ISO form."""
    return EVERY_DAY[int(word[1:])] if word.startswith("d") else date.fromisoformat(word)


def days_of(words: Iterable[str]) -> list[date]:
    """The same of several, and of `d10-12`."""
    ends = [(first, last or first) for first, _, last in (word.partition("-d") for word in words if word[0] == "d")]
    found = [day for first, last in ends for day in EVERY_DAY[int(first[1:]) : int(last.removeprefix("d")) + 1]]
    return found + [day_of(word) for word in words if word[0] != "d"]


def named(days: Iterable[date]) -> str:
    """The words for these days, one after the other as `d10-d12`."""
    words: list[str] = []
    for day in days:
        name = f"d{EVERY_DAY.index(day)}" if day in EVERY_DAY else str(day)
        first, _, last = words[-1].partition("-d") if words else ("", "", "")
        follows = name[0] == "d" and first[:1] == "d" and int(name[1:]) == int(last or first[1:]) + 1
        words[len(words) - follows :] = [f"{first}-{name}" if follows else name]
    return " ".join(words)


def spoilt(day: date, how: str) -> Sheet:
    """The sheet of that day with one currency, or all, times a factor: `KZT×1.3`, `all×10`; without one: `KZT×0`."""
    (code, _, factor), right = how.partition("×"), sheet(day)
    if factor == "0":
        return without(right, code)
    return changed(right, **{one: times(factor) for one in right.by_code if factor and code in ("all", one)})


async def happens(bank: Bank, clock: Clock, who: Replica, step: str) -> None:  # noqa: PLR0912, PLR0915, C901 -- one case a word
    """One step of a story: what the Bank, Redis or a person does, or what the replica is told to do."""
    match step.split():
        case ("run" | "begins") as word, days:
            since, until = (day_of(word) if word else None for word in days.split(".."))
            await getattr(who, word)(since or FIRST_DAY, until)
        case (("run" | "fill" | "week" | "poll" | "read" | "begins" | "ends" | "stops" | "restarts") as word,):
            await getattr(who, word)()
        case "fetch", "newest":
            await who.fetch(None)
        case "english", what, *day:
            other = daily_xml(spoilt(day_of(day[0]), what)) if day else b""
            bank.english = None if what == "right" else other
        case "marks", day:
            bank.documents[day_of(day)] = bank.documents[day_of(day)].replace(b"</Valute>", b"<New>1</New></Valute>", 1)
        case "asked", what, *then:
            before, left = bank.misbehave or bank.honest, [" ".join(then)]

            async def once(request: web.Request) -> web.StreamResponse:
                answer = await before(request)
                is_day = what != "eng" and request.query.get("date_req") == f"{day_of(what):%d/%m/%Y}"
                if left and (is_day or what in request.path):
                    # In a context of its own, because no answer of the service may ask Redis.
                    await asyncio.create_task(happens(bank, clock, who, left.pop()), context=Context())
                return answer

            bank.misbehave = once
        case "loses", "redis":
            who.store.connection.client = connect("redis://127.0.0.1:1")
        case "finds", "redis":
            await who.store.connection.client.aclose()
            who.store.connection.client = who.redis
        case ("fetch" | "withdraw" | "reaches") as word, day:
            await getattr(who, word)(day_of(day))
        case ("seizes",):
            while not await who.store.backfill_lease.take():  # its holder may renew it between the two
                await who.store.connection.client.delete(who.columns.replace("columns", "lease:backfill"))
        case "renames", day:
            new, named = sheet(day_of(day)), bank.currencies.copy()
            bank.publish(replace(new, quotes=(replace(new.quotes[0], code="NEW"), *new.quotes[1:])))
            bank.currencies = named
        case "release", day:
            [case] = [one for one in await who.store.quarantine.cases() if one.effective_date in (day_of(day), None)]
            await decisions.release(who.refresher, case)
        case "errs", *days:
            for one in days_of(days):
                err(bank, one)
        case "series", cbr_id, day, figure:
            value, _, nominal = figure.partition("/")
            bank.series.setdefault(cbr_id, {})[day_of(day)] = int(nominal or 1), Decimal(value)
        case "adds", code, cbr_id, *days:
            quote = Quote(code, "998", cbr_id, 10, Decimal("31.4159"), "Незнакомых денег")
            bank.publish(*(Sheet(day, (*bank.truth[day][-1].quotes, quote)) for day in days_of(days)))
        case "another", "mirror", "fails":
            who.client.mirrors.append(Mirror(URL("http://127.0.0.1:1")))
        case "refuses", *days:
            bank.refuses(*days_of(days))
        case "older", until, *open_days:
            await who.grow_older(bank, day_of(until), days_of(open_days))
        case "forgets", *ids:
            for cbr_id in ids:
                del bank.currencies[cbr_id]
        case "names", cbr_id, code:
            bank.currencies[cbr_id] = (code, "998", "Незнакомых денег")
        case "document", day, how:
            taken = bank.documents[day_of(how)] if how[0] == "d" else DOCUMENTS.get(how)
            bank.documents[day_of(day)] = taken or daily_xml(spoilt(day_of(day), how))
        case "publishes", day, *how:
            bank.publish(spoilt(day_of(day), *how or [""]))
        case "clock", day, hour:
            clock.moment = datetime.fromisoformat(f"{day_of(day)}T{hour}+03:00")
        case "goes", count:
            later = list(workdays(SATURDAY, int(count)))
            bank.publish(*map(sheet, later))
            clock.moment = datetime.combine(later[-1], time(9), UTC)
        case "empties", cbr_id, *days:
            for one in days_of(days) or list(bank.series[cbr_id]):
                del bank.series[cbr_id][one]
        case "takes", *days:
            for one in days_of(days):
                bank.takes_back(one)
        case "loses", "coverage":
            await who.store.connection.client.unlink(who.coverage)
        case "loses", "everything":
            await who.store.connection.client.flushdb()
        case "loses", *ids:
            await who.lose(*ids)
        case "damages", cbr_id:
            await who.damage(cbr_id)
        case _:
            raise AssertionError(step)


def state(bank: Bank, replica: Replica) -> list[str]:
    """What a replica holds, and how that differs from what the Bank published."""
    days = replica.history.days
    noted = [f"holds {named(days)}, complete {complete(replica.history.settled)}"] * bool(days)
    if (euros := replica.days("EUR")) != days:
        noted.append(f"has EUR on {named(euros)}")
    for strange in sorted(replica.history.codes() - sheet(FRIDAY).by_code.keys()):
        noted.append(f"has {strange} on {named(replica.days(strange))}")
    for day in days:
        held = replica.held(day)
        truth = bank.truth.get(day, [held.sheet])[-1]
        words = [f"revision {held.number}"] * (held.number > 1) + [*held.flags]
        first = replica.history.revision(day, 1).sheet if held.number > 1 and not was_withdrawn(replica, day) else None
        if first and not first.says_the_same_as(bank.truth[day][0]):
            words.append("the first is not the Bank's")
        words += ["is not the Bank's"] * (not held.sheet.says_the_same_as(truth))
        words += ["its bytes are not kept"] * (day in replica.history.latest_own and not held.raw)
        words += ["its names are not the Bank's"] * bool(held.raw and parse_daily(held.raw) != held.sheet)
        noted += [f"{named([day])}: {', '.join(words)}"] * bool(words)
    noted += [f"the Bank took back {named([day])}" for day in replica.refresher.absences.taken_back]
    return noted


def was_withdrawn(replica: Replica, day: date) -> bool:
    """Whether nothing was in force on that day before its sheet was released."""
    return bool((first := replica.history.revision_or_withdrawal(day, 1)) and not first.sheet.quotes)


def complete(settled: Settled | None) -> str:
    if settled is None:
        return "nowhere"
    lacks = f", no sheet on {named(sorted(settled.without_a_sheet))}" if settled.without_a_sheet else ""
    lacks += f", open {named(sorted(settled.open_days))}" if settled.open_days else ""
    if settled.silence.newest > date.min:
        lacks += f", silent after {named([settled.silence.newest])} until {named([settled.silence.until])}"
    looked = "" if settled.is_looked_at else f", looked at up to {named([settled.looked_until])}"
    return f"{named([settled.since])}..{named([settled.until])}{lacks}{looked}"


def asked(bank: Bank) -> Iterator[str]:
    """The requests for series and for days since the last time."""
    series = [request.query for request in bank.asked if "VAL_NM_RQ" in request.query]
    ids = [query["VAL_NM_RQ"] for query in series]
    if ids:
        untils = {datetime.strptime(query["date_req2"], "%d/%m/%Y").date() for query in series}  # noqa: DTZ007
        yield f"asks for {len(ids)} series up to {named(sorted(untils))}: {' '.join(ids[:3])} … {' '.join(ids[-3:])}"
    texts = [query.removeprefix("date_req=") for query in bank.queries if query]
    days = [datetime.strptime(text, "%d/%m/%Y").date() for text in texts]  # noqa: DTZ007
    if days:
        yield f"asks for the day {' '.join(named([day]) for day in days)}"
    if bank.asked_in_english:
        yield f"asks {bank.asked_in_english} times in English"
    bank.asked.clear()


@pytest.mark.parametrize("question", cases.questions("backfill.txt"))
async def test_a_run_asks_for_what_is_missing_and_admits_what_is_right(
    question: str, bank: Bank, clock: Clock, replica: Replica, other: Replica
) -> None:
    """golden/backfill.txt has the stories of a replica, and of the `other` on the same Redis; `=` notes the state."""
    noted, store, version = list[str](), replica.store, b""
    others = {"other": other, "command": replica.command(), "person": other.command()}
    for step in (*question.split("; "), "="):
        if step != "=":
            try:
                word, _, what = step.partition(" ")
                who = others.get(word)
                await happens(bank, clock, who or replica, what if who else step)
            except RatesvcError as error:
                noted.append(f"{step}: {error}".replace(bank.url.removeprefix("http://"), "the Bank"))
            continue
        noted += [*state(bank, replica), *(f"other {line}" for line in state(bank, other)), *asked(bank)]
        glance = await store.glance()
        kept = glance.settled
        if kept != replica.history.settled:
            noted.append(f"Redis is complete {complete(kept)}")
        if waiting := [case.effective_date for case in await store.quarantine.cases() if case.effective_date]:
            noted.append(f"quarantine {named(sorted(waiting))}")
        before, version = version, glance.version
        noted += ["nothing is written"] * (before == version)
    cases.check_one("backfill.txt", question, "\n".join(noted))


async def test_a_look_says_nothing_of_figures_that_came_meanwhile(bank: Bank, replica: Replica) -> None:
    """Another replica has fetched the same days, and got others. They have a look of their own."""
    err(bank)
    await replica.fetch(None)
    await replica.reaches(WRONG)
    before = replica.history.settled
    assert before
    theirs = replace(before, fetched_at=before.fetched_at + timedelta(hours=1), digest="theirs", looked_until=date.min)
    replica.history.settle(theirs, replica.history.every_column())
    await replica.ends()
    assert replica.history.settled
    assert not replica.history.settled.is_looked_at


EVE, OLD = date(2005, 3, 31), date(2005, 4, 1)


@pytest.fixture
def monthly(bank: Bank, replica: Replica) -> Sheet:
    """A settled sheet whose last three currencies the Bank set once a month: its document lacks them."""
    held = sheet(OLD)
    eve = Sheet(EVE, sheet(EVE).quotes[:-3])
    columns = with_revision(with_revision({}, Revision(eve, 1, NOON)), Revision(held, 1, NOON))
    replica.history.settle(Settled(EVE, OLD, NOON, digest(columns.values()), OLD), columns.values())
    bank.documents[OLD] = daily_xml(Sheet(OLD, held.quotes[:-3]))
    return held


async def test_a_corrected_document_before_2010_keeps_the_currencies_of_the_month(
    bank: Bank, replica: Replica, monthly: Sheet
) -> None:
    corrected = changed(monthly, AMD=times("1.01"))
    bank.documents[OLD] = daily_xml(Sheet(OLD, corrected.quotes[:-3]))
    await replica.command().fetch(OLD)
    assert replica.held(OLD).number == 2
    assert replica.held(OLD).sheet.says_the_same_as(corrected)


async def test_a_document_before_2010_does_not_bring_back_what_a_person_withdrew(
    replica: Replica, monthly: Sheet
) -> None:
    await replica.withdraw(OLD)
    await replica.command().fetch(OLD)
    assert replica.history.of_date(OLD) is None
    assert replica.history.withdrawn_revisions(OLD)[-1].sheet.says_the_same_as(monthly)
    assert [case.effective_date for case in await replica.store.quarantine.cases()] == [OLD]


# The service runs it by itself


async def test_no_replica_waits_for_its_turn_when_history_is_there(
    bank: Bank, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one waited while the first fetched history."""
    monkeypatch.setattr("ratesvc.service.app.SOON_S", 0.05)
    over = bank.hangs("XML_dynamic.asp")
    async with serve() as one:
        await eventually(lambda: bank.series_asked)
        async with serve() as two:
            await two.ready()
            over.set()
            for each in (one, two):
                await each.filled()
            assert sorted(bank.series_asked) == sorted([*bank.series, *NAMELESS])
            assert two.service.health()["history:coverage"] == {
                "status": "pass",
                "observedValue": f"{FIRST_DAY}/{FRIDAY - WEEK}",
            }


async def test_a_replica_beside_one_at_work_waits_for_its_history(
    bank: Bank, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis lost the history. The new replica asked for 34 years, a moment before its neighbour wrote them again."""
    monkeypatch.setattr("ratesvc.service.app.SOON_S", 50.0)
    monkeypatch.setattr("ratesvc.service.app.HEARTBEAT_S", 3600.0)
    monkeypatch.setattr("ratesvc.service.schedule.HEARTBEAT_S", 3600.0)
    async with serve() as one:
        await one.filled()
        bank.asked.clear()
        keys = [f"{{{one.service.settings.redis.namespace}}}:v2:{name}" for name in ("columns", "coverage")]
        await one.service.store.connection.client.delete(*keys)
        async with serve() as two:
            await two.ready()
            planned = two.service.schedule.jobs["backfill"]
            await eventually(lambda: planned.due and planned.due > utc_now() + timedelta(seconds=10))
            for each in (one, two):
                await each.service.tick()
            assert two.service.history.settled
            assert bank.series_asked == []


@pytest.mark.parametrize(
    ("error", "again_s"),
    [
        (FetchFailed([]), 600),
        (StoreUnavailable("Redis: no room", "memory"), 50),
        (NotOurTurn("another replica's"), 50),
        (ValueError("a bug of ours"), 600),
    ],
    ids=["the Bank", "Redis", "another replica", "a bug"],
)
async def test_a_backfill_that_fails_is_tried_again_later(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, error: Exception, again_s: float
) -> None:
    """Ten minutes later, because it asks the Bank each time; within seconds, here 50, for the other two.

    It does not change when the next poll is due, and a poll does not hurry it.
    """
    assert SOON_S < 6
    monkeypatch.setattr("ratesvc.service.app.SOON_S", 50.0)

    def failing(_: Backfill, _on_step: OnStep) -> None:
        raise error

    monkeypatch.setattr(Backfill, "run", failing)
    async with serve() as running:

        def wait_s(name: str) -> float:
            due = running.service.schedule.jobs[name].due
            return (due - datetime.now(UTC)) / timedelta(seconds=1) if due else 0.0

        await eventually(lambda: again_s - 20 < wait_s("backfill") <= again_s)
        assert wait_s("poll") > 3540
        await running.service.poll()
        assert again_s - 40 < wait_s("backfill") < again_s


async def test_a_moment_without_redis_ends_no_run(
    bank: Bank, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one would ask for every series again."""

    async def troubled() -> bool:
        raise StoreUnavailable("Redis: no answer", "timeout")

    await replica.begins()
    with monkeypatch.context() as patch:
        patch.setattr(replica.store.backfill_lease, "take", troubled)
        await anext(replica.begun_run)
    await replica.ends()
    assert sorted(bank.series_asked) == sorted([*bank.series, *NAMELESS])


async def test_old_records_do_not_stand_for_lost_new_ones(bank: Bank, replica: Replica) -> None:
    """Whether the dollar's series are whole, is counted since the year from which the calendar knows the days."""
    dollar = bank.series["R01235"]
    for day in DAYS[1:25]:
        del dollar[day]
    dollar |= {date(1997, 12, 1) + n * ONE_DAY: (1, Decimal("5.9")) for n in range(30)}
    with pytest.raises(RatesvcError, match="has 5 of 28 expected days from 2026-03-10 to"):
        await replica.run()
    assert replica.history.settled is None


async def test_history_is_of_the_time_that_the_bank_says(bank: Bank, clock: Clock, replica: Replica) -> None:
    """Our clock may be wrong."""
    bank.now = lambda: clock.moment.replace(microsecond=0) - timedelta(hours=3)
    await replica.run()
    assert replica.history.settled
    assert replica.history.settled.fetched_at == bank.now()


async def test_a_date_that_nobody_can_read_ends_no_run(
    clock: Clock, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken proxy writes a year of twenty digits."""
    monkeypatch.setattr("kit.bank.formatdate", lambda *_, **__: f"Fri, 24 Apr {'9' * 20} 09:00:00 GMT")
    await replica.run()
    assert replica.history.settled
    assert replica.history.settled.fetched_at == clock.moment.replace(microsecond=0)


async def test_a_day_that_a_person_releases_during_a_run_is_left_as_it_is(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run publishes what the service held back, day by day; the person is faster with the second."""
    await replica.run()
    history, columns = replica.history, [column.copy() for column in replica.history.every_column()]
    first, second = (history.revision(day, 1) for day in history.days[5:7])
    for day in (first.effective_date, second.effective_date):
        await decisions.publish(replica.refresher, decisions.withdrawal(replica.refresher, day, WITHDRAWN_BY_SERVICE))
    put, stored = replica.store.put, []

    async def while_a_person_releases(revision: Revision) -> list[Revision]:
        stored.append(revision.effective_date)
        history.hold([replace(second, number=history.next_number(second.effective_date))])
        return await put(revision)

    monkeypatch.setattr(replica.store, "put", while_a_person_releases)
    await replica.backfill._release_by_series(columns, Days(FIRST_DAY, history.days[-1]))  # noqa: SLF001 -- in its middle
    assert stored == [first.effective_date]


async def test_a_sheet_that_two_decide_about_at_once_has_one_revision(bank: Bank, replica: Replica) -> None:
    """A poll and a backfill, say: one waits for the second address while the other admits the sheet."""
    await replica.fetch(None)
    bank.publish(changed(sheet(SATURDAY), EUR=times("1.3")))
    answered, asking = [], []
    for number in (1, 2):
        answered.append(bank.hangs("XML_daily_eng.asp"))
        asking.append(asyncio.create_task(replica.command().fetch(None)))
        await eventually(partial(lambda wanted: bank.asked_in_english == wanted, number))
    for event, task in zip(answered, asking, strict=True):
        event.set()
        await task
    assert replica.held(SATURDAY).number == 1


async def test_an_error_that_ends_a_run_does_not_end_the_next(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also a bug of ours: the lease is released, and no progress is reported."""
    await replica.run(until=DAYS[20])
    with monkeypatch.context() as patch:
        patch.setattr(replica.client, "dynamic", None)
        with pytest.raises(TypeError):
            await replica.run()
    assert replica.backfill.progress is None
    assert not replica.store.backfill_lease.held
    await replica.run()
    assert replica.history.settled
    assert (replica.history.settled.since, replica.history.settled.until) == (FIRST_DAY, EVERY_DAY[28])
