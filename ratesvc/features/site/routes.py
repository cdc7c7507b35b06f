"""What all pages share over HTTP: their language, the icon, /robots.txt, and the page of every other address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from difflib import get_close_matches
from functools import cache, lru_cache
from operator import itemgetter

from aiohttp import hdrs, web
from multidict import MultiMapping

from ratesvc.domain.workdays import iso_day
from ratesvc.features.site.language import Language, language_or_default, translated
from ratesvc.features.site.page import HTML, asset, own_page, page
from ratesvc.render.language import TRANSLATIONS
from ratesvc.render.openapi import Site, contract
from ratesvc.service.app import Service
from ratesvc.service.publication import Body
from ratesvc.web import problems
from ratesvc.web.caching import HOURLY, ICON, Caching
from ratesvc.web.features import Feature, Features
from ratesvc.web.params import LATEST
from ratesvc.web.problems import uncached
from ratesvc.web.responses import Answer, Handler, weights

ICON_FILE = asset("site/icon.svg")
NOT_FOUND_HEADERS = own_page("site/rate", img_src="'self'")
TEXT = "text/plain; charset=utf-8"
LONGEST_TAG = 35
LONGEST_ADDRESS = 200
"""How many characters of an address the page of a missing one repeats."""
UNSEEN = frozenset("\u00a0\u00ad\u200c\u200d\u200e\u200f\u202f")
"""Honest characters that `isprintable` refuses: hard blanks, joiners in Persian and emoji, marks of direction."""
PICTURE_POLICY = ("Content-Security-Policy", "default-src 'none'; sandbox")


def routes(_service: Service, _: Site, features: Features) -> dict[str, Handler]:
    """Path → handler."""
    return {
        "/favicon.ico": fixed(Body(ICON_FILE.read_bytes(), "image/svg+xml", (PICTURE_POLICY,)), ICON),
        "/robots.txt": fixed(Body(_robots(features), TEXT), HOURLY),
    }


def _robots(features: Features) -> bytes:
    """Pages may be searched, but not every rate of every day, nor what other pages embed. Previews need pictures."""
    lines = ["User-agent: *", *(line for feature in features.on for line in feature.robots)]
    return "".join(f"{line}\n" for line in lines).encode()


def in_the_readers_language(handler: Handler) -> Handler:
    """The handler; where `lang` is missing, `ui` or the browser's Accept-Language chooses among our translations."""

    async def answer(request: web.Request) -> Answer | web.StreamResponse:
        if "lang" in request.query:
            return await handler(request)
        tag = page_language(request.query.get("ui") or _accepted(request))
        asked = request.clone(rel_url=request.rel_url.update_query(lang=tag))
        asked._match_info = request._match_info  # noqa: SLF001 -- clone has no argument for it
        said = await handler(asked)
        return replace(said, by_header=hdrs.ACCEPT_LANGUAGE) if isinstance(said, Answer) else said

    return answer


def _accepted(request: web.Request) -> str:
    """Accept-Language, of which a proxy may make several lines."""
    return ",".join(request.headers.getall(hdrs.ACCEPT_LANGUAGE, ()))


@lru_cache(maxsize=512)
def page_language(accepted: str) -> str:
    """The tag of the translation that Accept-Language weights highest, or English (RFC 9110, 12.5.4)."""
    translated = {tag.partition("-")[0]: tag for tag in TRANSLATIONS}
    named = ((weight, tag.partition("-")[0]) for tag, weight in weights(accepted).items())
    usable = [(weight, translated[name]) for weight, name in named if weight and name in translated]
    return max(usable, key=itemgetter(0), default=(0.0, TRANSLATIONS[0]))[1]


async def not_found(site: Site, request: web.Request) -> web.Response:
    """404 for every other address: a page for a browser, a problem for a program."""
    if "text/html" not in request.headers.get(hdrs.ACCEPT, ""):
        return await problems.not_found(request, _meant(site, request.path))
    words = language_or_default(page_language(request.query.get("lang") or _accepted(request)))
    uis = [(ui, f"?lang={ui.tag}") for ui in translated()]
    # As it was sent, so that it is seen what is wrong with it, and nobody can make it say something.
    asked = request.rel_url.raw_path[:LONGEST_ADDRESS]
    near = _near(site, request.path)
    text = page("site/not_found.html", t=words.say, language=words, uis=uis, site=site, asked=asked, near=near)
    answer = uncached(404, text.encode(), HTML)
    answer.headers.update(NOT_FOUND_HEADERS)
    return answer


def _meant(site: Site, path: str) -> str:
    """Which address was probably meant, or which page lists them all."""
    if near := _near(site, path, "/v1/"):
        return f"Did you mean {near}?"
    return "/v1 and /docs list the addresses." if site.has("docs") else ""


def _near(site: Site, path: str, start: str = "/") -> str:
    """The address with this start that was probably meant, or nothing."""
    name = "/v1/rates" if path.rpartition("/")[2].lower() in LATEST else path.lower().removesuffix(".json")
    addresses = [one for one in _addresses(site.features) if one.startswith(start)]
    return next(iter(get_close_matches(name[:40], addresses, 1, cutoff=0.8)), "")


@cache
def _addresses(features: tuple[str, ...]) -> list[str]:
    return [path for path in contract(features)["paths"] if "{" not in path]


class LenientParams:
    """The parameters of an embedding. Unknown ones are dropped, because no site wants an error page inside."""

    def __init__(self, given: web.Request | MultiMapping[str]) -> None:
        """`given` is a request, or the query of an address that a request contains."""
        self._query: MultiMapping[str] = given.query if isinstance(given, web.Request) else given

    def text(self, name: str, longest: int) -> str:
        """The text, or empty if it is too long or has characters that cannot be shown."""
        given = self._query.get(name, "").strip()
        if len(given) > longest:
            return ""
        return given if all(character.isprintable() or character in UNSEEN for character in given) else ""

    def words(self, name: str, most: int) -> tuple[str, ...]:
        """A list separated by commas, given once or more often; each word once, in order."""
        given = ",".join(self._query.getall(name, [])).split(",", most)[:most]
        return tuple(dict.fromkeys(word.strip() for word in given if word.strip()))

    def choice(self, name: str, choices: Sequence[str]) -> str:
        """The given word if it is one of the choices, else the first of them."""
        given = self._query.get(name, "")
        return given if given in choices else choices[0]

    def number(self, name: str, default: int, allowed: range) -> int:
        """A whole number, or the default."""
        given = self._query.get(name, "")
        number = int(given) if given.isascii() and given.isdigit() and len(given) < 5 else default
        return number if number in allowed else default

    def language(self) -> Language:
        """`lang=`, its nearest parent, or English."""
        return language_or_default(self.text("lang", LONGEST_TAG))

    def switch(self, name: str, *, is_on: bool = False) -> bool:
        """0 or 1; `is_on` says what it is otherwise."""
        return self.choice(name, ("1", "0") if is_on else ("0", "1")) == "1"

    def day(self) -> date | None:
        """`date=2024-03-02`; None where it is not given or does not exist."""
        return iso_day(self.text("date", 10))


def fixed(body: Body, caching: Caching) -> Handler:
    """A handler that always answers the same."""

    async def answer(_: web.Request) -> Answer:
        return Answer(body, caching)

    return answer


def html(text: str, *headers: tuple[str, str]) -> Body:
    """A page or a part of one."""
    return Body(text.encode(), HTML, headers)


FEATURE = Feature("site", routes, not_found=not_found)
