"""`ratesvc watch`: print every event of /v1/events with its rates, or give it to a command, and never miss one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import click
import msgspec

from ratesvc.commands.running import language_for, replace_file
from ratesvc.config import Settings
from ratesvc.errors import BadRequest, RatesvcError
from ratesvc.render.json import encode
from ratesvc.render.language import PLACES, Language

SILENCE = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=40)
"""A stream has a heartbeat every 15 seconds."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 3.0, 60.0
SHOWN = ("USD", "EUR", "CNY")
STREAM = "text/event-stream"
DAMAGED = "damaged"
UNKNOWN = "urn:ratesvc:unknown_currency"


class _NotDelivered(RatesvcError):
    """An event was not delivered, so the place stays and the event comes again."""


class _Event(NamedTuple):
    """One block of the stream. Without `data` it only says the reader's place."""

    kind: str
    id: str
    data: bytes


class _Row(msgspec.Struct):
    """What the text shows of a currency."""

    nominal: int
    value: Decimal
    change_percent: Decimal | None = None


class _Sheet(msgspec.Struct):
    """What the text shows of an answer of /v1/rates."""

    effective_date: date
    revision: int
    rates: dict[str, _Row]


@dataclass(slots=True)
class _Watch:
    """Reads one service; `place` is the id of the last event that was delivered."""

    http: aiohttp.ClientSession
    base: str
    codes: tuple[str, ...]
    only: tuple[str, ...]
    command: str | None
    state: Path | None
    language: Language | None
    place: str
    failures: int = 0
    """In a row."""
    owes: bool = False
    """Whether an event waits for its delivery. While one does, a service that answers ends no failure."""

    async def read(self) -> None:
        """Deliver events until the stream ends. Raises _NotDelivered, TimeoutError, and aiohttp's errors."""
        headers = {"Last-Event-ID": self.place} if self.place else {}
        async with self.http.get(f"{self.base}/v1/events", headers=headers) as answer:
            if (answer.status, answer.content_type) != (HTTPStatus.OK, STREAM):
                raise _NotDelivered(f"{answer.url} answers {answer.status} ({answer.content_type})")
            async for event in _events(answer.content):
                if event.data and (not self.only or event.kind in self.only):
                    self.owes = True
                    await self._deliver(await self._line(event))
                    self.owes = False
                self.place, self.failures = event.id, self.failures if self.owes else 0
                if self.state:
                    replace_file(self.state, event.id.encode())

    async def _line(self, event: _Event) -> bytes:
        """The line of JSON, or the text."""
        body = await self._rates(msgspec.json.decode(event.data))
        if self.language:
            return _text(msgspec.json.decode(body, type=_Sheet), self.codes, self.language).encode()
        return encode({"event": event.kind, "id": event.id, **msgspec.json.decode(body, type=dict[str, msgspec.Raw])})

    async def _rates(self, sheet: dict[str, Any]) -> bytes:
        """The answer of /v1/rates for the sheet of an event; today's after a reset, which belongs to no sheet.

        The event's own address is the public one, which may not be reachable from here.
        """
        path, given = "/v1/rates", {"codes": ",".join(self.codes)} if self.codes else {}
        if "effective_date" in sheet:
            path += f"/{sheet['effective_date']}"
            given["revision"] = str(sheet["revision"])
        async with self.http.get(self.base + path, params=given) as answer:
            body, is_json = await answer.read(), answer.content_type.endswith("json")
            if answer.status == HTTPStatus.OK and is_json:
                return body
            problem = msgspec.json.decode(body) if is_json else {}
        if problem.get("type") == UNKNOWN:
            raise BadRequest(problem["detail"])
        raise _NotDelivered(f"{answer.url} answers {answer.status} ({answer.content_type})")

    async def _deliver(self, line: bytes) -> None:
        """Print the line, or give it to the command. Raises _NotDelivered."""
        if self.command is None:
            click.echo(line)
            return
        process = await asyncio.create_subprocess_shell(self.command, stdin=asyncio.subprocess.PIPE)
        try:
            await process.communicate(line + b"\n")
        finally:
            if process.returncode is None:
                process.kill()
        if process.returncode:
            raise _NotDelivered(f"the command ended with {process.returncode}")


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
    return "\n".join(lines)


def _kept(state: Path) -> str:
    """The place that an earlier run left, or a word in place of one that a crash damaged: the service resets then."""
    if not state.exists():
        return ""
    place = state.read_text("ascii", "replace").strip()
    return place if place and place.isprintable() else DAMAGED


async def watch(  # noqa: PLR0913 -- the options of the command
    settings: Settings,
    codes: tuple[str, ...],
    *,
    url: str | None,
    only: tuple[str, ...],
    command: str | None,
    state: Path | None,
    as_json: bool,
    lang: str,
) -> None:
    """Deliver events until told to stop. What fails is said once and tried again. Raises BadRequest, OSError."""
    base = (url or settings.server.local_url()).rstrip("/")
    language = None if as_json else language_for(lang)
    place = _kept(state) if state else ""
    async with aiohttp.ClientSession(timeout=SILENCE) as http:
        shown = codes if as_json else codes or SHOWN
        watched, said = _Watch(http, base, shown, only, command, state, language, place), ""
        while True:
            try:
                await watched.read()
            except (aiohttp.ClientError, TimeoutError, _NotDelivered) as error:
                text = str(error) or type(error).__name__
                if text != said or not watched.failures:
                    click.echo(f"ratesvc: {text}; trying again", err=True)
                said, watched.failures = text, watched.failures + 1
            await asyncio.sleep(min(FIRST_PAUSE_S * 2 ** min(max(watched.failures - 1, 0), 10), LONGEST_PAUSE_S))
