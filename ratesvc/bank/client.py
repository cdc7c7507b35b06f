"""Asks the Bank's mirrors in order, with limits on everything that a broken or hostile answer could use.

The client asks for `identity` and refuses an encoded body (no bombs), reads up to a limit, follows at most three
redirects, only on the same host and never from https to http, and keeps a few cookies in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from functools import cache, partial
from typing import Self, TypeVar

import aiohttp
from yarl import URL

from ratesvc.bank.xml import Record, parse_catalogue, parse_daily, parse_dynamic
from ratesvc.domain.columns import Currency
from ratesvc.domain.rates import Sheet
from ratesvc.errors import BadDocument, FetchFailed, SourceError

T = TypeVar("T")

Read = Callable[[bytes], Sheet]
"""Makes a sheet of a daily document, or raises BadDocument."""
DAILY_PATH, ENGLISH_PATH = "/scripts/XML_daily.asp", "/scripts/XML_daily_eng.asp"
DEMO_HEADER = "X-Ratesvc-Demo"
"""On every answer of a ratesvc that serves recorded figures."""
MOST_REDIRECTS = 3
MOST_COOKIES, LONGEST_COOKIES = 20, 4096


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one answer: its bytes, its seconds, and how many of these it may take to reach the host."""

    most_bytes: int
    timeout_s: float
    connect_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a mirror beside the documents of rates."""

    path: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    method: str = "GET"
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


GET, HEAD = Question(), Question(method="HEAD")
DAILY_LIMITS = Limits(512 * 1024, 15.0)
SERIES_LIMITS = Limits(4 * 1024 * 1024, 60.0)


@cache
def trusted(ca_file: str) -> ssl.SSLContext:
    """The trusted authorities, which take some milliseconds to read. The settings have read the file before."""
    context = ssl.create_default_context()
    if ca_file:
        context.load_verify_locations(ca_file)
        # Python 3.13 and later refuse an authority without keyUsage, as `openssl req -x509` makes one.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


@dataclass(slots=True, eq=False)
class Mirror:
    """A mirror of the Bank, and what it said last. Times are UTC.

    `asked_at` is when it was last asked for its newest sheet, `newest` is what it then gave, and `finding` says whether
    that lags or differs. `error` is why its last answer gave no document.
    """

    url: URL
    asked_at: datetime | None = None
    answered_at: datetime | None = None
    error: SourceError | BadDocument | None = None
    newest: Sheet | None = None
    finding: str = ""

    @property
    def host(self) -> str:
        """Its name, with an unusual port. Unlike `authority`, this has no password."""
        return self.url.host_port_subcomponent or ""

    @property
    def trouble(self) -> str:
        """What is wrong with it; empty if nothing is."""
        return str(self.error or self.finding)

    def has(self, day: date) -> bool:
        """Whether it has had the sheet of that day, or a later one."""
        return self.newest is not None and self.newest.effective_date >= day


class BankClient:
    """Asks the Bank's mirrors. Use it as an async context manager."""

    def __init__(self, mirrors: Sequence[str], user_agent: str, *, proxy: str | None = "", ca_file: str = "") -> None:
        """`mirrors` are base addresses such as https://www.cbr.ru, tried in this order.

        `proxy` is the address of an HTTP proxy; None takes it from HTTP_PROXY, HTTPS_PROXY and NO_PROXY. `ca_file` is
        in PEM and is trusted besides the system's authorities.
        """
        self.mirrors = [Mirror(URL(mirror.rstrip("/"))) for mirror in mirrors]
        self._user_agent = user_agent
        self._proxy, self._ca_file = proxy, ca_file
        self.daily_limits = DAILY_LIMITS
        self.clock: Callable[[], datetime | None] = lambda: None
        """Gives UTC to those who look at mirrors."""
        self.last_date: tuple[datetime | None, float, str] | None = None
        """The UTC that the last answer says, if it can be read; the loop's time when it came, and the mirror."""

    async def __aenter__(self) -> Self:
        self._cookies = aiohttp.CookieJar()
        self._session = aiohttp.ClientSession(
            auto_decompress=False,
            cookie_jar=self._cookies,
            headers={"User-Agent": self._user_agent, "Accept-Encoding": "identity", "Accept": "text/xml, */*;q=0.1"},
            connector=aiohttp.TCPConnector(limit=2, use_dns_cache=False, ssl=trusted(self._ca_file)),
            proxy=self._proxy or None,
            trust_env=self._proxy is None,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def daily(
        self, day: date | None, due: date, read: Read = parse_daily, path: str = DAILY_PATH, of: Sequence[Mirror] = ()
    ) -> tuple[Sheet, bytes]:
        """The sheet in force on `day`, or the newest, and its bytes, from the first mirror that has that of `due`.

        A later one will do. If none has it, the newest of all their sheets: compare its date. `read` raises
        BadDocument. The mirrors `of` are asked, or all. Raises FetchFailed.
        """
        query, limits = {"date_req": printed(day)} if day else {}, self.daily_limits
        answers = await self._ask(path, query, read, limits, of, lambda sheet: sheet.effective_date >= due)
        for sheet, _, mirror in answers:
            mirror.newest = mirror.newest if day else sheet
        return max(answers, key=lambda answer: answer[0].effective_date)[:2]

    async def ask_for_date(self) -> bool:
        """Ask for the head of an answer, first other mirrors than the last that answered; returns whether one came."""
        before = self.last_date
        last = before[2] if before else ""
        for mirror in sorted(self.mirrors, key=lambda mirror: mirror.url.authority == last):
            with contextlib.suppress(SourceError):  # an error has a Date, too
                await self._get(mirror.url / DAILY_PATH.lstrip("/"), self.daily_limits, HEAD)
            if self.last_date != before:
                return True
        return False

    async def catalogue(self) -> tuple[Currency, ...]:
        """Every currency id that the Bank quotes, or quoted, each working day. Raises FetchFailed."""
        # d=0 is the daily list; d=1, the monthly one, is obsolete.
        return (await self._ask("/scripts/XML_valFull.asp", {"d": "0"}, parse_catalogue, SERIES_LIMITS))[-1][0]

    async def dynamic(self, cbr_id: str, since: date, until: date) -> tuple[Record, ...]:
        """One currency id over a closed range, oldest first. Raises FetchFailed."""
        query = {"date_req1": printed(since), "date_req2": printed(until), "VAL_NM_RQ": cbr_id}
        read = partial(parse_dynamic, cbr_id=cbr_id, since=since, until=until)
        return (await self._ask("/scripts/XML_dynamic.asp", query, read, SERIES_LIMITS))[-1][0]

    async def ask(self, question: Question, parse: Callable[[bytes], T]) -> T:
        """What a feature asks: the document of the first mirror that gives one. Raises FetchFailed.

        A mirror may be another ratesvc, which lacks the address. So a refusal says nothing about the mirror.
        """
        failures: list[tuple[str, SourceError | BadDocument]] = []
        for mirror in self.mirrors:
            try:
                url = (mirror.url / question.path.lstrip("/")).with_query(question.query)
                return await _parsed(parse, await self._get(url, SERIES_LIMITS, question))
            except (SourceError, BadDocument) as error:
                failures.append((mirror.host, error))
        raise FetchFailed(failures)

    async def _ask(
        self,
        path: str,
        query: Mapping[str, str],
        parse: Callable[[bytes], T],
        limits: Limits,
        mirrors: Sequence[Mirror] = (),
        is_enough: Callable[[T], bool] = lambda _: True,
    ) -> list[tuple[T, bytes, Mirror]]:
        """The documents of these mirrors, or of all, up to the first that is enough. Raises FetchFailed."""
        answers: list[tuple[T, bytes, Mirror]] = []
        failures: list[tuple[str, SourceError | BadDocument]] = []
        for mirror in mirrors or self.mirrors:
            mirror.asked_at = mirror.asked_at if query else self.clock()
            try:
                raw = await self._get((mirror.url / path.lstrip("/")).with_query(query), limits)
                document = await _parsed(parse, raw)
            except (SourceError, BadDocument) as error:
                mirror.error = error
                failures.append((mirror.host, error))
                continue
            mirror.answered_at, mirror.error = self.clock(), None
            answers.append((document, raw, mirror))
            if is_enough(document):
                break
        if not answers:
            raise FetchFailed(failures)
        return answers

    async def _get(self, url: URL, limits: Limits, question: Question = GET) -> bytes:
        try:
            async with asyncio.timeout(limits.timeout_s):
                return await self._follow(url, limits, question)
        except aiohttp.ConnectionTimeoutError:
            raise SourceError("timeout", f"no connection within {limits.connect_s:g} s") from None
        except TimeoutError:
            raise SourceError("timeout", f"no complete answer within {limits.timeout_s:g} s") from None
        except aiohttp.ClientConnectorDNSError as error:
            raise SourceError("dns", error.strerror or str(error)) from error
        except aiohttp.ClientConnectorCertificateError as error:
            why = getattr(error.certificate_error, "verify_message", "") or error.certificate_error
            raise SourceError("tls", f"its certificate is not trusted: {why}") from error
        except (aiohttp.ClientSSLError, ssl.SSLError) as error:
            raise SourceError("tls", str(error)) from error
        except aiohttp.ClientConnectorError as error:
            # Its own text mentions TLS for http, too. Behind a proxy the host is the proxy.
            why = os.strerror(error.errno) if error.errno else error.os_error
            raise SourceError("connect", f"{error.host}:{error.port}: {why}") from error
        except (aiohttp.ClientConnectionError, OSError) as error:
            raise SourceError("connect", str(error) or type(error).__name__) from error
        except aiohttp.ClientResponseError as error:
            # Its own text repeats the address; a proxy's contains the password.
            raise SourceError("http", f"{error.status}, {error.message}"[:300]) from None
        except (aiohttp.ClientError, ValueError) as error:
            raise SourceError("http", (str(error) or type(error).__name__)[:300]) from error

    async def _follow(self, url: URL, limits: Limits, question: Question) -> bytes:
        timeout = aiohttp.ClientTimeout(total=None, connect=limits.connect_s)
        for _ in range(MOST_REDIRECTS + 1):
            async with self._session.request(
                question.method,
                url,
                data=question.body or None,
                headers=question.headers,
                allow_redirects=False,
                timeout=timeout,
            ) as response:
                self._limit_cookies()
                if "Date" in response.headers:
                    at = asyncio.get_running_loop().time()
                    self.last_date = moment_of(response.headers["Date"]), at, url.authority
                if not 300 <= response.status < 400 or "Location" not in response.headers:
                    return await _body_of(response, limits)
                url = _redirected(url, response.headers["Location"])
        raise SourceError("redirect", f"more than {MOST_REDIRECTS} redirects")

    def _limit_cookies(self) -> None:
        """The Bank's front sets four. A flood would grow memory, and requests until they are refused."""
        length = sum(len(cookie.key) + len(cookie.value) for cookie in self._cookies)
        if len(self._cookies) > MOST_COOKIES or length > LONGEST_COOKIES:
            self._cookies.clear()


async def _parsed(parse: Callable[[bytes], T], raw: bytes) -> T:
    """Thirty years of one currency take the parser a tenth of a second: too long for the event loop."""
    try:
        return await asyncio.to_thread(parse, raw)
    except BadDocument as error:
        error.raw = raw
        raise


def _redirected(url: URL, location: str) -> URL:
    target = url.join(URL(location))
    upgraded = url.scheme == "http" and target.scheme == "https"
    if target.host != url.host or not (target.origin() == url.origin() or upgraded):
        raise SourceError("redirect", f"to {str(target)[:120]}, another host, port or scheme")
    return target


async def _body_of(response: aiohttp.ClientResponse, limits: Limits) -> bytes:
    if response.status != 200:
        beginning = await response.content.read(120)
        raise SourceError("status", f"{response.status}, beginning {beginning!r:.80}", _retry_after_s(response))
    if DEMO_HEADER in response.headers:
        # In the store, recorded figures would pass for rates for ever.
        raise SourceError("demo", "a ratesvc with --demo answers there, whose figures are recorded ones")
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", ""):
        raise SourceError("encoded", f"Content-Encoding {encoding[:40]!r} though identity was asked for")
    body = bytearray()
    async for part in response.content.iter_any():
        body += part
        if len(body) > limits.most_bytes:
            raise SourceError("oversize", f"more than {limits.most_bytes} bytes")
    return bytes(body)


def _retry_after_s(response: aiohttp.ClientResponse) -> float | None:
    """The pause that the mirror asks for: seconds, or a date, which is compared with the mirror's own clock."""
    text = response.headers.get("Retry-After", "")
    if text.isascii() and text.isdigit():
        return float(text[:9])
    until, now = moment_of(text), moment_of(response.headers.get("Date", ""))
    return max((until - now).total_seconds(), 0.0) if until and now else None


def moment_of(text: str) -> datetime | None:
    """The UTC of an HTTP date, or None: a broken proxy writes a year of twenty digits."""
    try:
        moment = parsedate_to_datetime(text)
        return moment.astimezone(UTC) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def printed(day: date) -> str:
    """A day as the Bank's scripts take it: dd/mm/yyyy."""
    return day.strftime("%d/%m/%Y")
