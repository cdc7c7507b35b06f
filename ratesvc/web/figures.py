"""What handlers of a feature's own figures share."""

from __future__ import annotations

from datetime import date

from aiohttp import web

from ratesvc.domain.workdays import due_at, moscow_day
from ratesvc.errors import BeforeHistory, NoSheet, NotYetSet
from ratesvc.service.app import Service
from ratesvc.service.figures import Figures
from ratesvc.web.params import naming
from ratesvc.web.rates import day_named


def day_with_figures(request: web.Request, service: Service, figures: Figures) -> date:
    """The day that a path names, or today. Raises BadRequest, BeforeHistory, NoSheet and NotYetSet.

    A day to come is answered once its own figures are set, because others may still come.
    """
    text = request.match_info.get("date", "today")
    with naming("date", text):
        day = day_named(text, service)
        if not figures.columns:
            why = "are in the demo" if service.demo else "have been fetched yet; the service keeps trying"
            raise NoSheet(f"No figures of {figures.name} {why}.")
        if day < (begins := min(column.first_day for column in figures.columns.values())):
            raise BeforeHistory(day, begins)
        if day > max(moscow_day(service.clock()), figures.newest):
            raise NotYetSet(day, due_at(service.history.calendar.effective_date_on_or_before(day)))
    return day
