"""What one embedding asks for. What is unknown is dropped: there is never an error page inside somebody's site."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from functools import cached_property

from aiohttp import web

from ratesvc.domain.history import on_day
from ratesvc.domain.rates import InForce
from ratesvc.render import rows
from ratesvc.render.language import Language
from ratesvc.service.app import Service
from ratesvc.service.publication import LONG_POINTS, Body
from ratesvc.web.answer import WIDGET, Answer, Caching
from ratesvc.web.api import beside, published
from ratesvc.web.params import LenientParams


class Wanted:
    """One embedding of what is published now. Raises NoSheet, NotYetSet, HistoryLoading and BeforeHistory."""

    def __init__(
        self,
        request: web.Request,
        service: Service,
        asked: LenientParams | None = None,
        *,
        dated: bool = True,
        trending: bool = True,
    ) -> None:
        """Of a request, or of what was `asked` in it; not `dated` is always about today, not `trending` has no line."""
        self._service = service
        self.publication = published(service)
        self.asked = asked or LenientParams(request)
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
