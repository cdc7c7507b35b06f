"""`ratesvc watch`: print every event of /v1/events with its rates, or give it to a command, and never miss one."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import click
import msgspec

from ratesvc.commands.running import language_for
from ratesvc.config import Settings
from ratesvc.errors import BadRequest, GaveUp, RatesvcError
from ratesvc.features.events.place import IN_FORCE, RESET, REVISION, SHEET, Place, Stamp
from ratesvc.features.files import replace_file
from ratesvc.render.json import encode
from ratesvc.render.language import NOTHING, PLACES, Language

SILENCE = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=40)
"""A stream has a heartbeat every 15 seconds."""
PAUSES_S = 3, 3, 6, 12, 24, 48, 60
"""After no failure, after one, after two in a row, and so on."""
SHOWN = ("USD", "EUR", "CNY")
STREAM = "text/event-stream"
DAMAGED = "damaged"
UNKNOWN = "urn:ratesvc:unknown_currency"
_ADDRESS = re.compile(r"(?i)https?://([^][\s/?#]+|\[[0-9a-f:.]+\](:[0-9]+)?)(/[^\s?#]*)?")


class _NotDelivered(RatesvcError):
    """An event was not delivered, so the place stays and the event comes again."""


class _Event(NamedTuple):
    """One block of the stream. Without `data` it only says the reader's place."""

    kind: str
    id: str
    data: bytes


class _Problem(msgspec.Struct):
    """What counts of a problem document."""

    type: str = ""
    detail: str = ""


class _Row(msgspec.Struct):
    """What the text shows of a currency."""

    nominal: int
    value: Decimal
    change_percent: Decimal | None = None


class _Sheet(msgspec.Struct):
    """The sheet of an event, and what the text shows of it as /v1/rates answers."""

    effective_date: date
    revision: int
    rates: dict[str, _Row] = {}


@dataclass
class _Watch:
    """Reads one service. The fields are the command's options; without a language it delivers JSON."""

    http: aiohttp.ClientSession
    base: str
    codes: tuple[str, ...]
    language: Language | None
    only: Collection[str]
    command: str | None
    limit_s: float
    give_up_s: float | None
    state: Path | None
    failures: int = 0
    """In a row."""
    owes: bool = False
    """Whether an event waits for its delivery. While one does, a service that answers ends no failure."""
    said: str = ""

    def __post_init__(self) -> None:
        if self.language:
            self.codes = self.codes or SHOWN
        # A reset has no figures of its own, so people are told what differs, and nothing else.
        self.only = self.only or (SHEET, REVISION, IN_FORCE, *(() if self.language else (RESET,)))
        self.place = _kept(self.state) if self.state else ""
        """The id of the last event that was delivered; empty for a reader that begins with now."""

    async def go_on(self) -> None:
        """Deliver events for ever. What fails is said once and tried again. Raises BadRequest, GaveUp, OSError."""
        failing_since = 0.0
        while True:
            try:
                await self.read()
            except (aiohttp.ClientError, TimeoutError, _NotDelivered, msgspec.MsgspecError, ValueError) as error:
                # What is damaged raises the last two. A proxy may write anything, also in the name of JSON.
                text, now = str(error) or type(error).__name__, time.monotonic()
                self._say(f"{text}; trying again")
                failing_since, self.failures = failing_since if self.failures else now, self.failures + 1
                if self.give_up_s and now - failing_since >= self.give_up_s:
                    raise GaveUp(f"gave up after {self.failures} failures in a row") from None
            await asyncio.sleep(PAUSES_S[min(self.failures, len(PAUSES_S) - 1)])

    async def read(self) -> None:
        """Deliver events until the stream ends.

        Raises _NotDelivered, BadRequest for a currency that does not exist, TimeoutError, aiohttp's errors, and
        MsgspecError or ValueError for an answer that is damaged.
        """
        await self._rates(None, self.codes)
        headers, is_empty = {"Last-Event-ID": self.place} if self.place else {}, True
        async with self.http.get(f"{self.base}/v1/events", headers=headers) as answer:
            if (answer.status, answer.content_type) != (HTTPStatus.OK, STREAM):
                raise _NotDelivered(f"{answer.url} answers {answer.status} ({answer.content_type})")
            async for event in _events(answer.content):
                await self._take(event)
                is_empty = False
                if not self.owes:
                    self.failures = 0
                    self._say(f"watching {answer.url}")
            if is_empty:
                raise _NotDelivered(
                    f"{answer.url} is empty: the service has no rates yet, stops, or has too many readers"
                )

    def _say(self, text: str) -> None:
        """Say what is so from now on."""
        if text != self.said:
            click.echo(f"ratesvc: {text}", err=True)
        self.said = text

    async def _take(self, event: _Event) -> None:
        """Deliver what is new in a block, and remember that it was told."""
        place = Place.from_id(event.id)
        if place is None:
            raise _NotDelivered(f"the service is of another version: its id is {event.id[:40]}")
        for kind, sheet in _news(event, Place.from_id(self.place), place):
            if kind in self.only:
                self.owes = True
                await self._deliver(await self._line(kind, sheet, event.id))
                self.owes = False
        self.place = event.id
        if self.state:
            replace_file(self.state, event.id.encode())

    async def _line(self, kind: str, sheet: Stamp | None, id_: str) -> bytes:
        """The line of JSON, or the text."""
        body = await self._rates(sheet, self.codes)
        if self.language:
            return _text(msgspec.json.decode(body, type=_Sheet), self.codes, self.language).encode()
        return encode({"event": kind, "id": id_, **msgspec.json.decode(body, type=dict[str, msgspec.Raw])})

    async def _rates(self, sheet: Stamp | None, codes: Sequence[str]) -> bytes:
        """The answer of /v1/rates for a sheet, or for today. Raises BadRequest if today has none of the currencies.

        The event's own address is the public one, which may not be reachable from here.
        """
        path, given = "/v1/rates", {"codes": ",".join(codes)} if codes else {}
        if sheet:
            path += f"/{sheet.day}"
            given["revision"] = str(sheet.number)
        async with self.http.get(self.base + path, params=given) as answer:
            body, is_json = await answer.read(), answer.content_type.endswith("json")
            if answer.status == HTTPStatus.OK and is_json:
                return body
            problem = msgspec.json.decode(body, type=_Problem) if is_json else _Problem()
        if problem.type == UNKNOWN and sheet and codes:
            # The Bank has dropped them. The event is told all the same.
            return await self._rates(sheet, ())
        if problem.type == UNKNOWN:
            raise BadRequest(problem.detail)
        raise _NotDelivered(f"{answer.url} answers {answer.status} ({answer.content_type})")

    async def _deliver(self, line: bytes) -> None:
        """Print the line, or give it to the command. Raises _NotDelivered."""
        if self.command is None:
            click.echo(line)
            return
        # It starts without an await, so a stop cannot come between its start and the `finally` that ends it.
        process = subprocess.Popen(  # noqa: S602, ASYNC220 -- the person's own command; it starts in a millisecond
            self.command, shell=True, stdin=subprocess.PIPE, start_new_session=True
        )
        try:
            await asyncio.to_thread(process.communicate, line + b"\n", self.limit_s)
        except subprocess.TimeoutExpired:
            raise _NotDelivered(f"the command did not end within {self.limit_s:g} s") from None
        finally:
            if process.returncode is None:
                # The shell, and whatever it started.
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if process.returncode:
            raise _NotDelivered(f"the command ended with {process.returncode}")


def _news(event: _Event, known: Place | None, place: Place) -> Iterator[tuple[str, Stamp | None]]:
    """What a block tells a reader that knows so much, and which sheet each event is about.

    After a reset that is the newest sheet, if the reader does not know its figures.
    """
    if event.kind == RESET:
        yield RESET, None
        newest = next(stamp for stamp in reversed(place.sheets) if not stamp.is_withdrawal)
        if known is None or newest.day > known.newest:
            yield SHEET, newest
        elif newest.day == known.newest and newest.check != known.sheets[-1].check:
            yield REVISION, newest
    elif event.data:
        sheet = msgspec.json.decode(event.data, type=_Sheet)
        yield event.kind, Stamp(sheet.effective_date, sheet.revision)


async def _events(stream: aiohttp.StreamReader) -> AsyncIterator[_Event]:
    """Each block with an id, https://html.spec.whatwg.org/multipage/server-sent-events.html."""
    fields: dict[str, str] = {}
    async for line in stream:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name:
            fields[name] = value
            continue
        if "id" in fields:
            yield _Event(fields.get("event", ""), fields["id"], fields.get("data", "").encode())
        fields = {}


def _text(sheet: _Sheet, codes: tuple[str, ...], language: Language) -> str:
    """A line for people with the day, and one for each currency."""
    title = language.say("Bank of Russia, {day}", day=language.day(sheet.effective_date))
    if sheet.revision > 1:
        title += f" ({language.say('Revision')} {sheet.revision})"
    lines = [title]
    for code in codes:
        if row := sheet.rates.get(code):
            count = f"{language.whole(row.nominal)} " if row.nominal > 1 else ""
            change = "" if row.change_percent is None else f" ({language.percent(row.change_percent)})"
            lines.append(f"{count}{code} = {language.roubles(language.number(row.value, PLACES))}{change}")
        else:
            lines.append(f"{code} = {NOTHING}")
    return "\n".join(lines)


def _kept(state: Path) -> str:
    """The place that an earlier run left, or a word in place of one that a crash damaged: the service resets then."""
    if not state.exists():
        return ""
    place = state.read_text("ascii", "replace").strip()
    return place if place and place.isprintable() else DAMAGED


async def watch(
    settings: Settings, codes: tuple[str, ...], *, url: str | None, as_json: bool, lang: str, **options: Any
) -> None:
    """Deliver events until told to stop. Raises BadRequest, GaveUp, OSError."""
    base = _address(url) if url else settings.server.local_url()
    language = None if as_json else language_for(lang)
    async with aiohttp.ClientSession(timeout=SILENCE) as http:
        reading = asyncio.create_task(_Watch(http, base, codes, language, **options).go_on())
        for end in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(end) is not signal.SIG_IGN:
                asyncio.get_running_loop().add_signal_handler(end, reading.cancel)
        await asyncio.wait([reading])
        if not reading.cancelled():
            reading.result()


def _address(url: str) -> str:
    """The address without a slash at its end. Raises click.BadParameter."""
    if _ADDRESS.fullmatch(url):
        return url.rstrip("/")
    raise click.BadParameter(f"{url!r} is no address such as https://rates.example.", param_hint="--url")
