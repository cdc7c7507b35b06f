"""Ranges of days: how a request names them, and long answers about them."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from datetime import date, timedelta

from ratesvc.domain.columns import Days
from ratesvc.domain.history import History
from ratesvc.domain.in_force import on_day
from ratesvc.domain.workdays import moscow_day
from ratesvc.errors import BadRequest, BeforeHistory, HistoryLoading
from ratesvc.features.ranges.unit_rates import SeriesParams, last_set, sheets_of
from ratesvc.features.rendering import Queue, rendered
from ratesvc.service.app import Service
from ratesvc.service.publication import Body, Headers, Render
from ratesvc.web.caching import caching_until
from ratesvc.web.params import StrictParams, naming, require_known
from ratesvc.web.rates import day_named
from ratesvc.web.responses import Answer

MOST_NAMED = 30
USUAL_RANGE = timedelta(days=365)
EXCLUSIVE = {
    "dates": ("since", "until", "last", "fill"),
    "last": ("since",),
    "period": ("since", "until"),
}
"""What a parameter makes meaningless."""


async def long_answer(service: Service, key: Hashable, days: Days, render: Render, queue: Queue) -> Answer:
    """An answer about a range of days, rendered and compressed in a worker thread. Raises HistoryLoading."""

    def named_days() -> Body:
        if gap := service.history.first_loading(days):
            raise HistoryLoading(gap)
        body = render()
        named = unconfirmed_days(service.history, days, publication.snapshot.today)
        return replace(body, headers=(*body.headers, *named))

    publication = service.require_publication()
    body = await rendered(service, publication, key, named_days, queue)
    return Answer(body, caching_until(service, days.until))


def series_params(params: StrictParams, service: Service) -> SeriesParams:
    """The series that a request asks for. Raises BadRequest, BeforeHistory, NotYetSet and UnknownCurrency."""
    check_combined(params)
    named = filter(None, params.text("dates").split(","))
    dates = tuple(sorted({_chosen(text, service) for text in named}))
    days = Days(dates[0], dates[-1]) if dates else days_of(params, service)
    quote = require_known(params.code("quote_currency"), service, "quote_currency")
    asked = params.codes() or ()
    codes = tuple(require_known(code, service) for code in asked) or tuple(
        sorted((service.history.codes() | {"RUB"}) - {quote})
    )
    daily, is_new = params.text("fill") == "daily", params.text("roubles") == "new"
    return SeriesParams(codes, days, quote, daily, params.text("group"), is_new, dates, named=bool(asked))


def check_combined(params: StrictParams) -> None:
    """Raise BadRequest where one parameter makes another meaningless."""
    for name, others in EXCLUSIVE.items():
        if params.sets(name) and (given := next(filter(params.sets, others), "")):
            raise BadRequest(f"{name} and {given} cannot be combined.", given, params.text(given))


def newest_day(service: Service) -> date:
    """The day of the announced sheet, or today."""
    return max([moscow_day(service.clock()), *service.history.days[-1:]])


def days_of(params: StrictParams, service: Service, usual_since: date | None = None) -> Days:
    """The range that a request asks for: by default a year up to `newest_day`, or to what the contract says.

    It ends with the last day whose rates are set. Raises BadRequest, BeforeHistory and NotYetSet.
    """
    newest, today = newest_day(service), moscow_day(service.clock())

    def named(name: str, usual: date) -> date:
        text = params.text(name)
        with naming(name, text):
            return day_named(text, service, name) if text else usual

    until, begins = named("until", newest), service.history.begins
    if until < begins:
        with naming("until", params.text("until")):
            raise BeforeHistory(until, service.history.recorded_from)
    since = named("since", usual_since or _usual_since(params, service.history, until))
    if since > until and params.has("until"):
        raise BadRequest("since must not be later than until.", "since", params.text("since"))
    until = max(since, until)
    last = max(newest, last_set(service.history, Days(today, until), today))
    if since > last:
        with naming("since", params.text("since")):
            on_day(service.history, since, service.clock())
    return Days(max(since, begins), min(until, max(since, last)))


def _usual_since(params: StrictParams, history: History, until: date) -> date:
    """The day of the sheet that is so many before `until`, or a year before it."""
    if not params.has("last"):
        return max(history.begins, until - USUAL_RANGE)
    held = sheets_of(history, Days(history.begins, until))[-params.number("last") :]
    return held[0] if len(held) == params.number("last") else history.begins


def _chosen(text: str, service: Service) -> date:
    """One of the `dates`. Raises what /v1/rates raises for it."""
    with naming("dates", text):
        day = day_named(text, service, "dates")
        if service.history.certain_on(day) is None:
            on_day(service.history, day, service.clock())
    return day


def unconfirmed_days(history: History, days: Days, today: date) -> Headers:
    """The header that names the days which a range lacks, because their sheets are not admitted."""
    named = list(map(str, history.missing_days(days, today)))
    more = [f"{len(named) - MOST_NAMED} more"] if len(named) > MOST_NAMED else []
    return (("Unconfirmed-Days", ", ".join([*named[:MOST_NAMED], *more])),) if named else ()
