"""The Bank: its sheets, its days, and its two mirrors, each with what it says at the moment."""

from __future__ import annotations

import random
import re
from asyncio import BaseTransport, Protocol, Transport
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from email.utils import format_datetime
from functools import cached_property
from typing import TypeVar, cast
from urllib.parse import parse_qsl, urlsplit

import kit.bank
from kit.documents import Document, Row, catalogue_document, day_of, series_document
from kit.figures import KEY_RATE, METALS, key_rate_document, metals_document
from kit.recorded import effective_dates

from simulation.network import Address
from simulation.world import World

ONE_DAY = timedelta(days=1)
HOUR = 3600.0
DAY = 24 * HOUR
PLACES = Decimal("0.0001")
MOST_AT_ONCE = 30
"""Requests in ten seconds. A backfill sends one a second, a poll has some beside it."""

CURRENCIES = {one["code"]: one for one in kit.bank.CURRENCIES}

DATED = sorted(effective_dates())
"""The days of the Bank's own sheets. No other calendar decides here what is expected."""
EFFECTIVE = frozenset(DATED)

T = TypeVar("T")
Figures = frozenset[tuple[str, int, Decimal]]
"""Code, nominal and value of each row, whatever the form of the digits."""


@dataclass(frozen=True)
class Sheet:
    """What the Bank says about a day. A `slip` has a figure that nobody may show, because a digit slipped."""

    day: date
    rows: tuple[tuple[str, int, Decimal], ...]
    is_slip: bool = False

    @cached_property
    def figures(self) -> Figures:
        return frozenset((code, nominal, value.normalize()) for code, nominal, value in self.rows)

    @cached_property
    def xml(self) -> bytes:
        named = ((CURRENCIES[code], nominal, value) for code, nominal, value in self.rows)
        rows = (
            Row(one["code"], one["number"], one["id"], str(nominal), _printed(value), f"Валюта {one['code']}")
            for one, nominal, value in named
        )
        return bytes(Document(tuple(rows), self.day))

    def times(self, factor: Decimal, *codes: str, is_slip: bool = False) -> Sheet:
        """Some of its rates changed."""
        rows = (
            (code, nominal, (value * factor).quantize(PLACES) if code in codes else value)
            for code, nominal, value in self.rows
        )
        return Sheet(self.day, tuple(rows), is_slip or self.is_slip)


def _printed(value: Decimal) -> str:
    return f"{value:.4f}".replace(".", ",")


def _nominal(per_dollar: Decimal) -> int:
    """The smallest power of ten with which a dollar at 60 roubles gives a value above ten."""
    nominal = 1
    while 60 / per_dollar * nominal < 10:
        nominal *= 10
    return nominal


RATES = {code: Decimal(one["per_dollar"]) for code, one in CURRENCIES.items()}
ODD = ("hang", "html", "escaped", "empty", "day missing", "ten times")
"""How its metals and its key rate are wrong, or only written otherwise."""
SPOILT = ("ten times", "a fifth more", "rows lost", "wrong date")
"""How its daily documents are."""
METAL_PARTS = {"XAU": Decimal(1), "XAG": Decimal("0.02"), "XPT": Decimal("0.5"), "XPD": Decimal("0.4")}
"""The prices of metals beside that of gold, in the Bank's order."""
NOMINALS = {code: _nominal(rate) for code, rate in RATES.items()}


class Mirror:
    """One address of the Bank over HTTP. Its `mode` is up, or how it fails; `spoil` changes its daily documents.

    `odd` is how its metals and its key rate are wrong, if they are.
    """

    def __init__(self, world: World, address: Address, name: str) -> None:
        self.world, self.address, self.name = world, address, name
        self.process = world.processes_by_ip[address[0]]
        self.sheets: dict[date, Sheet] = {}
        self.metals: dict[date, Mapping[int, str]] = {}
        self.key_rate: dict[date, str] = {}
        self.mode, self.odd = "up", ""
        self.spoil: Callable[[bytes], bytes] | None = None
        self.asked, self.hurried = 0, 0
        self.on_asked: Callable[[], None] = lambda: None
        self.last_asked = defaultdict[str, deque[float]](lambda: deque(maxlen=MOST_AT_ONCE))
        """When, by the address of who asks; `hurried` is how often one asked more in ten seconds."""
        self.listen()

    def listen(self) -> None:
        self.world.network.listen(self.process.loop, self.address, lambda: Client(self))

    def refuse(self) -> None:
        self.world.network.listeners.pop(self.address, None)

    def answer(self, target: str, question: bytes) -> tuple[int, bytes]:
        """The status and the body."""
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query))
        if self.mode == "503":
            return 503, b"busy"
        if self.mode == "html" or (self.odd == "html" and parts.path in (METALS, KEY_RATE)):
            return 200, b"<!doctype html><html><title>Please wait</title></html>"
        match parts.path.rsplit("/", 1)[-1]:
            case "xml_metall.asp":
                days = day_of(query["date_req1"]), day_of(query["date_req2"])
                body = metals_document(self._odd(self.metals, _tenfold), *days)
            case "DailyInfo.asmx":
                rates = self._odd(self.key_rate, lambda rate: f"{Decimal(rate) * 10:.2f}")
                body = key_rate_document(rates, question, escaped=self.odd == "escaped")
            case "XML_daily.asp":
                body = self._daily(query.get("date_req"))
                body = self.spoil(body) if self.spoil else body
            case "XML_daily_eng.asp":
                body = self._daily(query.get("date_req"))
            case "XML_dynamic.asp":
                body = self._dynamic(query)
            case "XML_valFull.asp":
                ones = (
                    (one["id"], one["id"][:6], one["number"], code, f"Валюта {code}")
                    for code, one in CURRENCIES.items()
                )
                body = catalogue_document(ones)
            case _:
                return 404, b""
        return 200, body[: len(body) * 2 // 3] if self.mode == "cut" else body

    def _daily(self, text: str | None) -> bytes:
        """The sheet in force on that day, or the newest."""
        last = day_of(text) if text else date.max
        held = max((day for day in self.sheets if day <= last), default=None)
        return self.sheets[held].xml if held else b"<?xml version='1.0' encoding='windows-1251'?><ValCurs/>"

    def _odd(self, rows: dict[date, T], tenfold: Callable[[T], T]) -> dict[date, T]:
        """What it says of these rows, by what is wrong."""
        if self.odd == "empty":
            return {}
        *others, newest = rows
        if self.odd == "day missing":
            return {day: rows[day] for day in others}
        return {**rows, newest: tenfold(rows[newest])} if self.odd == "ten times" else rows

    def _dynamic(self, query: dict[str, str]) -> bytes:
        code = next((code for code, one in CURRENCIES.items() if one["id"] == query["VAL_NM_RQ"]), "")
        rows = ((day, row) for day, sheet in self.sheets.items() for row in sheet.rows if row[0] == code)
        return series_document(query, {day: (nominal, _printed(value)) for day, (_, nominal, value) in rows})


def _tenfold(prices: Mapping[int, str]) -> Mapping[int, str]:
    return {metal: f"{Decimal(price.replace(',', '.')) * 10:f}".replace(".", ",") for metal, price in prices.items()}


class Client(Protocol):
    """One connection to a mirror."""

    def __init__(self, mirror: Mirror) -> None:
        self.mirror, self.unread = mirror, b""

    def connection_made(self, transport: BaseTransport) -> None:
        self.wire = cast("Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.unread += data
        while b"\r\n\r\n" in self.unread:
            head, rest = self.unread.split(b"\r\n\r\n", 1)
            length = re.search(rb"(?i)content-length: ([0-9]+)", head)
            size = int(length[1]) if length else 0
            if len(rest) < size:
                return
            question, self.unread = rest[:size], rest[size:]
            method, target = head.decode().split(" ")[:2]
            self._answer(target, question, has_body=method != "HEAD")

    def _answer(self, target: str, question: bytes, *, has_body: bool) -> None:
        mirror, later = self.mirror, self.mirror.process.loop.call_later
        mirror.asked += 1
        if has_body:  # else who does not poll compares its clock
            mirror.on_asked()
        asked, now = mirror.last_asked[self.wire.get_extra_info("peername")[0]], mirror.world.now
        mirror.hurried += len(asked) == MOST_AT_ONCE and now - asked[0] < 10
        asked.append(now)
        if mirror.mode == "hang" or (mirror.odd == "hang" and target.startswith((METALS, KEY_RATE))):
            return
        status, body = mirror.answer(target, question)
        head = {
            "Date": format_datetime(mirror.world.time(), usegmt=True),
            "Content-Type": "text/xml",
            "Content-Length": str(len(body)),
            **({"Retry-After": "120"} if status == 503 else {}),
        }
        lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in head.items())]
        message = "\r\n".join(lines).encode() + b"\r\n\r\n" + (body if has_body else b"")
        delay_s = mirror.world.timing.uniform(0.02, 0.3)
        if mirror.mode == "drip":
            step = len(message) // 20 + 1
            for n in range(20):
                later(delay_s + n * 1.1, self.wire.write, message[n * step : (n + 1) * step])
        elif mirror.mode == "reset":
            later(delay_s, self.wire.write, message[: len(message) // 2])
            later(delay_s + 0.01, self.wire.abort)
        else:
            later(delay_s, self.wire.write, message)


class Bank:
    """What the Bank does from day to day, and everything that it has ever said."""

    def __init__(self, world: World, mirrors: list[Mirror]) -> None:
        self.world, self.mirrors = world, mirrors
        self.chance = random.Random(f"{world.seed} bank")
        self.said: defaultdict[date, list[tuple[float, Sheet]]] = defaultdict(list)
        """When it said what about a day, the latest last."""
        self.taken_back: dict[date, float] = {}
        self.changed_at = 0.0
        """When all mirrors had the last change."""
        self.slipped_at = 0.0
        """When a figure last slipped, or was right again."""
        self.figures: defaultdict[tuple[str, date], set[Decimal]] = defaultdict(set)
        """What it said of each metal and of the key rate, by day."""
        self.tenfold_on: set[date] = set()
        """The days on which it said ten times as much of them."""
        self._dollar, self._gold, self._rate = Decimal(75), Decimal(6000), Decimal(10)

    def says(self, sheet: Sheet, lag_s: float = 0.0) -> None:
        """It publishes; its second mirror has the sheet later."""
        self.said[sheet.day].append((self.world.now, sheet))
        self.taken_back.pop(sheet.day, None)
        if sheet.is_slip or any(one.is_slip for _, one in self.said[sheet.day][-2:]):
            self.slipped_at = self.world.now
        self.changed_at = max(self.changed_at, self.world.now + lag_s)
        dollar = next(value for code, _, value in sheet.rows if code == "USD")
        later = f", mirror b {lag_s:.0f} s later" if lag_s else ""
        slip = ", a digit slipped" if sheet.is_slip else ""
        self.world.note("bank", f"says {sheet.day} USD {dollar} ({len(self.said[sheet.day])}){later}{slip}")
        first, *others = self.mirrors
        first.sheets[sheet.day] = sheet
        for mirror in others:
            self.world.around.loop.call_later(lag_s, self._reaches, mirror, sheet)

    def _reaches(self, mirror: Mirror, sheet: Sheet) -> None:
        """A mirror gets a sheet, unless it has a later one of the same day."""
        if self.said[sheet.day][-1][1] is sheet:
            mirror.sheets[sheet.day] = sheet

    def new(self, day: date) -> Sheet:
        """The sheet of a day: the dollar moves by up to 1.2 %, the others with it."""
        by = self.chance.choice([-1, 1]) * Decimal(self.chance.randrange(1, 121)).scaleb(-4)
        by = by if 62 < self._dollar * (1 + by) < 140 else -by
        self._dollar = (self._dollar * (1 + by)).quantize(PLACES)
        rows = (
            (code, NOMINALS[code], (self._dollar / RATES[code] * NOMINALS[code]).quantize(PLACES)) for code in RATES
        )
        return Sheet(day, tuple(rows))

    def has_said(self, since: date, until: date) -> None:
        """All its sheets of these days, before the story begins."""
        for day in DATED:
            if since <= day <= until:
                sheet = self.new(day)
                self.said[day].append((self.world.now, sheet))
                for mirror in self.mirrors:
                    mirror.sheets[day] = sheet
                self.say_figures(day)

    def say_figures(self, day: date, lag_s: float = 0.0) -> None:
        """The metals of a day, and the key rate of the working day before it."""
        self._gold = (self._gold * Decimal(self.chance.randrange(970, 1030)) / 1000).quantize(Decimal("0.01"))
        if self.chance.random() < 0.03:
            self._rate = min(max(self._rate + self.chance.choice([-1, 1]) * Decimal("0.5"), Decimal(4)), Decimal(20))
        prices = {number: self._gold * part for number, part in enumerate(METAL_PARTS.values(), 1)}
        metals = {number: f"{price.normalize():f}".replace(".", ",") for number, price in prices.items()}
        for name, price in zip(METAL_PARTS, prices.values(), strict=True):
            self.figures[name, day].add(price)
        self.figures["rate", day - ONE_DAY].add(self._rate)
        for mirror, wait_s in zip(self.mirrors, (0, lag_s), strict=True):
            at = self.world.around.loop.call_later
            at(wait_s, mirror.metals.__setitem__, day, metals)
            at(wait_s, mirror.key_rate.__setitem__, day - ONE_DAY, f"{self._rate:.2f}")

    def latest(self, count: int) -> list[date]:
        """The days of its last sheets."""
        return sorted(day for day in self.said if day not in self.taken_back)[-count:]

    def right(self, day: date) -> Sheet:
        """Its last word about a day in which no digit slipped."""
        return next(sheet for _, sheet in reversed(self.said[day]) if not sheet.is_slip)

    def allowed(self, day: date) -> set[Figures]:
        """Every figure that it said of a day and that did not slip."""
        return {sheet.figures for _, sheet in self.said.get(day, ()) if not sheet.is_slip}

    @property
    def slips(self) -> bool:
        """Whether a digit slipped in its last word about a day."""
        return any(said[-1][1].is_slip for said in self.said.values())

    # Its life

    def live(self) -> None:
        """At midnight in Moscow: plan this day, and so on."""
        chance, at = self.chance, self.world.around.loop.call_at
        midnight = self.world.now
        today = (self.world.time() + timedelta(hours=3)).date()
        self._plan_sheet(today + ONE_DAY, midnight)
        for often, act in ((0.06, self.correct), (0.01, self.take_back), (0.03, self.slip)):
            if chance.random() < often:
                at(midnight + chance.uniform(0, DAY), act)
        at(midnight + DAY, self.live)

    def _plan_sheet(self, day: date, midnight: float) -> None:
        chance, roll = self.chance, self.chance.random()
        if day not in EFFECTIVE:
            hour = 16.0 if roll < 0.01 else None  # nobody expects it
        elif roll < 0.015:
            hour = None
            self.world.note("bank", f"will not say {day}")
        elif roll < 0.03:
            hour = chance.uniform(31, 37)
        elif roll < 0.07:
            hour = chance.uniform(18.1, 23.7)
        else:
            hour = chance.uniform(15.6, 17.9)
        lag_s = chance.choice([0.0, 0.0, 0.0, chance.uniform(30, 5 * HOUR)])
        again = chance.random() < 0.02
        if hour is not None:
            self.world.around.loop.call_at(midnight + hour * HOUR, self._publish, day, lag_s)
            if again:
                self.world.around.loop.call_at(midnight + hour * HOUR + chance.uniform(10, 900), self.correct, 1)

    def _publish(self, day: date, lag_s: float) -> None:
        self.says(self.new(day), lag_s)
        if day in EFFECTIVE:
            self.say_figures(day, lag_s)

    def correct(self, among: int = 4) -> None:
        """Other figures for one of the last days."""
        day = self.chance.choice(self.latest(among))
        factor = Decimal(self.chance.randrange(9700, 10300)).scaleb(-4)
        codes = self.chance.sample(["PLN", "KZT", "CNY", "TRY", "JPY"], k=self.chance.randrange(1, 4))
        lag_s = self.chance.choice([0.0, self.chance.uniform(10, HOUR)])
        self.says(self.right(day).times(factor, *codes), lag_s)

    def slip(self) -> None:
        """A decimal point slips, and the Bank notices it after a while."""
        day = self.chance.choice(self.latest(2))
        right = self.right(day)
        self.says(right.times(Decimal(10), self.chance.choice(["EUR", "CNY", "KZT"]), is_slip=True))
        self.world.around.loop.call_later(self.chance.uniform(0.1, 10) * HOUR, lambda: self.says(right))

    def take_back(self) -> None:
        """Its newest sheet is gone, often for some hours only."""
        day = self.latest(1)[0]
        self.taken_back[day] = self.world.now
        self.changed_at = max(self.changed_at, self.world.now)
        for mirror in self.mirrors:
            mirror.sheets.pop(day, None)
        self.world.note("bank", f"takes back {day}")
        again = self.right(day)
        if self.chance.random() < 0.3:
            return
        if self.chance.random() < 0.5:
            again = again.times(Decimal("1.011"), "CNY")

        def back() -> None:
            if day in self.taken_back:
                self.says(again)

        self.world.around.loop.call_later(self.chance.uniform(0.2, 20) * HOUR, back)


def spoiler(kind: str, chance: random.Random, today: date) -> Callable[[bytes], bytes]:
    """What makes a mirror's daily documents wrong, so that nobody may see their figures."""
    code = chance.choice([b"EUR", b"CNY", b"KZT"])

    def with_value(body: bytes, factor: Decimal) -> bytes:
        def put(match: re.Match[bytes]) -> bytes:
            value = Decimal(match[2].decode().replace(",", ".")) * factor
            return match[1] + _printed(value).encode() + match[3]

        pattern = rb"(<CharCode>%s</CharCode>.*?<Value>)([0-9,]+)(</Value>)" % code
        return re.sub(rb"<VunitRate>[^<]*</VunitRate>", b"", re.sub(pattern, put, body, count=1, flags=re.DOTALL))

    def with_date(body: bytes) -> bytes:
        later = f'Date="{today + 5 * ONE_DAY:%d.%m.%Y}"'.encode()
        return re.sub(rb'Date="[^"]*"', later, body, count=1)

    def without_rows(body: bytes) -> bytes:
        return re.sub(rb'<Valute ID="R01[0-2][0-9]*[A-Z]?">.*?</Valute>', b"", body, flags=re.DOTALL)

    kinds = {
        "ten times": lambda body: with_value(body, Decimal(10)),
        "a fifth more": lambda body: with_value(body, Decimal("1.21")),
        "rows lost": without_rows,
        "wrong date": with_date,
    }
    return kinds[kind]
