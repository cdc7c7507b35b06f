"""The way to the Bank: mirrors in order, with limits on everything that a broken or hostile answer could use.

It asks for `identity` and refuses an encoded body (no bombs), reads against a cap, follows at most three
redirects and only on the same host, never from https to http, and keeps a few cookies in memory only.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from email.utils import parsedate_to_datetime
from http.cookies import Morsel
from types import TracebackType
from typing import Generic, Self, TypeVar

import aiohttp
from yarl import URL

from ratesvc.bank.xml import Listing, Record, parse_catalogue, parse_daily, parse_dynamic
from ratesvc.domain.rates import Sheet
from ratesvc.errors import BadDocument, ConfigError, FetchFailed, SourceError

LONGEST_PAUSE_S = 600.0
DEMO_HEADER = "X-Ratesvc-Demo"
"""On every answer of a ratesvc that serves recorded figures."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one answer may take: bytes, seconds in all, and seconds of it to find and reach the host."""

    most_bytes: int
    timeout_s: float
    connect_s: float = 5.0


DAILY = Limits(512 * 1024, 15.0)
DYNAMIC = Limits(4 * 1024 * 1024, 60.0)


def redirected(url: URL, location: str) -> URL:
    """Where a redirect leads: on the same host, to the same port or from http to https. Raises SourceError."""
    target = url.join(URL(location))
    upgraded = url.scheme == "http" and target.scheme == "https"
    if target.host != url.host or not (target.origin() == url.origin() or upgraded):
        raise SourceError("redirect", f"to {str(target)[:120]}, another host, port or scheme")
    return target


async def body_of(response: aiohttp.ClientResponse, limits: Limits) -> bytes:
    """All of the body, within the limits. Raises SourceError."""
    if response.status != 200:
        beginning = await response.content.read(120)
        raise SourceError("status", f"{response.status}, beginning {beginning!r:.80}", _retry_after_s(response))
    if DEMO_HEADER in response.headers:
        # Kept, they would pass for rates for ever.
        raise SourceError("demo", "a ratesvc with --demo answers there, whose figures are recorded ones")
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", ""):
        raise SourceError("encoded", f"Content-Encoding {encoding[:40]!r} though identity was asked for")
    parts: list[bytes] = []
    left = limits.most_bytes
    async for part in response.content.iter_any():
        left -= len(part)
        if left < 0:
            raise SourceError("oversize", f"more than {limits.most_bytes} bytes")
        parts.append(part)
    return b"".join(parts)


def _retry_after_s(response: aiohttp.ClientResponse) -> float | None:
    """What the mirror asks for, in seconds or as a date, which its own Date is compared with: its clock, not ours."""
    text = response.headers.get("Retry-After", "")
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), LONGEST_PAUSE_S)
    try:
        pause = parsedate_to_datetime(text) - parsedate_to_datetime(response.headers.get("Date", ""))
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(pause.total_seconds(), 0.0), LONGEST_PAUSE_S)


T = TypeVar("T")

MOST_REDIRECTS = 3
REQUESTS_A_MINUTE = 6
MINUTE_S = 60.0
LONG = 64 * 1024
MOST_COOKIES = 20
LONGEST_COOKIES = 4096


@dataclass(frozen=True, slots=True)
class Fetched(Generic[T]):
    """A document that was understood, with the bytes it was read from."""

    document: T
    raw: bytes


def is_hurried(poll_seconds: float | None) -> bool:
    """Whether whoever configured this wants more than good manners allow, as for a mirror of one's own."""
    return poll_seconds is not None and poll_seconds < MINUTE_S / REQUESTS_A_MINUTE


class Pace:
    """At most `most` turns in any minute; None is no limit."""

    def __init__(self, most: int | None) -> None:
        """The limit counts turns of this object only."""
        self._most = most
        self._taken: deque[float] = deque(maxlen=most)
        self._next = asyncio.Lock()

    async def turn(self) -> None:
        """Wait until one more request is good manners."""
        if self._most is None:
            return
        clock = asyncio.get_running_loop().time
        # Each sees the turns of those who waited before.
        async with self._next:
            if len(self._taken) == self._most:
                await asyncio.sleep(self._taken[0] + MINUTE_S - clock())
            self._taken.append(clock())


@dataclass(frozen=True, slots=True)
class Transport:
    """How the Bank is reached from here.

    `proxy` is the address of an HTTP proxy, None for a direct way; `trust_env` takes it from HTTP_PROXY, HTTPS_PROXY
    and NO_PROXY instead. `ca_file` is in PEM and is trusted besides the system's authorities.
    """

    proxy: str | None = None
    ca_file: str | None = None
    trust_env: bool = False

    def trusted(self) -> ssl.SSLContext:
        """Whom to believe. Raises ConfigError."""
        context = ssl.create_default_context()
        if self.ca_file:
            try:
                context.load_verify_locations(self.ca_file)
            except (OSError, ssl.SSLError) as error:
                raise ConfigError(f"cbr.ca_file: {self.ca_file} holds no certificates in PEM ({error})") from None
        return context


class BankClient:
    """Asks the Bank's mirrors. Use it as an async context manager."""

    def __init__(
        self,
        mirrors: Sequence[str],
        user_agent: str,
        *,
        pace: Pace | None = None,
        daily: Limits = DAILY,
        transport: Transport = Transport(),
    ) -> None:
        """`mirrors` are base addresses such as https://www.cbr.ru, tried in this order."""
        self._mirrors = [URL(mirror.rstrip("/")) for mirror in mirrors]
        self._pace = pace or Pace(REQUESTS_A_MINUTE)
        self._daily = daily
        self._transport = transport
        self._user_agent = user_agent
        self.said: tuple[str, float] | None = None
        """The Date header of the last answer, and the loop's time when it came."""

    async def __aenter__(self) -> Self:
        """Open the connections' pool."""
        headers = {"User-Agent": self._user_agent, "Accept-Encoding": "identity", "Accept": "text/xml, */*;q=0.1"}
        self._cookies = aiohttp.CookieJar()
        self._session = aiohttp.ClientSession(
            auto_decompress=False,
            cookie_jar=self._cookies,
            headers=headers,
            connector=aiohttp.TCPConnector(limit=2, use_dns_cache=False, ssl=self._transport.trusted()),
            proxy=self._transport.proxy,
            trust_env=self._transport.trust_env,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every connection."""
        await self._session.close()

    async def daily(self, day: date | None, accept: Callable[[Sheet], None], *, paced: bool = True) -> Fetched[Sheet]:
        """The sheet in force on `day`, or the newest one, from the first mirror whose sheet `accept` lets pass.

        The Bank answers a day without a sheet of its own with the earlier one that is in force: see its date.
        `accept` raises BadDocument. A backfill, which keeps its own gap between requests, is not `paced`. Raises
        FetchFailed.
        """
        query = {} if day is None else {"date_req": _printed(day)}

        def read(raw: bytes) -> Sheet:
            sheet = parse_daily(raw)
            accept(sheet)
            return sheet

        return await self._first("/scripts/XML_daily.asp", query, read, self._daily, paced=paced)

    async def daily_in_english(self, day: date) -> Sheet:
        """The same sheet from another address of the Bank, with other names: a second opinion. Raises FetchFailed."""
        query = {"date_req": _printed(day)}
        return (await self._first("/scripts/XML_daily_eng.asp", query, parse_daily, self._daily, paced=True)).document

    async def catalogue(self) -> tuple[Listing, ...]:
        """Every currency id that the Bank quotes, or quoted, each working day. Raises FetchFailed."""
        # d=0 is the daily list; d=1, the monthly one, is obsolete.
        fetched = await self._first("/scripts/XML_valFull.asp", {"d": "0"}, parse_catalogue, DYNAMIC)
        return fetched.document

    async def dynamic(self, cbr_id: str, since: date, until: date) -> tuple[Record, ...]:
        """One currency id over a closed range, oldest first. Raises FetchFailed."""
        query = {"date_req1": _printed(since), "date_req2": _printed(until), "VAL_NM_RQ": cbr_id}

        def read(raw: bytes) -> tuple[Record, ...]:
            return parse_dynamic(raw, cbr_id, since, until)

        return (await self._first("/scripts/XML_dynamic.asp", query, read, DYNAMIC)).document

    async def _first(
        self, path: str, query: Mapping[str, str], parse: Callable[[bytes], T], limits: Limits, *, paced: bool = False
    ) -> Fetched[T]:
        failures: list[tuple[str, SourceError | BadDocument]] = []
        for mirror in self._mirrors:
            url = (mirror / path.lstrip("/")).with_query(query)
            if paced:
                await self._pace.turn()
            try:
                raw = await self._get(url, limits)
                return Fetched(await _parsed(parse, raw), raw)
            except (SourceError, BadDocument) as error:
                failures.append((url.authority, error))
        raise FetchFailed(failures)

    async def _get(self, url: URL, limits: Limits) -> bytes:
        try:
            async with asyncio.timeout(limits.timeout_s):
                return await self._follow(url, limits)
        except aiohttp.ConnectionTimeoutError:
            raise SourceError("timeout", f"no connection within {limits.connect_s:g} s") from None
        except TimeoutError:
            raise SourceError("timeout", f"no complete answer within {limits.timeout_s:g} s") from None
        except aiohttp.ClientConnectorDNSError as error:
            raise SourceError("dns", error.strerror or str(error)) from error
        except (aiohttp.ClientSSLError, ssl.SSLError) as error:
            raise SourceError("tls", str(error)) from error
        except (aiohttp.ClientConnectionError, OSError) as error:
            raise SourceError("connect", str(error) or type(error).__name__) from error
        except aiohttp.ClientResponseError as error:
            # Its own text repeats the address, a proxy's with the password.
            raise SourceError("http", f"{error.status}, {error.message}"[:300]) from None
        except (aiohttp.ClientError, ValueError) as error:
            raise SourceError("http", (str(error) or type(error).__name__)[:300]) from error

    async def _follow(self, url: URL, limits: Limits) -> bytes:
        for _ in range(MOST_REDIRECTS + 1):
            timeout = aiohttp.ClientTimeout(total=None, connect=limits.connect_s)
            async with self._session.get(url, allow_redirects=False, timeout=timeout) as response:
                self._forget_too_many_cookies()
                if "Date" in response.headers:
                    self.said = response.headers["Date"], asyncio.get_running_loop().time()
                if 300 <= response.status < 400 and "Location" in response.headers:
                    url = redirected(url, response.headers["Location"])
                    continue
                return await body_of(response, limits)
        raise SourceError("redirect", f"more than {MOST_REDIRECTS} redirects")

    def _forget_too_many_cookies(self) -> None:
        """The Bank's front sets four. A flood would grow memory, and requests until they are refused."""
        if len(self._cookies) > MOST_COOKIES or sum(map(_length, self._cookies)) > LONGEST_COOKIES:
            self._cookies.clear()


def _length(cookie: Morsel[str]) -> int:
    return len(cookie.key) + len(cookie.value)


async def _parsed(parse: Callable[[bytes], T], raw: bytes) -> T:
    """Thirty years of one currency take the parser a tenth of a second: not on the loop."""
    try:
        return parse(raw) if len(raw) < LONG else await asyncio.to_thread(parse, raw)
    except BadDocument as error:
        error.raw = raw
        raise


def _printed(day: date) -> str:
    return day.strftime("%d/%m/%Y")
