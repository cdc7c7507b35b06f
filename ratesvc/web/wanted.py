"""What one embedding asks for. What is unknown is dropped: there is never an error page inside somebody's site."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from functools import cached_property

from aiohttp import web
from multidict import MultiMapping

from ratesvc.domain.history import on_day
from ratesvc.domain.rates import InForce
from ratesvc.render import rows, widget
from ratesvc.render.language import Language, language_or_default
from ratesvc.service.app import Service
from ratesvc.service.publication import LONG_POINTS, Body
from ratesvc.web.answer import WIDGET, Answer, Caching
from ratesvc.web.api import beside, published

UNSEEN = frozenset("\u00a0\u00ad\u200c\u200d\u200e\u200f\u202f")
"""What honest text holds and `isprintable` refuses: hard blanks, joiners in Persian and emoji, marks of direction."""
LONGEST_TAG = 35


class Asked:
    """A query string read leniently, with nothing known about rates."""

    def __init__(self, asked: web.Request | MultiMapping[str]) -> None:
        """Of a request, or of an address given in one."""
        self._query: MultiMapping[str] = asked.query if isinstance(asked, web.Request) else asked

    def text(self, name: str, longest: int) -> str:
        """The words given, or empty where they are too long or hold what cannot be shown."""
        given = self._query.get(name, "").strip()
        if len(given) > longest:
            return ""
        return given if all(character.isprintable() or character in UNSEEN for character in given) else ""

    def words(self, name: str, most: int) -> tuple[str, ...]:
        """A list separated by commas, given once or more often; each word once, in order."""
        given = ",".join(self._query.getall(name, [])).split(",", most)[:most]
        return tuple(dict.fromkeys(word.strip() for word in given if word.strip()))

    def choice(self, name: str, choices: Sequence[str]) -> str:
        """The word asked for, or the first."""
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

    def look(self, themes: Sequence[str] = widget.THEMES) -> widget.Look:
        """Colours."""
        return widget.Look(self.choice("theme", themes), self.choice("updown", widget.UPDOWNS))

    def packing(self) -> widget.Packing:
        """How a fragment brings its style."""
        return widget.Packing(self.choice("style", widget.STYLES), self.choice("shadow", ("0", "1")) == "1")

    def view(self, known: Collection[str]) -> rows.View:
        """What to show; `known` are the currencies that there are."""
        codes = tuple(code for code in (w.upper() for w in self.words("codes", rows.MOST_CODES)) if code in known)
        columns = tuple(name for name in rows.COLUMNS if name in self.words("columns", 10))
        spark = int(self.choice("spark", [str(days) for days in rows.SPARKS]))
        return rows.View(
            tuple(dict.fromkeys(codes)) or rows.DEFAULT_CODES,
            columns or rows.DEFAULT_COLUMNS,
            self.text("heading", rows.LONGEST_HEADING),
            spark,
        )

    def day(self) -> date | None:
        """`date=2024-03-02`; None where it is not given or does not exist."""
        try:
            return date.fromisoformat(self.text("date", 10))
        except ValueError:
            return None


class Wanted:
    """One embedding of what is published now. Raises NoSheet, NotYetSet, HistoryLoading and BeforeHistory."""

    def __init__(
        self,
        request: web.Request,
        service: Service,
        asked: Asked | None = None,
        *,
        dated: bool = True,
        trending: bool = True,
    ) -> None:
        """Of a request, or of what was `asked` in it; not `dated` is always about today, not `trending` has no line."""
        self._service = service
        self.publication = published(service)
        self.asked = asked or Asked(request)
        self.language = self.asked.language()
        snapshot = self.publication.snapshot
        day = self.day = self.asked.day() if dated else None
        answers = [on_day(service.history, day, service.clock())] if day else [snapshot.for_today()]
        following = snapshot.for_next()
        known = {code for answer in [*answers, *([following] if following else [])] for code in _codes(answer)}
        view = self.asked.view(known)
        self.view = view if trending else replace(view, spark=0)
        self.shown: Sequence[InForce] = answers if day else rows.columns_of(snapshot, self.view)

    @cached_property
    def table(self) -> rows.Table:
        """The rows, formatted; only a body that is not finished yet needs them."""
        return self.table_in(self.language, self.view)

    def table_in(self, language: Language, view: rows.View) -> rows.Table:
        """The same in another language, or with another heading."""
        history, last = self._service.history, self.shown[-1].revision.effective_date

        def recent(code: str, days: int) -> list[tuple[date, Decimal]]:
            return history.series(code, last - timedelta(days=days), last)

        return rows.table(self.shown, language, view, recent, demo=self._service.demo)

    def send(self, kind: Hashable, render: Callable[[], Body], caching: Caching = WIDGET) -> Answer:
        """The finished body, rendered if this is the first time that it is asked for."""
        return self._sent(self.publication.body(self._key(kind), render), caching)

    async def send_long(self, kind: Hashable, render: Callable[[], Body], caching: Caching) -> Answer:
        """The same, rendered in the thread of long answers. Raises Busy."""
        body = await beside(self._service, self.publication, self._key(kind), render, points=LONG_POINTS)
        return self._sent(body, caching)

    def _key(self, kind: Hashable) -> Hashable:
        # The day too: the same sheet is shown otherwise when it is asked for by its date, and may be stale today.
        days = tuple(answer.revision.effective_date for answer in self.shown)
        return kind, self.language.tag, self.view, self.day, days

    def _sent(self, body: Body, caching: Caching) -> Answer:
        """Kept no longer than until the next change of today's answer."""
        return Answer(body, caching, self.publication.snapshot, demo=self._service.demo)


def _codes(answer: InForce) -> Collection[str]:
    return answer.revision.sheet.by_code.keys()
